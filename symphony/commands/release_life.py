"""``symphony release`` after the proposal: withdraw, renew, freeze, unfreeze, freezes, as-of."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from contracts.errors import Misused, Refused
from contracts.times import SystemClock, parse_moment, rfc3339
from symphony.commands.common import dir_option, env_option, output_option, say, show_json
from symphony.commands.release import _layout as layout_of
from symphony.commands.release import officer_option, reason_option, ticket_option
from symphony.release.client import ControlPlane, Officer
from symphony.stack.layout import Layout

REVOCATION = {
    "published": "its signed metadata is revoked",
    "not_needed": "it was never approved, so there is nothing to revoke",
    "missing": "its signed metadata is NOT revoked",
}
asker_option = click.option("--as", "officer", default="alice", show_default=True, help="Who asks.")


class Moment(click.ParamType[datetime]):
    """A time with its zone, as a person writes it."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment in UTC."""
        try:
            return parse_moment(str(value))
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time with its zone, such as 2026-11-27T10:00:00Z", param, ctx)


@click.command()
@click.argument("number", type=click.IntRange(min=1))
@dir_option
@env_option
@officer_option
@reason_option
@click.option(
    "--security-as", "security_officer",
    help="The security officer who revokes what was approved, such as esnart. Needed unless it is only proposed.",
)  # fmt: skip
@click.option("--stop-running", is_flag=True, help="Revoke it although a service still runs it, and so stops.")
@output_option
def withdraw(
    number: int, folder: Path, environment: str, officer: str, reason: str, security_officer: str | None,
    stop_running: bool, output: str,
) -> None:  # fmt: skip
    """Take a release back for good: it is neither approved, promoted nor served any more, and its number is burned.

    What was approved is also revoked, by the digest of its signed role metadata, so that nobody can serve its signatures.
    That takes the security officer; without him the release is withdrawn, and the command ends with 1 and says what is
    missing. The active release cannot be withdrawn: promote another first. Again is no error.
    """
    from symphony.release.withdraw import MISSING
    from symphony.release.withdraw import withdraw as ask

    layout = layout_of(folder, environment)
    security = None if security_officer is None else _security_officer(layout, security_officer)
    revocation = ask(*_officer(layout, officer), environment, number, reason)
    if security is not None and revocation != "published":
        _revoke(layout, security, environment, number, reason, stop_running=stop_running)
        revocation = "published"
    if output == "json":
        show_json({"number": number, "status": "WITHDRAWN", "revocation": revocation})
    else:
        say(f"release {number} is WITHDRAWN; {REVOCATION[revocation]}")
    if revocation == MISSING:
        detail = f"release {number} was approved: until its metadata is revoked, its signatures could be served again"
        next_step = f"symphony release withdraw {number} --as {officer} --reason ... --security-as <security officer>"
        raise Refused("RELEASE_NOT_REVOKED", detail, next_step=next_step)


def _revoke(
    layout: Layout, security: Path, environment: str, number: int, reason: str, *, stop_running: bool
) -> None:
    from symphony.release.withdraw import revoke_release, running

    control = ControlPlane.for_folder(layout.url("controlplane"), security, layout.ca)
    still = [] if stop_running else running(control, environment, number)
    if still:
        detail = f"release {number} is withdrawn and not revoked: {', '.join(still)} runs it and would stop"
        raise Refused("RELEASE_NOT_REVOKED", detail, next_step="symphony fleet; or the same again with --stop-running")
    key = Officer.from_folder(security).key
    root, now = layout.root.read_bytes(), SystemClock().now()
    revoke_release(control, key, environment, number, reason, root=root, now=now)


@click.command()
@dir_option
@env_option
@officer_option
@reason_option
@ticket_option
@output_option
def renew(folder: Path, environment: str, officer: str, reason: str, ticket: str, output: str) -> None:
    """Propose the next release with the digests of the active one, before its role runs out; it is approved as any other.

    Nothing is built or checked anew: bundle, invariants, data, manifests and gate result are the active release's own bytes.
    """
    from symphony.release.rollback import renew as propose_renewal

    layout = layout_of(folder, environment)
    active, draft = propose_renewal(
        *_officer(layout, officer), environment=environment, reason=reason, change_ticket=ticket,
        root=layout.root.read_bytes(), now=SystemClock().now(),
    )  # fmt: skip
    if output == "json":
        show_json({"number": draft.number, "status": "PROPOSED", "renews": active, "metadata_digest": draft.digest})
        return
    say(f"release {draft.number} is PROPOSED: the digests of release {active}, which is active")
    say(f"  next: symphony release approve {draft.number} --as <another officer> --dir {folder}")


