"""A pytest plugin that runs the collected tests against mutants (scripts/mutants.py): one fork a mutant, until a test fails."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest import runner


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Instead of pytest's own loop."""
    asked = json.loads(Path("mutants.json").read_text())
    until = time.monotonic() + asked["seconds"]
    reaches = _reached(session)
    _passes(session.items[0], session.items[1:2])  # what the first module's tests share is made once, before the forks
    killers: dict[str, int] = defaultdict(int)
    ends: dict[str, dict[str, Any]] = {}
    for count, name in enumerate(asked["names"], 1):
        if time.monotonic() > until:
            break
        function = name.rpartition("__mutmut_")[0]
        tests = sorted(reaches.get(function, ()), key=lambda index: -killers[f"{function} {index}"])
        ends[name] = _end(session.items, tests, name, asked["each"])
        if "index" in ends[name]:
            killers[f"{function} {ends[name].pop('index')}"] += 1
        if count % 20 == 0:
            Path("ends.json").write_text(json.dumps(ends))
            print(count, "of", len(asked["names"]), file=sys.stderr, flush=True)
    Path("ends.json").write_text(json.dumps(ends))
    return True


def _reached(session: pytest.Session) -> dict[str, list[int]]:
    """The tests that reach each function, quickest first; a test that fails without a mutant is left out, loudly."""
    hits: set[str] = vars(importlib.import_module("mutmut.state").state())["_stats"]  # what its trampolines note
    took: dict[int, float] = {}
    found: dict[str, list[int]] = defaultdict(list)
    os.environ["MUTANT_UNDER_TEST"] = "stats"
    for index, item in enumerate(session.items):
        hits.clear()
        started = time.monotonic()
        if not _passes(item, session.items[index + 1 : index + 2]):
            print("left out, fails by itself:", item.nodeid, file=sys.stderr, flush=True)
            continue
        took[index] = time.monotonic() - started
        for function in hits:
            found[function].append(index)
    os.environ["MUTANT_UNDER_TEST"] = ""
    return {function: sorted(tests, key=lambda index: took[index]) for function, tests in found.items()}


def _passes(item: pytest.Item, following: Sequence[pytest.Item] = ()) -> bool:
    vars(item.session)["_setupstate"].teardown_exact(item)  # of the test before, what this one does not share
    reports = runner.runtestprotocol(item, log=False, nextitem=following[0] if following else item)
    return all(not report.failed for report in reports)


def _end(items: list[pytest.Item], tests: list[int], name: str, seconds: int) -> dict[str, Any]:
    """How a mutant ended, in a child: exit 0 survived, else the pipe names the test."""
    if not tests:
        return {"end": "no tests"}
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        os.environ["MUTANT_UNDER_TEST"] = name
        _child(items, tests, writing, seconds)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if said:
        return {"end": "killed", "index": int(said), "by": items[int(said)].nodeid}
    if status == 0:
        return {"end": "survived"}
    return {"end": "timeout" if os.WIFSIGNALED(status) else "killed"}


def _child(items: list[pytest.Item], tests: list[int], writing: int, seconds: int) -> None:
    deadline = time.monotonic() + seconds
    try:
        for index, following in zip(tests, [*tests[1:], *tests[:1]], strict=True):
            if not _passes(items[index], [items[following]]):
                os.write(writing, str(index).encode())
                os._exit(1)
            if time.monotonic() > deadline:
                os.kill(os.getpid(), signal.SIGKILL)
    finally:
        os._exit(0)
