"""``symphony invariants init | new | changed``: the gate in a repository that is not ours."""

from __future__ import annotations

from pathlib import Path

import click

from contracts.times import SystemClock
from symphony.commands.common import say
from symphony.invariants.exceptions import today_of
from symphony.invariants.find import folder_of, manifest_of, manifest_option
from symphony.invariants.model import PILLARS


@click.command()
@click.option("--migrations", required=True, metavar="FOLDER", help="Where the migrations lie, from the repository's root.")
@click.option("--files", default="*.sql", show_default=True, metavar="GLOB", help="Which files of it, such as '*/up.sql'.")
@click.option("--database", default="app", show_default=True, metavar="NAME", help="A short word for the database.")
@click.option("--owner", default="team", show_default=True, metavar="NAME", help="Who answers for the invariants.")
@click.option(
    "--ci", multiple=True, type=click.Choice(["github", "gitlab", "pre-commit"]), help="Also write its file; may be repeated."
)
def init(migrations: str, files: str, database: str, owner: str, ci: tuple[str, ...]) -> None:
    """Write a first manifest and checks into this repository; run it in the repository's root.

    Nothing that is there is written over, so it may be run again. Example:

      symphony invariants init --migrations db/migrations --ci github
    """
    from symphony.invariants.scaffold import init as write

    for line in write(Path.cwd(), database=database, migrations=migrations, files=files, owner=owner, ci=ci):
        say(line)
    say("next: symphony invariants check")


@click.command()
@manifest_option
@click.argument("identifier", metavar="ID")
@click.option("--title", required=True, help="What must hold, in a few words.")
@click.option("--pillar", type=click.Choice(PILLARS), required=True, help="Which of the four pillars it belongs to.")
@click.option("--enforced-by", required=True, metavar="PATH", help="The file or folder that makes it so; it must exist.")
@click.option("--severity", type=click.Choice(["P0", "P1"]), default="P0", show_default=True, help="Severity.")
@click.option("--owner", default="team", show_default=True, help="Who answers for it.")
@click.option("--sla-days", type=click.IntRange(1, 365), default=14, show_default=True, help="Days to mend it in.")
@click.option("--database", default="app", show_default=True, help="The database that its SQL check looks at.")
def new(
    folder: Path | None, identifier: str, title: str, pillar: str, enforced_by: str, severity: str, owner: str, sla_days: int,
    database: str,
) -> None:  # fmt: skip
    """Add an invariant and an empty SQL check for it; the check is an error until you write it.

    Exit 0 added, 1 refused: nothing is changed then. Example:

      symphony invariants new INV-PAY-001 --title "An amount is positive" --pillar immutability --enforced-by migrations
    """
    from symphony.invariants.scaffold import New
    from symphony.invariants.scaffold import new as write

    for line in write(folder_of(folder), New(identifier, title, pillar, severity, owner, sla_days, database, enforced_by)):
        say(line)


@click.command()
@manifest_option
@click.option("--since", required=True, metavar="COMMIT", help="Commit or branch to compare with, such as origin/main.")
def changed(folder: Path | None, since: str) -> None:
    """Fail when migrations, roles or policies changed and the manifest did not (MIG-12).

    A structural change needs exactly one of: a change of the manifest's invariants, or an exception in force that names its
    paths. Exit 0 it may pass, 1 it may not, 3 could not be evaluated. Example:

      symphony invariants changed --since origin/main
    """
    from symphony.invariants.find import judge_change

    say(judge_change(manifest_of(folder), since, today_of(SystemClock().now())))
