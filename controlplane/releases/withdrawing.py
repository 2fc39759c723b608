"""Withdrawing a release: its number is burned, the next one follows it (design section 4).

Rules, each with a test in ``tests/releases/test_withdrawing.py``:

* any officer of the environment may ask, alone and during a freeze: it tightens;
* what is PROPOSED, APPROVED or SUPERSEDED becomes WITHDRAWN, for ever: neither approved, promoted, served nor rolled back to;
  an ACTIVE one is refused, because a sidecar has nothing to go to: first promote another;
* what was ever signed to the threshold is withdrawn in full only when the security officer's list revokes the digest of its
  signed role metadata (never of a target, which other releases may share), without an end: its signatures exist, and who
  holds the online keys could serve it again. The withdrawal does not wait for that; the answer says what is missing;
* again is no error.
"""

from __future__ import annotations

from typing import Any

from contracts.errors import Refused
from contracts.release import rules
from contracts.release.trust import Trust
from controlplane.context import Context
from controlplane.evidence.own import log_event
from controlplane.identity import Principal
from controlplane.releases.asking import word_of
from controlplane.releases.refusing import keeps_refusals
from controlplane.releases.services import execute, row_of
from controlplane.store import queries
from controlplane.store.database import Connection
from controlplane.trust import services as trust_services

_SQL = queries("controlplane.releases")


@keeps_refusals("withdraw")
async def withdraw(
    context: Context, principal: Principal, environment: str, number: int, envelope: Any
) -> dict[str, Any]:
    """Withdraw a release. ``revocation`` of the answer is ``not_needed``, ``published`` or ``missing``.

    Raises ``RELEASE_IN_FORCE`` for the active one, ``NOT_FOUND``, ``ENVELOPE_INVALID``, ``REQUEST_INVALID``.
    """
    async with context.pool.transaction() as connection:
        await trust_services.lock(connection)
        trust = await trust_services.trust_for(connection, environment)
        row = await row_of(connection, environment, number)
        digest = row["metadata_digest"]
        word = word_of(trust, principal, environment, envelope, "withdraw")
        word.demand_about(number=number, metadata_digest=digest)
        word.demand_reason()
        if row["status"] == "ACTIVE":
            raise Refused("RELEASE_IN_FORCE", f"release {number} is active in {environment}")
        revocation = await _revocation(connection, trust, environment, number, digest)
        if row["status"] != "WITHDRAWN":
            values = (environment, number, principal.name, principal.key_id, word.envelope)
            await execute(connection, "withdraw", values)
            await log_event(
                context, connection, "WITHDRAWN", environment=environment, number=number, action="withdraw",
                actor_key_id=str(principal.key_id), envelope_sha256=word.sha256,
            )  # fmt: skip
    context.served.clear()
    return {"number": number, "status": "WITHDRAWN", "metadata_digest": digest, "revocation": revocation}


async def _revocation(connection: Connection, trust: Trust, environment: str, number: int, digest: str) -> str:
    newest = await trust_services.newest_files(connection)
    name = f"{environment}-revocations"
    entries = rules.verify_revocations(trust, newest[name].content, environment).entries if name in newest else ()
    if any((entry["kind"], entry["id"], entry["until"]) == ("release", digest, None) for entry in entries):
        return "published"
    approved = await (await connection.execute(_SQL["was_approved"], (environment, number))).fetchone()
    return "not_needed" if approved is None else "missing"
