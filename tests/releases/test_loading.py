"""A release and orders from a folder, beside a control plane that is gone: the same rules, the old one runs on under any refusal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts import orders
from contracts.errors import Misused, NotTrusted, SymphonyError
from contracts.orders import Standing
from contracts.release import FolderSource, ReleaseFollower, ReleaseSource, VerifiedRelease
from sidecar.loading import load
from symphony.release.orders import Wanted, export, issue, refusal_of
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT, Mirror, follower


class Beside:
    """A sidecar's follower and its orders, as far as a folder meets them; the control plane is not there."""

    def __init__(self, inner: ReleaseFollower) -> None:
        self.inner = inner
        self.standing = Standing()
        self.told: list[dict[str, Any]] = []

    def last(self) -> VerifiedRelease | None:
        """The release in force."""
        return self.inner.active

    async def refresh(self, source: ReleaseSource | None = None) -> SymphonyError | None:
        """As ``Following.refresh``."""
        try:
            self.inner.refresh(source)
        except SymphonyError as error:
            return error
        return None

    async def take(self, envelope: bytes) -> dict[str, Any]:
        """As ``Orders.take``."""
        order = orders.read(envelope)
        officers = self.inner.custodians().trust.officers
        orders.verify_order(order, environment=ENVIRONMENT, officers=officers, listed=None, now=self.inner._clock.now())
        return {"number": order.number, "outcome": "obeyed" if self.standing.take(order) else "known"}

    async def write(self, _kind: str, fields: dict[str, Any]) -> None:
        """As ``Events.write``."""
        self.told.append(fields)

    def loaded(self, folder: Path) -> dict[str, Any]:
        """What became of a folder."""
        return asyncio.run(load(folder, self, self, self))  # type: ignore[arg-type]


def test_what_is_exported_is_loaded_where_the_control_plane_is_gone(running: Running, tmp_path: Path) -> None:
    """Release 2, published while the service could not fetch it, and an order: both reach it in a folder."""
    running.release()
    nowhere = FolderSource(tmp_path / "nowhere")
    beside = Beside(follower(running.world, running.source(), tmp_path / "follower"))
    assert beside.inner.refresh() is not None
    beside.inner._repository._source = nowhere
    second = running.release(cap_minor=500)
    now = running.world.clock.now()
    issue(running.control("alice"), running.world.officer("alice"), ENVIRONMENT, Wanted("halt", {}, "a test", {}), now)
    folder = tmp_path / "carried"
    assert export(running.source(), folder, root=running.world.root, environment=ENVIRONMENT) == (2, 1)
    with pytest.raises(Misused):
        export(running.source(), folder, root=running.world.root, environment=ENVIRONMENT)
    answer = beside.loaded(folder)
    assert (answer["release"]["number"], answer["release"]["activated"], answer["release"]["code"]) == (2, True, None)
    assert answer["orders"] == [{"file": "000001-order.json", "number": 1, "outcome": "obeyed"}]
    assert refusal_of(answer) is None
    assert beside.inner.active is not None
    assert beside.inner.active.metadata_digest == second.digest
    assert beside.told == [{"number": 2, "reason_code": None}]
    again = beside.loaded(folder)
    assert (again["release"]["activated"], again["orders"][0]["outcome"]) == (False, "known")


@pytest.fixture
def beside(mirror: Mirror) -> Beside:
    """A service with release 1 in force; the mirror's folder is what an officer brings, with release 2 in it."""
    mirror.put_release(mirror.world.draft(1))
    made = Beside(mirror.follower())
    assert made.inner.refresh() is not None
    mirror.put_release(mirror.world.draft(2))
    return made


