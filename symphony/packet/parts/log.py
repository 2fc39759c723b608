"""The log: the signed checkpoint, its root over the packet's leaves, and each record against its leaf."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from symphony.packet.parts.findings import MISSING, WRONG, Fault, Findings, strict_json, unhex
from symphony.packet.parts.tree import leaf_of, root_of_range
from symphony.packet.parts.trust import TrustedKeys, verify_bytes


@dataclass
class Head:
    """What the log signed."""

    origin: str
    size: int
    root: bytes
    streams_sha256: str


@dataclass
class LogPart:
    """The contiguous part of the log that the packet carries. ``names`` is log index to stream and number."""

    first: int = 0
    size: int = 0
    leaves: list[bytes] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    documents: dict[int, dict[str, Any]] = field(default_factory=dict)
    names: dict[int, tuple[str, int]] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The log index behind the last record."""
        return self.first + len(self.leaves)

    @property
    def whole(self) -> bool:
        """Whether the packet carries every record of the log at its checkpoint."""
        return self.first == 0 and self.end == self.size


def read_head(folder: Path, trust: TrustedKeys) -> Head:
    """The checkpoint, its signature checked under a log key that a release lists."""
    text, _, tail = (folder / "checkpoint").read_bytes().decode("utf-8").rpartition("\n\n")
    lines = text.split("\n")
    streams = [line[8:] for line in lines[3:] if line.startswith("streams ")]
    head = Head(lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True), streams[0])
    if str(head.size) != lines[1] or len(head.root) != 32 or len(streams) != 1:
        raise ValueError("checkpoint: not a checkpoint")
    known = trust.log_keys.get(head.origin, [])
    if not known:
        raise Fault(WRONG, f"checkpoint: of the log {head.origin!r}, which no release names")
    signed = False
    for line in tail.split("\n")[:-1]:
        dash, name, encoded = line.split(" ")
        raw = base64.b64decode(encoded, validate=True)
        for key in known:
            if dash == "\u2014" and name == head.origin and raw[:4] == _key_hash(name, key):
                if not verify_bytes(key, raw[4:], (text + "\n").encode("utf-8")):
                    raise Fault(WRONG, "checkpoint: the log's signature does not hold")
                signed = True
    if not signed:
        raise Fault(MISSING, "checkpoint: no signature of the log's key")
    return head


def _key_hash(name: str, public_key: str) -> bytes:
    return hashlib.sha256(name.encode() + b"\n\x01" + bytes.fromhex(public_key)).digest()[:4]


def read_log(folder: Path) -> LogPart:
    """The leaves that the packet claims, and the lines of its records, nothing checked yet."""
    document = strict_json((folder / "log.json").read_bytes())
    leaves = [unhex(item, 32, "log.json: leaves") for item in document["leaves"]]
    raw = (folder / "records.jsonl").read_bytes()
    lines = raw.split(b"\n")
    if lines.pop():
        lines.append(raw.rpartition(b"\n")[2])
    return LogPart(first=int(document["first_index"]), size=int(document["tree_size"]), leaves=leaves, lines=lines)


def check_root(folder: Path, part: LogPart, head: Head) -> None:
    """The leaves, with the subtrees beside them, give the root that the log signed."""
    document = strict_json((folder / "log.json").read_bytes())
    sides = [[unhex(item, 32, f"log.json: {side}") for item in document[side]] for side in ("left", "right")]
    if part.size != head.size:
        raise Fault(WRONG, f"log.json: of a tree of {part.size} leaves, the checkpoint is of {head.size}")
    if root_of_range(part.first, part.leaves, part.size, *sides) != head.root:
        raise Fault(WRONG, "log.json: the leaves do not give the root that the log signed")


def check_records(part: LogPart, findings: Findings) -> None:
    """Each record's bytes give its leaf; a record that is changed, removed, moved or added is named."""
    hashes = [leaf_of(line) for line in part.lines]
    present, expected = set(hashes), set(part.leaves)
    same_count = len(hashes) == len(part.leaves)
    for position, leaf in enumerate(part.leaves):
        index = part.first + position
        if position < len(hashes) and hashes[position] == leaf:
            continue
        if leaf in present:
            if same_count:
                findings.add(WRONG, f"record {_name(part, index)}: stands in another place than in the log")
        elif same_count and hashes[position] not in expected:
            findings.add(WRONG, f"record {_name(part, index)}: its bytes are not those that the log holds")
        else:
            findings.add(WRONG, f"gap: record {_name(part, index)} was removed")
    for position, value in enumerate(hashes):
        if value not in expected and not same_count:
            findings.add(WRONG, f"records.jsonl line {position + 1}: is no leaf of the log")
    if len(hashes) > len(present) and not same_count:
        findings.add(WRONG, "records.jsonl: a record stands twice")
    _read_documents(part, hashes, findings)


def _read_documents(part: LogPart, hashes: list[bytes], findings: Findings) -> None:
    place = {leaf: part.first + position for position, leaf in enumerate(part.leaves)}
    for line, value in zip(part.lines, hashes, strict=True):
        index = place.get(value)
        if index is not None:
            with findings.check("every record is readable"):
                part.documents[index] = strict_json(line)
                part.names.setdefault(index, (part.documents[index]["stream"], part.documents[index]["seq"]))


def _name(part: LogPart, index: int) -> str:
    stream, seq = part.names.get(index, ("?", 0))
    return f"stream={stream} seq={seq or '?'} log_index={index}"
