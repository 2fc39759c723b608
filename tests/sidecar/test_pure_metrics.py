"""The acceptor's metrics page: parsed by Prometheus' own parser, each number where it belongs (OPS-01, BAT-10)."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sidecar.batching import MicroBatcher
from sidecar.metrics import render


async def nothing(items: list[Any]) -> list[Any]:
    return items


def point(name: str, **numbers: float) -> MicroBatcher[Any, Any]:
    """A batching point with these statistics."""
    made: MicroBatcher[Any, Any] = MicroBatcher(name, nothing, batch_size_max=4, flush_ms_max=5, queue_max=10)
    for field, number in numbers.items():
        setattr(made.statistics, field, number)
    return made


def samples(page: str) -> dict[tuple[str, str], float]:
    """Value by sample name and its one label, without the times of creation."""
    return {
        (sample.name, *sample.labels.values()): sample.value  # type: ignore[misc]
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_answers_are_counted_by_their_code() -> None:
    """OPS-01."""
    found = samples(render({"RECORDED": 7, "TOKEN_REPLAYED": 2}, []))
    assert {key: value for key, value in found.items() if key[0].endswith("answers_total")} == {
        ("symphony_acceptor_answers_total", "RECORDED"): 7,
        ("symphony_acceptor_answers_total", "TOKEN_REPLAYED"): 2,
    }


def test_each_batching_point_shows_its_sizes_waits_depth_and_bound_hits() -> None:
    """OPS-02, BAT-10: under its own name."""
    numbers = {"batches": 3.0, "items": 9.0, "size_hits": 2.0, "time_hits": 1.0, "refused": 4.0, "wait_s_sum": 0.5}
    found = samples(render({}, [point("decide", **numbers), point("record")]))
    for name, number in numbers.items():
        assert (found[f"symphony_batching_{name}_total", "decide"], found[f"symphony_batching_{name}_total", "record"]) == (number, 0)
    assert found["symphony_batching_queue_depth", "decide"] == 0


def test_a_page_is_made_anew_each_time() -> None:
    """OPS-01: no number of one page stays in the next, and two pages do not collide."""
    first = render({"RECORDED": 1}, [point("decide", items=1)])
    assert samples(first) == samples(render({"RECORDED": 1}, [point("decide", items=1)]))
    assert ("symphony_acceptor_answers_total", "RECORDED") not in samples(render({}, []))


def test_what_a_caller_sent_is_no_metric() -> None:
    """NEG-36, OPS-01: labels are codes and the names of batching points, nothing else."""
    page = render({"RECORDED": 1}, [point("decide")])
    labels = {
        (name, value)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        for name, value in sample.labels.items()
    }
    assert labels == {("code", "RECORDED"), ("point", "decide")}
