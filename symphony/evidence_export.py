"""Makes an evidence packet from the control plane's parts and the ledger's postings (EVD-12, design section 9).

    with httpx.stream("GET", "/v1/exports/evidence") as answer:
        export(map(json.loads, answer.iter_lines()), Path("out"), postings=…, ledger_read_at=…)

* the folder must not be there, or be empty; it is made beside it and renamed, so a packet is whole or absent;
* records are written as they arrive; the computed files come from the same code that verifies them;
* read the ledger first and then begin the export: then every posting's allow record has had its time to arrive;
  give all its postings: those of the packet's payments and of its period are kept;
* nothing here is trusted: run the packet's own ``verify.py``.
"""

from __future__ import annotations

import base64
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from contracts.canonical import parse_json
from contracts.errors import CannotEvaluate, Refused
from contracts.times import rfc3339
from symphony.packet import verifier_source
from symphony.packet.parts.contents import computed_files, manifest_of, pretty_json
from symphony.packet.parts.derive import timelines

PART_BYTES_MAX = 32 * 1024 * 1024
POSTING_FIELDS = ("instruction_id", "amount_minor", "currency", "debit_agent", "credit_agent", "posted_at")


@dataclass
class _Packet:
    """What has arrived so far."""

    folder: Path
    records: IO[bytes]
    facts: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    heartbeats: list[dict[str, str]] = field(default_factory=list)
    edge: dict[str, list[str]] = field(default_factory=dict)
    batches: list[dict[str, Any]] = field(default_factory=list)
    leaves: list[str] = field(default_factory=list)
    documents: dict[int, dict[str, Any]] = field(default_factory=dict)
    whole: bool = False

    def take(self, part: dict[str, Any]) -> None:
        """Keep one part. ``KeyError`` for an unknown one."""
        getattr(self, f"_{part['part']}")(part)

    def _packet(self, part: dict[str, Any]) -> None:
        self.facts = part

    def _checkpoint(self, part: dict[str, Any]) -> None:
        self.note, self.streams = part["note"], part["streams"]

    def _heartbeat(self, part: dict[str, Any]) -> None:
        self.heartbeats.append({"heartbeat": part["heartbeat"], "signature": part["signature"]})

    def _edge(self, part: dict[str, Any]) -> None:
        self.edge = {"left": part["left"], "right": part["right"]}

    def _tuf(self, part: dict[str, Any]) -> None:
        _write(self.folder / "tuf", part["name"], base64.b64decode(part["content"]))

    def _target(self, part: dict[str, Any]) -> None:
        _write(self.folder / "tuf" / "targets", part["name"], base64.b64decode(part["content"]))

    def _batch(self, part: dict[str, Any]) -> None:
        self.batches.append({name: part[name] for name in ("first_index", "batch", "signature")})

    def _record(self, part: dict[str, Any]) -> None:
        data = base64.b64decode(part["record"])
        self.records.write(data + b"\n")
        self.leaves.append(part["leaf"])
        self.documents[int(part["index"])] = parse_json(data)

    def _end(self, part: dict[str, Any]) -> None:
        self.whole = part["records"] == len(self.leaves) > 0


def export(
    parts: Iterable[dict[str, Any]], out: Path, *, postings: Iterable[dict[str, Any]] | None = None,
    ledger_read_at: datetime | None = None,
) -> Path:  # fmt: skip
    """Write the packet to ``out``. ``postings`` are the ledger's, read at ``ledger_read_at``; ``None``: not compared.

    Raises ``Refused REQUEST_INVALID`` when ``out`` is there, ``CannotEvaluate PACKET_INVALID`` when the export was
    cut off or cannot be read.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Refused("REQUEST_INVALID", f"{out} is there already")
    if (postings is None) != (ledger_read_at is None):
        raise ValueError("postings and ledger_read_at belong together")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    folder.mkdir()
    try:
        _fill(folder, parts, list(postings or []), ledger_read_at)
        if out.exists():
            out.rmdir()
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return out


def _fill(
    folder: Path, parts: Iterable[dict[str, Any]], postings: list[dict[str, Any]], ledger_read_at: datetime | None
) -> None:
    with (folder / "records.jsonl").open("wb") as records:
        packet = _Packet(folder, records)
        try:
            for part in parts:
                packet.take(part)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CannotEvaluate("PACKET_INVALID", f"the export cannot be read: {error}") from error
    if not packet.whole:
        raise CannotEvaluate("PACKET_INVALID", "the export was cut off")
    ledger = {
        "read_at": rfc3339(ledger_read_at) if ledger_read_at else None,
        "postings": [{name: posting.get(name) for name in POSTING_FIELDS} for posting in _wanted(packet, postings)],
    }
    for name, content in _contents(packet, ledger).items():
        (folder / name).write_bytes(content)
    (folder / "manifest.json").write_bytes(manifest_of(folder))


def _wanted(packet: _Packet, postings: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The postings of the packet's payments, whenever posted, and every other posting of the period."""
    known = {entry["instruction_id"] for entry in timelines(packet.documents)}
    begin, end = packet.facts["from"], None if packet.facts["until_now"] else packet.facts["to"]
    for posting in postings:
        inside = (begin is None or posting["posted_at"] >= begin) and (end is None or posting["posted_at"] < end)
        if inside or str(posting["instruction_id"]) in known:
            yield posting


def _contents(packet: _Packet, ledger: dict[str, Any]) -> dict[str, bytes]:
    facts = packet.facts
    log = {
        "first_index": facts["first_index"], "end_index": facts["end_index"], "tree_size": facts["tree_size"],
        **packet.edge, "leaves": packet.leaves,
    }  # fmt: skip
    about = {"schema": "symphony.packet_about/1"}
    about |= {name: facts[name] for name in ("environment", "exported_at", "from", "to")}
    computed, _ = computed_files(about, packet.documents, ledger, _log_facts(packet))
    fixed = {
        "packet.json": pretty_json(about),
        "log.json": pretty_json(log),
        "batches.json": pretty_json(packet.batches),
        "streams.json": pretty_json({"streams": packet.streams, "heartbeats": packet.heartbeats}),
        "postings.json": pretty_json(ledger),
        "checkpoint": packet.note.encode("utf-8"),
        "verify.py": verifier_source().encode("utf-8"),
    }
    return {**fixed, **computed}


def _log_facts(packet: _Packet) -> dict[str, Any]:
    lines = packet.note.split("\n")
    return {
        "origin": lines[0], "tree_size": int(lines[1]), "root": base64.b64decode(lines[2]).hex(),
        "whole": packet.facts["first_index"] == 0 and packet.facts["end_index"] == int(lines[1]),
    }  # fmt: skip


def _write(folder: Path, name: str, content: bytes) -> None:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"a path outside the packet: {name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def lines_to_parts(lines: Iterable[str | bytes]) -> Iterator[dict[str, Any]]:
    """The parts from the lines of the control plane's answer; each line bounded, duplicate keys refused."""
    for line in lines:
        if line:
            part = parse_json(line, bytes_max=PART_BYTES_MAX)
            if not isinstance(part, dict):
                raise CannotEvaluate("PACKET_INVALID", "a part of the export is not an object")
            yield part
