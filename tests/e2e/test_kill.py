"""Step 5 of the story: SIGKILL in the middle of payments, at chosen stations, and the count afterwards (D7, OUT-10, INV-012).

A kill counts only when a payment was then in the state that the station names, which is read from the databases while
the writer stands still: between accept and commit, claimed, sent without an answer, answered and not committed.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from contracts.errors import SymphonyError
from symphony.participant import Participant
from symphony.stack import prepare
from symphony.stack.reconcile import take
from tests.e2e.support import AGENTS, Stack, message, stopped, until

KILLS_PER_STATION = 5
PAYMENTS = 15
CLIENTS = 8
A_CALL_BYTES_MIN = 1_000  # a posting and its permit are more, the close of an idle connection is less
ANSWERED_S_MAX = 60
BETWEEN_ACCEPT_AND_COMMIT = """
    SELECT count(*) FROM pg_stat_activity WHERE application_name = 'symphony-writer' AND state = 'idle in transaction'
"""
IN_HAND = """
    SELECT l.outbox_id::text AS id FROM symphony.outbox_leases AS l
    WHERE NOT EXISTS (SELECT 1 FROM symphony.payment_terminals AS t WHERE t.outbox_id = l.outbox_id)
        AND EXISTS (SELECT 1 FROM symphony.payment_outbox_attempts AS a WHERE a.outbox_id = l.outbox_id AND a.state = 'DISPATCHING')
"""
POSTED = "SELECT instruction_id::text AS id, count(*) AS n FROM ledger.postings WHERE purpose = 'post' GROUP BY instruction_id"
STATES = """
    SELECT i.instruction_id::text AS id, i.participant_id, i.idempotency_key, i.sequence_id, s.state
    FROM symphony.payment_instructions AS i JOIN symphony.instruction_states AS s USING (instruction_id)
    WHERE i.decision = 'ALLOW'
"""
NUMBERS = "SELECT count(*) AS n, count(DISTINCT stream_seq) AS d, min(stream_seq) AS low, max(stream_seq) AS high FROM symphony.evidence_records"
ENDED = {"SUCCEEDED", "FAILED"}


@dataclass
class Load:
    """Payments sent at once, each until it is answered; ``accepted`` maps idempotency keys to instruction ids."""

    stack: Stack
    accepted: dict[str, str] = field(default_factory=dict)
    unanswered: int = 0
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(CLIENTS))
    _closing: ExitStack = field(default_factory=ExitStack)
    _clients: list[Participant] = field(default_factory=list)

    def __enter__(self) -> Load:
        for name in AGENTS:
            client = Participant(self.stack.layout, name)
            self._closing.callback(client.close)
            self._clients.append(client)
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._closing.close()

    def send(self, count: int = PAYMENTS) -> list[Future[None]]:
        """Begin to send."""
        return [self._pool.submit(self._one, self._clients[n % len(self._clients)]) for n in range(count)]

    def _one(self, client: Participant) -> None:
        key, raw = str(uuid.uuid4()), message("3.00", sender=AGENTS[client.name], receiver="KFUBZMLKXXX")
        deadline = time.monotonic() + ANSWERED_S_MAX
        while time.monotonic() < deadline:
            try:
                reply = client.submit(raw, key=key)
            except SymphonyError:
                reply = None
            if reply is not None and reply.status == 202:
                (self.accepted[key],) = reply.accepted
                return
            assert reply is None or reply.status == 503, (reply.status, reply.body)
            self.unanswered += 1
            time.sleep(0.05)
        raise AssertionError("a payment was not answered in time")

    def count(self) -> None:
        """Each accepted payment posted exactly once, none lost, no gap; what was acknowledged is among them."""
        states = until(self._all_ended, timeout_s=40, what="the end of every payment")
        keys = {row["idempotency_key"]: row["id"] for row in states}
        assert len(keys) == len(states), "an idempotency key has two instructions"
        assert self.accepted.items() <= keys.items(), "an acknowledged payment is lost"
        posted = {row["id"]: row["n"] for row in self.stack.rows("ledger", POSTED)}
        ours = {row["id"] for row in states}
        assert posted.keys() & ours == ours == {one for one in ours if posted[one] == 1}
        for participant in {row["participant_id"] for row in states}:
            numbers = sorted(row["sequence_id"] for row in states if row["participant_id"] == participant)
            assert numbers == list(range(1, len(numbers) + 1)), f"a gap in the numbers of {participant}"
        found = self.stack.row("sidecar", NUMBERS)
        assert found["n"] == found["d"] == found["high"] - found["low"] + 1, "a gap in the evidence stream"
        judged = take(self.stack.layout)
        assert judged["ok"], judged["problems"]

    def _all_ended(self) -> list[dict[str, str]]:
        rows = self.stack.rows("sidecar", STATES)
        left = Counter(row["state"] for row in rows if row["state"] not in ENDED)
        if left:
            raise AssertionError(dict(left))
        return rows


def between_accept_and_commit(stack: Stack) -> bool:
    with psycopg.connect(prepare.database(stack.layout).admin_url()) as connection:
        return connection.execute(BETWEEN_ACCEPT_AND_COMMIT).fetchone() == (1,)


def claimed_and_not_sent(stack: Stack) -> bool:
    held = {row["id"] for row in stack.rows("sidecar", IN_HAND)}
    return bool(held - {row["id"] for row in stack.rows("ledger", POSTED)})


def sent_and_not_answered(stack: Stack) -> bool:
    """The call has left, lies unread at the ledger (stopped for this), and nothing of it is posted."""
    return claimed_and_not_sent(stack) and unread_at(urlsplit(stack.layout.url("ledger")).port or 0) >= A_CALL_BYTES_MIN


def unread_at(port: int) -> int:
    """Bytes that lie unread in the sockets of a local port (``/proc/net/tcp``, proc(5))."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    established = (row for row in rows if row[3] == "01" and int(row[1].rpartition(":")[2], 16) == port)
    return sum(int(row[4].rpartition(":")[2], 16) for row in established)


