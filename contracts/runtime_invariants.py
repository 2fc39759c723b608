"""The invariants that a running service asks of its own database and keys (issue 6, design sections 4 and 10).

Rules:

* what is asked is compiled in, by id; a release brings parameters, never code;
* at start one that does not hold, or cannot be asked, is a refusal to start, with what is wrong and the next step;
* while running they are asked every few minutes, off the hot path, in bounded time. A P0 that does not hold halts the
  service (PIL-05), a P1 is a warning. One that could not be asked is not a violation; ``UNKNOWN_MAX`` times in a row the
  service is not ready;
* a halt ends only by a later look in which everything holds again. That is right without a person's word here: the
  database is mended by an operator under his own login, and both looks are evidence; a process that is started again
  asks the same, so a restart is no way around.
"""

from __future__ import annotations

import asyncio
import logging
import stat
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from os import geteuid
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from cryptography import x509
from psycopg.conninfo import make_conninfo

from contracts.errors import CannotEvaluate, NotTrusted, SymphonyError
from contracts.named_sql import queries

RUNTIME_CHECK_INTERVAL_S = 180.0
"""How often a running service asks; local configuration may only ask more often."""
INTERVAL_MIN_S = 0.05
STATEMENT_TIMEOUT_MS = 3000
CONNECT_TIMEOUT_S = 5
DEAD_PEER: Mapping[str, int] = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A server that is gone is noticed in seconds, not in hours; ``statement_timeout`` is the server's own and may not come."""
LOOK_TIMEOUT_S = 20.0
"""A look that takes longer counts as one that could not be made."""
UNKNOWN_MAX = 3
"""So many looks in a row that could not be made: the service is not ready."""
TITLES_SHOWN_MAX = 3
KEY_PRIVATE, KEY_NAMED, CERTIFICATE_CURRENT = "I-KEY-01", "I-KEY-02", "I-KEY-03"
KEY_INVARIANTS: Mapping[str, str] = {KEY_PRIVATE: "P0", KEY_NAMED: "P0", CERTIFICATE_CURRENT: "P0"}
"""Asked of key files, on every side that holds some."""
NOTHING_SEEN = "nothing of what it guards is there, or this login cannot see it"
"""No pass, and a violation rather than an unknown: a P0 whose table was dropped must not go on for two more looks."""
_NEXT = "mend what is named, then: symphony invariants check --dir DIR (or --database-url)"
_LOG = logging.getLogger("symphony.invariants")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look found of one invariant; ``wrong`` names each thing that breaks it."""

    id: str
    severity: str
    wrong: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Nothing breaks it."""
        return not self.wrong

    def __str__(self) -> str:
        more = len(self.wrong) - TITLES_SHOWN_MAX
        return f"{self.id}: {'; '.join(self.wrong[:TITLES_SHOWN_MAX])}{f' and {more} more' if more > 0 else ''}"


Look = Callable[[], Sequence[Finding]]
"""Asks everything once; blocking, run in a thread. Raises ``CannotEvaluate`` when it could not."""


def connected(database_url: str, role: str) -> psycopg.Connection[Any]:
    """A connection for one look: read only, under the login's role, bounded in time on both ends."""
    options = f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c default_transaction_read_only=on"
    made = psycopg.connect(make_conninfo(database_url, connect_timeout=CONNECT_TIMEOUT_S, options=options, **DEAD_PEER))
    made.execute("SELECT pg_catalog.set_config('role', %s, true)", (role,))
    return made


def ask(
    database_url: str, own: Mapping[str, LiteralString], severities: Mapping[str, str], *, role: str, schema: str
) -> list[Finding]:  # fmt: skip
    """Ask for each id of ``severities`` as the service's own login: a statement of ``contracts/queries.sql`` or of the side's own.

    Each answers (seen, violations), and nothing seen is not a pass; an id without a statement is a defect (``KeyError``). The
    login's ``role`` is assumed only to see names (it has USAGE); what is asked about is ``session_user``, and ``schema``.
    """
    every = {**queries("contracts"), **own}
    statements = {name: every[name] for name in severities}
    found: list[Finding] = []
    try:
        with connected(database_url, role) as connection:
            connection.execute("SELECT pg_catalog.set_config('symphony.schema', %s, true)", (schema,))
            for name, statement in statements.items():
                row = connection.execute(statement).fetchone()
                seen, wrong = row if row is not None else (0, [])
                found.append(Finding(name, severities[name], tuple(wrong) if seen else (NOTHING_SEEN,)))
    except psycopg.Error as error:
        detail = f"the database does not answer, so they could not be evaluated: {type(error).__name__}"
        raise CannotEvaluate("RELEASE_INVARIANT", detail) from error
    return found


def key_files_are_private(paths: Iterable[Path]) -> Finding:
    """I-KEY-01: each is a file of this process's user or root that nobody else may read."""
    return Finding(
        KEY_PRIVATE, KEY_INVARIANTS[KEY_PRIVATE], tuple(wrong for path in paths if (wrong := _not_private(path)))
    )


def _not_private(path: Path) -> str | None:
    try:
        found = path.stat()
    except OSError as error:
        return f"{path} cannot be looked at: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return f"{path} is not a file"
    if found.st_mode & 0o077:
        return f"{path} has mode {stat.S_IMODE(found.st_mode):04o}: chmod 600"
    return None if found.st_uid in {geteuid(), 0} else f"{path} belongs to another user"


