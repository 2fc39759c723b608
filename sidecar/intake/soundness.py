"""What a handover must be before the writer works with it: an acceptor that is wrong spoils one message, nothing else.

Rules:

* a message whose digest, time, ids or reason codes are not what they must be is not recorded at all
  (``REQUEST_INVALID``): evidence that no verifier takes would stop the stream for everybody;
* a message whose evidence record would be larger than a record may be is refused as a whole, ``TOO_MANY_TRANSACTIONS``;
* a payment that is not a canonical instruction, or whose frozen decision input is not one about exactly this payment,
  this participant and this release, is refused ``INPUT_INVALID``, whatever was decided: a later release decides on
  that input again.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta
from typing import Any

import orjson

from contracts.evidence import RECORD_BYTES_MAX
from contracts.reasons import REASONS
from contracts.schemas import fast_validator
from contracts.times import parse_rfc3339
from sidecar.intake.handover import HandedItem, HandedMessage

ITEMS_MAX = 512
"""Payments of a message; what one evidence record holds."""
TX_INDEX_MAX = 100_000
TEXT_MAX = 140
RECEIVED_WITHIN = timedelta(minutes=5)
"""How far the acceptor's time may be from the writer's; both run on one host."""

HEAD_BYTES, ITEM_BYTES = 4096, 400
"""Of an evidence record: what its head takes at most, and a payment without its two agents (which may be long)."""

_CORRELATION = re.compile(r"[A-Za-z0-9._-]{1,64}")


def fault_of(message: HandedMessage, now: datetime) -> str | None:
    """What is wrong with a message as a whole, or ``None``."""
    if hashlib.sha256(message.raw).hexdigest() != message.body_sha256:
        return "the digest is not the body's"
    if not _CORRELATION.fullmatch(message.correlation_id):
        return "correlation id"
    if any(text is not None and len(text) > TEXT_MAX for text in (message.message_type, message.message_id)):
        return "message type or id"
    if not _near(message.received_at, now):
        return "time of arrival"
    if any(code is not None and code not in REASONS for code in _codes(message)):
        return "a reason code outside the closed list"
    return _fault_of_items(message)


def hold_items(message: HandedMessage, participant_id: str, release_number: int) -> None:
    """Refuse each payment that is not what the rules above ask; nothing of it is kept but its index."""
    if not _fits_a_record(message):
        message.items, message.group_refused_code = [], "TOO_MANY_TRANSACTIONS"
        message.group_refused_detail = "one evidence record does not hold them"
    for item in message.items:
        if item.instruction is not None and not _sound(item, participant_id, release_number):
            item.instruction, item.decision_input, item.refused_code = None, b"", "INPUT_INVALID"
            item.refused_detail = "not a canonical instruction with its own decision input"


def _fault_of_items(message: HandedMessage) -> str | None:
    indexes = [item.tx_index for item in message.items]
    if len(indexes) > ITEMS_MAX or len(set(indexes)) != len(indexes):
        return "payments"
    if any(not 0 <= index <= TX_INDEX_MAX for index in indexes):
        return "index of a payment"
    if not indexes and message.rejected_code is None and message.group_refused_code is None:
        return "neither a payment nor a refusal"
    return None


def _codes(message: HandedMessage) -> list[str | None]:
    codes = [message.rejected_code, message.group_refused_code]
    for item in message.items:
        codes += [item.refused_code, *item.reasons]
    return codes


def _near(received_at: str, now: datetime) -> bool:
    try:
        return abs(now - parse_rfc3339(received_at)) <= RECEIVED_WITHIN
    except ValueError:
        return False


def _fits_a_record(message: HandedMessage) -> bool:
    size = HEAD_BYTES + ITEM_BYTES * len(message.items)
    for item in message.items:
        for name in ("instructing_agent", "instructed_agent"):
            size += len(orjson.dumps((item.instruction or {}).get(name)))
    return size <= RECORD_BYTES_MAX


def _sound(item: HandedItem, participant_id: str, release_number: int) -> bool:
    if item.refused_code is not None:
        return bool(fast_validator("symphony.instruction/1").is_valid(item.instruction))
    try:
        document: Any = orjson.loads(item.decision_input)
    except orjson.JSONDecodeError:
        return False
    return (
        fast_validator("symphony.decision_input/1").is_valid(document)
        and document["instruction"] == item.instruction
        and document["participant_id"] == participant_id
        and document["release_number"] == release_number
    )
