"""``symphony invariants``: the gate. Never green when nothing ran or a database did not answer."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from contracts.errors import Refused
from symphony.commands import drift, invariants_own
from symphony.commands.common import output_option, say, show_json
from symphony.commands.progress import Progress
from symphony.commands.prove import prove
from symphony.invariants import Manifest, Report, check, release_form
from symphony.invariants.exceptions import Judged
from symphony.invariants.find import manifest_of, manifest_option
from symphony.invariants.formats import FORMATS, ending, lines_of
from symphony.invariants.model import PILLARS, Invariant
from symphony.invariants.run import PASS
from symphony.invariants.sources import fresh_of, live_of, server_option, url_option

WARNED = 7
"""Exit code of warnings with ``--fail-on-warn`` (design section 12)."""


@click.group("invariants")
@click.pass_context
def command(context: click.Context) -> None:
    """Invariants: what must always hold, and the checks that prove it."""
    before = signal.signal(signal.SIGTERM, _stop)
    context.call_on_close(lambda: signal.signal(signal.SIGTERM, before))


def _stop(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM as Ctrl-C: scratch databases and copies are removed on the way out, and the exit is no pass."""
    raise KeyboardInterrupt


for more in (prove, drift.command, invariants_own.init, invariants_own.new, invariants_own.changed):
    command.add_command(more)


