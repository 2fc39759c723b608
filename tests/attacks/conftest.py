"""Fixtures of the attack suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.attacker import Attacker
from tests.releases.support import Mirror, World


@pytest.fixture
def attacker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Attacker]:
    """The hostile operator, whose victim has release 1 in force. A test that never sees him refused is no test."""
    mirror = Mirror(World(tmp_path / "stack"), tmp_path / "mirror")
    mirror.put_release(mirror.world.draft(1))
    victim = mirror.follower()
    assert victim.refresh() is not None
    made = Attacker(request.function.attack, mirror, victim)
    yield made
    failed = request.node.stash.get(FAILED, False)
    assert made.was_refused or failed, "the test ended without the attacker being refused"


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Tell the fixture whether the test itself failed already."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report
