"""``report.html`` and ``README.txt``: plain, self-contained, computed from the packet's other files.

Wording (EVD-17): a payment is *posted* in the ledger or *dispatched*, nothing more is claimed of it; results are
*shown by the records*.
"""

from __future__ import annotations

import html
from typing import Any

from symphony.packet.parts.findings import SENTENCE

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{border:1px solid #bbb;padding:.2rem .6rem;"
    "text-align:left;vertical-align:top}h2{margin-top:2rem}code{font-size:13px}"
)
_ROWS_MAX = 200

README = f"""This folder is an evidence packet of Symphony. It can be checked without us, offline:

    python3 verify.py .                    (Python 3.11 or newer, and the package "cryptography")
    python3 verify.py . --root root.json   (with the root that you were given on another way: do this)

Exit codes: 0 all holds; 1 the evidence is intact and shows a rule broken; 3 could not evaluate; 5 something was
changed, removed or forged; 6 a signature is missing.

records.jsonl        the records, one a line, byte for byte as they were hashed, in the order of the log
log.json             their leaf hashes, and the hashes beside them that give the log's root (RFC 6962)
batches.json         what each sidecar signed over its records
checkpoint           what the log signed (C2SP tlog-checkpoint)
streams.json         how many records each stream has, bound by the checkpoint, with the sidecars' own signatures
tuf/                 root, targets and releases (TUF): who may sign what
postings.json        the ledger's postings as the ledger gave them; they carry no signature of their own
timelines.json, reconciliation.json, exceptions.json, kpis.json, report.html
                     computed from the files above; verify.py computes them again and compares
manifest.json        SHA-256 of every file. It is not signed and proves nothing by itself: it shows damage. What
                     holds is what verify.py computes from signatures. packet.json (who exported when) and
                     postings.json are protected by the manifest only.
verify.py            the verifier. Whoever changes a packet can change it too: take it from where you trust it.

{SENTENCE}
"""


def report_html(facts: dict[str, Any], derived: dict[str, Any]) -> bytes:
    """The report. ``facts`` is ``packet.json`` and the checkpoint; ``derived`` the four computed files by name."""
    figures, both = derived["kpis"], derived["reconciliation"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Evidence packet</title>",
        f"<style>{_STYLE}</style><h1>Evidence packet</h1>",
        _table([("environment", facts["environment"]), ("period", f"{facts['from'] or 'begin'} to {facts['to']}"),
                ("exported", facts["exported_at"]), ("log", facts["origin"]), ("records", figures["records"]),
                ("log size at the checkpoint", facts["tree_size"]), ("root", facts["root"])]),
        f"<p>{html.escape(SENTENCE)}</p><p>Check it with <code>verify.py</code>; this page is only for reading.</p>",
        "<h2>Payments</h2>",
        _table([("accepted", both["accepted"]), ("posted (dispatched and taken by the rail)", both["posted"]),
                ("refused by the rail", both["refused_by_rail"]), ("parked", both["parked"]),
                ("pending", both["pending"]), ("refused before acceptance", both["refused"])]),
        "<h2>Ledger against evidence, both ways</h2>",
        _table([("ledger read at", both["ledger_read_at"] or "not compared"),
                ("postings", both["ledger_postings"]), ("rules broken", len(both["broken"]))]),
        _list([(item["rule"], item["instruction_id"], item["detail"]) for item in both["broken"]]),
        "<h2>Exceptions</h2>",
        _list([(item["kind"], item["subject"], item["reason_code"] or "", item["at"], item["log_index"])
               for item in derived["exceptions"]]),
        "<h2>Figures</h2>",
        _table([(name.replace("_", " "), value) for name, value in sorted(figures.items())
                if not isinstance(value, (dict, list))]),
        _list([(item["reason_code"], item["count"]) for item in figures["reasons_top"]]),
        "<h2>Records by kind</h2>", _table(sorted(figures["records_by_kind"].items())), "</html>\n",
    ]  # fmt: skip
    return "\n".join(parts).encode("utf-8")


def _cell(value: Any) -> str:
    return html.escape(str(value), quote=True)


def _table(rows: list[tuple[str, Any]]) -> str:
    body = "".join(f"<tr><th>{_cell(name)}<td>{_cell(value)}" for name, value in rows)
    return f"<table>{body}</table>"


def _list(rows: list[tuple[Any, ...]]) -> str:
    if not rows:
        return "<p>none</p>"
    body = "".join("<tr>" + "".join(f"<td>{_cell(value)}" for value in row) for row in rows[:_ROWS_MAX])
    more = f"<p>{len(rows) - _ROWS_MAX} more in the JSON files</p>" if len(rows) > _ROWS_MAX else ""
    return f"<table>{body}</table>{more}"
