"""Judging a batch: a pure function from what was handed over and what the database knows to what is recorded.

Rules, in this order, for each message of a batch:

1. a refusal of station 1, the acceptor's or the writer's own, is an attestation REJECT and nothing else (design section 8);
2. ATT-07, D1: a token that was spent is ``TOKEN_REPLAYED``, even with a known idempotency key;
3. a certificate, token key or participant that the commit's revocations name is refused (INV-023);
4. D9, REC-06: a known idempotency key gives the first result again when the body is the same, else
   ``IDEMPOTENCY_KEY_REUSED``; either spends the token;
5. a refusal of the whole message by station 2 is one instruction row, REFUSED, ``tx_index`` -1;
6. each payment: station 2's refusal, the writer's own checks (``governed``), Rego's verdict, ``DUPLICATE_TRANSACTION``,
   then the daily caps against usage, exact because the rows are locked; only what is allowed gets a sequence number.

A batch holds no token, no idempotency key and no business key twice: ``split`` puts the second one into the next batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sidecar.attestation.values import Rejected, Verified
from sidecar.intake.governed import Governed
from sidecar.intake.handover import WHOLE_MESSAGE, HandedItem, HandedMessage

_REVOKED = {"certificate": "CERTIFICATE_REVOKED", "token_key": "KEY_REVOKED", "participant": "PARTICIPANT_REVOKED"}


@dataclass(slots=True)
class Checked:
    """A handed message and the writer's own finding about its caller."""

    message: HandedMessage
    identity: Verified | Rejected


@dataclass(slots=True)
class Known:
    """What the database answered (``judge_batch``), by message and payment."""

    replayed: set[int]
    revoked: dict[int, str]
    existing: dict[int, list[dict[str, Any]]]
    duplicates: dict[tuple[int, int], tuple[str, str]]
    counters: dict[str, tuple[int, int]]
    usage: dict[tuple[str, str], tuple[int, int]]
    accepted_keys: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Known:
        """From the JSON of ``judge_batch``."""
        existing: dict[int, list[dict[str, Any]]] = {}
        for row in answer["existing"]:
            existing.setdefault(row["n"], []).append(row)
        return cls(
            replayed=set(answer["replayed"]),
            revoked={n: _REVOKED[kind] for n, kind in answer["revoked"]},
            existing=existing,
            duplicates={(d["n"], d["i"]): (d["instruction_id"], d["participant"]) for d in answer["duplicates"]},
            counters={name: (pair[0], pair[1]) for name, pair in answer["counters"].items()},
            usage={(row[0], row[1]): (row[2], row[3]) for row in answer["usage"]},
        )


@dataclass(slots=True)
class JudgedItem:
    """One instruction row to be: allowed with its number, or refused with its reason."""

    item: HandedItem
    reason_code: str | None = None
    detail: str = ""
    sequence_id: int | None = None

    @property
    def allowed(self) -> bool:
        """Whether it enters the outbox."""
        return self.reason_code is None


@dataclass(slots=True)
class Judged:
    """One message, judged. ``existing``: the rows of the first result, for a true retry."""

    checked: Checked
    participant_id: str | None = None
    tenant_seq_no: int | None = None
    reject_code: str | None = None
    reject_detail: str = ""
    spends: bool = False
    items: list[JudgedItem] = field(default_factory=list)
    existing: list[dict[str, Any]] = field(default_factory=list)


def judge(batch: Sequence[Checked], known: Known, governed: Governed) -> list[Judged]:
    """Judge a batch; moves ``known.counters`` and ``known.usage`` along as it gives out numbers and usage."""
    return [_judge_one(n, checked, known, governed) for n, checked in enumerate(batch)]


def _judge_one(n: int, checked: Checked, known: Known, governed: Governed) -> Judged:
    identity = checked.identity
    judged = Judged(checked, participant_id=identity.participant_id, spends=identity.spendable)
    judged.reject_code, judged.reject_detail = _station_one(n, checked, known)
    if judged.reject_code == "TOKEN_REPLAYED":
        judged.spends = False
    if judged.participant_id is not None:
        judged.tenant_seq_no = _take_tenant_number(known, judged.participant_id)
    if judged.reject_code is None:
        _stations_two_to_four(n, judged, known, governed)
    return judged


