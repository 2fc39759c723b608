"""Maker and checker at their own tools: make, sign and hand over a resolution of a parked payment (D8, OUT-12).

What is enforced is enforced by the sidecar's writer; here an officer's mistake is told before it is signed.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from contracts import resolution
from contracts.errors import CannotEvaluate, Misused, Refused, SymphonyError
from contracts.release.envelope import countersigned
from contracts.resolution import Resolution
from contracts.times import rfc3339
from contracts.wire import Client
from symphony.release.client import Officer
from symphony.stack.layout import ENVIRONMENT, SERVICE, SIDECAR, Layout
from symphony.stack.reading import named, reader

FOLDER = "resolutions"
CALL_TIMEOUT_S = 30.0
DECISIONS = {"dispatched": "DISPATCHED", "failed": "FAILED"}
_BOTH = 2


@dataclass(frozen=True, slots=True)
class Approval:
    """What the writer answered, and where the file with both signatures is."""

    answer: dict[str, Any]
    file: Path


def make(
    layout: Layout, instruction_id: str, officer: Officer, *, decision: str, reason: str, evidence_reference: str,
    now: datetime, out: Path | None,
) -> Path:  # fmt: skip
    """Write the maker's file. Raises ``Refused RESOLUTION_STALE`` unless the payment is parked now."""
    with reader(layout, "sidecar") as sidecar:
        parked = sidecar.execute(named("parked_of"), (instruction_id,)).fetchone()
    if parked is None:
        raise Refused("RESOLUTION_STALE", f"{instruction_id} is not parked here", next_step="symphony desk")
    envelope = resolution.made(
        officer.key, environment=ENVIRONMENT, service=SERVICE, stream=SIDECAR, instruction_id=instruction_id,
        decision=DECISIONS[decision], reason=reason, evidence_reference=evidence_reference, reason_code=parked["reason_code"],
        parked_at=rfc3339(parked["parked_at"]), now=now,
    )  # fmt: skip
    data = json.dumps(envelope, indent=1).encode()
    name = f"{instruction_id}-{resolution.read(data).sha256[:8]}.json"
    return _write(out or layout.part(FOLDER) / name, data)


def load(file: Path, instruction_id: str) -> Resolution:
    """A resolution file, of this payment. Raises ``Misused`` or ``Refused``."""
    try:
        with file.open("rb") as handle:
            read = resolution.read(handle.read(resolution.ENVELOPE_BYTES_MAX + 1))
    except OSError as error:
        raise Misused("CONFIGURATION", f"{file}: {error.strerror}", next_step="name the file that the maker wrote") from error
    resolution.check_scope(
        read, environment=ENVIRONMENT, service=SERVICE, stream=SIDECAR, instruction_id=instruction_id
    )
    return read


def approve(layout: Layout, file: Path, read: Resolution, officer: Officer) -> Approval:
    """Sign as the checker, keep the file with both signatures, hand it to the writer. One that has both is only handed over."""
    if len(read.signatures) < _BOTH:
        if officer.key_id == read.claims["maker_key_id"]:
            raise Refused("RESOLUTION_TWO_OFFICERS", f"{officer.name} made it; its checker is somebody else")
        both = countersigned(json.loads(file.read_bytes()), officer.key)
        file = _write(_beside(file, officer.name), json.dumps(both, indent=1).encode())
    instruction_id = str(read.claims["instruction_id"])
    return Approval(ask(layout, "resolve", instruction_id=instruction_id, envelope=file.read_bytes()), file)


def ask(layout: Layout, method: str, **params: Any) -> dict[str, Any]:
    """A call of the stack's writer, see ``ask_writer``."""
    return ask_writer(layout.sockets / "writer.sock", method, **params)


def ask_writer(socket: Path, method: str, **params: Any) -> dict[str, Any]:
    """A call of a sidecar's writer over its own socket. Its errors keep their code; 5xx are ``CannotEvaluate``."""
    return asyncio.run(_ask(socket, method, params))


async def _ask(path: Path, method: str, params: dict[str, Any]) -> dict[str, Any]:
    client = Client(path)
    try:
        return await client.call(method, params, timeout_s=CALL_TIMEOUT_S)
    except TimeoutError as error:
        raise CannotEvaluate("STORE_UNAVAILABLE", "the writer does not answer", next_step="symphony doctor") from error
    except SymphonyError as error:
        if isinstance(error, CannotEvaluate):  # our own: the socket is not there
            raise CannotEvaluate("STORE_UNAVAILABLE", "the sidecar's writer does not run", next_step="symphony doctor") from error
        kind = CannotEvaluate if error.reason.http >= HTTPStatus.INTERNAL_SERVER_ERROR else Refused
        raise kind(error.code, error.detail) from error
    finally:
        await client.close()


def names(layout: Layout) -> dict[str, str]:
    """Officers of the stack by key id; a development stack has all their folders."""
    folders = sorted(path for path in (layout.folder / "officers").glob("*") if (path / "key.pem").exists())
    return {Officer.from_folder(folder).key_id: folder.name for folder in folders}


def _beside(file: Path, checker: str) -> Path:
    return file.with_name(f"{file.stem}.{checker}.json")


def _write(path: Path, data: bytes) -> Path:
    """Write a private file (0600); the same bytes again are no error, other bytes are."""
    try:
        if path.exists() and path.read_bytes() == data:
            return path
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise Misused("CONFIGURATION", f"{path}: {error.strerror}", next_step="choose another file: --out") from error
    return path


