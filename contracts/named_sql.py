"""SQL by name: a package's ``queries.sql`` holds blocks that begin with ``-- name: <name>`` (design section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import LiteralString


@cache
def queries(package: str) -> Mapping[str, LiteralString]:
    """The named statements of a package; from the package, never from outside. Two of one name are a defect."""
    text = resources.files(package).joinpath("queries.sql").read_text("utf-8")
    return parse(text, package)


def parse(text: LiteralString, origin: str) -> Mapping[str, LiteralString]:
    """The named statements of a text; what stands before the first name is its heading."""
    out: dict[str, LiteralString] = {}
    for block in text.split("-- name: ")[1:]:
        name, _, body = block.partition("\n")
        assert name.strip() not in out, f"two statements named {name} in {origin}"
        out[name.strip()] = body.strip()
    return MappingProxyType(out)
