"""Proof files (EVD-03 to EVD-07): one JSON per invariant, an index, validated against their schema before they are written."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from jsonschema import Draft202012Validator

from contracts.canonical import length_prefixed, sha256_hex
from contracts.errors import Refused
from contracts.times import SystemClock, rfc3339
from symphony import places
from symphony.invariants import drift
from symphony.invariants.run import Report, Result

SCHEMA = "EVIDENCE_SCHEMA.json"


def write(report: Report, folder: Path, urls: Mapping[str, str], *, environment: str) -> list[Path]:
    """Write every proof and the index; the paths. Raises ``Refused RELEASE_INVARIANT`` for one that breaks the schema."""
    common = {**_anchors(urls), "environment": environment, "timestamp_utc": rfc3339(SystemClock().now())}
    proofs = {result.invariant.id: _proof(result, common) for result in report.results}
    for proof in proofs.values():
        validate(proof)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for identifier, proof in proofs.items():
        paths.append(folder / f"{identifier}.json")
        paths[-1].write_text(json.dumps(proof, indent=1, sort_keys=True) + "\n")
    index = {
        "schema": "symphony.evidence_index/1", "timestamp_utc": common["timestamp_utc"],
        "proofs": [
            {"invariant_id": p.stem, "path": p.name, "sha256": sha256_hex(p.read_bytes()), "result": proofs[p.stem]["result"]}
            for p in paths
        ],
    }  # fmt: skip
    paths.append(folder / "EVIDENCE_INDEX.json")
    paths[-1].write_text(json.dumps(index, indent=1) + "\n")
    return paths


def validate(proof: Mapping[str, Any]) -> None:
    """Raise ``Refused RELEASE_INVARIANT`` unless a proof fits its schema (NEG-16)."""
    schema = json.loads((places.folder("invariants") / SCHEMA).read_text())
    faults = list(Draft202012Validator(schema).iter_errors(dict(proof)))
    if faults:
        raise Refused("RELEASE_INVARIANT", f"proof of {proof.get('invariant_id')}: {faults[0].message[:160]}")


def _proof(result: Result, common: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **common, "schema": "symphony.invariant_proof/1", "invariant_id": result.invariant.id, "result": result.result,
        "severity": result.invariant.severity, "title": result.invariant.title,
        "proof": {
            "ran": list(result.ran), "not_run": [text for text in result.invariant.verified_by if text not in result.ran],
            "seen": result.seen, "findings": list(result.detail),
        },
        "details": f"{result.seen} things seen, {len(result.detail)} findings",
    }  # fmt: skip


def _anchors(urls: Mapping[str, str]) -> dict[str, Any]:
    """Commit, migrations, schemas with their grants, the gate's own scripts, the tools."""
    files = sorted(places.folder("migrations").glob("*/*.sql"))
    scripts = sorted([*Path(__file__).parent.glob("*.py"), *places.folder("invariants").rglob("*.sql")])
    live = {kind: drift.live(url) for kind, url in urls.items()}
    return {
        "commit_hash": _commit(), "migration_version": {kind: version for kind, (version, _) in live.items()},
        "migrations_hash": _over(files, places.folder("migrations")), "gate_script_sha256": _over(scripts, None),
        "db_schema_sha256": {kind: sha256_hex(schema.encode()) for kind, (_, schema) in live.items()},
        "tool_versions": {"python": platform.python_version(), "psycopg": psycopg.__version__},
    }  # fmt: skip


def _over(files: list[Path], root: Path | None) -> str:
    """SHA-256 over each file's name and digest, with their lengths, in the order of names (EVD-05)."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(
            length_prefixed(str(path.relative_to(root)) if root else path.name, sha256_hex(path.read_bytes()))
        )
    return digest.hexdigest()


def _commit() -> str:
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else "not a checkout"
