"""``@pytest.mark.needs_schema("ledger", 6)``: on the last release's schema this test waits (MIG-04, ``make n1``).

Only where ``SYMPHONY_N1=1`` is set and the migrations beside the tests are older; else it is a test as any other.
"""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("SYMPHONY_N1") != "1":
        return
    for item in items:
        for marker in item.iter_markers("needs_schema"):
            kind, version = marker.args
            if len(list((config.rootpath / "migrations" / kind).glob("*.sql"))) < version:
                item.add_marker(pytest.mark.skip(reason=f"needs schema {kind} {version}"))
