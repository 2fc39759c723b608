"""Findings, exit codes, strict JSON.

Exit codes: 0 everything holds; 1 the evidence is intact and shows a rule broken (a posting without an allow
record, two outcomes of one payment); 3 could not evaluate; 5 something was changed, removed, added or forged;
6 a signature is missing. Where several hold, the first of: 5 with what is wrong named, 6, 5 by the manifest
alone, 3, 1.
"""

from __future__ import annotations

import binascii
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
WRONG, MISSING, MANIFEST, CANNOT, RULE = "wrong", "signature missing", "manifest", "cannot evaluate", "rule broken"
EXIT = {WRONG: 5, MISSING: 6, MANIFEST: 5, CANNOT: 3, RULE: 1}
SENTENCE = (
    "This shows what was recorded, by whom, and that nothing recorded was changed or removed; "
    "it does not show that the recorded facts are true."
)


class Fault(Exception):
    """Something that the packet does not hold; ``kind`` decides the exit code."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind, self.text = kind, text
        super().__init__(text)


class Findings:
    """What was found, each thing once, in the order of the checks."""

    def __init__(self) -> None:
        self.faults: dict[tuple[str, str], None] = {}
        self.passed: list[str] = []
        self.failed: set[str] = set()
        self.notes: list[str] = []

    def add(self, kind: str, text: str) -> None:
        """Note a fault."""
        self.faults.setdefault((kind, text))

    @contextmanager
    def check(self, what: str) -> Iterator[None]:
        """Run one check; what it raises becomes a fault, and the other checks go on."""
        before = len(self.faults)
        try:
            yield
        except Fault as fault:
            self.add(fault.kind, fault.text)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OSError, RecursionError) as error:
            self.add(CANNOT, f"{what}: {type(error).__name__}: {str(error)[:200]}")
        if len(self.faults) == before:
            self.passed.append(what)
        else:
            self.failed.add(what)

    def attempt(self, what: str, read: Callable[[], T]) -> T | None:
        """The value that a check gives, ``None`` when it fails."""
        out: list[T] = []
        with self.check(what):
            out.append(read())
        return out[0] if out else None

    def exit_code(self) -> int:
        """0, or the code of the gravest fault."""
        kinds = {kind for kind, _ in self.faults}
        return next((EXIT[kind] for kind in EXIT if kind in kinds), 0)


def strict_json(data: bytes) -> Any:
    """JSON with duplicate keys, NaN and infinities refused (``ValueError``)."""
    return json.loads(data.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_constant)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a duplicate key")
    return out


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def canonical_json(value: Any) -> bytes:
    """RFC 8785 bytes of what packets hold: ASCII keys, no floats."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def sha256_of(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def unhex(text: Any, count: int, what: str) -> bytes:
    """``count`` bytes from hexadecimal text. ``ValueError`` for anything else."""
    try:
        raw = bytes.fromhex(text)
    except (TypeError, ValueError, binascii.Error) as error:
        raise ValueError(f"{what}: not hexadecimal") from error
    if len(raw) != count:
        raise ValueError(f"{what}: not {count} bytes")
    return raw
