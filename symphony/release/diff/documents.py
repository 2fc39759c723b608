"""Two JSON documents compared, field by field: each difference is one change, in words where ``meaning`` has them.

Nothing is left out by construction: every key of both sides is walked; what no line of the table names is shown by its path and
its values, and is not classified.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from contracts.caps import ANY, cap_of
from contracts.money import grouped_text
from contracts.release import staleness
from symphony.release.diff.meaning import (
    CAP,
    GAIN,
    KEYED,
    LESS,
    LOSS,
    MORE,
    NEVER,
    SCHEDULE,
    UNORDERED,
    Meaning,
    pattern_of,
    table,
)
from symphony.release.diff.model import (
    ABSENT,
    ADDED,
    CHANGED,
    LOOSER,
    NEUTRAL,
    NOT_CLASSIFIED,
    PLAIN,
    REMOVED,
    TIGHTER,
    Change,
    place_of,
    quoted,
    what_of,
)

SHOWN_MAX = 160
"""Characters of a value that words carry; the JSON has all of it."""
MEMBERS_SHOWN_MAX = 12
HOUR = 60


@dataclass(frozen=True, slots=True)
class Side:
    """One release's environment data (empty where there is none): exponents of money, and the caps that stand."""

    environment: dict[str, Any]
    participants: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, environment: dict[str, Any]) -> Side:
        """Participants by id, looked up once for every cap."""
        found = environment.get("participants")
        entries = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        return cls(environment, {str(one.get("id")): one for one in entries})

    def standing(self, participant: str | None, currency: str, field: str) -> int | None:
        """The cap that stands for a participant, or for all who have none of their own; ``None`` is a refusal."""
        own = self.participants.get(participant or "", {})
        cap = cap_of({"environment": "", "caps": {}, **self.environment}, own, currency)
        return None if cap is None else cap[field]

    def exponent(self, currency: str) -> int | None:
        """The fraction digits of a currency, where the release gives them."""
        found = self.environment.get("currencies", {}).get(currency, {}).get("exponent")
        return found if type(found) is int else None


@dataclass(frozen=True, slots=True)
class Pair:
    """Both sides."""

    before: Side
    after: Side


def changes(part: str, document: str, before: Any, after: Any, pair: Pair) -> list[Change]:
    """Every difference of two documents, in the order of their paths."""
    return list(_walk(part, tuple(document.split("/")), before, after, pair))


def _walk(part: str, path: tuple[str, ...], before: Any, after: Any, pair: Pair) -> Iterator[Change]:
    if _same(before, after):
        return
    pattern, names = pattern_of(path)
    meaning = table().get(pattern)
    names = {name: quoted(one) for name, one in names.items()}
    if pattern in KEYED:
        one, other = _entries(before, after, KEYED[pattern])
        if one or other:
            yield from _members_of(part, path, one, other, pair)
            if list(one) != list(other) and set(one) == set(other):
                yield Change(part, path, CHANGED, f"{path[-1]}: listed in another order", NEUTRAL, before, after)
            return
    if pattern in UNORDERED and meaning is not None:
        found = _gained_and_lost(part, path, before, after, meaning, names)
        if found is not None:
            yield from found
            return
    if _is_open(before, after) and not (meaning and (before is ABSENT or after is ABSENT)):
        yield from _members_of(part, path, _object(before), _object(after), pair)
        return
    yield _leaf(part, path, before, after, pair, meaning, names)


def _same(before: Any, after: Any) -> bool:
    """Equality that tells 1, 1.0 and true apart."""
    if before is ABSENT or after is ABSENT:
        return before is after
    return json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)