@command.command("check")
@click.option(
    "--dir",
    "stack",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    envvar="SYMPHONY_DIR",
    help="Check a running stack's databases; by default fresh ones, made from the migrations.",
)
@url_option
@server_option
@manifest_option
@click.option("--only", multiple=True, metavar="ID", help="Only this invariant; may be repeated.")
@click.option("--severity", type=click.Choice(["P0", "P1"]), help="Only this severity.")
@click.option("--with-tests", is_flag=True, help="Also run checks that are tests or scripts of this repository.")
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for proof files (evidence/<id>.json and an index).",
)
@click.option(
    "--sign",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A gate key: sign the result of all checks for the digests of a release folder's files.",
)
@click.option(
    "--release",
    "release_folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="With --sign: folder with policy.wasm, policy.tar.gz and invariants.json.",
)
@click.option("--fail-on-warn", is_flag=True, help="Exit 7 when an exception excuses an invariant that does not hold.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="With --sign: where gate.json is written.")
@click.option(
    "-o", "--output", type=click.Choice(["text", *FORMATS]), default="text", show_default=True, help="Output format."
)
@click.pass_context
def check_command(
    context: click.Context, stack: Path | None, folder: Path | None, given: tuple[str, ...], server_url: str | None,
    only: tuple[str, ...], severity: str | None, with_tests: bool, evidence: Path | None, sign: Path | None,
    release_folder: Path | None, fail_on_warn: bool, out: Path | None, output: str,
) -> None:  # fmt: skip
    """Run every implemented invariant's checks: on fresh databases, a stack's, or live ones.

    Exit 0 all hold, 1 one is violated, 3 one could not be evaluated, 4 nothing was tested; 2 for an ID that is none. An
    exception in force makes a violation EXCEPTED: exit 0, or 7 with --fail-on-warn. Example:

      symphony invariants check --with-tests --evidence evidence
    """
    from symphony.invariants import proofs

    manifest = manifest_of(folder, stack)
    chosen = _chosen(manifest, only)
    if sign is not None:
        _demand_whole(only, severity, given, release_folder, out)
        _demand_same(manifest, release_folder)
    index = None
    lines = lines_of if output == "text" else None
    with _databases(manifest, stack, given, server_url) as (urls, reference), Progress(lines) as progress:
        report = check(
            manifest, urls, only=chosen, severity=severity, with_tests=with_tests, reference=reference,
            begun=progress.begun, done=progress.done, partial=bool(given),
        )  # fmt: skip
        if evidence is not None and report.results:
            environment = "sandbox" if stack else "live" if given else "checkout"
            index = proofs.write(report, evidence, urls, manifest, environment=environment)[-1].read_bytes()
    if sign is not None and release_folder is not None and out is not None:
        _sign(report, sign, release_folder, out, index)
    if output in {"sarif", "junit"}:  # these go to a file: who reads the log sees what failed
        for line in (line for one in report.results if one.result != PASS for line in lines_of(one)):
            click.echo(line, err=True)
        click.echo(ending(report), err=True)
    say(ending(report) if output == "text" else FORMATS[output](report))
    context.exit(report.exit_code or (WARNED if fail_on_warn and report.excepted else 0))


def _chosen(manifest: Manifest, only: tuple[str, ...]) -> frozenset[str]:
    try:
        return frozenset(manifest.get(identifier).id for identifier in only)
    except Refused as error:
        raise click.BadParameter(f"{error.detail}; they are in: {error.next_step}", param_hint="--only") from error


@contextmanager
def _databases(
    manifest: Manifest, stack: Path | None, given: Sequence[str], server_url: str | None
) -> Iterator[tuple[dict[str, str], dict[str, str] | None]]:
    """What is checked, and what live schemas are compared with."""
    live = live_of(manifest, stack, given)
    if sys.stderr.isatty():
        click.echo("making fresh databases from the migrations …", err=True)
    with fresh_of(manifest, server_url) as urls:
        yield (urls, None) if live is None else (live, urls)


def _demand_whole(
    only: tuple[str, ...], severity: str | None, given: Sequence[str], folder: Path | None, out: Path | None
) -> None:
    if only or severity or given:
        raise click.UsageError("--sign vouches for the whole gate: leave --only, --severity and --database-url out")
    if folder is None or out is None:
        raise click.UsageError("--sign needs --release FOLDER and --out FILE")


def _demand_same(manifest: Manifest, folder: Path | None) -> None:
    """A gate result speaks of the release's own invariants, so they are the ones that are checked."""
    from contracts.canonical import canonical_bytes
    from contracts.release.contents import GATED

    assert folder is not None
    missing = [name for name in GATED if not (folder / name).is_file()]
    if missing:
        raise click.UsageError(f"{folder} has no {', '.join(missing)}")
    if (folder / "invariants.json").read_bytes() != canonical_bytes(release_form(manifest)):
        raise Refused(
            "RELEASE_INVARIANT",
            f"{folder / 'invariants.json'} is not this checkout's manifest",
            next_step="check out what the release was made from, or propose again",
        )


def _sign(report: Report, key: Path, folder: Path, out: Path, index: bytes | None) -> None:
    from contracts.keys import load_private_key
    from contracts.release.contents import GATED
    from symphony.release.gate import sign_gate

    files = {name: (folder / name).read_bytes() for name in GATED}
    failed = [name for name in report.failed if name not in report.excepted]
    signed = sign_gate(
        load_private_key(key), files, passed=report.passed, failed=failed, warned=report.excepted, evidence_index=index
    )
    out.write_bytes(signed)


@command.command()
@manifest_option
@click.argument("identifier", metavar="ID")
def explain(folder: Path | None, identifier: str) -> None:
    """What an invariant says, who enforces it, what verifies it."""
    manifest = manifest_of(folder)
    one = manifest.get(identifier)
    say(f"{one.id} {' '.join(one.aliases)}\n  {one.title}\n  {one.status}, {one.severity}, pillar {one.pillar}")
    say(f"  owners {', '.join(one.owners)}, {one.sla_days} days\n  enforced by {', '.join(one.enforced_by) or '-'}")
    say(f"  verified by {', '.join(one.verified_by) or 'nothing yet'}\n  evidence {', '.join(one.evidence) or '-'}")
    for line in _more(one):
        say(line)
    for exemption in manifest.exceptions:
        if exemption.invariant == one.id:
            say(f"  {Judged(exemption, f'{exemption.granted} to {exemption.expires}').line()}")


def _more(one: Invariant) -> list[str]:
    """Lines for the fields that an entry may leave out."""
    texts = [("definition", one.definition), ("scope", one.scope)]
    lists = [("accepted when", one.acceptance_criteria), ("evidence that must be there", one.required_evidence)]
    return [f"  {name}: {text}" for name, text in texts if text] + [
        f"  {name}: {text}" for name, many in lists for text in many
    ]


@command.command("list")
@manifest_option
@output_option
def list_command(folder: Path | None, output: str) -> None:
    """Every invariant of the manifest with its status, by pillar."""
    manifest = manifest_of(folder)
    if output == "json":
        show_json([
            {"id": one.id, "pillar": one.pillar, "status": one.status, "severity": one.severity, "title": one.title}
            for one in manifest.invariants
        ])  # fmt: skip
        return
    for pillar in PILLARS:
        found = manifest.of_pillar(pillar)
        built = sum(one.status == "implemented" for one in found)
        say(f"{pillar}: {len(found)} ({built} implemented, {len(found) - built} roadmap)")
        for one in found:
            say(f"  {one.id:<15} {one.status:<12} {one.severity} {one.title}")
