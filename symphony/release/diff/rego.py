"""The policy of two releases: which rules came, went or changed, and every line of it (a unified diff by file).

Rules are told apart by the lines that begin in the first column, as ``opa fmt`` writes them; the unified diff beside them is
whole whatever the layout, so nothing can hide in it. What a changed rule does to payments is not classified: read it.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping

from symphony.release.diff.model import ABSENT, ADDED, CHANGED, NEUTRAL, NOT_CLASSIFIED, REMOVED, Change, what_of

_HEAD = re.compile(r"^(?:default\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_.]*)")
_CONTEXT_LINES = 3
_NO_RULE = frozenset({"package", "import"})


def changes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[Change]:
    """Files and rules, in words. Both sides are the Rego of a bundle by file name."""
    out: list[Change] = []
    for name in sorted({*before, *after}):
        old, new = (_text(side.get(name)) for side in (before, after))
        if old == new:
            continue
        if name not in before or name not in after:
            what = what_of(before.get(name, ABSENT), after.get(name, ABSENT))
            count = sum(_rules(old or new).values())
            words = f"file {name} {what}, {count} definitions of rules"
            out.append(Change("policy", ("policy.tar.gz", name), what, words, NOT_CLASSIFIED))
            continue
        out += _of_file(name, old, new)
    return out


def unified(before: Mapping[str, bytes], after: Mapping[str, bytes], numbers: tuple[str, str]) -> list[dict[str, str]]:
    """``{"file", "diff"}`` for every file that is not the same."""
    out = []
    for name in sorted({*before, *after}):
        old, new = (_text(side.get(name)) for side in (before, after))
        if old != new or (name in before) != (name in after):
            was, now = (
                f"{n}/{name}" if name in side else "(none)" for n, side in zip(numbers, (before, after), strict=True)
            )
            lines = difflib.unified_diff(old.split("\n"), new.split("\n"), was, now, lineterm="", n=_CONTEXT_LINES)
            out.append({"file": name, "diff": "\n".join(lines)})
    return out


def _of_file(name: str, old: str, new: str) -> list[Change]:
    one, other = _rules(old), _rules(new)
    gone, came = one - other, other - one
    counts = [_by_rule(side) for side in (one, other, gone, came)]
    out = []
    for rule in sorted({*counts[2], *counts[3]}):
        was, now, minus, plus = (side[rule] for side in counts)
        what = ADDED if not was else REMOVED if not now else CHANGED
        label = f"{rule} line" if rule in _NO_RULE else f"rule {rule}"
        detail = "" if what != CHANGED else f" (of {was} definitions {minus} went, {plus} came, {now} now)"
        place = ("policy.tar.gz", name, rule)
        out.append(Change("policy", place, what, f"{label} {what} in {name}{detail}", NOT_CLASSIFIED))
    if out:
        return out
    words = f"{name}: only comments, blank lines or the order of definitions changed; read the lines below"
    return [
        Change("policy", ("policy.tar.gz", name), CHANGED, words, NEUTRAL if _same_order(old, new) else NOT_CLASSIFIED)
    ]


def _text(content: bytes | None) -> str:
    return "" if content is None else content.decode("utf-8", "backslashreplace")


def _statements(text: str) -> list[tuple[str, str]]:
    """(rule, its text) of each definition; lines of comments alone and blank lines left out."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        head = _HEAD.match(line)
        if head and head["name"] != "else":
            found.append((head["name"], [line.rstrip()]))
        elif found:
            found[-1][1].append(line.rstrip())
        else:
            found.append(("(beginning)", [line.rstrip()]))
    return [(rule, "\n".join(lines)) for rule, lines in found]


def _rules(text: str) -> Counter[tuple[str, str]]:
    return Counter(_statements(text))


def _by_rule(definitions: Counter[tuple[str, str]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (rule, _), count in definitions.items():
        found[rule] += count
    return found


def _same_order(old: str, new: str) -> bool:
    return _statements(old) == _statements(new)