def _is_open(before: Any, after: Any) -> bool:
    """Something to look into; an empty object that comes or goes is a value by itself."""
    return all(one is ABSENT or isinstance(one, dict) for one in (before, after)) and bool(
        _object(before) or _object(after)
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _members_of(
    part: str, path: tuple[str, ...], before: dict[str, Any], after: dict[str, Any], pair: Pair
) -> Iterator[Change]:
    for key in sorted({*before, *after}):
        yield from _walk(part, (*path, key), before.get(key, ABSENT), after.get(key, ABSENT), pair)


def _entries(before: Any, after: Any, fields: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Entries of both sides by what they are known by, or by their place; empty where a side is no array."""
    one, other = _keyed(before, fields), _keyed(after, fields)
    if one is not None and other is not None:
        return one, other
    sides = [[] if value is ABSENT else value for value in (before, after)]
    if not all(isinstance(side, list) for side in sides):
        return {}, {}
    one, other = ({f"[{place}]": entry for place, entry in enumerate(side)} for side in sides)
    return one, other


def _keyed(value: Any, fields: tuple[str, ...]) -> dict[str, Any] | None:
    """``None`` where it is no array of such objects or two are known by the same."""
    if value is ABSENT:
        return {}
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return None
    if not all(isinstance(one.get(field), str) for one in value for field in fields):
        return None
    found = {" of ".join(one[field] for field in fields): one for one in value}
    return found if len(found) == len(value) else None


def _gained_and_lost(
    part: str, path: tuple[str, ...], before: Any, after: Any, meaning: Meaning, names: dict[str, str]
) -> list[Change] | None:
    """Members that came and went; ``None`` where a side is no array of different texts or numbers."""
    sides = []
    for value in (before, after):
        members = [] if value is ABSENT else value
        if not isinstance(members, list) or not all(type(one) in (str, int) for one in members):
            return None
        if len(set(members)) != len(members):
            return None
        sides.append(members)
    one, other = sides
    was, now = set(one), set(other)
    label, out = meaning.words.format_map(names), []
    for what, found in (
        (ADDED, [m for m in other if m not in was]),
        (REMOVED, [m for m in one if m not in now]),
    ):
        if found:
            words = f"{label}: {what} {_listed(found, meaning.unit)}"
            effect = _effect_of_entry(meaning.looser, what)
            out.append(Change(part, path, what, words, effect, **{"after" if what == ADDED else "before": found}))
    if not out:
        return (
            [Change(part, path, CHANGED, f"{label}: listed in another order", NEUTRAL, before, after)] if one else None
        )
    return out


def _listed(members: list[Any], unit: str) -> str:
    texts = [_certificate(str(one)) if unit == "PEM" else _shown(one) for one in members[:MEMBERS_SHOWN_MAX]]
    more = len(members) - len(texts)
    return ", ".join(texts) + (f" and {more} more" if more else "")


def _certificate(pem: str) -> str:
    try:
        found = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return f"(unreadable, SHA-256 of its text {hashlib.sha256(pem.encode()).hexdigest()})"
    return f"{found.subject.rfc4514_string()} (SHA-256 {hashlib.sha256(found.public_bytes(Encoding.DER)).hexdigest()})"


def _leaf(
    part: str,
    path: tuple[str, ...],
    before: Any,
    after: Any,
    pair: Pair,
    meaning: Meaning | None,
    names: dict[str, str],
) -> Change:
    what = what_of(before, after)
    if meaning is None:
        words = f"{place_of(path)}: {_shown(before)} → {_shown(after)}"
        return Change(part, path, what, words, NOT_CLASSIFIED, before, after)
    label = meaning.words.format_map(names)
    if meaning.looser == CAP:
        effect, stood, stands = _cap_effect(path, names, before, after, pair)
        one = _amount(before, stood, meaning, names, pair.before)
        other = _amount(after, stands, meaning, names, pair.after)
        return Change(part, path, what, f"{label}: {one} → {other}", effect, before, after)
    if meaning.looser == SCHEDULE:
        words = f"{label}: {_steps(before)} → {_steps(after)}"
        return Change(part, path, what, words, _schedule_effect(before, after), before, after)
    if meaning.looser in {GAIN, LOSS}:
        entry = after if what == ADDED else before
        words = f"{label} {what}" + (f" with {_entry(entry)}" if what == ADDED else f" (was {_entry(entry)})")
        if what == CHANGED:
            words = f"{label}: {_shown(before)} → {_shown(after)}"
        return Change(part, path, what, words, _effect_of_entry(meaning.looser, what), before, after)
    words = f"{label}{_colon(label)} {_unit(before, meaning.unit)} → {_unit(after, meaning.unit)}"
    return Change(part, path, what, words, _effect(meaning.looser, before, after), before, after)


def _steps(value: Any) -> str:
    try:
        return "stop at once" if value is ABSENT else staleness.words(value)
    except (AttributeError, TypeError, KeyError, ValueError):
        return _shown(value)


def _schedule_effect(before: Any, after: Any) -> str:
    """By what is permitted at every moment; a release without a schedule stops at the end of its lease or role."""
    one, other = (None if value is ABSENT else value for value in (before, after))
    try:
        found = staleness.compare(one, other)
    except (AttributeError, TypeError, KeyError, ValueError):
        return NOT_CLASSIFIED  # no schedule that the schema admits
    return {staleness.LOOSER: LOOSER, staleness.TIGHTER: TIGHTER, staleness.SAME: NEUTRAL}.get(found or "", NOT_CLASSIFIED)


def _colon(label: str) -> str:
    """``invariant INV-007 severity P0 → P1`` reads without one."""
    return "" if label.startswith("invariant ") else ":"


def _effect_of_entry(looser: Any, what: str) -> str:
    if what == CHANGED or looser not in {GAIN, LOSS}:
        return NOT_CLASSIFIED
    return LOOSER if (what == ADDED) == (looser == GAIN) else TIGHTER


def _effect(looser: Any, before: Any, after: Any) -> str:
    if looser == NEVER:
        return NEUTRAL
    if isinstance(looser, tuple):
        one, other = _rank(looser, before), _rank(looser, after)
        if one is None or other is None:
            return NOT_CLASSIFIED
        return LOOSER if other > one else TIGHTER
    if looser not in {MORE, LESS} or type(before) is not int or type(after) is not int:
        return NOT_CLASSIFIED
    return LOOSER if (after > before) == (looser == MORE) else TIGHTER


def _rank(order: tuple[object, ...], value: Any) -> int | None:
    return next((rank for rank, one in enumerate(order) if type(one) is type(value) and one == value), None)


def _cap_effect(
    path: tuple[str, ...], names: dict[str, str], before: Any, after: Any, pair: Pair
) -> tuple[str, int | None, int | None]:
    """By the caps that stand, before and after: one that is added may be tighter than the one that it takes the place of."""
    field, currency, participant = path[-1], names["currency"], names.get("participant")
    if currency == ANY and participant is not None and ABSENT in (before, after):
        return NOT_CLASSIFIED, None, None  # it takes the place of a cap in every currency, or gives it back
    stood, stands = (one.standing(participant, currency, field) for one in (pair.before, pair.after))
    low, high = stood or 0, stands or 0  # no cap is a refusal
    if field != "daily_count_max" and pair.before.exponent(currency) != pair.after.exponent(currency):
        return NOT_CLASSIFIED, stood, stands
    return (NEUTRAL if low == high else LOOSER if high > low else TIGHTER), stood, stands


def _amount(value: Any, standing: int | None, meaning: Meaning, names: dict[str, str], side: Side) -> str:
    def said(amount: Any) -> str:
        return _money(amount, names["currency"], side) if meaning.unit == "minor" else _shown(amount)

    if value is not ABSENT or standing is None:
        return said(value) if value is not ABSENT else "none"
    return f"none of its own ({said(standing)} stands)"


def _money(value: Any, currency: str, side: Side) -> str:
    exponent = side.exponent(currency)
    if type(value) is not int or exponent is None:
        return f"{_shown(value)} minor units"
    return grouped_text(value, exponent)


def _unit(value: Any, unit: str) -> str:
    if value is ABSENT or not unit or type(value) is not int:
        return _shown(value)
    if unit == "minutes":
        return f"{value // HOUR:02}:{value % HOUR:02}"
    return f"{value:,} {unit}"


def _entry(value: Any) -> str:
    """Every field of an entry, in its order."""
    if not isinstance(value, dict):
        return _shown(value)
    fields = ((str(name).replace("_", " "), one) for name, one in value.items())
    return "; ".join(f"{name} {_flat(one)}" for name, one in fields) or "nothing"


def _flat(value: Any) -> str:
    if isinstance(value, list) and all(type(one) in (str, int) for one in value):
        return _listed(value, "")
    return _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, str) and PLAIN.fullmatch(value):
        return value
    text = "none" if value is ABSENT else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}… ({len(text)} characters)"
