"""The spool of what an open breaker shed: nothing is lost between reading and removing, nor behind a torn line (D2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sidecar.store.breaker import Spool

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
CODE = "STORE_BREAKER_OPEN"


def counted(spool: Spool) -> object:
    """How many refusals a reading gives."""
    read = spool.read()
    return None if read is None else read["count"]


def test_what_is_shed_while_the_aggregate_is_being_recorded_is_in_the_next_one(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "shed.spool")
    spool.add(CODE, 3, START)
    assert counted(spool) == 3
    spool.add(CODE, 4, START + timedelta(seconds=2))
    spool.clear()
    assert counted(spool) == 4
    spool.clear()
    assert counted(spool) is None


def test_an_aggregate_that_could_not_be_recorded_is_read_again_also_by_the_next_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "shed.spool")
    spool.add(CODE, 3, START)
    assert counted(spool) == 3
    spool.add(CODE, 4, START + timedelta(seconds=2))
    after = Spool(tmp_path / "shed.spool")
    assert counted(after) == 3
    after.clear()
    assert counted(after) == 4


def test_a_line_after_a_torn_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "shed.spool"
    path.write_bytes(b'\n{"at": "2026-11-24T12:00:00.000000Z", "codes": {"X": \xff')
    Spool(path).add(CODE, 5, START)
    assert counted(Spool(path)) == 5


def test_a_file_with_nothing_whole_in_it_is_removed_and_blocks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "shed.spool"
    path.write_bytes(b'{"at"')
    spool = Spool(path)
    assert counted(spool) is None
    assert list(tmp_path.iterdir()) == []
    spool.add(CODE, 5, START)
    assert counted(spool) == 5
