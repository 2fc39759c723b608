"""``symphony order``: one officer tightens at once, several lift it (design section 4, PIL-04)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from contracts.orders import CAPS, KINDS, SCOPES
from symphony.commands.common import dir_option, output_option, say, show_json
from symphony.commands.release import officer_option, reason_option
from symphony.stack.layout import ENVIRONMENT, Layout

_MINOR = click.IntRange(min=0, max=2**53 - 1)
_INTO_A_FOLDER = "put it into FOLDER/orders/, then symphony release load FOLDER"
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def order() -> None:
    """Orders: one officer halts, freezes or lowers a cap at once; the officers' threshold lifts it.

    \b
    halt       new transfers are answered 503 ORDER_HALTED, what is accepted and unsent waits
    freeze     new payments in the scope are refused for good (ORDER_FROZEN), what is accepted goes on
    lower-cap  the lesser of the release's caps and these holds for new payments

    Queries, outcomes, returns and evidence go on under every order. A sidecar keeps an order across restarts.
    """


@order.command()
@click.argument("kind", type=click.Choice([kind.replace("_", "-") for kind in KINDS]))
@dir_option
@output_option
@officer_option
@reason_option
@click.option("--service", help="Only this service; without any scope every service of the environment.")
@click.option("--rail", help="Only services on this rail, such as iso20022.")
@click.option("--participant", help="Only this participant.")
@click.option("--currency", help="Only this currency (freeze, lower-cap).")
@click.option("--payment-max", "payment_minor_max", type=_MINOR, help="lower-cap: of one payment, in minor units.")
@click.option("--daily-max", "daily_minor_max", type=_MINOR, help="lower-cap: of a participant's day, in minor units.")
@click.option("--daily-count-max", "daily_count_max", type=_MINOR, help="lower-cap: payments of a participant's day.")
@click.option("--out", type=_FILE, help="Write the signed order to a file and send it nowhere; needs --number.")
@click.option("--number", type=click.IntRange(min=1), help="With --out: the number, one above the last order's.")
def issue(
    kind: str, folder: Path, output: str, officer: str, reason: str, out: Path | None, number: int | None, **more: Any
) -> None:
    """Sign an order with one officer's key and send it; sidecars obey at their next poll, a second later.

    With --out it goes into a file for `symphony release load`, when the control plane is down or not to be trusted.
    Exit 0 recorded or written, 1 refused, 2 usage, 3 could not tell, 5 a signature does not hold.
    """
    import orjson

    from contracts import orders
    from contracts.times import SystemClock
    from symphony.release import orders as officers
    from symphony.release.client import Officer
    from symphony.stack.release_one import control_plane

    if (out is None) != (number is None):
        raise click.UsageError("--out and --number go together")
    wanted = _wanted(kind, reason, more)
    layout = Layout.open(folder)
    who, now = Officer.from_folder(layout.officer(officer)), SystemClock().now()
    if out is not None and number is not None:
        envelope = officers.signed_order(who, ENVIRONMENT, number, wanted, now)
        officers.write_file(out, orjson.dumps(envelope))
        signed = orders.of_envelope(envelope)
    else:
        signed = officers.issue(control_plane(layout, officer), who, ENVIRONMENT, wanted, now)
    if output == "json":
        show_json({"claims": dict(signed.claims), "sha256": signed.sha256, "file": str(out) if out else None})
        return
    became = f"written to {out}" if out else "ISSUED"
    say(f"order {signed.number} is {became}: {kind} of {scope_words(signed.claims['scope'])}")
    say(f"  next: {_INTO_A_FOLDER if out else 'symphony fleet'} --dir {folder}")


def _wanted(kind: str, reason: str, more: dict[str, Any]) -> Any:
    from symphony.release.orders import Wanted

    scope = {name: more[name] for name in SCOPES if more[name] is not None}
    caps = {name: more[name] for name in CAPS if more[name] is not None}
    if (kind == "lower-cap") != bool(caps):
        raise click.UsageError("lower-cap, and no other order, needs --payment-max, --daily-max or --daily-count-max")
    if kind == "lower-cap" and "currency" not in scope:
        raise click.UsageError("lower-cap needs --currency: a cap is an amount of one")
    if kind == "halt" and "currency" in scope:
        raise click.UsageError("a halt is of a service, rail or participant; freeze a currency")
    return Wanted(kind.replace("-", "_"), scope, reason, caps)


def scope_words(scope: dict[str, str]) -> str:
    """A scope for people."""
    return ", ".join(f"{name} {value}" for name, value in scope.items()) or "every service"


@order.command("list")
@dir_option
@output_option
@click.option("--as", "officer", default="alice", show_default=True, help="Who asks.")
def list_orders(folder: Path, output: str, officer: str) -> None:
    """Every order of the environment, and whether it is in force."""
    from symphony.release.orders import listed
    from symphony.stack.release_one import control_plane

    found = listed(control_plane(Layout.open(folder), officer), ENVIRONMENT)
    if output == "json":
        show_json(found)
        return
    if not found:
        say("no order has been issued")
    for entry in found:
        caps = " ".join(f"{name}={value}" for name, value in entry.get("caps", {}).items())
        kind = f"{entry['kind'].replace('_', '-')} of {scope_words(entry['scope'])} {caps}".strip()
        say(f"{entry['number']:>4}  {entry['state']:<8}  {kind}  by {entry['actor']} at {entry['issued_at']}: {entry['reason']}")


@order.command()
@click.argument("number", type=click.IntRange(min=1))
@dir_option
@output_option
@officer_option
@click.option("--reason", help="Why; whoever begins the lift says it, the others sign the same words.")
@click.option("--order", "order_file", type=_FILE, help="Without a control plane: the order's file; needs --file.")
@click.option("--file", "lift_file", type=_FILE, help="Without a control plane: the lift's file, made or signed once more.")
def lift(
    number: int, folder: Path, output: str, officer: str, reason: str | None, order_file: Path | None, lift_file: Path | None
) -> None:
    """Sign the lift of order NUMBER. It is lifted once the officers' threshold has, not counting who issued the order.

    Exit 0 signed (lifted or not yet), 1 refused, 2 usage, 3 could not tell, 5 a signature does not hold.
    """
    from contracts.times import SystemClock
    from symphony.release import orders as officers
    from symphony.release.client import Officer
    from symphony.stack.release_one import control_plane

    if (order_file is None) != (lift_file is None):
        raise click.UsageError("--order and --file go together")
    layout = Layout.open(folder)
    who, now = Officer.from_folder(layout.officer(officer)), SystemClock().now()
    if order_file is not None and lift_file is not None:
        done = officers.lift_in_files(who, order_file, lift_file, reason, now)
        if done.order.number != number:
            raise click.UsageError(f"{order_file} is order {done.order.number}, not {number}")
    else:
        done = officers.lift(control_plane(layout, officer), who, ENVIRONMENT, number, reason, now)
    if output == "json":
        show_json({**done.answer, "claims": dict(done.lift.claims), "order": dict(done.order.claims)})
        return
    claims = done.order.claims
    say(f"order {number}: {claims['kind'].replace('_', '-')} of {scope_words(claims['scope'])}, for: {claims['reason']}")
    say(f"  lifted for: {done.lift.claims['reason']}")
    if lift_file is not None:
        say(f"  {done.answer['signatures']} signatures in {lift_file}\n  next: {_INTO_A_FOLDER} --dir {folder}")
    elif done.answer["lifted"]:
        say(f"order {number} is LIFTED")
    else:
        say(f"signed: {done.answer['signatures']} of {done.answer['needed']}, not counting who issued it")
        say(f"  next: symphony order lift {number} --as <another officer> --dir {folder}")
