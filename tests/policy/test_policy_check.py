"""``symphony policy check|test|build``: each check red, exit codes, hostile folders (POL-05, POL-10, POL-16)."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from contracts.errors import CannotEvaluate, Misused, Refused
from contracts.opa_bundle import verify
from sidecar.policy.answers import Decision
from symphony.cli import main
from symphony.policy import parity, source, wasm
from symphony.policy.check import check
from symphony.policy.formats import FORMATS, lines_of
from symphony.policy.model import ERROR, FAIL, PASS, SKIP, Report, Result, failed, not_evaluated, passed, skipped
from symphony.policy.source import Source, load
from symphony.policy_build import committed_wasm, rebuild, rego_files
from symphony.release.ceremony import build_key_id
from symphony.stack.credentials import key_pem, load_key, new_key
from tests.policy.support import environment

HERE = Path(__file__).resolve().parent
LOOPS = "allowed(item) if {\n\tcount([1 | some a in numbers.range(1, 40000); some b in numbers.range(1, 40000); a == b]) > item.rail.local_minute\n}\n"


def trap(place: Path, name: str = "truthy") -> Path:
    """A folder with one trap and a test, and no record of a build."""
    (place / "rule").mkdir(parents=True)
    frame = (HERE / "traps" / "frame.txt").read_text()
    rule = (HERE / "traps" / f"{name}.rego").read_text().partition("package symphony.payments\n")[2]
    (place / "rule" / "rule.rego").write_text(frame + rule)
    return place


def by_name(report: Report) -> dict[str, Result]:
    return {one.name: one for one in report.results}


def checked(place: Path, opa: Path) -> dict[str, Result]:
    return by_name(check(place, environment(), "data.json", opa=opa))


@pytest.mark.usefixtures("brief")
def test_a_trap_is_refused_with_field_and_change(opa, tmp_path):
    found = checked(trap(tmp_path), opa)
    assert found["probe"].verdict == FAIL
    assert any("rail/window_open" in one.text for one in found["probe"].findings)
    assert found["tests"].code == 4


def test_what_does_not_compile_is_named_with_its_line_and_the_rest_waits(opa, folder):
    path = folder / "payments" / "hours.rego"
    path.write_text(path.read_text() + "\nunused(x) := 1\n")
    found = checked(folder, opa)
    assert found["compile"].verdict == FAIL
    assert found["compile"].findings[0].file == "payments/hours.rego"
    assert found["compile"].findings[0].line > 10
    assert {found[name].verdict for name in ("tests", "build", "roots", "probe", "parity")} == {SKIP}


@pytest.mark.usefixtures("brief")
def test_a_policy_that_calls_out_is_refused_by_the_capabilities(opa, folder):
    (folder / "payments" / "out.rego").write_text(
        'package symphony.payments\n\nout := http.send({"method": "get", "url": "http://127.0.0.1/"})\n'
    )
    result = checked(folder, opa)["compile"]
    assert "http.send" in result.findings[0].text
    assert "capabilities" in result.findings[0].change


def test_a_test_that_calls_out_is_not_run(opa, folder):
    (folder / "payments" / "out_test.rego").write_text(
        'package out_test\n\ntest_out if http.send({"method": "get", "url": "http://127.0.0.1/"}).status_code == 200\n'
    )
    with pytest.raises(CannotEvaluate, match="undefined function"):
        from symphony.policy.tested import run_tests

        run_tests(folder, opa)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize(("package", "word"), [("environment.more", "environment's data"), ("other", "outside the bundle's")])
def test_roots_that_overlap_or_lie_outside_are_refused(opa, folder, package, word):
    (folder / "payments" / "more.rego").write_text(f"package {package}\n\nx := 1\n")
    result = checked(folder, opa)["roots"]
    assert result.verdict == FAIL
    assert word in result.findings[0].text


@pytest.mark.usefixtures("brief")
def test_a_field_that_no_payment_has_is_refused_with_its_place(opa, folder):
    path = folder / "payments" / "hours.rego"
    path.write_text(path.read_text().replace("item.rail.is_business_day", "item.rail.is_businessday"))
    result = checked(folder, opa)["roots"]
    assert "rail/is_businessday" in result.findings[0].text
    assert (result.findings[0].file, result.findings[0].line) == ("payments/hours.rego", 6)


def test_an_unknown_field_in_data_is_refused(opa, folder):
    found = by_name(check(folder, {**environment(), "extra": 1}, "data.json", opa=opa))
    assert found["data"].verdict == FAIL
    assert "extra" in found["data"].findings[0].text
    assert found["probe"].verdict == SKIP


def test_engines_that_differ_are_told(opa, monkeypatch):
    """An engine that answers one thing more than the other, on one payment of 60."""
    policy = wasm.Policy(committed_wasm(), environment())
    real = policy.decisions

    def one_more(items):
        out = real(items)
        out[7] = Decision(not out[7].allow, out[7].reasons, out[7].obligations)
        return out

    monkeypatch.setattr(policy, "decisions", one_more)
    found, figures = parity.differences(policy, Source(rego_files()), environment(), (), opa, count=60)
    assert len(found) == 1
    assert figures["inputs"] == 60


def test_parity_compares_both_answers_and_great_numbers(opa):
    policy = wasm.Policy(committed_wasm(), environment())
    found, figures = parity.differences(policy, Source(rego_files()), environment(), (), opa, count=parity.INPUTS)
    assert found == []
    assert figures["inputs"] == parity.INPUTS == 500
    assert parity.INPUTS_LONG == 5_000


def test_a_policy_that_never_ends_could_not_be_evaluated(opa, tmp_path, monkeypatch):
    monkeypatch.setattr(wasm, "BATCH_DEADLINE_MS", 300)
    monkeypatch.setattr(parity, "EVAL_TIMEOUT_S", 1)
    place = trap(tmp_path)
    path = place / "rule" / "rule.rego"
    path.write_text(path.read_text().replace("allowed(item) if item.rail.window_open\n", LOOPS))
    began = time.monotonic()
    found = checked(place, opa)
    assert found["probe"].verdict == ERROR
    assert found["probe"].code == 3
    assert "no answer in" in found["probe"].findings[0].text
    assert time.monotonic() - began < 60


def test_questions_are_bounded_in_time():
    policy = wasm.Policy(committed_wasm(), environment(), seconds_max=-1)
    with pytest.raises(CannotEvaluate, match="too slow"):
        policy.decisions([{}])


def test_a_policy_that_fails_on_one_payment_denies_that_one(opa):
    conflicting = {"a.rego": (HERE / "traps" / "frame.txt").read_bytes(), "b.rego": (
        b"package symphony.payments\n\nallowed(item) := true if item.x == 1\n\nallowed(item) := 1 if item.y == 1\n"
    )}
    policy = wasm.Policy(rebuild(conflicting, opa), environment())
    answers = policy.decisions([{"x": 1}, {"x": 1, "y": 1}, {"x": 1}])
    assert [(one.allow, one.reasons) for one in answers] == [(True, ()), (False, ("POLICY_ERROR",)), (True, ())]


def test_an_empty_folder_and_no_folder_are_usage_errors(tmp_path, with_opa, capsys):
    for place in (tmp_path, tmp_path / "absent"):
        assert main(["policy", "check", str(place)]) == 2
        assert main(["policy", "test", str(place)]) == 2
        assert "next:" in capsys.readouterr().err


def outward_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.rego").write_text("package symphony.payments\n")
    (folder / "payments" / "more.rego").symlink_to(tmp_path / "outside.rego")


def outward_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (folder / "payments" / "more").symlink_to(tmp_path / "outside")


def ten_megabytes(folder: Path, _tmp_path: Path) -> None:
    (folder / "payments" / "more.rego").write_text("package symphony.payments\n" + "# x\n" * 2_500_000)


def not_text(folder: Path, _tmp_path: Path) -> None:
    (folder / "payments" / "more.rego").write_bytes(b"package symphony.payments\n# \xff\xfe\n")


def odd_name(folder: Path, _tmp_path: Path) -> None:
    (folder / "payments" / "More rules.rego").write_text("package symphony.payments\n")


def a_folder_as_file(folder: Path, _tmp_path: Path) -> None:
    (folder / "payments" / "more.rego").mkdir()


@pytest.mark.parametrize("spoil", [outward_file, outward_folder, ten_megabytes, not_text, odd_name, a_folder_as_file])
def test_a_hostile_folder_is_refused_before_opa_sees_it(spoil, folder, tmp_path, with_opa, capsys):
    spoil(folder, tmp_path)
    with pytest.raises(Refused) as caught:
        load(folder)
    assert caught.value.code == "RELEASE_POLICY"
    assert caught.value.next_step != "symphony policy check"
    assert main(["policy", "test", str(folder)]) == 1
    assert "RELEASE_POLICY" in capsys.readouterr().err


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "ENTRIES_MAX", 3)
    for number in range(5):
        (tmp_path / f"a{number}.txt").write_text("")
    with pytest.raises(Refused, match="over 3 files"):
        load(tmp_path)
    for number in range(3):
        (tmp_path / f"a{number}.rego").write_text("package a\n")
    monkeypatch.undo()
    monkeypatch.setattr(source, "REGO_FILES_MAX", 2)
    with pytest.raises(Refused, match="3 Rego files"):
        load(tmp_path)


def test_no_opa_is_exit_3_with_the_next_step(monkeypatch, tmp_path, folder, capsys):
    for name in ("SYMPHONY_OPA", "SYMPHONY_TOOLS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for command in ("check", "test", "build"):
        assert main(["policy", command, str(folder)]) == 3
        assert "make tools" in capsys.readouterr().err


def test_the_command_line_checks_our_own_policy(with_opa, capsys):
    assert main(["policy", "check"]) == 0
    assert "8 of 8 pass" in capsys.readouterr().out


def test_the_exit_codes_of_test(with_opa, folder, capsys):
    assert main(["policy", "test", str(folder), "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["results"][0]["figures"]["coverage_percent"] >= 95
    first = folder / "payments" / "hours_test.rego"
    first.write_text(first.read_text() + "\ntest_wrong if 1 == 2\n")
    assert main(["policy", "test", str(folder)]) == 1
    assert "test_wrong failed" in capsys.readouterr().out
    for path in folder.rglob("*_test.rego"):
        path.unlink()
    assert main(["policy", "test", str(folder)]) == 4
    (folder / "payments" / "thin_test.rego").write_text("package thin_test\n\ntest_nothing if true\n")
    capsys.readouterr()
    assert main(["policy", "test", str(folder), "-o", "junit"]) == 8
    assert ET.fromstring(capsys.readouterr().out).get("failures") == "1"


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("output", ["json", "sarif", "markdown"])
def test_every_form_of_a_failed_check_says_what_to_change(output, with_opa, tmp_path, capsys):
    assert main(["policy", "check", str(trap(tmp_path)), "-o", output]) == 1
    text = capsys.readouterr().out
    assert "rail/window_open" in text
    assert "positive rule" in text
    if output == "sarif":
        assert {one["ruleId"] for one in json.loads(text)["runs"][0]["results"]} >= {"probe", "tests"}


def test_build_makes_what_a_release_has(with_opa, folder, tmp_path, capsys):
    key = tmp_path / "key.pem"
    key.write_bytes(key_pem(new_key()))
    for out in ("one", "two"):
        assert main(["policy", "build", str(folder), "--out", str(tmp_path / out), "--key", str(key)]) == 0
    for name in ("policy.wasm", "policy.tar.gz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / "policy.wasm").read_bytes() == committed_wasm()
    loaded = load_key(key)
    files = verify((tmp_path / "one" / "policy.tar.gz").read_bytes(), loaded.public_key(), build_key_id(loaded))
    assert {name: content for name, content in files.items() if name.endswith(".rego")} == rego_files()
    capsys.readouterr()
    assert main(["policy", "build", str(folder), "--out", str(tmp_path / "three")]) == 0
    assert "--key" in capsys.readouterr().out
    key.write_text("no key")
    assert main(["policy", "build", str(folder), "--out", str(tmp_path / "four"), "--key", str(key)]) == 2


@pytest.mark.parametrize(("codes", "expected"), [
    ([0, 0], 0), ([1, 3], 3), ([1, 4], 1), ([4, 8], 4), ([8, 0], 8), ([], 4),
])
def test_the_worst_code_counts_and_nothing_is_not_a_pass(codes, expected):
    results = [passed("a", "t") if not code else failed("a", "t", [], code) for code in codes]
    assert Report(tuple(results)).exit_code == expected


def test_what_was_skipped_alone_is_not_a_pass():
    report = Report((skipped("a", "t", "why"),))
    assert report.exit_code == 4
    assert FORMATS["junit"](report).count("skipped") >= 2
    assert lines_of(not_evaluated("b", "t", "no", "do"))[0].startswith("ERROR")
    assert PASS in lines_of(passed("c", "t", probes=1))[0]


def test_the_folder_is_read_once(opa, folder):
    """What is checked is what is built, though the folder changes meanwhile."""
    held = load(folder)
    shutil.rmtree(folder)
    with held.folder() as place:
        assert {path.name for path in place.rglob("*.rego")} == {Path(name).name for name in held.files}
        assert place.stat().st_mode & 0o077 == 0
    assert not place.exists()
    with pytest.raises(Misused):
        load(folder)
