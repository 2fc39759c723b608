"""SQL by name: ``<domain folder>/queries.sql`` holds blocks that begin with ``-- name: <name>``."""

from __future__ import annotations

from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import LiteralString, cast


@cache
def queries(package: str) -> MappingProxyType[str, LiteralString]:
    """The named statements of a package's ``queries.sql``; from the package, never from outside."""
    text = resources.files(package).joinpath("queries.sql").read_text("utf-8")
    out: dict[str, LiteralString] = {}
    for block in text.split("-- name: ")[1:]:
        name, _, body = block.partition("\n")
        assert name not in out, f"two statements named {name} in {package}"
        out[name.strip()] = cast("LiteralString", body.strip())
    return MappingProxyType(out)
