"""The impact report of a proposal: made when it is proposed, its digest signed with it, shown to whoever approves.

The report is no target: a sidecar has no use for it, and one of the release before would refuse it. Its bytes go to the
control plane beside the proposal, which keeps them under the name ``impact.json``; whoever reads them holds them to the
signed digest and to the release's own policy and data (``contracts.release.impact``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from contracts.canonical import canonical_bytes
from contracts.errors import SymphonyError
from contracts.release.impact import IMPACT, verify_impact
from symphony.impact import run
from symphony.impact.formats import exponents_of, headline
from symphony.impact.replay import Candidate
from symphony.release.client import ControlPlane
from symphony.release.review import Download
from symphony.stack.layout import ENVIRONMENT, Layout
from symphony.stack.reading import reader_url

DAYS = 7
"""By default."""


def made(
    layout: Layout, files: Mapping[str, bytes], days: int, begun: Callable[[int], None], moved: Callable[[int], None]
) -> bytes:
    """The report on a release's targets, as it is bound. Raises ``CannotEvaluate`` when it cannot be made."""
    candidate = Candidate(files["policy.wasm"], files["environment.json"])
    replayed = run.replay(reader_url(layout, "sidecar"), candidate, days, begun=begun, moved=moved)
    return canonical_bytes(run.report_of(replayed, candidate, ENVIRONMENT))


def lines(report: bytes, environment: bytes) -> list[str]:
    """What is said of a report where a release is proposed, approved or shown: one or two lines."""
    return headline(orjson.loads(report), exponents_of(orjson.loads(environment)))


def of_release(control: ControlPlane, release: Download) -> dict[str, Any] | None:
    """The report bound into a release, held to what was signed; ``None`` where it has none (proposed by an older one)."""
    if release.contents.proposal.get("impact_sha256") is None:
        return None
    role = release.role
    data = control.get_bytes(f"/v1/releases/{role.environment}/{role.number}/targets/{IMPACT}")
    return verify_impact(release.contents.proposal, role, data)


def said(control: ControlPlane, release: Download) -> list[str]:
    """The report of a release in one or two lines; what is missing or does not hold is said, never passed over."""
    try:
        report = of_release(control, release)
    except SymphonyError as error:
        return [f"the impact report of this release does not hold: {error}"]
    if report is None:
        return [f"no impact report is bound into this release: symphony release impact {release.role.number}"]
    return headline(report, exponents_of(release.contents.environment_data))
