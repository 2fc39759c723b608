"""Exceptions: timeboxed, seen in every report, never a silent green (INV: "timeboxed exception")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from contracts.errors import CannotEvaluate, Refused
from symphony.cli import cli
from symphony.invariants import Manifest, Report, check, load_manifest, proofs
from symphony.invariants.exceptions import EXCEPTION_DAYS_MAX, Exemption
from symphony.invariants.formats import FORMATS, ending, lines_of
from tests.invariants.support import one_entry, run
from tests.support.database import TestPostgres

GRANTED = date(2026, 11, 1)
EXPIRES = date(2026, 11, 30)
EXEMPTION = Exemption("INV-006", "team-db", "a tool needs it", "OPS-17", "audit by hand", GRANTED, EXPIRES)
FIELDS = ("owner", "reason", "ticket", "compensating_control", "granted", "expires", "invariant")
TEXT = """exceptions:
  - invariant: INV-901
    owner: team-db
    reason: a tool needs it
    ticket: OPS-17
    compensating_control: audit by hand
    granted: 2026-11-01
    expires: 2026-11-30
"""


class At:
    """A clock that stands at noon of a day."""

    def __init__(self, day: date) -> None:
        self._moment = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self._moment


@pytest.fixture(scope="module")
def broken(postgres: TestPostgres, whole: Mapping[str, str]) -> Mapping[str, str]:
    """INV-006 does not hold in the ledger's database."""
    ledger = postgres.new_database("ledger").admin
    run(ledger, "GRANT CREATE ON SCHEMA ledger TO symphony_ledger")
    return {**whole, "ledger": ledger}


def looked(manifest: Manifest, urls: Mapping[str, str], day: date = GRANTED, *exemptions: Exemption) -> Report:
    """A run of INV-006 and INV-014 on a day."""
    chosen = frozenset({"INV-006", "INV-014"})
    return check(replace(manifest, exceptions=exemptions or (EXEMPTION,)), urls, only=chosen, clock=At(day))


@pytest.mark.parametrize(
    ("day", "result", "state", "code"),
    [
        (GRANTED - timedelta(1), "FAIL", "not begun", 1), (GRANTED, "EXCEPTED", "in force", 0),
        (EXPIRES, "EXCEPTED", "in force", 0), (EXPIRES + timedelta(1), "FAIL", "expired", 1),
    ],
)  # fmt: skip
def test_a_failure_is_excepted_only_while_the_exception_is_in_force(
    day: date, result: str, state: str, code: int, manifest: Manifest, broken: Mapping[str, str]
) -> None:
    report = looked(manifest, broken, day)
    assert [(one.result, one.detail[-1]) for one in report.results if one.invariant.id == "INV-006"] == [
        (result, "ledger: symphony_ledger may create in schema ledger")
    ]
    assert [one.state for one in report.exceptions] == [state]
    assert report.exit_code == code
    assert "INV-006" in report.failed  # who signs or releases sees it red
    assert "INV-006" not in report.passed


def test_an_expired_exception_is_red_also_when_its_check_passes(manifest: Manifest, whole: Mapping[str, str]) -> None:
    report = looked(manifest, whole, EXPIRES + timedelta(1))
    assert report.exit_code == 1
    assert report.results[0].result == "FAIL"
    assert report.results[0].detail[0].startswith("exception expired on 2026-11-30")


@pytest.mark.parametrize("identifier", ["INV-026", "INV-019"])
def test_an_expired_exception_is_red_also_where_no_check_runs(
    identifier: str, manifest: Manifest, whole: Mapping[str, str]
) -> None:
    """One whose test was not asked for, one on the roadmap."""
    late = replace(EXEMPTION, invariant=identifier)
    report = check(
        replace(manifest, exceptions=(late,)), whole, only=frozenset({identifier}), clock=At(EXPIRES + timedelta(1))
    )
    assert [(one.invariant.id, one.result) for one in report.results] == [(identifier, "FAIL")]
    assert (report.exit_code, report.skipped) == (1, ())


def test_an_exception_that_nothing_needs_is_said(manifest: Manifest, whole: Mapping[str, str]) -> None:
    report = looked(manifest, whole)
    assert [one.state for one in report.exceptions] == ["not needed"]
    assert (report.exit_code, report.excepted) == (0, [])
    assert "exception INV-006 (not needed)" in ending(report)


@pytest.mark.parametrize("day", [GRANTED, EXPIRES + timedelta(1)])
def test_what_could_not_be_evaluated_is_never_excepted(day: date, manifest: Manifest, whole: Mapping[str, str]) -> None:
    report = looked(manifest, {**whole, "ledger": "postgresql://nobody@127.0.0.1:1/none"}, day)
    assert report.results[0].result == "ERROR"
    assert report.exit_code == 3


