"""The ledger behind a real follower: TUF metadata signed by officers."""

from __future__ import annotations

import time

import pytest

from contracts.canonical import sha256_hex
from services.ledger import invariants
from services.ledger.store.releases import AcceptedReleases
from tests.ledger.support import AGENTS, MovingClock, Running, Sidecar, posting
from tests.releases import support as releases


@pytest.fixture
def sidecar():
    return Sidecar(MovingClock())


@pytest.fixture
def officers(tmp_path):
    return releases.World(tmp_path / "stack")


@pytest.fixture
def mirror(officers, tmp_path):
    return releases.Mirror(officers, tmp_path / "mirror")


def publish(mirror, sidecar, number):
    data = releases.environment_data(1_000_000 + number)
    data |= {"agents": list(AGENTS), "permit_keys": [sidecar.listed]}
    mirror.put_release(mirror.world.draft(number, mirror.world.files(environment_data=data)))


def follower(mirror, database, folder):
    return mirror.follower(
        folder, service="core-ledger", record=AcceptedReleases(database.writer),
        self_test=lambda _: invariants.check(database.writer) and None,
    )  # fmt: skip


def running(mirror, database, certificates, folder):
    return Running(database.writer, certificates, follower(mirror, database, folder), mirror.world.clock)


def answer_within(client, sidecar, wanted, seconds=15, **claims):
    """The first answer that is the one wanted, and the codes before it."""
    before, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline:
        body = posting()
        status, document = client.post(body, sidecar.permit(body, **claims))
        said = document.get("reason_code", status)
        if said == wanted:
            return document, before
        before.append(said)
        time.sleep(0.02)
    pytest.fail(f"never {wanted}, but {set(before)}")


def test_the_ledger_follows_releases_by_itself(database, mirror, sidecar, certificates, connect):
    publish(mirror, sidecar, 1)
    policy = mirror.world.files()["policy.wasm"]
    digest = {"policy_digest": sha256_hex(policy)}
    with running(mirror, database, certificates, "first") as ledger:
        client = connect(ledger.port)
        answer_within(client, sidecar, 201, release_number=1, **digest)
        assert client.post(posting(), sidecar.permit(posting()))[0] == 403
        publish(mirror, sidecar, 2)
        _, before = answer_within(client, sidecar, 201, release_number=2, **digest)
        assert set(before) <= {"RELEASE_NOT_YET"}
        assert answer_within(client, sidecar, 201, release_number=1, **digest)[1] == []
        client.close()
    assert AcceptedReleases(database.writer).highest()[0] == 2

    for path in (mirror.folder / "metadata").iterdir():  # the control plane is gone: it restarts on what it holds
        path.unlink()
    with running(mirror, database, certificates, "first") as ledger:
        client = connect(ledger.port)
        answer_within(client, sidecar, 201, release_number=2, **digest)
        assert answer_within(client, sidecar, "RELEASE_SUPERSEDED", release_number=1, **digest)[1] == []
        client.close()


def test_an_older_release_is_refused_by_the_databases_own_record(database, mirror, sidecar, certificates, connect):
    record = AcceptedReleases(database.writer)
    if record.highest() is None:
        record.accept(2, "a" * 64)
    publish(mirror, sidecar, 1)
    with running(mirror, database, certificates, "empty") as ledger:
        client = connect(ledger.port)
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            body = posting()
            status, document = client.post(body, sidecar.permit(body))
            assert (status, document["reason_code"]) == (503, "NO_ACTIVE_RELEASE")
            time.sleep(0.1)
        client.close()
