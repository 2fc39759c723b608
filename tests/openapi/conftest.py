"""One control plane for the whole folder, with two releases, over real TLS; clients with certificates."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.releases.running import Running, control_plane
from tests.releases.support import World
from tests.support.database import TestPostgres


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, postgres: TestPostgres) -> Iterator[Running]:
    """A control plane with release 1 superseded and 2 active."""
    database = postgres.new_database("controlplane")
    with control_plane(World(tmp_path_factory.mktemp("openapi") / "stack"), database.writer) as made:
        made.release()
        made.release(cap_minor=500)
        yield made
    postgres.drop(database)
