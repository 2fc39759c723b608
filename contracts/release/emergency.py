"""Break-glass: emergency releases, sealed in calm times and opened by two persons, as pure functions (ADR 0013).

An emergency release K is version K of the role ``<env>-emergency``. It is laid *over* the release in force: its policy takes
the place of that release's, its caps only lower; participants, keys, manifests and everything else stay the release's own.

Rules (E1 to E9):

 E1. sealed: the role file is the environment's, its version is K, it delegates no further, lists exactly ``EMERGENCY_TARGETS``
     under ``<env>-emergency/<K>/``; its caps, validity and review time are within ``contracts.release.limits``; it runs out
     within 90 days after ``sealed_at``, which is not ahead;
 E2. pre-approved: distinct key material of the role's officers, the proposer's left out, reaches the custodians' threshold;
 E3. the proposal is its proposer's and says all that the role says; gate result and bundle hold as in any release (rules 9, 13);
 E4. opened by two: an opening names environment, number, metadata digest, the release that it stands over, reason and time; at
     least two officers of distinct material signed it, and nobody else did; each key signs once;
 E5. its end is absolute: ``opened_at`` + ``valid_for_s``, and never after the sealed file's own; an opening is not dated ahead;
 E6. one opening a number, for ever; a lower number than one that was opened is refused (the follower's durable record);
 E7. it stands only over the release that the opening names: the next promotion ends it;
 E8. one officer closes it, by an envelope about exactly this opening; what is over stays over;
 E9. a review is about exactly this opening, by an officer whose material neither opened nor closed it.

The control plane can withhold an opening or a closing, the latter until the end by E5 at most; it can make neither.
Not here: fetching, the durable record (``contracts.release.emergency_following``).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tuf.api.metadata import Targets

from contracts import opa_bundle
from contracts.canonical import canonical_bytes, parse_json, sha256_hex
from contracts.caps import ANY
from contracts.errors import NotTrusted, Refused
from contracts.keys import EMERGENCY_CLOSE_TYPE, EMERGENCY_OPEN_TYPE, EMERGENCY_REVIEW_TYPE, EMERGENCY_TYPE, verify
from contracts.money import AMOUNT_MINOR_MAX
from contracts.release import limits, rules
from contracts.release.contents import check_digests, verify_gate
from contracts.release.envelope import open_envelope_bytes, split_envelope
from contracts.release.model import FIELD, Emergency, Role, VerifiedRelease
from contracts.release.trust import Trust, digest_of_signed, keys_of, parse
from contracts.times import parse_rfc3339, rfc3339

EMERGENCY_TARGETS = ("policy.wasm", "policy.tar.gz", "invariants.json", "gate.json", "release.json")
PROPOSAL_SCHEMA, OPENING_SCHEMA = "symphony.emergency/1", "symphony.emergency_opening/1"
CLOSING_SCHEMA, REVIEW_SCHEMA = "symphony.emergency_closing/1", "symphony.emergency_review/1"
CAPS = ("payment_minor_max", "daily_minor_max", "daily_count_max")
REASON_MAX = 500
_CURRENCY = re.compile(r"[A-Z]{3}")
_OURS = {
    "environment", "number", "sealed_at", "valid_for_s", "review_within_s", "caps", "proposer_key_id",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sealed:
    """An emergency release whose role file holds (E1). ``caps`` by currency, in minor units and payments a day."""

    role: Role
    valid_for_s: int
    review_within_s: int
    caps: Mapping[str, Mapping[str, int]]

    @property
    def number(self) -> int:
        """K."""
        return self.role.number

    @property
    def sealed_at(self) -> datetime:
        """When it was sealed."""
        return self.role.not_before

    def ends_at(self, opened_at: datetime) -> datetime:
        """E5."""
        return min(opened_at + timedelta(seconds=self.valid_for_s), self.role.expires_at)

    def review_by(self, opened_at: datetime) -> datetime:
        """When promotions freeze, unless it is reviewed."""
        return opened_at + timedelta(seconds=self.review_within_s)


@dataclass(frozen=True, slots=True)
class Said:
    """A verified opening, closing or review: its claims, the envelope's payload digest, and who signed."""

    claims: Mapping[str, Any]
    sha256: str
    key_ids: tuple[str, ...]

    @property
    def at(self) -> datetime:
        """When it was signed, by its own word."""
        return parse_rfc3339(self.claims["at"])


