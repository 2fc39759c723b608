"""Break-glass as officers do it: seal, approve, open, close, review (ADR 0013). Everything is checked here before it is signed.

``seal`` takes policy, bundle and invariants from the files that a release is proposed from; the rest of an emergency release is
its bounds. An opening is one text that two officers sign: the first writes it, the second reads it here and signs the same bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from tuf.api.metadata import Metadata, TargetFile, Targets

from contracts import opa_bundle
from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import NotTrusted, Refused
from contracts.keys import (
    EMERGENCY_CLOSE_TYPE,
    EMERGENCY_OPEN_TYPE,
    EMERGENCY_REVIEW_TYPE,
    EMERGENCY_TYPE,
    public_hex,
    signer_of,
)
from contracts.release import emergency
from contracts.release.contents import GATED
from contracts.release.emergency import Said, Sealed
from contracts.release.envelope import countersigned, make_envelope
from contracts.release.limits import EMERGENCY_OPENING_WITHIN, EMERGENCY_SEALED_MAX
from contracts.release.model import FIELD
from contracts.release.trust import Trust, digest_of_signed, root_of, trust_of
from contracts.times import rfc3339
from symphony import policy_build
from symphony.release.client import ControlPlane, Officer


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an emergency release may do: ``caps`` by currency, and its two clocks in seconds."""

    caps: Mapping[str, Mapping[str, int]]
    valid_for_s: int
    review_within_s: int
    sealed_for: timedelta = EMERGENCY_SEALED_MAX


@dataclass(frozen=True, slots=True)
class EmergencyDraft:
    """A sealed release before it is sent: its role file without signatures, and its targets by relative path."""

    environment: str
    number: int
    metadata: bytes
    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """What approvers sign."""
        return digest_of_signed(Metadata.from_bytes(self.metadata))


def draft(
    officer: Officer, files: Mapping[str, bytes], gate: bytes, bounds: Bounds, *, environment: str, number: int, reason: str,
    change_ticket: str, now: datetime,
) -> EmergencyDraft:  # fmt: skip
    """Role file and signed proposal of emergency ``number``. ``files`` holds at least the gated targets."""
    targets = {name: files[name] for name in GATED}
    expires = (now + bounds.sealed_for).replace(microsecond=0)
    said = {
        "schema": emergency.PROPOSAL_SCHEMA, "environment": environment, "number": number, "sealed_at": rfc3339(now),
        "valid_for_s": bounds.valid_for_s, "review_within_s": bounds.review_within_s,
        "caps": {name: dict(cap) for name, cap in bounds.caps.items()},
        "targets": {name: sha256_hex(data) for name, data in targets.items()}, "gate_sha256": sha256_hex(gate),
        "proposer_key_id": officer.key_id, "reason": reason, "change_ticket": change_ticket,
    }  # fmt: skip
    proposal = orjson.dumps(make_envelope(officer.key, EMERGENCY_TYPE, canonical_bytes(said)))
    complete = {**targets, "gate.json": gate, "release.json": proposal}
    prefix = f"{emergency.role_name(environment)}/{number}/"
    listed = {prefix + name: TargetFile.from_data(prefix + name, data, ["sha256"]) for name, data in complete.items()}
    ours = {name: said[name] for name in (
        "environment", "number", "sealed_at", "valid_for_s", "review_within_s", "caps", "proposer_key_id",
    )}  # fmt: skip
    role = Targets(version=number, expires=expires, targets=listed, unrecognized_fields={FIELD: ours})
    return EmergencyDraft(environment, number, Metadata(role).to_bytes(), complete)


def opening(
    officer: Officer, sealed: Sealed, *, over: int, reason: str, now: datetime
) -> dict[str, Any]:
    """The opening with its first signature."""
    said = _about(emergency.OPENING_SCHEMA, sealed, now, reason)
    said |= {"metadata_digest": sealed.role.digest, "over": over}
    return make_envelope(officer.key, EMERGENCY_OPEN_TYPE, canonical_bytes(said))


def closing(officer: Officer, sealed: Sealed, opening_sha256: str, *, reason: str, now: datetime) -> dict[str, Any]:
    """The closing, by one officer."""
    said = {**_about(emergency.CLOSING_SCHEMA, sealed, now, reason), "opening_sha256": opening_sha256}
    return make_envelope(officer.key, EMERGENCY_CLOSE_TYPE, canonical_bytes(said))


def reviewed(officer: Officer, sealed: Sealed, opening_sha256: str, *, reason: str, now: datetime) -> dict[str, Any]:
    """The review, by an officer who neither opened nor closed."""
    said = {**_about(emergency.REVIEW_SCHEMA, sealed, now, reason), "opening_sha256": opening_sha256}
    return make_envelope(officer.key, EMERGENCY_REVIEW_TYPE, canonical_bytes(said))


