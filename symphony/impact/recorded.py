"""The two engines compared on what a sidecar recorded, before a release is proposed (design section 5, POL-10)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson

from contracts.bundle_archive import unpack
from contracts.errors import Refused
from symphony.impact import source
from symphony.policy.changes import is_valid
from symphony.policy.parity import RECORDED_MAX, Recorded, recorded_differences
from symphony.policy.source import Source
from symphony.policy.wasm import load as load_wasm

DIFFERENCES_SHOWN_MAX = 3


def inputs(url: str, days: int, count: int = RECORDED_MAX) -> Recorded:
    """A sample of what was recorded in the last days. Raises ``CannotEvaluate STORE_UNAVAILABLE``.

    Inputs that do not fit their schema are left out: no policy is ever asked about them.
    """
    with source.connected(url) as connection:
        found = source.window(connection, days)
        raw = source.sample(connection, found, count) if found.rows else []
    read = ((identifier, _read(one)) for identifier, one in raw)
    return Recorded(tuple((identifier, item) for identifier, item in read if item is not None), found.rows, days)


def _read(raw: bytes) -> dict[str, object] | None:
    try:
        item = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return item if is_valid(item) else None


def demand(url: str, files: Mapping[str, bytes], opa: Path | None, days: int) -> str:
    """A release's Wasm and its Rego under a real ``opa`` answer alike on what was recorded: a sentence.

    Raises ``Refused RELEASE_POLICY`` for a difference. Without an ``opa`` nothing is compared, and the sentence says so.
    """
    if opa is None:
        return "parity on recorded payments not checked here: there is no opa"
    found = inputs(url, days)
    if not found.inputs:
        return f"parity on recorded payments: none of the last {days} days can be asked again"
    rego = {name: content for name, content in unpack(files["policy.tar.gz"]).items() if name.endswith(".rego")}
    environment = orjson.loads(files["environment.json"])
    policy = load_wasm(files["policy.wasm"], environment)
    different, figures = recorded_differences(policy, Source(rego), environment, found, opa)
    if different:
        shown = "; ".join(different[:DIFFERENCES_SHOWN_MAX])
        raise Refused(
            "RELEASE_POLICY", f"Wasm and OPA differ on {len(different)} of {len(found.inputs)} recorded payments: {shown}",
            next_step="report it: the two engines of OPA must agree; avoid the builtin",
        )  # fmt: skip
    count = f"{figures['inputs']} of {found.decisions} recorded payments (at most {RECORDED_MAX})"
    return f"parity: Wasm and OPA answer alike on {count}"
