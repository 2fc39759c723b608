"""Every kind of database is made from its migrations, as its owner, and its logins assume their roles."""

from __future__ import annotations

import psycopg
import pytest

from symphony import migrations
from symphony.stack import logins
from tests.support.database import TestPostgres


@pytest.mark.parametrize("kind", list(logins.KINDS))
def test_a_fresh_database_holds_every_migration_and_its_roles(postgres: TestPostgres, kind: str) -> None:
    database = postgres.new_database(kind)
    folder = postgres.migrations / kind
    assert migrations.verify(database.owner, folder) == len(list(folder.glob("*.sql")))
    for login, roles in logins.KINDS[kind].roles.items():
        with psycopg.connect(database.urls[login]) as connection:
            for role in roles:
                connection.execute(psycopg.sql.SQL("SET LOCAL ROLE {}").format(psycopg.sql.Identifier(role)))


@pytest.mark.parametrize("kind", list(logins.KINDS))
def test_runtime_roles_are_nologin_templates_inv_007(postgres: TestPostgres, kind: str) -> None:
    database = postgres.new_database(kind)
    with psycopg.connect(database.admin) as connection:
        found = connection.execute(
            "SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = ANY (%s)",
            ([role for roles in logins.KINDS[kind].roles.values() for role in roles],),
        ).fetchall()
    assert len(found) == sum(len(roles) for roles in logins.KINDS[kind].roles.values())
    assert all(flags == (False, False, False, False) for _, *rest in found for flags in [tuple(rest)])


def test_two_databases_of_a_kind_share_nothing(postgres: TestPostgres) -> None:
    first, second = postgres.new_database("ledger"), postgres.new_database("ledger")
    with psycopg.connect(first.owner) as connection:
        connection.execute("CREATE TABLE ledger.only_here ()")
    with psycopg.connect(second.owner) as connection:
        assert connection.execute("SELECT to_regclass('ledger.only_here')").fetchone() == (None,)
    postgres.drop(first)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(first.owner)
