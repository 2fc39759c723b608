"""One embedded cluster for a test session, and migrated databases of random names in it."""

from __future__ import annotations

import atexit
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

from symphony import migrations
from symphony.stack import logins
from symphony.stack.postgres import temporary_cluster


@dataclass(frozen=True)
class Database:
    """A database of its own: URLs by login (``sc_writer``, ``cp_reader`` …) and by part."""

    __test__ = False
    kind: str
    name: str
    urls: dict[str, str]

    @property
    def owner(self) -> str:
        """The migrations' login."""
        return self.urls[logins.KINDS[self.kind].owner]

    @property
    def writer(self) -> str:
        """The service's login; ``SET LOCAL ROLE`` first."""
        return self._part("writer")

    @property
    def reader(self) -> str:
        """The reading login."""
        return self._part("reader")

    @property
    def shipper(self) -> str:
        """The shipper's login (sidecar only)."""
        return self._part("shipper")

    @property
    def admin(self) -> str:
        """The superuser, for breaking things on purpose."""
        return self.urls["admin"]

    def _part(self, part: str) -> str:
        return next(url for login, url in self.urls.items() if login.endswith(f"_{part}"))


class TestPostgres:
    """The session's cluster. ``cluster`` is the ``symphony.stack.postgres.Cluster`` itself."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self.migrations = folder
        self.cluster = temporary_cluster(max_connections="100")
        self._passwords = {login: secrets.token_hex(8) for kind in logins.KINDS.values() for login in kind.logins}
        self._templates: dict[str, str] = {}
        self._with_logins: set[str] = set()

    def __enter__(self) -> Self:
        atexit.register(self.cluster.destroy)
        self.cluster.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.cluster.destroy()
        atexit.unregister(self.cluster.destroy)

    def new_database(self, kind: str) -> Database:
        """A fresh database of ``kind`` (controlplane, sidecar, ledger), all its migrations applied."""
        if kind not in self._templates:
            self._templates[kind] = self._make_template(kind)
        return self.empty_database(kind, template=self._templates[kind])

    def empty_database(self, kind: str, *, template: str = "template0") -> Database:
        """A fresh database with the kind's logins and no migration."""
        chosen = logins.KINDS[kind]
        if kind not in self._with_logins:
            logins.ensure_logins(self.cluster.admin_url(), chosen, self._passwords)
            self._with_logins.add(kind)
        name = f"{kind}_{secrets.token_hex(4)}"
        logins.create_database(self.cluster.admin_url(), chosen, name, template=template)
        urls = {login: self.cluster.url(name, login=login, password=self._passwords[login]) for login in chosen.logins}
        return Database(kind, name, urls | {"admin": self.cluster.admin_url(name)})

    def drop(self, database: Database) -> None:
        """Remove a database, cutting off whoever is in it."""
        with psycopg.connect(self.cluster.admin_url(), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database.name)))

    def _make_template(self, kind: str) -> str:
        database = self.empty_database(kind)
        logins.close_public_schema(database.owner)
        migrations.apply(database.owner, self.migrations / kind)
        logins.grant_roles(database.admin, logins.KINDS[kind])
        return database.name
