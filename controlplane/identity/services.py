"""Client certificate to principal, and the DSSE envelope by the principal's own key (POL-07, SEC-06).

Rules:

* the certificate must be enrolled and inside its validity *at the request* (a held connection outlives both);
* a change is asked for in a DSSE envelope of ``REQUEST_TYPE``, signed by exactly one key: the key that is enrolled
  beside the certificate; the server keeps the envelope as evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request

from contracts.canonical import parse_json
from contracts.errors import CannotEvaluate, Refused
from contracts.keys import REQUEST_TYPE
from contracts.release.envelope import open_envelope
from contracts.tls import peer_of
from controlplane.context import Context
from controlplane.store import queries

_SQL = queries("controlplane.identity")
PRINCIPALS_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Principal:
    """An enrolled certificate's owner. ``key_id`` is the signing key of officers and security officers."""

    kind: str
    name: str
    key_id: str | None


async def identify(context: Context, request: Request) -> Principal:
    """The principal of the request's connection. Raises ``Refused CERTIFICATE_*`` or ``OFFICER_UNKNOWN``."""
    peer = peer_of(request.scope)
    if peer is None:
        raise Refused("CERTIFICATE_MISSING")
    if not peer.is_current(context.clock.now()):
        raise Refused("CERTIFICATE_EXPIRED")
    rows = await context.pool.fetch(_SQL["by_certificate"], peer.sha256)
    if not rows:
        raise Refused("OFFICER_UNKNOWN", f"certificate {peer.sha256[:16]}… is not enrolled")
    return Principal(**rows[0])


async def require(context: Context, request: Request, *kinds: str) -> Principal:
    """The principal, one of these kinds. Raises ``Refused OFFICER_UNKNOWN`` for any other."""
    principal = await identify(context, request)
    if principal.kind not in kinds:
        raise Refused("OFFICER_UNKNOWN", f"{principal.name} is a {principal.kind}; this takes {' or '.join(kinds)}")
    return principal


def opened_envelope(principal: Principal, public_key: str, envelope: Any, action: str) -> dict[str, Any]:
    """The signed request inside an envelope by the principal's own key. Raises ``ENVELOPE_INVALID``."""
    payload, key_id = open_envelope(envelope, REQUEST_TYPE, {str(principal.key_id): public_key}, "ENVELOPE_INVALID")
    value = parse_json(payload)
    if key_id != principal.key_id or not isinstance(value, dict) or value.get("action") != action:
        raise Refused("ENVELOPE_INVALID", f"the envelope does not ask for {action}")
    return value


async def enrol_file(context: Context, path: Path) -> int:
    """Enrol what a local file lists: ``{"principals": [{"sha256", "kind", "name", "key_id"}, …]}``."""
    try:
        document = parse_json(path.read_bytes(), bytes_max=PRINCIPALS_BYTES_MAX)
        entries = [(p["sha256"], p["kind"], p["name"], p.get("key_id")) for p in document["principals"]]
    except (OSError, Refused, KeyError, TypeError) as error:
        raise CannotEvaluate("CONFIGURATION", f"{path}: {error}") from error
    async with context.pool.transaction() as connection:
        for entry in entries:
            await connection.execute(_SQL["enrol"], entry)
    return len(entries)