def certificates_are_current(paths: Iterable[Path], now: datetime) -> Finding:
    """I-KEY-03: each certificate of this process is valid now."""
    wrong = tuple(wrong for path in paths if (wrong := _not_current(path, now)))
    return Finding(CERTIFICATE_CURRENT, KEY_INVARIANTS[CERTIFICATE_CURRENT], wrong)


def _not_current(path: Path, now: datetime) -> str | None:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        return f"{path} is not a certificate that can be read: {type(error).__name__}"
    if certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        return None
    return f"{path} is valid from {certificate.not_valid_before_utc} to {certificate.not_valid_after_utc}"


def demand(findings: Iterable[Finding], *, severities: Sequence[str] = ("P0", "P1")) -> None:
    """Raise ``NotTrusted RELEASE_INVARIANT`` that names every one that does not hold."""
    broken = [str(one) for one in findings if not one.holds and one.severity in severities]
    if broken:
        raise NotTrusted("RELEASE_INVARIANT", f"does not hold here: {' | '.join(broken)}", next_step=_NEXT)


def interval_of(value: object) -> float:
    """The interval, if it is no laxer than ours. Raises ``CannotEvaluate CONFIGURATION``."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not INTERVAL_MIN_S <= value <= RUNTIME_CHECK_INTERVAL_S
    ):
        text = f"runtime_check_interval_s is {INTERVAL_MIN_S} to {RUNTIME_CHECK_INTERVAL_S:.0f} seconds"
        raise CannotEvaluate("CONFIGURATION", text)
    return value


class Watch:
    """What a running service knows of its invariants. ``told`` hears each change of what halts it, until it took it."""

    def __init__(
        self, look: Look, *, interval_s: float = RUNTIME_CHECK_INTERVAL_S,
        told: Callable[[tuple[Finding, ...]], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        self._look = look
        self._interval_s = interval_of(interval_s)
        self._told = told
        self._heard: tuple[str, ...] = ()
        self._looking: asyncio.Future[Sequence[Finding]] | None = None
        self.broken: tuple[Finding, ...] = ()
        self.unknown = 0

    @property
    def halted(self) -> tuple[Finding, ...]:
        """The P0 invariants that did not hold at the last look that could be made."""
        return tuple(one for one in self.broken if one.severity == "P0")

    def stopped(self) -> SymphonyError | None:
        """Why nothing new may be taken now, if so: ids only, for peers read it; what breaks them is in the log."""
        if self.halted:
            return CannotEvaluate("SERVICE_HALTED", ", ".join(one.id for one in self.halted))
        if self.unknown >= UNKNOWN_MAX:
            return CannotEvaluate(
                "STORE_UNAVAILABLE", f"the invariants could not be asked {self.unknown} times in a row"
            )
        return None

    def demand_open(self) -> None:
        """Raise ``SERVICE_HALTED`` or ``STORE_UNAVAILABLE`` while nothing new may be taken."""
        error = self.stopped()
        if error is not None:
            raise error

    async def at_start(self) -> None:
        """Refuse to start unless everything was asked and holds."""
        demand(await self._found())

    async def run(self) -> None:
        """Look at every interval, until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.once()

    async def once(self) -> None:
        """One look. Never raises for what it finds, or for what could not be asked."""
        try:
            broken = tuple(one for one in await self._found() if not one.holds)
        except (SymphonyError, OSError) as error:
            self.unknown += 1
            _LOG.warning("the invariants could not be asked, %d times in a row: %s", self.unknown, error)
            return
        except Exception:  # noqa: BLE001 - the loop must go on, and what could not be asked counts
            self.unknown += 1
            _LOG.exception("the invariants could not be asked, %d times in a row", self.unknown)
            return
        self.unknown = 0
        self._log(broken)
        self.broken = broken
        await self._tell()

    async def _found(self) -> Sequence[Finding]:
        """One look at a time: one that hangs is never joined by a second, and holds up neither the loop nor the exit."""
        if self._looking is not None and not self._looking.done():
            raise CannotEvaluate("RELEASE_INVARIANT", "the look before this one has not come back")
        self._looking = _in_a_thread_of_its_own(self._look)
        done, _ = await asyncio.wait({self._looking}, timeout=LOOK_TIMEOUT_S)
        if not done:
            raise CannotEvaluate("RELEASE_INVARIANT", f"no answer within {LOOK_TIMEOUT_S:.0f} s")
        return self._looking.result()

    def _log(self, broken: tuple[Finding, ...]) -> None:
        for one in broken:
            if one not in self.broken:
                level = logging.CRITICAL if one.severity == "P0" else logging.WARNING
                _LOG.log(level, "%s %s; next: %s", one.severity, one, _NEXT)
        if self.broken and not broken:
            _LOG.warning("every invariant holds again: %s", ", ".join(one.id for one in self.broken))

    async def _tell(self) -> None:
        ids = tuple(one.id for one in self.halted)
        if self._told is None or ids == self._heard:
            return
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                await self._told(self.halted)
        except (SymphonyError, OSError) as error:
            _LOG.warning("the change is not recorded yet: %s", error)  # told again after the next look
            return
        self._heard = ids


def _in_a_thread_of_its_own(look: Look) -> asyncio.Future[Sequence[Finding]]:
    """Not of the loop's pool, which others need, and a daemon: a look that never comes back keeps no process alive."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Sequence[Finding]] = loop.create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())  # one that comes too late is read, too

    def settle(found: Sequence[Finding], error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(found)
        else:
            future.set_exception(error)

    def work() -> None:
        found: Sequence[Finding] = ()
        trouble: Exception | None = None
        try:
            found = look()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the asker's
            trouble = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, found, trouble)

    threading.Thread(target=work, name="invariants", daemon=True).start()
    return future
