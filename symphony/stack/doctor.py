"""``symphony doctor``: one look at every part of a stack, in words and as JSON (addresses, processes, release,
leases)."""

from __future__ import annotations

import json
import os
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psycopg

from contracts.errors import CannotEvaluate
from symphony.stack import prepare
from symphony.stack.layout import ENVIRONMENT, Layout
from symphony.stack.reading import named, reader
from symphony.stack.up import asked

_MENDING = "docs/how-to/mend-a-halted-service.md"
DETAIL_CHARACTERS_MAX = 200
_PROBES = {"controlplane": "/health/ready", "ledger": "/health/ready", "acceptor": "/health/ready"}


def examine(folder: Path) -> dict[str, Any]:
    """``{"ok", "parts": [{name, where, ok, detail, next_step}], "facts": [...], "addresses", "processes",
    "sidecar"}``."""
    layout = Layout.open(folder)
    running = layout.running()
    processes = dict(running["processes"]) if running else {}
    parts = [
        _part(
            "supervisor",
            f"pid {running['pid'] if running else '-'}",
            running is not None,
            f"symphony up --dir {folder}",
        )
    ]
    for name, pid in processes.items():
        parts.append(_process(layout, name, pid))
    cluster = prepare.database(layout)
    parts.append(
        _part("postgres", f"pid {cluster.pid() or '-'}", cluster.pid() is not None, f"symphony up --dir {folder}")
    )
    sidecar = _sidecar(layout) if cluster.pid() else None
    if sidecar is not None:
        parts.append(_part(
            "evidence", "backlog", sidecar["evidence_backlog"] < 10_000, "is the control plane up? see the shipper's log",
            f"{sidecar['evidence_backlog']} records not shipped yet",
        ))  # fmt: skip
        parts.append(
            _part(
                "parked",
                "payments",
                not sidecar["parked"],
                "symphony desk",
                f"{sidecar['parked']} need a decision",
            )
        )
    return {
        "ok": all(part["ok"] for part in parts), "parts": parts, "facts": _facts(sidecar), "environment": ENVIRONMENT,
        "addresses": {name: layout.url(name) for name in layout.ports} | {"sockets": str(layout.sockets)},
        "processes": processes, "sidecar": sidecar,
    }  # fmt: skip


def _process(layout: Layout, name: str, pid: int) -> dict[str, Any]:
    try:
        os.kill(pid, 0)
        alive = True
    except OSError:
        alive = False
    folder = {"writer": "sidecar", "shipper": "sidecar", "acceptor": "sidecar"}.get(name, name)
    where, ok, detail = f"pid {pid}", alive, ""
    if name in _PROBES:
        where += f" {layout.url(name)}"
        ok, detail = _readiness(asked(layout, name, _PROBES[name]) if alive else None)
    next_step = f"read {layout.folder / folder / (name + '.log')}"
    if "SERVICE_HALTED" in detail:
        next_step = f"symphony invariants check --dir {layout.folder}; mend what it names: {_MENDING}"
    return _part(name, where, ok, next_step, detail)


_SHOWN = ("warnings=", "orders=", "stale=", "caps_percent=")
"""Words of an acceptor's ``/health/ready`` that are shown."""


def _readiness(answer: tuple[int, str] | None) -> tuple[bool, str]:
    """Whether a service is ready, and what it says: what halts it, or what it warns of."""
    if answer is None:
        return False, "does not answer ready"
    status, text = answer
    try:
        said = json.loads(text)
    except ValueError:
        said = {}
    if status == HTTPStatus.OK:
        warnings = said.get("warnings", []) or [word for word in text.split() if word.startswith(_SHOWN)]
        warnings += [f"stale: {said['stale']}"] if "stale" in said else []
        return True, " ".join(["ready", *map(str, warnings)])
    code = said.get("reason_code")
    words = f"{code} {said.get('detail', '')}" if code else " ".join(text.split())
    return False, f"does not answer ready: {words[:DETAIL_CHARACTERS_MAX]}"


def _part(name: str, where: str, ok: bool, next_step: str, detail: str = "") -> dict[str, Any]:
    return {"name": name, "where": where, "ok": ok, "detail": detail, "next_step": "" if ok else next_step}


def _sidecar(layout: Layout) -> dict[str, Any] | None:
    try:
        with reader(layout, "sidecar") as connection:
            return connection.execute(named("doctor_sidecar")).fetchone()
    except (CannotEvaluate, psycopg.Error):
        return None


def _facts(sidecar: dict[str, Any] | None) -> list[str]:
    if sidecar is None:
        return ["the sidecar's database does not answer"]
    return [
        f"release {sidecar['release']} accepted, writer epoch {sidecar['epoch']}, evidence number {sidecar['last_seq']}",
        f"{sidecar['accepted']} accepted, {sidecar['ended']} ended, {sidecar['pending']} pending, {sidecar['leased']} in hand",
    ]
