"""What a service says of its release to the control plane (``POST /v1/fleet/status``): ACK, NACK, lease.

``environment``, ``service``, ``instance``, ``ready``, ``mode`` (enforced, halted, or ``stale-lease-1``: old, by that step);
``active``: ``{number, metadata_digest}`` or null;
``refused``: ``{number, code, permanent}`` or null; ``delivered``: the newest number shown here, or null;
``lease_expires_at``: RFC 3339, or null. The last two and ``permanent`` are left out by services of the release before.
"""

from __future__ import annotations

from typing import Any

from contracts.release.model import VerifiedRelease
from contracts.release.refusals import is_permanent
from contracts.times import rfc3339

ENFORCED, HALTED = "enforced", "halted"


def status_report(
    identity: dict[str, str],
    active: VerifiedRelease | None,
    refused: tuple[int, str] | None,
    *,
    delivered: int | None,
    ready: bool,
    halted: bool,
    stale: str = "",
) -> dict[str, Any]:
    """The report. ``identity``: environment, service and instance; ``stale``: ``staleness.Standing.mode``."""
    return {
        **identity,
        "active": {"number": active.number, "metadata_digest": active.metadata_digest} if active else None,
        "refused": {"number": refused[0], "code": refused[1], "permanent": is_permanent(refused[1])} if refused else None,
        "delivered": delivered,
        "lease_expires_at": rfc3339(active.lease_expires_at) if active else None,
        "ready": ready,
        "mode": HALTED if halted else stale or ENFORCED,
    }  # fmt: skip
