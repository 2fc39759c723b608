"""What doctor makes of the readiness of a service: what halts it and what it warns of, in its own words (PIL-05)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from symphony.stack import doctor
from symphony.stack.layout import Layout

HALTED = {"reason_code": "SERVICE_HALTED", "detail": "INV-029"}


@pytest.mark.parametrize(("answer", "found"), [
    (None, (False, "does not answer ready")),
    ((200, "ready release=1\n"), (True, "ready")),
    ((200, "ready release=1 warnings=INV-009\n"), (True, "ready warnings=INV-009")),
    ((200, json.dumps({"status": "ready"})), (True, "ready")),
    ((200, json.dumps({"status": "ready", "warnings": ["INV-009"]})), (True, "ready INV-009")),
    ((200, "ready release=1 stale=lease-1 caps_percent=50\n"), (True, "ready stale=lease-1 caps_percent=50")),
    ((200, json.dumps({"status": "ready", "stale": "the lease ran out"})), (True, "ready stale: the lease ran out")),
    ((503, "SERVICE_HALTED INV-014\n"), (False, "does not answer ready: SERVICE_HALTED INV-014")),
    ((503, json.dumps(HALTED)), (False, "does not answer ready: SERVICE_HALTED INV-029")),
])  # fmt: skip
def test_readiness_is_told_in_the_services_own_words(answer: Any, found: tuple[bool, str]) -> None:
    assert doctor._readiness(answer) == found


@pytest.mark.parametrize(("text", "step"), [("SERVICE_HALTED INV-014", "symphony invariants check --dir"), ("NO_ACTIVE_RELEASE", "read ")])
def test_the_next_step_of_a_halted_service_is_to_ask_and_to_mend(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, step: str
) -> None:
    import os

    class Somewhere:
        folder = tmp_path

        def url(self, name: str) -> str:
            """Any."""
            return f"https://{name}"

    monkeypatch.setattr(doctor, "asked", lambda *_: (503, text))
    layout: Layout = Somewhere()  # type: ignore[assignment]
    part = doctor._process(layout, "acceptor", os.getpid())
    assert not part["ok"]
    assert part["next_step"].startswith(step)
    assert ("mend-a-halted-service.md" in part["next_step"]) == (step != "read ")
