"""Make what a local stack needs, once: keys, certificates, databases, one configuration per process.

Every step keeps what is there, so that a second start changes nothing. Each process gets only its own: the acceptor no
database login and no permit key, the writer no evidence key, the shipper no permit key, the adapter alone the
ledger's door.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from contracts.keys import new_private_key
from symphony import migrations, places
from symphony.release.ceremony import CUSTODIANS, OFFICERS, SECURITY_OFFICER, Ceremony
from symphony.sql import text
from symphony.stack import logins
from symphony.stack.credentials import (
    Credential,
    key_pem,
    load_credential,
    make_ca,
    new_key,
    officer_credential,
    participant_credential,
    process_credential,
    server_credential,
    write_private,
)
from symphony.stack.environment import LOG_ORIGIN
from symphony.stack.layout import ENVIRONMENT, LEDGER, SERVICE, SIDECAR, Layout, write_json
from symphony.stack.postgres import Cluster

DATABASES = {kind: f"symphony_{kind}" for kind in ("controlplane", "sidecar", "ledger")}
PARTITION_MONTHS_AHEAD = 3
PROCESSES = {"controlplane": "controlplane", "ledger": LEDGER, "adapter": "adapter", "sidecar": SERVICE}
"""Process folders, and the name in each one's certificate."""
SERVICES = {SERVICE: "sidecar", LEDGER: "ledger"}
"""The services that the control plane knows, and whose folder has the certificate of each."""


def keys_and_certificates(layout: Layout, participants: list[str], now: datetime) -> None:
    """Everything that is made from randomness."""
    ceremony = Ceremony(layout.folder, (ENVIRONMENT,))
    ceremony.make_keys()
    ceremony.sign_trust(now)
    for name in ("permit.pem", "evidence.pem"):
        path = layout.part("sidecar") / name
        if not path.exists():
            new_private_key(path)
    issuer = layout.part("issuer") / "key.pem"
    if not issuer.exists():
        write_private(issuer, key_pem(new_key()))
    ours, theirs = _authority(layout, "processes", now), _authority(layout, "participants", now)
    for part, name in PROCESSES.items():
        _write(layout.part(part), "client", lambda n=name: process_credential(ours, ENVIRONMENT, n, now=now))
        _write(layout.part(part), "server", lambda n=name: server_credential(ours, n, now=now))
    for kind, names in (("officers", OFFICERS), ("security", (SECURITY_OFFICER,)), ("custodians", CUSTODIANS[:1])):
        for name in names:
            _write(
                layout.folder / kind / name, "client", lambda n=name: officer_credential(ours, ENVIRONMENT, n, now=now)
            )
    for name in participants:
        folder = layout.part(f"participants/{name}")
        _write(folder, "client", lambda n=name: participant_credential(theirs, ENVIRONMENT, n, now=now))


def database(layout: Layout) -> Cluster:
    """The stack's cluster, not yet started."""
    return Cluster(layout.part("postgres"))


def databases(layout: Layout, cluster: Cluster) -> list[str]:
    """Create, migrate and partition the three databases; the migrations applied."""
    secret = logins.passwords(layout.folder / "logins.json")
    applied = []
    for kind, name in DATABASES.items():
        chosen = logins.KINDS[kind]
        logins.ensure_logins(cluster.admin_url(), chosen, secret)
        made = logins.create_database(cluster.admin_url(), chosen, name)
        owner = cluster.url(name, login=chosen.owner, password=secret[chosen.owner])
        if made:
            logins.close_public_schema(owner)
        applied += migrations.apply(owner, places.folder("migrations") / kind)
        logins.grant_roles(cluster.admin_url(name), chosen)
        if kind == "sidecar":
            with psycopg.connect(owner) as connection:
                connection.execute(text("ensure_partitions"), (PARTITION_MONTHS_AHEAD,))
    return applied


def database_url(layout: Layout, cluster: Cluster, kind: str, login: str) -> str:
    """The URL of one login in one database of the stack."""
    return cluster.url(DATABASES[kind], login=login, password=logins.passwords(layout.folder / "logins.json")[login])


