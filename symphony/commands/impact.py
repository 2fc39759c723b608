"""``symphony release impact``: what a candidate would have decided of what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from contracts.errors import Misused
from symphony.commands.common import dir_option, env_option, say
from symphony.commands.progress import Bar
from symphony.impact import gate

VIOLATED, NOTHING_TESTED = 1, 4


def _gates(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, gate.Expression], ...]:
    """``--fail-if`` as (text, expression); one that cannot be read is a usage error."""
    try:
        return tuple((text, gate.parse(text)) for text in values)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command("impact")
@click.argument("number", required=False, type=click.IntRange(min=1))
@dir_option
@env_option
@click.option(
    "--candidate", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Working folder of Rego, or a checkout with policies/, instead of a release; by default this checkout's.",
)  # fmt: skip
@click.option(
    "--environment-data", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Environment template (JSON) of the candidate; by default the folder's own, else the stack's.",
)  # fmt: skip
@click.option(
    "--days", type=click.IntRange(1, 366), default=7, show_default=True, help="Decisions of so many last days."
)  # fmt: skip
@click.option(
    "--fail-if", "gates", callback=_gates, multiple=True, metavar="EXPRESSION",
    help="Exit 1 when it holds: 'flipped_value > 0', 'allow_to_deny[ZMW] > 10 or not_replayed > 0'.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "markdown"]), default="text", show_default=True,
    help="Output format.",
)  # fmt: skip
@click.option("--as", "officer", default="alice", show_default=True, help="Who asks.")
@click.pass_context
def impact(
    context: click.Context, number: int | None, folder: Path, environment: str, candidate: Path | None,
    environment_data: Path | None, days: int, gates: tuple[tuple[str, gate.Expression], ...], output: str, officer: str,
) -> None:  # fmt: skip
    """Replay recorded decisions through release NUMBER, or through a working folder, and value what changes.

    Every decision of the last days, allowed and refused, is asked again with its frozen input. Counted and valued by
    participant, rail, currency and hour: refused now, allowed now, other reasons, other obligations. Amounts of two
    currencies are never added. Figures of --fail-if, each with or without _value and [CURRENCY]: replayed, flipped,
    allow_to_deny, deny_to_allow, reasons_changed, obligations_changed, not_replayed, before_policy, kept_by_record,
    daily_caps.

    Exit 0 pass, 1 a --fail-if holds, 2 usage, 3 could not evaluate, 4 nothing was recorded (nothing was tested).
    """
    from symphony.commands.release import _layout
    from symphony.impact import candidates, run
    from symphony.stack.reading import reader_url

    if number is not None and (candidate or environment_data):
        raise Misused("REQUEST_INVALID", "a release carries its own policy and data", next_step="name one of the two")
    layout = _layout(folder, environment)
    asked = candidates.of_release(layout, officer, number) if number else candidates.of_folder(layout, candidate, environment_data)
    with Bar("replaying") as bar:
        replayed = run.replay(reader_url(layout, "sidecar"), asked, days, begun=bar.begun, moved=bar.moved)
    context.exit(_told(replayed, asked, environment, gates, output))


def _told(replayed: Any, asked: Any, environment: str, gates: tuple[tuple[str, gate.Expression], ...], output: str) -> int:
    """Print the report; the exit code."""
    import orjson

    from symphony.impact.formats import FORMATS, exponents_of
    from symphony.impact.model import figures
    from symphony.impact.run import report_of

    report = report_of(replayed, asked, environment)
    found = figures(replayed.counts)
    violated = [(text, gate.holds(expression, found)) for text, expression in gates]
    code = VIOLATED if any(broken for _, broken in violated) else 0 if report["totals"]["replayed"] else NOTHING_TESTED
    if output == "json":
        report |= {"gates": [{"fail_if": text, "violated": broken} for text, broken in violated], "exit_code": code}
    say(FORMATS[output](report, exponents_of(orjson.loads(asked.environment))))
    for text, broken in violated if output != "json" else ():
        say(f"{'VIOLATED' if broken else 'passes'}: --fail-if '{text}'")
    return code
