"""What the acceptor has in hand at once is bounded (ATT-02 step 1, BAT-06, BAT-07; must-never 11).

Rules:

* a request has a place from when its body is whole to its answer, whatever it waits for in between; where none is free, one
  that comes is refused before its body is read. A peer that sends slowly holds no place;
* the bytes of a body count from when they come;
* above either bound a request is refused ``OVERLOADED`` at once (503 with Retry-After); the ones in hand are not touched.
"""

from __future__ import annotations

from typing import Self

from contracts.errors import CannotEvaluate

IN_HAND_BYTES_MAX = 256 * 1024 * 1024
"""Bytes of all bodies in hand; one body may be 10 MiB, so a count alone would bound nothing."""


class InHand:
    """Requests and bytes that are in hand now."""

    def __init__(self, bytes_max: int = IN_HAND_BYTES_MAX) -> None:
        self.requests = 0
        self.bytes = 0
        self.bytes_max = bytes_max

    def request(self, requests_max: int) -> Held:
        """A request whose head has come. Raises ``OVERLOADED`` where no place is free."""
        if self.requests >= requests_max:
            raise CannotEvaluate("OVERLOADED", f"{self.requests} requests are in hand")
        return Held(self, requests_max)


class Held:
    """What one request holds, until the ``with`` block ends."""

    def __init__(self, in_hand: InHand, requests_max: int) -> None:
        self._in_hand = in_hand
        self._requests_max = requests_max
        self._bytes = 0
        self._places = 0

    def add(self, size: int) -> None:
        """A part of the body has come. Raises ``OVERLOADED``."""
        if self._in_hand.bytes + size > self._in_hand.bytes_max:
            raise CannotEvaluate("OVERLOADED", "too many bytes are in hand")
        self._in_hand.bytes += size
        self._bytes += size

    def admit(self) -> None:
        """The body is whole. Raises ``OVERLOADED`` where no place is free any more."""
        if self._in_hand.requests >= self._requests_max:
            raise CannotEvaluate("OVERLOADED", f"{self._in_hand.requests} requests are in hand")
        self._in_hand.requests += 1
        self._places += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._in_hand.requests -= self._places
        self._in_hand.bytes -= self._bytes
