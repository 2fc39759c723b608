"""``symphony policy``: what an officer does with a working folder of Rego before he proposes it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contracts.errors import Misused
from symphony import places
from symphony.commands.common import say
from symphony.commands.policy_bench import bench_command
from symphony.policy.model import Report, Result

if TYPE_CHECKING:
    from symphony.commands.progress import Bar
    from symphony.policy.recorded import Recorded

folder_argument = click.argument("folder", required=False, type=click.Path(path_type=Path))
_CLEAR = "\r\x1b[K"
TEMPLATE = "environment.template.json"


@click.group("policy")
def command() -> None:
    """The policy: check, test, measure and build a working folder of Rego.

    FOLDER is the checkout's policies/, or the installed one, where none is given.
    """


command.add_command(bench_command)


def _folder(chosen: Path | None) -> Path:
    found = chosen or places.folder("policies")
    if not found.is_dir():
        raise Misused("CONFIGURATION", f"{found} is no folder", next_step="name the folder with the policy's Rego")
    return found


@command.command("check")
@folder_argument
@click.option(
    "--environment-data", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=f"Environment data (JSON) under which it is asked; by default FOLDER/{TEMPLATE}, else the sandbox's.",
)  # fmt: skip
@click.option(
    "--recorded", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of a local stack: compare Wasm and OPA also on all payments that its sidecar recorded in the last 7 days.",
)  # fmt: skip
@click.option("--long", is_flag=True, help="Compare Wasm and OPA on 5,000 payments instead of 500.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "sarif", "markdown"]), default="text", show_default=True,
    help="Output format.",
)  # fmt: skip
@click.pass_context
def check_command(
    context: click.Context, folder: Path | None, environment_data: Path | None, recorded: Path | None, long: bool, output: str
) -> None:
    """Everything that a policy must pass before it is proposed; each check able to fail, with what to change.

    Exit 0 pass, 1 a check fails, 2 the folder cannot be used, 3 could not evaluate (no opa: make tools), 4 nothing was
    tested, 8 coverage below 95 %.
    """
    from symphony.commands.progress import Bar
    from symphony.policy.check import check
    from symphony.policy.formats import FORMATS, ending, lines_of

    chosen = _folder(folder)
    name, environment = _environment(chosen, environment_data)
    bar = Bar("comparing Wasm and OPA")
    inputs = _recorded(recorded, bar) if recorded else None
    _progress("compile")

    def done(result: Result) -> None:
        _progress(None)
        for line in lines_of(result) if output == "text" else ():
            say(line)
        _progress(f"{result.name} is done")

    with bar:
        report = check(chosen, environment, name, long=long, done=done, recorded=inputs)
    _progress(None)
    say(ending(report) if output == "text" else FORMATS[output](report))
    context.exit(report.exit_code)


def _recorded(folder: Path, bar: Bar) -> Recorded:
    from symphony.impact.bound import DAYS
    from symphony.impact.recorded import of
    from symphony.stack.layout import Layout
    from symphony.stack.reading import reader_url

    return of(reader_url(Layout.open(folder), "sidecar"), DAYS, begun=bar.begun, moved=bar.moved)


def _environment(folder: Path, chosen: Path | None) -> tuple[str, dict[str, Any]]:
    from symphony.stack.environment import NARROW, load_template

    own = folder / TEMPLATE
    path = chosen or (own if own.is_file() else places.folder("examples") / NARROW)
    return str(path), load_template(path)


def _progress(text: str | None) -> None:
    """A line on a terminal's standard error, gone when the next thing is said; nothing on a pipe."""
    if sys.stderr.isatty():
        click.echo(_CLEAR if text is None else f"{_CLEAR}{text}; the next one runs …", err=True, nl=False)


@command.command("test")
@folder_argument
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "junit"]), default="text", show_default=True,
    help="Output format.",
)  # fmt: skip
@click.pass_context
def test_command(context: click.Context, folder: Path | None, output: str) -> None:
    """Run the Rego tests by a real opa, with coverage of the governing Rego.

    Exit 0 pass, 1 a test failed, 3 no opa or it could not tell, 4 no test ran, 8 coverage below 95 %.
    """
    from symphony.opa import find_opa
    from symphony.policy.formats import FORMATS, lines_of
    from symphony.policy.source import load
    from symphony.policy.tested import as_result, run_tests
    from symphony.policy_build import rego_digest

    source, opa = load(_folder(folder)), find_opa()
    with source.folder() as place:
        tested = run_tests(place, opa)
    result = as_result(tested)
    report = Report((result,), rego_digest(source.governing))
    for line in lines_of(result) if output == "text" else [FORMATS[output](report)]:
        say(line)
    context.exit(report.exit_code)


@command.command()
@folder_argument
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where policy.wasm and policy.tar.gz go.")
@click.option(
    "--key", type=click.Path(path_type=Path, exists=True, dir_okay=False), envvar="SYMPHONY_BUILD_KEY",
    help="Build key (P-256, PEM) that signs policy.tar.gz; of a local stack DIR/build/key.pem.",
)  # fmt: skip
def build(folder: Path | None, out: Path | None, key: Path | None) -> None:
    """Compile the Rego to policy.wasm, byte for byte as anybody else does.

    With --out DIR: policy.wasm, and policy.tar.gz signed by --key, as a release has them. Without: the folder's own
    build/policy.wasm and BUILD.json, which are committed.
    """
    from symphony import policy_build
    from symphony.policy.artefacts import write
    from symphony.policy.source import load

    chosen = _folder(folder)
    source = load(chosen)
    if out is None:
        pair = policy_build.build(chosen)
        say(f"{chosen / 'build' / 'policy.wasm'}  {pair.wasm_sha256}\n{chosen / 'BUILD.json'}  Rego {pair.rego_sha256}")
        return
    for path, digest in write(source, out, key):
        say(f"{path}  {digest}")
    if key is None:
        say("policy.tar.gz is not written: it is signed, so name the build key with --key FILE")
