"""The adapter as its own process, over its socket: the contract, the conformance harness, releases, failures (ADP)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from contracts import wire
from contracts.errors import SymphonyError
from contracts.insecure import InsecureWarning
from rails.iso20022.adapter import Iso20022Adapter
from rails.iso20022.config import load
from rails.iso20022.ledger import Ledger
from rails.iso20022.normalise import normalise
from rails.iso20022.reader import Reader
from rails.iso20022.samples import Sample
from rails.sdk import AdapterClient, Outcome, RailStatus, SubmitItem, TransactionStatus
from rails.sdk.conformance import Kit, check
from rails.sdk.types import ConfigureRequest, MessageInfo, ReconcileRequest, RenderRequest, StatusReport
from tests.rails.examples import BAD, VALID
from tests.rails.fake_ledger import Files, fake_ledger, item, posted, replying
from tests.rails.support import NOW, ROOT, context, narrow, read, schema_sources

GOOD = Sample().xml()


def config_file(folder: Path, files: Files, port: int, **changes: object) -> Path:
    document = {
        "socket": str(folder / "adapter.sock"), "ledger_url": f"https://127.0.0.1:{port}",
        "ca": str(files.path("ca.pem")), "certificate": str(files.path("adapter.pem")),
        "key": str(files.path("adapter-key.pem")), **changes,
    }  # fmt: skip
    path = folder / "adapter.json"
    path.write_text(json.dumps(document))
    return path


def start(config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rails.iso20022", "--config", str(config)]
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def ours_alone(path: Path) -> bool:
    return path.exists() and path.stat().st_mode & 0o777 == 0o600


Running = tuple[Path, subprocess.Popen[str]]


@pytest.fixture
def adapter(certificates: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running adapter whose ledger is not there."""
    folder = tmp_path_factory.mktemp("adapter")
    process = start(config_file(folder, certificates, unused_port()))
    path = folder / "adapter.sock"
    deadline = time.monotonic() + 20
    while not ours_alone(path) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    yield path, process
    process.kill()
    process.communicate()


def test_the_adapter_conforms(adapter: Running) -> None:
    kit = Kit(
        release_number=1, schemas=schema_sources(), context=context(),
        good={name: sample.xml() for name, sample in VALID.items()}, bad=BAD, received_at=NOW,
        content_type="application/xml", rail_is_down=True,
    )  # fmt: skip

    async def checks() -> list[str]:
        client = AdapterClient(adapter[0])
        found = await check(client, kit)
        wrong = await check(client, _swapped(kit))
        await client.close()
        assert wrong == ["bad: transaction 0: CURRENCY_UNKNOWN", "good: [] instead of SUM_MISMATCH"]
        return found

    assert asyncio.run(checks()) == []


def _swapped(kit: Kit) -> Kit:
    """A kit that no adapter can satisfy."""
    return replace(kit, good={"bad": BAD["gold.xml"][0]}, bad={"good": (GOOD, "SUM_MISMATCH")})


