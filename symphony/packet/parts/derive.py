"""What follows from the records: timelines, reconciliation with the ledger both ways, exceptions, KPIs.

Pure functions: the exporter writes what they give, the verifier computes it again and compares the bytes.
An accepted payment is one whose attestation record says ALLOW. It is *posted* by its DISPATCHED record, *refused by
the rail* by FAILED or VOIDED, *parked* while its last state is PENDING_MANUAL, else *pending*.
"""

from __future__ import annotations

from typing import Any

TERMINAL = ("DISPATCHED", "FAILED", "VOIDED")
EXCEPTIONAL = ("REFUSED", "FAILED", "VOIDED", "PENDING_MANUAL", "RETRYABLE", "ZOMBIE_REQUEUE")
DUPLICATES = ("TOKEN_REPLAYED", "DUPLICATE_TRANSACTION", "IDEMPOTENCY_KEY_REUSED")

Documents = dict[int, dict[str, Any]]


def kind_of_record(document: dict[str, Any]) -> str:
    """``attempt`` of ``symphony.evidence/attempt/1``."""
    return str(document["schema"]).split("/")[1]


def timelines(documents: Documents) -> list[dict[str, Any]]:
    """One entry per instruction: what was decided, every attempt, the outcome (EVD-02), in the log's order."""
    found: dict[str, dict[str, Any]] = {}
    for index, document in sorted(documents.items()):
        if kind_of_record(document) == "attestation":
            for item in document["instructions"]:
                _decided(found, index, document, item)
        elif kind_of_record(document) == "attempt":
            entry = _entry(found, str(document["outbox_id"]))
            entry["events"].append(_event(index, document, str(document["state"]), document.get("error_code")))
            entry["last_state"] = document["state"]
            if document["state"] in TERMINAL:
                entry["terminals"].append(document["state"])
    return [found[key] for key in sorted(found)]


def _entry(found: dict[str, dict[str, Any]], instruction_id: str) -> dict[str, Any]:
    return found.setdefault(
        instruction_id,
        {
            "instruction_id": instruction_id, "decision": None, "decisions": 0, "reason_code": None,
            "participant_id": None, "amount_minor": None, "currency": None, "instructing_agent": None,
            "instructed_agent": None, "last_state": None, "terminals": [], "events": [],
        },
    )  # fmt: skip


def _decided(found: dict[str, dict[str, Any]], index: int, document: dict[str, Any], item: dict[str, Any]) -> None:
    entry = _entry(found, str(item["instruction_id"]))
    entry["decisions"] += 1
    entry["participant_id"] = document.get("participant_id")
    for name in ("decision", "reason_code", "amount_minor", "currency", "instructing_agent", "instructed_agent"):
        entry[name] = item.get(name)
    entry["events"].append(_event(index, document, str(item["decision"]), item["reason_code"]))


def _event(index: int, document: dict[str, Any], what: str, reason: Any) -> dict[str, Any]:
    return {
        "log_index": index, "stream": document["stream"], "seq": document["seq"], "at": document["recorded_at"],
        "what": what, "reason_code": reason, "release_number": document.get("release_number"),
    }  # fmt: skip


