"""Build, rebuild, compare (POL-05; design section 4): a changed policy cannot pass as the one that was built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from contracts.canonical import sha256_hex
from contracts.errors import CannotEvaluate, NotTrusted, Refused
from symphony import opa as opa_program
from symphony import policy_build
from symphony.policy import tested
from symphony.policy.check import check
from symphony.policy.model import COVERAGE_TOO_LOW, FAIL, NOTHING_TESTED, VIOLATED, Result
from symphony.policy_build import (
    POLICIES,
    build,
    check_pair,
    committed_wasm,
    rebuild,
    recorded_pair,
    rego_digest,
    rego_files,
)
from tests.policy.support import environment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of ``policies/`` to change."""
    return Path(shutil.copytree(POLICIES, tmp_path / "policies"))


@pytest.fixture
def without_opa(monkeypatch, tmp_path):
    """A machine that has no ``opa``."""
    for name in ("SYMPHONY_OPA", "SYMPHONY_TOOLS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))


def failing(folder: Path, opa: Path) -> dict[str, Result]:
    """The checks that fail, by name."""
    return {one.name: one for one in check(folder, environment(), "data", opa=opa).results if one.verdict == FAIL}


def edited(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same Rego with a cap that does not bind."""
    name = "payments/caps.rego"
    return {**files, name: files[name].replace(b"amount_minor <= cap", b"amount_minor >= cap")}


def test_the_committed_wasm_is_the_recorded_one_and_rebuilds_to_the_same_bytes(opa):
    assert rebuild(opa=opa) == rebuild(opa=opa) == committed_wasm()
    recorded = recorded_pair()
    assert recorded.rego_sha256 == rego_digest()
    assert recorded.wasm_sha256 == sha256_hex(committed_wasm())
    assert recorded.opa_version == opa_program.OPA_VERSION


def test_the_bytes_do_not_depend_on_the_folder(opa, folder):
    assert rebuild(folder, opa) == committed_wasm()


def test_tests_do_not_change_the_digest_and_rules_names_and_moves_do(folder):
    before = rego_digest(folder)
    (folder / "payments" / "more_test.rego").write_text("package more_test\n")
    assert rego_digest(folder) == before
    (folder / "payments" / "caps.rego").rename(folder / "payments" / "limits.rego")
    assert rego_digest(folder) != before
    assert rego_digest(edited(rego_files())) != before
    assert rego_digest({"a": b"b", "c": b"d"}) != rego_digest({"a": b"d", "c": b"b"})


def test_a_pair_is_rebuilt_where_there_is_an_opa(opa):
    checked = check_pair(rego_files(), committed_wasm(), opa=opa)
    assert checked.rebuilt
    assert "rebuilt here with opa" in checked.sentence


@pytest.mark.parametrize("spoil", ["rego", "wasm"])
def test_a_pair_that_is_none_is_not_trusted(opa, spoil):
    files = edited(rego_files()) if spoil == "rego" else rego_files()
    wasm = committed_wasm() + b"\0" if spoil == "wasm" else committed_wasm()
    with pytest.raises(NotTrusted) as caught:
        check_pair(files, wasm, opa=opa)
    assert caught.value.code == "RELEASE_DIGEST"


def test_without_opa_only_the_recorded_pair_passes_and_says_so(without_opa):
    checked = check_pair(rego_files(), committed_wasm())
    assert not checked.rebuilt
    assert "not rebuilt here" in checked.sentence
    for files, wasm in ((edited(rego_files()), committed_wasm()), (rego_files(), committed_wasm() + b"\0")):
        with pytest.raises(CannotEvaluate) as caught:
            check_pair(files, wasm)
        assert caught.value.code == "RELEASE_NOT_REBUILT"
        assert "make tools" in caught.value.next_step


def test_without_opa_nothing_is_built_checked_or_tested(without_opa, folder):
    attempts = (lambda: build(folder), lambda: check(folder, environment(), "data"), lambda: tested.run_tests(folder))
    for attempt in attempts:
        with pytest.raises(CannotEvaluate) as caught:
            attempt()
        assert caught.value.code == "RELEASE_NOT_REBUILT"


def test_an_opa_named_by_the_environment_is_used_and_a_wrong_name_is_said(without_opa, monkeypatch, opa, tmp_path):
    monkeypatch.setenv("SYMPHONY_OPA", str(opa))
    assert opa_program.find_opa() == opa
    monkeypatch.setenv("SYMPHONY_OPA", str(tmp_path / "absent"))
    with pytest.raises(CannotEvaluate, match="absent"):
        opa_program.find_opa()


def test_the_tools_cache_is_looked_in(without_opa, monkeypatch, opa, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "symphony-tools" / "bin").mkdir(parents=True)
    (tmp_path / "symphony-tools" / "bin" / "opa").symlink_to(opa)
    assert opa_program.find_opa() == tmp_path / "symphony-tools" / "bin" / "opa"


def test_another_version_of_opa_is_refused(tmp_path):
    other = tmp_path / "opa"
    other.write_text("#!/bin/sh\necho 'Version: 0.1.0'\n")
    other.chmod(0o755)
    with pytest.raises(CannotEvaluate, match=r"opa 0\.1\.0, pinned is"):
        rebuild(opa=other)


def test_a_program_that_is_no_opa_is_said(tmp_path):
    other = tmp_path / "opa"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    with pytest.raises(CannotEvaluate, match="does not say its version"):
        rebuild(opa=other)
    with pytest.raises(CannotEvaluate, match="did not run"):
        rebuild(opa=tmp_path / "absent")


@pytest.mark.parametrize("files", [
    {"payments/a.rego": b"package symphony.payments\n\ndecisions := {"},
    {"payments/a.rego": b"package other\n\nx := 1\n"},
    {"../a.rego": b"package a\n"}, {"/tmp/a.rego": b"package a\n"},
])
def test_what_does_not_compile_is_refused(opa, files):
    with pytest.raises(Refused) as caught:
        rebuild(files, opa)
    assert caught.value.code == "RELEASE_ENGINE"


def test_a_folder_without_rego_is_refused(tmp_path):
    with pytest.raises(Refused, match="0 Rego files"):
        rego_files(tmp_path)


def test_build_writes_what_check_then_finds_in_order(opa, folder):
    (folder / "payments" / "caps.rego").write_bytes(edited(rego_files())["payments/caps.rego"])
    assert failing(folder, opa)["build"].findings[0].change == f"symphony policy build {folder}"
    pair = build(folder, opa)
    assert pair == recorded_pair(folder)
    assert pair.wasm_sha256 != recorded_pair().wasm_sha256
    assert set(failing(folder, opa)) == {"tests"}
    assert tested.run_tests(folder, opa).exit_code == VIOLATED


def test_a_committed_wasm_that_is_not_the_recorded_one_is_not_trusted(folder):
    wasm = folder / "build" / "policy.wasm"
    wasm.write_bytes(wasm.read_bytes() + b"\0")
    with pytest.raises(NotTrusted, match="not the recorded one"):
        committed_wasm(folder)


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"rego_sha256": "x"}'])
def test_a_record_that_is_none_is_said(folder, record):
    (folder / "BUILD.json").write_text(record)
    with pytest.raises(CannotEvaluate, match="no digest pair"):
        recorded_pair(folder)


def test_nothing_tested_and_low_coverage_have_their_own_exit_codes(opa, folder):
    for path in folder.rglob("*_test.rego"):
        path.unlink()
    assert tested.run_tests(folder, opa).exit_code == NOTHING_TESTED
    (folder / "payments" / "thin_test.rego").write_text("package thin_test\n\ntest_nothing if true\n")
    thin = tested.run_tests(folder, opa)
    assert thin.exit_code == COVERAGE_TOO_LOW
    assert thin.uncovered


def test_style_and_syntax_are_findings(opa, folder):
    (folder / "payments" / "hours.rego").write_text("package   symphony.payments\n\n\nx = 1\n")
    assert "not formatted" in failing(folder, opa)["format"].findings[0].text
    (folder / "payments" / "hours.rego").write_text("package symphony.payments\n\nx := {\n")
    assert check(folder, environment(), "data", opa=opa).exit_code == 1
    with pytest.raises(CannotEvaluate):
        tested.run_tests(folder, opa)


def test_the_record_is_small_and_readable():
    assert set(json.loads((POLICIES / "BUILD.json").read_text())) == {"rego_sha256", "wasm_sha256", "opa_version"}
    assert policy_build.ENTRYPOINT == "symphony/payments/decisions"
