"""``symphony trust``: the custodians' word: make it, sign it, change it, see how it stands. Keys stay with their owners."""

from __future__ import annotations

from pathlib import Path

import click

from contracts.errors import Misused
from contracts.times import SystemClock
from symphony.commands import trust_change
from symphony.commands.common import output_option, say, show_json
from symphony.commands.trust_where import Where, where_options

MISSING = 6
_NEW = click.Path(path_type=Path)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def trust() -> None:
    """Trust: whose keys count. Custodians name officers, security officers, gate, build and online keys.

    A ceremony in steps, each on its owner's machine: `trust key new`, `trust draft`, `trust sign`, `trust publish`.
    A change: `trust rotate`, `trust enrol-officer`, `trust remove-officer`; then sign and publish likewise.
    """


for _command in (trust_change.rotate, trust_change.enrol_officer, trust_change.remove_officer):
    trust.add_command(_command)


@trust.command()
@where_options
@output_option
@click.option("--fail-on-warn", is_flag=True, help="Exit 7 when something runs out within 30, 7 or 1 days.")
@click.pass_context
def status(context: click.Context, where: Where, output: str, fail_on_warn: bool) -> None:
    """Each role's threshold and keys, how many it may still lose, and what runs out when; officers by environment.

    Exit 1 (red) when a role of people may lose no further key, something has run out, or a release in force does not stand;
    7 for warnings with --fail-on-warn; 5 when what is published does not verify from your root.
    """
    from symphony.trust.status import exit_code, lines
    from symphony.trust.status import status as judged

    document = judged(where.published(), SystemClock().now())
    if output == "json":
        show_json(document)
    else:
        for line in lines(document):
            say(line)
    context.exit(exit_code(document, fail_on_warn=fail_on_warn))


@trust.command()
@click.option("--dir", "folder", type=_NEW, required=True, help="A new folder.")
@click.option("--env", "environments", multiple=True, default=("sandbox",), show_default=True, help="Environment; repeat it.")
def init(folder: Path, environments: tuple[str, ...]) -> None:
    """DEVELOPMENT ONLY: every key in one folder, and root, targets and revocation lists signed with them.

    In real life nobody holds two keys: each makes his own (`trust key new`), then `trust draft`, `sign`, `publish`.
    """
    from contracts.release.trust import ENVIRONMENTS
    from symphony.release.ceremony import Ceremony
    from symphony.stack.layout import make_folder

    if not set(environments) <= set(ENVIRONMENTS):
        raise click.BadParameter(f"environments are {', '.join(ENVIRONMENTS)}", param_hint="--env")
    if (folder / "trust").exists():
        raise Misused("CONFIGURATION", f"{folder} has its trust already", next_step="symphony trust rotate, or a new folder")
    make_folder(folder)
    ceremony = Ceremony(folder, environments)
    ceremony.make_keys()
    for name in ceremony.sign_trust(SystemClock().now()):
        say(f"  {folder / 'trust' / name}")
    say(f"  next: symphony trust status --from {folder / 'trust'}; symphony up --dir {folder}")


@trust.group()
def key() -> None:
    """Your own key."""


@key.command("new")
@click.argument("path", type=_NEW)
@click.option(
    "--kind", type=click.Choice(["person", "build"]), default="person", show_default=True,
    help="A person's, gate or online key (Ed25519), or the build key (P-256).",
)  # fmt: skip
def new(path: Path, kind: str) -> None:
    """Make a key at PATH (0600) and its public half at PATH.pub. The public half goes to who writes the plan."""
    from contracts.keys import key_id_of, new_private_key, public_hex
    from symphony.stack.credentials import key_pem, new_key, write_private
    from symphony.trust.plan import build_entry, pem_of

    public = path.with_name(path.name + ".pub")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if kind == "build":
            made = new_key()
            write_private(path, key_pem(made))
            text = pem_of(made.public_key())
            identifier = build_entry(text)["key_id"]
        else:
            person = new_private_key(path)
            text, identifier = public_hex(person) + "\n", key_id_of(person)
        public.write_text(text)
    except OSError as error:
        detail = f"{path}: {error.strerror}; a key is never written over"
        raise Misused("CONFIGURATION", detail, next_step="another PATH") from error
    say(f"key id {identifier}\n  private {path} (keep it)\n  public  {public} (give it away, and read the key id aloud)")


@trust.command()
@click.argument("plan", type=_FILE)
@click.option("--out", type=_NEW, required=True, help="A new folder for the drafts.")
def draft(plan: Path, out: Path) -> None:
    """The first root, targets and empty revocation lists from a PLAN of public keys and thresholds, to be signed.

    docs/how-to/hold-a-key-ceremony.md has a plan. Exit 5 when it breaks a rule, such as one key in two offices.
    """
    from symphony.trust.apply import write_drafts
    from symphony.trust.plan import drafts, read_plan

    files = drafts(read_plan(plan), SystemClock().now())
    write_drafts(out, files)
    _next(out, sorted(files))


@trust.command()
@click.argument("folder", type=_FOLDER)
@click.option("--key", "path", type=_FILE, required=True, help="Your own key.")
@click.option("--yes", is_flag=True, help="Sign without being asked.")
def sign(folder: Path, path: Path, yes: bool) -> None:
    """Read the drafts in FOLDER and sign those that your key may sign; nothing is sent anywhere.

    Exit 1 when your key signs none of them.
    """
    from tuf.api.metadata import Targets

    from contracts.keys import load_private_key
    from contracts.release.trust import parse
    from symphony.trust.sign import Folder, sign_folder
    from symphony.trust.words import said

    drafts = Folder.read(folder)
    for line in said(drafts.newest_root, parse(drafts.targets, Targets).signed):
        say(f"  {line}")
    if not yes:
        click.confirm("Do you sign this?", abort=True)
    for name in sign_folder(drafts, load_private_key(path)):
        say(f"signed {folder / name}")
    _still(folder)


@trust.command()
@click.argument("place", metavar="FOLDER", type=_FOLDER)
@click.option("--with", "copies", type=_FOLDER, multiple=True, help="Another copy of FOLDER: its signatures are added; repeat it.")
@where_options
@trust_change.renewal_options
@click.pass_context
def publish(
    context: click.Context, place: Path, copies: tuple[Path, ...], where: Where, renewal: trust_change.Renewal
) -> None:
    """Publish signed drafts as one change; the control plane takes all of it or nothing.

    Exit 6 while a signature is missing, with who can still sign; 1 when a release in force would not stand (TRUST_BREAKS_RELEASE).
    """
    from symphony.trust.apply import publish_folder
    from symphony.trust.sign import Folder, merge_folders

    if copies:
        merge_folders(place, copies)
    drafts = Folder.read(place)
    if drafts.missing():
        _still(place)
        context.exit(MISSING)
    control = where.control()
    for role, version in publish_folder(control, drafts, renewals=renewal.asked(control, where)).items():
        say(f"published {role} {version}")


def _still(folder: Path) -> None:
    from symphony.trust.sign import Folder

    missing = Folder.read(folder).missing()
    for line in missing:
        say(f"  {line}")
    say(f"  next: symphony trust {'sign' if missing else 'publish'} {folder}{' --key <the next key>' if missing else ''}")


def _next(folder: Path, files: list[str]) -> None:
    for name in files:
        say(f"  {folder / name}")
    _still(folder)
