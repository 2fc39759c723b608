"""The history of releases: what was active when, races for it, who may touch it, and the officers' commands (POL-02 to POL-04)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import errors

from contracts.canonical import sha256_hex
from contracts.times import parse_rfc3339, rfc3339
from symphony.cli import main
from symphony.release.client import ControlPlane
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT
from tests.releases.test_faces import STATUS
from tests.releases.test_freezing import approved, frozen, together
from tests.releases.test_withdrawing import refused, withdrawn

TABLES: tuple[LiteralString, ...] = ("release_freezes", "release_unfreezes", "release_refusals")
MICROSECOND = timedelta(microseconds=1)
Run = Callable[..., tuple[int, Any]]


def as_of(shared: Running, at: datetime | str) -> dict[str, Any]:
    """What was active at a time."""
    text = at if isinstance(at, str) else rfc3339(at)
    return dict(shared.control("dalitso").get(f"/v1/releases/{ENVIRONMENT}/as-of", at=text))


def database_time(shared: Running) -> datetime:
    ((now,),) = shared.rows("SELECT clock_timestamp()")
    return now.astimezone(UTC)


def test_before_the_first_release_nothing_was_active(shared: Running) -> None:
    assert as_of(shared, database_time(shared))["release"] is None
    before = database_time(shared)
    shared.promoted(approved(shared))
    found = as_of(shared, before)
    assert found["release"] is None
    assert parse_rfc3339(found["first_activated_at"]) > before


def test_at_the_moment_of_a_promotion_it_is_the_new_release(shared: Running) -> None:
    """Half-open intervals without a gap."""
    old, new = approved(shared, cap_minor=2), approved(shared, cap_minor=3)
    for made in (old, new):
        shared.promoted(made)
    moment = parse_rfc3339(as_of(shared, database_time(shared))["release"]["activated"]["at"])
    at, just_before = (as_of(shared, one)["release"] for one in (moment, moment - MICROSECOND))
    assert (at["number"], just_before["number"]) == (new.number, old.number)
    assert at["superseded"] is None
    assert just_before["superseded"]["at"] == rfc3339(moment)
    assert just_before["superseded"]["by"] == new.number
    before_old = as_of(shared, parse_rfc3339(just_before["activated"]["at"]) - MICROSECOND)["release"]
    assert before_old["superseded"]["at"] == just_before["activated"]["at"]


def test_the_answer_names_who_proposed_approved_and_promoted_with_the_envelopes_digests(shared: Running) -> None:
    made = approved(shared, cap_minor=4)
    shared.promoted(made, "chanda")
    shared_rows = shared.rows(
        "SELECT event, actor, envelope FROM symphony.release_events WHERE number = %s AND envelope IS NOT NULL"
        " ORDER BY event_id", made.number,
    )  # fmt: skip
    release = as_of(shared, database_time(shared))["release"]
    assert (release["metadata_digest"], release["policy_digest"]) == (made.digest, sha256_hex(made.files["policy.wasm"]))
    said = [release["proposed"], *release["approvals"], release["activated"]]
    assert [(one["actor"], one["envelope_sha256"]) for one in said] == [
        (actor, sha256_hex(bytes(envelope))) for _, actor, envelope in shared_rows
    ]
    assert [one["key_id"] for one in said] == [shared.world.officer(one["actor"]).key_id for one in said]
    times = [parse_rfc3339(one["at"]) for one in said]
    assert times == sorted(times)


def test_what_was_active_stays_so_after_it_is_withdrawn(shared: Running) -> None:
    old = approved(shared, cap_minor=5)
    shared.promoted(old)
    moment = database_time(shared)
    shared.promoted(approved(shared, cap_minor=6))
    withdrawn(shared, old.number)
    release = as_of(shared, moment)["release"]
    assert (release["number"], release["withdrawn"]["actor"]) == (old.number, "bruno")


@pytest.mark.parametrize("at", ["", "2026-11-27", "2026-11-27T10:00:00", "noon", "9999-12-31T23:59:59-14:00"])
def test_what_is_no_time_is_refused(shared: Running, at: str) -> None:
    refused("REQUEST_INVALID", lambda: as_of(shared, at))


def test_the_future_is_not_told(shared: Running) -> None:
    """A promotion could still come before it."""
    refused("REQUEST_INVALID", lambda: as_of(shared, database_time(shared) + timedelta(minutes=1)), "in the future")
    elsewhere = shared.control("alice")
    refused("NOT_FOUND", lambda: elsewhere.get("/v1/releases/moon/as-of", at=rfc3339(database_time(shared))))


def test_of_two_releases_promoted_at_once_many_times_the_history_is_one_line(shared: Running) -> None:
    """POL-03, D5: one active, numbers only rise, each superseded once, snapshot and timestamp without a gap."""
    one, two = approved(shared, cap_minor=7), approved(shared, cap_minor=8)
    calls = [lambda m=made, n=name: shared.promoted(m, n) for name in ("alice", "bruno", "chanda") for made in (one, two)]
    outcomes = together(*calls)
    assert outcomes[1::2].count("done") == 1
    assert outcomes[0::2].count("done") <= 1
    assert set(outcomes) <= {"done", "RELEASE_STATE"}
    assert shared.rows("SELECT number FROM symphony.policy_versions WHERE is_active") == [(two.number,)]
    assert_one_line(shared)


def assert_one_line(shared: Running) -> None:
    """Activations rise; all but the last are superseded, in this order; versions of the online roles have no gap."""
    events = shared.rows("SELECT event, number FROM symphony.release_events WHERE event IN ('ACTIVE', 'SUPERSEDED') ORDER BY event_id")
    active = [number for event, number in events if event == "ACTIVE"]
    assert active == sorted(set(active))
    assert [number for event, number in events if event == "SUPERSEDED"] == active[:-1]
    for role in ("snapshot", "timestamp"):
        versions = [v for (v,) in shared.rows("SELECT version FROM symphony.tuf_metadata WHERE role = %s ORDER BY version", role)]
        assert versions == list(range(1, len(versions) + 1)), role


def test_of_a_withdrawal_and_a_promotion_at_once_one_wins_and_the_other_is_told(shared: Running) -> None:
    for cap_minor in (9, 10, 11):
        made = approved(shared, cap_minor=cap_minor)
        outcomes = together(lambda m=made: shared.promoted(m), lambda m=made: withdrawn(shared, m.number))
        assert outcomes in (["done", "RELEASE_IN_FORCE"], ["RELEASE_STATE", "done"])
        (status,) = shared.rows("SELECT status FROM symphony.policy_versions WHERE number = %s", made.number)
        assert status == (("ACTIVE",) if outcomes[0] == "done" else ("WITHDRAWN",))
    assert_one_line(shared)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", ["INSERT INTO symphony.{} DEFAULT VALUES", "DELETE FROM symphony.{}",
                                       "UPDATE symphony.{} SET actor = 'x'", "TRUNCATE symphony.{} CASCADE"],
                         ids=["insert", "delete", "update", "truncate"])  # fmt: skip
def test_direct_dml_on_freezes_and_refusals_is_refused_to_the_services_role(
    shared: Running, table: str, statement: str
) -> None:
    """POL-04: by function only."""
    assert shared.database is not None
    with psycopg.connect(shared.database.writer) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("SET LOCAL ROLE symphony_control")
        connection.execute(statement.format(table).encode())


def test_even_the_owner_edits_neither_freezes_nor_refusals_and_no_withdrawal_is_taken_back(shared: Running) -> None:
    assert shared.database is not None
    made = approved(shared, cap_minor=12)
    one = frozen(shared, ends_at=shared.world.clock.now() + timedelta(seconds=1))
    refused("RELEASE_FROZEN", lambda: shared.promoted(made))
    shared.world.clock.moved += timedelta(seconds=2)
    withdrawn(shared, made.number)
    statements: list[LiteralString] = [
        "UPDATE symphony.release_freezes SET ends_at = starts_at + interval '1 second'",
        "DELETE FROM symphony.release_freezes",
        "DELETE FROM symphony.release_refusals",
        "UPDATE symphony.release_refusals SET reason_code = 'X'",
        "TRUNCATE symphony.release_freezes CASCADE",
        "TRUNCATE symphony.release_unfreezes",
        "TRUNCATE symphony.release_refusals",
        "UPDATE symphony.policy_versions SET status = 'APPROVED' WHERE status = 'WITHDRAWN'",
        "UPDATE symphony.policy_versions SET status = 'SUPERSEDED' WHERE status = 'WITHDRAWN'",
    ]
    assert one["number"] >= 1
    with psycopg.connect(shared.database.owner) as connection:
        for statement in statements:
            with pytest.raises(errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement)


def test_an_officers_refusals_of_a_day_are_bounded_and_the_same_one_is_kept_once(shared: Running) -> None:
    """Nobody fills the log by asking for what he is refused."""
    assert shared.database is not None
    keep: LiteralString = (
        "SELECT symphony.keep_release_refusal('sandbox', 'promote', 1, 'RELEASE_STATE', 'x', 'x', repeat('c', 64), %s, 2)"
    )
    with psycopg.connect(shared.database.writer) as connection:
        connection.execute("SET LOCAL ROLE symphony_control")
        kept = [connection.execute(keep, (envelope,)).fetchone() for envelope in (b"1", b"1", b"2", b"3")]
        connection.rollback()
    assert kept == [(True,), (False,), (True,), (False,)]


def test_no_function_of_the_store_takes_anything_away(shared: Running) -> None:
    """Retention is by law: nothing prunes versions, whatever their number; nobody has a right to."""
    assert shared.database is not None
    functions: LiteralString = (
        "SELECT p.proname, p.prosrc ~* '\\m(delete\\s+from|truncate|drop)\\M' FROM pg_proc AS p"
        " WHERE p.pronamespace = 'symphony'::regnamespace"
    )
    rights: LiteralString = (
        "SELECT r.rolname, c.relname FROM pg_class AS c CROSS JOIN pg_roles AS r"
        " WHERE c.relnamespace = 'symphony'::regnamespace AND c.relkind IN ('r', 'p') AND r.rolname LIKE 'symphony_control%'"
        " AND has_table_privilege(r.oid, c.oid, 'DELETE, TRUNCATE')"
    )
    with psycopg.connect(shared.database.owner) as connection:
        found = connection.execute(functions).fetchall()
        assert len(found) >= 20
        assert [name for name, takes_away in found if takes_away] == ["report_opa_status"], "the last word of a stock OPA, no history"
        assert connection.execute(rights).fetchall() == []


@pytest.fixture
def run(shared: Running, capsys: pytest.CaptureFixture[str]) -> Run:
    """``symphony release …`` on the shared control plane; exit code and what it said, JSON where it is."""
    folder = shared.world.folder
    (folder / "ca").mkdir(exist_ok=True)
    (folder / "ca" / "processes.pem").write_bytes(shared.ca.read_bytes())
    ports = {"controlplane": int(shared.url.rpartition(":")[2]), "ledger": 1, "acceptor": 1}
    (folder / "stack.json").write_text(json.dumps({"ports": ports, "sockets": str(folder)}))

    def call(*arguments: Any) -> tuple[int, Any]:
        code = main(["release", *map(str, arguments), "--dir", str(folder)])
        said = capsys.readouterr()
        return code, json.loads(said.out) if "json" in arguments else said.out + said.err

    return call


def active_number(shared: Running) -> int:
    """The active release; one is promoted where there is none yet."""
    active: LiteralString = "SELECT number FROM symphony.policy_versions WHERE is_active"
    if not shared.rows(active):
        shared.promoted(approved(shared))
    return int(shared.rows(active)[0][0])


WHY = ("--as", "bruno", "--reason", "not this one")


def test_the_withdrawal_at_the_command_line(shared: Running, run: Run) -> None:
    made = approved(shared, cap_minor=13)
    code, text = run("withdraw", made.number, *WHY)
    assert code == 1, text
    assert f"release {made.number} is WITHDRAWN" in text
    assert "RELEASE_NOT_REVOKED" in text
    assert "--security-as" in text
    code, text = run("withdraw", made.number, *WHY, "--security-as", "nobody")
    assert (code, "but esnart" in text) == (2, True)
    code, said = run("withdraw", made.number, *WHY, "--security-as", "esnart", "-o", "json")
    assert (code, said) == (0, {"number": made.number, "status": "WITHDRAWN", "revocation": "published"})
    active = active_number(shared)
    code, text = run("withdraw", active, *WHY, "--security-as", "esnart")
    assert code == 1
    assert "RELEASE_IN_FORCE" in text
    assert "release renew" in text


def test_a_release_that_a_service_still_runs_is_revoked_only_by_who_says_so(shared: Running, run: Run) -> None:
    """A service that refused the next release runs the superseded one: its revocation stops it."""
    old = approved(shared, cap_minor=14)
    shared.promoted(old)
    service = ControlPlane(shared.url, shared.service_context())
    service.post("/v1/fleet/status", {**STATUS, "active": {"number": old.number, "metadata_digest": old.digest}})
    shared.promoted(approved(shared, cap_minor=15))
    asked = ("withdraw", old.number, *WHY, "--security-as", "esnart")
    code, text = run(*asked)
    assert code == 1
    assert "is withdrawn and not revoked: reference-rail (" in text
    assert "--stop-running" in text
    code, text = run(*asked, "--stop-running")
    assert (code, "its signed metadata is revoked" in text) == (0, True)


def test_the_freeze_at_the_command_line(shared: Running, run: Run) -> None:
    code, text = run("freeze", *WHY, "--until", "soon")
    assert (code, "no time with its zone" in text) == (2, True)
    code, one = run("freeze", *WHY, "-o", "json")
    assert (code, one["state"]) == (0, "IN_FORCE")
    code, text = run("freezes")
    assert "promotions are frozen" in text
    code, text = run("unfreeze", *WHY)
    assert (code, "FREEZE_OWN" in text) == (1, True)
    for name, state in (("alice", "IN_FORCE"), ("chanda", "LIFTED")):
        code, text = run("unfreeze", one["number"], "--as", name, "--reason", "it is over")
        assert (code, f"freeze {one['number']} is {state}" in text) == (0, True)
    code, said = run("freezes", "-o", "json")
    assert (code, said["frozen"]) == (0, False)
    code, text = run("unfreeze", "--as", "alice", "--reason", "it is over")
    assert (code, "not over: none" in text) == (1, True)


def test_the_renewal_and_the_history_at_the_command_line(shared: Running, run: Run) -> None:
    active = active_number(shared)
    code, text = run("renew", *WHY)
    assert (code, f"the digests of release {active}, which is active" in text) == (0, True)
    code, text = run("as-of", "--at", rfc3339(database_time(shared)))
    assert (code, text.startswith(f"release {active}, metadata ")) == (0, True)
    assert text.count("  approved ") == 2
    code, text = run("as-of", "--at", "2001-01-01T00:00:00Z")
    assert (code, "became active at" in text) == (1, True)
    code, said = run("as-of", "--at", "2001-01-01T02:00:00+02:00", "-o", "json")
    assert (code, said["at"], said["release"]) == (1, "2001-01-01T00:00:00.000000Z", None)
