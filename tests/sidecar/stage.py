"""The writer's parts around a real database: recorder, dispatcher, recovery, a ledger of our own, and the closing checks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import orjson
import psycopg

from contracts import evidence, permit
from contracts.times import SystemClock
from rails.sdk import Outcome, RailStatus, StatusResult, SubmitItem, SubmitResult
from sidecar.active import ActiveRelease
from sidecar.dispatch.dispatcher import Dispatcher
from sidecar.dispatch.recovery import Recovery
from sidecar.dispatch.work import PermitMaker
from sidecar.intake.handover import Answer, HandedMessage
from sidecar.intake.recorder import Recorder
from sidecar.store import WriterStore
from tests.sidecar import support
from tests.support.database import Database

STREAM = "reference-rail-a"


class Rail:
    """An adapter and a ledger in one: verifies each permit, keeps the order of (epoch, attempt), posts at most once.

    ``script`` answers submits in turn instead: an ``Outcome``, or a function of the item; what it has none for is posted.
    ``words`` does the same for queries.
    """

    def __init__(self) -> None:
        self.posted: dict[str, permit.Claims] = {}
        self.posts: Counter[str] = Counter()
        self.marks: dict[str, tuple[int, int]] = {}
        self.submits: list[permit.Claims] = []
        self.seals: list[permit.Claims] = []
        self.script: list[Outcome | Callable[[SubmitItem], SubmitResult]] = []
        self.words: list[RailStatus] = []
        self.gate: asyncio.Event | None = None

    async def submit(self, items: list[SubmitItem], *, timeout_ms: int) -> list[SubmitResult]:
        """As ``rails.sdk.AdapterClient.submit``."""
        assert timeout_ms > 0
        if self.gate is not None:
            await self.gate.wait()
        return [self._submit(item) for item in items]

    async def query_status(self, items: list[SubmitItem], *, timeout_ms: int) -> list[StatusResult]:
        """As ``rails.sdk.AdapterClient.query_status``: a seal."""
        assert timeout_ms > 0
        return [self._seal(item) for item in items]

    def _submit(self, item: SubmitItem) -> SubmitResult:
        claims = self._verified(item, "post")
        self.submits.append(claims)
        said = self.script.pop(0) if self.script else None
        if callable(said):
            return said(item)
        return self.post(item) if said is None else SubmitResult(outcome=said, code=None)

    def post(self, item: SubmitItem) -> SubmitResult:
        """Post as the ledger does."""
        claims = self._verified(item, "post")
        if (claims.epoch, claims.attempt) <= self.marks.get(item.instruction_id, (0, 0)):
            return SubmitResult(outcome=Outcome.IN_DOUBT, code="OUTCOME_UNKNOWN", detail="PERMIT_SUPERSEDED")
        self.marks[item.instruction_id] = (claims.epoch, claims.attempt)
        self.posts[item.instruction_id] += 1
        self.posted[item.instruction_id] = claims
        return SubmitResult(outcome=Outcome.ACCEPTED_FINAL, rail_reference=f"P-{item.instruction_id[:8]}")

    def _seal(self, item: SubmitItem) -> StatusResult:
        claims = self._verified(item, "seal")
        self.seals.append(claims)
        if self.words:
            return StatusResult(status=self.words.pop(0))
        self.marks[item.instruction_id] = max((claims.epoch, claims.attempt), self.marks.get(item.instruction_id, (0, 0)))
        if item.instruction_id in self.posted:
            return StatusResult(status=RailStatus.ACCEPTED_FINAL, rail_reference=f"P-{item.instruction_id[:8]}")
        return StatusResult(status=RailStatus.NOT_FOUND_FINAL)

    def _verified(self, item: SubmitItem, purpose: str) -> permit.Claims:
        return permit.verify(
            item.permit, body=item.body, purpose=purpose, audience="core-ledger", environment="sandbox",
            keys=support.permit_keys(), now=datetime.now(UTC), skew_s=1,
        )  # fmt: skip


class Stage:
    """One database, and writers of its stream. ``active`` may be swapped for another release at any time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.active: ActiveRelease | None = None
        self.rail = Rail()
        self.tokens: list[str] = []
        self._stores: list[WriterStore] = []
        self._admin: psycopg.Connection[Any] | None = None

    async def begin(self, active: ActiveRelease | None = None, **changes: Any) -> Stage:
        """A writer begins: a new epoch with its recorder, dispatcher and recovery."""
        self.active = active or self.active or support.active()
        self.store = WriterStore(self.database.writer, stream=STREAM, **changes)
        self._stores.append(self.store)
        numbers = await self.store.begin_epoch()
        wake = asyncio.Event()
        common: dict[str, Any] = {"active": lambda: self.active, "clock": SystemClock()}
        worker = f"w{numbers.epoch}"
        permits = PermitMaker(support.permit_key(), support.SERVICE, numbers.epoch)
        self.recorder = Recorder(self.store, service=support.SERVICE, wake=wake.set, **common)
        self.dispatcher = Dispatcher(
            self.store, self.rail, permits, service=support.SERVICE, worker=worker, wake=wake, **common  # type: ignore[arg-type]
        )  # fmt: skip
        self.recovery = Recovery(self.store, self.rail, permits, self.dispatcher, worker=worker, **common)  # type: ignore[arg-type]
        return self

    def parts(self) -> SimpleNamespace:
        """The current writer's parts, to be kept while another one begins."""
        return SimpleNamespace(
            store=self.store, recorder=self.recorder, dispatcher=self.dispatcher, recovery=self.recovery
        )

    async def record(self, *messages: HandedMessage) -> list[Answer]:
        """The answers, each of which must be one."""
        answers = await self.try_record(*messages)
        assert all(isinstance(answer, Answer) for answer in answers), answers
        return answers

    async def try_record(self, *messages: HandedMessage) -> list[Any]:
        """Answers or errors."""
        self.tokens += [message.token for message in messages if message.token]
        return await self.recorder.record(list(messages))

    async def accept(self, *payments: dict[str, Any], **changes: Any) -> list[str]:
        """Record one message, all of whose payments must be accepted; their instruction ids."""
        (answer,) = await self.record(support.handed(*payments, **changes))
        assert answer.rejected_code is None, answer.rejected_code
        assert [entry.decision for entry in answer.entries] == ["ALLOW"] * len(payments), answer.entries
        return [entry.instruction_id for entry in answer.entries]

    async def dispatch(self) -> int:
        """One claim, carried through to its outcome; how many payments it was."""
        assert self.active is not None
        claimed = await self.dispatcher._claim_some(self.active, 100)
        while self.dispatcher._tasks:
            await asyncio.wait(list(self.dispatcher._tasks))
        return claimed

    async def recover(self) -> int:
        """One round of recovery."""
        assert self.active is not None
        return await self.recovery.once(self.active)

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask, or break, as the superuser."""
        if self._admin is None:
            self._admin = psycopg.connect(self.database.admin, autocommit=True)
        cursor = self._admin.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    def one(self, statement: str, *parameters: Any) -> Any:
        """The one value of a statement."""
        return self.sql(statement, *parameters)[0][0]

    def expire_leases(self) -> None:
        """Make every lease run out."""
        self.sql("UPDATE symphony.outbox_leases SET expires_at = clock_timestamp() - interval '1 ms'")

    def make_due(self) -> None:
        """Make every pending payment due, as if its back-off had passed."""
        self.sql("SET session_replication_role = replica; UPDATE symphony.payment_outbox_pending SET next_attempt_at = now();"
                 "RESET session_replication_role")

    def state(self, instruction_id: str) -> str:
        """The derived state of an instruction."""
        return str(self.one("SELECT state FROM symphony.instruction_states WHERE instruction_id = %s", instruction_id))

    def attempts(self, instruction_id: str) -> list[tuple[int, str]]:
        """Attempt number and state, in the order of the stream."""
        return self.sql(
            "SELECT attempt_no, state::text FROM symphony.payment_outbox_attempts WHERE outbox_id = %s ORDER BY stream_seq",
            instruction_id,
        )

    def usage(self, participant: str = support.KAFUE) -> tuple[int, int]:
        """Today's value and count in ZMW."""
        rows = self.sql("SELECT value_minor, payment_count FROM symphony.usage_daily WHERE participant_id = %s", participant)
        return rows[0] if rows else (0, 0)

    def evidence(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The records in order, after every check that any scenario must leave true."""
        rows = self.sql("SELECT stream_seq, leaf_hash, evidence FROM symphony.evidence_records ORDER BY stream_seq")
        assert [row[0] for row in rows] == list(range(1, len(rows) + 1)), "the stream has a gap"
        assert self.one("SELECT coalesce(max(next_seq), 1) FROM symphony.writer_epochs") == len(rows) + 1
        records = []
        for seq, leaf, data in rows:
            assert bytes(leaf) == evidence.leaf(bytes(data))
            record = evidence.parse_record(bytes(data))
            assert (record["seq"], record["stream"]) == (seq, STREAM)
            self.check_no_canary(bytes(data))
            records.append(record)
        return [record for record in records if kind is None or evidence.kind_of(record) == kind]

    def check_no_canary(self, data: bytes) -> None:
        """EVD-09, NEG-36: no name, account, key or token, nor a part of a token, in these bytes."""
        parts = [part for text in set(self.tokens) for part in text.split(".")[1:] if len(part) > 20]
        canaries = [support.NAME_CANARY, support.ACCOUNT_CANARY, support.ACCOUNT_CANARY[::-1], support.KEY_CANARY, *parts]
        for canary in canaries:
            assert canary.encode() not in data, canary

    def close_admin(self) -> None:
        """End the superuser's connection."""
        if self._admin is not None:
            self._admin.close()

    def check(self) -> None:
        """What must hold after any scenario."""
        self.evidence()
        for (fields,) in self.sql("SELECT canonical_fields FROM symphony.evidence_events"):
            self.check_no_canary(fields.encode())
            orjson.loads(fields)
        assert self.sql("SELECT instruction_id FROM symphony.instruction_states WHERE state = 'LOST'") == []
        assert all(count == 1 for count in self.rail.posts.values()), "posted twice"
        for participant, following in self.sql("SELECT participant_id, next_sequence_id FROM symphony.participant_outbox_sequences"):
            given = self.sql(
                "SELECT sequence_id FROM symphony.payment_instructions WHERE participant_id = %s AND decision = 'ALLOW' ORDER BY 1",
                participant,
            )
            assert [row[0] for row in given] == list(range(1, following))

    async def close(self) -> None:
        """Close every connection."""
        for store in self._stores:
            await store.close()