def role_name(environment: str) -> str:
    """The role of an environment's emergency releases."""
    return f"{environment}-emergency"


def trust_for_emergencies(trust: Trust, environment: str) -> Trust:
    """The custodians' word with the emergency role's officers and threshold in place of the releases'."""
    name = role_name(environment)
    officers = keys_of(trust.targets, name)
    return replace(trust, officers=officers, approvals_min=trust.targets.get_delegated_role(name).threshold)


def verify_sealed(trust: Trust, role_bytes: bytes, environment: str) -> Sealed:
    """E1 and E2. ``trust``: ``trust_for_emergencies``. Raises ``NotTrusted RELEASE_*`` or ``EMERGENCY_INVALID``."""
    sealed = read_sealed(trust, role_bytes, environment)
    found = len(sealed.role.approver_key_ids)
    if found < trust.approvals_min:
        raise NotTrusted("RELEASE_SIGNATURE", f"{found} of {trust.approvals_min} approvals, not counting the proposer's")
    return sealed


def read_sealed(trust: Trust, role_bytes: bytes, environment: str) -> Sealed:
    """E1 only: a sealed release on its way, with the approvals that hold so far."""
    metadata = parse(role_bytes, Targets)
    signed, name = metadata.signed, role_name(environment)
    ours = signed.unrecognized_fields.get(FIELD)
    if signed.delegations is not None or not isinstance(ours, dict) or set(ours) != _OURS:
        raise NotTrusted("RELEASE_SHAPE", f"the emergency role delegates further, or its {FIELD} has other fields")
    if ours["environment"] != environment:
        raise NotTrusted("RELEASE_ENVIRONMENT", f"for {str(ours['environment'])[:32]!r}, not {environment}")
    if type(ours["number"]) is not int or ours["number"] != signed.version:
        raise NotTrusted("RELEASE_SHAPE", "the number is not the role's version")
    if ours["proposer_key_id"] not in trust.officers:
        raise NotTrusted("RELEASE_PROPOSAL", "the proposer is missing or is no officer of the role")
    sealed_at = _moment(ours["sealed_at"], "sealed_at")
    if not sealed_at < signed.expires <= sealed_at + limits.EMERGENCY_SEALED_MAX:
        raise NotTrusted("EMERGENCY_INVALID", f"it does not run out within {limits.EMERGENCY_SEALED_MAX.days} days")
    result = trust.targets.get_verification_result(name, metadata.signed_bytes, metadata.signatures)
    role = Role(
        environment=environment, number=signed.version, digest=digest_of_signed(metadata), expires_at=signed.expires,
        not_before=sealed_at, activate_before=signed.expires, proposer_key_id=ours["proposer_key_id"],
        approver_key_ids=rules.approvers_among(trust, result.signed, ours["proposer_key_id"]),
        targets=rules.targets_under(signed, f"{name}/{signed.version}/", EMERGENCY_TARGETS),
    )  # fmt: skip
    return Sealed(
        role,
        _within(ours, "valid_for_s", limits.EMERGENCY_VALID_S_MIN, limits.EMERGENCY_VALID_S_MAX),
        _within(ours, "review_within_s", limits.EMERGENCY_REVIEW_S_MIN, limits.EMERGENCY_REVIEW_S_MAX),
        _caps(ours["caps"]),
    )


