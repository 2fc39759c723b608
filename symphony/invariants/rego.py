"""``rego:<folder>`` checks: the Rego tests of a folder of the repository, run by a real ``opa``.

Every test passes, none is skipped, and there is at least one; anything else is a violation or could not be evaluated.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate
from symphony import opa
from symphony.invariants.checks import CouldNotRun, Seen

FAILED_EXIT = 2
"""``opa test`` ends with 2 when a test failed, with 1 when it could not run them."""


def run_rego(place: str, root: Path) -> Seen:
    """Run the tests. Raises ``CouldNotRun`` without ``opa``, without the folder, or without a test."""
    folder = root / place
    if not folder.is_dir():
        raise CouldNotRun(f"{place}: there is no such folder")
    try:
        done = opa.run(opa.find_opa(), ["test", "--format", "json", str(folder)], root)
    except CannotEvaluate as error:
        raise CouldNotRun(f"{place}: {error.detail}") from error
    if done.returncode not in {0, FAILED_EXIT}:
        raise CouldNotRun(f"{place}: opa test ended with {done.returncode}: {(done.stderr or done.stdout).strip()[:300]}")
    results = _results(done.stdout, place)
    bad = [f"{place}: {one['name']}" for one in results if one.get("fail") or one.get("error")]
    skipped = [one["name"] for one in results if one.get("skip")]
    if skipped:
        raise CouldNotRun(f"{place}: skipped: {', '.join(skipped)}")
    if not results or (done.returncode != 0 and not bad):
        raise CouldNotRun(f"{place}: no Rego test ran")
    return Seen(len(results), tuple(bad))


def _results(out: str, place: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(out or "[]")
    except ValueError as error:
        raise CouldNotRun(f"{place}: opa's answer is no JSON") from error
    return [one for one in found or [] if isinstance(one, dict) and "name" in one]
