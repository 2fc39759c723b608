"""``symphony invariants``: the gate. Never green when nothing ran or a database did not answer."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import click

from symphony.commands.common import say, show_json
from symphony.invariants import Report, Result, check, load_manifest

FINDINGS_SHOWN_MAX = 10


@click.group("invariants")
def command() -> None:
    """Invariants: what must always hold, and the checks that prove it."""


@command.command("check")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    envvar="SYMPHONY_DIR",
    help="Check a running stack's databases; by default fresh ones, made from the checkout's migrations.",
)
@click.option("--only", multiple=True, metavar="ID", help="Only this invariant; may be repeated.")
@click.option("--severity", type=click.Choice(["P0", "P1"]), help="Only this severity.")
@click.option("--with-tests", is_flag=True, help="Also run checks that are tests of this repository.")
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for proof files (evidence/<id>.json and an index).",
)
@click.option(
    "--sign",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A gate key: sign the result for the digests of a release folder's files.",
)
@click.option(
    "--release",
    "release_folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="With --sign: folder with policy.wasm, policy.tar.gz and invariants.json.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="With --sign: where gate.json is written.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "junit"]),
    default="text",
    show_default=True,
    help="Output format.",
)
@click.pass_context
def check_command(
    context: click.Context, folder: Path | None, only: tuple[str, ...], severity: str | None, with_tests: bool,
    evidence: Path | None, sign: Path | None, release_folder: Path | None, out: Path | None, output: str,
) -> None:  # fmt: skip
    """Run every implemented invariant's checks against live schemas.

    Exit 0 all hold, 1 one is violated, 3 one could not be evaluated, 4 nothing was tested.
    """
    from symphony.invariants import proofs
    from symphony.stack.gate import fresh_urls, stack_urls
    from symphony.stack.layout import Layout

    manifest = load_manifest()
    for identifier in only:
        manifest.get(identifier)
    done = _shown if output == "text" else (lambda _result: None)

    def run(urls: dict[str, str]) -> Report:
        report = check(manifest, urls, only=frozenset(only), severity=severity, with_tests=with_tests, done=done)
        if evidence is not None:
            proofs.write(report, evidence, urls, environment="sandbox" if folder else "checkout")
        return report

    if folder is not None:
        report = run(stack_urls(Layout.open(folder)))
    else:
        with fresh_urls() as urls:
            report = run(dict(urls))
    if sign is not None:
        _sign(report, sign, release_folder, out)
    _finish(report, output, len(manifest.invariants))
    context.exit(report.exit_code)


def _sign(report: Report, key: Path, folder: Path | None, out: Path | None) -> None:
    from contracts.keys import load_private_key
    from contracts.release.contents import GATED
    from symphony.release.gate import sign_gate

    if folder is None or out is None:
        raise click.UsageError("--sign needs --release FOLDER and --out FILE")
    files = {name: (folder / name).read_bytes() for name in GATED}
    out.write_bytes(sign_gate(load_private_key(key), files, passed=report.passed, failed=report.failed))


def _shown(result: Result) -> None:
    say(
        f"{result.result:<5} {result.invariant.id:<14} {result.invariant.severity} {result.invariant.title} ({result.seen} seen)"
    )
    for line in result.detail[:FINDINGS_SHOWN_MAX]:
        say(f"        {line}")
    if len(result.detail) > FINDINGS_SHOWN_MAX:
        say(f"        … and {len(result.detail) - FINDINGS_SHOWN_MAX} more (-o json shows all)")


def _finish(report: Report, output: str, known: int) -> None:
    if output == "json":
        show_json([
            {"id": r.invariant.id, "result": r.result, "severity": r.invariant.severity, "seen": r.seen, "detail": list(r.detail)}
            for r in report.results
        ])  # fmt: skip
    elif output == "junit":
        say(_junit(report))
    else:
        say(f"{len(report.passed)} of {len(report.results)} hold; {known} in the manifest, the rest on its roadmap")


def _junit(report: Report) -> str:
    failures = sum(r.result == "FAIL" for r in report.results)
    errors = sum(r.result == "ERROR" for r in report.results)
    suite = ET.Element(
        "testsuite", name="invariants", tests=str(len(report.results)), failures=str(failures), errors=str(errors)
    )
    for result in report.results:
        case = ET.SubElement(suite, "testcase", name=result.invariant.id, classname="invariants")
        if result.result != "PASS":
            tag = "failure" if result.result == "FAIL" else "error"
            ET.SubElement(case, tag, message="; ".join(result.detail)[:500])
    return ET.tostring(suite, encoding="unicode")


@command.command()
@click.argument("identifier", metavar="ID")
def explain(identifier: str) -> None:
    """What an invariant says, who enforces it, what verifies it."""
    one = load_manifest().get(identifier)
    say(f"{one.id} {' '.join(one.aliases)}\n  {one.title}\n  {one.status}, {one.severity}, pillar {one.pillar}")
    say(f"  owners {', '.join(one.owners)}, {one.sla_days} days\n  enforced by {', '.join(one.enforced_by) or '-'}")
    say(f"  verified by {', '.join(one.verified_by) or 'nothing yet'}")


@command.command("list")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Output format."
)
def list_command(output: str) -> None:
    """Every invariant of the manifest with its status."""
    manifest = load_manifest()
    if output == "json":
        say(
            json.dumps(
                [
                    {"id": one.id, "status": one.status, "severity": one.severity, "title": one.title}
                    for one in manifest.invariants
                ],
                indent=1,
            )
        )
        return
    for one in manifest.invariants:
        say(f"{one.id:<15} {one.status:<12} {one.severity} {one.title}")
