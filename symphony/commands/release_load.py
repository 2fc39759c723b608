"""``symphony release export`` and ``release load``: a release and orders in a folder, beside a service (design section 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from symphony.commands.common import dir_option, output_option, say, show_json
from symphony.stack.layout import ENVIRONMENT, Layout


@click.command()
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@dir_option
@click.option("--as", "officer", default="alice", show_default=True, help="Who asks.")
def export(target: Path, folder: Path, officer: str) -> None:
    """Download the active release with all that proves it, and every order, into a new folder DIR.

    It is verified on the way from the stack's own pinned root. Carry the folder to a service and load it there, while the
    release's timestamp in it has not run out and is not older than the one that the service has seen.
    """
    from contracts.release import HttpsSource
    from contracts.tls import client_context
    from symphony.release.orders import export as exported

    layout = Layout.open(folder)
    person = layout.officer(officer)
    context = client_context(person / "client.pem", person / "client-key.pem", layout.ca)
    source = HttpsSource(f"{layout.url('controlplane')}/tuf", context)
    number, count = exported(source, target, root=layout.root.read_bytes(), environment=ENVIRONMENT)
    say(f"release {number} and {count} orders and lifts are in {target}\n  next: symphony release load {target} --dir {folder}")


@click.command()
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))
@dir_option
@output_option
@click.option(
    "--sidecar-config", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A sidecar's writer.json; without it the sidecar of the local stack.",
)  # fmt: skip
def load(source: Path, folder: Path, output: str, sidecar_config: Path | None) -> None:
    """Hand a folder to a running sidecar: a release in metadata/ and targets/, orders and lifts in orders/.

    The sidecar holds it to the same rules as what the control plane serves; what it refuses leaves the old release running.
    Run it as the sidecar's own user, on its machine. Exit 0 all of it taken, 1 refused, 2 usage, 3 could not tell, 5 not trusted.
    """
    from contracts.errors import Misused
    from symphony.release.orders import refusal_of
    from symphony.resolving import ask_writer

    if not any((source / part).is_dir() for part in ("metadata", "orders")):
        raise Misused("CONFIGURATION", f"{source} has neither metadata/ nor orders/", next_step="symphony release export DIR")
    answer = ask_writer(_socket(folder, sidecar_config), "load", folder=str(source.resolve()))
    if output == "json":
        show_json(answer)
    else:
        _say(answer)
    refusal = refusal_of(answer)
    if refusal is not None:
        raise refusal


def _socket(folder: Path, sidecar_config: Path | None) -> Path:
    from sidecar.config import WriterConfig
    from sidecar.config import load as configured

    if sidecar_config is None:
        return Layout.open(folder).sockets / "writer.sock"
    return Path(configured(sidecar_config, WriterConfig).socket)


def _say(answer: dict[str, Any]) -> None:
    release = answer["release"]
    if release:
        became = "is active now" if release["activated"] else "stays active"
        say(f"release {release['number']} {became}" + (f"; the folder's is refused: {release['code']}" if release["code"] else ""))
    for entry in answer["orders"]:
        say(f"{entry['file']}: {entry['outcome']}" + (f" {entry['code']}" if entry.get("code") else ""))
