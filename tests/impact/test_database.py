"""The report on a real database: equal to an independent SQL answer to the unit, under a role that sees inputs only."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from contracts.errors import CannotEvaluate
from symphony.impact import run, source
from symphony.impact.model import ALLOW_TO_DENY, CHANGES, DENY_TO_ALLOW, REPLAYED, Counts
from tests.impact.support import AMOUNT_MAX, CAP_NOW, CAP_THEN, Payment, candidate, made_up, record, spread
from tests.sidecar.rows import Bench

LOWERED = {"ZMW": CAP_NOW, "USD": CAP_NOW - 1, "JPY": 1}
RAISED = {"KES": AMOUNT_MAX}

BY_SQL = """
SELECT i.participant_id, i.rail, i.currency, floor(extract(epoch FROM i.created_at) / 3600)::bigint, count(*), sum(i.amount_minor)
FROM symphony.payment_instructions AS i JOIN (SELECT * FROM unnest(%s::text[], %s::bigint[])) AS cap (currency, minor) USING (currency)
WHERE i.decision = %s AND (i.amount_minor > cap.minor) = %s AND i.created_at >= now() - interval '7 days'
GROUP BY 1, 2, 3, 4
"""


def by_sql(bench: Bench, caps: dict[str, int], decision: str, above: bool) -> dict[tuple[object, ...], list[int]]:
    rows = bench.admin.do(BY_SQL, list(caps), list(caps.values()), decision, above)
    return {tuple(row[:4]): [int(row[4]), int(row[5])] for row in rows}


def changed(counts: Counts, what: str) -> dict[tuple[object, ...], list[int]]:
    return counts.by(what, (0, 1, 2, 3))


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small slices and fetches, as a large window has."""
    monkeypatch.setattr(source, "SLICE_ROWS", 40)
    monkeypatch.setattr(source, "FETCH_ROWS", 7)


@pytest.mark.usefixtures("slices")
def test_flips_are_those_of_an_independent_sql_answer_to_the_unit(bench: Bench) -> None:
    record(bench, list(made_up(400)))
    spread(bench, 9 * 24)
    caps = dict.fromkeys(("ZMW", "USD", "JPY", "KES"), CAP_THEN) | LOWERED | RAISED
    counts = run.replay(bench.database.reader, candidate(caps), 7).counts
    denied, allowed = by_sql(bench, caps, "ALLOW", above=True), by_sql(bench, caps, "REFUSED", above=False)
    assert len(denied) > 50, "the test compares too little"
    assert len(allowed) > 10, "the test compares too little"
    assert changed(counts, ALLOW_TO_DENY) == denied
    assert changed(counts, DENY_TO_ALLOW) == allowed
    assert 0 < counts.recorded < 400, "some lie before the window"
    assert counts.recorded == sum(count for count, _ in changed(counts, REPLAYED).values())


def test_other_processes_count_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    record(bench, list(made_up(300, seed=6)))
    spread(bench, 48)
    monkeypatch.setattr(source, "SLICE_ROWS", 40)
    moved: list[int] = []
    here = run.replay(bench.database.reader, candidate(LOWERED), 7)
    there = run.replay(bench.database.reader, candidate(LOWERED), 7, here_max=0, processes=2, moved=moved.append)
    assert there.counts == here.counts
    assert len(moved) > 2
    assert sum(moved) == here.window.rows == 300


def test_who_stops_it_leaves_no_process_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    record(bench, list(made_up(100, seed=8)))
    spread(bench, 48)
    monkeypatch.setattr(source, "SLICE_ROWS", 5)

    def stop(_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.replay(bench.database.reader, candidate(), 7, here_max=0, processes=2, moved=stop)
    assert not multiprocessing.active_children()


def test_the_same_policy_and_data_change_nothing(bench: Bench) -> None:
    record(bench, list(made_up(200, seed=7)))
    counts = run.replay(bench.database.reader, candidate(), 7).counts
    assert sum(total[0] for total in changed(counts, REPLAYED).values()) == 200
    assert not [change for change in CHANGES if changed(counts, change)]


def test_what_is_recorded_after_the_snapshot_is_left_for_the_next_report(bench: Bench) -> None:
    record(bench, [Payment(amount=1)])
    with source.connected(bench.database.reader) as connection:
        found = source.window(connection, 7)
        record(bench, [Payment(amount=2)])
        with source.connected(bench.database.reader, found.snapshot) as another:
            assert [row[5] for part in found.slices for rows in source.rows(another, part) for row in rows] == [1]


@pytest.mark.parametrize("column", ["raw", "salt", "*"])
def test_the_role_reads_no_message_and_no_salt(bench: Bench, column: str) -> None:
    with psycopg.connect(bench.database.reader) as connection:
        connection.execute("SET LOCAL ROLE symphony_replay")
        wanted = sql.SQL("*") if column == "*" else sql.Identifier(column)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(sql.SQL("SELECT {} FROM symphony.payloads").format(wanted))


def test_the_reading_role_without_it_reads_no_input(bench: Bench) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        bench.reader.do("SELECT decision_input FROM symphony.payloads")


def test_a_database_that_does_not_answer_is_no_empty_one() -> None:
    with pytest.raises(CannotEvaluate) as caught:
        run.replay("postgresql://127.0.0.1:1/nothing", candidate(), 7)
    assert caught.value.code == "STORE_UNAVAILABLE"


def test_a_candidate_that_does_not_load_is_no_candidate_that_changes_nothing(bench: Bench) -> None:
    record(bench, [Payment()])
    with pytest.raises(CannotEvaluate) as caught:
        run.replay(bench.database.reader, replace(candidate(), wasm=b"\0asm"), 7)
    assert caught.value.code == "RELEASE_ENGINE"
