"""The manifest, and one whole database of each kind for tests that break none of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from symphony.invariants import Manifest, load_manifest
from tests.invariants.support import KINDS
from tests.support.database import TestPostgres


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return load_manifest()


@pytest.fixture(scope="session")
def whole(postgres: TestPostgres) -> Mapping[str, str]:
    """URLs by kind of databases that nobody breaks."""
    return {kind: postgres.new_database(kind).admin for kind in KINDS}
