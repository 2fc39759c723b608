"""A drill's report: each step with what must be true, whether it was, and how long it took. A failed step ends the drill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from contracts.errors import SymphonyError

SCHEMA = "symphony.drill/1"
PASS, FAIL, NOT_RUN = "pass", "fail", "not run"


class StepFailed(Exception):
    """What must be true was not."""


class Ended(Exception):
    """A step failed, so the drill ends."""


@dataclass
class Report:
    """The steps of one drill, in order. ``say`` hears of each as it ends."""

    drill: str
    say: Callable[[str], None] = lambda _line: None
    steps: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def step(self, what: str, must: str) -> Iterator[None]:
        """One step; ``demand`` and errors inside it fail it and end the drill."""
        began, outcome, detail = time.monotonic(), PASS, ""
        try:
            yield
        except (StepFailed, SymphonyError) as error:
            outcome, detail = FAIL, str(error)
            raise Ended(detail) from error
        except Exception as error:
            outcome, detail = FAIL, f"{type(error).__name__}: {error}"
            raise Ended(detail) from error
        finally:
            seconds = round(time.monotonic() - began, 3)
            self.steps.append({
                "n": len(self.steps) + 1, "what": what, "must": must, "outcome": outcome, "seconds": seconds, "detail": detail,
            })  # fmt: skip
            self.say(f"  {outcome:<4} {seconds:>7.3f} s  {what}" + (f": {detail}" if detail else ""))

    @property
    def passed(self) -> bool:
        """Whether there were steps, and every one of them passed."""
        return bool(self.steps) and all(step["outcome"] == PASS for step in self.steps)

    def document(self, **more: Any) -> dict[str, Any]:
        """The evidence document."""
        total = round(sum(step["seconds"] for step in self.steps), 3)
        return {
            "schema": SCHEMA, "drill": self.drill, "outcome": PASS if self.passed else FAIL, "seconds": total,
            "steps": self.steps, **more,
        }  # fmt: skip


def demand(holds: object, otherwise: str) -> None:
    """Raise ``StepFailed`` unless it holds."""
    if not holds:
        raise StepFailed(otherwise)


def refused(code: str, call: Callable[[], Any]) -> str:
    """The call must end with this reason code; its detail."""
    try:
        call()
    except SymphonyError as error:
        demand(error.code == code, f"refused with {error.code} ({error.detail}), not {code}")
        return error.detail
    raise StepFailed(f"it went through; {code} was to refuse it")


def markdown(document: dict[str, Any]) -> str:
    """The report for people."""
    rows = [
        f"| {s['n']} | {_cell(s['what'])} | {_cell(s['must'])} | {s['outcome']} | {s['seconds']:.3f} | {_cell(s['detail'])} |"
        for s in document["steps"]
    ]
    head = (
        f"# Drill: {document['drill']}\n\n**{document['outcome']}** in {document['seconds']} s, at {document['at']}\n"
    )
    table = [
        "| step | what was done | what must be true | outcome | seconds | detail |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    notes = [f"* {line}" for line in document.get("notes", ())]
    anchors = [f"* {name}: {value}" for name, value in document.get("anchors", {}).items()]
    return "\n".join([head, *table, "", "## What it shows", "", *notes, "", "## Anchored to", "", *anchors, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
