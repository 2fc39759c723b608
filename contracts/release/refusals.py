"""Why a follower did not take a release, in two kinds: what may pass by itself, and what needs an officer.

* ``TRANSIENT``: the follower tries again by itself, and the same release may be taken later: the repository or the
  service's own store or disk was away, or the release's time has not come;
* ``PERMANENT``: this release, as it was signed, is not taken here; another one must be published, or the service mended;
* a code that stands in neither (a service newer than this table) is permanent: an officer looks.

``tests/releases/test_refusals_classified.py`` finds every code that a follower's modules can raise here.
"""

from __future__ import annotations

TRANSIENT = frozenset({
    "RELEASE_UNREACHABLE", "RELEASE_NOT_BEFORE", "RELEASE_NOT_YET", "STORE_UNAVAILABLE", "CONFIGURATION",
})  # fmt: skip
"""``CONFIGURATION``: a file of this machine cannot be read or written; the release is not at fault."""

PERMANENT = frozenset({
    "RELEASE_SIGNATURE", "RELEASE_EXPIRED", "RELEASE_ROLLBACK", "RELEASE_FORKED", "RELEASE_ENVIRONMENT", "RELEASE_SHAPE",
    "RELEASE_KEY_REUSED", "RELEASE_PROPOSAL", "RELEASE_GATE", "RELEASE_LATE", "RELEASE_REVOKED", "RELEASE_DIGEST",
    "RELEASE_BUNDLE", "RELEASE_ENGINE", "RELEASE_INVARIANT", "RELEASE_SERVICE_UNKNOWN", "RELEASE_MANIFEST",
    "RELEASE_WILDCARD", "RELEASE_SCHEMA_HOSTILE", "POLICY_ERROR", "INTERNAL", "REQUEST_INVALID", "NOT_BUILT",
    "RELEASE_PROVENANCE", "RELEASE_SBOM",
    "EMERGENCY_INVALID", "EMERGENCY_SIGNATURE", "EMERGENCY_TIME", "EMERGENCY_REPLAYED", "EMERGENCY_OVER", "EMERGENCY_OWN",
})  # fmt: skip


def is_permanent(code: str) -> bool:
    """Whether the release will not be taken as it is."""
    return code not in TRANSIENT
