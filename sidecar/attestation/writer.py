"""The writer's own check as one call: it takes no identity on the acceptor's word (design section 3, Processes)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from contracts.errors import NotTrusted
from sidecar.attestation.attestor import Attestor
from sidecar.attestation.limits import ATTESTORS_CACHED_MAX
from sidecar.attestation.revocations import RevocationView
from sidecar.attestation.values import Rejected, Verified

_held: list[tuple[dict[str, Any], dict[str, Any], Attestor]] = []


def writer_check(
    token: str,
    certificate_der: bytes,
    environment_data: dict[str, Any],
    manifest: dict[str, Any],
    now: datetime,
    *,
    revocations: RevocationView,
    body_sha256: str = "",
    idempotency_key: str = "",
) -> Verified:
    """The identity that token and certificate prove under this release. Raises ``NotTrusted`` with the code.

    Release data is frozen by convention: the same two objects find their imported keys again (about 100 µs a call).
    """
    answer = attestor_of(environment_data, manifest).recheck(
        token,
        certificate_der,
        revocations=revocations,
        now=now,
        body_sha256=body_sha256,
        idempotency_key=idempotency_key,
    )
    if isinstance(answer, Rejected):
        raise NotTrusted(answer.code, answer.detail)
    return answer


def attestor_of(environment_data: dict[str, Any], manifest: dict[str, Any]) -> Attestor:
    """The attestor of a release, made once for the same two objects."""
    for data, service, attestor in _held:
        if data is environment_data and service is manifest:
            return attestor
    attestor = Attestor(environment_data, manifest, environment=environment_data["environment"])
    _held.append((environment_data, manifest, attestor))
    del _held[:-ATTESTORS_CACHED_MAX]
    return attestor
