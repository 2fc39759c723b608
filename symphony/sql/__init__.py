"""Named SQL of the command line: one statement or small script per file, read by name."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import LiteralString

from psycopg import sql


@cache
def text(name: str) -> LiteralString:
    """The text of ``symphony/sql/<name>.sql``; it comes from the package, never from outside."""
    return resources.files(__package__).joinpath(f"{name}.sql").read_text("utf-8")


def statement(name: str, **parts: sql.Composable) -> sql.Composed:
    """The same with its ``{placeholders}`` filled by quoted identifiers and literals."""
    return sql.SQL(text(name)).format(**parts)
