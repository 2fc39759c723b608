"""``symphony policy check``: everything that a policy must pass before it is proposed, in order (POL-05, POL-16).

Strict compile, format, data, roots, tests and coverage; then the Wasm is built from these very bytes, and the fail-open
probe and the parity with OPA ask it. What waits for a check that failed is skipped, and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from contracts.canonical import sha256_hex
from contracts.errors import SymphonyError
from symphony.opa import OPA_VERSION, find_opa
from symphony.policy import compiled, parity, tested
from symphony.policy.model import (
    NOTHING_TESTED,
    PASS,
    SKIP,
    Finding,
    Report,
    Result,
    failed,
    not_evaluated,
    passed,
    skipped,
)
from symphony.policy.probe import Probed, probe
from symphony.policy.reads import Reads
from symphony.policy.recorded import Recorded, recorded_differences
from symphony.policy.seen import seen
from symphony.policy.source import Source, load
from symphony.policy.wasm import Policy
from symphony.policy.wasm import load as load_wasm
from symphony.policy_build import Pair, rebuild, recorded_pair, rego_digest

FINDINGS_MAX = 30
TITLES = {
    "compile": "compiles strictly under the capabilities", "format": "is formatted",
    "data": "data fit their schema, without unknown fields",
    "roots": "roots do not overlap; reads only what a payment has", "tests": tested.TITLE,
    "build": "policy.wasm is built from this Rego", "probe": "nothing spoiled is allowed (fail-open probe)",
    "parity": "Wasm and OPA answer alike", "recorded": "Wasm and OPA answer alike on recorded payments",
}  # fmt: skip
Done = Callable[[Result], None]


@dataclass(slots=True)
class _Run:
    """One run over one policy; what a later check needs of an earlier one."""

    source: Source
    folder: Path
    environment: dict[str, Any]
    environment_name: str
    opa: Path
    inputs: int
    record: Path | None
    recorded: Recorded | None
    wasm: bytes = b""
    reads: Reads | None = None
    policy: Policy | None = None
    bases: tuple[dict[str, Any], ...] = ()

    def seen(self) -> dict[str, Any]:
        """What the policy can see of the data; nothing else may change what is asked."""
        return seen(self.source, self.environment, self.opa)


def check(
    folder: Path, environment: dict[str, Any], environment_name: str, *, long: bool = False,
    opa: Path | None = None, done: Done = lambda _result: None, recorded: Recorded | None = None,
) -> Report:  # fmt: skip
    """Check a working folder against an environment's data, and on recorded inputs where some are given.

    Raises what ``source.load`` and ``find_opa`` raise.
    """
    source, program = load(folder), opa or find_opa()
    record = folder if (folder / "BUILD.json").is_file() else None
    inputs = parity.INPUTS_LONG if long else parity.INPUTS
    results: list[Result] = []
    with source.folder() as place:
        run = _Run(source, place, environment, environment_name, program, inputs, record, recorded)
        for name, step, needs in (*_STEPS, *((_OF_RECORDED,) if recorded is not None else ())):
            result = _timed(run, name, step, [one for one in results if one.name in needs])
            results.append(result)
            done(result)
    return Report(tuple(results), rego_digest(source.governing), sha256_hex(run.wasm) if run.wasm else "")


def _timed(run: _Run, name: str, step: Callable[[_Run], Result], needed: list[Result]) -> Result:
    waiting = [one.name for one in needed if one.verdict != PASS and not _built_anyway(run, one)]
    if waiting:
        return skipped(name, TITLES[name], f"not run: {', '.join(waiting)} did not pass")
    began = time.perf_counter()
    try:
        result = step(run)
    except SymphonyError as error:
        result = not_evaluated(name, TITLES[name], error.detail or str(error), error.next_step)
    return replace(result, seconds=time.perf_counter() - began, findings=result.findings[:FINDINGS_MAX])


def _built_anyway(run: _Run, one: Result) -> bool:
    """A build that is not the recorded one can be asked all the same."""
    return one.name == "build" and bool(run.wasm)


def _build(run: _Run) -> Result:
    run.wasm = rebuild(run.source.governing, run.opa)
    pair = Pair(rego_digest(run.source.governing), sha256_hex(run.wasm), OPA_VERSION)
    if run.record is not None and recorded_pair(run.record) != pair:
        text = f"{run.record / 'BUILD.json'} does not record this Rego and the Wasm that it compiles to"
        return failed("build", TITLES["build"], [Finding(text, f"symphony policy build {run.record}", "BUILD.json")])
    if run.record is not None and _committed(run.record) != run.wasm:
        text = f"{run.record / 'build' / 'policy.wasm'} is not what the Rego compiles to"
        return failed("build", TITLES["build"], [Finding(text, f"symphony policy build {run.record}")])
    return passed("build", TITLES["build"], wasm_bytes=len(run.wasm))


def _committed(folder: Path) -> bytes:
    path = folder / "build" / "policy.wasm"
    return path.read_bytes() if path.is_file() else b""


def _roots(run: _Run) -> Result:
    run.reads = compiled.plan_of(run.source, run.opa)
    return compiled.roots(run.source, run.reads)


def _probe(run: _Run) -> Result:
    reads = run.reads or compiled.plan_of(run.source, run.opa)
    run.policy = load_wasm(run.wasm, run.seen())
    found = probe(run.policy, run.seen(), reads)
    run.bases = found.allowed_bases
    return judged(found)


def judged(found: Probed) -> Result:
    """The probe's outcome as a check."""
    title = TITLES["probe"]
    figures = {
        "fields_read": len(found.read), "bases_allowed": found.bases_allowed, "bases_refused": found.bases_refused,
        "probes": found.singles + found.pairs, "opening": len(found.allowed),
    }  # fmt: skip
    findings = [
        Finding(
            f"a payment with {text} is allowed ({count} times)",
            f"demand {_fields_of(found, text)} by a positive rule on its type, length and form, so that anything else fails",
        )
        for text, count in found.allowed.items()
    ]
    if findings:
        return failed("probe", title, findings, **figures)
    if not found.bases_allowed:
        text = "the policy allows no generated payment under these data, so nothing could be spoiled"
        return not_evaluated(
            "probe", title, text, "name data that it allows: --environment-data", NOTHING_TESTED, **figures
        )
    if not found.singles:
        text = "the policy reads no field of a payment, so nothing could be spoiled"
        return not_evaluated("probe", title, text, "decide by the payment's fields", NOTHING_TESTED, **figures)
    return passed("probe", title, **figures)


