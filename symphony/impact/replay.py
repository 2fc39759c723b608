"""A candidate asked again about what was recorded, by the sidecar's own engine, on the inputs as they were frozen.

The answer is what the sidecar would make of it (``sidecar.intake.verdict``, in its order): an agent that the participant may
not speak for, then the policy and obligations that cannot be met, then agents and payment caps in fixed code. All under the
candidate's data. A policy that gives no answer refuses, here as there (``POLICY_ERROR``).

    asked again        everything with a frozen input of the known schema that is its instruction's own
    not replayed       erased (no input, though one was frozen), unreadable, of another schema version, not its own; and
                       agent_assigned: refused for an agent whom the candidate now assigns, without an input to ask with
    before the policy  refused by normalising: there never was an input, whatever the policy
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from contracts.canonical import sha256_hex
from contracts.errors import CannotEvaluate, NotTrusted
from contracts.reasons import REASONS
from sidecar.intake.governed import Governed
from sidecar.intake.rows import DETAIL_CHARACTERS_MAX
from sidecar.policy.answers import Decision
from sidecar.policy.engine import WasmEngine, decide
from sidecar.policy.obligations import refusal
from symphony.impact import model
from symphony.impact.model import Cell, Counts

INPUT_SCHEMA = "symphony.decision_input/1"
BATCH = 200
"""Decisions a question: above it nothing is gained."""
BATCH_DEADLINE_MS = 5_000
"""A batch takes 10 ms; a busy machine must not turn an answer into a refusal."""

AGENT_MISMATCH = "AGENT_MISMATCH"
ERASED, UNREADABLE, OTHER_SCHEMA, NOT_ITS_OWN = "erased", "unreadable", "other_schema", "not_its_own"
AGENT_ASSIGNED = "agent_assigned"
PLAIN_ROUTES = ["primary"]
_BY_RECORD = frozenset(code for code, reason in REASONS.items() if reason.station == "record")
_BEFORE_POLICY = frozenset(code for code, reason in REASONS.items() if reason.station == "normalise") | {"INPUT_INVALID"}

Row = tuple[bool, str | None, str | None, str, str, int | None, str | None, str | None, int, bytes | None]
"""Allowed, reason code, detail, participant, rail, amount, currency, instructing agent, hour, frozen input (``source``)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is asked: ``policy.wasm`` and the bytes of ``environment.json``; a release's number where it is one."""

    wasm: bytes
    environment: bytes
    release: int | None = None

    @property
    def policy_sha256(self) -> str:
        """The digest of the Wasm."""
        return sha256_hex(self.wasm)

    @property
    def environment_sha256(self) -> str:
        """The digest of the environment's data."""
        return sha256_hex(self.environment)


