"""``symphony opa config``, ``symphony opa status``: stock OPA servers beside our sidecars."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from contracts.errors import Misused
from symphony.commands.common import dir_option, output_option, say, show_json
from symphony.stack.layout import ENVIRONMENT, Layout

if TYPE_CHECKING:
    from symphony import opa_config


service_option = click.option(
    "--service", required=True, help="The service that this OPA works for, as it is enrolled."
)


@click.group(name="opa")
def command() -> None:
    """Run a stock OPA on Symphony's releases, and see what such servers report."""


@command.command()
@dir_option
@service_option
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Write opa.json and mask.rego into this folder and say how to start, instead of printing the configuration.",
)  # fmt: skip
def config(folder: Path, service: str, out: Path | None) -> None:
    """Print a configuration for a stock OPA: signed bundle by long poll, status and decision logs, all over mTLS.

    \b
    symphony opa config --dir DIR --service reference-rail --out ./opa
    opa run --server -c ./opa/opa.json ./opa/mask.rego

    It holds paths of certificate and key, never a key. Without mask.rego the decision log carries whole inputs: the control
    plane keeps their digest only, but sees them. Its decisions are marked so: input_masked is false.
    """
    from symphony import opa_config

    layout, client = _client(folder, service)
    made = opa_config.configuration(client, ENVIRONMENT, service, layout.root.read_bytes())
    if out is None:
        show_json(made)
        return
    out.mkdir(parents=True, exist_ok=True)
    (out / "opa.json").write_text(json.dumps(made, indent=1) + "\n")
    (out / "mask.rego").write_text(opa_config.MASK)
    say(f"opa run --server --addr 127.0.0.1:8181 --skip-version-check -c {out / 'opa.json'} {out / 'mask.rego'}")


@command.command()
@dir_option
@service_option
def data(folder: Path, service: str) -> None:
    """Print the active release's environment data, verified as a sidecar does. A stock OPA without it denies everything.

    \b
    symphony opa data --dir DIR --service reference-rail |
      curl -fsS -X PUT --data-binary @- http://127.0.0.1:8181/v1/data/environment
    """
    from symphony import opa_config

    layout, client = _client(folder, service)
    kept = client.certificate.parent / "opa-release"
    show_json(opa_config.environment_data(client, ENVIRONMENT, service, layout.root.read_bytes(), kept))


@command.command()
@dir_option
@output_option
def status(folder: Path, output: str) -> None:
    """Each stock OPA: the revision that it runs, against the active release's, and what it could not do."""
    from symphony.stack.release_one import PROPOSER, control_plane

    found = control_plane(Layout.open(folder), PROPOSER).get("/v1/opa/status")
    if output == "json":
        show_json(found)
        return
    if not found["servers"]:
        say("no OPA has reported yet: symphony opa config")
    for one in found["servers"]:
        say(_line(one, found["desired_revision"]))


def _client(folder: Path, service: str) -> tuple[Layout, opa_config.Client]:
    from symphony.opa_config import Client
    from symphony.stack.prepare import SERVICES

    layout = Layout.open(folder)
    if service not in SERVICES:
        detail = f"no service {service} here, but {', '.join(sorted(SERVICES))}"
        raise Misused("CONFIGURATION", detail, next_step="name one of them: --service")
    own = layout.folder / SERVICES[service]
    return layout, Client(layout.url("controlplane"), layout.ca, own / "client.pem", own / "client-key.pem")


def _line(one: dict[str, str | None], desired: str | None) -> str:
    active = one["active_revision"]
    state = "current" if active and active == desired else "BEHIND" if active else "NOTHING ACTIVE"
    troubles = [f"{what} {code}" for what in ("bundle", "decision_log") if (code := one[f"{what}_code"])]
    return (
        f"{one['service']:<16} {one['instance']}  OPA {one['version']}  active {(active or '-')[:16]}  {state}  "
        f"seen {one['last_seen']}{'  ' if troubles else ''}{', '.join(troubles)}"
    )
