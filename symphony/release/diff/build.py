"""The difference of two releases, whole: policy, environment data, manifests, invariants, schemas, gate result."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from contracts.bundle_archive import unpack
from contracts.canonical import parse_json, sha256_hex
from contracts.release.limits import TARGET_BYTES_MAX
from symphony.release.diff import documents, rego
from symphony.release.diff.model import (
    ABSENT,
    CHANGED,
    EFFECTS,
    LOOSER,
    NEUTRAL,
    NOT_CLASSIFIED,
    TIGHTER,
    Change,
    quoted,
    what_of,
)

SCHEMA = "symphony.release_diff/1"
PARTS = ("policy", "environment", "manifest", "invariants", "schema", "gate")
Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes between two releases' files; ``rego``: ``{"file", "diff"}`` of every file of the policy that changed."""

    changes: tuple[Change, ...]
    rego: tuple[dict[str, str], ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many changes of each effect; every change is in one of them."""
        found = Counter(one.effect for one in self.changes)
        return {effect: found[effect] for effect in EFFECTS}

    def document(self) -> dict[str, Any]:
        """As JSON (``symphony.release_diff/1``)."""
        counts = {effect.replace(" ", "_"): count for effect, count in self.counts.items()}
        return {
            "schema": SCHEMA, "counts": counts, "changes": [one.document() for one in self.changes], "rego": list(self.rego),
        }  # fmt: skip


def difference(before: Files, after: Files, names: tuple[str, str] = ("before", "after")) -> Difference:
    """Compare the verified files of two releases, by path."""
    sides = [{name: data for name, data in side.items() if name != "release.json"} for side in (before, after)]
    old, new = sides
    one, other = _rego(old), _rego(new)
    pair = documents.Pair(*(documents.Side.of(_document(side, "environment.json")) for side in sides))
    found = [*rego.changes(one, other), *_policy(old, new, same_rego=one == other)]
    for path in sorted({*old, *new} - {"policy.wasm", "policy.tar.gz"}):
        if old.get(path) != new.get(path):
            found += _of_target(path, old, new, pair)
    return Difference(tuple(_by_part(found)), tuple(rego.unified(one, other, names)))


def _by_part(found: Iterable[Change]) -> list[Change]:
    return sorted(found, key=lambda one: PARTS.index(one.part))


def _of_target(path: str, old: Files, new: Files, pair: documents.Pair) -> list[Change]:
    if path == "gate.json":
        return _gate(old, new)
    if path.startswith("schemas/") or not path.endswith(".json"):
        return [_replaced("schema", path, old, new)]
    part, name = {"environment.json": ("environment", path), "invariants.json": ("invariants", path)}.get(
        path, ("manifest", path.removesuffix(".json"))
    )
    one, other = _side(old, path), _side(new, path)
    return documents.changes(part, name, one, other, pair)


def _replaced(part: str, path: str, old: Files, new: Files) -> Change:
    """Files that are not looked into: by digest."""
    digests = [sha256_hex(side[path]) if path in side else ABSENT for side in (old, new)]
    what = what_of(*digests)
    name = path.removeprefix("schemas/").removesuffix(".xsd")
    effect = {"added": LOOSER, "removed": TIGHTER}.get(what, NOT_CLASSIFIED)
    ending = "" if what != CHANGED else f", SHA-256 {digests[0]} → {digests[1]}"
    words = f"{part} {name} {'replaced' if what == CHANGED else what}{ending}"
    return Change(part, (path,), what, words, effect, *digests)


def _policy(old: Files, new: Files, *, same_rego: bool) -> list[Change]:
    """``policy.wasm`` and the bundle around the Rego."""
    out = []
    for path in ("policy.wasm", "policy.tar.gz"):
        if old.get(path) == new.get(path):
            continue
        digests = [sha256_hex(side[path]) if path in side else ABSENT for side in (old, new)]
        odd = path == "policy.wasm" and same_rego
        why = (
            "though the Rego is the same"
            if odd
            else "the Rego is the same, signed again"
            if same_rego
            else "as the Rego"
        )
        words = f"{path} {what_of(*digests)} {why}: SHA-256 " + " → ".join(
            "none" if d is ABSENT else d for d in digests
        )
        out.append(Change("policy", (path,), what_of(*digests), words, NOT_CLASSIFIED if odd else NEUTRAL, *digests))
    return out


def _gate(old: Files, new: Files) -> list[Change]:
    """The gate's result: what it no longer says is weaker; a result about other bytes alone is no change of it."""
    one, other = _passed(old), _passed(new)
    out = []
    for words, ids, effect in (
        ("the gate did not pass before", sorted(other - one), TIGHTER), ("the gate no longer passes", sorted(one - other), LOOSER),
    ):  # fmt: skip
        if ids and old.get("gate.json"):
            text = ", ".join(quoted(identifier) for identifier in ids)
            out.append(Change("gate", ("gate.json",), CHANGED, f"{words}: {text}", effect, sorted(one), sorted(other)))
    return out


def _passed(side: Files) -> set[str]:
    try:
        payload = base64.b64decode(json.loads(side["gate.json"])["payload"])
        return {str(one) for one in json.loads(payload)["predicate"]["passedTests"]}
    except (KeyError, ValueError, TypeError):
        return set()


def _rego(side: Files) -> dict[str, bytes]:
    if "policy.tar.gz" not in side:
        return {}
    return {name: data for name, data in unpack(side["policy.tar.gz"]).items() if name.endswith(".rego")}


def _side(side: Files, path: str) -> Any:
    return ABSENT if path not in side else parse_json(side[path], bytes_max=TARGET_BYTES_MAX)


def _document(side: Files, path: str) -> dict[str, Any]:
    found = _side(side, path)
    return found if isinstance(found, dict) else {}