def posted_and_not_recorded(stack: Stack) -> bool:
    held = {row["id"] for row in stack.rows("sidecar", IN_HAND)}
    return bool(held & {row["id"] for row in stack.rows("ledger", POSTED)})


STATIONS: dict[str, Callable[[Stack], bool]] = {
    "record.before_commit": between_accept_and_commit,
    "dispatch.claimed": claimed_and_not_sent,
    "dispatch.sent": sent_and_not_answered,
    "dispatch.answered": posted_and_not_recorded,
}
UNANSWERED = {"dispatch.sent"}  # the ledger stands still meanwhile: it has the call and has done nothing of it


def kill_at(stack: Stack, load: Load, station: str) -> None:
    """Stop the writer at the station with payments under way, see that one is in that state, SIGKILL it."""
    point = stack.folder / "points" / station
    hit = point.with_name(f"{station}.hit")
    hit.unlink(missing_ok=True)
    writer = stack.pid("writer")
    with stopped(stack.pid("ledger")) if station in UNANSWERED else nullcontext():
        point.touch()
        sent = load.send()
        try:
            until(hit.exists, timeout_s=30, what=station)
            until(lambda: STATIONS[station](stack), timeout_s=10, what=f"a payment {STATIONS[station].__name__}")
            assert Path(f"/proc/{writer}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        finally:
            point.unlink(missing_ok=True)
            os.kill(writer, signal.SIGKILL)  # also when this run does not count: a stopped writer would hold everything up
    for future in sent:
        future.result()


@pytest.mark.story
@pytest.mark.timeout(300)
@pytest.mark.parametrize("station", STATIONS)
def test_each_accepted_payment_is_posted_exactly_once_whatever_station_is_killed(crash_stack: Stack, station: str) -> None:
    times = []
    for _ in range(KILLS_PER_STATION):
        begun = time.monotonic()
        with Load(crash_stack) as load:
            kill_at(crash_stack, load, station)
            load.count()
        times.append(time.monotonic() - begun)
    print(f"{station}: {KILLS_PER_STATION} kills, {max(times):.1f} s the longest")
