"""Progress of a run on a terminal: a bar on standard error, nothing on a pipe; results as lines where they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import click

from symphony.commands.common import say
from symphony.invariants import Result

_CLEAR = "\r\x1b[K"
_SHOW_CURSOR = "\x1b[?25h"
"""The bar hides the cursor; it must come back, also after an error."""


class Bar:
    """A bar over a count: on a terminal's standard error, nothing on a pipe; gone when it ends, Ctrl-C included."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: click._termui_impl.ProgressBar[int] | None = None

    def __enter__(self) -> Self:
        return self

    def begun(self, count: int) -> None:
        """So much is to be done."""
        if sys.stderr.isatty() and count:
            self._bar = click.progressbar(length=count, label=self._label, file=sys.stderr, show_pos=True)
            self._bar.render_progress()

    def moved(self, count: int) -> None:
        """So much more is done."""
        if self._bar is not None:
            self._bar.update(count)

    def say(self, lines: Sequence[str]) -> None:
        """Lines above the bar."""
        if self._bar is not None:
            click.echo(_CLEAR, err=True, nl=False)
        for line in lines:
            say(line)

    def labelled(self, label: str) -> None:
        """Another label."""
        if self._bar is not None:
            self._bar.label = label

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            click.echo(_CLEAR + _SHOW_CURSOR, err=True, nl=False)
            self._bar = None


class Progress(Bar):
    """Shows how many of the invariants are done. ``lines``: how a result is said at once, or ``None`` for not at all."""

    def __init__(self, lines: Callable[[Result], Sequence[str]] | None) -> None:
        super().__init__("checking")
        self._lines = lines

    def done(self, result: Result) -> None:
        """One has ended."""
        if self._lines is not None:
            self.say(self._lines(result))
        self.labelled(result.invariant.id)
        self.moved(1)
