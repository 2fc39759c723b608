"""Recorded decisions made up on purpose: through the database's own functions, over the window's hours, with known answers."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from contracts.canonical import canonical_bytes
from symphony.impact.replay import Candidate
from symphony.policy_build import committed_wasm
from tests.policy.support import AMOUNT_MAX, decision_input, environment
from tests.sidecar.rows import Bench, Row, attestation, instruction

OWN_AGENT = {"kafue-bank": "KFUBZMLUXXX", "luangwa-bank": "LWGBZMLUXXX", "mosi-money": "MSIMZMLUXXX", "rheinufer-bank": "RHUBDEFFXXX"}
CURRENCIES = ("ZMW", "USD", "JPY", "KES")
CAP_THEN, CAP_NOW = 10**12, 5 * 10**11


def candidate(cap: int | dict[str, int] = CAP_THEN, *, daily: int = AMOUNT_MAX, **changes: Any) -> Candidate:
    """The committed policy under the sandbox's data, with one payment cap for every currency, or one for each."""
    data = environment()
    by = cap if isinstance(cap, dict) else dict.fromkeys(data["caps"], cap)
    for currency, caps in data["caps"].items():
        caps |= {"payment_minor_max": by.get(currency, CAP_THEN), "daily_minor_max": daily}
    for participant in data["participants"]:
        participant.pop("caps", None)
    return Candidate(committed_wasm(), canonical_bytes({**data, **changes}))


@dataclass(frozen=True)
class Payment:
    """One payment to be recorded: by default as the policy under ``CAP_THEN`` decided it."""

    participant: str = "kafue-bank"
    currency: str = "ZMW"
    amount: int = 100
    allowed: bool = True
    code: str | None = None
    detail: str | None = None
    frozen: bytes | str | None = "own"
    usage: int = 0
    agent: str | None = None

    @property
    def input(self) -> bytes | None:
        """The frozen decision input."""
        if self.frozen != "own":
            assert not isinstance(self.frozen, str)
            return self.frozen
        return orjson.dumps(self.document())

    def document(self, **changes: Any) -> dict[str, Any]:
        """The frozen input as a document; ``changes`` replaces fields of it."""
        made = copy.deepcopy(decision_input(
            self.participant, currency=self.currency, amount_minor=self.amount, instructing_agent=OWN_AGENT[self.participant],
            instructed_agent="KFUBZMLUXXX",
        ))  # fmt: skip
        made["usage"]["value_minor"] = self.usage
        return {**made, **changes}


def record(bench: Bench, payments: list[Payment]) -> None:
    """Record them in one batch of ``record_batch``, a message for each participant."""
    by: dict[str, list[Payment]] = {}
    for one in payments:
        by.setdefault(one.participant, []).append(one)
    messages: list[Row] = []
    rows: list[Row] = []
    inputs: list[bytes | None] = []
    for n, (participant, mine) in enumerate(by.items()):
        sequence, seq_no = _next(bench, participant)
        message = attestation(n, tenant=participant, jti_tenant=participant, tenant_seq_no=seq_no)
        messages.append(message)
        for index, one in enumerate(mine):
            rows.append(_row(message, len(rows), index, one, sequence))
            inputs.append(one.input)
            sequence += one.allowed
    nothing = [None] * len(rows)
    bench.record(messages, rows, inputs=inputs, raw=nothing, salts=[b"s"] * len(rows))


def _next(bench: Bench, participant: str) -> tuple[int, int]:
    taken = bench.admin.do(
        "SELECT next_sequence_id, next_tenant_seq_no FROM symphony.participant_outbox_sequences WHERE participant_id = %s",
        participant,
    )
    return taken[0] if taken else (1, 1)  # type: ignore[return-value]


def _row(message: Row, n: int, index: int, one: Payment, sequence: int) -> Row:
    agent = one.agent or OWN_AGENT[one.participant]
    row = instruction(
        message, n, tx_index=index, amount_minor=one.amount, currency=one.currency, instructing_agent=agent, sequence_id=sequence
    )
    if one.allowed:
        return row
    code = one.code or "CAP_PAYMENT_VALUE"
    detail = code if one.detail is None else one.detail
    return {**row, "decision": "REFUSED", "reason_code": code, "detail": detail, "sequence_id": None, "payload": None}


def made_up(count: int, seed: int = 5) -> Iterator[Payment]:
    """So many payments of every participant and currency around both caps and up to 2^53-1, decided under ``CAP_THEN``."""
    chance = random.Random(seed)
    near = (1, CAP_NOW - 1, CAP_NOW, CAP_NOW + 1, CAP_THEN, CAP_THEN + 1, AMOUNT_MAX - 1, AMOUNT_MAX)
    for _ in range(count):
        amount = chance.choice((*near, chance.randint(1, 2 * CAP_THEN), chance.randint(1, AMOUNT_MAX)))
        yield Payment(chance.choice(list(OWN_AGENT)), chance.choice(CURRENCIES), amount, allowed=amount <= CAP_THEN)


def spread(bench: Bench, hours: int) -> None:
    """Date what is recorded over the last hours, as a superuser who switches the triggers off can."""
    bench.owner.do("SELECT symphony.ensure_partitions((now() - interval '1 month')::date, 1)")
    with bench.admin.open() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        for table in ("payment_instructions", "payloads"):
            connection.execute(  # the id decides, so that both are dated alike
                f"UPDATE symphony.{table} SET created_at = created_at"
                f" - make_interval(hours => abs(hashtext(instruction_id::text)) % {hours:d})".encode()
            )
