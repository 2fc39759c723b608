"""Where a ``symphony trust`` command reads what is published, and whom it speaks to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from contracts.errors import Misused
from contracts.release.model import PinnedRoot
from symphony.commands.common import DEFAULT_DIR
from symphony.stack.layout import Layout

_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@dataclass(frozen=True, slots=True)
class Where:
    """A local stack, a folder offline, or a control plane by its address."""

    folder: Path | None
    source: Path | None
    url: str | None
    identity: Path | None
    ca: Path | None
    root: Path | None

    @property
    def layout(self) -> Layout | None:
        """The local stack; ``None`` for the other two."""
        return None if self.source or self.url else Layout.open(self.folder or DEFAULT_DIR)

    def published(self) -> Any:
        """What is published, verified (``symphony.trust.published.Published``)."""
        from symphony.trust import published

        if self.source is not None:
            return published.of_folder(self.source, self._pinned() if self.root else None)
        return published.of_control_plane(self.control(), self._pinned())

    def control(self) -> Any:
        """The control plane, as a custodian or the operator (``symphony.release.client.ControlPlane``)."""
        from symphony.release.ceremony import CUSTODIANS
        from symphony.release.client import ControlPlane

        if self.url is not None:
            if self.identity is None or self.ca is None:
                raise Misused("CONFIGURATION", "--url needs --identity and --ca", next_step="--identity FOLDER --ca FILE")
            return ControlPlane.for_folder(self.url, self.identity, self.ca)
        layout = self.layout
        if layout is None:
            raise Misused("CONFIGURATION", "a folder publishes nothing", next_step="--url URL, or --dir of a local stack")
        return ControlPlane.for_folder(layout.url("controlplane"), layout.folder / "custodians" / CUSTODIANS[0], layout.ca)

    def _pinned(self) -> bytes:
        if self.root is not None:
            return PinnedRoot.from_file(self.root).root
        layout = self.layout
        if layout is None:
            raise Misused("CONFIGURATION", "which root do you trust?", next_step="--root FILE, the root that you pinned")
        return PinnedRoot.from_file(layout.root).root


def where_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that make a ``Where``; the command gets it as ``where``."""

    def wrapped(
        *args: Any, folder: Path | None, source: Path | None, url: str | None, identity: Path | None, ca: Path | None,
        root: Path | None, **more: Any,
    ) -> Any:  # fmt: skip
        return command(*args, where=Where(folder, source, url, identity, ca, root), **more)

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined] # click keeps them there
    for option in (
        click.option("--root", type=_FILE, help="The root that you pinned; by default the stack's own, or a folder's oldest."),
        click.option("--ca", type=_FILE, help="With --url: the authority of the control plane's certificate."),
        click.option("--identity", type=_FOLDER, help="With --url: folder of your client.pem and client-key.pem."),
        click.option("--url", help="A control plane: https://…"),
        click.option("--from", "source", type=_FOLDER, help="A folder of metadata, offline."),
        click.option(
            "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), envvar="SYMPHONY_DIR",
            help="Folder of a local stack (the default is var/demo).",
        ),
    ):  # fmt: skip
        wrapped = option(wrapped)
    return wrapped
