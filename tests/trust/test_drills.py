"""Every drill passes on a scratch world, and fails where the procedure that it practises does not hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from controlplane.trust import swap
from symphony import cli
from symphony.drill import run as drills
from symphony.drill.report import Ended, Report, demand, markdown, refused
from tests.support.database import TestPostgres

MUST = {
    "officer-key-lost": "TRUST_BREAKS_RELEASE names the release; nothing is published",
    "officer-key-stolen": "OFFICER_IS_PROPOSER: alone he approves nothing",
    "online-keys-stolen": "RELEASE_SIGNATURE: without officers he invents nothing",
    "root-expired": "the same release is in force again: no restart, no new release",
    "custodian-quorum-lost": "RELEASE_SIGNATURE: no key changes any more",
}


@pytest.mark.parametrize("name", drills.NAMES)
def test_a_drill_holds_the_real_procedure_step_by_step(postgres: TestPostgres, tmp_path: Path, name: str) -> None:
    said: list[str] = []
    document = drills.run(name, tmp_path, lambda: postgres.new_database("controlplane").writer, reviews=False, say=said.append)
    assert document["outcome"] == "pass", document["steps"][-1]
    assert len(said) == len(document["steps"]) >= 6
    assert all(step["outcome"] == "pass" and step["seconds"] >= 0 for step in document["steps"])
    assert MUST[name] in [step["must"] for step in document["steps"]]
    assert document["notes"]
    assert {"commit", "migrations_sha256", "drill_sha256", "published_sha256"} <= set(document["anchors"])
    assert set(document["anchors"]["published_sha256"]) == {"root", "targets", "sandbox", "sandbox-revocations"}


def test_a_drill_fails_where_the_control_plane_lets_a_needed_key_go(
    postgres: TestPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the command: exit 1, the step that failed is the last, its report is written."""

    async def anything(*_arguments: Any) -> None:
        """What a control plane without the rule would do."""

    @contextmanager
    def of_the_session() -> Iterator[Any]:
        yield lambda: postgres.new_database("controlplane").writer

    monkeypatch.setattr(swap, "_demand_standing", anything)
    monkeypatch.setattr(drills, "scratch_databases", of_the_session)
    assert cli.main(["drill", "officer-key-lost", "--dir", str(tmp_path / "d"), "-o", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "d" / "officer-key-lost.json").read_text())
    last = document["steps"][-1]
    assert (document["outcome"], last["outcome"], last["what"]) == ("fail", "fail", "bruno is removed without a renewal")
    assert "it went through; TRUST_BREAKS_RELEASE was to refuse it" in last["detail"]
    assert "| fail |" in (tmp_path / "d" / "officer-key-lost.md").read_text()
    assert cli.main(["drill", "root-expired", "--dir", str(tmp_path / "d")]) == 2, "never where anything lies already"


def test_a_report_without_steps_is_no_pass_and_an_error_of_ours_fails_its_step() -> None:
    report = Report("x")
    assert not report.passed
    with pytest.raises(Ended), report.step("a", "b"):
        raise RuntimeError("ours")
    with pytest.raises(Ended), report.step("a | b", "c"):
        refused("RELEASE_STATE", lambda: None)
    with report.step("c", "d"):
        demand("it holds", "")
    document = report.document(at="now")
    assert [step["outcome"] for step in document["steps"]] == ["fail", "fail", "pass"]
    assert document["outcome"] == "fail"
    assert "a \\| b" in markdown(document)
