"""No release is proposed whose policy fails its checks; what passed is kept, and counts while the same is asked (POL-05)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.canonical import sha256_hex
from contracts.errors import CannotEvaluate, Refused
from symphony.cli import main
from symphony.policy import proposed
from symphony.policy_build import rego_files
from symphony.release.ceremony import build_key_id
from symphony.stack.credentials import new_key
from tests.policy.support import environment


def targets(folder: Path, key_folder: Path, data: dict | None = None) -> dict[str, bytes]:
    from contracts import opa_bundle

    key = new_key()
    bundle = opa_bundle.build(rego_files(folder), "r", key, build_key_id(key))
    return {
        "policy.wasm": (folder / "build" / "policy.wasm").read_bytes(),
        "policy.tar.gz": bundle,
        "environment.json": json.dumps(data or environment()).encode(),
    }


@pytest.mark.usefixtures("brief")
def test_what_passes_is_kept_and_not_asked_twice(with_opa, folder, tmp_path, monkeypatch):
    files = targets(folder, tmp_path)
    assert "checks pass" in proposed.demand(files, tmp_path / "kept", folder=folder)
    (report,) = (tmp_path / "kept").iterdir()
    document = json.loads(report.read_text())
    assert document["exit_code"] == 0
    assert document["wasm_sha256"] == sha256_hex(files["policy.wasm"])
    monkeypatch.setattr(proposed, "check", lambda *_a, **_k: pytest.fail("asked twice"))
    assert "passed before" in proposed.demand(files, tmp_path / "kept", folder=folder)
    with_keys = targets(folder, tmp_path, {**environment(), "calendars": {}})
    assert "passed before" in proposed.demand(with_keys, tmp_path / "kept", folder=folder)
    with pytest.raises(pytest.fail.Exception):
        proposed.demand(targets(folder, tmp_path, environment(participants=[])), tmp_path / "kept", folder=folder)
    with pytest.raises(Refused, match="data: "):
        proposed.demand(
            targets(folder, tmp_path, {**environment(), "calendars": {"zm": {}}}), tmp_path / "kept", folder=folder
        )
    report.write_text("{")
    with pytest.raises(pytest.fail.Exception):
        proposed.demand(files, tmp_path / "kept", folder=folder)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("spoil", ["test", "format", "trap", "wasm"])
def test_what_fails_is_not_proposed(spoil, with_opa, folder, tmp_path):
    files = targets(folder, tmp_path)
    if spoil == "test":
        (folder / "payments" / "more_test.rego").write_text("package more_test\n\ntest_wrong if 1 == 2\n")
    elif spoil == "wasm":
        files["policy.wasm"] += b"\0"
    else:
        path = folder / "payments" / "shape.rego"
        text = path.read_text()
        path.write_text(text + "\n\n\n" if spoil == "format" else text.replace("\tis_boolean(rail.window_open)\n", ""))
        main(["policy", "build", str(folder)])
        files = targets(folder, tmp_path)
    with pytest.raises(Refused) as caught:
        proposed.demand(files, tmp_path / "kept", folder=folder)
    assert caught.value.code == "RELEASE_POLICY"
    assert not list((tmp_path / "kept").glob("*")) if (tmp_path / "kept").exists() else True


@pytest.mark.usefixtures("brief")
def test_a_bundle_of_other_rego_is_not_proposed(with_opa, folder, tmp_path):
    files = targets(folder, tmp_path)
    path = folder / "payments" / "caps.rego"
    path.write_text(path.read_text() + "\n# more\n")
    with pytest.raises(Refused, match="bundle's Rego"):
        proposed.demand(files, tmp_path / "kept", folder=folder)


@pytest.mark.usefixtures("brief")
def test_data_that_allow_nobody_may_be_proposed(with_opa, folder, tmp_path):
    files = targets(folder, tmp_path, environment(participants=[]))
    assert "checks pass" in proposed.demand(files, tmp_path / "kept", folder=folder)


def test_without_opa_only_the_recorded_policy_is_proposed(monkeypatch, folder, tmp_path):
    for name in ("SYMPHONY_OPA", "SYMPHONY_TOOLS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no opa" in proposed.demand(targets(folder, tmp_path), tmp_path / "kept", folder=folder)
    path = folder / "payments" / "caps.rego"
    path.write_text(path.read_text() + "\n# more\n")
    with pytest.raises(CannotEvaluate) as caught:
        proposed.demand(targets(folder, tmp_path), tmp_path / "kept", folder=folder)
    assert caught.value.code == "RELEASE_NOT_REBUILT"
