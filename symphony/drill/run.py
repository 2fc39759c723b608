"""Run a drill on a scratch world and write its report, anchored to the code and to every role file that it published."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from contracts.canonical import sha256_hex
from contracts.times import SystemClock, rfc3339
from symphony import migrations, places
from symphony.drill import custodians, officers
from symphony.drill.report import Ended, Report, markdown
from symphony.drill.world import World
from symphony.invariants.anchors import commit, over, tool_versions
from symphony.stack import logins
from symphony.stack.postgres import Cluster, temporary_cluster

DRILLS: Mapping[str, Callable[[World, Report], list[str]]] = {
    "officer-key-lost": officers.key_lost,
    "officer-key-stolen": officers.key_stolen,
    "online-keys-stolen": custodians.online_keys_stolen,
    "root-expired": custodians.root_expired,
}
QUORUM_LOST = "custodian-quorum-lost"
NAMES = (*DRILLS, QUORUM_LOST)
MakeDatabase = Callable[[], str]
"""The URL of the writer's login in a fresh, migrated control plane database."""


def run(
    name: str,
    folder: Path,
    make_database: MakeDatabase,
    *,
    reviews: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """One drill; its document. ``folder`` must be empty: the world's files stay there."""
    report, notes, published = Report(name, say), [], {}
    url = make_database()
    began = SystemClock().now()
    with World(folder / "world", url, reviews=reviews) as world:
        with suppress(Ended):
            if name == QUORUM_LOST:
                new = World(
                    folder / "new", make_database(), reviews=reviews, clock=world.clock, authority=world.authority
                )
                notes = custodians.quorum_lost(world, report, new)
            else:
                notes = DRILLS[name](world, report)
        found = world.published()
        published = {"root": sha256_hex(found.roots[-1]), "targets": sha256_hex(found.targets_bytes)}
        published |= {role: sha256_hex(data) for role, data in found.roles.items()}
    return report.document(at=rfc3339(began), notes=notes, anchors=_anchors(url) | {"published_sha256": published})


def write(document: Mapping[str, Any], folder: Path) -> Path:
    """``<drill>.json`` and ``<drill>.md`` in a folder; the first."""
    path = folder / f"{document['drill']}.json"
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    path.with_suffix(".md").write_text(markdown(dict(document)))
    return path


@contextmanager
def scratch_databases() -> Iterator[MakeDatabase]:
    """A cluster that is gone afterwards, and fresh control plane databases in it."""
    cluster = temporary_cluster()
    try:
        cluster.start()
        yield _maker(cluster)
    finally:
        cluster.destroy()


def _maker(cluster: Cluster) -> MakeDatabase:
    kind = logins.KINDS["controlplane"]
    secret = dict.fromkeys(kind.logins, cluster.admin_password)
    logins.ensure_logins(cluster.admin_url(), kind, secret)
    made: list[str] = []

    def make() -> str:
        name = f"drill_{len(made)}"
        made.append(name)
        logins.create_database(cluster.admin_url(), kind, name)
        owner = cluster.url(name, login=kind.owner, password=secret[kind.owner])
        logins.close_public_schema(owner)
        migrations.apply(owner, places.folder("migrations") / kind.name)
        logins.grant_roles(cluster.admin_url(name), kind)
        return cluster.url(name, login="cp_writer", password=secret["cp_writer"])

    return make


def _anchors(url: str) -> dict[str, Any]:
    code = places.folder("migrations").parent
    files = sorted((places.folder("migrations") / "controlplane").glob("*.sql"))
    return {
        "commit": commit(code), "migrations_sha256": over((path.name, path) for path in files),
        "drill_sha256": over((path.name, path) for path in Path(__file__).parent.glob("*.py")),
        "tools": tool_versions({"controlplane": url}),
    }  # fmt: skip
