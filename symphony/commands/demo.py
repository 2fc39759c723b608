"""``symphony demo``: the story of one payment, told while it happens."""

from __future__ import annotations

from pathlib import Path

import click

from symphony.commands.common import dir_option, say


@click.command()
@dir_option
def demo(folder: Path) -> None:
    """Bring a stack up in DIR and tell the story: allow, refuse, kill, roll back, forge, verify. One line a proof.

    Everything is real: PostgreSQL, TLS, signatures, policy in Wasm, processes. Takes about a minute; ends with the
    stack down.
    """
    from symphony.demo.story import run

    run(folder, say)