def spoil(pattern: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change the files of a pattern."""

    def spoiled(folder: Path) -> None:
        files = list(folder.glob(pattern))
        assert files, pattern
        for path in files:
            path.write_bytes(change(path.read_bytes()))

    return spoiled


TAMPERED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a target": (spoil("targets/sandbox/2/*.release.json", lambda d: d[:-1] + bytes([d[-1] ^ 1])), "RELEASE_DIGEST"),
    "a target that grows without end": (spoil("targets/sandbox/2/*.release.json", lambda d: d * 3), "RELEASE_DIGEST"),
    "the role": (spoil("metadata/2.sandbox.json", lambda d: d.replace(b'"number":2', b'"number":3')), "RELEASE_DIGEST"),
    "the timestamp": (spoil("metadata/timestamp.json", lambda d: d.replace(b'"version":', b'"version":9')), "RELEASE_SIGNATURE"),
    "a missing role": (lambda folder: (folder / "metadata" / "2.sandbox.json").unlink(), "RELEASE_UNREACHABLE"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(TAMPERED))
def test_a_tampered_folder_is_refused_and_the_old_release_runs_on(beside: Beside, mirror: Mirror, name: str) -> None:
    change, code = TAMPERED[name]
    change(mirror.folder)
    answer = beside.loaded(mirror.folder)
    assert (answer["release"]["number"], answer["release"]["activated"], answer["release"]["code"]) == (1, False, code)
    refusal = refusal_of(answer)
    assert isinstance(refusal, NotTrusted)
    assert refusal.code == code
    assert beside.told == [{"number": 1, "reason_code": code}]


def test_an_older_folder_takes_nobody_back(beside: Beside, mirror: Mirror, tmp_path: Path) -> None:
    """Number above highest: what was current when it was exported is a rollback now."""
    older = tmp_path / "older"
    (older / "metadata").mkdir(parents=True)
    for path in (mirror.folder / "metadata").iterdir():
        (older / "metadata" / path.name).write_bytes(path.read_bytes())
    assert beside.loaded(mirror.folder)["release"]["number"] == 2
    mirror.put_release(mirror.world.draft(3))
    assert beside.loaded(mirror.folder)["release"]["number"] == 3
    answer = beside.loaded(older)
    assert (answer["release"]["number"], answer["release"]["code"]) == (3, "RELEASE_ROLLBACK")


def test_an_order_is_obeyed_whatever_lies_beside_it(beside: Beside, mirror: Mirror) -> None:
    """A broken release, a pipe, a stranger's order and a file that is none hold up no order."""
    folder, world = mirror.folder / "orders", mirror.world
    folder.mkdir()
    (mirror.folder / "metadata" / "timestamp.json").write_bytes(b"{}")
    halt: dict[str, Any] = {"environment": ENVIRONMENT, "kind": "halt", "scope": {}, "reason": "a test", "now": world.clock.now()}
    (folder / "a.json").write_bytes(b"no order")
    (folder / "b.json").write_bytes(orjson.dumps(orders.issued(world.ceremony.gate, number=1, **halt)))
    (folder / "c.json").write_bytes(orjson.dumps(orders.issued(world.ceremony.officer("alice"), number=2, **halt)))
    (folder / "d.json").mkdir()
    os.mkfifo(folder / "e.json")
    (folder / "f.json").symlink_to("/dev/zero")
    answer = beside.loaded(mirror.folder)
    became = {entry["file"]: entry.get("code") or entry["outcome"] for entry in answer["orders"]}
    assert became == {
        "a.json": "ORDER_INVALID", "b.json": "OFFICER_UNKNOWN", "c.json": "obeyed", "d.json": "ORDER_INVALID",
        "e.json": "ORDER_INVALID", "f.json": "ORDER_INVALID",
    }  # fmt: skip
    assert beside.standing.here("reference-rail", "iso20022").halted == "order 2"
    assert answer["release"]["code"] == "RELEASE_SHAPE"


def test_a_folder_with_neither_release_nor_orders_is_a_mistake(beside: Beside, tmp_path: Path) -> None:
    with pytest.raises(Misused, match="neither metadata/ nor orders/"):
        beside.loaded(tmp_path / "empty")
