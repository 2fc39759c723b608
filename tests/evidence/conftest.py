"""A running control plane with one sidecar whose evidence key release 1 lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evidence import support
from tests.support.database import TestPostgres

_SIDECARS = [support.Sidecar(f"rail-{number}") for number in range(80)]


@pytest.fixture(scope="session")
def plane(postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[support.Plane]:
    """One control plane for the session, release 1 published; each test uses a stream of its own (``sidecar``)."""
    with support.running(postgres.new_database("controlplane"), tmp_path_factory.mktemp("plane")) as running:
        running.publish(1, [support.key_entry(item.name, item.key) for item in _SIDECARS], log_keys=[running.log_key])
        yield running


@pytest.fixture(scope="session")
def _unused() -> Iterator[support.Sidecar]:
    return iter(_SIDECARS)


@pytest.fixture
def sidecar(_unused: Iterator[support.Sidecar]) -> support.Sidecar:
    """A sidecar that nobody has used yet."""
    return next(_unused)


@pytest.fixture
def fresh(postgres: TestPostgres, tmp_path: Path) -> Iterator[tuple[support.Plane, support.Sidecar]]:
    """A control plane of its own, its log empty but for the TUF roles, with one sidecar."""
    with support.own_plane(postgres, tmp_path) as made:
        yield made
