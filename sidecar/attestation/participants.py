"""Who a verified subject is: the participant that lists it as a client in the release.

Rules: a client belongs to one participant (``NotTrusted RELEASE_MANIFEST`` when the release is taken);
an unlisted one is ``PARTICIPANT_UNKNOWN``; a suspended or revoked one is ``PARTICIPANT_REVOKED``; a certificate that
names a participant names this one (``CERTIFICATE_PARTICIPANT``).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from contracts.errors import NotTrusted, Refused
from sidecar.attestation.certificates import Certificate
from sidecar.attestation.revocations import RevocationView


class Participants:
    """The participants of one release, by client."""

    def __init__(self, participants: list[dict[str, Any]]) -> None:
        """``environment_data["participants"]``. Raises ``NotTrusted RELEASE_MANIFEST`` for a client of two."""
        self._by_client: dict[str, tuple[str, str]] = {}
        for participant in participants:
            for client in participant["clients"]:
                if client in self._by_client:
                    raise NotTrusted("RELEASE_MANIFEST", f"client {client} is of two participants")
                self._by_client[client] = (participant["id"], participant["status"])

    def of(self, client: str, certificate: Certificate, revocations: RevocationView, now: datetime) -> str:
        """The participant's id. Raises ``Refused`` with one of the codes above."""
        found = self._by_client.get(client)
        if found is None:
            raise Refused("PARTICIPANT_UNKNOWN")
        participant, status = found
        if certificate.participant_id not in (None, participant):
            raise Refused("CERTIFICATE_PARTICIPANT")
        if status != "active":
            raise Refused("PARTICIPANT_REVOKED", f"the release says {status}")
        if revocations.is_revoked("participant", participant, now):
            raise Refused("PARTICIPANT_REVOKED", "the participant is on the revocation list")
        return participant
