"""The control plane's own stream: every version of every TUF role is a leaf, and what happens to releases beside it:
withdrawals, freezes, refusals (design section 4).

The stream ``controlplane`` has no batches: its records are bound by the checkpoint's signature alone, and each can
be checked against the role file whose digest it states.
"""

from __future__ import annotations

from contracts import evidence
from contracts.errors import NotTrusted
from controlplane.context import Context
from controlplane.evidence.intake import OWN_STREAM
from controlplane.store import queries
from controlplane.store.database import Connection

SERVICE = "controlplane"
_SQL = queries("controlplane.evidence")


async def log_release_metadata(context: Context, role: str, version: int, sha256: str) -> None:
    """Append the leaf of a role's version once; a repetition is no error, another digest is ``RELEASE_FORKED``."""
    async with context.pool.transaction() as connection:
        locked = await (await connection.execute(_SQL["own_lock"], (context.environment,))).fetchone()
        known = await (await connection.execute(_SQL["own_known"], (role, version))).fetchone()
        if known is not None:
            if known["sha256"] != sha256:
                raise NotTrusted("RELEASE_FORKED", f"{role} {version} was logged with another digest")
            return
        assert locked is not None
        now = context.clock.now()
        record = evidence.record(
            "release_metadata", environment=context.environment, service=SERVICE, stream=OWN_STREAM,
            seq=locked["seq"], recorded_at=now, role=role, version=version, sha256=sha256,
        )  # fmt: skip
        await connection.execute(_SQL["own_log"], (role, version, sha256, locked["seq"], record, now))


async def log_event(
    context: Context, connection: Connection, event: str, *, environment: str, number: int, actor_key_id: str,
    envelope_sha256: str, action: str, reason_code: str | None = None,
) -> None:  # fmt: skip
    """Append the leaf of an event in its own transaction: both are there, or neither is.

    ``number`` is the release's, of FREEZE, UNFREEZE and LIFTED the freeze's. Words and names stay in the envelope, which
    the control plane keeps. Call it last: it holds the stream until the transaction ends.
    """
    locked = await (await connection.execute(_SQL["own_lock"], (context.environment,))).fetchone()
    assert locked is not None
    now = context.clock.now()
    record = evidence.record(
        "release_event", environment=context.environment, service=SERVICE, stream=OWN_STREAM, seq=locked["seq"],
        recorded_at=now, event=event, role=environment, number=number, actor_key_id=actor_key_id,
        envelope_sha256=envelope_sha256, action=action, reason_code=reason_code,
    )  # fmt: skip
    await connection.execute(_SQL["own_event"], (locked["seq"], record, now))