def configurations(layout: Layout, cluster: Cluster, failpoints: Path | None = None) -> dict[str, Path]:
    """Write each process's configuration; by process name, in the order of starting."""

    def url(kind: str, login: str) -> str:
        return database_url(layout, cluster, kind, login)

    ca = str(layout.ca)
    sidecar, controlplane, ledger, adapter = map(layout.part, ("sidecar", "controlplane", "ledger", "adapter"))
    sockets = {name: str(layout.sockets / f"{name}.sock") for name in ("writer", "adapter")}
    documents: dict[str, tuple[Path, dict[str, Any]]] = {
        "controlplane": (controlplane, {
            **_server(layout, "controlplane"), "database_url": url("controlplane", "cp_writer"),
            "keys": str(controlplane / "keys"), "log_origin": LOG_ORIGIN, "environment": ENVIRONMENT,
            "principals": str(_principals(layout)),
        }),
        "ledger": (ledger, {
            **_server(layout, "ledger"), "database_url": url("ledger", "ld_writer"), "environment": ENVIRONMENT,
            "service": LEDGER, "release_poll_ms": 500, "release": _release(layout, ledger),
        }),
        "adapter": (adapter, {
            "socket": sockets["adapter"], "ledger_url": layout.url("ledger"), "ca": ca,
            "certificate": str(adapter / "client.pem"), "key": str(adapter / "client-key.pem"),
        }),
        "writer": (sidecar, {
            "environment": ENVIRONMENT, "service": SERVICE, "instance": SIDECAR, "stream": SIDECAR,
            "database_url": url("sidecar", "sc_writer"), "socket": sockets["writer"], "adapter_socket": sockets["adapter"],
            "permit_key": str(sidecar / "permit.pem"), "release": {**_release(layout, sidecar), "poll_ms": 500},
            "fleet_url": layout.url("controlplane") + "/v1/fleet/status",
            "failpoints": str(failpoints) if failpoints else None,
        }),
        "shipper": (sidecar, {
            "environment": ENVIRONMENT, "service": SERVICE, "stream": SIDECAR, "database_url": url("sidecar", "sc_shipper"),
            "evidence_key": str(sidecar / "evidence.pem"), "control_plane_url": layout.url("controlplane"), "ca": ca,
            "certificate": str(sidecar / "client.pem"), "key": str(sidecar / "client-key.pem"),
            "failpoints": str(failpoints) if failpoints else None,
        }),
        "acceptor": (sidecar, {
            "environment": ENVIRONMENT, "service": SERVICE, "host": "127.0.0.1", "port": layout.ports["acceptor"],
            "certificate": str(sidecar / "server.pem"), "key": str(sidecar / "server-key.pem"),
            "writer_socket": sockets["writer"], "adapter_socket": sockets["adapter"], "release_root": str(layout.root),
            "release_folder": str(sidecar / "release"),
        }),
    }  # fmt: skip
    out = {}
    for name, (folder, document) in documents.items():
        out[name] = folder / f"{name}.json"
        write_json(out[name], document)
    return out


def _server(layout: Layout, name: str) -> dict[str, Any]:
    folder = layout.part(name)
    return {
        "host": "127.0.0.1", "port": layout.ports[name], "ca": str(layout.ca),
        "certificate": str(folder / "server.pem"), "key": str(folder / "server-key.pem"),
    }  # fmt: skip


def _release(layout: Layout, folder: Path) -> dict[str, Any]:
    return {
        "url": layout.url("controlplane") + "/tuf", "ca": str(layout.ca), "certificate": str(folder / "client.pem"),
        "key": str(folder / "client-key.pem"), "root": str(layout.root), "folder": str(folder / "release"),
    }  # fmt: skip


def _principals(layout: Layout) -> Path:
    people = [layout.folder / "officers" / name for name in OFFICERS]
    people += [layout.folder / "security" / SECURITY_OFFICER, layout.folder / "custodians" / CUSTODIANS[0]]
    path = layout.part("controlplane") / "principals.json"
    write_json(path, Ceremony(layout.folder).principals(
        {folder.name: _held(folder).sha256 for folder in people},
        {name: _held(layout.folder / part).sha256 for name, part in SERVICES.items()},
    ))  # fmt: skip
    return path


def _held(folder: Path) -> Credential:
    return load_credential(folder / "client.pem", folder / "client-key.pem")


def _authority(layout: Layout, name: str, now: datetime) -> Credential:
    folder = layout.part("ca")
    certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    if not certificate.exists():
        make_ca(f"Symphony development {name}", now=now).write(certificate, key)
    return load_credential(certificate, key)


def _write(folder: Path, name: str, make: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    if not certificate.exists():
        make().write(certificate, key)
