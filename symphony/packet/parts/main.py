"""``python3 verify.py [PACKET_DIR] [--root FILE] [--json]``: every check, what is wrong by name, an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from symphony.packet.parts.contents import check_computed, check_manifest
from symphony.packet.parts.findings import EXIT, SENTENCE, Findings, sha256_of, strict_json
from symphony.packet.parts.log import check_records, check_root, read_head, read_log
from symphony.packet.parts.streams import (
    check_batches,
    check_counters,
    check_numbers,
    check_releases,
    read_batches,
)
from symphony.packet.parts.trust import TrustedKeys, read_trust

FAULTS_SHOWN_MAX = 100


def verify_folder(folder: Path, pinned: bytes | None = None) -> tuple[Findings, dict[str, Any]]:
    """Check a packet; ``(findings, facts)``. ``pinned`` is a root.json that the reader trusts already."""
    findings = Findings()
    facts: dict[str, Any] = {}
    with findings.check("every file is listed in the manifest with its digest"):
        check_manifest(folder, findings)
    environment = ""
    with findings.check("packet.json is readable"):
        environment = str(strict_json((folder / "packet.json").read_bytes())["environment"])
    trust = findings.attempt(
        "root, targets and every release are signed by custodians and officers (TUF)",
        lambda: read_trust(folder, environment, pinned),
    )
    if trust is not None:
        facts = {"environment": environment, "root_sha256": trust.root_sha256, "releases": sorted(trust.policies)}
        _note_root(findings, trust, pinned)
        _check_log(folder, trust, findings, facts)
    return findings, facts


def _check_log(folder: Path, trust: TrustedKeys, findings: Findings, facts: dict[str, Any]) -> None:
    part = findings.attempt("log.json and records.jsonl are readable", lambda: read_log(folder))
    head = findings.attempt("the checkpoint is signed by the log's key", lambda: read_head(folder, trust))
    if part is None:
        return
    batches = findings.attempt("batches.json is readable", lambda: read_batches(folder, part)) or []
    with findings.check("every record's bytes are those of its leaf"):
        check_records(part, findings)
    if head is not None:
        with findings.check("the leaves give the root that the log signed"):
            check_root(folder, part, head)
    check_batches(batches, part, trust, findings)
    last = findings.attempt(
        "every stream is numbered without a gap", lambda: check_numbers(part, batches, trust, findings)
    )
    with findings.check("every record names a release and a policy that the packet proves"):
        check_releases(part, trust, findings)
    if head is not None:
        with findings.check("no stream's tail is missing: the counters are bound by the checkpoint"):
            facts["streams"] = check_counters(folder, part, head, last or {}, trust, findings)
        if len(part.documents) == len(part.leaves):
            with findings.check("reports follow from the records; allow records and postings fit, both ways"):
                facts["reconciliation"] = check_computed(folder, part, head, findings)["reconciliation"]
        else:
            findings.notes.append("reports and postings were not compared, since records are wrong or missing")
        facts |= {"records": len(part.documents), "log_size": head.size, "root": head.root.hex()}
        if not part.whole:
            findings.notes.append(
                f"the packet carries log indices {part.first} to {part.end - 1} of a log of {head.size}: a payment "
                "whose records lie outside is not judged"
            )


def _note_root(findings: Findings, trust: TrustedKeys, pinned: bytes | None) -> None:
    if pinned is None:
        findings.notes.append(
            f"the packet's own root was used (SHA-256 {trust.root_sha256}): whoever made the packet could have made "
            "that root too. Compare it with the root that you were given on another way, or bring it with --root"
        )
    findings.notes.append("no witness's cosignature was checked: against one who holds every key nothing is proven")


def show_result(findings: Findings, facts: dict[str, Any]) -> str:
    """The result as text."""
    lines = [f"ok    {text}" for text in dict.fromkeys(findings.passed) if text not in findings.failed]
    faults = sorted(findings.faults, key=lambda fault: list(EXIT).index(fault[0]))
    lines += [f"FAIL  {kind}: {text}" for kind, text in faults[:FAULTS_SHOWN_MAX]]
    if len(faults) > FAULTS_SHOWN_MAX:
        lines.append(f"FAIL  and {len(faults) - FAULTS_SHOWN_MAX} more")
    lines += [f"note  {text}" for text in findings.notes]
    code = findings.exit_code()
    verdict = {0: "OK", 1: "INTACT, A RULE IS BROKEN", 3: "COULD NOT EVALUATE", 6: "A SIGNATURE IS MISSING"}
    count = f"{facts.get('records', 0)} records, log size {facts.get('log_size', 'unknown')}"
    return "\n".join([*lines, f"{verdict.get(code, 'NOT INTACT')} ({count})", SENTENCE, ""])


def main(arguments: list[str] | None = None) -> int:
    """The command line of the one-file verifier."""
    parser = argparse.ArgumentParser(description="Check a Symphony evidence packet, offline.")
    parser.add_argument("packet", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--root", type=Path, help="the TUF root.json that you trust")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    chosen = parser.parse_args(arguments)
    try:
        pinned = chosen.root.read_bytes() if chosen.root else None
    except OSError as error:
        sys.stderr.write(f"--root: {error}\n")
        return 3
    if not (chosen.packet / "manifest.json").is_file():
        sys.stderr.write(f"{chosen.packet}: no packet here (no manifest.json)\n{SENTENCE}\n")
        return 3
    findings, facts = verify_folder(chosen.packet, pinned)
    if chosen.json:
        result = {"exit_code": findings.exit_code(), "faults": list(findings.faults), "passed": findings.passed,
                  "notes": findings.notes, "facts": facts, "verifier_sha256": sha256_of(Path(__file__).read_bytes()),
                  "sentence": SENTENCE}  # fmt: skip
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    else:
        sys.stdout.write(show_result(findings, facts))
    return findings.exit_code()
