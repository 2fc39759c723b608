"""One distribution: the wheel carries code, SQL, schemas, policy and migrations, and runs outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SIDES = ("contracts", "controlplane", "sidecar", "rails", "services", "symphony")
FOLDERS = ("migrations", "policies", "manifests", "invariants", "requirements")
TRAVELS = (".sql", ".rego", ".json", ".wasm", ".html", ".tmpl", ".yml")


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that a build leaves nothing in the checkout."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*SIDES, *FOLDERS):
        if (root / name).is_dir():
            shutil.copytree(root / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(root / name, copy / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, copy]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return next(out.glob("*.whl"))


def test_everything_that_is_read_at_run_time_travels(root: Path, wheel: Path) -> None:
    inside = {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    wanted = {
        path.name
        for name in (*SIDES, *FOLDERS[:-1])
        for path in (root / name).rglob("*")
        if path.suffix in TRAVELS and not path.name.endswith("_test.rego")
    }
    assert len(wanted) > 30
    assert wanted - inside == set()


def test_the_installed_wheel_runs_outside_the_checkout(root: Path, wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run([*command, "--disable-pip-version-check", "--root-user-action", "ignore"], check=True)
    code = (
        "import symphony.places, symphony.migrations, contracts.schemas, sysconfig; from pathlib import Path\n"
        f"sysconfig.get_path = lambda name: {str(target)!r}\n"
        "print(Path(symphony.__file__).is_relative_to(sysconfig.get_path('data')),"
        " len(symphony.migrations.read(symphony.places.folder('migrations') / 'ledger')),"
        " bool(contracts.schemas.schema('symphony.environment/1')))"
    )
    elsewhere = {"cwd": tmp_path, "env": {"PYTHONPATH": str(target)}}
    done = subprocess.run([sys.executable, "-P", "-c", code], **elsewhere, capture_output=True, text=True)
    ledger = len(list((root / "migrations" / "ledger").glob("*.sql")))
    assert (done.stdout.strip(), done.returncode) == (f"True {ledger} True", 0), done.stderr[-2000:]


def test_the_gate_of_an_installed_wheel_judges_another_repository(wheel: Path, tmp_path: Path) -> None:
    """As a team has it by pipx: no checkout of ours anywhere."""
    target, repository = tmp_path / "installed", tmp_path / "theirs"
    (repository / "db").mkdir(parents=True)
    (repository / "db" / "1.sql").write_text("CREATE TABLE public.t (n int);\n")
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run([*command, "--disable-pip-version-check", "--root-user-action", "ignore"], check=True)
    code = (
        f"import sys, sysconfig\nwas = sysconfig.get_path\nsysconfig.get_path = lambda name: {str(target)!r} if name == 'data' else was(name)\n"
        "from symphony.cli import main\nsys.exit(main(['invariants', *sys.argv[1:]]))"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(target)}

    def asked(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-P", "-c", code, *words], cwd=repository, env=environment, capture_output=True, text=True)

    assert asked("init", "--migrations", "db").returncode == 0
    done = asked("check")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "INV-KEY-01" in done.stdout
    assert "public.t has no primary key" in done.stdout


def test_a_folder_that_is_nowhere_is_said() -> None:
    from contracts.errors import CannotEvaluate
    from symphony import places

    assert places.folder("migrations").is_dir()
    with pytest.raises(CannotEvaluate, match="neither in"):
        places.folder("no-such-folder")
