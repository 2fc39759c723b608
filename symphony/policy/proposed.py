"""No release is proposed whose policy does not pass its checks (POL-05, POL-16; design section 5).

Checked are the very targets: the bundle's Rego must be the working folder's, and the Wasm what it compiles to, asked under
the proposed environment's data. A pass is kept beside the stack (or where ``SYMPHONY_POLICY_CHECKS`` says), named by the
digest of all that went in: Rego, tests, Wasm, and what the policy can see of the data; the same is not asked twice. Nothing
of it is signed, and every officer can run ``symphony policy check``.

Data that allow nobody (a release that closes everything) leave nothing to spoil; the probe is then made under the
example's data as well. Without an ``opa`` only the pair of digests that this checkout records passes: its checks ran in CI.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.bundle_archive import unpack
from contracts.canonical import canonical_bytes, length_prefixed, sha256_hex
from contracts.errors import CannotEvaluate, Refused
from symphony import places
from symphony.opa import OPA_VERSION, find_opa
from symphony.policy import compiled
from symphony.policy.check import check
from symphony.policy.model import COULD_NOT_EVALUATE, NOTHING_TESTED, PASS, SKIP, Report
from symphony.policy.seen import seen
from symphony.policy.source import load
from symphony.policy_build import POLICIES, check_pair

CHECKS_VERSION = "2"
"""Raised when a check changes, so that an older pass does not count."""

EXAMPLE = "environments/sandbox.template.json"


def demand(files: Mapping[str, bytes], kept: Path, *, folder: Path = POLICIES) -> str:
    """What was found, in a sentence. Raises ``Refused`` or ``CannotEvaluate`` ``RELEASE_POLICY`` for what fails."""
    source, wasm = load(folder), files["policy.wasm"]
    held = {name: content for name, content in unpack(files["policy.tar.gz"]).items() if name.endswith(".rego")}
    if held != source.governing:
        raise Refused("RELEASE_POLICY", f"the bundle's Rego is not that of {folder}", next_step="propose again")
    try:
        opa = find_opa()
    except CannotEvaluate:
        check_pair(source.governing, wasm, folder=folder)
        return "policy checks not run here, there is no opa: the policy is the pair that this checkout records"
    document = _valid(files["environment.json"])
    seen_sha256 = sha256_hex(canonical_bytes(seen(source, document, opa)))
    parts = (CHECKS_VERSION, OPA_VERSION, sha256_hex(wasm), seen_sha256, *_named(source.files))
    key = sha256_hex(length_prefixed("symphony.policy_checks/1", *parts))
    path = (_shared() or kept) / f"{key}.json"
    if _passed_before(path, sha256_hex(wasm)):
        return f"policy checks passed before for the same policy and data: {path}"
    report = _checked(folder, document, opa)
    if report.wasm_sha256 != sha256_hex(wasm):
        raise Refused(
            "RELEASE_POLICY", "policy.wasm is not what the Rego compiles to", next_step="symphony policy build"
        )
    _keep(path, json.dumps(report.document(), indent=2) + "\n")
    probes = next(one.figures["probes"] for one in report.results if one.name == "probe")
    return f"policy checks pass: {len(report.results)} checks, {probes} probes, none allowed: {path}"


def _valid(data: bytes) -> dict[str, Any]:
    """The environment's data, by their schema each time: a kept pass is about what the policy sees of them."""
    document = json.loads(data)
    assert isinstance(document, dict)
    found = compiled.data(document, "environment.json")
    if found.verdict != PASS:
        raise Refused("RELEASE_POLICY", f"data: {found.findings[0].text}", next_step=found.findings[0].change)
    return document


def _shared() -> Path | None:
    """``SYMPHONY_POLICY_CHECKS``: one folder of kept passes for several stacks of one person."""
    named = os.environ.get("SYMPHONY_POLICY_CHECKS")
    return Path(named) if named else None


def _keep(path: Path, text: str) -> None:
    """Whole or not at all: another stack may be reading."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)


def _named(files: Mapping[str, bytes]) -> list[str]:
    return [part for name in sorted(files) for part in (name, sha256_hex(files[name]))]


def _passed_before(path: Path, wasm_sha256: str) -> bool:
    try:
        found = json.loads(path.read_text("utf-8"))
        return bool(found["exit_code"] == 0 and found["wasm_sha256"] == wasm_sha256)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _checked(folder: Path, environment: dict[str, Any], opa: Path) -> Report:
    report = check(folder, environment, "environment.json", long=True, opa=opa)
    if _allows_nobody(report):
        example = json.loads((places.folder("examples") / EXAMPLE).read_text("utf-8"))
        report = check(folder, example, EXAMPLE, long=True, opa=opa)
    for one in report.results:
        if one.verdict not in {PASS, SKIP}:
            kind = CannotEvaluate if one.code == COULD_NOT_EVALUATE else Refused
            first = one.findings[0]
            raise kind(
                "RELEASE_POLICY", f"{one.name}: {first.text}", next_step=f"{first.change}; symphony policy check"
            )
    if report.exit_code:
        raise CannotEvaluate("RELEASE_POLICY", "the checks did not all run", next_step="symphony policy check")
    return report


def _allows_nobody(report: Report) -> bool:
    """Everything else passes, and no spoiled payment was allowed either."""
    return {(one.name, one.code) for one in report.results if one.verdict != PASS} == {("probe", NOTHING_TESTED)}
