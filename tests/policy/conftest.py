"""A working folder of the repo's policy, a real ``opa``, and few questions where a test is about something else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from symphony.policy import parity, probe
from symphony.policy_build import POLICIES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of ``policies/`` to change."""
    return Path(shutil.copytree(POLICIES, tmp_path / "policies"))


@pytest.fixture
def with_opa(opa: Path, monkeypatch) -> Path:
    """The command line finds the real ``opa``."""
    monkeypatch.setenv("SYMPHONY_OPA", str(opa))
    return opa


@pytest.fixture(autouse=True)
def _kept_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYMPHONY_POLICY_CHECKS", raising=False)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few questions, where a test is about another check or about how a failed one is told."""
    monkeypatch.setattr(probe, "PAIRS", 200)
    monkeypatch.setattr(parity, "INPUTS", 60)
    monkeypatch.setattr(parity, "INPUTS_LONG", 60)
