"""The ledger's client: kept connections, one answer for one payment, seals, pages of the books (OUT-11, D7)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.errors import CannotEvaluate
from contracts.tls import client_context
from rails.iso20022.http import HttpClient
from rails.sdk.types import Outcome, RailStatus, ReconcileRequest
from tests.rails.fake_ledger import (
    IDS,
    Files,
    Request,
    Script,
    answer,
    closes,
    connected,
    fake_ledger,
    hangs,
    item,
    posted,
    raw,
    refusal,
    replying,
    resets,
)

TIMEOUT_MS = 700
ACCEPTED, IN_DOUBT = Outcome.ACCEPTED_FINAL, Outcome.IN_DOUBT


def test_connections_are_kept_bounded_and_in_order(certificates: Files, run: Callable) -> None:
    async def submits() -> None:
        async def script(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.001)
            writer.write(posted(request, posting_id=request.document["instruction_id"]))

        async with fake_ledger(certificates, script) as fake:  # noqa: SIM117
            async with connected(certificates, fake.port, connections_max=3) as ledger:
                for _ in range(3):
                    items = [item(f"id-{n}") for n in range(40)]
                    results = await ledger.submit(items, timeout_ms=5000)
                    assert [r.rail_reference for r in results] == [i.instruction_id for i in items]
                assert (fake.connections, fake.open_most, len(fake.requests)) == (3, 3, 120)

    run(submits())


def test_a_kept_connection_that_the_ledger_closed_is_not_used(certificates: Files, run: Callable) -> None:
    async def submits() -> None:
        script = replying(posted, then_close=True)
        async with fake_ledger(certificates, script) as fake, connected(certificates, fake.port) as ledger:
            for _ in range(3):
                (result,) = await ledger.submit([item()], timeout_ms=TIMEOUT_MS)
                assert result.outcome is ACCEPTED
                await asyncio.sleep(0.05)
            assert fake.connections == 3

    run(submits())


def test_bytes_that_nobody_asked_for_end_the_connection(certificates: Files, run: Callable) -> None:
    """Else the answer to one payment could be taken for the answer to the next."""

    async def submits() -> None:
        async def twice(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(posted(request))
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.write(posted(request))

        async with fake_ledger(certificates, twice) as fake, connected(certificates, fake.port) as ledger:
            for instruction_id in IDS:
                (result,) = await ledger.submit([item(instruction_id)], timeout_ms=TIMEOUT_MS)
                assert result.outcome is ACCEPTED
                await asyncio.sleep(0.1)
            assert fake.connections == 2

    run(submits())


def test_two_answers_in_one_go_are_not_believed_twice(certificates: Files, run: Callable) -> None:
    async def submits() -> None:
        script = replying(lambda request: posted(request) * 2)
        async with fake_ledger(certificates, script) as fake, connected(certificates, fake.port) as ledger:
            for instruction_id in IDS:
                (result,) = await ledger.submit([item(instruction_id)], timeout_ms=TIMEOUT_MS)
                assert result.outcome in {ACCEPTED, IN_DOUBT}
            assert fake.connections == 2

    run(submits())


def test_a_slot_comes_back_after_every_kind_of_failure(certificates: Files, run: Callable) -> None:
    async def submits() -> None:
        scripts = [closes, hangs, resets, raw(b"garbage\r\n\r\n"), replying(posted)]

        async def one_after_another(request: Request, *streams: object) -> None:
            await scripts[min(len(fake.requests) - 1, len(scripts) - 1)](request, *streams)  # type: ignore[arg-type]

        async with fake_ledger(certificates, one_after_another) as fake:  # noqa: SIM117
            async with connected(certificates, fake.port, connections_max=1) as ledger:
                found = [(await ledger.submit([item()], timeout_ms=300))[0].outcome for _ in scripts]
                assert found == [IN_DOUBT] * 4 + [ACCEPTED]

    run(submits())


# query and reconcile --------------------------------------------------------------------------------------------------
def sealed(posting: object, **changes: object) -> Script:
    def make(request: Request) -> bytes:
        body = {
            "instruction_id": request.document["instruction_id"], "sealed": True, "posted": posting is not None,
            "posting": posting, **changes,
        }  # fmt: skip
        return answer(200, json.dumps(body).encode())

    return replying(make)


POSTING = {"posting_id": "p-1", "instruction_id": IDS[0], "status": "posted", "posted_at": "x"}


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        (sealed(POSTING), RailStatus.ACCEPTED_FINAL),
        (sealed(None), RailStatus.NOT_FOUND_FINAL),
        (sealed(None, sealed=False), RailStatus.CANNOT_SAY),
        (sealed(None, posted=True), RailStatus.CANNOT_SAY),
        (sealed(POSTING, posted=False), RailStatus.CANNOT_SAY),
        (sealed({**POSTING, "instruction_id": IDS[1]}), RailStatus.CANNOT_SAY),
        (sealed(None, instruction_id=IDS[1]), RailStatus.CANNOT_SAY),
        (replying(lambda _: refusal("PERMIT_SUPERSEDED")), RailStatus.CANNOT_SAY),
        (replying(lambda _: refusal("RELEASE_NOT_YET")), RailStatus.CANNOT_SAY),
        (replying(posted), RailStatus.CANNOT_SAY),
        (closes, RailStatus.CANNOT_SAY),
        (hangs, RailStatus.CANNOT_SAY),
        (raw(b"?"), RailStatus.CANNOT_SAY),
    ],
    ids=range(13),
)
def test_not_found_is_final_only_under_a_seal(script: Script, wanted: RailStatus, certificates: Files) -> None:
    async def asks() -> RailStatus:
        async with fake_ledger(certificates, script) as fake, connected(certificates, fake.port) as ledger:
            (result,) = await ledger.query_status([item(purpose="seal")], timeout_ms=300)
            return result.status

    assert asyncio.run(asks()) is wanted


PAGE = {
    "postings": [{
        "posting_id": "p", "instruction_id": "i", "amount_minor": 5, "currency": "ZMW", "debit_agent": "A" * 11,
        "credit_agent": "B" * 11, "posted_at": "2026-11-24T10:00:00.000000Z", "rail": "iso20022", "release_number": 1,
    }],
    "next": "p", "complete_before": "2026-11-24T10:00:00.000000Z",
}  # fmt: skip


def test_reconcile_reads_the_ledgers_own_page(certificates: Files) -> None:
    async def asks() -> None:
        script = raw(answer(200, json.dumps(PAGE).encode()))
        async with fake_ledger(certificates, script) as fake, connected(certificates, fake.port) as ledger:
            page = await ledger.reconcile(ReconcileRequest(start="a+b", end="z", cursor="c&d"))
            assert (page.next, page.postings[0].amount_minor) == ("p", 5)
            assert fake.requests[0].head.startswith(b"GET /v1/postings?from=a%2Bb&to=z&cursor=c%26d HTTP/1.1\r\n")

    asyncio.run(asks())


@pytest.mark.parametrize(
    "script", [closes, raw(answer(200, b"{}")), raw(answer(500, b"")), raw(answer(200, b"\xff"))], ids=range(4)
)
def test_a_page_that_cannot_be_read_is_no_page(script: Script, certificates: Files) -> None:
    async def asks() -> None:
        async with fake_ledger(certificates, script) as fake, connected(certificates, fake.port) as ledger:
            with pytest.raises(CannotEvaluate, match="RAIL_UNREACHABLE"):
                await ledger.reconcile(ReconcileRequest(start="a", end="b", timeout_ms=500))

    asyncio.run(asks())


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://", "https://u:p@h", "https://h/?q", "ftp://h", "x"])
def test_only_an_https_address_is_a_ledger(url: str, certificates: Files) -> None:
    context = client_context(*(Path(certificates.path(f)) for f in ("adapter.pem", "adapter-key.pem", "ca.pem")))
    with pytest.raises(CannotEvaluate, match="CONFIGURATION"):
        HttpClient(url, context, connections_max=1)
