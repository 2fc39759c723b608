"""``symphony fleet``: which sidecar runs what."""

from __future__ import annotations

from pathlib import Path

import click

from symphony.commands.common import dir_option, output_option, say, show_json
from symphony.stack.layout import Layout


@click.command()
@dir_option
@output_option
def fleet(folder: Path, output: str) -> None:
    """Each service's desired and active release, what it refused, and when it was last seen."""
    from symphony.stack.release_one import PROPOSER, control_plane

    services = control_plane(Layout.open(folder), PROPOSER).get("/v1/fleet")["services"]
    if output == "json":
        show_json(services)
        return
    if not services:
        say("no service has reported yet")
    for entry in services:
        refused = f"  refused {entry['refused_number']}: {entry['refused_code']}" if entry.get("refused_code") else ""
        say(
            f"{entry['service']:<16} {entry['instance']:<18} desired {entry['desired_number']}  active {entry['active_number']}  "
            f"{'ready' if entry['ready'] else 'NOT READY'}  seen {entry['last_seen']}{refused}"
        )
