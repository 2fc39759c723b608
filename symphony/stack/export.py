"""An evidence packet of a local stack: the control plane's parts, and the ledger's postings read before them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from contracts.errors import CannotEvaluate, Misused, Refused
from contracts.reasons import REASONS
from contracts.times import SystemClock, rfc3339
from contracts.tls import client_context
from symphony.evidence_export import export as write_packet
from symphony.stack.layout import Layout, demand_writable
from symphony.stack.reading import named, reader

TIMEOUT_S = 60.0


def export(layout: Layout, out: Path, *, officer: str, begin: datetime | None, end: datetime | None) -> int:
    """Write the packet; how many files it has. Raises ``Refused`` where ``out`` is there or nothing is in the
    period."""
    folder = layout.officer(officer)
    read_at = SystemClock().now()
    postings = [_posting(row) for row in _postings(layout)]
    context = client_context(folder / "client.pem", folder / "client-key.pem", layout.ca)
    params = {name: rfc3339(moment) for name, moment in (("from", begin), ("to", end)) if moment is not None}
    with (
        httpx.Client(base_url=layout.url("controlplane"), verify=context, timeout=TIMEOUT_S) as client,
        _asked(client, params) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            raise _error(answer)
        parts = map(json.loads, answer.iter_lines())
        write_packet(parts, out, postings=postings, ledger_read_at=read_at)
    return sum(1 for path in out.rglob("*") if path.is_file())


def demand_new(out: Path) -> None:
    """A packet can be written to ``out``. Raises ``Misused REQUEST_INVALID`` where it cannot, before anything is asked."""
    try:
        there = out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir())))
        demand_writable(out.parent)
    except OSError as error:
        raise Misused(
            "REQUEST_INVALID", f"no packet can be written to {out}: {error.strerror}",
            next_step="choose a folder that you may write to: --out",
        ) from error  # fmt: skip
    if there:
        raise Misused("REQUEST_INVALID", f"{out} is there already", next_step="name a new folder (--out), or remove that one")


def _asked(client: httpx.Client, params: dict[str, str]) -> Any:
    try:
        return client.stream("GET", "/v1/exports/evidence", params=params)
    except httpx.HTTPError as error:
        raise CannotEvaluate("PACKET_INVALID", f"the control plane does not answer: {error}") from error


def _postings(layout: Layout) -> Iterator[dict[str, Any]]:
    with reader(layout, "ledger") as ledger:
        yield from ledger.execute(named("postings"))


def _posting(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "instruction_id": str(row["instruction_id"]), "amount_minor": row["amount_minor"], "currency": row["currency"],
        "debit_agent": row["debit_agent"], "credit_agent": row["credit_agent"], "posted_at": rfc3339(row["posted_at"]),
    }  # fmt: skip


def _error(answer: httpx.Response) -> Exception:
    answer.read()
    try:
        problem = answer.json()
        code, detail = str(problem["reason_code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return CannotEvaluate("PACKET_INVALID", f"HTTP {answer.status_code}")
    return Refused(code, detail) if code in REASONS else CannotEvaluate("PACKET_INVALID", detail)
