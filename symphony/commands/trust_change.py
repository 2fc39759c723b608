"""``symphony trust rotate | enrol-officer | remove-officer``: drafts of the next root and targets; on a local stack all of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from contracts.errors import Misused, Refused
from contracts.times import SystemClock
from symphony.commands.common import say
from symphony.commands.trust_where import Where, where_options
from symphony.stack.layout import Layout

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
env_option = click.option("--env", "environment", required=True, help="Environment: sandbox, staging or production.")
out_option = click.option(
    "--out", type=click.Path(path_type=Path), help="A new folder for the drafts to sign; without it a local stack signs by itself."
)
dry_option = click.option("--dry-run", is_flag=True, help="Say what would change and what would not stand; change nothing.")


@dataclass(frozen=True, slots=True)
class Renewal:
    """An approved release that is published with the change."""

    environment: str
    number: int | None
    officer: str | None
    key: Path | None

    def asked(self, control: Any, where: Where) -> list[dict[str, Any]]:
        """The renewals of a publication, asked for by an officer's key."""
        from contracts.keys import load_private_key
        from symphony.release.client import Officer
        from symphony.trust.apply import renewal

        if self.number is None:
            return []
        if self.key is not None:
            officer = Officer("officer", load_private_key(self.key))
        elif self.officer is not None and where.layout is not None:
            officer = Officer.from_folder(where.layout.officer(self.officer))
        else:
            raise Misused("CONFIGURATION", "an officer asks for a renewal", next_step="--officer-key FILE, or --as NAME")
        digest = str(control.release(self.environment, self.number)["metadata_digest"])
        return [renewal(officer, self.environment, self.number, digest)]

    def roles(self, control: Any) -> dict[str, bytes]:
        """Its role file, to see what would stand."""
        from symphony.trust.apply import approved_role

        return {} if self.number is None else {self.environment: approved_role(control, self.environment, self.number)}


