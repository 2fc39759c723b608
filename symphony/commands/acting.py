"""Who acts on which control plane: an officer of a local stack's folder, or one on a machine of his own, by addresses and paths.

Of a local stack ``--dir`` and ``--as`` are enough. Elsewhere (a laptop, a CI job) name ``--url``, ``--ca``, ``--root`` and
``--officer-folder``; the key may be another than the folder's: ``--key URI``. Each has its SYMPHONY_… variable.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from contracts.errors import CannotEvaluate, Misused
from symphony.commands.common import dir_option, env_option
from symphony.release.client import ControlPlane, Officer
from symphony.stack.layout import ENVIRONMENT, Layout


@dataclass(frozen=True, slots=True)
class Acting:
    """``folder`` has the client certificate (and ``key.pem`` where no key is named); ``root`` is the pinned root's file."""

    control: ControlPlane
    environment: str
    folder: Path
    root: Path
    key: str | None
    layout: Layout | None

    @property
    def root_bytes(self) -> bytes:
        """The officer's own pinned root."""
        try:
            return self.root.read_bytes()
        except OSError as error:
            raise Misused(
                "CONFIGURATION", f"no root in {self.root}: {error.strerror}", next_step="name it: --root"
            ) from error

    def officer(self) -> Officer:
        """Name and key; a token's PIN is asked for when it signs."""
        from symphony.release.keys import officer_key

        return Officer(self.folder.name, officer_key(self.key)) if self.key else Officer.from_folder(self.folder)


def acting(*, reads_only: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options of who acts; the command gets them as one ``who``. One that only reads needs no ``--as``."""
    as_help = "In a stack's folder: who asks (alice)." if reads_only else "In a stack's folder: who acts, such as alice."

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, folder: Path, environment: str, officer: str | None, **more: Any) -> Any:
            named = {name: more.pop(name) for name in ELSEWHERE}
            by = "alice" if officer is None and reads_only else officer
            return function(*args, who=who_acts(folder, environment, by, **named), **more)

        stack = [dir_option, env_option, click.option("--as", "officer", envvar="SYMPHONY_OFFICER", help=as_help)]
        return with_options(run, [*stack, *elsewhere_options()])

    return decorate


def with_options(command: Any, options: list[Callable[[Callable[..., Any]], Callable[..., Any]]]) -> Callable[..., Any]:
    """A command function with more options, in the order of the list."""
    for option in reversed(options):
        command = option(command)
    return command  # type: ignore[no-any-return]  # click's decorators give back what they get


ELSEWHERE = ("url", "ca", "root", "officer_folder", "key")


def elsewhere_options() -> list[Callable[[Callable[..., Any]], Callable[..., Any]]]:
    """Options of an officer who has no stack's folder, and of where his key is."""
    file, folder = (click.Path(path_type=Path, exists=True, **{kind: False}) for kind in ("dir_okay", "file_okay"))
    return [
        click.option("--url", envvar="SYMPHONY_URL", help="Without a stack's folder: the control plane, https://…"),
        click.option("--ca", type=file, envvar="SYMPHONY_CA", help="With --url: its authority (PEM)."),
        click.option("--root", type=file, envvar="SYMPHONY_ROOT", help="With --url: your own pinned root (1.root.json)."),
        click.option(
            "--officer-folder", type=folder, envvar="SYMPHONY_OFFICER_FOLDER",
            help="With --url: your folder, named as you are: client.pem, client-key.pem, and key.pem where there is no --key.",
        ),
        click.option(
            "--key", metavar="URI", envvar="SYMPHONY_KEY",
            help="Your signing key: a PEM file, file:…, pkcs11:token=…;object=…?module-path=… or hv:NAME (OpenBao, Vault).",
        ),
    ]  # fmt: skip


def who_acts(
    folder: Path, environment: str, officer: str | None, *, url: str | None, ca: Path | None, root: Path | None,
    officer_folder: Path | None, key: str | None,
) -> Acting:  # fmt: skip
    """By an address where one is named, else of a stack's folder. Raises ``click.UsageError`` for half of either."""
    if url is None or _names_a_stack():
        return _of_stack(folder, environment, officer, key)
    named = {"--url": url, "--ca": ca, "--root": root, "--officer-folder": officer_folder}
    return _elsewhere(environment, named, key)


def _names_a_stack() -> bool:
    """``--dir`` as typed goes before an address out of the environment."""
    source = click.get_current_context().get_parameter_source
    return source("folder") == ParameterSource.COMMANDLINE and source("url") != ParameterSource.COMMANDLINE


def _of_stack(folder: Path, environment: str, officer: str | None, key: str | None) -> Acting:
    if officer is None:
        raise click.UsageError("Missing option '--as': name the officer who acts, or the control plane by --url.")
    if environment != ENVIRONMENT:
        raise CannotEvaluate(
            "CONFIGURATION", f"this stack is {ENVIRONMENT}, not {environment}", next_step=f"--env {ENVIRONMENT}"
        )
    from symphony.stack.release_one import control_plane

    layout = Layout.open(folder)
    own = layout.officer(officer)
    return Acting(control_plane(layout, officer), environment, own, layout.root, key, layout)


def _elsewhere(environment: str, named: dict[str, Any], key: str | None) -> Acting:
    missing = [name for name, value in named.items() if value is None]
    if missing:
        raise click.UsageError(f"with --url also name {', '.join(missing)}")
    folder = named["--officer-folder"].resolve()
    control = ControlPlane.for_folder(str(named["--url"]), folder, named["--ca"])
    return Acting(control, environment, folder, named["--root"], key, None)
