"""The two engines compared on what a sidecar recorded, before a release is proposed (design section 5, POL-10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import orjson

from contracts.bundle_archive import unpack
from contracts.errors import Refused
from symphony.impact import source
from symphony.policy.changes import is_valid
from symphony.policy.recorded import RECORDED_MAX, Recorded, Stream, recorded_differences
from symphony.policy.source import Source

DIFFERENCES_SHOWN_MAX = 3
BATCH = 500
"""Less than 1 MB."""


@contextmanager
def _opened(url: str, days: int, count: int) -> Iterator[Stream]:
    with source.connected(url) as connection:
        found = source.window(connection, days)
        read = source.newest(connection, found, count, BATCH)
        batches = ([(identifier, _read(frozen)) for identifier, frozen in batch] for batch in read)
        yield Stream(found.rows, min(found.rows, count), batches)


def of(
    url: str, days: int, *, begun: Callable[[int], object] = lambda _count: None,
    moved: Callable[[int], object] = lambda _count: None, count: int = RECORDED_MAX,
) -> Recorded:  # fmt: skip
    """All that was recorded in the last days, at most the newest ``count``. Read, it raises ``CannotEvaluate STORE_UNAVAILABLE``.

    Inputs that do not fit their schema are left out: no policy is ever asked about them.
    """
    return Recorded(days, partial(_opened, url, days, count), begun, moved)


def _read(raw: bytes) -> dict[str, object] | None:
    try:
        item = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return item if is_valid(item) else None


def demand(files: Mapping[str, bytes], opa: Path | None, recorded: Recorded) -> str:
    """A release's Wasm and its Rego under a real ``opa`` answer alike on what was recorded: a sentence.

    Raises ``Refused RELEASE_POLICY`` for a difference. Without an ``opa`` nothing is compared, and the sentence says so.
    """
    if opa is None:
        return "parity on recorded payments not checked here: there is no opa"
    rego = {name: content for name, content in unpack(files["policy.tar.gz"]).items() if name.endswith(".rego")}
    environment = orjson.loads(files["environment.json"])
    different, figures = recorded_differences(files["policy.wasm"], Source(rego), environment, recorded, opa)
    if different:
        shown = "; ".join(different[:DIFFERENCES_SHOWN_MAX])
        raise Refused(
            "RELEASE_POLICY", f"Wasm and OPA differ on {figures['differing']} of {figures['inputs']} recorded payments: {shown}",
            next_step="report it: the two engines of OPA must agree; avoid the builtin",
        )  # fmt: skip
    if not figures["inputs"]:
        return f"parity on recorded payments: none of the last {recorded.days} days can be asked again"
    said = f"parity: Wasm and OPA answer alike on {figures['inputs']} of {figures['recorded']} recorded payments"
    return said + (f"; NOT compared: the {figures['left_out']} oldest" if figures["left_out"] else "")
