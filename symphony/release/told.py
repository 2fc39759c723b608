"""Who a verified release is: what its own signed parts say of it, for the screen and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.times import rfc3339
from symphony.invariants.plain import plain
from symphony.release.review import Download


def identity(release: Download) -> dict[str, Any]:
    """Number, digests and proposal of a verified release. ``source`` is what the proposer says of his checkout."""
    role, proposal = release.role, release.contents.proposal
    return {
        "number": role.number, "metadata_digest": role.digest, "policy_digest": role.targets["policy.wasm"].sha256,
        "proposer_key_id": role.proposer_key_id, "reason": proposal["reason"], "change_ticket": proposal["change_ticket"],
        "not_before": rfc3339(role.not_before), "activate_before": rfc3339(role.activate_before),
        "expires": rfc3339(role.expires_at), "source": source_of(proposal),
    }  # fmt: skip


def source_of(proposal: Mapping[str, Any]) -> dict[str, Any] | None:
    """``{"commit", "dirty"}`` of a proposal made from a git checkout."""
    source = proposal.get("source")
    return dict(source) if isinstance(source, dict) else None


def heading(release: Download, base: Download | None) -> list[str]:
    """Lines that say which release it is, why, and what it is compared with."""
    told = identity(release)
    lines = [
        f"release {told['number']} of {release.role.environment}, metadata {told['metadata_digest']}",
        f"  why: {plain(told['reason'])} ({plain(told['change_ticket'])})",
        f"  to be activated {told['not_before']} to {told['activate_before']}; runs out {told['expires']}",
    ]
    if told["source"] is not None:
        commit, dirty = told["source"].get("commit"), told["source"].get("dirty")
        state = {True: "with uncommitted changes", False: "clean"}.get(dirty, "state not told")
        lines.append(f"  from commit {plain(str(commit))} ({state}), as its proposer says")
    if base is None:
        return [*lines, f"no approved release before it: all {len(release.files)} files are new"]
    return [*lines, f"changes from release {base.role.number}:"]