def test_the_socket_is_ours_alone_and_a_signal_ends_the_process_cleanly(
    adapter: Running,
) -> None:
    path, process = adapter
    assert ours_alone(path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0


def test_a_killed_adapter_leaves_payments_in_doubt_and_an_absent_one_does_not(
    adapter: Running,
) -> None:
    path, process = adapter

    async def submits() -> None:
        client = AdapterClient(path)
        await client.configure(1, schema_sources(), context())
        process.send_signal(signal.SIGSTOP)
        under_way = asyncio.create_task(client.submit([item()], timeout_ms=5000))
        await asyncio.sleep(0.2)
        process.kill()
        process.wait()
        (result,) = await under_way
        assert (result.outcome, result.code) == (Outcome.IN_DOUBT, "OUTCOME_UNKNOWN")
        (result,) = await client.submit([item()], timeout_ms=500)
        assert (result.outcome, result.code) == (Outcome.SURELY_NOT_SENT, "ADAPTER_UNAVAILABLE")
        (status,) = await client.query_status([item()], timeout_ms=500)
        assert status.status is RailStatus.CANNOT_SAY
        with pytest.raises(SymphonyError, match="ADAPTER_UNAVAILABLE"):
            await client.reconcile(ReconcileRequest(start=NOW, end=NOW))
        await client.close()

    asyncio.run(submits())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ledger_url": "http://127.0.0.1:1"}, "https"), ({"ca": "/nonexistent"}, "TLS files"),
        ({"certificate": "/nonexistent"}, "TLS files"), ({"connections_max": 0}, "connections_max"),
        ({"connections_max": 10_000}, "connections_max"), ({"surprise": 1}, "surprise"), ({"socket": 5}, "socket"),
        ({"socket": "/nonexistent/a.sock"}, "CONFIGURATION"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_used_is_said_in_one_sentence(
    changes: dict[str, object], words: str, certificates: Files, tmp_path_factory: pytest.TempPathFactory
) -> None:
    process = start(config_file(tmp_path_factory.mktemp("c"), certificates, 1, **changes))
    _, said = process.communicate(timeout=30)
    assert process.returncode == 3
    assert words in said
    assert "Traceback" not in said


def test_a_missing_configuration_names_its_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(SymphonyError, match=r"CONFIGURATION.*nowhere\.json"):
        load(tmp_path_factory.mktemp("c") / "nowhere.json")


# in this process ------------------------------------------------------------------------------------------------------
def through(files: Files, use: object, folder: Path) -> None:
    """Run ``use(client)`` against an adapter served here, whose ledger posts everything."""
    from contracts.tls import client_context
    from rails.iso20022.http import HttpClient
    from rails.iso20022.ledger import Ledger
    from rails.sdk.server import serve

    async def runs() -> None:
        async with fake_ledger(files, replying(posted)) as fake:
            tls = client_context(files.path("adapter.pem"), files.path("adapter-key.pem"), files.path("ca.pem"))
            http = HttpClient(f"https://127.0.0.1:{fake.port}", tls, connections_max=4)
            adapter = Iso20022Adapter(Ledger(http))
            server = await serve(folder / "a.sock", adapter)
            client = AdapterClient(folder / "a.sock")
            try:
                await use(client)  # type: ignore[operator]
            finally:
                await client.close()
                server.close()
                await adapter.close()

    asyncio.run(runs())


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


async def normalised(client: AdapterClient, raw: bytes, release: int):
    return await client.normalise(raw, content_type="application/xml", received_at=NOW, release_number=release)


def test_what_comes_over_the_socket_is_what_was_normalised(certificates: Files, folder: Path) -> None:
    async def use(client: AdapterClient) -> None:
        await client.configure(7, schema_sources(), context())
        for raw in (GOOD, BAD["gold.xml"][0], b"<", VALID["zm-bulk-08.xml"].xml()):
            assert await normalised(client, raw, 7) == read(raw, narrow())

    through(certificates, use, folder)


def test_a_call_names_its_release_and_old_ones_are_forgotten(certificates: Files, folder: Path) -> None:
    async def use(client: AdapterClient) -> None:
        with pytest.raises(SymphonyError, match="RELEASE_CHANGED"):
            await normalised(client, GOOD, 1)
        for number in range(1, 7):
            await client.configure(number, schema_sources(), context())
        for number, known in ((1, False), (2, False), (3, True), (6, True)):
            if known:
                assert (await normalised(client, GOOD, number)).group_refused is None
            else:
                with pytest.raises(SymphonyError, match="RELEASE_CHANGED"):
                    await normalised(client, GOOD, number)

    through(certificates, use, folder)


def test_a_release_whose_schema_is_refused_changes_nothing(certificates: Files, folder: Path) -> None:
    async def use(client: AdapterClient) -> None:
        await client.configure(1, schema_sources(), context())
        with pytest.raises(SymphonyError, match="RELEASE_SCHEMA_HOSTILE"):
            await client.configure(1, {"iso20022/pacs.008.001.08": b"<x/>"}, context())
        assert (await normalised(client, GOOD, 1)).group_refused is None

    through(certificates, use, folder)


def test_two_releases_are_read_by_their_own_rules(certificates: Files, folder: Path) -> None:
    async def use(client: AdapterClient) -> None:
        await client.configure(1, schema_sources(), context())
        await client.configure(2, schema_sources(), context(transactions_max=1))
        two = VALID["zm-bulk-two-agents-10.xml"].xml()
        first, second = await asyncio.gather(normalised(client, two, 1), normalised(client, two, 2))
        assert first.group_refused is None
        assert second.group_refused is not None
        assert second.group_refused.code == "TOO_MANY_TRANSACTIONS"

    through(certificates, use, folder)


def test_submit_render_and_what_is_not_built(certificates: Files, folder: Path) -> None:
    async def use(client: AdapterClient) -> None:
        items = [item(f"id-{n}") for n in range(30)]
        results = await client.submit(items, timeout_ms=3000)
        assert {r.outcome for r in results} == {Outcome.ACCEPTED_FINAL}
        assert await client.submit([], timeout_ms=1) == []
        report = StatusReport(report_id="R", created_at=NOW)
        request = RenderRequest(
            report=report, original=MessageInfo(message_id="M", message_type="pacs.008.001.08"),
            results=(TransactionStatus(status="ACTC"),),
        )  # fmt: skip
        assert b"<GrpSts>ACTC</GrpSts>" in (await client.render_status(request)).xml
        many = [SubmitItem(instruction_id="x", body=b"", permit=b"")] * 2001
        assert {r.code for r in await client.submit(many, timeout_ms=1000)} == {"REQUEST_INVALID"}

    through(certificates, use, folder)


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("reverse", {"items": [], "timeout_ms": 1}, "NOT_BUILT"),
        ("no_such", {}, "REQUEST_INVALID"),
        ("normalise", {}, "REQUEST_INVALID"),
        ("normalise", {"raw": "text", "content_type": "", "received_at": NOW, "release_number": 1}, "REQUEST_INVALID"),
        ("submit", {"items": [{"instruction_id": 1}], "timeout_ms": 1}, "REQUEST_INVALID"),
        ("configure", {"release_number": "1", "schemas": {}, "context": {}}, "REQUEST_INVALID"),
        ("render_status", {"report": {"report_id": "R", "created_at": "now"}, "original": {}}, "REQUEST_INVALID"),
    ],
)  # fmt: skip
def test_a_request_that_is_not_of_the_contract_is_refused(
    method: str, params: dict[str, object], code: str, certificates: Files, folder: Path
) -> None:
    async def use(_: AdapterClient) -> None:
        client = wire.Client(folder / "a.sock")
        with pytest.raises(SymphonyError, match=code):
            await client.call(method, params, timeout_s=5)
        await client.close()

    through(certificates, use, folder)


