"""Revocation lists: the security officer adds entries to the published list, signs it and publishes it (SEC-08)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.release import rules
from contracts.release.model import Revocations
from contracts.release.trust import Trust, root_of, trust_of
from symphony.release.ceremony import signed_revocations
from symphony.release.client import ControlPlane


def publish_trust(
    control: ControlPlane, roots: Sequence[bytes], targets: bytes, *, revocations: Mapping[str, bytes] | None = None,
    renewals: Sequence[Mapping[str, Any]] = (), principals: Sequence[Mapping[str, Any]] = (),
) -> dict[str, int]:  # fmt: skip
    """Publish the custodians' metadata, and what must change with it, as one; the version of each role written.

    ``revocations`` by environment; ``renewals`` as ``symphony.trust.apply.renewal`` makes them; the same again is no error.
    """
    lists = {name: base64.b64encode(data).decode() for name, data in (revocations or {}).items()}
    encoded = [base64.b64encode(root).decode() for root in roots]
    body = {
        "roots": encoded, "targets": base64.b64encode(targets).decode(), "revocations": lists,
        "renewals": list(renewals), "principals": list(principals),
    }  # fmt: skip
    return dict(control.post("/v1/trust", body))


def publish_revocations(control: ControlPlane, environment: str, signed: bytes) -> int:
    """Publish a signed list; its version."""
    body = {"metadata": base64.b64encode(signed).decode()}
    return int(control.post(f"/v1/revocations/{environment}", body)["version"])


def revoke(
    control: ControlPlane,
    key: Ed25519PrivateKey,
    environment: str,
    entries: Sequence[Mapping[str, Any]],
    *,
    root: bytes,
    now: datetime,
) -> int:
    """Publish the next list: every entry of the published one, verified here, and these. Its version."""
    _, before = published(control, environment, root)
    signed = signed_revocations(key, environment, before.version + 1, [*before.entries, *entries], now)
    return publish_revocations(control, environment, signed)


def published(control: ControlPlane, environment: str, root: bytes) -> tuple[Trust, Revocations]:
    """The custodians' word and the revocation list that are published, from one's own pinned root."""
    roots, targets, data = control.trust(environment, root_of(root).version)
    trust = trust_of(root_of(root, roots), targets, environment)
    return trust, rules.verify_revocations(trust, data, environment)