def verify_always(trust: Trust, sealed: Sealed, revocations: Any, now: datetime) -> None:
    """Rule 12, and E1: not revoked, not run out, not dated ahead."""
    rules.check_always(trust, sealed.role, revocations, now)
    _not_ahead(sealed.sealed_at, now, "sealed_at")


def verify_sealed_contents(trust: Trust, sealed: Sealed, files: Mapping[str, bytes]) -> dict[str, Any]:
    """E3: the proposal. ``files`` by path relative to ``<env>-emergency/<K>/``. Raises ``NotTrusted RELEASE_*``."""
    role = sealed.role
    check_digests(role, files)
    keys = {role.proposer_key_id: trust.officers[role.proposer_key_id]}
    payload, _ = open_envelope_bytes(files["release.json"], EMERGENCY_TYPE, keys, "RELEASE_PROPOSAL")
    said = proposal_of(sealed)
    proposal = _object(payload, "RELEASE_PROPOSAL")
    if set(proposal) != {*said, "reason", "change_ticket"} or any(proposal[name] != value for name, value in said.items()):
        raise NotTrusted("RELEASE_PROPOSAL", "the proposal does not say what the role says")
    if any(not _is_text(proposal[name]) for name in ("reason", "change_ticket")):
        raise NotTrusted("RELEASE_PROPOSAL", "the proposal lacks its reason or change ticket")
    verify_gate(trust, role, files["gate.json"])
    opa_bundle.verify(files["policy.tar.gz"], trust.build_key_pem, trust.build_key_id)
    return proposal


def proposal_of(sealed: Sealed) -> dict[str, Any]:
    """What the proposal says, but reason and change ticket."""
    role = sealed.role
    return {
        "schema": PROPOSAL_SCHEMA, "environment": role.environment, "number": role.number,
        "sealed_at": rfc3339(sealed.sealed_at), "valid_for_s": sealed.valid_for_s,
        "review_within_s": sealed.review_within_s, "caps": {name: dict(cap) for name, cap in sealed.caps.items()},
        "targets": {p: t.sha256 for p, t in role.targets.items() if p not in ("release.json", "gate.json")},
        "gate_sha256": role.targets["gate.json"].sha256, "proposer_key_id": role.proposer_key_id,
    }  # fmt: skip


def verify_opening(trust: Trust, sealed: Sealed, envelope: Any, now: datetime) -> Said:
    """E4 and E5 (but the end). Raises ``NotTrusted EMERGENCY_*``."""
    said = read_opening(trust, sealed, envelope, now)
    if signers_of(trust, envelope) < limits.EMERGENCY_OPENERS_MIN:
        raise NotTrusted("EMERGENCY_SIGNATURE", f"signed by fewer than {limits.EMERGENCY_OPENERS_MIN} different officers")
    return said


def key_ids_of(envelope: Any) -> tuple[str, ...]:
    """Who signed an opening; nothing is verified."""
    return tuple(sorted(key_id for key_id, _ in split_envelope(envelope, EMERGENCY_OPEN_TYPE, "EMERGENCY_INVALID")[1]))


def signers_of(trust: Trust, envelope: Any) -> int:
    """How many different officers signed an opening that was read."""
    return len({trust.officers[key_id] for key_id in key_ids_of(envelope)})


def read_opening(trust: Trust, sealed: Sealed, envelope: Any, now: datetime) -> Said:
    """The same for an opening on its way, with the signatures that it has so far."""
    claims, sha256, key_ids = _said(trust, envelope, EMERGENCY_OPEN_TYPE)
    _about(claims, OPENING_SCHEMA, sealed, {"metadata_digest": sealed.role.digest}, {"over", "reason"})
    if type(claims["over"]) is not int or claims["over"] < 1 or not _is_text(claims["reason"]):
        raise NotTrusted("EMERGENCY_INVALID", "an opening names the release that it stands over, and a reason")
    said = Said(claims, sha256, key_ids)
    _not_ahead(said.at, now, "the opening")
    if said.at < sealed.sealed_at - limits.EMERGENCY_CLOCKS_APART_MAX:
        raise NotTrusted("EMERGENCY_TIME", "opened before it was sealed")
    return said


