"""Every code that a follower can raise is either transient or permanent, and none is both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contracts.reasons import REASONS
from contracts.release.refusals import PERMANENT, TRANSIENT, is_permanent
from tests.releases.support import ROOT

FOLLOWING = (
    "contracts/release/*.py", "contracts/opa_bundle.py", "contracts/bundle_archive.py", "contracts/schemas/__init__.py",
    "contracts/canonical.py", "contracts/keys.py", "contracts/times.py", "contracts/named_sql.py", "sidecar/following.py",
    "sidecar/invariants.py", "sidecar/active.py",  "sidecar/policy/*.py",
    "services/ledger/invariants.py", "services/ledger/store/releases.py",
    "contracts/runtime_invariants.py",
)  # fmt: skip
"""What ``ReleaseFollower.refresh`` runs in a sidecar and in a ledger: rules, files, records, self-tests."""

WATCH = {"SERVICE_HALTED"}
"""Of the watch beside it, which looks by itself and refuses requests, never a release."""

DECISIONS = {"policy/answers.py", "policy/engine.py", "policy/obligations.py", "policy/self_test.py"}
"""Files whose codes of decisions are no refusal of a release."""


def modules() -> list[Path]:
    """The files; a pattern without any is a defect of this test."""
    found = [(pattern, sorted(ROOT.glob(pattern))) for pattern in FOLLOWING]
    assert all(files for _, files in found), [pattern for pattern, files in found if not files]
    return [file for _, files in found for file in files if file.name != "refusals.py"]


def codes_in(file: Path) -> set[str]:
    """Codes of the closed list that a file names as text."""
    found = set(re.findall(r'"([A-Z][A-Z0-9_]+)"', file.read_text("utf-8"))) & set(REASONS) - WATCH
    decided = any(str(file).endswith(name) for name in DECISIONS)
    return {code for code in found if not decided or REASONS[code].station == "release"}


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(ROOT)))
def test_every_code_that_a_follower_can_raise_is_classified(file: Path) -> None:
    assert codes_in(file) <= TRANSIENT | PERMANENT


def test_no_code_is_both_and_each_is_of_the_closed_list() -> None:
    assert not TRANSIENT & PERMANENT
    assert set(REASONS) >= TRANSIENT | PERMANENT
    assert {code for code in PERMANENT if REASONS[code].retryable} == set()


def test_a_code_that_nobody_classified_is_permanent() -> None:
    """An officer looks; nothing waits for ever for what will not come."""
    assert is_permanent("A_CODE_OF_TOMORROW")
    assert is_permanent("RELEASE_SIGNATURE")
    assert not is_permanent("RELEASE_UNREACHABLE")
    assert not is_permanent("RELEASE_NOT_BEFORE")
