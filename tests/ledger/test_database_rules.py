"""The database holds its rules against everybody, the service's own login first (D11, INV-005 to 008, NEG)."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from contracts.errors import CannotEvaluate, NotTrusted
from services.ledger import invariants

TABLES = {"accounts": "agent", "postings": "rail", "lines": "side", "permit_marks": "epoch", "seals": "epoch",
          "accepted_releases": "number", "refusals": "count"}  # fmt: skip
MUTATIONS = ("UPDATE ledger.{} SET {column} = {column}", "DELETE FROM ledger.{}", "TRUNCATE ledger.{}")
POST = (
    "SELECT outcome, posting_id FROM ledger.post(%s::uuid[], %s::bigint[], %s::bigint[], %s::bytea[], %s::text[],"
    " %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::date[], %s::bigint[], %s::text[], %s::bytea[],"
    " %s::bytea[], %s::boolean[])"
)
DIGEST = b"\x01" * 32


def post_one(connection, instruction=..., **changes):
    values = {
        "instruction": uuid4() if instruction is ... else instruction,
        "epoch": 1, "attempt": 1, "request": DIGEST, "kind": "transfer",
        "rail": "iso20022", "amount": 5, "currency": "ZMW", "debit": "AAAAAAAAXXX", "credit": "BBBBBBBBXXX",
        "settlement": None, "release": 1, "sidecar": "zm-rail", "key": DIGEST, "leaf": DIGEST, "admitted": True,
        **changes,
    }  # fmt: skip
    return connection.execute(POST, [[value] for value in values.values()]).fetchone()


@pytest.fixture
def writer(database):
    with psycopg.connect(database.writer, autocommit=True) as connection:
        connection.execute("SET ROLE symphony_ledger")
        yield connection


@pytest.fixture
def owner(database):
    with psycopg.connect(database.owner) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def filled(writer):
    """A row in every table."""
    post_one(writer)
    writer.execute(
        "SELECT ledger.seal(%s::uuid[], '{1}', '{1}', %s::bytea[], '{1}', '{zm-rail}', %s::bytea[])",
        ([uuid4()], [DIGEST], [DIGEST]),
    )
    writer.execute("SELECT ledger.accept_release(1, %s)", ("0" * 64,))
    writer.execute("SELECT ledger.record_refusals('{PERMIT_MISSING}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{1}')")


def denied(connection, statement):
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(statement)
    return caught.value.sqlstate


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", [
    *MUTATIONS, "SELECT * FROM ledger.{}", "INSERT INTO ledger.{} DEFAULT VALUES",
    "ALTER TABLE ledger.{} DISABLE TRIGGER ALL", "DROP TABLE ledger.{}",
    "ALTER TABLE ledger.{} ADD COLUMN more integer", "CREATE INDEX ON ledger.{} ({column})",
    "CREATE TRIGGER mine BEFORE INSERT ON ledger.{} FOR EACH ROW EXECUTE FUNCTION ledger.deny_mutation()",
    "DO $$ BEGIN LOCK TABLE ledger.{}; END $$", "COPY ledger.{} TO STDOUT",
])
def test_the_service_has_no_way_to_a_table_but_the_functions(writer, filled, table, statement):
    assert denied(writer, statement.format(table, column=TABLES[table])) == "42501"


@pytest.mark.parametrize("statement", [
    "CREATE TABLE ledger.mine (a integer)", "CREATE TABLE public.mine (a integer)",
    "CREATE TEMPORARY TABLE mine (a integer)", "CREATE SCHEMA mine",
    "CREATE FUNCTION ledger.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE mine", "GRANT symphony_ledger_reader TO symphony_ledger", "SET ROLE ld_owner",
    "ALTER FUNCTION ledger.highest_release SECURITY INVOKER", "SET session_replication_role = replica",
    "CREATE OR REPLACE FUNCTION ledger.deny_mutation() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
])
def test_the_service_can_create_and_change_nothing(writer, statement):
    assert denied(writer, statement) == "42501"


def test_a_login_without_its_role_can_do_nothing(database):
    with psycopg.connect(database.writer, autocommit=True) as connection:
        assert denied(connection, "SELECT * FROM ledger.highest_release()") == "42501"


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", MUTATIONS)
def test_even_the_owner_cannot_change_or_remove_a_row(owner, filled, table, statement):
    assert denied(owner, statement.format(table, column=TABLES[table])) == "42501"


def test_a_mark_never_goes_back_even_for_the_owner(owner, writer):
    instruction = uuid4()
    post_one(writer, instruction, epoch=3, attempt=3)
    lower = f"UPDATE ledger.permit_marks SET attempt = 2 WHERE instruction_id = '{instruction}'"
    assert denied(owner, lower) == "42501"




def bare_posting(owner):
    return owner.execute(
        "INSERT INTO ledger.postings SELECT i, uuidv7(), 'post', 'transfer', 'iso20022', 5, 'ZMW', NULL, %s,"
        " 1, 1, 1, 'zm', %s, %s, uuid_extract_timestamp(i) FROM uuidv7() AS n (i) RETURNING posting_id", [DIGEST] * 3,
    ).fetchone()[0]  # fmt: skip


def accounts(owner):
    rows = owner.execute(
        "INSERT INTO ledger.accounts (agent, currency, opened_release) VALUES ('OTHR:1', 'ZMW', 1),"
        " ('OTHR:2', 'ZMW', 1), ('OTHR:3', 'USD', 1) RETURNING account_id"
    ).fetchall()
    return [row[0] for row in rows]


@pytest.mark.parametrize("lines", [
    [("D", 0, -5)],  # one line
    [("D", 0, -5), ("C", 1, 4)],  # does not balance
    [("D", 0, -4), ("C", 1, 4)],  # balances, of another amount
    [("D", 0, -5), ("C", 2, 5)],  # an account of another currency
    [("D", 0, -5), ("C", 99, 5)],  # no such account
    [("D", 0, 5), ("C", 1, -5)],  # the wrong way round
    [("D", 0, -5), ("D", 1, -5)],
    [("C", 0, 5), ("C", 1, 5)],
])
def test_lines_that_are_not_a_balanced_pair_are_refused_even_from_the_owner(owner, lines):
    with pytest.raises(psycopg.errors.IntegrityError):
        identifier, ids = bare_posting(owner), [*accounts(owner), *[2**40] * 97]
        values = ", ".join(f"('{identifier}', '{side}', {ids[n]}, {amount})" for side, n, amount in lines)
        owner.execute(f"INSERT INTO ledger.lines VALUES {values}")


def test_a_posting_without_lines_does_not_commit(owner):
    bare_posting(owner)
    with pytest.raises(psycopg.errors.CheckViolation, match="two lines"):
        owner.commit()


def test_a_second_pair_cannot_be_added_to_a_posting(owner, writer):
    _, identifier = post_one(writer)
    first, second, _ = accounts(owner)
    with pytest.raises(psycopg.errors.UniqueViolation):
        owner.execute(
            f"INSERT INTO ledger.lines VALUES ('{identifier}', 'D', {first}, -5), ('{identifier}', 'C', {second}, 5)"
        )


@pytest.mark.parametrize("changes", [
    {"amount": 0}, {"amount": 2**53}, {"amount": None}, {"currency": "zmw"}, {"debit": "A"}, {"debit": None},
    {"release": 0}, {"request": b"short"}, {"key": b""}, {"epoch": -1}, {"kind": "other"}, {"instruction": None},
])
def test_an_unusable_item_rolls_the_whole_call_back(writer, owner, changes):
    instruction = changes.get("instruction", uuid4())
    with pytest.raises((psycopg.errors.IntegrityError, psycopg.errors.DataError)):
        post_one(writer, **({"instruction": instruction} | changes))
    for table in ("permit_marks", "postings"):
        assert owner.execute(
            f"SELECT count(*) FROM ledger.{table} WHERE instruction_id IS NOT DISTINCT FROM %s", (instruction,)
        ).fetchone() == (0,)


def test_one_instruction_stands_once_in_a_call(writer):
    instruction = uuid4()
    with pytest.raises(psycopg.errors.CardinalityViolation):
        writer.execute(POST, [[value, value] for value in (
            instruction, 1, 1, DIGEST, "transfer", "iso20022", 5, "ZMW", "AAAAAAAAXXX", "BBBBBBBBXXX", None, 1, "zm",
            DIGEST, DIGEST, True,
        )])  # fmt: skip


def test_every_definer_function_pins_its_search_path_and_is_closed_to_public(owner):
    rows = owner.execute(
        "SELECT p.proname, p.prosecdef, p.proconfig, p.proacl::text FROM pg_proc AS p"
        " WHERE p.pronamespace = 'ledger'::regnamespace"
    ).fetchall()
    assert {"post", "seal", "accept_release"} <= {row[0] for row in rows}
    for name, definer, settings, rights in rows:
        assert "search_path=pg_catalog, ledger, pg_temp" in settings, name
        assert rights is not None, name
        assert "{=X" not in rights, name
        assert ",=X" not in rights, name
        assert definer or name.startswith(("deny_", "check_")), name


def test_every_table_is_guarded_against_truncate_update_and_delete(owner):
    rows = owner.execute(
        "SELECT c.relname, bool_or(t.tgtype & 32 <> 0), bool_or(t.tgtype & 16 <> 0), bool_or(t.tgtype & 8 <> 0)"
        " FROM pg_class AS c LEFT JOIN pg_trigger AS t ON t.tgrelid = c.oid AND NOT t.tgisinternal"
        " WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'p') GROUP BY 1"
    ).fetchall()
    assert {row[0]: row[1:] for row in rows} == dict.fromkeys(TABLES, (True, True, True))


def test_a_search_path_of_the_callers_changes_nothing(writer):
    writer.execute("SET search_path = pg_temp, public")
    assert post_one(writer)[0] == "POSTED"


def test_the_reader_reads_and_nothing_else(database, filled):
    with psycopg.connect(database.reader, autocommit=True) as connection:
        connection.execute("SET ROLE symphony_ledger_reader")
        for table in TABLES:
            assert connection.execute(f"SELECT count(*) FROM ledger.{table}").fetchone() >= (1,)
        assert connection.execute("SELECT count(*) FROM ledger.read_accounts(0, 10)").fetchone() >= (2,)
        for call in ("ledger.post" + str((None,) * 16).replace("None", "NULL"), "ledger.accept_release(9, 'x')"):
            assert denied(connection, f"SELECT {call}") == "42501"


def test_the_record_of_releases_only_rises(writer):
    accept = "SELECT ledger.accept_release(%s, %s)"
    for number, digest, outcome in (
        (5, "a", "ACCEPTED"), (5, "a", "ACCEPTED"), (5, "b", "RELEASE_FORKED"), (4, "a", "RELEASE_ROLLBACK"),
        (9, "c", "ACCEPTED"), (5, "a", "RELEASE_ROLLBACK"),
    ):
        assert writer.execute(accept, (number, digest * 64)).fetchone() == (outcome,)
    assert writer.execute("SELECT * FROM ledger.highest_release()").fetchone() == (9, "c" * 64)


def test_the_compiled_in_invariants_hold_and_name_what_does_not(database):
    assert invariants.check(database.writer) == sorted(invariants.SEVERITIES)
    for breach, mend, named in (
        ("ALTER TABLE ledger.lines DISABLE TRIGGER trg_lines_not_truncated",
         "ALTER TABLE ledger.lines ENABLE TRIGGER ALL", "INV-029"),
        ("GRANT SELECT ON ledger.seals TO PUBLIC", "REVOKE SELECT ON ledger.seals FROM PUBLIC", "INV-005"),
        ("ALTER ROLE ld_writer CREATEDB", "ALTER ROLE ld_writer NOCREATEDB", "INV-007"),
        ("GRANT UPDATE ON ledger.seals TO symphony_ledger",
         "REVOKE UPDATE ON ledger.seals FROM symphony_ledger", "INV-010"),
        ("GRANT CREATE ON SCHEMA ledger TO symphony_ledger",
         "REVOKE CREATE ON SCHEMA ledger FROM symphony_ledger", "INV-006"),
        ("ALTER FUNCTION ledger.highest_release RESET search_path",
         "ALTER FUNCTION ledger.highest_release SET search_path = pg_catalog, ledger, pg_temp", "INV-008"),
    ):  # fmt: skip
        with psycopg.connect(database.admin, autocommit=True) as connection:
            connection.execute(breach)
            try:
                with pytest.raises(NotTrusted, match=f"RELEASE_INVARIANT: does not hold here: {named}: [^|]*$"):
                    invariants.check(database.writer)
            finally:
                connection.execute(mend)
    assert len(invariants.check(database.writer)) == len(invariants.SEVERITIES)


def test_invariants_that_could_not_be_asked_do_not_hold():
    with pytest.raises(CannotEvaluate, match="could not be evaluated"):
        invariants.check("postgresql://nobody@127.0.0.1:1/none")
