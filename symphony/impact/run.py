"""The whole replay: every slice of the window, here or in several processes, which share one snapshot.

A process of its own makes its own engine and its own connection (``spawn``: nothing is inherited that another thread may
hold); what it sends back is a count. Few decisions are counted here, where starting processes would take longer.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from contracts.errors import CannotEvaluate
from symphony.impact import source
from symphony.impact.model import Counts, Subject, document
from symphony.impact.replay import Candidate, Replayer
from symphony.impact.source import Slice, Window

PROCESSES_MAX = 4
HERE_ROWS_MAX = 10_000
"""A second's work: about what another process needs until it is ready."""

Moved = Callable[[int], None]
"""So many decisions further."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The count of a window."""

    window: Window
    counts: Counts


def replay(
    url: str, candidate: Candidate, days: int, *, begun: Moved = lambda _rows: None, moved: Moved = lambda _rows: None,
    processes: int | None = None, here_max: int = HERE_ROWS_MAX,
) -> Replayed:  # fmt: skip
    """Ask a candidate again about the last ``days`` days of a sidecar's database.

    Raises ``CannotEvaluate`` when the database or the candidate cannot be used: then nothing is claimed. ``begun`` hears how
    many decisions there are, ``moved`` how many more are done.
    """
    with source.connected(url) as connection:
        found = source.window(connection, days)
        begun(found.rows)
        wanted = processes or min(os.cpu_count() or 1, PROCESSES_MAX)
        if not found.rows:
            counts = Counts()
        elif found.rows <= here_max or wanted == 1:
            replayer, counts = Replayer(candidate), Counts()
            for part in found.slices:
                for rows in source.rows(connection, part):
                    replayer.count(rows, counts)
                    moved(len(rows))
        else:
            counts = _in_processes(_Job(url, candidate, found.snapshot), found.slices, wanted, moved)
    if counts.recorded != found.rows:
        raise CannotEvaluate("STORE_UNAVAILABLE", f"{counts.recorded} of {found.rows} recorded decisions were read")
    return Replayed(found, counts)


def report_of(replayed: Replayed, candidate: Candidate, environment: str) -> dict[str, Any]:
    """The report as a document (``symphony.impact_report/1``)."""
    window = replayed.window
    subject = Subject(
        environment, candidate.policy_sha256, candidate.environment_sha256, window.since, window.until, window.days,
        candidate.release,
    )  # fmt: skip
    return document(subject, replayed.counts)


@dataclass(frozen=True, slots=True)
class _Job:
    url: str
    candidate: Candidate
    snapshot: str


def _in_processes(job: _Job, slices: tuple[Slice, ...], processes: int, moved: Moved) -> Counts:
    total = Counts()
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(job,))
    try:
        running: set[Future[Counts | tuple[str, str]]] = {pool.submit(_slice, part) for part in slices}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for one in done:
                counts = one.result()
                if isinstance(counts, tuple):
                    raise CannotEvaluate(*counts)
                total.add(counts)
                moved(counts.recorded)
    except BrokenProcessPool as error:
        raise CannotEvaluate("RELEASE_ENGINE", "a process that replays ended by itself", next_step="try it again") from error
    finally:  # Ctrl-C too: what has not begun is dropped, what runs ends with its slice, in half a second
        pool.shutdown(cancel_futures=True)
    return total


_job: _Job | None = None
_replayer: Replayer | None = None


def _begin(job: _Job) -> None:
    """In a process of its own: Ctrl-C is the parent's to answer."""
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _job = job


def _slice(part: Slice) -> Counts | tuple[str, str]:
    """In a process of its own: the count of a slice, or code and detail of an error (an exception would not travel)."""
    global _replayer
    assert _job is not None
    try:
        _replayer = _replayer or Replayer(_job.candidate)
        counts = Counts()
        with source.connected(_job.url, _job.snapshot) as connection:
            for rows in source.rows(connection, part):
                _replayer.count(rows, counts)
        return counts
    except CannotEvaluate as error:
        return error.code, error.detail
