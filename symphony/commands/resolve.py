"""``symphony payment resolve``: the maker writes and signs, the checker sees, signs and hands it to the sidecar (D8)."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import click

from contracts.resolution import Resolution
from symphony.commands.common import dir_option, output_option, say, show_json
from symphony.stack.layout import Layout


@click.command("resolve")
@click.argument("instruction_id", metavar="ID")
@dir_option
@output_option
@click.option("--officer", required=True, envvar="SYMPHONY_OFFICER", help="The officer who signs, such as alice.")
@click.option("--decision", type=click.Choice(["failed", "dispatched"]), help="The maker's: what became of the payment.")
@click.option("--reason", help="The maker's: why, in a sentence. It stays in the sidecar's database.")
@click.option("--evidence-reference", help="The maker's: number of a case or statement. It becomes evidence: no names.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The maker's file; by default in DIR/resolutions.")
@click.option(
    "--approve", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The checker's: the maker's file."
)
def resolve(
    instruction_id: str, folder: Path, output: str, officer: str, decision: str | None, reason: str | None,
    evidence_reference: str | None, out: Path | None, file: Path | None,
) -> None:  # fmt: skip
    """Close a parked payment by two officers: one makes a resolution (--decision …), another approves it (--approve FILE).

    The sidecar asks the rail first and refuses what its final answer does not bear out.
    Exit 0 made or recorded, 1 refused, 2 usage, 3 could not tell (the rail cannot say, the sidecar is down).
    """
    identifier, made = _id(instruction_id), (decision, reason, evidence_reference)
    if (file is not None and any((*made, out))) or (file is None and not all(made)):
        raise click.UsageError("either --decision, --reason and --evidence-reference (the maker), or --approve FILE (the checker)")
    layout = Layout.open(folder)
    if file is not None:
        _approve(layout, identifier, officer, file, output)
    else:
        _make(layout, identifier, officer, output, decision=decision, reason=reason, evidence_reference=evidence_reference, out=out)


def _id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no instruction id", param_hint="ID") from error


def _make(layout: Layout, identifier: str, officer: str, output: str, **words: Any) -> None:
    from contracts.times import SystemClock
    from symphony import resolving
    from symphony.release.client import Officer

    maker = Officer.from_folder(layout.officer(officer))
    path = resolving.make(layout, identifier, maker, now=SystemClock().now(), **words)
    read = resolving.load(path, identifier)
    others = sorted(name for key_id, name in resolving.names(layout).items() if key_id != maker.key_id)
    step = f"symphony payment resolve {identifier} --approve {path} --officer <{'|'.join(others)}> --dir {layout.folder}"
    if output == "json":
        show_json({"file": str(path), "claims": dict(read.claims), "must_also_sign": others, "next_step": step})
        return
    _show(read, {maker.key_id: maker.name})
    say(f"written to {path}\n  must also sign: one of {', '.join(others)}\n  next: {step}")


def _approve(layout: Layout, identifier: str, officer: str, file: Path, output: str) -> None:
    from symphony import resolving
    from symphony.release.client import Officer

    checker, read = Officer.from_folder(layout.officer(officer)), resolving.load(file, identifier)
    look = resolving.ask(layout, "parked", instruction_id=identifier)
    if output == "text":
        _show(read, resolving.names(layout))
        said = look["rail"]
        words = f"{said['status']} {said['reference'] or ''}" if said else "(not asked: it is parked no more)"
        say(f"  {'the rail says now':<18} {words}")
    done = resolving.approve(layout, file, read, checker)
    recorded = done.answer["resolution"]
    if output == "json":
        show_json({**done.answer, "rail": look["rail"], "file": str(done.file)})
        return
    say(f"recorded at {recorded['resolved_at']}: {recorded['decision']}" + ("  (first result)" if done.answer["repeated"] else ""))
    say(f"  next: symphony payment show {identifier} --dir {layout.folder}")


def _show(read: Resolution, names: dict[str, str]) -> None:
    claims = read.claims
    say(f"{claims['instruction_id']}  resolution: {claims['decision']}")
    for label, name in (("reason", "reason"), ("evidence reference", "evidence_reference"), ("parked since", "parked_at"),
                        ("parked for", "reason_code"), ("made at", "made_at"), ("valid until", "expires_at")):  # fmt: skip
        say(f"  {label:<18} {claims[name]}")
    say(f"  {'made by':<18} {names.get(claims['maker_key_id'], 'a stranger')}, key {claims['maker_key_id'][:16]}…")
