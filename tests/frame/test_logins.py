"""Who may connect where, and as what (INV-005, INV-006, INV-007): deny by default, for every kind of database."""

from __future__ import annotations

import stat
from pathlib import Path

import psycopg
import pytest

from contracts.errors import CannotEvaluate
from symphony.stack import logins
from tests.support.database import TestPostgres


def test_no_login_reaches_a_database_of_another_kind_inv_005(postgres: TestPostgres) -> None:
    databases = {kind: postgres.empty_database(kind) for kind in logins.KINDS}
    for kind, database in databases.items():
        for other, target in databases.items():
            for login in logins.KINDS[kind].logins:
                url = database.urls[login].replace(database.name, target.name)
                if kind == other:
                    psycopg.connect(url).close()
                else:
                    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                        psycopg.connect(url)


@pytest.mark.parametrize("kind", list(logins.KINDS))
@pytest.mark.parametrize("statement", ["CREATE TABLE public.x ()", "CREATE TEMP TABLE x ()", "CREATE SCHEMA x"])
def test_a_service_login_makes_nothing_inv_006(postgres: TestPostgres, kind: str, statement: str) -> None:
    database = postgres.empty_database(kind)
    logins.close_public_schema(database.owner)
    for login in logins.KINDS[kind].roles:
        with (
            psycopg.connect(database.urls[login]) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement)


def test_a_login_assumes_its_roles_and_inherits_nothing_inv_007(postgres: TestPostgres) -> None:
    database = postgres.empty_database("ledger")
    with psycopg.connect(database.owner, autocommit=True) as owner:
        for role in ("symphony_ledger", "symphony_ledger_reader"):
            owner.execute(
                f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
            )
        owner.execute("CREATE SCHEMA s; CREATE TABLE s.t (); GRANT USAGE ON SCHEMA s TO symphony_ledger")
        owner.execute("GRANT SELECT ON s.t TO symphony_ledger")
    logins.grant_roles(database.admin, logins.KINDS["ledger"])
    with psycopg.connect(database.writer, autocommit=True) as writer:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute("SELECT FROM s.t")
        with writer.transaction():
            writer.execute("SET LOCAL ROLE symphony_ledger")
            assert writer.execute("SELECT FROM s.t").fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute("SET ROLE symphony_ledger_reader")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute("SET ROLE ld_owner")


def test_a_missing_role_is_said(postgres: TestPostgres) -> None:
    kind = logins.Kind("ledger", "ld_owner", {"ld_writer": ("symphony_no_such_role",)})
    with pytest.raises(CannotEvaluate, match="made no role symphony_no_such_role"):
        logins.grant_roles(postgres.cluster.admin_url(), kind)


def test_passwords_are_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "passwords.json"
    first = logins.passwords(path)
    assert logins.passwords(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(set(first.values())) == len(first) == sum(len(kind.logins) for kind in logins.KINDS.values())


def test_making_a_database_twice_is_making_it_once(postgres: TestPostgres) -> None:
    database = postgres.empty_database("ledger")
    admin = postgres.cluster.admin_url()
    assert logins.create_database(admin, logins.KINDS["ledger"], database.name) is False
    logins.ensure_logins(admin, logins.KINDS["ledger"], postgres._passwords)
    psycopg.connect(database.writer).close()
