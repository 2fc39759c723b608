"""Proof files (EVD-03 to EVD-07): one JSON per invariant, an index, validated against their schemas before they are written.

Each file is written beside its name and then renamed, the index last: an index speaks only of files that are whole. It names what
was not run and which databases nobody looked at, so that a part is not taken for all. One run writes into a folder at a time; what
an earlier index named and this one does not is removed, so that no old PASS lies beside a new index.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from contracts.canonical import sha256_hex
from contracts.errors import CannotEvaluate, Refused
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

    Raises ``Refused RELEASE_INVARIANT`` for one that breaks its schema, ``CannotEvaluate`` while another run writes there;
    nothing is written then.
    """
    common = {**anchors(urls, manifest), "environment": environment, "timestamp_utc": rfc3339((clock or SystemClock()).now())}
    proofs = {one.invariant.id: _proof(one, common, report) for one in report.results}
    for proof in proofs.values():
        validate(proof)
    files = {name: json.dumps(proof, indent=1, sort_keys=True).encode() + b"\n" for name, proof in proofs.items()}
    index = {
        "schema": "symphony.evidence_index/1", "timestamp_utc": common["timestamp_utc"],
        "commit_hash": common["commit_hash"], "exceptions": _documents(report.exceptions),
        "not_run": [one.id for one in manifest.implemented if one.id not in proofs], "not_looked_at": list(report.absent),
        "proofs": [
            {"invariant_id": name, "path": f"{name}.json", "sha256": sha256_hex(data), "result": proofs[name]["result"]}
            for name, data in files.items()
        ],
    }  # fmt: skip
    validate_index(index)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        old = set(_named(folder)) - {f"{name}.json" for name in files}
        paths = [_write(folder / f"{name}.json", data) for name, data in files.items()]
        paths.append(_write(folder / EVIDENCE_INDEX, json.dumps(index, indent=1).encode() + b"\n"))
        for name in old:
            (folder / name).unlink(missing_ok=True)
    return paths


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


def _proof(result: Result, common: Mapping[str, Any], report: Report) -> dict[str, Any]:
    return {
        **common, "schema": "symphony.invariant_proof/1", "invariant_id": result.invariant.id, "result": result.result,
        "severity": result.invariant.severity, "title": result.invariant.title,
        "exceptions": _documents(one for one in report.exceptions if one.exemption.invariant == result.invariant.id),
        "proof": {
            "ran": list(result.ran), "not_run": [text for text in result.invariant.verified_by if text not in result.ran],
            "seen": result.seen, "findings": list(result.detail),
            "not_looked_at": list(report.absent),
        },
        "details": f"{result.seen} things seen, {len(result.detail)} findings",
    }  # fmt: skip


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other run writes into the folder meanwhile; the lock goes with whoever holds it. Raises ``CannotEvaluate``."""
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise CannotEvaluate(
            "RELEASE_INVARIANT", f"another run writes proofs into {folder}", next_step="give each run a folder of its own"
        ) from error
    finally:
        os.close(place)


def _named(folder: Path) -> Iterator[str]:
    """The files that an earlier index in the folder names, each still as it says."""
    try:
        for one in json.loads((folder / EVIDENCE_INDEX).read_bytes())["proofs"]:
            name = Path(one["path"]).name
            if sha256_hex((folder / name).read_bytes()) == one["sha256"]:
                yield name
    except (OSError, ValueError, KeyError, TypeError):
        return


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
