"""The adapter's client against the real ledger, its database, permits and mTLS (OUT-11, D7, NEG-30)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from rails.iso20022.http import HttpClient
from rails.iso20022.ledger import Ledger
from rails.sdk.types import Outcome, RailStatus, ReconcileRequest, StatusResult, SubmitItem, SubmitResult
from tests.ledger.support import (
    AGENTS,
    Certificates,
    HandFollower,
    MovingClock,
    Running,
    Sidecar,
    posting,
    release,
    sealing,
)


@dataclass
class World:
    running: Running
    sidecar: Sidecar
    certificates: Certificates

    def item(self, body: bytes, **claims: object) -> SubmitItem:
        instruction_id = json.loads(body)["instruction_id"]
        return SubmitItem(instruction_id=instruction_id, body=body, permit=self.sidecar.permit(body, **claims))

    def ask(self, method: str, *arguments: object, client: str = "adapter", **options: object) -> object:
        """One call of a fresh client, in a loop of its own."""

        async def asks() -> object:
            http = HttpClient(f"https://127.0.0.1:{self.running.port}", self.tls(client), connections_max=4)
            ledger = Ledger(http)
            try:
                return await getattr(ledger, method)(*arguments, **options)
            finally:
                await ledger.close()

        return asyncio.run(asks())

    def tls(self, client: str):
        return self.certificates.client(client)

    def submit(self, *items: SubmitItem) -> tuple[SubmitResult, ...]:
        return self.ask("submit", items, timeout_ms=5000)  # type: ignore[return-value]

    def query(self, *items: SubmitItem) -> tuple[StatusResult, ...]:
        return self.ask("query_status", items, timeout_ms=5000)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def world(postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    database = postgres.new_database("ledger")
    clock = MovingClock()
    sidecar = Sidecar(clock)
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    follower = HandFollower(release([sidecar], clock=clock))
    with Running(database.writer, certificates, follower, clock) as running:
        deadline = time.monotonic() + 10
        while running.ledger.window.active is None and time.monotonic() < deadline:
            time.sleep(0.01)
        yield World(running, sidecar, certificates)
    postgres.drop(database)


def test_a_payment_is_posted_once_and_found_under_a_seal(world: World) -> None:
    sent = world.item(posting())
    (first,) = world.submit(sent)
    (again,) = world.submit(sent)
    assert first.outcome is again.outcome is Outcome.ACCEPTED_FINAL
    assert first.rail_reference == again.rail_reference
    (status,) = world.query(world.item(sealing(sent.instruction_id), attempt=2))
    assert (status.status, status.rail_reference) == (RailStatus.ACCEPTED_FINAL, first.rail_reference)


def test_not_found_under_a_seal_is_final_because_nothing_older_posts_any_more(world: World) -> None:
    late = world.item(posting(), attempt=1)
    (status,) = world.query(world.item(sealing(late.instruction_id), attempt=2))
    assert status.status is RailStatus.NOT_FOUND_FINAL
    (result,) = world.submit(late)
    assert (result.outcome, result.code) == (Outcome.IN_DOUBT, "PERMIT_SUPERSEDED")
    (result,) = world.submit(world.item(late.body, attempt=3))
    assert result.outcome is Outcome.ACCEPTED_FINAL


def test_what_the_ledger_refuses_and_what_may_be_said_of_it(world: World) -> None:
    body, other = posting(), posting()
    cases = {
        "PERMIT_BODY_MISMATCH": SubmitItem(
            instruction_id=json.loads(body)["instruction_id"], body=body, permit=world.sidecar.permit(other)
        ),
        "PERMIT_MALFORMED": SubmitItem(instruction_id="x", body=body, permit=b"{}"),
        "PERMIT_EXPIRED": world.item(posting(), iat=1, exp=2),
        "RELEASE_NOT_YET": world.item(posting(), release_number=9),
        "PERMIT_AUDIENCE": world.item(posting(), audience="another"),
        "POSTING_INVALID": world.item(posting(amount_minor=0)),
        "ACCOUNT_UNKNOWN": world.item(posting(debit_agent="NOSUCHAGENT")),
    }
    results = dict(zip(cases, world.submit(*cases.values()), strict=True))
    assert {name: result.code for name, result in results.items()} == {name: name for name in cases}
    retried = {name for name, result in results.items() if result.outcome is Outcome.SURELY_NOT_SENT}
    assert retried == {"PERMIT_EXPIRED", "RELEASE_NOT_YET"}
    assert {r.outcome for n, r in results.items() if n not in retried} == {Outcome.REJECTED_FINAL}


def test_a_conflict_is_in_doubt_and_the_seal_tells(world: World) -> None:
    instruction = str(uuid4())
    (first,) = world.submit(world.item(posting(instruction)))
    (second,) = world.submit(world.item(posting(instruction, amount_minor=7), attempt=2))
    assert (second.outcome, second.code) == (Outcome.IN_DOUBT, "POSTING_CONFLICT")
    (status,) = world.query(world.item(sealing(instruction), attempt=3))
    assert (status.status, status.rail_reference) == (RailStatus.ACCEPTED_FINAL, first.rail_reference)


def test_a_hundred_at_once_and_the_books_agree(world: World) -> None:
    items = [world.item(posting(amount_minor=n + 1)) for n in range(100)]
    results = world.submit(*items)
    assert {r.outcome for r in results} == {Outcome.ACCEPTED_FINAL}
    everything = ReconcileRequest(start="2000-01-01T00:00:00.000000Z", end="2100-01-01T00:00:00.000000Z")
    page = world.ask("reconcile", everything)
    books = {p.instruction_id: p for p in page.postings}  # type: ignore[attr-defined]
    for sent, result in zip(items, results, strict=True):
        entry = books[sent.instruction_id]
        assert entry.posting_id == result.rail_reference
        assert (entry.amount_minor, entry.currency) == (json.loads(sent.body)["amount_minor"], "ZMW")
        assert (entry.debit_agent, entry.credit_agent) == (AGENTS[0], AGENTS[1])
