"""``symphony policy bench``: how fast a policy decides, and whether it keeps to a budget."""

from __future__ import annotations

import json
from pathlib import Path

import click

from contracts.errors import Misused
from symphony import places
from symphony.commands.common import output_option, say, show_json

OVER_BUDGET = 9
TEMPLATE = "environment.template.json"


@click.command("bench")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--baseline", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
    help="Another policy, measured in the same run, such as the one in force.",
)  # fmt: skip
@click.option(
    "--environment-data", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=f"Environment data (JSON) under which it is asked; by default FOLDER/{TEMPLATE}, else the sandbox's.",
)  # fmt: skip
@click.option(
    "--budget-us", type=click.FloatRange(min=0, min_open=True), metavar="N",
    help="Exit 9 when p99 of one payment's decision in the sidecar's engine (Wasm) is over N microseconds.",
)  # fmt: skip
@click.option(
    "--seconds", type=click.FloatRange(0.01, 60), default=1.0, show_default=True, help="For each engine and batch size."
)
@output_option
@click.pass_context
def bench_command(
    context: click.Context, folder: Path | None, baseline: Path | None, environment_data: Path | None,
    budget_us: float | None, seconds: float, output: str,
) -> None:  # fmt: skip
    """Decisions a second and core, p50 and p99, at batches of 1, 10 and 100, by Wasm and by an OPA server.

    Figures are of this machine, now: compare with --baseline, not with yesterday. Exit 0, 9 over --budget-us, 3 no engine.
    """
    from symphony.policy.bench import bench, lines_of, over_budget
    from symphony.stack.environment import NARROW, load_template

    chosen = folder or places.folder("policies")
    if not chosen.is_dir():
        raise Misused("CONFIGURATION", f"{chosen} is no folder", next_step="name the folder with the policy's Rego")
    own = chosen / TEMPLATE
    data = load_template(environment_data or (own if own.is_file() else places.folder("examples") / NARROW))
    policies = {"this": chosen} | ({"baseline": baseline} if baseline else {})
    found, left_out = bench(policies, data, seconds=seconds)
    over = budget_us is not None and over_budget(found, "this", budget_us)
    if output == "json":
        figures = [one.document() for one in found]
        show_json({"schema": "symphony.policy_bench/1", "figures": figures, "left_out": left_out, "over_budget": over})
    for line in [*lines_of(found), *([left_out] if left_out else [])] if output == "text" else ():
        say(line)
    if over:
        click.echo(f"one payment's decision is over the budget of {json.dumps(budget_us)} µs (p99)", err=True)
    context.exit(OVER_BUDGET if over else 0)
