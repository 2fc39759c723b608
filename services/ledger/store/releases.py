"""The durable record of accepted releases (``contracts.release.AcceptedRecord``). Blocking: called in a thread."""

from __future__ import annotations

from typing import Any

import psycopg

from contracts.errors import CannotEvaluate, NotTrusted
from services.ledger import config
from services.ledger.store import text


class AcceptedReleases:
    """Highest number and digest ever accepted, in the ledger's own database; it only rises."""

    def __init__(self, url: str) -> None:
        self._url = url

    def highest(self) -> tuple[int, str] | None:
        """The highest accepted number and the digest of its metadata; ``None`` before the first."""
        row = self._run("highest_release", ())
        return None if row is None else (int(row[0]), str(row[1]))

    def accept(self, number: int, metadata_digest: str) -> None:
        """Record it. ``NotTrusted RELEASE_ROLLBACK`` below the highest, ``RELEASE_FORKED`` for another digest."""
        row = self._run("accept_release", (number, metadata_digest))
        if row is None or row[0] != "ACCEPTED":
            raise NotTrusted(str(row[0]) if row else "RELEASE_ROLLBACK", f"release {number} against the durable record")

    def _run(self, name: str, parameters: tuple[Any, ...]) -> tuple[Any, ...] | None:
        options = f"-c statement_timeout={config.TRANSACTION_TIMEOUT_MS}"
        try:
            with psycopg.connect(
                self._url, autocommit=True, connect_timeout=config.CONNECT_TIMEOUT_S, options=options
            ) as connection:
                connection.execute(text("begin"))
                row = connection.execute(text(name), parameters).fetchone()
                connection.execute("COMMIT")
        except psycopg.Error as error:
            raise CannotEvaluate("STORE_UNAVAILABLE", str(error).splitlines()[0]) from error
        return row
