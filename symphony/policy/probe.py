"""The fail-open probe: no input that the schema refuses may be allowed by the policy itself (POL-16; design section 5).

Inputs that the schema accepts, allowed ones and refused ones, are spoiled at each field that the policy reads, in one
place and in two, and put to the built Wasm without the schema in front. One ``allow`` fails the policy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sidecar.policy.answers import Decision
from symphony.policy.changes import Probe, pairs, single
from symphony.policy.fields import Path
from symphony.policy.inputs import SEED, Drawn
from symphony.policy.reads import Reads
from symphony.policy.wasm import Policy

INPUTS, GENERATIONS, LIKED = 500, 6, 100
"""Valid inputs among which bases are looked for: each generation is drawn near those with the fewest reasons against."""

BASES_ALLOWED_MAX, BASES_REFUSED_MAX = 8, 12
PAIRS = 4_000
CHUNK = 500

Asked = Callable[[int], None]


@dataclass(slots=True)
class Probed:
    """What the probe found. ``allowed``: what was done to an input that then passed, and how often, singles first."""

    read: tuple[Path, ...] = ()
    bases_allowed: int = 0
    bases_refused: int = 0
    singles: int = 0
    pairs: int = 0
    allowed: Counter[str] = field(default_factory=Counter)
    spoiled: dict[str, tuple[tuple[Path, str], ...]] = field(default_factory=dict)
    allowed_bases: tuple[dict[str, Any], ...] = ()


def probe(policy: Policy, environment: dict[str, Any], reads: Reads, *, asked: Asked = lambda _count: None) -> Probed:
    """Ask a policy. ``bases_allowed`` is 0 when no valid input passes: then a probe without an allow says little."""
    found = Probed(read=tuple(sorted(reads.paths)))
    bases = _bases(policy, Drawn(environment, reads.strings), found)
    opening: set[tuple[Path, str]] = set()
    for one, decision in _asked(policy, single(bases, found.read), asked):
        found.singles += 1
        if decision.allow:
            opening.update(one.spoiled)
            _note(found, one)
    for one, decision in _asked(policy, pairs(bases, found.read, PAIRS, SEED), asked):
        found.pairs += 1
        if decision.allow and not opening.intersection(one.spoiled):
            _note(found, one)
    return found


def _note(found: Probed, one: Probe) -> None:
    found.allowed[one.text] += 1
    found.spoiled.setdefault(one.text, one.spoiled)


def _asked(policy: Policy, probes: Iterable[Probe], asked: Asked) -> Iterable[tuple[Probe, Decision]]:
    stream = iter(probes)
    while chunk := list(islice(stream, CHUNK)):
        yield from zip(chunk, policy.decisions([one.item for one in chunk]), strict=True)
        asked(len(chunk))


def _bases(policy: Policy, drawn: Drawn, found: Probed) -> list[dict[str, Any]]:
    """Inputs to spoil: allowed ones, and refused ones of as many different reasons as there are."""
    inputs: list[dict[str, Any]] = []
    decisions: list[Decision] = []
    for _ in range(GENERATIONS):
        nearest = sorted(zip(map(_reasons_against, decisions), range(len(inputs)), strict=True))[:LIKED]
        new = drawn.inputs(INPUTS, [inputs[index] for _, index in nearest])
        inputs, decisions = inputs + new, decisions + policy.decisions(new)
    allowed = [item for item, one in zip(inputs, decisions, strict=True) if one.allow]
    by_reason: dict[tuple[str, ...], dict[str, Any]] = {}
    for item, one in zip(inputs, decisions, strict=True):
        if not one.allow:
            by_reason.setdefault(one.reasons, item)
    refused = [by_reason[reasons] for reasons in sorted(by_reason, key=lambda one: (len(one), one))]
    chosen_allowed, chosen_refused = _spread(allowed), refused[:BASES_REFUSED_MAX]
    found.allowed_bases = tuple(chosen_allowed)
    found.bases_allowed, found.bases_refused = len(chosen_allowed), len(chosen_refused)
    return chosen_allowed + chosen_refused


def _reasons_against(decision: Decision) -> int:
    return 0 if decision.allow else len(decision.reasons) or 1


def _spread(allowed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Some of the allowed ones, from all over: objects that may be null are there in one of them at least."""
    whole = sorted(allowed, key=lambda item: sum(isinstance(one, dict) for one in item["instruction"].values()))
    step = max(1, len(whole) // BASES_ALLOWED_MAX)
    return whole[::-1][::step][:BASES_ALLOWED_MAX]
