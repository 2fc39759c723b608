"""The built Wasm and OPA itself give the same answers to the same valid payments (POL-10; design section 5).

One ``opa eval`` for all of them: a decision that is undefined is absent in both. Compared are allow, reasons and
obligations. On inputs that a sidecar recorded: ``symphony.policy.recorded``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate
from sidecar.policy.answers import Decision, denied, read_answers
from sidecar.policy.errors import PolicyFailed
from symphony.opa import run
from symphony.policy.inputs import SEED, Drawn
from symphony.policy.source import Source
from symphony.policy.wasm import Policy
from symphony.policy_build import capabilities

INPUTS, INPUTS_LONG = 500, 5_000
BATCH = 500
EVAL_TIMEOUT_S = 30
QUERY = "data.symphony.payments.decisions"


def differences(
    policy: Policy, source: Source, environment: dict[str, Any], texts: tuple[str, ...], opa: Path, *, count: int,
    liked: tuple[dict[str, Any], ...] = (),
) -> tuple[list[str], dict[str, int]]:  # fmt: skip
    """Where the two differ, in words, and how many were compared, allowed. ``CannotEvaluate`` when OPA gives nothing."""
    drawn = Drawn(environment, texts, seed=SEED + 1)
    items = [*liked, *drawn.inputs(count - len(liked), liked)]
    ours, theirs = _both(policy, source, environment, items, opa)
    found = [
        f"{differ(one, other)}: {json.dumps(item, ensure_ascii=False)[:400]}"
        for item, one, other in zip(items, ours, theirs, strict=True)
        if one != other
    ]
    return found, {"inputs": len(items), "allowed": sum(one.allow for one in ours)}


def _both(
    policy: Policy, source: Source, environment: dict[str, Any], items: list[dict[str, Any]], opa: Path
) -> tuple[list[Decision], list[Decision]]:
    theirs: list[Decision] = []
    with Source(source.governing).folder() as rego, tempfile.TemporaryDirectory(prefix="symphony-policy-") as asked:
        for start in range(0, len(items), BATCH):
            theirs += _of_opa(rego, Path(asked), items[start : start + BATCH], environment, opa)
    return policy.decisions(items), theirs


def _of_opa(
    rego: Path, asked: Path, items: list[dict[str, Any]], environment: dict[str, Any], opa: Path
) -> list[Decision]:
    (asked / "input.json").write_text(json.dumps({"items": items}), "utf-8")
    (asked / "data.json").write_text(json.dumps({"environment": environment}), "utf-8")
    arguments = ["eval", "--format", "json", "--capabilities", str(capabilities()), "--timeout", f"{EVAL_TIMEOUT_S}s"]
    files = ["--data", str(rego), "--data", str(asked / "data.json"), "--input", str(asked / "input.json")]
    done = run(opa, [*arguments, *files, QUERY], asked)
    try:
        answer = json.loads(done.stdout)
        results = [{"result": one["expressions"][0]["value"]} for one in answer.get("result", [])]
        if answer.get("errors"):
            raise CannotEvaluate("RELEASE_POLICY", f"opa eval: {answer['errors'][0].get('message', '')[:300]}")
        return read_answers(json.dumps(results).encode(), len(items))
    except PolicyFailed:
        return [denied("POLICY_ERROR")] * len(items)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        text = (done.stderr or done.stdout).strip()[:300]
        raise CannotEvaluate("RELEASE_POLICY", f"opa eval gave no answer: {text}") from error


def differ(one: Decision, other: Decision) -> str:
    """Both answers, in words."""
    return f"wasm {_shown(one)}, opa {_shown(other)}"


def _shown(one: Decision) -> str:
    return "allows" if one.allow else f"refuses ({', '.join(one.reasons)})"
