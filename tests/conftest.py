"""Fixtures that every side's tests share.

``postgres``     one embedded cluster a session; ``postgres.new_database("sidecar")`` gives a migrated database.
``shared_data``  the folder of real messages and vectors beside the checkout.
``opa``          a real ``opa``.

Where a part is missing the test is skipped; with ``SYMPHONY_CI=1`` that is a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis  # noqa: F401 - its plugin else first imports it in the summary; CPython 3.11 may fail on that (gh-106905)
import pytest

from tests.support.database import TestPostgres
from tests.support.needs_schema import pytest_collection_modifyitems  # noqa: F401 - a hook of pytest

ROOT = Path(__file__).resolve().parent.parent


def missing(what: str) -> None:
    """Skip the test for a missing part, or fail it where nothing may be missing."""
    if os.environ.get("SYMPHONY_CI") == "1":
        pytest.fail(f"{what} missing")
    pytest.skip(f"{what} missing")


@pytest.fixture(scope="session", autouse=True)
def policy_checks(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The stacks of a session share what passed the policy checks: the same policy under the same data is asked once."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["SYMPHONY_POLICY_CHECKS"] = str(shared / "policy-checks")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """``shared/data``: beside the checkout, or where ``SYMPHONY_SHARED`` says."""
    path = Path(os.environ.get("SYMPHONY_SHARED", ROOT.parent / "shared")) / "data"
    if not path.is_dir():
        missing("shared data")
    return path


@pytest.fixture(scope="session")
def opa() -> Path:
    """A real ``opa``, as ``make tools`` builds it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/nonexistent") / ".cache")
    tools = Path(os.environ.get("SYMPHONY_TOOLS") or cache / "symphony-tools" / "bin")
    found = tools / "opa" if (tools / "opa").is_file() else shutil.which("opa")
    if found is None:
        missing("opa")
    return Path(str(found))


@pytest.fixture(scope="session")
def postgres() -> Iterator[TestPostgres]:
    """One embedded cluster for the session; gone afterwards, also when the session is killed."""
    with TestPostgres(ROOT / "migrations") as running:
        yield running
