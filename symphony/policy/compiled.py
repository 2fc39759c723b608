"""Strict compile, format, roots and data: what is held before a policy is asked anything (POL-05, POL-06, POL-16)."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate, Refused
from contracts.opa_bundle import ROOTS
from contracts.schemas import check as check_schema
from symphony.opa import run
from symphony.policy.fields import DECISION_INPUT
from symphony.policy.model import Finding, Result, failed, passed
from symphony.policy.reads import Reads, reads_of
from symphony.policy.source import Source
from symphony.policy_build import ENTRYPOINT, capabilities

PLAN_BYTES_MAX = 64 * 1024 * 1024
TEXT_CHARS_MAX = 2000
DATA_ROOT = "environment"
_PLACE = re.compile(r"(?:^|occurred: )(?P<file>[^\s:]+\.rego):(?P<line>\d+): (?P<text>.*)$", re.MULTILINE)
_PACKAGE = re.compile(r"^\s*package\s+([^\s#;]+)", re.MULTILINE)


def strict(source: Source, folder: Path, opa: Path) -> Result:
    """``opa check --strict`` under the capabilities: no clock, network or randomness, no unused or shadowed name."""
    title = "compiles strictly under the capabilities"
    done = run(opa, ["check", "--strict", "--capabilities", str(capabilities()), "."], folder)
    if done.returncode == 0:
        return passed("compile", title, files=len(source.files))
    text = (done.stderr or done.stdout).strip()[:TEXT_CHARS_MAX]
    found = [
        Finding(match["text"], _remedy(match["text"]), match["file"], int(match["line"]))
        for match in _PLACE.finditer(text)
    ]
    return failed("compile", title, found or [Finding(text, "mend the Rego that opa check --strict names")])


def _remedy(text: str) -> str:
    if "undefined function" in text:
        return "use only builtins of policies/capabilities.json: a policy reaches no clock, network or randomness"
    return "mend the line; opa check --strict says the same"


def formatted(folder: Path, opa: Path) -> Result:
    """``opa fmt`` would change nothing."""
    title = "is formatted"
    done = run(opa, ["fmt", "--list", "."], folder)
    if done.returncode != 0:
        return failed(
            "format", title, [Finding((done.stderr or done.stdout).strip()[:TEXT_CHARS_MAX], "mend the syntax")]
        )
    found = [
        Finding(f"{name} is not formatted", f"opa fmt --write {name}", name) for name in sorted(done.stdout.split())
    ]
    return failed("format", title, found) if found else passed("format", title)


def roots(source: Source, plan: Reads | None) -> Result:
    """Rego lies below the bundle's root, and not where the environment's data lie; no rule reads a field of no payment."""
    title = "roots do not overlap; reads only what a payment has"
    found = []
    for name, content in sorted(source.governing.items()):
        package = _PACKAGE.search(content.decode())
        held = package[1] if package else ""
        first = re.split(r"[.\[]", held)[0]
        if first == DATA_ROOT:
            found.append(Finding(f"package {held} lies where the environment's data lie", "rename the package", name))
        elif first not in ROOTS:
            found.append(Finding(f"package {held} is outside the bundle's roots {ROOTS}", f"use {ROOTS[0]}.…", name))
    for path in sorted(plan.unknown) if plan else ():
        place = "/".join(path)
        found.append(Finding(
            f"a rule reads {place}, which no payment can have ({DECISION_INPUT})", "correct the name of the field",
            *_place_of(source, path[-1]),
        ))  # fmt: skip
    return failed("roots", title, found) if found else passed("roots", title, packages=len(source.governing))


def _place_of(source: Source, word: str) -> tuple[str, int]:
    for name, content in sorted(source.governing.items()):
        for number, line in enumerate(content.decode().splitlines(), 1):
            if re.search(rf"\b{re.escape(word)}\b", line):
                return name, number
    return "", 0


def data(environment: Any, name: str) -> Result:
    """The environment's data fit their schema, which refuses unknown fields."""
    title = "data fit their schema, without unknown fields"
    try:
        check_schema("symphony.environment/1", environment, code="RELEASE_POLICY")
    except Refused as error:
        return failed("data", title, [Finding(error.detail, f"mend the field named in {name}", name)])
    return passed("data", title, participants=len(environment["participants"]))


def plan_of(source: Source, opa: Path) -> Reads:
    """The fields that the governing Rego reads. ``CannotEvaluate RELEASE_POLICY`` when OPA gives no plan."""
    with Source(source.governing).folder() as place:
        arguments = ["build", "--target", "plan", "--entrypoint", ENTRYPOINT, "--capabilities", str(capabilities())]
        out = place / "plan.tar.gz"
        done = run(opa, [*arguments, "--output", str(out), "."], place)
        if done.returncode != 0:
            text = (done.stderr or done.stdout).strip()[:TEXT_CHARS_MAX]
            raise CannotEvaluate("RELEASE_POLICY", f"opa gives no plan: {text}", next_step="mend what opa names")
        with tarfile.open(out) as archive:
            file = archive.extractfile("/plan.json")
            content = file.read(PLAN_BYTES_MAX + 1) if file else b""
    try:
        return reads_of(content)
    except (json.JSONDecodeError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise CannotEvaluate("RELEASE_POLICY", f"opa's plan cannot be read: {error!r}") from error
