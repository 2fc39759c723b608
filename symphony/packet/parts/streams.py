"""The streams: signed batches, their roots and chain, numbers without a gap, and the counters that the log bound."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from symphony.packet.parts.findings import (
    CANNOT,
    MISSING,
    WRONG,
    Fault,
    Findings,
    canonical_json,
    sha256_of,
    strict_json,
)
from symphony.packet.parts.log import Head, LogPart
from symphony.packet.parts.tree import root_of_leaves
from symphony.packet.parts.trust import TrustedKeys, verify_dsse

BATCH_KIND = "application/vnd.symphony.evidence-batch.v1"
HEARTBEAT_KIND = "application/vnd.symphony.evidence-heartbeat.v1"
OWN = "controlplane"
OWN_KINDS = (
    "symphony.evidence/release_metadata/1", "symphony.evidence/release_event/1", "symphony.evidence/order/1",
    "symphony.evidence/emergency/1",
)  # fmt: skip
"""What the control plane says by itself: no batch carries it, the checkpoint alone binds it."""


@dataclass
class SealedBatch:
    """A batch of the packet: where it stands in the log, what was signed, and by what."""

    first_index: int
    body: bytes
    signature: str
    claims: dict[str, Any]

    @property
    def label(self) -> str:
        """How a reader finds it."""
        return f"batch stream={self.claims['stream']} seq={self.claims['first_seq']}-{self.claims['last_seq']}"


def read_batches(folder: Path, part: LogPart) -> list[SealedBatch]:
    """The batches in log order; fills in which stream and number stands at each log index."""
    out = []
    for entry in strict_json((folder / "batches.json").read_bytes()):
        body = base64.b64decode(entry["batch"], validate=True)
        claims = strict_json(body)
        batch = SealedBatch(int(entry["first_index"]), body, str(entry.get("signature") or ""), claims)
        out.append(batch)
        for offset in range(min(int(claims["leaf_count"]), 100_000)):
            part.names[batch.first_index + offset] = (str(claims["stream"]), int(claims["first_seq"]) + offset)
    return sorted(out, key=lambda batch: batch.first_index)


def check_batches(batches: list[SealedBatch], part: LogPart, trust: TrustedKeys, findings: Findings) -> None:
    """Each batch is signed by a key that a release lists for its stream, over exactly the leaves it claims."""
    chain: dict[str, SealedBatch] = {}
    for batch in batches:
        with findings.check("every batch is signed by its sidecar and follows the one before it"):
            _check_one(batch, part, trust, findings)
            _check_chain(batch, chain.get(batch.claims["stream"]))
        chain[batch.claims["stream"]] = batch


def _check_one(batch: SealedBatch, part: LogPart, trust: TrustedKeys, findings: Findings) -> None:
    claims = batch.claims
    public = trust.evidence_keys.get((str(claims["stream"]).partition(":")[0], claims["key_id"]))
    if claims["environment"] != trust.environment or claims["schema"] != "symphony.evidence_batch/1":
        findings.add(WRONG, f"{batch.label}: is not of {trust.environment}")
    if not batch.signature:
        findings.add(MISSING, f"{batch.label}: not signed")
    elif public is None:
        findings.add(WRONG, f"{batch.label}: no release lists the key {claims['key_id'][:16]}… for this stream")
    elif not verify_dsse(public, batch.signature, BATCH_KIND, batch.body):
        findings.add(WRONG, f"{batch.label}: the sidecar's signature does not hold")
    start = batch.first_index - part.first
    leaves = part.leaves[max(start, 0) : start + claims["leaf_count"]]
    count = claims["last_seq"] - claims["first_seq"] + 1
    if start < 0 or not len(leaves) == claims["leaf_count"] == count:
        raise Fault(WRONG, f"{batch.label}: its leaves are not all here")
    if root_of_leaves(leaves).hex() != claims["root"]:
        raise Fault(WRONG, f"{batch.label}: the leaves do not give the root that the sidecar signed")


def _check_chain(batch: SealedBatch, before: SealedBatch | None) -> None:
    claims = batch.claims
    if (claims["first_seq"] == 1) != (claims["previous_batch_sha256"] == "0" * 64):
        raise Fault(WRONG, f"{batch.label}: names a batch before it wrongly")
    if before is None:
        return
    if claims["first_seq"] != before.claims["last_seq"] + 1:
        missing = f"{before.claims['last_seq'] + 1}-{claims['first_seq'] - 1}"
        raise Fault(WRONG, f"gap: stream={claims['stream']} seq={missing}: no batch carries it")
    if claims["previous_batch_sha256"] != sha256_of(before.body) or claims["epoch"] < before.claims["epoch"]:
        raise Fault(WRONG, f"{batch.label}: does not follow the batch before it")


def check_numbers(part: LogPart, batches: list[SealedBatch], trust: TrustedKeys, findings: Findings) -> dict[str, int]:
    """Every record is in a batch (or is the log's own), numbered in its stream without a gap; the last numbers."""
    covered = {b.first_index + offset for b in batches for offset in range(min(b.claims["leaf_count"], 100_000))}
    last: dict[str, int] = {}
    moved = False
    for index in range(part.first, part.end):
        document, named = part.documents.get(index), part.names.get(index, ("?", 0))
        if document is None:
            last[named[0]] = max(named[1], last.get(named[0], 0))
            continue
        stream, seq = document["stream"], document["seq"]
        label = f"record stream={stream} seq={seq} log_index={index}"
        if not moved and ((stream, seq) != named or document["environment"] != trust.environment):
            findings.add(WRONG, f"{label}: the batch there says stream={named[0]} seq={named[1]}")
            moved = True
        own = stream == OWN and document["schema"] in OWN_KINDS
        if index not in covered and not own:
            findings.add(MISSING, f"{label}: no signed batch carries it")
        expected = last.get(stream, 0 if part.first == 0 else seq - 1) + 1
        if seq != expected:
            findings.add(WRONG, f"gap: stream={stream} seq={expected}-{seq - 1}: missing before log_index={index}")
        last[stream] = seq
    return last


def check_counters(
    folder: Path, part: LogPart, head: Head, last: dict[str, int], trust: TrustedKeys, findings: Findings
) -> dict[str, Any]:
    """The counters are those that the checkpoint binds, and no stream's tail is missing."""
    document = strict_json((folder / "streams.json").read_bytes())
    streams: dict[str, Any] = document["streams"]
    if sha256_of(canonical_json(streams)) != head.streams_sha256:
        raise Fault(WRONG, "streams.json: not the counters that the checkpoint binds")
    for stream, counter in streams.items():
        seen = last.get(stream, 0 if part.whole else counter["logged"])
        if part.end == part.size and seen != counter["logged"]:
            missing = f"{seen + 1}-{counter['logged']}"
            findings.add(WRONG, f"gap: stream={stream} seq={missing}: in the log, not in this packet")
        if counter["signed"] > counter["logged"]:
            missing = f"{counter['logged'] + 1}-{counter['signed']}"
            findings.add(WRONG, f"gap: stream={stream} seq={missing}: signed for by the sidecar, not in the log")
    for stream in sorted(set(last) - set(streams)):
        findings.add(WRONG, f"stream={stream}: has records and no counter")
    _check_heartbeats(document["heartbeats"], streams, trust, findings)
    return streams


def _check_heartbeats(
    heartbeats: list[dict[str, str]], streams: dict[str, Any], trust: TrustedKeys, findings: Findings
) -> None:
    signed: dict[str, int] = {}
    for entry in heartbeats:
        body = base64.b64decode(entry["heartbeat"], validate=True)
        claims = strict_json(body)
        public = trust.evidence_keys.get((str(claims["stream"]).partition(":")[0], claims["key_id"]))
        if not entry.get("signature"):
            findings.add(MISSING, f"heartbeat stream={claims['stream']}: not signed")
        elif public is None or not verify_dsse(public, entry["signature"], HEARTBEAT_KIND, body):
            findings.add(WRONG, f"heartbeat stream={claims['stream']}: the sidecar's signature does not hold")
        signed[claims["stream"]] = claims["last_seq"]
    for stream, counter in streams.items():
        if stream != OWN and counter["signed"] != signed.get(stream, 0):
            findings.add(MISSING, f"stream={stream}: no signed heartbeat for its counter {counter['signed']}")


def check_releases(part: LogPart, trust: TrustedKeys, findings: Findings) -> None:
    """Each record names a release of the packet with its policy; each role version logged has the logged digest."""
    logged: set[tuple[str, int]] = set()
    for index, document in sorted(part.documents.items()):
        label = f"record stream={document['stream']} seq={document['seq']} log_index={index}"
        number, policy = document.get("release_number"), document.get("policy_digest")
        if isinstance(number, int) and isinstance(policy, str):
            if number not in trust.policies:
                findings.add(CANNOT, f"{label}: names release {number}, whose metadata is not in the packet")
            elif trust.policies[number] != policy and policy not in trust.emergency_policies:
                findings.add(WRONG, f"{label}: names another policy than release {number} or an emergency has")
        if document["schema"] == "symphony.evidence/release_metadata/1" and document["stream"] == OWN:
            role = (document["role"], document["version"])
            logged.add(role)
            if trust.roles.get(role, document["sha256"]) != document["sha256"]:
                findings.add(WRONG, f"{label}: the log holds another {role[0]} {role[1]} than the packet")
    for name, version in sorted(set(trust.roles) - logged) if part.whole else ():
        findings.add(WRONG, f"tuf/{version}.{name}.json: is not in the log")
