"""``symphony invariants drift`` (MIG-10, MIG-11, INV-004): live schemas against ones just made from the migrations.

The reference is made for each run, in a temporary cluster; there is no committed snapshot. The version is compared first:
another version is its own outcome, not drift. Exit 0 same, 1 drift, 3 another version, a database that could not be read, or
nobody could be notified. With ``--every`` it ends at Ctrl-C or SIGTERM with the code of its last run.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click
import psycopg

from contracts.errors import CannotEvaluate, SymphonyError
from contracts.times import SystemClock, rfc3339
from symphony.commands.common import output_option, say, show_json
from symphony.invariants.anchors import commit
from symphony.invariants.checks import Target
from symphony.invariants.drift import DRIFT, SAME, Verdict, judge
from symphony.invariants.drift import ERROR as UNKNOWN
from symphony.invariants.find import manifest_of, manifest_option
from symphony.invariants.model import Manifest
from symphony.invariants.notify import notify
from symphony.invariants.run import ERROR, FAIL, Report, Result
from symphony.invariants.sources import fresh_of, live_of, server_option, url_option

LINES_MAX = 20
STOP_LOOK_S = 0.2
"""How soon a signal ends the pause between two runs."""
_EVERY = re.compile(r"^([1-9]\d{0,5})([smh])$")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
INVARIANT = "INV-004"


class Stop:
    """Asked for by a signal. No ``threading.Event``: its lock is not to be taken in a handler that may interrupt its ``wait``."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, _number: int, _frame: FrameType | None) -> None:
        """The signal's handler."""
        self.asked = True

    def wait(self, seconds: float) -> None:
        """So long, or until it is asked for."""
        end = time.monotonic() + seconds
        while not self.asked and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, STOP_LOOK_S))


@dataclass(frozen=True, slots=True)
class Watched:
    """What is compared: the manifest whose migrations count, live databases by name, and where fresh ones are made."""

    manifest: Manifest
    urls: Mapping[str, str]
    server_url: str | None = None


def _every(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    match = _EVERY.match(value)
    if match is None:
        raise click.BadParameter("a number and s, m or h, as 15m")
    return int(match[1]) * _SECONDS[match[2]]


@click.command("drift")
@click.option(
    "--dir", "stack", type=click.Path(path_type=Path, exists=True, file_okay=False), help="A running local stack."
)
@url_option
@server_option
@manifest_option
@click.option(
    "--every", callback=_every, metavar="TIME", help="Keep on, every so often (15m), until Ctrl-C or SIGTERM."
)
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder: each failure leaves a proof file in it.",
)
@click.option(
    "--notify", "target", metavar="URL-OR-COMMAND", help="On failure: POST JSON there, or run with it on stdin."
)
@output_option
@click.pass_context
def command(
    context: click.Context, stack: Path | None, given: tuple[str, ...], server_url: str | None, folder: Path | None,
    every: int | None, evidence: Path | None, target: str | None, output: str,
) -> None:  # fmt: skip
    """Compare live schemas with what the migrations make: grants, owners, triggers, indexes, all of it.

    Exit 0 same, 1 drift, 3 another version or could not be evaluated (or nobody was notified). Example:

      symphony invariants drift --database-url app=postgresql://reader@db.internal/app --every 15m
    """
    manifest = manifest_of(folder, stack)
    live = live_of(manifest, stack, given)
    if live is None:
        raise click.UsageError("give either --dir DIR or --database-url NAME=URL")
    watched = Watched(manifest, live, server_url)
    if every is None:
        context.exit(run_once(watched, evidence, target, output))
    stop, code = Stop(), 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop.ask)
    while not stop.asked:
        code = run_once(watched, evidence, target, output)
        stop.wait(every)
    context.exit(code)


def run_once(watched: Watched, evidence: Path | None, target: str | None, output: str) -> int:
    """One comparison of every database; the exit code."""
    verdicts = _judged(watched)
    code = exit_code(verdicts)
    document: dict[str, Any] = {
        "schema": "symphony.drift/1", "at": rfc3339(SystemClock().now()), "commit": commit(watched.manifest.root), "exit": code,
        "databases": [asdict(one) | {"differences": one.differences[:LINES_MAX]} for one in verdicts],
    }  # fmt: skip
    failures = []
    if code:
        failures = list(_reported(verdicts, watched, document, evidence, target))
    document |= {"errors": failures, "exit": 3 if failures else code}
    if output == "json":
        show_json(document)
    else:
        for line in lines(document):
            say(line)
    return int(document["exit"])


def exit_code(verdicts: list[Verdict]) -> int:
    """3 when one could not be compared or is of another version, 1 for drift, 4 when there was none, else 0."""
    outcomes = {one.outcome for one in verdicts}
    if not outcomes:
        return 4
    return 3 if outcomes - {SAME, DRIFT} else 1 if DRIFT in outcomes else 0


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The document for people: versions, hashes, what differs."""
    for one in document["databases"]:
        yield f"{one['kind']}: {one['outcome']}"
        if one["sha256"]:
            if one["version"] or one["expected_version"]:
                yield f"  version {one['version']}, expected {one['expected_version']}"
            yield f"  sha256  {one['sha256']}\n  expected {one['expected_sha256']}"
        yield from (f"  {what}" for what in one["differences"])
    yield f"{document['at']}, commit {document['commit']}"
    yield from (f"error: {what}" for what in document.get("errors", ()))


def _reported(
    verdicts: list[Verdict], watched: Watched, document: dict[str, Any], evidence: Path | None, target: str | None
) -> Iterator[str]:
    """Write the proof, tell somebody; one failing does not stop the other. What failed is yielded."""
    if evidence is not None:
        try:
            document["evidence"] = str(_proof(verdicts, watched, evidence / re.sub(r"\W", "", document["at"])))
        except (SymphonyError, OSError) as error:
            yield f"no proof was written: {error}"
    if target is not None:
        try:
            notify(target, document)
        except CannotEvaluate as error:
            yield error.detail


def _proof(verdicts: list[Verdict], watched: Watched, folder: Path) -> Path:
    """A proof file of INV-004, anchored to the databases that answered; schema-checked before it is written."""
    from symphony.invariants import proofs

    answered = {one.kind: watched.urls[one.kind] for one in verdicts if one.sha256}
    if not answered:
        raise CannotEvaluate("RELEASE_INVARIANT", "no database answered, so there is nothing to anchor it to")
    kind = FAIL if exit_code(verdicts) == 1 else ERROR
    detail = tuple(f"{one.kind}: {what}" for one in verdicts for what in one.differences)
    seen = sum(one.lines for one in verdicts)
    result = Result(watched.manifest.get(INVARIANT), kind, seen, detail, ("python:no_drift",))
    kinds = Target({}, watched.manifest.folder, databases=watched.manifest.databases).kinds
    report = Report((result,), absent=tuple(sorted(kinds - set(answered))))
    return proofs.write(report, folder, answered, watched.manifest, environment="live")[0]


def _judged(watched: Watched) -> list[Verdict]:
    urls, own = watched.urls, not watched.manifest.databases
    try:
        with fresh_of(watched.manifest, watched.server_url) as reference:
            return [judge(kind, url, reference[kind], own=own) for kind, url in urls.items()]
    except (SymphonyError, OSError, psycopg.Error) as error:  # a watch goes on, and somebody hears of it
        said = f"no fresh schema could be made from the migrations: {error}"
        return [Verdict(kind, UNKNOWN, differences=[said]) for kind in urls]
