"""One-dimensional PostgreSQL arrays packed by hand in binary: a tenth of the cost of psycopg lists (findings).

Each ``…Array`` takes a sequence and is sent as exactly that array type; ``None`` is NULL where the type allows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from struct import Struct, pack
from typing import ClassVar
from uuid import UUID

from psycopg import AsyncConnection, Connection
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

_HEADER = Struct(">iiIii")  # dimensions, has NULL, element type, length, lower bound
_EMPTY = Struct(">iiI")
_EPOCH_DAY = date(2000, 1, 1).toordinal()
_NULL = pack(">i", -1)


class Array:
    """Packed bytes of an array; ``oid`` is the array type's, ``element`` its element's."""

    __slots__ = ("data",)
    oid: ClassVar[int]
    element: ClassVar[int]

    def __init__(self, elements: Sequence[bytes | None]) -> None:
        if not elements:
            self.data = _EMPTY.pack(0, 0, self.element)
            return
        parts = [_HEADER.pack(1, int(None in elements), self.element, len(elements), 1)]
        parts += [_NULL if raw is None else pack(">i", len(raw)) + raw for raw in elements]
        self.data = b"".join(parts)


class UuidArray(Array):
    """``uuid[]`` of UUIDs."""

    oid, element = 2951, 2950

    def __init__(self, values: Sequence[UUID]) -> None:
        super().__init__([value.bytes for value in values])


class BigintArray(Array):
    """``bigint[]`` of integers."""

    oid, element = 1016, 20

    def __init__(self, values: Sequence[int]) -> None:
        super().__init__([value.to_bytes(8, "big", signed=True) for value in values])


class TextArray(Array):
    """``text[]`` of strings."""

    oid, element = 1009, 25

    def __init__(self, values: Sequence[str]) -> None:
        super().__init__([value.encode() for value in values])


class ByteaArray(Array):
    """``bytea[]`` of bytes."""

    oid, element = 1001, 17

    def __init__(self, values: Sequence[bytes]) -> None:
        super().__init__(values)


class DateArray(Array):
    """``date[]`` of dates or ``None``."""

    oid, element = 1182, 1082

    def __init__(self, values: Sequence[date | None]) -> None:
        super().__init__([None if value is None else pack(">i", value.toordinal() - _EPOCH_DAY) for value in values])


class BooleanArray(Array):
    """``boolean[]`` of truth values."""

    oid, element = 1000, 16

    def __init__(self, values: Sequence[bool]) -> None:
        super().__init__([b"\x01" if value else b"\x00" for value in values])


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> Buffer:
        return obj.data


def register(connection: AsyncConnection[object] | Connection[object]) -> None:
    """Let a connection send the arrays of this module."""
    for kind in (UuidArray, BigintArray, TextArray, ByteaArray, DateArray, BooleanArray):
        connection.adapters.register_dumper(kind, type(f"{kind.__name__}Dumper", (_ArrayDumper,), {"oid": kind.oid}))