def renewal_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--with-renewal N --renewal-env E --as NAME | --officer-key FILE``; the command gets ``renewal``."""

    def wrapped(
        *args: Any, with_renewal: int | None, renewal_env: str, officer: str | None, officer_key: Path | None, **more: Any
    ) -> Any:
        return command(*args, renewal=Renewal(renewal_env, with_renewal, officer, officer_key), **more)

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined] # click keeps them there
    for option in (
        click.option("--officer-key", type=_FILE, help="With --with-renewal: the key of an officer who stays."),
        click.option("--as", "officer", help="With --with-renewal, on a local stack: the officer who asks."),
        click.option("--renewal-env", default="sandbox", show_default=True, help="The environment of the renewal."),
        click.option("--with-renewal", type=click.IntRange(min=1), help="Publish this approved release with the change, as one."),
    ):
        wrapped = option(wrapped)
    return wrapped


def _pairs(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> list[tuple[str, str]]:
    if any(not all(value.partition("=")[::2]) for value in values):
        raise click.BadParameter("NAME=PUBLIC-KEY, 64 hex characters or a file")
    return [(value.partition("=")[0], value.partition("=")[2]) for value in values]


def _adding(name: str, what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(f"--add-{name}", metavar="NAME=PUB", multiple=True, callback=_pairs, help=what)


@click.command()
@where_options
@renewal_options
@out_option
@dry_option
@_adding("custodian", "One more custodian.")
@click.option("--remove-custodian", metavar="NAME", multiple=True, help="By name or key id.")
@click.option("--threshold", type=click.IntRange(min=1), help="How many custodians sign from now on.")
@_adding("online", "snapshot=PUB or timestamp=PUB: one more online key; the old one stays.")
@click.option("--remove-online", metavar="ROLE=KEYID", multiple=True, callback=_pairs, help="An online key.")
@_adding("gate", "One more gate key.")
@click.option("--remove-gate", metavar="NAME", multiple=True, help="By name or key id.")
@click.option("--build", type=_FILE, help="Another build key: its public half (PEM). What the old one signed needs a renewal.")
@_adding("security-officer", "One more security officer of --env.")
@click.option("--remove-security-officer", metavar="NAME", multiple=True, help="Of --env; one who stays signs the list again.")
@click.option("--relist", is_flag=True, help="The revocation list of --env again, with a later end.")
@click.option("--env", "environment", default="sandbox", show_default=True, help="Environment of the security officers.")
def rotate(where: Where, renewal: Renewal, out: Path | None, dry_run: bool, environment: str, **wishes: Any) -> None:
    """Root N+1 and targets N+1, with other keys or only a later end. Without options: the same keys, a year more.

    An online key is changed in two steps, so that the control plane can sign at any time: --add-online; put the new key into
    the control plane's folder and restart it; --remove-online.
    """
    from symphony.trust.change import Next
    from symphony.trust.plan import public_of, read_build_key

    following = Next(where.published(), root_changes=True)
    for name, key in wishes["add_custodian"]:
        following.add_custodian(name, public_of(key))
    for who in wishes["remove_custodian"]:
        following.remove_custodian(who)
    if wishes["threshold"] is not None:
        following.custodians_min(wishes["threshold"])
    for role, key in wishes["add_online"]:
        following.add_online(_online(role), public_of(key))
    for role, key_id in wishes["remove_online"]:
        following.remove_online(_online(role), key_id)
    for name, key in wishes["add_gate"]:
        following.add_gate(name, public_of(key))
    for who in wishes["remove_gate"]:
        following.remove_gate(who)
    if wishes["build"] is not None:
        following.build(read_build_key(wishes["build"]))
    for name, key in wishes["add_security_officer"]:
        following.add_security_officer(environment, name, public_of(key))
    for who in wishes["remove_security_officer"]:
        following.remove_security_officer(environment, who)
    if wishes["relist"]:
        following.relist.add(following.environment(environment))
    carry_out(where, following, renewal, out, dry_run=dry_run)


@click.command("enrol-officer")
@click.argument("name")
@env_option
@where_options
@out_option
@dry_option
@click.option("--key", help="Public half: 64 hex characters or a file. On a local stack a key is made without it.")
@click.option("--certificate", type=_FILE, help="His client certificate (PEM), enrolled at the control plane with the key.")
def enrol_officer(
    name: str, environment: str, where: Where, out: Path | None, dry_run: bool, key: str | None, certificate: Path | None
) -> None:
    """Name one more officer of an environment, and enrol the client certificate by which the control plane knows him.

    On a local stack his key and certificate are made in DIR/officers/NAME. Elsewhere he makes his key himself
    (`trust key new`), and the operator's authority issues the certificate.
    """
    from symphony.trust.change import Next
    from symphony.trust.enrol import certificate_of, local_officer, principal
    from symphony.trust.plan import public_of

    following = Next(where.published())
    if key is None and (where.layout is None or out is not None):
        raise Misused("CONFIGURATION", "whose key?", next_step="--key PUB, made with symphony trust key new")
    if key is None:
        assert where.layout is not None
        if dry_run:
            say(f"would make a key and a certificate for {name} in {where.layout.folder / 'officers' / name}")
            return
        key, certificate = local_officer(where.layout, name, SystemClock().now())
    public = public_of(key)
    following.add_officer(environment, name, public)
    people = [] if certificate is None else [principal("officer", name, public, certificate_of(certificate))]
    carry_out(where, following, Renewal(environment, None, None, None), out, dry_run=dry_run, principals=people)
    if not people:
        say("  he needs a client certificate: --certificate, or \"principals\" in the control plane's configuration and a restart")


@click.command("remove-officer")
@click.argument("name")
@env_option
@where_options
@renewal_options
@out_option
@dry_option
def remove_officer(name: str, environment: str, where: Where, renewal: Renewal, out: Path | None, dry_run: bool) -> None:
    """Take an officer's key (by NAME or key id) out of an environment.

    Refused (exit 1, TRUST_BREAKS_RELEASE, with a list) until every current release stands without him: enough approvals of those
    who stay, and not proposed by him. Else propose a renewal, have it approved by them, and publish both as one:
    --with-renewal N --as OFFICER.
    """
    from symphony.trust.change import Next

    following = Next(where.published())
    key_id = following.remove_officer(environment, name)
    say(f"removes {name}: key {key_id}")
    carry_out(where, following, renewal, out, dry_run=dry_run)


def carry_out(
    where: Where, following: Any, renewal: Renewal, out: Path | None, *, dry_run: bool,
    principals: Sequence[dict[str, Any]] = (),
) -> None:  # fmt: skip
    """Say what changes, refuse what would break a release, then write drafts, or sign and publish on a local stack."""
    from symphony.trust.words import difference

    published = following.published
    files = following.files(SystemClock().now())
    for line in difference((published.root, published.targets), (following.root, following.targets)):
        say(f"  {line}")
    broken = following.broken(renewal.roles(where.control()) if renewal.number is not None else None)
    if broken:
        for one in broken:
            say(f"  does not stand: {one}")
        raise Refused("TRUST_BREAKS_RELEASE", "; ".join(map(str, broken)))
    if dry_run:
        return
    if out is not None or where.layout is None:
        _draft(out, files, principals)
        return
    with tempfile.TemporaryDirectory() as folder:
        for role, version in _on_a_stack(where.layout, where, renewal, Path(folder) / "drafts", files, principals).items():
            say(f"published {role} {version}")


def _draft(out: Path | None, files: dict[str, bytes], principals: Sequence[dict[str, Any]]) -> None:
    from symphony.trust.apply import write_drafts
    from symphony.trust.sign import Folder

    if out is None:
        raise Misused("CONFIGURATION", "where do the drafts go?", next_step="--out FOLDER")
    write_drafts(out, files, principals)
    for line in Folder.read(out).missing():
        say(f"  {line}")
    say(f"  next: symphony trust sign {out} --key <a custodian's key>; then symphony trust publish {out}")


def _on_a_stack(
    layout: Layout, where: Where, renewal: Renewal, folder: Path, files: dict[str, bytes],
    principals: Sequence[dict[str, Any]],
) -> dict[str, int]:  # fmt: skip
    """A development stack has every key: all custodians and security officers sign, and it is published."""
    from contracts.keys import load_private_key
    from symphony.trust.apply import publish_folder, write_drafts
    from symphony.trust.sign import Folder, sign_where_named

    write_drafts(folder, files, principals)
    for kind in ("custodians", "security"):
        for path in sorted((layout.folder / kind).glob("*/key.pem")):
            sign_where_named(Folder.read(folder), load_private_key(path))
    control = where.control()
    return publish_folder(control, Folder.read(folder), renewals=renewal.asked(control, where))


def _online(role: str) -> str:
    if role not in {"snapshot", "timestamp"}:
        raise click.BadParameter("snapshot=… or timestamp=…", param_hint="--add-online")
    return role
