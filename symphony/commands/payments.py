"""``symphony submit``, ``payment show``, ``reconcile``: what a participant sends, and what became of it."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import click

from contracts.errors import CannotEvaluate, Refused
from contracts.times import SystemClock
from rails.iso20022.samples import freshen
from symphony.commands.common import dir_option, output_option, say, show_json
from symphony.commands.lazy import LazyGroup
from symphony.stack.layout import Layout

KEY_MAX = 64


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@dir_option
@click.option("--participant", help="Who sends; by default the one that speaks for the message's instructing agent.")
@click.option("--idempotency-key", "key", help="Retry with the same key; by default a fresh one.")
@click.option(
    "--fresh",
    is_flag=True,
    help="For our own examples: date the message now, with new ids; otherwise bytes are sent unchanged.",
)
@click.option("--wait", is_flag=True, help="Wait until each accepted payment has ended.")
@output_option
@click.pass_context
def submit(
    context: click.Context,
    file: Path,
    folder: Path,
    participant: str | None,
    key: str | None,
    fresh: bool,
    wait: bool,
    output: str,
) -> None:
    """Send an ISO 20022 message to the sidecar, as a participant.

    Exit 0 all recorded (with --wait: posted), 1 any refused, 3 could not tell, 2 usage.
    """
    from symphony.participant import Participant, participant_for

    if key is not None and not (key.isascii() and key.isprintable() and 1 <= len(key) <= KEY_MAX and " " not in key):
        raise click.BadParameter(f"1 to {KEY_MAX} printable ASCII characters without spaces", param_hint="--idempotency-key")
    layout = Layout.open(folder)
    sender = Participant(layout, participant or participant_for(layout, file))
    chosen = key or str(uuid.uuid4())
    click.echo(f"idempotency key {chosen}", err=True)
    ended: list[dict[str, Any]] = []
    unknown: CannotEvaluate | None = None
    try:
        raw = file.read_bytes()
        if fresh:
            raw = freshen(raw, SystemClock().now(), mark=f"-{chosen[:8]}")
        reply = sender.submit(raw, key=chosen)
        try:
            ended += [sender.wait(identifier) for identifier in reply.accepted] if wait else []
        except CannotEvaluate as error:
            unknown = error
    finally:
        sender.close()
    if output == "json":
        show_json({
            "http_status": reply.status, "idempotency_key": chosen, "participant": sender.name, "reason_code":
            reply.code,
            "answer": reply.body, "ended": ended,
        })  # fmt: skip
    else:
        _show(reply.body, sender.name, chosen, ended)
    if unknown is not None:
        raise unknown
    context.exit(_exit_code(reply.status, reply.body, ended))


def _show(body: Any, participant: str, key: str, ended: list[dict[str, Any]]) -> None:
    if isinstance(body, dict):
        say(
            f"{body['reason_code']}: {body['detail']}\n  next: {body['next_step']}\n  attestation {body.get('attestation_id')}"
        )
        return
    for entry in body:
        state = f"{entry['state']} {entry['reason_code'] or ''}".strip()
        say(
            f"{entry['instruction_id']}  {state}  release {entry['policy_version']}"
            + ("  (first result)" if entry["repeated"] else "")
        )
        if entry["reason_code"]:
            say(f"  {entry['detail']}\n  next: {entry['next_step']}")
    for end in ended:
        reference = end["rail_reference"] or end["reason_code"] or ""
        say(f"{end['instruction_id']}  {end['state']}  {reference}")
    say(f"participant {participant}, idempotency key {key}")


def _exit_code(status: int, body: Any, ended: list[dict[str, Any]]) -> int:
    if status >= 500 or status == 429:
        return 3
    if not isinstance(body, list) or any(entry["state"] == "REFUSED" for entry in body):
        return 1
    return 0 if all(state["state"] == "SUCCEEDED" for state in ended) else 1


@click.group(cls=LazyGroup, places={"resolve": "symphony.commands.resolve:resolve"})
def payment() -> None:
    """One payment: what is recorded of it; two officers close one that is parked."""


@payment.command("show")
@click.argument("instruction_id", metavar="ID")
@dir_option
@output_option
def payment_show(instruction_id: str, folder: Path, output: str) -> None:
    """Instruction, attestation, attempts, outcome and evidence of a payment, as a timeline. ID "last" is the latest.

    Exit 1 when there is no such payment here, 3 could not tell.
    """
    from symphony.stack.timeline import latest, timeline

    try:
        identifier = latest(Layout.open(folder)) if instruction_id == "last" else str(uuid.UUID(instruction_id))
    except ValueError as error:
        raise click.BadParameter(f"{instruction_id!r} is no instruction id", param_hint="ID") from error
    found = timeline(Layout.open(folder), identifier)
    if found is None:
        raise Refused("NOT_FOUND", f"no instruction {identifier} here", next_step="check the id, or: symphony payment show last")
    if output == "json":
        show_json(found)
        return
    say(
        f"{identifier}  {found['state']}  {found['amount']}  {found['instructing_agent']} -> {found['instructed_agent']}"
    )
    for event in found["events"]:
        say(f"  {event['at']}  {event['what']:<28} {event['detail']}")


@click.command()
@dir_option
@output_option
@click.pass_context
def reconcile(context: click.Context, folder: Path, output: str) -> None:
    """Take the count: accepted = posted + refused by the rail + parked + pending; ledger against evidence, both ways.

    Exit 1 when it does not add up.
    """
    from symphony.stack.reconcile import take

    found = take(Layout.open(folder))
    if output == "json":
        show_json(found)
    else:
        say(found["sentence"])
        for name, value in found["counts"].items():
            say(f"  {name:<28} {value}")
        for code, count in found["ledger_refusals"].items():
            say(f"  {'refused by the ledger itself':<28} {code} {count}")
        for line in found["problems"]:
            say(f"  WRONG: {line}")
    context.exit(0 if found["ok"] else 1)
