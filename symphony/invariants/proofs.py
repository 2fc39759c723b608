"""Proof files (EVD-03 to EVD-07): one JSON per invariant, an index, validated against their schemas before they are written.

Each file is written beside its name and then renamed, the index last: an index speaks only of files that are whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from contracts.canonical import sha256_hex
from contracts.errors import Refused
from contracts.times import Clock, SystemClock, rfc3339
from symphony import places
from symphony.invariants.anchors import anchors
from symphony.invariants.exceptions import Judged
from symphony.invariants.model import Manifest
from symphony.invariants.run import Report, Result
from symphony.release.gate import EVIDENCE_INDEX

SCHEMA = "EVIDENCE_SCHEMA.json"
INDEX_SCHEMA = "EVIDENCE_INDEX_SCHEMA.json"


def write(
    report: Report, folder: Path, urls: Mapping[str, str], manifest: Manifest, *, environment: str, clock: Clock | None = None
) -> list[Path]:  # fmt: skip
    """Write every proof and the index; the paths, the index last.

    Raises ``Refused RELEASE_INVARIANT`` for one that breaks its schema; nothing is written then.
    """
    common = {**anchors(urls, manifest), "environment": environment, "timestamp_utc": rfc3339((clock or SystemClock()).now())}
    proofs = {one.invariant.id: _proof(one, common, report.exceptions) for one in report.results}
    for proof in proofs.values():
        validate(proof)
    files = {name: json.dumps(proof, indent=1, sort_keys=True).encode() + b"\n" for name, proof in proofs.items()}
    index = {
        "schema": "symphony.evidence_index/1", "timestamp_utc": common["timestamp_utc"],
        "commit_hash": common["commit_hash"], "exceptions": _documents(report.exceptions),
        "proofs": [
            {"invariant_id": name, "path": f"{name}.json", "sha256": sha256_hex(data), "result": proofs[name]["result"]}
            for name, data in files.items()
        ],
    }  # fmt: skip
    validate_index(index)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_write(folder / f"{name}.json", data) for name, data in files.items()]
    return [*paths, _write(folder / EVIDENCE_INDEX, json.dumps(index, indent=1).encode() + b"\n")]


def validate(proof: Mapping[str, Any]) -> None:
    """Raise ``Refused RELEASE_INVARIANT`` unless a proof fits its schema (NEG-16)."""
    _held_to(SCHEMA, proof, f"proof of {proof.get('invariant_id')}")


def validate_index(index: Mapping[str, Any]) -> None:
    """Raise ``Refused RELEASE_INVARIANT`` unless an index fits its schema (EVD-04)."""
    _held_to(INDEX_SCHEMA, index, "evidence index")


def _held_to(schema: str, document: Mapping[str, Any], name: str) -> None:
    rules = json.loads((places.folder("invariants") / schema).read_text())
    faults = list(Draft202012Validator(rules).iter_errors(dict(document)))
    if faults:
        raise Refused("RELEASE_INVARIANT", f"{name}: {faults[0].message[:160]}")


def _proof(result: Result, common: Mapping[str, Any], exceptions: Iterable[Judged]) -> dict[str, Any]:
    return {
        **common, "schema": "symphony.invariant_proof/1", "invariant_id": result.invariant.id, "result": result.result,
        "severity": result.invariant.severity, "title": result.invariant.title,
        "exceptions": _documents(one for one in exceptions if one.exemption.invariant == result.invariant.id),
        "proof": {
            "ran": list(result.ran), "not_run": [text for text in result.invariant.verified_by if text not in result.ran],
            "seen": result.seen, "findings": list(result.detail),
        },
        "details": f"{result.seen} things seen, {len(result.detail)} findings",
    }  # fmt: skip


def _documents(exceptions: Iterable[Judged]) -> list[dict[str, Any]]:
    return [one.document() for one in exceptions]


def _write(path: Path, data: bytes) -> Path:
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    return path
