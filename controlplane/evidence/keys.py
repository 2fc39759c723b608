"""Who may sign for a stream: the evidence keys of the releases that are or were active, less the revoked ones.

* a stream belongs to the sidecar whose name it bears, alone or before a colon (``zm-rail``, ``zm-rail:2``);
* a key must stand in the environment data of an ACTIVE or earlier release, so that evidence made under an old key
  still arrives after a rotation;
* a key that the newest revocation list names takes no batch any more (``until`` null or not yet reached).
"""

from __future__ import annotations

from typing import Any, Protocol

from contracts.canonical import parse_json
from contracts.times import parse_rfc3339
from controlplane.context import Context
from controlplane.store import queries

TARGET_BYTES_MAX = 16 * 1024 * 1024
_SQL = queries("controlplane.evidence")


class EvidenceKeys(Protocol):
    """Looks up the public half of an evidence key."""

    async def lookup(self, stream: str, key_id: str) -> str | None:
        """The public key (hex) if it may sign for the stream, else ``None``."""


class ReleaseEvidenceKeys:
    """The keys that this control plane's own published releases list; each environment data is read once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._read: dict[str, dict[tuple[str, str], str]] = {}

    async def lookup(self, stream: str, key_id: str) -> str | None:
        """The public key (hex) if an active or earlier release lists it for the stream and it is not revoked."""
        if key_id in await self._revoked():
            return None
        for row in await self._context.pool.fetch(_SQL["environment_data"], self._context.environment):
            found = (await self._keys_of(row["sha256"])).get((stream.split(":", 1)[0], key_id))
            if found is not None:
                return found
        return None

    async def _keys_of(self, sha256: str) -> dict[tuple[str, str], str]:
        if sha256 not in self._read:
            rows = await self._context.pool.fetch(_SQL["target"], sha256)
            data = parse_json(bytes(rows[0]["content"]), bytes_max=TARGET_BYTES_MAX)
            self._read[sha256] = {
                (entry["sidecar"], entry["key_id"]): entry["public_key"] for entry in data["evidence_keys"]
            }
        return self._read[sha256]

    async def _revoked(self) -> set[str]:
        role = f"{self._context.environment}-revocations"
        rows = await self._context.pool.fetch(_SQL["newest_role"], role)
        if not rows:
            return set()
        signed = parse_json(bytes(rows[0]["content"]), bytes_max=TARGET_BYTES_MAX)["signed"]
        entries = signed.get("x-symphony", {}).get("entries", [])
        return {entry["id"] for entry in entries if entry["kind"] == "evidence_key" and self._in_force(entry)}

    def _in_force(self, entry: dict[str, Any]) -> bool:
        until = entry.get("until")
        return until is None or parse_rfc3339(until) > self._context.clock.now()
