"""The small programs behind make and CI: each fault is found, and nothing checked is never a pass (MIG-14)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts import check_count, check_docs, long_report

PASSED = '<testcase classname="t" name="a"/>'
SKIPPED = '<testcase classname="t" name="b"><skipped message="m"/></testcase>'
FAILED = '<testcase classname="t" name="c"><failure message="m"/></testcase>'


@pytest.mark.parametrize(
    ("cases", "floor", "expected"),
    [
        (PASSED * 3, 3, 0),
        (PASSED * 4, 3, 0),
        (PASSED * 2, 3, 1),
        (PASSED * 3 + SKIPPED, 3, 1),
        (PASSED * 2 + FAILED, 3, 1),
        ("", 0, 4),
    ],
)
def test_a_skip_or_a_falling_count_is_a_failure(tmp_path: Path, cases: str, floor: int, expected: int) -> None:
    (tmp_path / "r.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    (tmp_path / "COUNT").write_text(f"{floor}\n")
    assert check_count.main([str(tmp_path / "r.xml"), str(tmp_path / "COUNT")]) == expected


def test_the_floor_is_committed(root: Path) -> None:
    assert int((root / "tests" / "COUNT").read_text()) > 0


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](none.md)", "leads nowhere"),
        ("[a](#nothing)", "names no heading"),
        ("[a](other.md#nothing)", "names no heading"),
        ("[a](other.md#a-part)", None),
        ("[a](other.md) [b](https://example.org/x) [c](mailto:a@example.org)", None),
        ("`[a](none.md)`", None),
        ("# Own part\n[a](#own-part)", None),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path: Path, text: str, fault: str | None) -> None:
    (tmp_path / "other.md").write_text("# A part\n")
    (tmp_path / "x.md").write_text(text)
    found = list(check_docs.broken_links(tmp_path / "x.md"))
    assert [fault in line for line in found] == ([True] if fault else []) if fault else found == []


def test_a_make_target_that_does_not_exist_is_found(tmp_path: Path) -> None:
    (tmp_path / "x.md").write_text("```console\n$ make demo\n$ make nonsense PYTHON=x\nmake other\n```\n")
    assert list(check_docs.unknown_commands(tmp_path / "x.md", {"demo"})) == ["x.md: make nonsense does not exist"]


def test_a_command_that_does_not_exist_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_docs, "_verb_exists", lambda verbs: verbs == ("release", "show"))
    (tmp_path / "x.md").write_text("```console\n$ symphony release show --env sandbox\n$ symphony sing loud\n```\n")
    assert list(check_docs.unknown_commands(tmp_path / "x.md", set())) == ["x.md: symphony sing loud does not exist"]


def test_a_dependency_without_a_line_is_found(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "requirements" / "a.in").write_text("-r b.in\nknown[extra]\nstranger==1\n")
    (tmp_path / "docs" / "dependencies.md").write_text("| `known` | |\n")
    assert list(check_docs.unexplained_dependencies(tmp_path)) == [
        "a.in: stranger has no line in docs/dependencies.md"
    ]


def test_every_target_that_the_issue_names_is_there(root: Path) -> None:
    wanted = {"demo", "test", "test-long", "lint", "bench", "tools", "docs"}
    assert wanted <= check_docs.targets(root / "Makefile")


def test_make_without_a_target_changes_nothing_and_helps(root: Path) -> None:
    answer = subprocess.run(["make", "-C", root], capture_output=True, text=True)
    assert answer.returncode == 0
    assert "make demo" in answer.stdout


def test_the_opa_build_is_over_at_once_when_it_is_there(root: Path, opa: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "opa").symlink_to(opa)
    command = [root / "scripts" / "build_opa.sh", folder, "/nonexistent/python", "/nonexistent/lock"]
    assert subprocess.run(command, timeout=20).returncode == 0


LONG_RUN = """<testsuites><testsuite tests="2" failures="{failures}" errors="0" skipped="0" timestamp="2026-01-01T00:00:00">
<testcase classname="tests.a" name="test_one" time="61.2"><system-out>---- Out ----
seed 7
</system-out></testcase>
<testcase classname="tests.a" name="test_two[a|b]" time="1">{inside}</testcase></testsuite></testsuites>"""


@pytest.mark.parametrize(("inside", "failures", "code"), [("", 0, 0), ("<failure/>", 1, 1), ("<skipped/>", 0, 1), ("<error/>", 0, 1)])
def test_the_report_of_a_long_run_says_what_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str, failures: int, code: int
) -> None:
    monkeypatch.setattr(long_report, "TARGET", tmp_path / "page.md")
    monkeypatch.setattr(long_report, "ROOT", tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, "abc123\n"))
    results = tmp_path / "long.xml"
    results.write_text(LONG_RUN.format(inside=inside, failures=failures))
    assert long_report.main([str(results)]) == code
    text = (tmp_path / "page.md").read_text()
    assert "| `tests.a.test_one` | 61 | passed | seed 7 |" in text
    assert ("not passed" in text) is bool(code)
    assert "a\\|b" in text
    assert "`abc123`" in text


def test_a_long_run_without_a_test_is_no_success(tmp_path: Path) -> None:
    results = tmp_path / "long.xml"
    results.write_text("<testsuites><testsuite tests='0'/></testsuites>")
    assert long_report.main([str(results)]) == 4
