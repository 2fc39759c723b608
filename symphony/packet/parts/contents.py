"""The files of a packet: what must be there, and what is computed from the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from symphony.packet.parts.derive import Documents, exceptions, kpis, reconciliation, timelines
from symphony.packet.parts.findings import (
    MANIFEST,
    RULE,
    WRONG,
    Findings,
    canonical_json,
    sha256_of,
    strict_json,
)
from symphony.packet.parts.log import Head, LogPart
from symphony.packet.parts.report import README, report_html

DERIVED = ("timelines", "reconciliation", "exceptions", "kpis")
MANIFEST_SCHEMA = "symphony.packet/1"


def manifest_of(folder: Path) -> bytes:
    """The manifest of every other file in a folder."""
    files = {name: sha256_of((folder / name).read_bytes()) for name in files_of(folder)}
    return canonical_json({"schema": MANIFEST_SCHEMA, "files": files}) + b"\n"


def files_of(folder: Path) -> list[str]:
    """Every file below a folder but the manifest, as relative names. ``ValueError`` for what is no plain file."""
    out = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ValueError(f"{name}: not a plain file")
        if path.is_file() and name != "manifest.json":
            out.append(name)
    return out


def check_manifest(folder: Path, findings: Findings) -> None:
    """Every listed file is there with its digest, and no other; the manifest is in its one form."""
    data = (folder / "manifest.json").read_bytes()
    document = strict_json(data)
    if document.get("schema") != MANIFEST_SCHEMA or canonical_json(document) + b"\n" != data:
        findings.add(MANIFEST, "manifest.json: not in the form that the exporter writes")
    listed, present = dict(document["files"]), set(files_of(folder))
    for name in sorted(set(listed) | present):
        if name not in present:
            findings.add(MANIFEST, f"{name}: listed in manifest.json and not here")
        elif name not in listed:
            findings.add(MANIFEST, f"{name}: not listed in manifest.json")
        elif sha256_of((folder / name).read_bytes()) != listed[name]:
            findings.add(MANIFEST, f"{name}: other bytes than manifest.json lists")


def computed_files(packet: dict[str, Any], documents: Documents, ledger: dict[str, Any], log: dict[str, Any]) -> Any:
    """``(files by name, derived values)`` from the records, the ledger's postings and the checkpoint's facts."""
    entries = timelines(documents)
    found = exceptions(documents, entries)
    derived: dict[str, Any] = {
        "timelines": entries,
        "reconciliation": reconciliation(entries, ledger, whole=log["whole"]),
        "exceptions": found,
        "kpis": kpis(documents, entries, found),
    }
    files = {f"{name}.json": pretty_json(derived[name]) for name in DERIVED}
    files["report.html"] = report_html({**packet, **log}, derived)
    files["README.txt"] = README.encode("utf-8")
    return files, derived


def pretty_json(value: Any) -> bytes:
    """JSON to read, always the same bytes for the same value."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False).encode("utf-8") + b"\n"


def log_facts(part: LogPart, head: Head) -> dict[str, Any]:
    """What the report says of the log."""
    return {"origin": head.origin, "tree_size": head.size, "root": head.root.hex(), "whole": part.whole}


def check_computed(folder: Path, part: LogPart, head: Head, findings: Findings) -> dict[str, Any]:
    """The computed files are what the records give; then the rules that the records show broken."""
    packet = strict_json((folder / "packet.json").read_bytes())
    ledger = strict_json((folder / "postings.json").read_bytes())
    files, derived = computed_files(packet, part.documents, ledger, log_facts(part, head))
    for name, expected in files.items():
        if (folder / name).read_bytes() != expected:
            findings.add(WRONG, f"{name}: does not follow from the records")
    for item in derived["reconciliation"]["broken"]:
        findings.add(RULE, f"{item['rule']}: instruction {item['instruction_id']}: {item['detail']}")
    assert isinstance(derived, dict)
    return derived
