"""``symphony emergency``: break-glass (ADR 0013)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from contracts.errors import Refused
from contracts.release import limits
from contracts.release.emergency import CAPS
from contracts.release.emergency import REASON_MAX as _REASON_MAX
from symphony.commands.acting import Acting, acting
from symphony.commands.common import output_option, say, show_json
from symphony.commands.release import reason_option, ticket_option

HOUR_S = 3600
VALID_HOURS = click.FloatRange(limits.EMERGENCY_VALID_S_MIN / HOUR_S, limits.EMERGENCY_VALID_S_MAX / HOUR_S)
REVIEW_HOURS = click.IntRange(limits.EMERGENCY_REVIEW_S_MIN // HOUR_S, limits.EMERGENCY_REVIEW_S_MAX // HOUR_S)
number_argument = click.argument("number", type=click.IntRange(min=1))
yes_option = click.option("--yes", is_flag=True, help="Do not ask on a terminal before signing.")
_file = click.Path(path_type=Path, exists=True, dir_okay=False)
_folder = click.Path(path_type=Path, exists=True, file_okay=False)


class Cap(click.ParamType[tuple[str, dict[str, int]]]):
    """``ZMW:PAYMENT:DAY:COUNT``."""

    name = "cap"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, dict[str, int]]:
        """Currency and its three bounds."""
        del param, ctx
        currency, *numbers = str(value).split(":")
        if len(numbers) != len(CAPS) or not all(one.isascii() and one.isdigit() for one in numbers):
            self.fail(f"{value!r} is not CURRENCY:PAYMENT:DAY:COUNT in minor units, such as ZMW:50000:500000:20")
        return currency, dict(zip(CAPS, map(int, numbers), strict=True))


@click.group()
def emergency() -> None:
    """Break-glass: a sealed, pre-approved policy with caps of its own, opened by two officers for hours, reviewed by a third.

    \b
    calm     seal, then approve by the officers' threshold: kept, not in force
    alarm    open by one officer and by a second, within 15 minutes: in force in about a second
    over     by itself, by close (one officer), or by the next promotion
    after    review by an officer who neither opened nor closed; unreviewed in its time, promotions freeze

    It takes the place of the policy only, and its caps only lower: participants, keys and bounds stay the active release's.
    """


@emergency.command()
@acting()
@reason_option
@ticket_option
@click.option(
    "--cap", "caps", type=Cap(), multiple=True, required=True, metavar="CUR:PAYMENT:DAY:COUNT",
    help="Of one payment, of a participant's day, and payments of that day; minor units. Other currencies are not paid.",
)
@click.option(
    "--valid-hours", type=VALID_HOURS, default=4, show_default=True, help="How long it stands once it is open."
)
@click.option(
    "--review-hours", type=REVIEW_HOURS, default=24, show_default=True,
    help="How long after its opening it must have been reviewed.",
)
@click.option(
    "--sealed-days", type=click.IntRange(1, limits.EMERGENCY_SEALED_MAX.days), default=limits.EMERGENCY_SEALED_MAX.days,
    show_default=True, help="How long it may wait to be opened.",
)
@click.option("--policies", type=_folder, help="Of a stack: folder of the emergency's Rego with its policy.wasm and BUILD.json.")
@click.option("--targets", type=_folder, help="Elsewhere: folder that release collect wrote; needs --gate.")
@click.option("--gate", type=_file, help="The gate's signed result for exactly these files.")
@output_option
def seal(
    who: Acting, reason: str, ticket: str, caps: tuple[tuple[str, dict[str, int]], ...], valid_hours: float, review_hours: int,
    sealed_days: int, policies: Path | None, targets: Path | None, gate: Path | None, output: str,
) -> None:  # fmt: skip
    """Propose a sealed emergency release. Its policy passes every check of a release, and the gate."""
    from datetime import timedelta

    from contracts.times import SystemClock
    from symphony.release import emergency as tools

    bounds = tools.Bounds(dict(caps), int(valid_hours * HOUR_S), review_hours * HOUR_S, timedelta(days=sealed_days))
    files, result = _files(who, policies, targets, gate)
    made = tools.seal(
        who.control, who.officer(), files, result, bounds, environment=who.environment, reason=reason, change_ticket=ticket,
        root=who.root_bytes, now=SystemClock().now(),
    )  # fmt: skip
    if output == "json":
        show_json({"number": made.number, "state": "PROPOSED", "metadata_digest": made.digest})
        return
    say(f"emergency {made.number} is PROPOSED, metadata {made.digest}")
    say(f"  next: symphony emergency approve {made.number} --as <another officer>")


def _files(who: Acting, policies: Path | None, targets: Path | None, gate: Path | None) -> tuple[dict[str, bytes], bytes]:
    from contracts.release.contents import GATED

    if (targets is None) != (gate is None):
        raise click.UsageError("--targets and --gate go together")
    if targets is not None and gate is not None:
        try:
            return {name: (targets / name).read_bytes() for name in GATED}, gate.read_bytes()
        except OSError as error:
            raise click.UsageError(f"{error.filename}: {error.strerror}; symphony release collect --out DIR") from error
    if who.layout is None:
        raise click.UsageError("without a stack's folder name --targets and --gate")
    from symphony import policy_build
    from symphony.stack import release_one
    from symphony.stack.environment import load_template
    from symphony.stack.gate import check_stack

    chosen = policies or policy_build.POLICIES
    template = load_template(who.layout.folder / "environment.template.json")
    files = release_one.release_files(
        who.layout, template=template, manifests=who.layout.folder / "manifests", schemas=None,
        policies=chosen,
    )  # fmt: skip
    say(f"  {release_one.demand_policy(who.layout, files, chosen)}")
    return files, release_one.gate_result(who.layout, files, *check_stack(who.layout))


@emergency.command()
@number_argument
@acting()
@yes_option
def approve(number: int, who: Acting, yes: bool) -> None:
    """Check a sealed release here, show its bounds, and sign it. The approval that reaches the threshold seals it."""
    from symphony.release import emergency as tools

    found = tools.look(who.control, who.environment, number, root=who.root_bytes)
    pair = tools.rebuilt(found)
    for line in _told(found):
        say(line)
    say(f"checked {len(found.files)} files; {pair.sentence}")
    officer = who.officer()
    _ask(yes, f"sign emergency {number} as {officer.name}?")
    state = tools.approve(who.control, officer, found)
    say(f"emergency {number} is {state}")


@emergency.command("open")
@number_argument
@acting()
@reason_option
@yes_option
@output_option
def open_(number: int, who: Acting, reason: str, yes: bool, output: str) -> None:
    """Sign the opening. The first officer begins it, a second one runs the same within 15 minutes, and it is in force.

    Exit 0 signed (it says whether it is open), 1 refused.
    """
    from contracts.times import SystemClock
    from symphony.release import emergency as tools

    found = tools.look(who.control, who.environment, number, root=who.root_bytes)
    active = [one["number"] for one in who.control.releases(who.environment) if one["status"] == "ACTIVE"]
    if not active:
        raise Refused("EMERGENCY_STATE", "no release is active, so there is nothing that it could stand over")
    officer, now = who.officer(), SystemClock().now()
    if output == "text":
        for line in (*_told(found), f"it would stand over release {active[0]}"):
            say(line)
        for _, begun in tools.begun(found, now):
            say(f"begun at {begun.claims['at']} over release {begun.claims['over']}: {begun.claims['reason']}")
    _ask(yes, f"open emergency {number} as {officer.name}?")
    answer = tools.open_(who.control, officer, found, over=active[0], reason=reason, now=now)
    if output == "json":
        show_json(answer)
    elif answer["state"] == "OPEN":
        say(f"emergency {number} is OPEN until {answer['ends_at']}; to be reviewed by {answer['review_by']}")
        say(f"  next: symphony emergency close {number}; then symphony emergency review {number} --as <a third officer>")
    else:
        say(f"{answer['signatures']} of {answer['needed']} officers have signed: emergency {number} is still sealed")
        say(f"  next, within 15 minutes: symphony emergency open {number} --as <another officer> --reason ...")


@emergency.command()
@number_argument
@acting()
@reason_option
@output_option
def close(number: int, who: Acting, reason: str, output: str) -> None:
    """Close it before its end: one officer is enough; the normal policy is back in about a second. Again is no error."""
    from contracts.times import SystemClock
    from symphony.release import emergency as tools

    found = tools.look(who.control, who.environment, number, root=who.root_bytes)
    answer = tools.close(who.control, who.officer(), found, reason=reason, now=SystemClock().now())
    show_json(answer) if output == "json" else say(f"emergency {number} is {answer['state']}")


@emergency.command()
@number_argument
@acting()
@click.option("--finding", "reason", required=True, help=f"What the review found, 1 to {_REASON_MAX} characters.")
@output_option
def review(number: int, who: Acting, reason: str, output: str) -> None:
    """Sign the review of an emergency that was opened, as an officer who neither opened nor closed it."""
    from contracts.times import SystemClock
    from symphony.release import emergency as tools

    found = tools.look(who.control, who.environment, number, root=who.root_bytes)
    answer = tools.review(who.control, who.officer(), found, reason=reason, now=SystemClock().now())
    show_json(answer) if output == "json" else say(f"emergency {number} is reviewed; it is {answer['state']}")


@emergency.command("list")
@acting(reads_only=True)
@output_option
def list_(who: Acting, output: str) -> None:
    """Every emergency release, its state and clocks, and what promotions wait for."""
    from symphony.release.emergency import listed

    found = listed(who.control, who.environment)
    if output == "json":
        show_json(found)
        return
    for one in found["emergencies"]:
        say(_line(one))
    if not found["emergencies"]:
        say("no emergency release is sealed")
    if found["promotions_wait_for"]:
        numbers = ", ".join(map(str, found["promotions_wait_for"]))
        say(f"promotions are FROZEN until emergency {numbers} is reviewed: symphony emergency review {numbers.split(',')[0]}")


def _line(one: dict[str, Any]) -> str:
    head = f"{one['number']:>4}  {one['state']:<8}  by {one['proposer']}: {one['reason']}"
    if one["opened_at"] is None:
        return f"{head}; sealed until {one['expires_at']}"
    said = "reviewed" if one["reviewed"] else f"review by {one['review_by']}"
    return f"{head}; opened {one['opened_at']} over release {one['stands_over']} until {one['ends_at']}; {said}"


def _told(found: Any) -> list[str]:
    """What an officer reads before he signs, from verified bytes."""
    sealed, proposal = found.sealed, found.proposal
    caps = [f"  {currency}: {' '.join(f'{name}={cap[name]}' for name in CAPS)}" for currency, cap in sealed.caps.items()]
    clocks = f"valid for {sealed.valid_for_s} s once open; to be reviewed within {sealed.review_within_s} s of its opening"
    return [
        f"emergency {sealed.number}, metadata {sealed.role.digest}: {proposal['reason']} ({proposal['change_ticket']})",
        f"policy {sealed.role.targets['policy.wasm'].sha256}",
        "caps in minor units, and never above the active release's; no other currency is paid:", *caps,
        clocks, f"sealed until {sealed.role.expires_at.isoformat()}",
    ]  # fmt: skip


def _ask(yes: bool, question: str) -> None:
    if sys.stdin.isatty() and not yes and not click.confirm(question):
        say("not signed")
        raise click.exceptions.Exit(1)
