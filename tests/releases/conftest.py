"""Fixtures of the release tests: a world of keys, a hostile mirror, a running control plane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.release import ReleaseFollower
from tests.releases.running import Running, control_plane
from tests.releases.support import Mirror, World
from tests.support.database import Database, TestPostgres


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Fresh keys and a clock."""
    return World(tmp_path / "stack")


@pytest.fixture
def mirror(world: World, tmp_path: Path) -> Mirror:
    """A repository in a folder, whose online keys the test holds."""
    return Mirror(world, tmp_path / "mirror")


@pytest.fixture
def database(postgres: TestPostgres) -> Iterator[Database]:
    """A migrated control plane database."""
    made = postgres.new_database("controlplane")
    yield made
    postgres.drop(made)


@pytest.fixture
def running(world: World, database: Database) -> Iterator[Running]:
    """A control plane over real TLS with the custodians' word published."""
    with control_plane(world, database.writer) as made:
        yield made


@pytest.fixture(scope="module")
def shared(postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One control plane for a module's tests: each goes on with the numbers that it finds."""
    made = postgres.new_database("controlplane")
    with control_plane(World(tmp_path_factory.mktemp("shared") / "stack"), made.writer) as up:
        up.database = made
        yield up
    postgres.drop(made)


@pytest.fixture
def following(mirror: Mirror) -> ReleaseFollower:
    """A follower with release 1 in force."""
    mirror.put_release(mirror.world.draft(1))
    made = mirror.follower()
    assert made.refresh() is not None
    return made
