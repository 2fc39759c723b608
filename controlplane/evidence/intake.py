"""Intake of sealed batches and heartbeats (EVD-01, EVD-08; design section 9).

In this order, and nothing is stored before all of it holds:

* bounds: bytes of the body, of each record and of all together, records in a batch;
* the key that the batch names may sign for its stream (else ``STREAM_UNKNOWN``), and the signature holds;
* every record is canonical, within its schema, of the batch's environment and stream, numbered without a gap;
* the root over the records' leaves is the signed one (else ``BATCH_SIGNATURE``);
* the range follows the stream's last number (else ``BATCH_GAP`` with that number) and names the batch before it; the
  same range with other bytes, another predecessor or an older epoch is ``BATCH_FORKED``; an identical repeat is
  answered as the first was.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from contracts import evidence
from contracts.errors import NotTrusted, Refused
from contracts.times import parse_rfc3339
from controlplane.context import Context
from controlplane.evidence.keys import EvidenceKeys
from controlplane.store import queries

BATCH_BODY_BYTES_MAX = evidence.BATCH_BYTES_MAX * 4 // 3 + 256 * 1024
"""A batch's records in base64, with room for JSON."""
HEARTBEAT_BODY_BYTES_MAX = 8 * 1024
OWN_STREAM = "controlplane"
_SQL = queries("controlplane.evidence")


@dataclass(slots=True)
class Batch:
    """A verified batch, ready for the log."""

    body: bytes
    signature: str
    claims: dict[str, Any]
    records: list[bytes]
    kinds: list[str] = field(default_factory=list)
    recorded_at: list[datetime] = field(default_factory=list)
    subjects: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)


async def take_batch(context: Context, keys: EvidenceKeys, document: dict[str, Any]) -> int:
    """Verify and log ``{"batch", "signature", "records"}``; gives the stream's last number. Raises as listed above."""
    body, signature = _bytes(document, "batch"), _text(document, "signature")
    claims = evidence.parse_batch(body)
    public_key = await _key_for(context, keys, claims)
    batch = await asyncio.to_thread(_verified, body, signature, claims, document.get("records"), public_key)
    rows = await context.pool.fetch(
        _SQL["append"], claims["stream"], claims["environment"], claims["epoch"], claims["first_seq"],
        claims["last_seq"], claims["previous_batch_sha256"], claims["key_id"], body, signature, batch.records,
        batch.kinds, batch.recorded_at, batch.subjects, batch.positions,
    )  # fmt: skip
    outcome, last = str(rows[0]["outcome"]), int(rows[0]["last_seq"])
    if outcome == "gap":
        raise BatchGap(last)
    if outcome == "forked":
        raise Refused("BATCH_FORKED", f"{claims['stream']} {claims['first_seq']} to {claims['last_seq']}")
    return last


async def take_heartbeat(context: Context, keys: EvidenceKeys, document: dict[str, Any]) -> int:
    """Verify and keep ``{"heartbeat", "signature"}``; gives what is logged of the stream."""
    body, signature = _bytes(document, "heartbeat"), _text(document, "signature")
    claims = evidence.parse_heartbeat(body)
    public_key = await _key_for(context, keys, claims)
    evidence.verify_heartbeat(body, signature, public_key=public_key)
    rows = await context.pool.fetch(
        _SQL["heartbeat"], claims["stream"], claims["environment"], claims["last_seq"], body, signature
    )
    return int(rows[0]["last_seq"])


class BatchGap(Refused):
    """The batch does not follow the stream's last number, which the answer names."""

    def __init__(self, last_seq: int) -> None:
        super().__init__("BATCH_GAP", f"the last number here is {last_seq}")
        self.last_seq = last_seq


def subjects_of(document: dict[str, Any]) -> list[str]:
    """The instructions that a record speaks of."""
    found = [item.get("instruction_id") for item in document.get("instructions", []) if isinstance(item, dict)]
    found += [document.get("outbox_id"), document.get("instruction_id")]
    return [subject for subject in found if isinstance(subject, str) and 1 <= len(subject) <= 64]


async def _key_for(context: Context, keys: EvidenceKeys, claims: dict[str, Any]) -> str:
    if claims["environment"] != context.environment:
        raise Refused("STREAM_UNKNOWN", f"this control plane is of {context.environment}")
    found = None if claims["stream"] == OWN_STREAM else await keys.lookup(claims["stream"], claims["key_id"])
    if found is None:
        raise Refused("STREAM_UNKNOWN", f"stream {claims['stream']}, key {claims['key_id'][:16]}…")
    return found


def _verified(body: bytes, signature: str, claims: dict[str, Any], encoded: Any, public_key: str) -> Batch:
    records = _records(encoded, claims["leaf_count"])
    evidence.verify_batch(body, signature, public_key=public_key, leaves=[evidence.leaf(item) for item in records])
    batch = Batch(body, signature, claims, records)
    for position, data in enumerate(records):
        document = evidence.parse_record(data)
        if (document["environment"], document["stream"]) != (claims["environment"], claims["stream"]):
            raise NotTrusted("BATCH_SIGNATURE", f"record {position} is of another environment or stream")
        if document["seq"] != claims["first_seq"] + position:
            raise NotTrusted("BATCH_SIGNATURE", f"record {position} is not number {claims['first_seq'] + position}")
        batch.kinds.append(evidence.kind_of(document))
        batch.recorded_at.append(_moment(document["recorded_at"]))
        for subject in subjects_of(document):
            batch.subjects.append(subject)
            batch.positions.append(position)
    return batch


def _records(encoded: Any, count: int) -> list[bytes]:
    if not isinstance(encoded, list) or len(encoded) != count:
        raise Refused("REQUEST_INVALID", f"records must be a list of {count}")
    records = [_decode(item, "records") for item in encoded]
    if sum(map(len, records)) > evidence.BATCH_BYTES_MAX:
        raise Refused("REQUEST_INVALID", f"the records are over {evidence.BATCH_BYTES_MAX} bytes together")
    return records


def _moment(text: str) -> datetime:
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise Refused("REQUEST_INVALID", f"recorded_at: {error}") from error


def _bytes(document: dict[str, Any], name: str) -> bytes:
    return _decode(document.get(name), name)


def _decode(value: Any, name: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise Refused("REQUEST_INVALID", f"{name}: not base64") from error


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or len(value) != 128 or set(value) - set("0123456789abcdef"):
        raise Refused("REQUEST_INVALID", f"{name}: not 128 lower-case hexadecimal digits")
    return value
