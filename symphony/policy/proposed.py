"""No release is proposed whose policy does not pass its checks (POL-05, POL-16; design section 5).

Checked are the very targets: the bundle's Rego must be the working folder's, and the Wasm what it compiles to, asked under
the proposed environment's data. A pass is kept beside the stack, named by the digest of all that went in, so that the
same policy and data are not asked twice; nothing of it is signed, and every officer can run ``symphony policy check``.

Data that allow nobody (a release that closes everything) leave nothing to spoil; the probe is then made under the
example's data as well. Without an ``opa`` only the pair of digests that this checkout records passes: its checks ran in CI.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.bundle_archive import unpack
from contracts.canonical import length_prefixed, sha256_hex
from contracts.errors import CannotEvaluate, Refused
from symphony import places
from symphony.opa import OPA_VERSION, find_opa
from symphony.policy.check import check
from symphony.policy.model import COULD_NOT_EVALUATE, NOTHING_TESTED, PASS, SKIP, Report
from symphony.policy.source import load
from symphony.policy_build import POLICIES, check_pair

CHECKS_VERSION = "1"
"""Raised when a check changes, so that an older pass does not count."""

EXAMPLE = "environments/sandbox.template.json"


def demand(files: Mapping[str, bytes], kept: Path, *, folder: Path = POLICIES) -> str:
    """What was found, in a sentence. Raises ``Refused`` or ``CannotEvaluate`` ``RELEASE_POLICY`` for what fails."""
    source = load(folder)
    wasm, environment = files["policy.wasm"], files["environment.json"]
    held = {name: content for name, content in unpack(files["policy.tar.gz"]).items() if name.endswith(".rego")}
    if held != source.governing:
        raise Refused("RELEASE_POLICY", f"the bundle's Rego is not that of {folder}", next_step="propose again")
    try:
        opa = find_opa()
    except CannotEvaluate:
        check_pair(source.governing, wasm, folder=folder)
        return "policy checks not run here, there is no opa: the policy is the pair that this checkout records"
    parts = (CHECKS_VERSION, OPA_VERSION, sha256_hex(wasm), sha256_hex(environment), *_named(source.files))
    key = sha256_hex(length_prefixed("symphony.policy_checks/1", *parts))
    path = kept / f"{key}.json"
    if _passed_before(path, sha256_hex(wasm)):
        return f"policy checks passed before for the same policy and data: {path}"
    report = _checked(folder, json.loads(environment), opa)
    if report.wasm_sha256 != sha256_hex(wasm):
        raise Refused(
            "RELEASE_POLICY", "policy.wasm is not what the Rego compiles to", next_step="symphony policy build"
        )
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(json.dumps(report.document(), indent=2) + "\n", "utf-8")
    probes = next(one.figures["probes"] for one in report.results if one.name == "probe")
    return f"policy checks pass: {len(report.results)} checks, {probes} probes, none allowed: {path}"


def _named(files: Mapping[str, bytes]) -> list[str]:
    return [part for name in sorted(files) for part in (name, sha256_hex(files[name]))]


def _passed_before(path: Path, wasm_sha256: str) -> bool:
    try:
        found = json.loads(path.read_text("utf-8"))
        return bool(found["exit_code"] == 0 and found["wasm_sha256"] == wasm_sha256)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _checked(folder: Path, environment: dict[str, Any], opa: Path) -> Report:
    report = check(folder, environment, "environment.json", with_parity=False, opa=opa)
    if _allows_nobody(report):
        example = json.loads((places.folder("examples") / EXAMPLE).read_text("utf-8"))
        report = check(folder, example, EXAMPLE, with_parity=False, opa=opa)
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
