"""Each role can do exactly its list, in every database, partitions included (SEC-01, SEC-02, SEC-03, INV-005, INV-007, INV-010).

The list is ``tests/support/privileges.json``, by hand; the other side is the live catalogue. A right too many is a finding, and
so is one too few. The cluster is one of its own: what other tests leave in the session's is not of the product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import psycopg
import pytest

from symphony.stack.gate import fresh_urls
from tests.support.privileges import HERE, committed, live

KINDS = ("controlplane", "sidecar", "ledger")


@pytest.fixture(scope="module")
def urls() -> Iterator[Mapping[str, str]]:
    with fresh_urls() as made:
        yield made


@pytest.fixture
def roles(urls: Mapping[str, str]) -> dict[str, tuple[bool, bool, bool, list[str], list[str]]]:
    with psycopg.connect(urls["ledger"]) as connection:
        rows = connection.execute((HERE / "roles.sql").read_bytes()).fetchall()
    return {row[0]: (row[1], row[2], row[3], row[4], row[5]) for row in rows}


@pytest.mark.parametrize("kind", KINDS)
def test_each_role_has_exactly_its_list_sec_02(urls: Mapping[str, str], kind: str) -> None:
    assert live(urls[kind]) == {grantee: set(rights) for grantee, rights in committed()["databases"][kind].items()}


@pytest.mark.parametrize(
    ("kind", "statement", "what"),
    [
        ("sidecar", "GRANT SELECT ON symphony.payloads TO symphony_executor", "SELECT table symphony.payloads"),
        ("sidecar", "GRANT SELECT (jti_hash) ON symphony.seen_jti TO symphony_reader", "SELECT column symphony.seen_jti.jti_hash"),
        ("ledger", "GRANT INSERT ON ledger.lines TO symphony_ledger", "INSERT table ledger.lines"),
        ("ledger", "GRANT CREATE ON SCHEMA ledger TO symphony_ledger", "CREATE schema ledger"),
        ("ledger", "GRANT USAGE ON ALL SEQUENCES IN SCHEMA ledger TO symphony_ledger", "USAGE sequence ledger."),
        ("ledger", "GRANT TEMP ON DATABASE {} TO ld_writer", "TEMPORARY database"),
        ("controlplane", "GRANT EXECUTE ON FUNCTION symphony.lock_repository() TO PUBLIC", "EXECUTE function symphony.lock_repository()"),
        ("controlplane", "ALTER DEFAULT PRIVILEGES FOR ROLE cp_owner GRANT SELECT ON TABLES TO cp_reader", "SELECT default r"),
        ("controlplane", "GRANT SET ON PARAMETER session_replication_role TO symphony_control", "SET parameter session_replication_role"),
        ("sidecar", "GRANT USAGE ON SCHEMA public TO sc_reader", "USAGE schema public"),
    ],
)  # fmt: skip
def test_a_right_too_many_is_seen(urls: Mapping[str, str], kind: str, statement: str, what: str) -> None:
    """So the test above can fail, for each kind of thing."""
    wanted = {grantee: set(rights) for grantee, rights in committed()["databases"][kind].items()}
    with psycopg.connect(urls[kind]) as connection:
        connection.execute(statement.format(connection.info.dbname).encode())
        query = (HERE / "privileges.sql").read_bytes()
        more = {right for grantee, right in connection.execute(query) if right not in wanted.get(grantee, ())}
        connection.rollback()
    assert any(right.startswith(what) for right in more), more


def test_a_right_too_few_is_seen(urls: Mapping[str, str]) -> None:
    with psycopg.connect(urls["ledger"]) as connection:
        connection.execute("REVOKE SELECT ON ledger.seals FROM symphony_ledger_reader")
        found = {(who, what) for who, what in connection.execute((HERE / "privileges.sql").read_bytes())}
        connection.rollback()
    wanted = {(who, what) for who, rights in committed()["databases"]["ledger"].items() for what in rights}
    assert wanted - found == {("symphony_ledger_reader", "SELECT table ledger.seals")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_on_a_partition_is_seen(urls: Mapping[str, str], kind: str) -> None:
    query = "SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid WHERE c.relkind = 'r' LIMIT 1"
    role = {"controlplane": "symphony_control", "sidecar": "symphony_reader", "ledger": "symphony_ledger"}[kind]
    with psycopg.connect(urls[kind]) as connection:
        row = connection.execute(query).fetchone()
        assert (row is not None) is (kind == "sidecar"), (
            "only the sidecar has partitions; a new one belongs into this test"
        )
        if row is not None:
            connection.execute(f"GRANT SELECT ON {row[0]} TO {role}".encode())
            rights = {what for who, what in connection.execute((HERE / "privileges.sql").read_bytes()) if who == role}
            assert any(what.endswith(" partition") for what in rights)
        connection.rollback()


def test_there_is_no_other_login_and_no_other_role_sec_03(
    roles: dict[str, tuple[bool, bool, bool, list[str], list[str]]],
) -> None:
    """No ``test_user``, no second way in: the cluster's roles are the list's, and only logins may log in."""
    said = committed()
    named = {name for rights in said["databases"].values() for name in rights} | set(said["logins"])
    assert set(roles) == named
    assert {name for name, role in roles.items() if role[0]} == set(said["logins"])
    assert {name for name, role in roles.items() if role[1]} == set(), (
        "no superuser, no bypass, no replication, no new databases"
    )
    assert {name for name, role in roles.items() if role[2]} == {"cp_owner", "sc_owner", "ld_owner"}


def test_each_login_assumes_exactly_its_roles_and_inherits_none_sec_02(
    roles: dict[str, tuple[bool, bool, bool, list[str], list[str]]],
) -> None:
    assert {name: role[3] for name, role in roles.items() if role[0]} == committed()["logins"]
    assert {name: role[4] for name, role in roles.items() if role[4]} == {}
    assert {name: role[3] for name, role in roles.items() if role[3] and not role[0]} == {}, "a template assumes nobody"
