"""``symphony release status``, and the waiting of ``symphony release promote --wait``: how far a release has come."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contracts.errors import Refused
from symphony.commands.common import dir_option, env_option, output_option, say, show_json

if TYPE_CHECKING:
    from symphony.release.client import ControlPlane
    from symphony.release.delivery import Delivery

REACHED, NACKED, NOT_REACHED = 0, 1, 3
WAIT_S_DEFAULT, WAIT_S_MAX = 30, 3600

wait_option = click.option(
    "--wait", is_flag=True,
    help="Wait until every known service instance runs it. Exit 1 when one refuses it, 3 when not all were reached in time.",
)  # fmt: skip
timeout_option = click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0, max=WAIT_S_MAX), default=WAIT_S_DEFAULT, show_default=True,
    help="Seconds that --wait waits.",
)  # fmt: skip


@click.command()
@click.argument("number", type=click.IntRange(min=1), required=False)
@dir_option
@env_option
@output_option
@click.option("--as", "officer", default="alice", show_default=True, help="Who asks.")
def status(number: int | None, folder: Path, environment: str, output: str, officer: str) -> int:
    """How far release NUMBER has come (by default the active one): each service instance that is known.

    \b
    active     it runs there, or a newer one does
    rejected   refused for good, with the reason code
    trying     refused, and tried again by itself
    delivered  shown to the instance, not yet in force
    pending    not shown to the instance yet
    silent     the instance has not reported for half a minute

    Exit 0 when every known instance runs it, 1 when one rejected it or there is no such release, 3 when not all are reached.
    """
    from symphony.commands.release import _layout
    from symphony.release.delivery import delivery_of
    from symphony.stack.release_one import control_plane

    control = control_plane(_layout(folder, environment), officer)
    release = _release(control, environment, number)
    fleet = control.get("/v1/fleet")["services"]
    found = delivery_of(fleet, environment, release["number"], release["metadata_digest"])
    if output == "json":
        show_json({**document(found), "status": release["status"]})
    else:
        say(f"release {release['number']} of {environment} is {release['status']}: {found.sentence}")
        for line in lines(found):
            say(line)
    return code_of(found)


def waited(control: ControlPlane, environment: str, number: int, digest: str, timeout_s: float) -> Delivery:
    """Wait for a promoted release, saying each change on standard error."""
    from symphony.release.delivery import follow

    def told(sentence: str) -> None:
        click.echo(f"  release {number}: {sentence}", err=True)

    return follow(control, environment, number, digest, timeout_s=timeout_s, told=told)


def code_of(found: Delivery) -> int:
    """The exit code."""
    from symphony.release.delivery import State

    if found.of(State.REJECTED):
        return NACKED
    return REACHED if found.is_complete else NOT_REACHED


def lines(found: Delivery) -> list[str]:
    """One line an instance, what is not well first, and the next step."""
    from symphony.release.delivery import State

    if not found.standings:
        return ["  no service has reported yet", "  next: symphony doctor"]
    order = [State.REJECTED, State.SILENT, State.TRYING, State.PENDING, State.DELIVERED, State.ACTIVE]
    out = [
        f"  {one.state:<9} {one.name:<36} runs {one.active_number or 'none':<6} {one.code or ''}".rstrip()
        for one in sorted(found.standings, key=lambda one: (order.index(one.state), one.name))
    ]
    if found.of(State.REJECTED):
        out.append(f"  next: mend what the reason says, or symphony release rollback; not reached: {_names(found)}")
    elif not found.is_complete:
        out.append(f"  next: symphony fleet; not reached: {_names(found)}")
    return out


def document(found: Delivery) -> dict[str, Any]:
    """For machines."""
    return {
        "number": found.number,
        "complete": found.is_complete,
        "instances": [asdict(one) for one in found.standings],
        "not_reached": [one.name for one in found.missing],
    }


def _names(found: Delivery) -> str:
    return ", ".join(one.name for one in found.missing)


def _release(control: ControlPlane, environment: str, number: int | None) -> dict[str, Any]:
    known = control.releases(environment)
    for entry in known:
        if entry["number"] == number or (number is None and entry["status"] == "ACTIVE"):
            return entry
    what = "no release is active" if number is None else f"there is no release {number}"
    raise Refused("NOT_FOUND", f"{what} in {environment}", next_step="symphony release list")
