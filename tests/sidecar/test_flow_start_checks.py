"""Shipper and acceptor refuse to start where an invariant of their own does not hold; a shipper that runs goes on (PIL-05)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from contracts.errors import NotTrusted
from contracts.keys import new_private_key
from sidecar import acceptor
from sidecar.config import AcceptorConfig, ShipperConfig
from sidecar.evidence import shipper
from symphony.stack import credentials
from tests.sidecar import support
from tests.sidecar.stage import STREAM, Stage
from tests.sidecar.test_flow_halting import DROP, MEND
from tests.sidecar.test_flow_writer import until


@pytest.fixture
def mended(stage: Stage) -> Iterator[Stage]:
    """Whatever happens, the shared database is whole afterwards."""
    yield stage
    stage.sql(MEND)


@pytest.fixture
def shipping(mended: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShipperConfig:
    """A shipper that looks often and has nobody to ship to."""
    monkeypatch.setattr(shipper, "client_context", lambda *_: None)
    new_private_key(tmp_path / "evidence.pem")
    return ShipperConfig(
        environment="sandbox", service=support.SERVICE, stream=STREAM, database_url=mended.database.shipper,
        evidence_key=str(tmp_path / "evidence.pem"), control_plane_url="https://127.0.0.1:1", ca="", certificate="", key="",
        runtime_check_interval_s=0.1,
    )  # fmt: skip


@pytest.fixture
def accepting(tmp_path: Path) -> AcceptorConfig:
    """An acceptor's local configuration; nothing is behind its sockets."""
    now = datetime.now(UTC)
    ca = credentials.make_ca("test", now=now)
    credentials.server_credential(ca, "acceptor", now=now).write(tmp_path / "server.pem", tmp_path / "server-key.pem")
    (tmp_path / "root.json").write_bytes(b"{}")
    return AcceptorConfig(
        environment="sandbox", service=support.SERVICE, host="127.0.0.1", port=0, certificate=str(tmp_path / "server.pem"),
        key=str(tmp_path / "server-key.pem"), writer_socket=str(tmp_path / "w.sock"), adapter_socket=str(tmp_path / "a.sock"),
        release_root=str(tmp_path / "root.json"), release_folder=str(tmp_path),
    )  # fmt: skip


async def test_a_shipper_refuses_to_start_on_a_broken_database(mended: Stage, shipping: ShipperConfig) -> None:
    """INV-014, asked as the shipper's own login."""
    mended.sql(DROP)
    with pytest.raises(NotTrusted, match=r"RELEASE_INVARIANT: does not hold here: INV-014"):
        await shipper.run(shipping)


async def test_a_shipper_refuses_to_start_with_a_key_that_others_may_read(shipping: ShipperConfig) -> None:
    """I-KEY-01."""
    Path(shipping.evidence_key).chmod(0o640)
    with pytest.raises(NotTrusted, match=r"I-KEY-01: .*evidence.pem has mode 0640"):
        await shipper.run(shipping)


async def test_a_shipper_that_runs_warns_and_goes_on(mended: Stage, shipping: ShipperConfig, caplog: pytest.LogCaptureFixture) -> None:
    """Evidence of a halted service must arrive."""
    task = asyncio.create_task(shipper.run(shipping))
    try:
        await asyncio.sleep(0.5)
        mended.sql(DROP)
        with caplog.at_level(logging.CRITICAL):
            await until(lambda: "INV-014" in caplog.text)
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_an_acceptor_refuses_to_start_with_a_key_that_others_may_read(accepting: AcceptorConfig) -> None:
    """I-KEY-01: before it listens."""
    Path(accepting.key).chmod(0o604)
    with pytest.raises(NotTrusted, match=r"I-KEY-01: .*server-key.pem has mode 0604"):
        await acceptor.run(accepting)


async def test_an_acceptor_refuses_to_start_with_a_certificate_that_ran_out(accepting: AcceptorConfig, tmp_path: Path) -> None:
    """I-KEY-03."""
    past = datetime.now(UTC) - timedelta(days=4000)
    ca = credentials.make_ca("test", now=past)
    credentials.server_credential(ca, "acceptor", now=past).write(tmp_path / "old.pem", tmp_path / "old-key.pem")
    old = msgspec.structs.replace(accepting, certificate=str(tmp_path / "old.pem"), key=str(tmp_path / "old-key.pem"))
    with pytest.raises(NotTrusted, match=r"I-KEY-03: .*old.pem is valid from"):
        await acceptor.run(old)
