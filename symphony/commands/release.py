"""``symphony release``: propose, approve, promote, roll back, show, list. Keys never leave the officer's folder."""

from __future__ import annotations

from pathlib import Path

import click

from contracts.errors import CannotEvaluate
from symphony.commands import release_from, release_review, release_status
from symphony.commands.common import dir_option, env_option, output_option, say, show_json
from symphony.commands.lazy import LazyGroup
from symphony.commands.release_status import timeout_option, wait_option
from symphony.invariants.plain import plain
from symphony.stack.layout import ENVIRONMENT, Layout

officer_option = click.option(
    "--as", "officer", required=True, envvar="SYMPHONY_OFFICER", help="The officer who acts, such as alice."
)


def _words(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """An option that says nothing is a usage error."""
    if not value.strip():
        raise click.BadParameter("it must say something")
    return value


reason_option = click.option(
    "--reason", required=True, callback=_words, help="Why; the officers and the regulator read it."
)
ticket_option = click.option("--ticket", default="none", show_default=True, callback=_words, help="The change ticket.")


_LIFE = "symphony.commands.release_life"
MORE = {
    "impact": "symphony.commands.impact:impact",
    "export": "symphony.commands.release_load:export",
    "load": "symphony.commands.release_load:load",
    **{name.replace("_", "-"): f"{_LIFE}:{name}" for name in ("as_of", "freeze", "freezes", "renew", "unfreeze", "withdraw")},
}


@click.group(cls=LazyGroup, places=MORE)
def release() -> None:
    """Releases: what officers approve and sidecars enforce.

    A release is proposed by one officer and approved by two others with their own keys; only then can it be promoted.
    """


for _command in (release_from.collect, *release_review.COMMANDS):
    release.add_command(_command)


def _layout(folder: Path, environment: str) -> Layout:
    if environment != ENVIRONMENT:
        raise CannotEvaluate(
            "CONFIGURATION", f"this stack is {ENVIRONMENT}, not {environment}", next_step="--env sandbox"
        )
    return Layout.open(folder)


@release.command()
@release_from.from_checkout
@dir_option
@env_option
@click.option("--as", "officer", envvar="SYMPHONY_OFFICER", help="The officer who acts, such as alice.")
@reason_option
@ticket_option
@click.option(
    "--manifests", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of service manifests."
)
@click.option(
    "--environment-data",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Environment template (JSON); by default the stack's own.",
)
@click.option(
    "--schemas", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of the rail's XSDs."
)
@click.option(
    "--impact-days", type=click.IntRange(1, 366), default=7, show_default=True,
    help="Recorded decisions of so many last days are replayed for the impact report.",
)  # fmt: skip
def propose(
    folder: Path,
    environment: str,
    officer: str,
    reason: str,
    ticket: str,
    manifests: Path | None,
    environment_data: Path | None,
    schemas: Path | None,
    impact_days: int,
) -> None:
    """Propose the next release: the repo's policies and invariants, manifests, environment data, schemas.

    Of a stack's folder the gate runs here. With --from DIR the files are a checkout's, in CI or on your own machine: no stack's
    folder is needed, --gate is the gate's signed result, and the commit goes into the proposal. Example:

      symphony release propose --from . --bundle release/policy.tar.gz --gate gate.json --reason "…" --url https://…
    """
    from symphony.stack import release_one
    from symphony.stack.environment import load_template
    from symphony.stack.gate import check_stack

    layout = _layout(folder, environment)
    layout.officer(officer)  # a stranger is told before the gate runs
    template = load_template(environment_data or layout.folder / "environment.template.json")
    chosen = manifests or layout.folder / "manifests"
    files = release_one.release_files(layout, template=template, manifests=chosen, schemas=schemas)
    gate = release_one.gate_result(layout, files, *check_stack(layout))
    draft = release_one.propose_as(
        layout, officer, files, gate, reason=reason, change_ticket=ticket, say=say, impact_days=impact_days
    )
    say(f"release {draft.number} is PROPOSED, metadata {draft.digest}")
    say(f"  next: symphony release approve {draft.number} --as <another officer> --dir {folder}")


@release.command()
@click.argument("number", type=click.IntRange(min=1))
@dir_option
@env_option
@officer_option
@wait_option
@timeout_option
def promote(number: int, folder: Path, environment: str, officer: str, wait: bool, timeout_s: float) -> int:
    """Publish an approved release; sidecars fetch, verify and activate it.

    With --wait, exit 1 when an instance refuses it (with the reason and who was not reached), 3 when not all were reached.
    """
    from symphony.stack.release_one import control_plane, promote_as

    layout = _layout(folder, environment)
    digest = promote_as(layout, officer, number)
    say(f"release {number} is ACTIVE, metadata {digest}")
    if not wait:
        say(f"  next: symphony fleet --dir {folder}")
        return release_status.REACHED
    found = release_status.waited(control_plane(layout, officer), environment, number, digest, timeout_s)
    for line in release_status.lines(found):
        say(line)
    return release_status.code_of(found)


@release.command()
@dir_option
@env_option
@officer_option
@click.option("--to", "to", type=click.IntRange(min=1), required=True, help="The release whose digests come back.")
@reason_option
@ticket_option
def rollback(folder: Path, environment: str, officer: str, to: int, reason: str, ticket: str) -> None:
    """Propose the next release with the digests of release TO; it is approved as any other."""
    from contracts.times import SystemClock
    from symphony.release.client import Officer
    from symphony.release.rollback import rollback as propose_rollback
    from symphony.stack.release_one import control_plane, impact_of

    layout = _layout(folder, environment)
    draft = propose_rollback(
        control_plane(layout, officer), Officer.from_folder(layout.officer(officer)), environment=environment, to=to,
        reason=reason, change_ticket=ticket, root=layout.root.read_bytes(), now=SystemClock().now(),
        impact=lambda files: impact_of(layout, files, say),
    )  # fmt: skip
    say(f"release {draft.number} is PROPOSED: the digests of release {to}")


@release.command("list")
@dir_option
@env_option
@output_option
@click.option("--as", "officer", default="alice", show_default=True, help="Who asks.")
def list_releases(folder: Path, environment: str, output: str, officer: str) -> None:
    """Every release of the environment, newest first."""
    from symphony.stack.release_one import control_plane

    found = control_plane(_layout(folder, environment), officer).releases(environment)
    if output == "json":
        show_json(found)
        return
    for entry in found:
        say(f"{entry['number']:>4}  {entry['status']:<11} {entry['metadata_digest'][:16]}…  {plain(str(entry.get('reason', '')))}")


release.add_command(release_status.status)
