"""One database and one running ledger for each test file; clock, release and journal start afresh in each test."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psycopg
import pytest

from tests.ledger.support import Certificates, Client, HandFollower, MovingClock, Running, Sidecar, release


@dataclass
class World:
    """What the tests of a file share."""

    database: object
    clock: MovingClock
    sidecar: Sidecar
    follower: HandFollower
    ledger: Running
    since: object = None

    def reset(self) -> None:
        self.clock.offset *= 0
        self.follower.error = None
        self.follower.active = self.follower.published = release([self.sidecar], clock=self.clock)
        self.ledger.ledger.window.withdraw()
        self.ledger.ledger.window.adopt(self.follower.active)
        with psycopg.connect(self.database.admin) as connection:
            (self.since,) = connection.execute("SELECT uuidv7()").fetchone()

    def journal(self) -> list[tuple]:
        """(instruction, side, agent, amount) of everything posted in this test."""
        with psycopg.connect(self.database.admin) as connection:
            return connection.execute(
                "SELECT p.instruction_id::text, l.side, a.agent, l.amount_minor FROM ledger.postings p"
                " JOIN ledger.lines l USING (posting_id) JOIN ledger.accounts a USING (account_id)"
                " WHERE p.posting_id > %s ORDER BY 1, 2 DESC", (self.since,),
            ).fetchall()  # fmt: skip


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("ledger-certificates"))


@pytest.fixture(scope="session")
def client_tls(certificates):
    return certificates.client("adapter")


@pytest.fixture(scope="module")
def database(postgres):
    """A migrated ledger database for the file."""
    made = postgres.new_database("ledger")
    yield made
    postgres.drop(made)


@pytest.fixture(scope="module")
def shared(database, certificates):
    clock = MovingClock()
    sidecar = Sidecar(clock)
    follower = HandFollower(release([sidecar], clock=clock))
    with Running(database.writer, certificates, follower, clock) as running:
        deadline = time.monotonic() + 10
        while running.ledger.window.active is None and time.monotonic() < deadline:
            time.sleep(0.01)
        yield World(database, clock, sidecar, follower, running)


@pytest.fixture
def world(shared):
    shared.reset()
    return shared


@pytest.fixture
def clock(world):
    return world.clock


@pytest.fixture
def sidecar(world):
    return world.sidecar


@pytest.fixture
def follower(world):
    return world.follower


@pytest.fixture
def ledger(world):
    return world.ledger


@pytest.fixture
def connect(request, client_tls):
    """``connect(port, context)`` opens a connection that the test need not close."""

    def opened(port, context=client_tls):
        made = Client(port, context)
        request.addfinalizer(made.close)
        return made

    return opened


@pytest.fixture
def client(ledger, connect):
    return connect(ledger.port)
