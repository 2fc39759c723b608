"""Fixtures of the trust tests: a scratch world of a drill's own, on a database of the session's cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from symphony.drill.world import World
from tests.support.database import TestPostgres


@contextmanager
def made_in(folder: Path, postgres: TestPostgres) -> Iterator[World]:
    """A control plane that runs, with trust published and release 1 active (by alice; bruno and chanda approved)."""
    database = postgres.new_database("controlplane")
    with World(folder, database.writer, reviews=False) as made:
        made.release()
        yield made
    postgres.drop(database)


@pytest.fixture
def world(postgres: TestPostgres, tmp_path: Path) -> Iterator[World]:
    """A world to change."""
    with made_in(tmp_path / "world", postgres) as made:
        yield made


@pytest.fixture(scope="module")
def unchanged(postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all tests in which everything is refused; each looks that nothing was published."""
    with made_in(tmp_path_factory.mktemp("unchanged"), postgres) as made:
        yield made
