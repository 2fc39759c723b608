"""A proposal names its impact report by digest: the bytes are those, about this release, or nothing (design section 4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import NotTrusted, SymphonyError
from contracts.release.impact import SCHEMA, check_named
from symphony.impact import bound, model
from symphony.release.propose import Draft, send
from symphony.release.review import downloaded
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT, Mirror, World
from tests.support.database import Database


def report(files: dict[str, bytes], **changes: Any) -> bytes:
    """A report on a release's targets; ``changes`` replaces fields."""
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    digests = [sha256_hex(files[name]) for name in ("policy.wasm", "environment.json")]
    counts = model.Counts(recorded=1)
    counts.replayed(("kafue-bank", "iso20022", "ZMW", 498_700), 5)
    subject = model.Subject(ENVIRONMENT, *digests, moment, moment, 7)
    return canonical_bytes(model.document(subject, counts) | changes)


def refused(code: str, call: Callable[[], object]) -> None:
    with pytest.raises(SymphonyError) as caught:
        call()
    assert caught.value.code == code


def test_the_schema_has_one_name() -> None:
    assert model.SCHEMA == SCHEMA


@pytest.mark.parametrize("named", [None, "", "0" * 63, "G" * 64, 7, ["0" * 64], {}])
def test_a_proposal_that_names_something_else_than_a_digest_is_refused(named: object) -> None:
    with pytest.raises(NotTrusted) as caught:
        check_named({"impact_sha256": named})
    assert caught.value.code == "RELEASE_PROPOSAL"
    check_named({})


def test_a_service_refuses_a_proposal_that_names_no_digest(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("symphony.release.propose.sha256_hex", lambda data: "none" if data == b"report" else sha256_hex(data))
    mirror.put_release(mirror.world.draft(1, impact=b"report"))
    refused("RELEASE_PROPOSAL", mirror.follower().refresh)


def test_a_service_starts_releases_with_a_report_and_those_of_before_without_one(mirror: Mirror) -> None:
    mirror.put_release(mirror.world.draft(1))
    follower = mirror.follower()
    assert follower.refresh() is not None
    files = mirror.world.files(cap_minor=7)
    mirror.put_release(mirror.world.draft(2, files, impact=report(files)))
    second = follower.refresh()
    assert second is not None
    assert (second.number, second.proposal["impact_sha256"]) == (2, sha256_hex(report(files)))


def test_a_report_is_refused_that_is_not_the_signed_one_or_about_another_release(running: Running, world: World) -> None:
    files = world.files()

    def proposed(made: Draft) -> Callable[[], object]:
        return lambda: send(running.control("alice"), world.officer("alice"), made, "a test")

    made = world.draft(1, files, impact=report(files))
    refused("RELEASE_DIGEST", proposed(Draft(ENVIRONMENT, 1, made.metadata, made.files)))
    refused("RELEASE_DIGEST", proposed(Draft(ENVIRONMENT, 1, made.metadata, made.files, report(files, recorded=2))))
    for other in ({"policy_sha256": "0" * 64}, {"environment_sha256": "0" * 64}, {"environment": "staging"}, {"schema": "x/1"}):
        refused("RELEASE_DIGEST", proposed(world.draft(1, files, impact=report(files, **other))))
        refused("RELEASE_DIGEST", lambda other=other: running.proposed(files=files, impact=report(files, **other)))
    refused("RELEASE_DIGEST", proposed(world.draft(1, files, impact=b"no JSON")))
    assert not running.control("alice").releases(ENVIRONMENT), "nothing half-done"


def test_whoever_approves_sees_the_report_or_that_it_does_not_hold(running: Running, world: World, database: Database) -> None:
    control = running.control("bruno")
    running.proposed()
    first = downloaded(control, ENVIRONMENT, 1, world.root)
    assert bound.said(control, first) == ["no impact report is bound into this release: symphony release impact 1"]
    files = world.files(cap_minor=7)
    running.proposed(files=files, impact=report(files))
    second = downloaded(control, ENVIRONMENT, 2, world.root)
    assert "impact.json" not in second.files, "it is no target: a sidecar of the version before would refuse it"
    assert bound.of_release(control, second) == json.loads(report(files))
    assert "1 of 1 decisions replayed" in bound.said(control, second)[0]
    with psycopg.connect(database.admin) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE symphony.release_targets SET sha256 = %s WHERE number = 2 AND path = 'impact.json'",
            (sha256_hex(files["environment.json"]),),
        )
    assert "does not hold: RELEASE_DIGEST" in bound.said(control, second)[0]
