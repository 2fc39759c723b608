"""The adapter contract, as types: what a rail adapter is asked and what it may answer (design section 6).

Each struct is one map of ``contracts.wire``; fields keep their names on the wire, unknown fields are ignored, so that
a contract only gains fields. Bytes travel as bytes. Every ``code`` is one of ``contracts.reasons``.

What an adapter may never do: infer an outcome (REC-13, OUT-11). What is not provably one thing is ``IN_DOUBT`` or
``CANNOT_SAY``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

NOT_IN_A_TRANSACTION = -1
"""``tx_index`` of a refusal that is about the whole message (design section 8)."""


class Method(StrEnum):
    """The calls that an adapter answers on its Unix socket."""

    CONFIGURE = "configure"
    NORMALISE = "normalise"
    SUBMIT = "submit"
    QUERY_STATUS = "query_status"
    REVERSE = "reverse"
    RECONCILE = "reconcile"
    RENDER_STATUS = "render_status"


class Outcome(StrEnum):
    """What a submit is known to have done, never more than the rail attests (OUT-11)."""

    ACCEPTED_FINAL = "accepted_final"
    REJECTED_FINAL = "rejected_final"
    SURELY_NOT_SENT = "surely_not_sent"
    IN_DOUBT = "in_doubt"


class RailStatus(StrEnum):
    """What the rail says of an instruction when it is asked (design section 6)."""

    ACCEPTED_FINAL = "accepted_final"
    ACCEPTED_PENDING = "accepted_pending"
    REJECTED_FINAL = "rejected_final"
    NOT_FOUND_YET = "not_found_yet"
    NOT_FOUND_FINAL = "not_found_final"
    CANNOT_SAY = "cannot_say"


class Currency(Struct, frozen=True):
    """One line of the release's currency table; ``money`` is false for metals, bonds and test codes."""

    exponent: int
    money: bool


class RailContext(Struct, frozen=True, kw_only=True):
    """What of a release an adapter needs to normalise. ``message_types`` as ``pacs.008``."""

    exponents: dict[str, Currency]
    transactions_max: int
    duplicate_window_days: int
    message_types: tuple[str, ...]
    wildcards: dict[str, bool] = {}


class ConfigureRequest(Struct, frozen=True, kw_only=True):
    """``configure``: schemas by ``<rail>/<message version>`` (``iso20022/pacs.008.001.08``), as bytes."""

    release_number: int
    schemas: dict[str, bytes]
    context: RailContext


class NormaliseRequest(Struct, frozen=True, kw_only=True):
    """``normalise``: the raw bytes as received, and the release that they are read under."""

    raw: bytes
    content_type: str
    received_at: str
    release_number: int


class References(Struct, frozen=True, kw_only=True):
    """The original ids of a transaction, for echoing."""

    instruction_ref: str | None = None
    end_to_end_ref: str | None = None
    tx_ref: str | None = None
    uetr: str | None = None


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a message (``tx_index`` −1) or one transaction of it is refused."""

    code: str
    detail: str = ""
    tx_index: int = NOT_IN_A_TRANSACTION
    refs: References = References()


class MessageInfo(Struct, frozen=True, kw_only=True):
    """What could be told of the message; ``None`` where the refusal came first. ``wrapper``: its envelope's form."""

    message_type: str | None = None
    message_id: str | None = None
    tx_count: int = 0
    created_date: str | None = None
    wrapper: str | None = None


class TransactionResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Exactly one of the two: a canonical instruction (``symphony.instruction/1``), or a refusal."""

    instruction: dict[str, Any] | None = None
    refused: Refusal | None = None


class NormaliseAnswer(Struct, frozen=True, kw_only=True):
    """One result per transaction, in order; none when ``group_refused`` is set."""

    message: MessageInfo
    results: tuple[TransactionResult, ...] = ()
    group_refused: Refusal | None = None


class SubmitItem(Struct, frozen=True, kw_only=True):
    """One effect: the sidecar's request bytes and the permit (JSON bytes) that names their digest."""

    instruction_id: str
    body: bytes
    permit: bytes


class SubmitRequest(Struct, frozen=True, kw_only=True):
    """``submit`` and ``query_status``: the items share one deadline."""

    items: tuple[SubmitItem, ...]
    timeout_ms: int


class SubmitResult(Struct, frozen=True, kw_only=True):
    """The outcome of one item. ``detail`` is a class of error, never payload."""

    outcome: Outcome
    code: str | None = None
    rail_reference: str | None = None
    detail: str = ""


class SubmitAnswer(Struct, frozen=True, kw_only=True):
    """One result per item, in order."""

    results: tuple[SubmitResult, ...]


class StatusResult(Struct, frozen=True, kw_only=True):
    """What the rail says of one instruction."""

    status: RailStatus
    rail_reference: str | None = None
    code: str | None = None
    detail: str = ""


class StatusAnswer(Struct, frozen=True, kw_only=True):
    """One result per item, in order."""

    results: tuple[StatusResult, ...]


class ReconcileRequest(Struct, frozen=True, kw_only=True):
    """``reconcile``: the rail's own postings in [``start``, ``end``) (RFC 3339), page by page."""

    start: str
    end: str
    cursor: str | None = None
    timeout_ms: int = 10_000


class Posting(Struct, frozen=True, kw_only=True):
    """One posting as the rail's books have it."""

    instruction_id: str
    amount_minor: int
    currency: str
    debit_agent: str
    credit_agent: str
    posted_at: str
    posting_id: str | None = None


class ReconcileAnswer(Struct, frozen=True, kw_only=True):
    """A page of postings; ``next`` is the cursor of the page after, ``None`` at the end."""

    postings: tuple[Posting, ...]
    next: str | None = None


class TransactionStatus(Struct, frozen=True, kw_only=True):
    """One line of a status report. ``status``: ``ACTC`` or ``RJCT``; ``iso_reason`` of ExternalStatusReason1Code."""

    status: str
    refs: References = References()
    iso_reason: str | None = None
    code: str | None = None
    detail: str = ""


class StatusReport(Struct, frozen=True, kw_only=True):
    """The ids of the report itself: ``report_id`` (≤ 35 characters) and its time (RFC 3339)."""

    report_id: str
    created_at: str


class RenderRequest(Struct, frozen=True, kw_only=True):
    """``render_status``: answer ``original`` in the rail's own format. ``group`` when the whole message is refused."""

    report: StatusReport
    original: MessageInfo
    results: tuple[TransactionStatus, ...] = ()
    group: TransactionStatus | None = None


class RenderAnswer(Struct, frozen=True, kw_only=True):
    """The status report in the rail's own format (pacs.002 for ISO 20022)."""

    xml: bytes
    content_type: str = "application/xml"
