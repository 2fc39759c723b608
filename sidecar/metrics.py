"""Metrics of the acceptor in the Prometheus text format (OPS-01, BAT-10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from sidecar.batching import MicroBatcher


def render(
    answers: Mapping[str, int], batchers: Sequence[MicroBatcher[Any, Any]], broken: Sequence[str] = (),
    standing: Mapping[str, int] | None = None,
) -> str:  # fmt: skip
    """The page: answers by reason code; size, wait, depth and bound hits of each batching point; what does not hold; how old
    the release is (no line of it without a release that permits anything).
    """
    registry = CollectorRegistry()
    counted = Counter("symphony_acceptor_answers", "answers by reason code", ["code"], registry=registry)
    for code, count in answers.items():
        counted.labels(code).inc(count)
    names = {
        "batches": "batches handed over", "items": "items handed over", "size_hits": "batches that reached batch_size_max",
        "time_hits": "batches that reached flush_ms_max", "refused": "items refused at queue_max",
        "wait_s_sum": "seconds that items waited, summed",
    }  # fmt: skip
    for name, text in names.items():
        gauge = Counter(f"symphony_batching_{name}", text, ["point"], registry=registry)
        for batcher in batchers:
            gauge.labels(batcher.name).inc(getattr(batcher.statistics, name))
    depth = Gauge("symphony_batching_queue_depth", "items that wait now", ["point"], registry=registry)
    for batcher in batchers:
        depth.labels(batcher.name).set(batcher.depth)
    violated = Gauge("symphony_invariants_violated", "invariants that do not hold now", ["id"], registry=registry)
    for invariant in broken:
        violated.labels(invariant).set(1)
    _age(registry, standing or {})
    return generate_latest(registry).decode()


def _age(registry: CollectorRegistry, standing: Mapping[str, int]) -> None:
    if not standing:
        return
    steps = Gauge("symphony_release_staleness_step", "steps reached of its schedule", ["clock"], registry=registry)
    for clock in ("lease", "role"):
        steps.labels(clock).set(standing[clock])
    percent = Gauge("symphony_release_caps_percent", "percent of the caps of value that stand", registry=registry)
    percent.set(standing["caps_percent"])
