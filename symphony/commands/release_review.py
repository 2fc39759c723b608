"""``symphony release diff | show | approve | verify-build``: what an officer looks at, and signs or does not."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from symphony.commands.acting import Acting, acting
from symphony.commands.common import output_option, say
from symphony.commands.sigstore import sigstore_options
from symphony.invariants.plain import plain

if TYPE_CHECKING:
    from symphony.attest.sigstore import Expected

number_argument = click.argument("number", type=click.IntRange(min=1))
TOLD = {"metadata", "reason", "approvals", "targets", "events"}
"""Of what the control plane tells: shown in lines of its own, or not at all."""


@click.command()
@click.argument("earlier", metavar="N", type=click.IntRange(min=1))
@click.argument("later", metavar="M", type=click.IntRange(min=1))
@acting(reads_only=True)
@output_option
def diff(earlier: int, later: int, who: Acting, output: str) -> None:
    """What changes from release N to release M, in either order: in words, with what is looser, and the policy's lines.

    Both are downloaded, verified and compared on this machine. Exit 0 also when they differ; 1 when one is not there,
    3 could not tell, 5 a signature or digest does not hold. Example: symphony release diff 1 2 -o json
    """
    from symphony.release.diff.text import lines_of
    from symphony.release.review import compared, downloaded
    from symphony.release.told import heading, identity

    root = who.root_bytes
    one, other = (downloaded(who.control, who.environment, number, root) for number in (earlier, later))
    found = compared(one, other)
    if output == "json":
        _json({"environment": who.environment, "from": identity(one), "to": identity(other), **found.document()})
        return
    for line in (*heading(other, one), *lines_of(found)):
        say(line)


@click.command()
@number_argument
@acting(reads_only=True)
@sigstore_options
@output_option
def show(number: int, who: Acting, output: str, expected: Expected | None) -> None:
    """One release: its state, who proposed and approved it, how it was built, what it changes since the approved one before.

    Exit 1 when there is no such release, 3 could not tell, 5 a signature or digest does not hold.
    """
    from symphony.attest import attached, sigstore
    from symphony.impact import bound
    from symphony.release.diff.text import lines_of
    from symphony.release.review import approved_before, attachments, compared, downloaded
    from symphony.release.told import heading, identity

    told, root = who.control.release(who.environment, number), who.root_bytes
    release = downloaded(who.control, who.environment, number, root)
    base = approved_before(who.control, release, root)
    found = compared(base, release)
    signer = sigstore.said(attachments(who.control, release), expected)
    if output == "json":
        kept = {name: value for name, value in told.items() if name != "metadata"}
        compared_with = base.role.number if base else None
        _json(
            {
                **kept,
                **identity(release),
                "targets": sorted(release.files),
                "compared_with": compared_with,
                "impact": bound.of_release(who.control, release),
                "build": attached.document(who.control, release),
                "sigstore": signer,
                **found.document(),
            }
        )
        return
    for name, value in told.items():
        if name not in TOLD and not isinstance(value, list | dict):
            say(f"{plain(name):<18} {plain(str(value))}")
    for event in told.get("events", []):
        say(plain(f"  {event['at']}  {event['event']:<10} {event['actor']}"))
    for approval in told.get("approvals", []):
        say(plain(f"  signed by {approval['actor']} with key {approval['key_id'][:16]}…"))
    changes = lines_of(found) if base or number > 1 else ()
    bound_lines = (*bound.said(who.control, release), *attached.said(who.control, release), *signer)
    for line in (*heading(release, base), *changes, *bound_lines):
        say(line)


@click.command()
@number_argument
@acting()
@sigstore_options
@click.option("--yes", is_flag=True, help="Sign without asking; where there is no terminal nobody is asked.")
def approve(number: int, who: Acting, yes: bool, expected: Expected | None) -> None:
    """Download the bytes, check them, rebuild the policy, show what changes, and sign with the officer's own key.

    Nothing that the control plane says is believed: rules, digests, policy and difference are worked out here. Exit 1 not
    signed, 3 the policy could not be rebuilt here (no opa, and not the pair of this checkout), 5 something does not hold.
    """
    from contracts.times import SystemClock
    from symphony.attest import attached, sigstore
    from symphony.impact import bound
    from symphony.release.approve import approve as sign
    from symphony.release.diff.text import lines_of
    from symphony.release.review import attachments, review
    from symphony.release.told import heading

    found = review(who.control, who.environment, number, root=who.root_bytes, now=SystemClock().now())
    changes = lines_of(found.difference) if found.base or number > 1 else ()
    signer = sigstore.said(attachments(who.control, found.release), expected)
    bound_lines = (*bound.said(who.control, found.release), *attached.said(who.control, found.release), *signer)
    for line in (*heading(found.release, found.base), *changes, *bound_lines):
        say(line)
    say(f"checked {len(found.release.files)} files; {found.pair.sentence}")
    officer = who.officer()
    if sys.stdin.isatty() and not yes and not click.confirm(f"sign release {number} as {officer.name}?"):
        say("not signed")
        raise click.exceptions.Exit(1)
    say(f"release {number} is {sign(who.control, officer, found)}")


@click.command("verify-build")
@number_argument
@acting(reads_only=True)
@output_option
def verify_build(number: int, who: Acting, output: str) -> None:
    """Rebuild policy.wasm from the release's own Rego with the pinned opa, and compare it with what was signed.

    Exit 0 the same bytes, 1 others, 3 no opa of the pinned version here.
    """
    from symphony.release.rebuilt import rebuild_of

    found = rebuild_of(who.control, who.environment, number, root=who.root_bytes)
    if output == "json":
        _json(found.document())
    for line in found.lines() if output == "text" else ():
        say(line)
    raise click.exceptions.Exit(0 if found.equal else 1)


def _json(document: Any) -> None:
    """ASCII only: a sign of another's document that turns the direction of writing stays an escape."""
    click.echo(json.dumps(document, indent=2, default=str))


COMMANDS = (diff, show, approve, verify_build)
