"""``symphony drill``: practise a bad day on a scratch world, step by step, timed, with a report."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from contracts.errors import Misused
from symphony.commands.common import say, show_json

_HELP = {
    "officer-key-lost": "An officer whose approval counts has lost his key; another takes his place.",
    "officer-key-stolen": "A thief has an officer's key: he approves nothing alone, and is removed with a renewal.",
    "online-keys-stolen": "A thief has snapshot and timestamp keys: he freezes, invents nothing, and two roots end it.",
    "root-expired": "Nobody renewed root in its year; sidecars stop, and a new root brings them back.",
    "custodian-quorum-lost": "Too few custodians are left to sign; what goes on, until when, and a new root enrolled by hand.",
}


@click.group()
def drill() -> None:
    """Drills: the real procedure for lost, stolen and expired keys, on a scratch repository and control plane.

    Never on a live stack: each makes its own keys, database and sidecars' release clients, and removes them afterwards.
    Exit 1 when a step does not come out as it must, 3 when the drill could not be held.
    """


def _command(name: str) -> click.Command:
    @click.command(name, help=_HELP.get(name, "Every drill, one after the other."))
    @click.option(
        "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), help="Keep world and reports in this new folder."
    )
    @click.option(
        "-o", "--output", type=click.Choice(["text", "json", "markdown"]), default="text", show_default=True, help="Output format."
    )
    @click.pass_context
    def command(context: click.Context, folder: Path | None, output: str) -> None:
        with tempfile.TemporaryDirectory(prefix="symphony-drill-") as temporary:
            place = folder or Path(temporary)
            _demand_scratch(place)
            documents = _held(list(_HELP) if name == "all" else [name], place, output)
        if output == "json":
            show_json(documents[0] if name != "all" else documents)
        if folder is not None and output == "text":
            say(f"reports: {folder}")
        context.exit(0 if all(one["outcome"] == "pass" for one in documents) else 1)

    return command


def _held(names: list[str], place: Path, output: str) -> list[dict[str, object]]:
    from symphony.drill.report import markdown
    from symphony.drill.run import run, scratch_databases, write

    documents = []
    with scratch_databases() as make_database:
        for name in names:
            if output == "text":
                say(f"drill {name}")
            documents.append(run(name, place / name, make_database, say=say if output == "text" else lambda _line: None))
            write(documents[-1], place)
            if output == "markdown":
                say(markdown(documents[-1]))
            elif output == "text":
                say(f"{documents[-1]['outcome']} in {documents[-1]['seconds']} s")
                for note in documents[-1]["notes"]:
                    say(f"  {note}")
    return documents


def _demand_scratch(place: Path) -> None:
    if place.exists() and any(place.iterdir()):
        raise Misused("CONFIGURATION", f"{place} is not empty, and a drill is never held on a live stack", next_step="a new folder")
    place.mkdir(parents=True, exist_ok=True, mode=0o700)


for _name in (*_HELP, "all"):
    drill.add_command(_command(_name))