def test_a_time_that_is_none_is_refused(certificates: Files, folder: Path) -> None:
    async def use(client: AdapterClient) -> None:
        await client.configure(1, schema_sources(), context())
        with pytest.raises(SymphonyError, match="REQUEST_INVALID"):
            await client.normalise(GOOD, content_type="x", received_at="2026-11-24", release_number=1)

    through(certificates, use, folder)


def test_an_adapter_that_answers_too_few_or_nonsense_leaves_all_in_doubt(folder: Path) -> None:
    answers = [{"results": []}, {"results": [{"outcome": "accepted_final"}]}, {"results": "x"}, {}, {"results": [{}]}]

    async def runs() -> None:
        async def handle(method: str, params: dict[str, object]) -> dict[str, object]:
            return dict(answers[0])

        server = await wire.serve(folder / "b.sock", handle)
        client = AdapterClient(folder / "b.sock")
        while answers:
            results = await client.submit([item(), item()], timeout_ms=500)
            assert [r.outcome for r in results] == [Outcome.IN_DOUBT] * 2, answers[0]
            statuses = await client.query_status([item(), item()], timeout_ms=500)
            assert [s.status for s in statuses] == [RailStatus.CANNOT_SAY] * 2
            answers.pop(0)
        await client.close()
        server.close()

    asyncio.run(runs())


def test_the_readers_thread_is_replaced_so_that_invented_names_do_not_fill_the_process() -> None:
    async def reads() -> None:
        reader = Reader(bytes_max=len(GOOD) * 2)
        threads = set()
        for _ in range(8):
            assert (await reader.normalise(GOOD, NOW, narrow())).group_refused is None
            threads.add(id(reader._thread))
        reader.close()
        assert len(threads) >= 2

    asyncio.run(reads())


def test_messages_read_together_each_get_their_own_answer() -> None:
    async def reads() -> None:
        reader = Reader()
        sent = [Sample(message_id=f"MSG-{n}").xml() if n % 7 else b"<broken" for n in range(50)]
        answers = await asyncio.gather(*(reader.normalise(raw, NOW, narrow()) for raw in sent))
        for n, answer in enumerate(answers):
            if n % 7:
                assert answer.message.message_id == f"MSG-{n}"
            else:
                assert answer.group_refused is not None
                assert answer.group_refused.code == "MESSAGE_MALFORMED"
        reader.close()

    asyncio.run(reads())


def test_a_defect_while_reading_one_message_costs_only_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def reading(raw: bytes, received_at: str, rules: Any) -> Any:
        if raw == b"defect":
            raise ZeroDivisionError
        return normalise(raw, received_at, rules)

    async def reads() -> None:
        reader = Reader()
        monkeypatch.setattr("rails.iso20022.reader.normalise", reading)
        answers = await asyncio.gather(
            *(reader.normalise(raw, NOW, narrow()) for raw in (GOOD, b"defect", GOOD)), return_exceptions=True
        )
        reader.close()
        assert isinstance(answers[1], ZeroDivisionError)
        assert not any(isinstance(answers[n], Exception) for n in (0, 2))

    asyncio.run(reads())


def test_a_release_with_wildcards_is_warned_of_once_when_it_is_configured() -> None:
    """A warning outside the block is an error."""
    made = Iso20022Adapter(cast("Ledger", None))
    wide = ConfigureRequest(release_number=1, schemas=schema_sources(), context=context(wild=True))
    with pytest.warns(InsecureWarning, match="the ISO 20022 adapter .*: agents, currencies"):
        asyncio.run(made.configure(wide))
    asyncio.run(made.configure(wide))
    asyncio.run(made.configure(ConfigureRequest(release_number=2, schemas=schema_sources(), context=context())))
    made._reader.close()
