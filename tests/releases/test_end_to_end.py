"""The whole way of a release over real TLS and a real PostgreSQL (POL-01 to POL-07)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from contracts.canonical import sha256_hex
from contracts.errors import CannotEvaluate, NotTrusted
from contracts.release import FolderSource, load_held
from contracts.release.record import FileRecord
from symphony.release.promote import promote
from symphony.release.rollback import rollback
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT, SERVICE, World, follower, sign_file


class PlainFetcher(FetcherInterface):
    """urllib3 with a client certificate; nothing of ours."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._pool = urllib3.PoolManager(ssl_context=context)

    def _fetch(self, url: str) -> Iterator[bytes]:
        from tuf.api.exceptions import DownloadHTTPError

        response = self._pool.request("GET", url)
        if response.status >= 400:
            raise DownloadHTTPError("HTTP error", response.status)
        return iter([response.data])


def test_a_release_reaches_the_stock_tuf_client_and_our_follower(running: Running, tmp_path: Path) -> None:
    made = running.release()
    for name in ("m", "t"):
        (tmp_path / name).mkdir()
    updater = Updater(
        str(tmp_path / "m"),
        f"{running.url}/tuf/metadata/",
        str(tmp_path / "t"),
        f"{running.url}/tuf/targets/",
        PlainFetcher(running.service_context()),
        bootstrap=running.world.root,
    )
    updater.refresh()
    for path, data in made.files.items():
        info = updater.get_targetinfo(f"{ENVIRONMENT}/1/{path}")
        assert info is not None, path
        assert Path(updater.download_target(info)).read_bytes() == data

    ours = follower(running.world, running.source(), tmp_path / "follower")
    release = ours.refresh()
    assert release is not None
    assert (release.number, release.metadata_digest) == (1, made.digest)
    assert release.policy_digest == sha256_hex(made.files["policy.wasm"])
    assert set(release.approver_key_ids) == {running.world.officer(n).key_id for n in ("bruno", "chanda")}
    assert release.manifest["service"] == SERVICE
    assert release.schemas["iso20022/pacs.008.001.08"].startswith(b"<?xml")
    assert ours.refresh() is None


def test_a_lower_cap_is_rolled_out_and_rolled_back_by_the_next_number(running: Running, tmp_path: Path) -> None:
    first = running.release(cap_minor=1_000_000)
    ours = follower(running.world, running.source(), tmp_path / "follower")
    ours.refresh()
    running.release(cap_minor=500, proposer="bruno")
    second = ours.refresh()
    assert second is not None
    assert second.environment_data["caps"]["ZMW"]["payment_minor_max"] == 500
    world = running.world
    made = rollback(
        running.control("alice"), world.officer("alice"), environment=ENVIRONMENT, to=1, reason="too low",
        change_ticket="CHG-3", root=world.root, now=world.clock.now(),
    )  # fmt: skip
    assert made.number == 3
    assert running.approved(3, "chanda", "dalitso") == ["PROPOSED", "APPROVED"]
    promote(running.control("dalitso"), world.officer("dalitso"), ENVIRONMENT, 3)
    third = ours.refresh()
    assert third is not None
    assert third.number == 3
    same = [path for path in first.files if path != "release.json"]
    assert all(made.files[path] == first.files[path] for path in same)
    assert [r["status"] for r in running.control("alice").releases(ENVIRONMENT)] == [
        "ACTIVE", "SUPERSEDED", "SUPERSEDED",
    ]  # fmt: skip


def test_who_holds_database_and_online_keys_forges_nothing(running: Running, tmp_path: Path) -> None:
    """Release 2 with every online key and the database, without the officers' keys: RELEASE_SIGNATURE."""
    import asyncio

    from controlplane.trust import services
    from controlplane.trust.signing import RoleFile

    running.release()
    ours = follower(running.world, running.source(), tmp_path / "follower")
    held = ours.refresh()
    forged = running.world.draft(2, running.world.files(cap_minor=9_000_000_000))
    online = [running.world.ceremony.online(name) for name in ("snapshot", "timestamp", "log")]

    async def break_in() -> None:
        context = running.context
        pool = type(context.pool)(context.pool._url)
        async with pool.transaction() as connection:
            newest = await services.newest_files(connection)
            file = RoleFile(ENVIRONMENT, 2, sign_file(forged.metadata, *online))
            await services.publish(connection, services.publication(context, newest, [file]))
        await pool.close()

    asyncio.run(break_in())
    with pytest.raises(NotTrusted) as refused:
        ours.refresh()
    assert refused.value.code == "RELEASE_SIGNATURE"
    assert ours.active is not None
    assert held is not None
    assert ours.active.metadata_digest == held.metadata_digest
    assert ours.refused == (2, "RELEASE_SIGNATURE")


def test_a_service_restarts_offline_on_the_release_it_holds(running: Running, tmp_path: Path) -> None:
    running.release()
    folder = tmp_path / "follower"
    first = follower(running.world, running.source(), folder).refresh()
    assert first is not None
    running.world.clock.moved += running.context.timestamp_lifetime / 2
    again = load_held(
        environment=ENVIRONMENT, service=SERVICE, folder=folder, root_bytes=running.world.root,
        record=FileRecord(folder / "accepted.json"), clock=running.world.clock,
    )  # fmt: skip
    assert again is not None
    assert (again.number, again.metadata_digest) == (first.number, first.metadata_digest)
    assert again.fetched_at == first.fetched_at
    again.check_live(running.world.clock.now())
    running.world.clock.moved += running.context.timestamp_lifetime
    with pytest.raises(NotTrusted, match="RELEASE_EXPIRED"):
        again.check_live(running.world.clock.now())


def test_an_unreachable_control_plane_leaves_the_old_release_in_force(running: Running, tmp_path: Path) -> None:
    running.release()
    ours = follower(running.world, running.source(), tmp_path / "follower")
    held = ours.refresh()
    ours._repository._source = FolderSource(tmp_path / "nowhere")
    with pytest.raises(CannotEvaluate) as lost:
        ours.refresh()
    assert lost.value.code == "RELEASE_UNREACHABLE"
    assert ours.active is held


def test_every_role_version_is_told_to_the_evidence_log(running: Running, world: World) -> None:
    running.release()
    told = {(role, version) for role, version, _ in running.logged}
    assert {("root", 1), ("targets", 1), ("sandbox-revocations", 1), ("sandbox", 1)} <= told
    newest = {role: max(v for r, v in told if r == role) for role in ("snapshot", "timestamp")}
    assert newest == {"snapshot": 3, "timestamp": 3}