def _about(schema: str, sealed: Sealed, now: datetime, reason: str) -> dict[str, Any]:
    return {
        "schema": schema, "environment": sealed.role.environment, "number": sealed.number, "at": rfc3339(now), "reason": reason,
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """An emergency as this officer's machine found it to hold. ``shown``: what the control plane says beside it."""

    trust: Trust
    sealed: Sealed
    metadata: bytes
    files: Mapping[str, bytes]
    proposal: Mapping[str, Any]
    shown: Mapping[str, Any]


def listed(control: ControlPlane, environment: str) -> dict[str, Any]:
    """Every emergency, and those that promotions wait for."""
    return dict(control.get(f"/v1/emergencies/{environment}"))


def seal(
    control: ControlPlane, officer: Officer, files: Mapping[str, bytes], gate: bytes, bounds: Bounds, *, environment: str,
    reason: str, change_ticket: str, root: bytes, now: datetime,
) -> EmergencyDraft:  # fmt: skip
    """Check and send the next emergency release. Raises the code of the rule that does not hold, here or there."""
    number = max((int(one["number"]) for one in listed(control, environment)["emergencies"]), default=0) + 1
    made = draft(
        officer, files, gate, bounds, environment=environment, number=number, reason=reason, change_ticket=change_ticket, now=now
    )
    trust = _trust(control, environment, root)
    sealed = emergency.read_sealed(trust, made.metadata, environment)
    emergency.verify_sealed_contents(trust, sealed, made.files)
    body = {
        "metadata": base64.b64encode(made.metadata).decode(),
        "targets": {sha256_hex(data): base64.b64encode(data).decode() for data in made.files.values()},
    }
    control.post(f"/v1/emergencies/{environment}", body)
    return made


def look(control: ControlPlane, environment: str, number: int, *, root: bytes) -> Look:
    """Download an emergency and hold it to every rule but its approvals. Nothing that the control plane says is believed."""
    trust = _trust(control, environment, root)
    address = f"/v1/emergencies/{environment}/{number}"
    shown = control.get(address)
    metadata = base64.b64decode(shown["metadata"], validate=True)
    sealed = emergency.read_sealed(trust, metadata, environment)
    if sealed.number != number:
        raise NotTrusted("RELEASE_SHAPE", f"asked for emergency {number}, got {sealed.number}")
    files = {path: control.get_bytes(f"{address}/targets/{path}") for path in sealed.role.targets}
    proposal = emergency.verify_sealed_contents(trust, sealed, files)
    return Look(trust, sealed, metadata, files, proposal, shown)


def rebuilt(found: Look, *, opa: Path | None = None, policies: Path = policy_build.POLICIES) -> policy_build.Checked:
    """Its Wasm is what its Rego compiles to, or the recorded pair (exit 3 where neither can be told)."""
    files = opa_bundle.verify(found.files["policy.tar.gz"], found.trust.build_key_pem, found.trust.build_key_id)
    rego = {name: data for name, data in files.items() if name.endswith(".rego")}
    return policy_build.check_pair(rego, found.files["policy.wasm"], opa=opa, folder=policies)


def approve(control: ControlPlane, officer: Officer, found: Look) -> str:
    """Sign what was looked at; ``PROPOSED``, or ``SEALED`` with the approval that reaches the threshold."""
    role = found.sealed.role
    _demand_officer(officer, found.trust)
    if public_hex(officer.key) == found.trust.officers[role.proposer_key_id]:
        raise Refused("OFFICER_IS_PROPOSER")
    signature = signer_of(officer.key).sign(Metadata.from_bytes(found.metadata).signed_bytes).signature
    envelope = officer.ask("approve-emergency", role.environment, role.number, role.digest, signature=signature)
    return str(_post(control, found.sealed, "approvals", envelope)["state"])


def begun(found: Look, now: datetime) -> list[tuple[dict[str, Any], Said]]:
    """Openings on their way that hold so far, newest last."""
    out = []
    for envelope in found.shown["pending"]:
        try:
            out.append((envelope, emergency.read_opening(found.trust, found.sealed, envelope, now)))
        except NotTrusted:
            continue  # of an officer who is none any more, or a control plane's invention
    return sorted(out, key=lambda one: one[1].at)


def open_(control: ControlPlane, officer: Officer, found: Look, *, over: int, reason: str, now: datetime) -> dict[str, Any]:
    """Begin an opening, or sign the one that another officer began for the same release and lately. Says what is reached."""
    _demand_officer(officer, found.trust)
    sealed = emergency.verify_sealed(found.trust, found.metadata, found.sealed.role.environment)
    others = [
        (envelope, said) for envelope, said in begun(found, now)
        if officer.key_id not in said.key_ids and said.claims["over"] == over and now - said.at <= EMERGENCY_OPENING_WITHIN
    ]  # fmt: skip
    if others:
        own = countersigned({**others[-1][0], "signatures": []}, officer.key)
    else:
        own = opening(officer, sealed, over=over, reason=reason, now=now)
    return dict(_post(control, sealed, "opening", own))


def close(control: ControlPlane, officer: Officer, found: Look, *, reason: str, now: datetime) -> dict[str, Any]:
    """Close it: one officer is enough."""
    _demand_officer(officer, found.trust)
    envelope = closing(officer, found.sealed, _opened(found), reason=reason, now=now)
    return dict(_post(control, found.sealed, "closing", envelope))


def review(control: ControlPlane, officer: Officer, found: Look, *, reason: str, now: datetime) -> dict[str, Any]:
    """Sign the review of what was done while it was open."""
    _demand_officer(officer, found.trust)
    envelope = reviewed(officer, found.sealed, _opened(found), reason=reason, now=now)
    return dict(_post(control, found.sealed, "review", envelope))


def _opened(found: Look) -> str:
    if found.shown["opening"] is None:
        raise Refused("EMERGENCY_STATE", f"emergency {found.sealed.number} was never opened")
    return emergency.payload_sha256(found.shown["opening"])


def _post(control: ControlPlane, sealed: Sealed, act: str, envelope: Mapping[str, Any]) -> Any:
    return control.post(f"/v1/emergencies/{sealed.role.environment}/{sealed.number}/{act}", {"envelope": envelope})


def _demand_officer(officer: Officer, trust: Trust) -> None:
    if public_hex(officer.key) not in trust.officers.values():
        raise Refused("OFFICER_UNKNOWN", f"{officer.name} may not act on emergencies")


def _trust(control: ControlPlane, environment: str, root: bytes) -> Trust:
    roots, targets, _ = control.trust(environment, root_of(root).version)
    return emergency.trust_for_emergencies(trust_of(root_of(root, roots), targets, environment), environment)
