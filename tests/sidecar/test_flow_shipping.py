"""Shipping what the writer recorded to a control plane of our own: sealed once, in order, chained, never past a gap (EVD-08)."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts import evidence
from contracts.errors import CannotEvaluate
from contracts.keys import public_hex
from contracts.times import SystemClock
from sidecar.config import ShipperConfig
from sidecar.evidence import shipper as module
from sidecar.evidence.shipper import Shipper
from tests.sidecar import support
from tests.sidecar.stage import STREAM, Stage
from tests.sidecar.support import handed, payment


class ControlPlane:
    """Takes batches as the control plane does: verified, chained, a repeat answered with success."""

    def __init__(self, public_key: str) -> None:
        self._public_key = public_key
        self.taken: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.beats: list[dict[str, Any]] = []
        self.trouble: list[str] = []

    @asynccontextmanager
    async def post(self, path: str, *, json: dict[str, Any], ssl: object) -> AsyncIterator[Any]:
        """As ``aiohttp.ClientSession.post``."""
        trouble = self.trouble.pop(0) if self.trouble and path.endswith("batches") else None
        if trouble == "unreachable":
            raise aiohttp.ClientConnectionError("refused")
        status = 503 if trouble == "refused" else self._take(path, json)
        if trouble == "answer lost":
            raise TimeoutError

        async def read(_: int) -> bytes:
            return b""

        yield SimpleNamespace(status=status, content=SimpleNamespace(read=read))

    def _take(self, path: str, json: dict[str, Any]) -> int:
        if path.endswith("heartbeats"):
            beat = base64.b64decode(json["heartbeat"])
            self.beats.append(evidence.verify_heartbeat(beat, json["signature"], public_key=self._public_key))
            return 200
        body = base64.b64decode(json["batch"], validate=True)
        records = [base64.b64decode(record) for record in json["records"]]
        leaves = [evidence.leaf(record) for record in records]
        claims = evidence.verify_batch(body, json["signature"], public_key=self._public_key, leaves=leaves)
        if body in self.bodies:
            return 200
        assert claims["first_seq"] == (self.taken[-1]["last_seq"] + 1 if self.taken else 1)
        assert claims["previous_batch_sha256"] == (evidence.batch_sha256(self.bodies[-1]) if self.bodies else evidence.NO_PREVIOUS)
        assert [evidence.parse_record(record)["seq"] for record in records] == list(
            range(claims["first_seq"], claims["last_seq"] + 1)
        )
        self.taken.append(claims)
        self.bodies.append(body)
        return 200


@pytest.fixture
def shipping(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A shipper of the stage's stream and the control plane that it ships to."""
    monkeypatch.setattr(module, "client_context", lambda *_: None)
    key = Ed25519PrivateKey.generate()
    place = tmp_path / "evidence.pem"
    place.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    place.chmod(0o600)
    config = ShipperConfig(
        environment="sandbox", service=support.SERVICE, stream=STREAM, database_url=stage.database.shipper, evidence_key=str(place),
        control_plane_url="", ca="", certificate="", key="", batch_size_max=7,
    )  # fmt: skip
    return SimpleNamespace(shipper=Shipper(config, SystemClock()), plane=ControlPlane(public_hex(key)))


async def drain(shipping: Any) -> int:
    """Ship until nothing is left; how many records went."""
    shipped = 0
    while count := await shipping.shipper.once(shipping.plane):
        shipped += count
    return shipped


async def test_all_that_is_recorded_is_shipped_in_order_in_chained_batches(stage: Stage, shipping: Any) -> None:
    """EVD-08: sizes within the bound; the heartbeat signs the highest number; the backlog is empty."""
    await stage.begin()
    assert await drain(shipping) == 0
    await stage.record(*(handed(payment()) for _ in range(10)))
    await stage.dispatch()
    assert await drain(shipping) == 30
    assert [claims["leaf_count"] for claims in shipping.plane.taken] == [7, 7, 7, 7, 2]
    shipping.shipper._beat_at = -1e9
    await shipping.shipper.once(shipping.plane)
    assert shipping.plane.beats[-1]["last_seq"] == 30
    assert stage.one("SELECT symphony.evidence_backlog(%s)", STREAM) == 0
    await shipping.shipper._connection.close()


async def test_a_retry_sends_the_same_bytes_and_an_answer_that_was_lost_ships_nothing_twice(stage: Stage, shipping: Any) -> None:
    """Sealed before it is sent: also when more has been recorded meanwhile, and when the control plane had taken it."""
    await stage.begin()
    shipping.plane.trouble = ["unreachable", "refused", "answer lost"]
    for expected in (aiohttp.ClientError, CannotEvaluate, TimeoutError):
        await stage.accept(payment())
        with pytest.raises(expected):
            await shipping.shipper.once(shipping.plane)
    assert stage.one("SELECT count(*) FROM symphony.evidence_batches") == 1
    assert await drain(shipping) == 3
    assert [claims["last_seq"] for claims in shipping.plane.taken] == [1, 3]
    await shipping.shipper._connection.close()


async def test_a_gap_stops_shipping_and_is_never_passed_over(stage: Stage, shipping: Any) -> None:
    """ATT-12: a row that was removed by force."""
    await stage.begin()
    await stage.record(*(handed(payment()) for _ in range(5)))
    stage.sql(
        "SET session_replication_role = replica;"
        "CREATE TEMP TABLE kept AS SELECT * FROM symphony.ingress_attestations WHERE stream_seq = 3;"
        "DELETE FROM symphony.ingress_attestations WHERE stream_seq = 3; RESET session_replication_role"
    )
    for _ in range(2):
        with pytest.raises(CannotEvaluate) as gap:
            await shipping.shipper.once(shipping.plane)
        assert gap.value.code == "BATCH_GAP"
    assert shipping.plane.taken == []
    stage.sql("INSERT INTO symphony.ingress_attestations SELECT * FROM kept; DROP TABLE kept")
    assert await drain(shipping) == 5
    await shipping.shipper._connection.close()


async def test_a_database_that_hangs_is_left_and_come_back_to(
    stage: Stage, shipping: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never an endless wait: the connection is given up, and the next round makes another."""
    await stage.begin()
    await stage.accept(payment())
    monkeypatch.setattr(module, "DATABASE_TIMEOUT_S", 0.3)
    await shipping.shipper._value("shipping_state", STREAM)
    pid = stage.one("SELECT pid FROM pg_stat_activity WHERE application_name = 'symphony-shipper'")
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(psycopg.OperationalError):
            await shipping.shipper.once(shipping.plane)
        assert await drain(shipping) == 1
    finally:
        os.kill(pid, signal.SIGCONT)
    await shipping.shipper._connection.close()