def _fields_of(found: Probed, text: str) -> str:
    return " and ".join("/".join(path) for path, _ in found.spoiled[text])


def _parity(run: _Run) -> Result:
    reads = run.reads or compiled.plan_of(run.source, run.opa)
    policy = run.policy or load_wasm(run.wasm, run.seen())
    different, figures = parity.differences(
        policy, run.source, run.seen(), reads.strings, run.opa, count=run.inputs, liked=run.bases
    )
    return _alike("parity", different, figures)


def _alike(name: str, different: list[str], figures: dict[str, int]) -> Result:
    findings = [Finding(text, "report it: the two engines of OPA must agree; avoid the builtin") for text in different]
    return failed(name, TITLES[name], findings, **figures) if findings else passed(name, TITLES[name], **figures)


def _recorded(run: _Run) -> Result:
    assert run.recorded is not None
    different, figures = recorded_differences(run.wasm, run.source, run.seen(), run.recorded, run.opa)
    if not figures["inputs"]:
        text = f"nothing that can be asked again was recorded in the last {run.recorded.days} days"
        return Result("recorded", TITLES["recorded"], SKIP, findings=(Finding(text, "nothing"),), figures=figures)
    return _alike("recorded", different, figures)


_STEPS: tuple[tuple[str, Callable[[_Run], Result], tuple[str, ...]], ...] = (
    ("compile", lambda run: compiled.strict(run.source, run.folder, run.opa), ()),
    ("format", lambda run: compiled.formatted(run.folder, run.opa), ()),
    ("data", lambda run: compiled.data(run.environment, run.environment_name), ()),
    ("tests", lambda run: tested.as_result(tested.run_tests(run.folder, run.opa)), ("compile",)),
    ("build", _build, ("compile",)),
    ("roots", _roots, ("build",)),
    ("probe", _probe, ("build", "data")),
    ("parity", _parity, ("build", "data")),
)
_OF_RECORDED = ("recorded", _recorded, ("build", "data"))
"""Name, step and what must have passed before."""