class Replayer:
    """A candidate, compiled. ``CannotEvaluate RELEASE_ENGINE`` when it does not load."""

    def __init__(self, candidate: Candidate) -> None:
        data: dict[str, Any] = orjson.loads(candidate.environment)
        try:
            self._engine = WasmEngine(candidate.wasm, {"environment": data})
        except NotTrusted as error:
            raise CannotEvaluate(error.code, error.detail, next_step=error.next_step) from error
        self._governed = Governed(data)

    def count(self, rows: Sequence[Row], counts: Counts) -> None:
        """Ask again and count, a batch at a time."""
        for start in range(0, len(rows), BATCH):
            self._batch(rows[start : start + BATCH], counts)

    def _batch(self, rows: Sequence[Row], counts: Counts) -> None:
        counts.recorded += len(rows)
        asked: list[tuple[Row, dict[str, Any]]] = []
        for row in rows:
            found = self._frozen(row)
            if isinstance(found, dict):
                asked.append((row, found))
            else:
                counts.aside(*found, row[6], row[5])
        decisions = decide(self._engine, [item for _, item in asked], deadline_ms=BATCH_DEADLINE_MS)
        for (row, item), decision in zip(asked, decisions, strict=True):
            self._judge(row, item, self._sure(item, decision), counts)

    def _sure(self, item: dict[str, Any], decision: Decision) -> Decision:
        """No answer is asked for once more, alone: a process that was stopped for a while must not count as a refusal."""
        if decision.reasons != ("POLICY_ERROR",):
            return decision
        return decide(self._engine, [item], deadline_ms=BATCH_DEADLINE_MS)[0]

    def _frozen(self, row: Row) -> dict[str, Any] | tuple[str, str]:
        """The input to ask with; or the group in which it is counted, and why."""
        allowed, code, _, participant, _, amount, currency, agent, _, raw = row
        if not raw:
            if code == AGENT_MISMATCH and self._governed.speaks_for(participant, agent or ""):
                return model.NOT_REPLAYED, AGENT_ASSIGNED
            if not allowed and code in _BEFORE_POLICY:
                return model.BEFORE_POLICY, str(code)
            return model.NOT_REPLAYED, ERASED
        try:
            item = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return model.NOT_REPLAYED, UNREADABLE
        if not isinstance(item, dict) or not isinstance(instruction := item.get("instruction"), dict):
            return model.NOT_REPLAYED, UNREADABLE
        if item.get("schema") != INPUT_SCHEMA:
            return model.NOT_REPLAYED, OTHER_SCHEMA
        own = (item.get("participant_id"), instruction.get("amount_minor"), instruction.get("currency"))
        if amount is None or currency is None or own != (participant, amount, currency):
            return model.NOT_REPLAYED, NOT_ITS_OWN
        return item

    def _judge(self, row: Row, item: dict[str, Any], decision: Decision, counts: Counts) -> None:
        allowed, code, detail, participant, rail, amount, currency, _, hour, _ = row
        assert amount is not None
        assert currency is not None
        cell: Cell = (participant, rail, currency, hour)
        against = self._against(participant, item["instruction"], decision)
        counts.replayed(cell, amount)
        then, now = ("ALLOW" if allowed else str(code)), (against[0] if against else "ALLOW")
        if allowed and against:
            counts.changed(model.ALLOW_TO_DENY, cell, amount, then, now)
        elif allowed:
            self._still_allowed(cell, item, decision, counts)
        elif not against and code in _BY_RECORD:
            counts.aside(model.KEPT_BY_RECORD, str(code), currency, amount)
        elif not against:
            counts.changed(model.DENY_TO_ALLOW, cell, amount, then, now)
        elif not _same_reasons(code, detail, against):
            counts.changed(model.REASONS_CHANGED, cell, amount, then, now)

    def _against(self, participant: str, instruction: dict[str, Any], decision: Decision) -> list[str]:
        """The reason codes against a payment; empty is leave to go on."""
        try:
            fixed = self._governed.refusal(participant, instruction)
        except (KeyError, TypeError):  # no canonical instruction: the decision says INPUT_INVALID
            return refusal(decision)
        if fixed == AGENT_MISMATCH:
            return [fixed]
        return refusal(decision) or ([fixed] if fixed else [])

    def _still_allowed(self, cell: Cell, item: dict[str, Any], decision: Decision, counts: Counts) -> None:
        participant, _, currency, _ = cell
        amount, usage = item["instruction"]["amount_minor"], item["usage"]
        if decision.obligations.get("routes") != PLAIN_ROUTES:
            counts.changed(model.OBLIGATIONS_CHANGED, cell, amount, "ALLOW", "ALLOW")
        caps = self._governed.caps(participant, currency)
        if caps is None or usage["value_minor"] + amount > caps["daily_minor_max"]:
            counts.aside(model.DAILY_CAPS, "CAP_DAILY_VALUE", currency, amount)
        elif usage["count"] + 1 > caps["daily_count_max"]:
            counts.aside(model.DAILY_CAPS, "CAP_DAILY_COUNT", currency, amount)


def _same_reasons(code: str | None, detail: str | None, against: list[str]) -> bool:
    """What the policy refused is recorded with all its reasons in ``detail``, what fixed code refused with its code only."""
    if against[0] != code:
        return False
    return not detail or ",".join(against)[:DETAIL_CHARACTERS_MAX] == detail
