"""An officer's key on a real PKCS#11 token (SoftHSM 2), from the command line to the control plane (SEC-08).

``make test-long``: SoftHSM is a package of the system (``softhsm2``), which CI's machine has no project file to install from.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
from pathlib import Path

import pytest

from contracts.keys import key_id_of, load_private_key
from symphony.cli import main
from symphony.release.keys import PIN_VARIABLE
from tests.conftest import missing
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("opa")]
PIN = "314159"
MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so")


@pytest.fixture
def token(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A token with bruno's key, whose file is gone; the URI of the key."""
    module = next((one for one in MODULES if Path(one).is_file()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        missing("softhsm2, a package of the system")
    try:
        importlib.import_module("pkcs11")
    except ImportError:
        missing("python-pkcs11 (make setup)")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    monkeypatch.setenv(PIN_VARIABLE, PIN)
    file = running.world.folder / "officers" / "bruno" / "key.pem"
    for words in (
        ["--init-token", "--free", "--label", "officers", "--so-pin", "2718281", "--pin", PIN],
        ["--import", str(file), "--token", "officers", "--label", "bruno", "--id", "01", "--pin", PIN],
    ):
        subprocess.run(["softhsm2-util", *words], check=True, capture_output=True)
    file.unlink()
    return f"pkcs11:token=officers;object=bruno?module-path={module}"


def approve(running: Running, uri: str) -> int:
    """As bruno types it."""
    folder = running.world.folder
    return main([
        "release", "approve", "1", "--yes", "--url", running.url, "--ca", str(running.ca), "--root", str(folder / "trust" / "1.root.json"),
        "--officer-folder", str(folder / "officers" / "bruno"), "--key", uri,
    ])  # fmt: skip


def test_a_key_that_never_leaves_its_token_approves_a_release(
    running: Running, token: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = key_id_of(load_private_key(running.world.folder / "officers" / "chanda" / "key.pem"))
    running.proposed()
    for wrong in (token.replace("object=bruno", "object=chanda"), token.replace("token=officers", "token=others")):
        assert approve(running, wrong) == 3
    monkeypatch.setenv(PIN_VARIABLE, "000000")
    assert approve(running, token) == 3
    assert "Pin" in capsys.readouterr().err
    assert running.control("alice").release(ENVIRONMENT, 1)["approvals"] == []
    monkeypatch.setenv(PIN_VARIABLE, PIN)
    assert approve(running, token) == 0
    assert "release 1 is PROPOSED" in capsys.readouterr().out
    assert running.approved(1, "chanda") == ["APPROVED"]
    approvals = running.control("alice").release(ENVIRONMENT, 1)["approvals"]
    assert [one["actor"] for one in approvals] == ["bruno", "chanda"]
    assert approvals[0]["key_id"] != own
