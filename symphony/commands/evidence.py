"""``symphony evidence export`` and ``verify``: a packet that a regulator takes away and checks offline."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from symphony.commands.common import dir_option, say
from symphony.stack.layout import Layout


class Moment(click.ParamType[datetime]):
    """A time: RFC 3339, or a date (its first moment, UTC)."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """An aware moment in UTC, or a usage error."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither RFC 3339 nor a date such as 2026-11-24", param, ctx)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@click.group()
def evidence() -> None:
    """Evidence packets: export one, verify one."""


@evidence.command()
@dir_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder of the packet.")
@click.option("--from", "begin", type=Moment(), help="Records from this time on; all by default.")
@click.option("--to", "end", type=Moment(), help="Records before this time.")
@click.option("--as", "officer", default="alice", show_default=True, help="Who exports.")
def export(folder: Path, out: Path, begin: datetime | None, end: datetime | None, officer: str) -> None:
    """Write a packet: records, signatures, proofs, releases, timelines, reconciliation, report, and its verifier.

    Exit 2 when OUT is there already or cannot be written, 3 could not tell.
    """
    from symphony.stack.export import demand_new
    from symphony.stack.export import export as write

    demand_new(out)
    count = write(Layout.open(folder), out, officer=officer, begin=begin, end=end)
    say(f"{out}: {count} files")
    say(f"  next: python3 {out}/verify.py {out}      (needs nothing of Symphony)")


@evidence.command()
@click.argument("packet", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--root", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The root.json that you trust."
)
@click.pass_context
def verify(context: click.Context, packet: Path, root: Path | None) -> None:
    """Run the verifier of this Symphony on a packet. Exit 0 OK, 3 could not tell, 5 wrong, 6 a signature is missing."""
    from symphony.packet.parts.main import main

    context.exit(main([str(packet), *(["--root", str(root)] if root else [])]))
