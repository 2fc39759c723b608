"""What a proof is anchored to: commit, migrations, schemas with their grants, the gate's own files, the tools (EVD-03, EVD-05)."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psycopg

from contracts.canonical import length_prefixed, sha256_hex
from contracts.errors import CannotEvaluate
from symphony import places
from symphony.invariants import drift
from symphony.invariants.checks import CONNECT_TIMEOUT_S, Target
from symphony.invariants.model import Manifest

NO_CHECKOUT = "not a checkout"
CHANGED = "+changes"
GIT_TIMEOUT_S = 30
_PACKAGE = Path(__file__).resolve().parents[1]


def anchors(urls: Mapping[str, str], manifest: Manifest) -> dict[str, Any]:
    """The fields that every proof of a run has in common. Raises ``CannotEvaluate`` where a database does not answer."""
    migrations = Target(urls, manifest.folder, databases=manifest.databases).migration_files()
    live = {kind: drift.live(url, own=not manifest.databases) for kind, url in urls.items()}
    return {
        "commit_hash": commit(manifest.root), "migration_version": {kind: version for kind, (version, _) in live.items()},
        "migrations_hash": over((p.relative_to(manifest.root).as_posix(), p) for p in migrations),
        "gate_script_sha256": over(gate_files(manifest.folder)),
        "db_schema_sha256": {kind: sha256_hex(schema.encode()) for kind, (_, schema) in live.items()},
        "tool_versions": tool_versions(urls),
    }  # fmt: skip


def gate_files(invariants: Path) -> list[tuple[str, Path]]:
    """Everything that decides a result: code, checks, schemas and the manifest; a changed or missing one is another hash."""
    shipped = places.folder("invariants")
    code = [*(_PACKAGE / "invariants").glob("*.py"), *(_PACKAGE / "sql").glob("*.sql")]
    code += [
        _PACKAGE / name for name in ("migrations.py", "commands/invariants.py", "release/gate.py", "stack/gate.py")
    ]
    parts = [path for kind in ("*.sql", "*.yml", "*.json") for path in invariants.rglob(kind)]
    ours = [] if shipped.samefile(invariants) else [(f"shipped/{path.name}", path) for path in (shipped / "checks").glob("*.sql")]
    named = [(f"symphony/{path.relative_to(_PACKAGE).as_posix()}", path) for path in code]
    return [*named, *ours, *((f"invariants/{path.relative_to(invariants).as_posix()}", path) for path in parts)]


def over(files: Iterable[tuple[str, Path]]) -> str:
    """SHA-256 over each file's name and digest, with their lengths, in the order of names (EVD-05)."""
    digest = hashlib.sha256()
    for name, path in sorted(files):
        digest.update(length_prefixed(name, sha256_hex(path.read_bytes())))
    return digest.hexdigest()


def commit(root: Path) -> str:
    """The commit of a checkout, with ``+changes`` unless its files are exactly that commit's."""
    if root == places.installed() or not any((place / ".git").exists() for place in (root, *root.parents)):
        return NO_CHECKOUT
    head, changes = git(root, "rev-parse", "HEAD"), git(root, "status", "--porcelain")
    if head is None:
        return NO_CHECKOUT
    return head if changes == "" else head + CHANGED


def tool_versions(urls: Mapping[str, str]) -> dict[str, str]:
    """Python, psycopg, Symphony, and the server of each database."""
    servers = {f"postgresql-{kind}": _server(url) for kind, url in urls.items()}
    return {
        "python": platform.python_version(), "psycopg": psycopg.__version__, "symphony": _own_version(), **servers,
    }  # fmt: skip


def _server(url: str) -> str:
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            return connection.info.parameter_status("server_version") or str(connection.info.server_version)
    except psycopg.Error as error:
        raise CannotEvaluate(
            "STORE_UNAVAILABLE", f"the server did not say its version: {type(error).__name__}"
        ) from error


def _own_version() -> str:
    try:
        return metadata.version("symphony")
    except metadata.PackageNotFoundError:
        return "not installed"


def git(root: Path, *words: str) -> str | None:
    """What git says in a folder; ``None`` where it cannot."""
    try:
        done = subprocess.run(
            ["git", "-c", "safe.directory=*", *words],
            cwd=root, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
