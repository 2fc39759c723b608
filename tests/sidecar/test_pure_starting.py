"""ATT-19: a start says in evidence which software it is, which release and SBOM it was held to, and what came of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts import evidence
from contracts.release import VerifiedRelease
from contracts.software import Software
from sidecar.starting import fields_of
from tests.sidecar import support

HERE = Software("0.1.0", "c" * 64, {"orjson": "3"})
NAMED = {"build": {"sbom_sha256": "a" * 64, "provenance_sha256": "b" * 64}}


def attested(*, required: bool) -> VerifiedRelease:
    """A release that names a build, whose manifest demands it or not."""
    made = support.release(3)
    return replace(made, proposal=NAMED, manifest={**made.manifest, "attested_build": {"required": required}})


@pytest.mark.parametrize(("release", "refused", "expected"), [
    (None, "RELEASE_SBOM", ("RELEASE_SBOM", None, False, None)),
    (None, None, ("NO_ACTIVE_RELEASE", None, False, None)),
    (attested(required=False), None, ("STARTED", 3, False, None)),
    (attested(required=True), None, ("STARTED", 3, True, "a" * 64)),
], ids=["refused", "no release", "nothing demanded", "attested"])  # fmt: skip
def test_the_record_of_a_start_claims_no_sbom_that_nothing_was_held_to(
    release: VerifiedRelease | None, refused: str | None, expected: tuple[object, ...]
) -> None:
    fields = fields_of(7, HERE, 11, release, refused)
    record = evidence.record(
        "startup", environment="sandbox", service="s", stream="s", seq=1, recorded_at="2026-11-27T00:00:00.000000Z", **fields
    )
    parsed = evidence.parse_record(record)
    assert (parsed["result"], parsed["release_number"], parsed["attested"], parsed["sbom_sha256"]) == expected
    assert (parsed["symphony_version"], parsed["code_sha256"], parsed["epoch"]) == ("0.1.0", "c" * 64, 7)
    assert parsed["schema_version"] == 11
