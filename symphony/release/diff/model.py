"""A change between two releases: where, what, in words, and whether it loosens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

LOOSER, TIGHTER, NEUTRAL, NOT_CLASSIFIED = "looser", "tighter", "neutral", "not classified"
EFFECTS = (LOOSER, TIGHTER, NEUTRAL, NOT_CLASSIFIED)
ADDED, REMOVED, CHANGED = "added", "removed", "changed"
ABSENT: Any = object()
"""The value on the side that has none."""

_INVARIANT_WORDS = {LOOSER: "weaker", TIGHTER: "stronger"}


PLAIN = re.compile(r"[A-Za-z0-9_.:/@-]+(?: of [A-Za-z0-9_.:/@-]+)?|\*|\[[0-9]+\]")
"""Names that stand as they are; any other is quoted, so that it cannot pass for words of ours."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change. ``part``: policy, environment, manifest, invariants, schema or gate; ``path``: the file and the way in it.

    ``before`` and ``after`` are the whole values (``ABSENT`` on the side that has none); ``words`` may shorten them.
    """

    part: str
    path: tuple[str, ...]
    what: str
    words: str
    effect: str
    before: Any = ABSENT
    after: Any = ABSENT

    @property
    def place(self) -> str:
        """The path as text."""
        return place_of(self.path)

    @property
    def effect_word(self) -> str:
        """Looser and tighter, for invariants weaker and stronger."""
        return _INVARIANT_WORDS.get(self.effect, self.effect) if self.part in {"invariants", "gate"} else self.effect

    def document(self) -> dict[str, Any]:
        """As JSON: a side that has no value has no field."""
        sides = {name: value for name, value in (("before", self.before), ("after", self.after)) if value is not ABSENT}
        return {
            "part": self.part, "path": self.place, "what": self.what, "words": self.words, "effect": self.effect, **sides,
        }  # fmt: skip


def what_of(before: Any, after: Any) -> str:
    """Added, removed or changed."""
    return ADDED if before is ABSENT else REMOVED if after is ABSENT else CHANGED


def quoted(name: str) -> str:
    """A name out of a document, between quotation marks unless it is plain."""
    return name if PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def place_of(path: Iterable[str]) -> str:
    """A path as text."""
    return "/".join(quoted(one) for one in path)
