"""How the story is told: one line a step with what was proved and how. A claim that does not hold ends the demo."""

from __future__ import annotations

import time
from collections.abc import Callable

from contracts.errors import CannotEvaluate


class Teller:
    """Prints chapters and claims; ``claim`` raises when what was to be shown did not happen."""

    def __init__(self, out: Callable[[str], None]) -> None:
        self._out = out
        self._begun = time.monotonic()
        self.claims = 0

    def chapter(self, number: int, title: str) -> None:
        """A new step of the story."""
        self._out(f"\n{number}. {title}   [{time.monotonic() - self._begun:5.1f} s]")

    def line(self, text: str) -> None:
        """Something that happened."""
        self._out(f"   {text}")

    def claim(self, holds: bool, text: str, how: str = "") -> None:
        """What was proved, and how. Raises ``CannotEvaluate INTERNAL`` when it does not hold."""
        if not holds:
            raise CannotEvaluate(
                "INTERNAL", f"the demo expected: {text} ({how})", next_step="report this, with the logs of DIR"
            )
        self.claims += 1
        self._out(f"   ok  {text}" + (f"  [{how}]" if how else ""))