def _station_one(n: int, checked: Checked, known: Known) -> tuple[str | None, str]:
    identity, message = checked.identity, checked.message
    if n in known.replayed and identity.spendable:
        return "TOKEN_REPLAYED", ""
    if isinstance(identity, Rejected):
        return identity.code, identity.detail
    if message.rejected_code is not None:
        return message.rejected_code, message.rejected_detail
    if n in known.revoked:
        return known.revoked[n], ""
    existing = known.existing.get(n)
    if existing and existing[0]["digest"] != message.body_sha256:
        return "IDEMPOTENCY_KEY_REUSED", ""
    return None, ""


def _stations_two_to_four(n: int, judged: Judged, known: Known, governed: Governed) -> None:
    message = judged.checked.message
    judged.existing = known.existing.get(n, [])
    if judged.existing:
        return
    if message.group_refused_code is not None:
        item = HandedItem(tx_index=WHOLE_MESSAGE)
        judged.items = [JudgedItem(item, message.group_refused_code, message.group_refused_detail)]
        return
    assert judged.participant_id is not None
    judged.items = [_judge_item(n, i, item, judged.participant_id, known, governed) for i, item in enumerate(message.items)]


def _judge_item(n: int, i: int, item: HandedItem, participant: str, known: Known, governed: Governed) -> JudgedItem:
    instruction = item.instruction
    if item.refused_code is not None or instruction is None:
        return JudgedItem(item, item.refused_code or "INPUT_INVALID", item.refused_detail)
    fixed = governed.refusal(participant, instruction)
    if not item.allow and fixed != "AGENT_MISMATCH":  # the officers' reason says more than a cap that is missing
        return JudgedItem(item, item.reasons[0] if item.reasons else "POLICY_DENIED", ",".join(item.reasons))
    if fixed is not None:
        return JudgedItem(item, fixed, governed.because(fixed))
    duplicate = known.duplicates.get((n, i))
    if duplicate is not None:
        return JudgedItem(item, "DUPLICATE_TRANSACTION", duplicate[0] if duplicate[1] == participant else "")
    if instruction["business_key"] in known.accepted_keys:
        return JudgedItem(item, "DUPLICATE_TRANSACTION")
    over = _take_usage(known, governed, participant, instruction)
    if over is not None:
        return JudgedItem(item, over, governed.because(over))
    known.accepted_keys.add(instruction["business_key"])
    sequence, tenant = known.counters[participant]
    known.counters[participant] = (sequence + 1, tenant)
    return JudgedItem(item, sequence_id=sequence)


def _take_usage(known: Known, governed: Governed, participant: str, instruction: dict[str, Any]) -> str | None:
    """Reserve daily usage, or name the cap that is in the way."""
    currency = instruction["currency"]
    caps = governed.caps(participant, currency)
    value, count = known.usage.get((participant, currency), (0, 0))
    if caps is None or value + instruction["amount_minor"] > caps["daily_minor_max"]:
        return "CAP_DAILY_VALUE"
    if count + 1 > caps["daily_count_max"]:
        return "CAP_DAILY_COUNT"
    known.usage[participant, currency] = (value + instruction["amount_minor"], count + 1)
    return None


def _take_tenant_number(known: Known, participant: str) -> int:
    sequence, tenant = known.counters.get(participant, (1, 1))
    known.counters[participant] = (sequence, tenant + 1)
    return tenant


def split(batch: Sequence[Checked]) -> tuple[list[int], list[int]]:
    """Indexes that can be judged together, and those that must wait for the next batch."""
    now: list[int] = []
    later: list[int] = []
    seen: set[tuple[str, ...]] = set()
    for index, checked in enumerate(batch):
        keys = set(_keys(checked))
        (later if keys & seen else now).append(index)
        seen |= keys
    return now, later


def _keys(checked: Checked) -> Iterable[tuple[str, ...]]:
    identity = checked.identity
    if identity.spendable and identity.jti_hash is not None:
        yield ("jti", identity.jti_hash)
    if isinstance(identity, Verified):
        yield ("key", identity.participant_id, identity.idempotency_key)
        for item in checked.message.items:
            if item.instruction is not None:
                yield ("business", item.instruction["business_key"])