def reconciliation(entries: list[dict[str, Any]], ledger: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    """Allow records against ledger postings, both ways. ``ledger`` is ``postings.json``."""
    accepted = [entry for entry in entries if entry["decision"] == "ALLOW"]
    states = [_state(entry) for entry in accepted]
    posted: dict[str, list[dict[str, Any]]] = {}
    for posting in ledger["postings"]:
        posted.setdefault(str(posting["instruction_id"]), []).append(posting)
    broken, outside = _single_rules(entries, whole=whole), []
    if ledger["read_at"] is not None:
        known = {entry["instruction_id"]: entry for entry in entries}
        for instruction_id in sorted(posted):
            if instruction_id not in known and not whole:
                outside.append(instruction_id)
            else:
                broken += _posting_rules(known.get(instruction_id), instruction_id, posted[instruction_id])
        broken += _not_posted(accepted, posted, str(ledger["read_at"]))
    return {
        "ledger_read_at": ledger["read_at"], "accepted": len(accepted), "refused": sum(
            entry["decision"] == "REFUSED" for entry in entries),
        "posted": states.count("posted"), "refused_by_rail": states.count("refused_by_rail"),
        "parked": states.count("parked"), "pending": states.count("pending"),
        "ledger_postings": sum(map(len, posted.values())), "postings_outside_this_packet": outside, "broken": broken,
    }  # fmt: skip


def _state(entry: dict[str, Any]) -> str:
    if entry["terminals"]:
        return "posted" if entry["terminals"][0] == "DISPATCHED" else "refused_by_rail"
    return "parked" if entry["last_state"] == "PENDING_MANUAL" else "pending"


def _broken(rule: str, instruction_id: str, detail: str) -> dict[str, str]:
    return {"rule": rule, "instruction_id": instruction_id, "detail": detail}


def _single_rules(entries: list[dict[str, Any]], *, whole: bool) -> list[dict[str, str]]:
    out = []
    for entry in entries:
        name = entry["instruction_id"]
        if len(entry["terminals"]) > 1:
            out.append(_broken("TWO_OUTCOMES", name, " and ".join(entry["terminals"])))
        if entry["decisions"] > 1:
            out.append(_broken("TWO_DECISIONS", name, f"{entry['decisions']} attestation records decide it"))
        if entry["last_state"] and entry["decision"] != "ALLOW" and (whole or entry["decision"]):
            out.append(_broken("ATTEMPT_WITHOUT_ALLOW", name, f"decision {entry['decision']}"))
    return out


def _posting_rules(
    entry: dict[str, Any] | None, instruction_id: str, postings: list[dict[str, Any]]
) -> list[dict[str, str]]:
    out = []
    if len(postings) > 1:
        out.append(_broken("POSTED_TWICE", instruction_id, f"{len(postings)} postings"))
    if entry is None or entry["decision"] != "ALLOW":
        return [*out, _broken("POSTED_WITHOUT_ALLOW", instruction_id, "the ledger posted what no record allowed")]
    if "FAILED" in entry["terminals"] or "VOIDED" in entry["terminals"]:
        out.append(_broken("POSTED_THOUGH_REFUSED", instruction_id, " and ".join(entry["terminals"])))
    pairs = (("amount_minor", "amount_minor"), ("currency", "currency"), ("debit_agent", "instructing_agent"),
             ("credit_agent", "instructed_agent"))  # fmt: skip
    for theirs, ours in pairs:
        left, right = postings[0].get(theirs), entry[ours]
        if left is not None and right is not None and left != right:
            out.append(_broken("POSTING_DIFFERS", instruction_id, f"{theirs} is {left}, the record says {right}"))
    return out


def _not_posted(
    accepted: list[dict[str, Any]], posted: dict[str, list[dict[str, Any]]], read_at: str
) -> list[dict[str, str]]:
    out = []
    for entry in accepted:
        times = [event["at"] for event in entry["events"] if event["what"] == "DISPATCHED"]
        if times and min(times) < read_at and entry["instruction_id"] not in posted:
            out.append(_broken("DISPATCHED_WITHOUT_POSTING", entry["instruction_id"], f"recorded {min(times)}"))
    return out


def exceptions(documents: Documents, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Refused, failed, parked, requeued and open payments and rejected callers, with reason and log index."""
    out = []
    for index, document in sorted(documents.items()):
        rejected = kind_of_record(document) == "attestation" and document["decision"] == "REJECT"
        if rejected and not document["instructions"]:
            out.append({"kind": "REJECTED", "subject": document["attestation_id"], "reason_code":
                        document["reason_code"], "log_index": index, "at": document["recorded_at"]})  # fmt: skip
    for entry in entries:
        out += [_exception(event, entry) for event in entry["events"] if event["what"] in EXCEPTIONAL]
        if entry["decision"] == "ALLOW" and not entry["terminals"]:
            last = entry["events"][-1]
            out.append({"kind": "OPEN", "subject": entry["instruction_id"], "reason_code": None, "log_index":
                        last["log_index"], "at": last["at"]})  # fmt: skip
    return sorted(out, key=lambda item: (item["log_index"], item["kind"], item["subject"]))


def _exception(event: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    return {"kind": event["what"], "subject": entry["instruction_id"], "reason_code": event["reason_code"],
            "log_index": event["log_index"], "at": event["at"]}  # fmt: skip


def kpis(documents: Documents, entries: list[dict[str, Any]], found: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of PIL-07 that the records give; shares in basis points (1 of 10,000)."""
    accepted = [entry for entry in entries if entry["decision"] == "ALLOW"]
    complete = sum(bool(entry["terminals"]) for entry in accepted)
    reasons: dict[str, int] = {}
    for item in found:
        if item["reason_code"]:
            reasons[item["reason_code"]] = reasons.get(item["reason_code"], 0) + 1
    top = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
    kinds: dict[str, int] = {}
    for document in documents.values():
        kinds[kind_of_record(document)] = kinds.get(kind_of_record(document), 0) + 1
    return {
        "records": len(documents), "records_by_kind": kinds, "accepted": len(accepted),
        "refused": sum(entry["decision"] == "REFUSED" for entry in entries),
        "evidence_complete_basis_points": complete * 10_000 // len(accepted) if accepted else None,
        "ambiguous": sum(item["kind"] == "PENDING_MANUAL" for item in found),
        "open": sum(item["kind"] == "OPEN" for item in found),
        "repeats_answered": sum(bool(document.get("repeats")) for document in documents.values()),
        "duplicates_stopped": sum(reasons.get(code, 0) for code in DUPLICATES),
        "reasons_top": [{"reason_code": code, "count": count} for code, count in top],
    }  # fmt: skip
