"""What the acceptor hands to the writer, and what it gets back (design section 3, Processes).

The writer believes of it: the raw bytes, the adapter's instructions and Rego's verdict. It checks by itself: token,
certificate, digest of the raw bytes, participant, agents, caps, revocations.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

_Code = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]{0,63}\Z")]

WHOLE_MESSAGE = -1
"""``tx_index`` of a refusal of a whole message."""
BATCH_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of one micro-batch; a frame holds four times that, the largest message (a body of 10 MiB) stands alone."""
QUEUE_BYTES_MAX = 128 * 1024 * 1024
"""Bytes of the messages that wait, beside their count: bodies differ by a factor of thousands."""


class HandedItem(Struct, kw_only=True):
    """One payment of a message: an instruction with its decision, or a refusal of station 2."""

    tx_index: int
    instruction: dict[str, Any] | None = None
    decision_input: bytes = b""
    allow: bool = False
    reasons: list[str] = []
    refused_code: str | None = None
    refused_detail: str = ""
    refs: dict[str, str | None] = {}


class HandedMessage(Struct, kw_only=True):
    """One request: who and what was presented, and what stations 1 to 3 made of it."""

    correlation_id: str
    received_at: str
    token: str | None
    certificate_der: bytes | None
    idempotency_key: str | None
    raw: bytes
    body_sha256: str
    release_number: int
    emergency: int = 0
    message_type: str | None = None
    message_id: str | None = None
    rejected_code: str | None = None
    rejected_detail: str = ""
    group_refused_code: str | None = None
    group_refused_detail: str = ""
    items: list[HandedItem] = []


def bytes_of(message: HandedMessage) -> int:
    """About what a message takes in a frame and in a commit: its body, and each payment twice (itself, and its input)."""
    return len(message.raw) + 512 + sum(512 + 2 * len(item.decision_input) for item in message.items)


class Entry(Struct, kw_only=True):
    """The answer for one payment."""

    instruction_id: str
    tx_index: int
    decision: str
    reason_code: str | None = None
    detail: str = ""
    refs: dict[str, str | None] = {}


class Answer(Struct, kw_only=True):
    """The answer for one message, after its commit. ``rejected_code``: nothing but an attestation was recorded."""

    attestation_id: str | None
    received_at: str
    release_number: int
    policy_checksum: str
    rejected_code: str | None = None
    rejected_detail: str = ""
    repeated: bool = False
    message_type: str | None = None
    message_id: str | None = None
    entries: list[Entry] = []


class Handover(Struct, kw_only=True):
    """One micro-batch over the Unix socket."""

    messages: list[HandedMessage]


class RejectsReport(Struct, kw_only=True, forbid_unknown_fields=True):
    """Strangers who were refused, as counts (D3): exactly these fields become evidence, whatever an acceptor says."""

    source_sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    count: Annotated[int, Meta(ge=1)]
    codes: Annotated[dict[_Code, Annotated[int, Meta(ge=1)]], Meta(max_length=64)]
    first_at: Annotated[str, Meta(max_length=40)]
    last_at: Annotated[str, Meta(max_length=40)]


class HandoverAnswer(Struct, kw_only=True):
    """One ``Answer`` a message, in order; or a reason code where nothing was recorded."""

    answers: list[Answer | str]
