"""Databases and logins of a stack: who may connect where, and as what.

Rules:

* one owner login per kind of database: it owns the database and applies migrations, nothing else;
* every other login owns nothing and inherits nothing; it assumes NOLOGIN roles by ``SET LOCAL ROLE`` (INV-007);
* no login has rights in two databases' kinds; ``PUBLIC`` may not even connect (INV-005);
* the NOLOGIN roles come with the migrations; ``grant_roles`` is run after them.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from contracts.errors import CannotEvaluate
from symphony.sql import statement, text


@dataclass(frozen=True)
class Kind:
    """A kind of database: its owner and, for each login, the roles that it may assume."""

    name: str
    owner: str
    roles: Mapping[str, tuple[str, ...]]

    @property
    def logins(self) -> tuple[str, ...]:
        """Every login, the owner first."""
        return (self.owner, *self.roles)


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "sidecar",
            "sc_owner",
            {
                "sc_writer": ("symphony_ingest", "symphony_executor"),
                "sc_shipper": ("symphony_shipper",),
                "sc_reader": ("symphony_reader", "symphony_replay"),
            },
        ),
        Kind(
            "controlplane",
            "cp_owner",
            {"cp_writer": ("symphony_control",), "cp_reader": ("symphony_control_reader",)},
        ),
        Kind(
            "ledger",
            "ld_owner",
            {"ld_writer": ("symphony_ledger",), "ld_reader": ("symphony_ledger_reader",)},
        ),
    )
}


LATER = frozenset({"symphony_replay"})
"""Roles that migrations after the last release make: on its schema they are not there, and who needs one says so (N-1)."""


def passwords(path: Path) -> dict[str, str]:
    """A password for every login, made once and kept in ``path`` (0600)."""
    if not path.exists():
        made = {login: secrets.token_urlsafe(24) for kind in KINDS.values() for login in kind.logins}
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump(made, out, indent=1)
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


def ensure_logins(admin_url: str, kind: Kind, secret: Mapping[str, str]) -> None:
    """Make the kind's logins where they are missing, and set their passwords."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        for login in kind.logins:
            name, owner = sql.Identifier(login), login == kind.owner
            if not _exists(connection, "login_exists", login):
                connection.execute(statement("login_create", login=name))
            createrole = sql.SQL("CREATEROLE" if owner else "NOCREATEROLE")
            connection.execute(
                statement("login_set", login=name, password=sql.Literal(secret[login]), createrole=createrole)
            )
            if owner:
                connection.execute(statement("login_self_grant", login=name))


def create_database(admin_url: str, kind: Kind, database: str, *, template: str = "template0") -> bool:
    """Make the database, closed to everybody but its kind's logins; ``False`` when it was there."""
    name = sql.Identifier(database)
    with psycopg.connect(admin_url, autocommit=True) as connection:
        made = not _exists(connection, "database_exists", database)
        if made:
            connection.execute(
                statement(
                    "database_create",
                    database=name,
                    owner=sql.Identifier(kind.owner),
                    template=sql.Identifier(template),
                )
            )
        connection.execute(statement("database_close", database=name))
        for login in kind.logins:
            connection.execute(statement("database_open", database=name, login=sql.Identifier(login)))
    return made


def close_public_schema(owner_url: str) -> None:
    """Take every right on the schema ``public`` from ``PUBLIC``; run as the database's owner."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(text("database_public"))


def grant_roles(admin_url: str, kind: Kind) -> None:
    """Let the kind's logins assume their roles; run after the migrations that make the roles."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        for login, roles in kind.roles.items():
            for role in roles:
                if not _exists(connection, "login_exists", role):
                    if role in LATER:
                        continue
                    raise CannotEvaluate("CONFIGURATION", f"the migrations of {kind.name} made no role {role}")
                connection.execute(statement("role_grant", role=sql.Identifier(role), login=sql.Identifier(login)))


def _exists(connection: psycopg.Connection, query: str, name: str) -> bool:
    row = connection.execute(text(query), (name,)).fetchone()
    return row is not None and bool(row[0])