def verify_closing(trust: Trust, sealed: Sealed, opening_sha256: str, envelope: Any, now: datetime) -> Said:
    """E8. Raises ``NotTrusted EMERGENCY_*``."""
    return _by_one(trust, sealed, envelope, EMERGENCY_CLOSE_TYPE, CLOSING_SCHEMA, opening_sha256, now)


def verify_review(
    trust: Trust, sealed: Sealed, opening_sha256: str, envelope: Any, now: datetime, *, involved: Mapping[str, str]
) -> Said:
    """E9. ``involved``: key id to public key of who opened and closed. Raises ``NotTrusted EMERGENCY_*``."""
    said = _by_one(trust, sealed, envelope, EMERGENCY_REVIEW_TYPE, REVIEW_SCHEMA, opening_sha256, now)
    if said.key_ids[0] in involved or trust.officers[said.key_ids[0]] in involved.values():
        raise NotTrusted("EMERGENCY_OWN", f"key {said.key_ids[0][:16]}… opened or closed emergency {sealed.number}")
    return said


def _by_one(
    trust: Trust, sealed: Sealed, envelope: Any, payload_type: str, schema: str, opening_sha256: str, now: datetime
) -> Said:
    claims, sha256, key_ids = _said(trust, envelope, payload_type)
    _about(claims, schema, sealed, {"opening_sha256": opening_sha256}, {"reason"})
    if not _is_text(claims["reason"]) or len(key_ids) != 1:
        raise NotTrusted("EMERGENCY_INVALID", "one officer signs it, with a reason")
    said = Said(claims, sha256, key_ids)
    _not_ahead(said.at, now, schema)
    return said


def overlaid(release: VerifiedRelease, sealed: Sealed, opening: Said, policy: tuple[bytes, bytes]) -> VerifiedRelease:
    """The release with the emergency over it (E7 is the caller's). ``policy``: ``policy.wasm`` and ``policy.tar.gz``."""
    over = Emergency(
        number=sealed.number, metadata_digest=sealed.role.digest, opening_sha256=opening.sha256, opened_at=opening.at,
        ends_at=sealed.ends_at(opening.at), policy_digest_under=release.policy_digest,
    )  # fmt: skip
    return replace(
        release, policy_wasm=policy[0], policy_bundle=policy[1], policy_digest=sealed.role.targets["policy.wasm"].sha256,
        environment_data=lowered(release.environment_data, sealed.caps), emergency=over, decide_again=True,
    )  # fmt: skip


