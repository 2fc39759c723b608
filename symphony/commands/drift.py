"""``symphony invariants drift`` (MIG-10, MIG-11, INV-004): live schemas against ones just made from the migrations.

The reference is made for each run, in a temporary cluster; there is no committed snapshot. The version is compared first:
another version is its own outcome, not drift. Exit 0 same, 1 drift, 3 another version, a database that could not be read, or
nobody could be notified. With ``--every`` it ends at Ctrl-C or SIGTERM with the code of its last run.
"""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import psycopg

from contracts.errors import CannotEvaluate, SymphonyError
from contracts.times import SystemClock, rfc3339
from symphony import places
from symphony.commands.common import output_option, say, show_json
from symphony.invariants.drift import DRIFT, SAME, Verdict, judge
from symphony.invariants.drift import ERROR as UNKNOWN
from symphony.invariants.manifest import load_manifest
from symphony.invariants.notify import notify
from symphony.invariants.run import ERROR, FAIL, Report, Result

LINES_MAX = 20
_EVERY = re.compile(r"^([1-9]\d{0,5})([smh])$")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
INVARIANT = "INV-004"


def _every(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    match = _EVERY.match(value)
    if match is None:
        raise click.BadParameter("a number and s, m or h, as 15m")
    return int(match[1]) * _SECONDS[match[2]]


@click.command("drift")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, exists=True, file_okay=False), help="A running local stack."
)
@click.option(
    "--database-url",
    "given",
    multiple=True,
    metavar="KIND=URL",
    help="A database: sidecar, controlplane or ledger; repeatable.",
)
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
    context: click.Context, folder: Path | None, given: tuple[str, ...], every: int | None, evidence: Path | None,
    target: str | None, output: str,
) -> None:  # fmt: skip
    """Compare live schemas with what the migrations make: grants, owners, triggers, indexes, all of it.

    Exit 0 same, 1 drift, 3 another version or could not be evaluated (or nobody was notified).
    """
    urls = _urls(folder, given)
    if every is None:
        context.exit(run_once(urls, evidence, target, output))
    stop, code = threading.Event(), 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_ignored: stop.set())
    while not stop.is_set():
        code = run_once(urls, evidence, target, output)
        stop.wait(every)
    context.exit(code)


def run_once(urls: Mapping[str, str], evidence: Path | None, target: str | None, output: str) -> int:
    """One comparison of every database; the exit code."""
    verdicts = _judged(urls)
    code = exit_code(verdicts)
    document: dict[str, Any] = {
        "schema": "symphony.drift/1", "at": rfc3339(SystemClock().now()), "commit": _commit(), "exit": code,
        "databases": [asdict(one) | {"differences": one.differences[:LINES_MAX]} for one in verdicts],
    }  # fmt: skip
    failures = []
    if code:
        failures = list(_reported(verdicts, urls, document, evidence, target))
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
        if one["version"]:
            yield f"  version {one['version']}, expected {one['expected_version']}"
            yield f"  sha256  {one['sha256']}\n  expected {one['expected_sha256']}"
        yield from (f"  {what}" for what in one["differences"])
    yield f"{document['at']}, commit {document['commit']}"
    yield from (f"error: {what}" for what in document.get("errors", ()))


def _reported(
    verdicts: list[Verdict],
    urls: Mapping[str, str],
    document: dict[str, Any],
    evidence: Path | None,
    target: str | None,
) -> Iterator[str]:
    """Write the proof, tell somebody; one failing does not stop the other. What failed is yielded."""
    if evidence is not None:
        try:
            document["evidence"] = str(_proof(verdicts, urls, evidence / re.sub(r"\W", "", document["at"])))
        except (SymphonyError, OSError) as error:
            yield f"no proof was written: {error}"
    if target is not None:
        try:
            notify(target, document)
        except CannotEvaluate as error:
            yield error.detail


def _proof(verdicts: list[Verdict], urls: Mapping[str, str], folder: Path) -> Path:
    """A proof file of INV-004, anchored to the databases that answered; schema-checked before it is written."""
    from symphony.invariants import proofs

    answered = {one.kind: urls[one.kind] for one in verdicts if one.version}
    if not answered:
        raise CannotEvaluate("RELEASE_INVARIANT", "no database answered, so there is nothing to anchor it to")
    kind = FAIL if exit_code(verdicts) == 1 else ERROR
    detail = tuple(f"{one.kind}: {what}" for one in verdicts for what in one.differences)
    seen = sum(one.lines for one in verdicts)
    result = Result(load_manifest().get(INVARIANT), kind, seen, detail, ("python:no_drift",))
    return proofs.write(Report((result,)), folder, answered, environment="live")[0]


def _judged(urls: Mapping[str, str]) -> list[Verdict]:
    from symphony.stack.gate import fresh_urls

    try:
        with fresh_urls() as reference:
            return [judge(kind, url, reference[kind]) for kind, url in urls.items()]
    except (SymphonyError, OSError, psycopg.Error) as error:  # a watch goes on, and somebody hears of it
        said = f"no fresh schema could be made from the migrations: {error}"
        return [Verdict(kind, UNKNOWN, differences=[said]) for kind in urls]


def _urls(folder: Path | None, given: tuple[str, ...]) -> dict[str, str]:
    if (folder is None) == (not given):
        raise click.UsageError("give either --dir DIR or --database-url KIND=URL")
    if folder is not None:
        from symphony.stack.gate import stack_urls
        from symphony.stack.layout import Layout

        return stack_urls(Layout.open(folder))
    kinds = {path.name for path in places.folder("migrations").iterdir() if path.is_dir()}
    found = {}
    for one in given:
        kind, _, url = one.partition("=")
        if kind not in kinds or not url:
            raise click.BadParameter(
                f"KIND=URL, with a KIND of {', '.join(sorted(kinds))}", param_hint="--database-url"
            )
        if kind in found:
            raise click.BadParameter(f"{kind} is given twice", param_hint="--database-url")
        found[kind] = url
    return found


def _commit() -> str:
    words = ["git", "-c", "safe.directory=*", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError:
        return "not a checkout"
    return done.stdout.strip() if done.returncode == 0 else "not a checkout"