def test_one_for_paths_excuses_no_failing_check(manifest: Manifest, broken: Mapping[str, str]) -> None:
    report = looked(manifest, broken, GRANTED, replace(EXEMPTION, paths=("migrations/**",)))
    assert (report.exit_code, [one.state for one in report.exceptions]) == (1, ["for changes"])


def test_one_for_another_invariant_excuses_nothing(manifest: Manifest, broken: Mapping[str, str]) -> None:
    assert looked(manifest, broken, GRANTED, replace(EXEMPTION, invariant="INV-014")).exit_code == 1


def test_every_report_lists_it_with_the_findings(manifest: Manifest, broken: Mapping[str, str]) -> None:
    report = looked(manifest, broken)
    forms = {name: form(report) for name, form in FORMATS.items()}
    forms["text"] = "\n".join([*(line for one in report.results for line in lines_of(one)), ending(report)])
    for name, text in forms.items():
        for word in ("OPS-17", "team-db", "a tool needs it", "audit by hand", "2026-11-30", "may create in schema"):
            assert word in text, (name, word)
    assert json.loads(forms["json"])["exceptions"][0]["state"] == "in force"
    assert json.loads(forms["json"])["results"][0]["result"] == "EXCEPTED"
    suite = ET.fromstring(forms["junit"])
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "1")
    found = json.loads(forms["sarif"])["runs"][0]["results"]
    assert [(one["level"], one["suppressions"][0]["status"]) for one in found] == [("warning", "accepted")]
    assert "excepted: INV-006" in forms["text"]


def test_a_proof_and_the_index_carry_it(manifest: Manifest, broken: Mapping[str, str], tmp_path: Path) -> None:
    proofs.write(looked(manifest, broken), tmp_path, broken, manifest, environment="sandbox")
    proof, other, index = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("INV-006", "INV-014", "EVIDENCE_INDEX")
    )
    assert (proof["result"], proof["exceptions"][0]["ticket"], other["exceptions"]) == ("EXCEPTED", "OPS-17", [])
    assert index["exceptions"] == proof["exceptions"]
    assert [one["result"] for one in index["proofs"]] == ["EXCEPTED", "PASS"]


def test_it_is_exit_7_for_who_asks_for_warnings(
    manifest: Manifest, broken: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr("symphony.stack.gate.fresh_urls", lambda: nullcontext(broken))
    monkeypatch.delenv("SYMPHONY_DIR", raising=False)
    excepted = replace(EXEMPTION, granted=date(2020, 1, 1), expires=date(2999, 1, 1))
    monkeypatch.setattr("symphony.commands.invariants.manifest_of", lambda *_asked: replace(manifest, exceptions=(excepted,)))
    words = ["invariants", "check", "--only", "INV-006"]
    assert CliRunner().invoke(cli, words).exit_code == 0
    assert CliRunner().invoke(cli, [*words, "--fail-on-warn"]).exit_code == 7
    assert CliRunner().invoke(cli, ["invariants", "check", "--only", "INV-014", "--fail-on-warn"]).exit_code == 0
    assert "OPS-17" in CliRunner().invoke(cli, ["invariants", "explain", "I-SEC-02"]).output


def test_it_is_read_from_the_manifest(tmp_path: Path) -> None:
    assert load_manifest(one_entry(tmp_path, top=TEXT)).exceptions == (replace(EXEMPTION, invariant="INV-901"),)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [None, "' '"])
def test_one_with_a_field_missing_or_blank_is_refused(field: str, value: str | None, tmp_path: Path) -> None:
    lines = [f"    {line.strip(' -')}" for line in TEXT.splitlines()[1:]]
    kept = [line for line in lines if not line.startswith(f"    {field}:")] + (
        [f"    {field}: {value}"] if value else []
    )
    text = "exceptions:\n" + "\n".join(["  -" + kept[0][3:], *kept[1:]]) + "\n"
    with pytest.raises(Refused, match="exceptions/0"):
        load_manifest(one_entry(tmp_path, top=text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2026-11-30", (GRANTED + timedelta(EXCEPTION_DAYS_MAX + 1)).isoformat()), ("2026-11-30", "2026-10-31"),
        ("2026-11-30", "2026-11-31"), ("2026-11-30", "2026-11-30T00:00:00Z"), ("INV-901", "INV-999"), ("owner", "colour"),
    ],
)  # fmt: skip
def test_one_that_cannot_be_is_refused(old: str, new: str, tmp_path: Path) -> None:
    with pytest.raises((Refused, CannotEvaluate), match="exception"):
        load_manifest(one_entry(tmp_path, top=TEXT.replace(old, new)))


def test_the_longest_that_may_be(tmp_path: Path) -> None:
    last = (GRANTED + timedelta(EXCEPTION_DAYS_MAX)).isoformat()
    assert load_manifest(one_entry(tmp_path, top=TEXT.replace("2026-11-30", last))).exceptions
