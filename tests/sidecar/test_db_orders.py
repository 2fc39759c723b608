"""Kept orders stay as they were signed: by privilege for the services, by trigger for the owner (D11)."""

from __future__ import annotations

import pytest

from tests.sidecar.rows import EXECUTOR, INGEST, READER, SHIPPER, Bench, refusal, trigger

pytestmark = pytest.mark.needs_schema("sidecar", 9)
KEPT = (1, "0" * 64, False, b"{}", b"{}", [b"{}"])
CHANGES = {
    "update": "UPDATE symphony.orders SET envelope = envelope",
    "delete": "DELETE FROM symphony.orders",
    "truncate": "TRUNCATE symphony.orders",
}


@pytest.mark.parametrize("change", CHANGES)
def test_nobody_changes_removes_or_truncates_a_kept_order(bench: Bench, change: str) -> None:
    """A role has no right to it; the owner meets the trigger."""
    assert bench.executor.call("keep_order", *KEPT) is True
    assert bench.executor.call("keep_order", *KEPT) is False, "once"
    for role in (INGEST, EXECUTOR, SHIPPER, READER):
        assert trigger(refusal(bench.hands(role).do, CHANGES[change])) == ("42501", ""), role
    assert trigger(refusal(bench.owner.do, CHANGES[change])) == ("42501", "deny_mutation")
    assert bench.count("orders") == 1


def test_only_the_executor_keeps_orders_and_reads_them(bench: Bench) -> None:
    """Also where a right was granted by mistake: the function asks for its role."""
    bench.executor.call("keep_order", *KEPT)
    assert [row["number"] for row in bench.executor.table("kept_orders")] == [1]
    for role in (INGEST, SHIPPER, READER):
        for name, parameters in (("keep_order", KEPT), ("kept_orders", ())):
            assert refusal(bench.hands(role).call, name, *parameters).sqlstate == "42501", (role, name)