@click.command()
@dir_option
@env_option
@officer_option
@reason_option
@click.option("--from", "starts_at", type=Moment(), help="When it begins (2026-11-27T10:00:00Z); by default at once.")
@click.option("--until", "ends_at", type=Moment(), help="When it ends; by default when other officers lift it.")
@output_option
def freeze(
    folder: Path, environment: str, officer: str, reason: str, starts_at: datetime | None, ends_at: datetime | None,
    output: str,
) -> None:  # fmt: skip
    """Freeze promotions: one officer is enough. Proposals, approvals, withdrawals and revocations go on.

    A release that runs out in the meantime cannot be followed by its renewal: mind its expiry.
    """
    from symphony.release.freeze import freeze as ask

    control, person = _officer(layout_of(folder, environment), officer)
    now = SystemClock().now()
    _shown(ask(control, person, environment, reason, now=now, starts_at=starts_at, ends_at=ends_at), output)


@click.command()
@click.argument("number", type=click.IntRange(min=1), required=False)
@dir_option
@env_option
@officer_option
@reason_option
@output_option
def unfreeze(number: int | None, folder: Path, environment: str, officer: str, reason: str, output: str) -> None:
    """Sign to lift a freeze (the only one, where no NUMBER is given).

    It is lifted when as many officers have signed as a release needs approvals; who froze does not count. A window of the
    release's calendar is lifted by nobody: it ends by itself.
    """
    from symphony.release.freeze import unfreeze as ask

    _shown(ask(*_officer(layout_of(folder, environment), officer), environment, number, reason), output)


@click.command()
@dir_option
@env_option
@asker_option
@output_option
def freezes(folder: Path, environment: str, officer: str, output: str) -> None:
    """Whether promotions are frozen now, by whom or by which window of the calendar, and every freeze, newest first."""
    from symphony.release.freeze import freezes as listed

    found = listed(_officer(layout_of(folder, environment), officer)[0], environment)
    if output == "json":
        show_json(found)
        return
    say("promotions are frozen" if found["frozen"] else "promotions are not frozen")
    if found["window"]:
        say(f"  the window {found['window']['name']} of the active release, until {found['window']['ends_at']}")
    for one in found["freezes"]:
        _shown(one, output)


@click.command("as-of")
@dir_option
@env_option
@asker_option
@click.option("--at", type=Moment(), required=True, help="The time, 2026-11-27T10:00:00Z; not in the future.")
@output_option
def as_of(folder: Path, environment: str, officer: str, at: datetime, output: str) -> None:
    """Which release was active at a time, who proposed, approved and promoted it, and when it was superseded.

    At the moment of a promotion it is the new release. Ends with 1 when none was active yet.
    """
    control, _ = _officer(layout_of(folder, environment), officer)
    found = control.get(f"/v1/releases/{environment}/as-of", at=rfc3339(at))
    if output == "json":
        show_json(found)
    elif found["release"] is not None:
        for line in _told(found["release"]):
            say(line)
    if found["release"] is None:
        first = found["first_activated_at"]
        detail = f"the first release of {environment} became active at {first}" if first else "no release was ever active"
        raise Refused("NOT_FOUND", detail, next_step="ask for a later time")


def _told(release: dict[str, Any]) -> list[str]:
    lines = [
        f"release {release['number']}, metadata {release['metadata_digest']}",
        f"  policy {release['policy_digest']}",
        f"  reason: {release['reason']}",
        _line("proposed", release["proposed"]),
        *(_line("approved", approval) for approval in release["approvals"]),
        _line("active", release["activated"]),
    ]
    if release["superseded"]:
        lines.append(f"{_line('superseded', release['superseded'])}, by release {release['superseded']['by']}")
    if release["withdrawn"]:
        lines.append(_line("withdrawn", release["withdrawn"]))
    return lines


def _line(what: str, said: dict[str, Any]) -> str:
    key = str(said["key_id"])[:16]
    return f"  {what:<10} {said['at']}  {said['actor']}, key {key}…, envelope {str(said['envelope_sha256'])[:16]}…"


def _shown(one: dict[str, Any], output: str) -> None:
    if output == "json":
        show_json(one)
        return
    until = one["ends_at"] or "it is lifted"
    say(f"freeze {one['number']} is {one['state']}: from {one['starts_at']} until {until}, by {one['actor']}: {one['reason']}")
    for signature in one["signatures"]:
        say(f"  to lift it signed {signature['actor']} at {signature['at']}: {signature['reason']}")


def _officer(layout: Layout, name: str) -> tuple[ControlPlane, Officer]:
    folder = layout.officer(name)
    return ControlPlane.for_folder(layout.url("controlplane"), folder, layout.ca), Officer.from_folder(folder)


def _security_officer(layout: Layout, name: str) -> Path:
    known = {path.name: path for path in (layout.folder / "security").glob("*") if path.is_dir()}
    if name not in known:
        detail = f"no security officer {name} here, but {', '.join(sorted(known)) or 'none'}"
        raise Misused("CONFIGURATION", detail, next_step="name one of them: --security-as")
    return known[name]