def lowered(environment_data: Mapping[str, Any], caps: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Environment data under an emergency's caps: the lesser of both, and no cap, so no payment, in any other currency."""
    sandbox = environment_data["environment"] == "sandbox"

    def lesser(own: Mapping[str, Any]) -> dict[str, Any]:
        found = {name: own.get(name) or (own.get(ANY) if sandbox else None) for name in caps}
        return {
            currency: {**cap, **{name: min(cap[name], value) for name, value in caps[currency].items()}}
            for currency, cap in found.items()
            if cap is not None
        }

    data = copy.copy(dict(environment_data))
    data["caps"] = lesser(environment_data["caps"])
    data["participants"] = [
        {**one, "caps": lesser(one["caps"])} if "caps" in one else one for one in environment_data["participants"]
    ]
    return data


def payload_sha256(envelope: Any) -> str:
    """What an opening is named by; nothing is verified."""
    return sha256_hex(split_envelope(envelope, EMERGENCY_OPEN_TYPE, "EMERGENCY_INVALID")[0])


def _said(trust: Trust, envelope: Any, payload_type: str) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    """Claims, payload digest and the keys that signed; a signature that does not hold is a refusal, never left out."""
    payload, signatures = split_envelope(envelope, payload_type, "EMERGENCY_INVALID")
    if len(payload) > limits.EMERGENCY_ENVELOPE_BYTES_MAX or not 1 <= len(signatures) <= limits.EMERGENCY_SIGNATURES_MAX:
        raise NotTrusted("EMERGENCY_INVALID", "too large, unsigned, or too many signatures")
    key_ids = tuple(sorted(key_id for key_id, _ in signatures))
    if len(set(key_ids)) != len(key_ids) or any(key_id not in trust.officers for key_id in key_ids):
        raise NotTrusted("EMERGENCY_SIGNATURE", "signed by no officer of the role, or twice by one")
    for key_id, signature in signatures:
        verify(trust.officers[key_id], payload_type, payload, signature, code="EMERGENCY_SIGNATURE")
    claims = _object(payload, "EMERGENCY_INVALID")
    if canonical_bytes(claims) != payload:
        raise NotTrusted("EMERGENCY_INVALID", "the payload is not canonical JSON")
    return claims, sha256_hex(payload), key_ids


def _about(
    claims: Mapping[str, Any], schema: str, sealed: Sealed, subject: Mapping[str, Any], more: set[str]
) -> None:
    expected = {"schema": schema, "environment": sealed.role.environment, "number": sealed.number, **subject}
    if set(claims) != {*expected, *more, "at"}:
        raise NotTrusted("EMERGENCY_INVALID", f"not the fields of {schema}")
    if claims["environment"] != sealed.role.environment:
        raise NotTrusted("RELEASE_ENVIRONMENT", f"for {str(claims['environment'])[:32]!r}, not {sealed.role.environment}")
    wrong = [name for name, value in expected.items() if claims[name] != value]
    if wrong:
        raise NotTrusted("EMERGENCY_INVALID", f"it names another {', '.join(wrong)}")
    _moment(claims["at"], "at")


def _not_ahead(at: datetime, now: datetime, what: str) -> None:
    if at > now + limits.EMERGENCY_CLOCKS_APART_MAX:
        raise NotTrusted("EMERGENCY_TIME", f"{what} is dated ahead: {rfc3339(at)}")


def _caps(value: Any) -> dict[str, dict[str, int]]:
    if not isinstance(value, dict) or not 1 <= len(value) <= limits.EMERGENCY_CURRENCIES_MAX:
        raise NotTrusted("EMERGENCY_INVALID", "caps: one for each of 1 to 50 currencies")
    for currency, cap in value.items():
        named = isinstance(cap, dict) and set(cap) == set(CAPS) and _CURRENCY.fullmatch(currency)
        if not named or not all(type(cap[name]) is int and 1 <= cap[name] <= AMOUNT_MINOR_MAX for name in CAPS):
            raise NotTrusted("EMERGENCY_INVALID", f"caps of {currency[:8]!r}: {', '.join(CAPS)}, 1 or more each")
    return {currency: dict(cap) for currency, cap in value.items()}


def _within(ours: Mapping[str, Any], field: str, least: int, most: int) -> int:
    value = ours[field]
    if type(value) is not int or not least <= value <= most:
        raise NotTrusted("EMERGENCY_INVALID", f"{field} is {least} to {most} seconds")
    return value


def _moment(value: Any, field: str) -> datetime:
    try:
        return parse_rfc3339(value)
    except (TypeError, ValueError) as error:
        raise NotTrusted("EMERGENCY_INVALID", f"{field} is not RFC 3339 with six digits") from error


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value.strip()) <= REASON_MAX


def _object(data: bytes, code: str) -> dict[str, Any]:
    try:
        value = parse_json(data, bytes_max=limits.EMERGENCY_ENVELOPE_BYTES_MAX)
    except Refused as error:
        raise NotTrusted(code, error.detail) from error
    if not isinstance(value, dict):
        raise NotTrusted(code, "not a JSON object")
    return value
