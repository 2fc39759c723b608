"""An officer's signed word about releases: withdrawals, freezes, and what he was refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import Refused
from contracts.release.trust import Trust
from controlplane.identity import Principal, opened_envelope

ENVELOPE_BYTES_MAX = 64 * 1024
REASON_MAX = 500


@dataclass(frozen=True, slots=True)
class Word:
    """An officer's signed request: its fields, the envelope's bytes as they are kept, and their SHA-256 (hex)."""

    fields: dict[str, Any]
    envelope: bytes

    @property
    def sha256(self) -> str:
        """What the evidence names."""
        return sha256_hex(self.envelope)

    def demand_about(self, **subject: Any) -> None:
        """Raise ``Refused ENVELOPE_INVALID`` unless the officer signed about exactly this."""
        if any(self.fields.get(name) != value for name, value in subject.items()):
            raise Refused("ENVELOPE_INVALID", f"the envelope names another {' or '.join(subject)}")

    def demand_reason(self) -> str:
        """Why. Raises ``Refused REQUEST_INVALID`` for none, or too long a one."""
        reason = self.fields.get("reason")
        if not isinstance(reason, str) or not 1 <= len(reason.strip()) <= REASON_MAX:
            raise Refused("REQUEST_INVALID", f"reason: 1 to {REASON_MAX} characters")
        return reason.strip()


def word_of(trust: Trust, principal: Principal, environment: str, envelope: Any, action: str) -> Word:
    """An officer's request for an environment. Raises ``OFFICER_UNKNOWN``, ``ENVELOPE_INVALID``, ``REQUEST_INVALID``."""
    key_id = str(principal.key_id)
    if key_id not in trust.officers:
        raise Refused("OFFICER_UNKNOWN", f"{principal.name} is no officer of {environment}")
    fields = opened_envelope(principal, trust.officers[key_id], envelope, action)
    if fields.get("environment") != environment:
        raise Refused("ENVELOPE_INVALID", "the envelope is about another environment")
    kept = canonical_bytes(envelope)
    if len(kept) > ENVELOPE_BYTES_MAX:
        raise Refused("REQUEST_INVALID", f"an envelope over {ENVELOPE_BYTES_MAX} bytes")
    return Word(fields, kept)
