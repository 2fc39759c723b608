"""The impact report that a proposal names by digest (design section 4, CHECKED). It is no target: no sidecar reads it.

A proposal without the field is one of an older version and stays valid; one with it must name a digest, and the bytes that
somebody shows for it must be those, and must be about this release's own policy and data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from contracts.canonical import parse_json, sha256_hex
from contracts.errors import NotTrusted, Refused
from contracts.release.model import Role

IMPACT = "impact.json"
SCHEMA = "symphony.impact_report/1"
IMPACT_BYTES_MAX = 8 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_named(proposal: Mapping[str, Any]) -> None:
    """The proposal names a digest, or has no such field. Raises ``NotTrusted RELEASE_PROPOSAL``."""
    named = proposal.get("impact_sha256")
    if "impact_sha256" in proposal and not (isinstance(named, str) and _SHA256.fullmatch(named)):
        raise NotTrusted("RELEASE_PROPOSAL", "impact_sha256 is no digest")


def verify_impact(proposal: Mapping[str, Any], role: Role, data: bytes) -> dict[str, Any]:
    """The report that the proposal names. Raises ``NotTrusted RELEASE_DIGEST`` for other bytes, or about another release."""
    if sha256_hex(data) != proposal.get("impact_sha256"):
        raise NotTrusted("RELEASE_DIGEST", f"{IMPACT} is not what was signed")
    try:
        report = parse_json(data, bytes_max=IMPACT_BYTES_MAX)
    except Refused as error:
        raise NotTrusted("RELEASE_DIGEST", f"{IMPACT}: {error.detail}") from error
    about = {
        "schema": SCHEMA, "environment": role.environment, "policy_sha256": role.targets["policy.wasm"].sha256,
        "environment_sha256": role.targets["environment.json"].sha256,
    }  # fmt: skip
    if not isinstance(report, dict) or {name: report.get(name) for name in about} != about:
        raise NotTrusted("RELEASE_DIGEST", f"{IMPACT} is not about this release's policy and data")
    return report
