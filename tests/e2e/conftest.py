"""Stacks for the end-to-end tests.

``stack``        the sandbox of the demo
``wide_stack``   ``--manifests examples/wide``
``crash_stack``  with failpoints and short leases; luangwa-bank may speak for Kafue's agent there, too
``new_stack``    a stack of a test's own
After each test, what the stacks have logged meanwhile is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.support import ROOT, Stack, running

REJECTS_PER_MINUTE = 40
BACKLOG_MAX = 400


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The sandbox of the demo, one for each file of tests: some revoke, some post by hand."""
    with running(tmp_path_factory.mktemp("stack")) as up:
        yield up


@pytest.fixture(scope="module")
def wide_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that admits every agent, money, method and date."""
    with running(tmp_path_factory.mktemp("wide"), "--manifests", str(ROOT / "examples" / "wide")) as up:
        yield up


@pytest.fixture(scope="session")
def crash_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Failpoints are in ``DIR/points``; leases of one second, and a rail that is given less than that."""
    folder, manifests = tmp_path_factory.mktemp("crash"), tmp_path_factory.mktemp("manifests")
    (folder / "points").mkdir()
    for path in (ROOT / "manifests").glob("*.json"):
        document = json.loads(path.read_text())
        if "sidecar" in document:
            document["sidecar"]["lease_ms"] = 1000
            document["sidecar"]["evidence"]["backlog_max"] = BACKLOG_MAX
            document["sidecar"]["intake"]["rejects_per_source_per_minute_max"] = REJECTS_PER_MINUTE
            document["sidecar"]["intake"]["request_timeout_ms"] = 3000
            document["sidecar"]["rail"] |= {"submit_timeout_ms": 700, "query_timeout_ms": 700}
        (manifests / path.name).write_text(json.dumps(document))
    template = json.loads((ROOT / "examples" / "environments" / "sandbox.template.json").read_text())
    next(p for p in template["participants"] if p["id"] == "luangwa-bank")["agents"].append("KFUBZMLUXXX")
    (manifests / "environment.template.json").write_text(json.dumps(template))
    with running(folder, "--manifests", str(manifests), "--failpoints", str(folder / "points")) as up:
        yield up


@pytest.fixture
def new_stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Make a stack of one's own: ``new_stack("name", *arguments of up)``."""
    with ExitStack() as all_of_them:
        yield lambda name, *arguments: all_of_them.enter_context(running(tmp_path / name, *arguments))


@pytest.fixture(autouse=True)
def _clean_logs(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each scenario: no payload, no secret and no traceback in any log of the stack it used."""
    yield
    for name in ("stack", "wide_stack", "crash_stack", "release_stack"):
        if name in request.fixturenames:
            request.getfixturevalue(name).check_logs()
