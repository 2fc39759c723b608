"""The supervisor goes on when PostgreSQL dies while it recovers, and gives up after a bound."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from contracts.errors import CannotEvaluate
from symphony.stack import supervisor
from symphony.stack.layout import Layout
from symphony.stack.postgres import Cluster
from symphony.stack.supervisor import RESTARTS_MAX, Supervisor


class Dying:
    """A cluster whose first starts fail."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.starts = 0

    def start(self) -> None:
        self.starts += 1
        if self.starts <= self.failures:
            raise CannotEvaluate("CONFIGURATION", "PostgreSQL did not start: it was killed while it recovered")


def _ticked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cluster: Dying, times: int) -> None:
    monkeypatch.setattr(supervisor, "DATABASE_EVERY_S", 0.0)
    one = Supervisor(Layout.create(tmp_path / "s"), cast("Cluster", cluster))
    for _ in range(times):
        one.tick()


def test_a_database_that_dies_while_it_recovers_is_started_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cluster = Dying(failures=RESTARTS_MAX)
    _ticked(monkeypatch, tmp_path, cluster, RESTARTS_MAX + 2)
    assert cluster.starts == RESTARTS_MAX + 2


def test_a_database_that_never_starts_ends_the_stack_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(CannotEvaluate, match="killed while it recovered"):
        _ticked(monkeypatch, tmp_path, Dying(failures=RESTARTS_MAX + 1), RESTARTS_MAX + 1)
