"""What ``contracts/release`` demands on top of TUF (design section 4), as pure functions over bytes and times.

 1-5. custodians' metadata: see ``contracts.release.trust``.
 6. The role file is the environment's own: role version N is release N, environment and number stand in the signed
    part; it delegates no further; it lists exactly the targets of a release, all under ``<env>/<N>/``, with SHA-256;
    ``activate_before`` is at most 7 days after not-before.
 7. Distinct key *material* of the role's officers, the proposer's left out, reaches the threshold.
 8. The proposal is signed by its proposer, an officer of the role, and names these targets, this number, environment,
    predecessor, times and gate result.
 9. The gate result is a pass of at least one test for exactly this policy, bundle and these invariants, signed by a
    gate key that is not the proposer's.
10. To activate: the number is above the highest ever accepted; not-before has come; ``activate_before`` has not passed.
    Same number, other digest: forked. A service's first release is at least the one that its enrolment names.
11. To restart on the release already held: number and digest equal the durable record (``activate_before`` not asked).
12. Always: unexpired, and not revoked by the digest of its signed role metadata. One that is held already runs on past its
    end as long, and as much, as its manifest's schedule permits (``contracts.release.staleness``); none is taken up anew.
13. The bytes of every target are those that were signed; the content rules are ``contracts.release.contents``.
14. A revocation list is signed by the security officer, is of this environment, contains every entry of the list before
    it, and revokes nobody whom only the custodians may remove.
15. The engine compiles the policy and answers its self-test, the compiled-in invariants hold: injected by the service.
16. Root and targets are no older than those under which the held release and revocation list were taken: TUF's own cache
    may be lost (``contracts.release.follower``; a folder that is lost as a whole remembers nothing).
17. Where the service's manifest demands it: provenance and SBOM hold, and the service runs what the SBOM lists
    (``contracts.release.build``, ATT-19).

Any failure raises and the old release keeps running (``contracts.release.follower``).
Requirements: POL-01, POL-05, POL-06, POL-07, D5. Not here: fetching, files, the durable record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tuf.api.metadata import TargetFile, Targets

from contracts.errors import NotTrusted
from contracts.release.limits import (
    ACTIVATE_BEFORE_AHEAD_MAX,
    RELEASE_BYTES_MAX,
    REVOCATIONS_MAX,
    TARGET_BYTES_MAX,
    TARGETS_MAX,
)
from contracts.release.model import FIELD, FIXED_TARGETS, Revocations, Role, Target
from contracts.release.trust import Trust, digest_of_signed, parse
from contracts.times import parse_rfc3339

_VARIABLE_TARGET = re.compile(
    r"services/[a-z][a-z0-9-]{0,62}\.json|schemas/[a-z][a-z0-9-]{0,31}/[a-zA-Z0-9][a-zA-Z0-9.-]{0,63}\.xsd"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
REVOCATION_KINDS = ("certificate", "token_key", "permit_key", "evidence_key", "participant", "release")
_ENTRY_FIELDS = {"kind", "id", "reason", "revoked_at", "until"}


def verify_role(trust: Trust, role_bytes: bytes, environment: str) -> Role:
    """The role file of a release, by rules 6 and 7. Raises ``NotTrusted RELEASE_*``."""
    role = read_role(trust, role_bytes, environment)
    if len(role.approver_key_ids) < trust.approvals_min:
        detail = f"{len(role.approver_key_ids)} of {trust.approvals_min} approvals, not counting the proposer's"
        raise NotTrusted("RELEASE_SIGNATURE", detail)
    return role


def read_role(trust: Trust, role_bytes: bytes, environment: str) -> Role:
    """The same by rule 6 only: a release on its way, with the approvals that hold so far."""
    metadata = parse(role_bytes, Targets)
    signed = metadata.signed
    if signed.delegations is not None:
        raise NotTrusted("RELEASE_SHAPE", "the environment's role delegates further")
    ours = _ours(signed, environment)
    if type(ours.get("number")) is not int or ours["number"] != signed.version:
        raise NotTrusted("RELEASE_SHAPE", "the number is not the role's version")
    not_before, activate_before = _moment(ours, "not_before"), _moment(ours, "activate_before")
    if not not_before < activate_before <= not_before + ACTIVATE_BEFORE_AHEAD_MAX:
        raise NotTrusted("RELEASE_SHAPE", "activate_before is not within 7 days after not_before")
    proposer = str(ours.get("proposer_key_id"))
    if proposer not in trust.officers:
        raise NotTrusted("RELEASE_PROPOSAL", "the proposer is missing or is no officer of the role")
    result = trust.targets.get_verification_result(environment, metadata.signed_bytes, metadata.signatures)
    return Role(
        environment=environment,
        number=signed.version,
        digest=digest_of_signed(metadata),
        expires_at=signed.expires,
        not_before=not_before,
        activate_before=activate_before,
        proposer_key_id=proposer,
        approver_key_ids=approvers_among(trust, result.signed, proposer),
        targets=_targets(signed, environment),
    )


def approvers_among(trust: Trust, key_ids: Iterable[str], proposer_key_id: str) -> tuple[str, ...]:
    """Of the keys that signed, one id for each distinct key material that counts; the proposer's never does."""
    own = trust.officers.get(proposer_key_id)
    by_material = {trust.officers[k]: k for k in sorted(key_ids, reverse=True) if k in trust.officers}
    return tuple(sorted(key_id for material, key_id in by_material.items() if material != own))


def check_may_activate(role: Role, accepted: tuple[int, str] | None, minimum_number: int, now: datetime) -> None:
    """Rule 10. ``accepted`` is the highest number and its digest ever accepted."""
    if accepted is None:
        if role.number < minimum_number:
            raise NotTrusted("RELEASE_ROLLBACK", f"the enrolment asks for release {minimum_number} or above")
    else:
        check_not_forked(role, accepted)
        if role.number <= accepted[0]:
            raise NotTrusted("RELEASE_ROLLBACK", f"release {role.number}; {accepted[0]} was accepted before")
    if now < role.not_before:
        raise NotTrusted("RELEASE_NOT_BEFORE", f"not before {role.not_before.isoformat()}")
    if now >= role.activate_before:
        raise NotTrusted("RELEASE_LATE", f"was to be activated before {role.activate_before.isoformat()}")


def check_not_forked(role: Role, accepted: tuple[int, str]) -> None:
    """One number has one digest, for ever."""
    if role.number == accepted[0] and role.digest != accepted[1]:
        raise NotTrusted("RELEASE_FORKED", f"release {role.number} was accepted with another digest")


def check_may_hold(role: Role, accepted: tuple[int, str] | None) -> None:
    """Rule 11."""
    if accepted is None or role.number != accepted[0]:
        raise NotTrusted("RELEASE_ROLLBACK", "the held release is not the highest that was accepted")
    check_not_forked(role, accepted)


def check_always(trust: Trust, role: Role, revocations: Iterable[Mapping[str, Any]], now: datetime) -> None:
    """Rule 12."""
    if now >= min(role.expires_at, trust.expires_at):
        raise NotTrusted("RELEASE_EXPIRED", f"release {role.number} or the custodians' word on it has run out")
    check_not_revoked(role, revocations, now)


def check_not_revoked(role: Role, revocations: Iterable[Mapping[str, Any]], now: datetime) -> None:
    """Rule 12 without the end, for a release that is held: ``staleness`` judges that."""
    if is_revoked(revocations, "release", role.digest, now):
        raise NotTrusted("RELEASE_REVOKED", f"release {role.number}")


def is_revoked(entries: Iterable[Mapping[str, Any]], kind: str, identifier: str, now: datetime) -> bool:
    """Whether an entry revokes it at ``now``; an entry carries its own end."""
    return any(
        entry["kind"] == kind
        and entry["id"] == identifier
        and (entry["until"] is None or now < parse_rfc3339(entry["until"]))
        for entry in entries
    )


def verify_revocations(
    trust: Trust, list_bytes: bytes, environment: str, before: Revocations | None = None
) -> Revocations:
    """Rule 14. ``before`` is the list accepted last. Raises ``NotTrusted RELEASE_*``."""
    metadata = parse(list_bytes, Targets)
    name = f"{environment}-revocations"
    if not trust.targets.get_verification_result(name, metadata.signed_bytes, metadata.signatures):
        raise NotTrusted("RELEASE_SIGNATURE", "the revocation list is not signed by the security officer")
    if metadata.signed.targets or metadata.signed.delegations is not None:
        raise NotTrusted("RELEASE_SHAPE", "a revocation list has no target and no delegation")
    entries = _ours(metadata.signed, environment).get("entries")
    if not isinstance(entries, list) or len(entries) > REVOCATIONS_MAX:
        raise NotTrusted("RELEASE_SHAPE", "a revocation list has no entries field, or too many entries")
    for entry in entries:
        _check_entry(trust, entry)
    if before is not None:
        _check_grown(before, metadata.signed.version, entries)
    return Revocations(metadata.signed.version, metadata.signed.expires, tuple(entries))


def _check_entry(trust: Trust, entry: Any) -> None:
    if not isinstance(entry, dict) or set(entry) != _ENTRY_FIELDS or entry["kind"] not in REVOCATION_KINDS:
        raise NotTrusted("RELEASE_SHAPE", "a revocation entry has other fields or another kind")
    if not all(isinstance(entry[field], str) for field in ("id", "reason")):
        raise NotTrusted("RELEASE_SHAPE", "a revocation entry's id and reason are text")
    _moment(entry, "revoked_at")
    if entry["until"] is not None:
        _moment(entry, "until")
    people = {**trust.officers, **trust.security_officers, **trust.root.keys}
    if entry["id"] in people or entry["id"] in trust.officers.values():
        raise NotTrusted("RELEASE_SHAPE", "only the custodians' metadata removes officers, custodians and their like")


def _check_grown(before: Revocations, version: int, entries: list[dict[str, Any]]) -> None:
    if version < before.version:
        raise NotTrusted("RELEASE_ROLLBACK", f"revocation list {version} after {before.version}")
    missing = [entry for entry in before.entries if entry not in entries]
    if missing:
        raise NotTrusted("RELEASE_ROLLBACK", f"the revocation list lost {len(missing)} entries, {missing[0]['id']}")


def _ours(signed: Targets, environment: str) -> Mapping[str, Any]:
    ours = signed.unrecognized_fields.get(FIELD)
    if not isinstance(ours, dict):
        raise NotTrusted("RELEASE_SHAPE", f"the signed part has no {FIELD}")
    if ours.get("environment") != environment:
        raise NotTrusted("RELEASE_ENVIRONMENT", f"for {str(ours.get('environment'))[:32]!r}, not {environment}")
    return ours


def _moment(values: Mapping[str, Any], field: str) -> datetime:
    try:
        return parse_rfc3339(values[field])
    except (KeyError, TypeError, ValueError) as error:
        raise NotTrusted("RELEASE_SHAPE", f"{field} is missing or not RFC 3339 with six digits") from error


def _targets(signed: Targets, environment: str) -> dict[str, Target]:
    return targets_under(signed, f"{environment}/{signed.version}/", FIXED_TARGETS, _VARIABLE_TARGET)


def targets_under(
    signed: Targets, prefix: str, fixed: Sequence[str], variable: re.Pattern[str] | None = None
) -> dict[str, Target]:
    """Rule 6: the targets of a role by path relative to ``prefix``: all of ``fixed``, and none but those or ``variable``."""
    if len(signed.targets) > TARGETS_MAX:
        raise NotTrusted("RELEASE_SHAPE", f"more than {TARGETS_MAX} targets")
    out = {}
    for path, target in signed.targets.items():
        relative = path.removeprefix(prefix)
        if relative == path or not (relative in fixed or (variable is not None and variable.fullmatch(relative))):
            raise NotTrusted("RELEASE_SHAPE", f"a target that is none of a release: {path[:100]}")
        out[relative] = _target(target)
    missing = [name for name in fixed if name not in out]
    if missing:
        raise NotTrusted("RELEASE_SHAPE", f"targets are missing: {', '.join(missing)}")
    if sum(target.length for target in out.values()) > RELEASE_BYTES_MAX:
        raise NotTrusted("RELEASE_SHAPE", f"the release is over {RELEASE_BYTES_MAX} bytes")
    return out


def _target(target: TargetFile) -> Target:
    digest = target.hashes.get("sha256", "")
    if set(target.hashes) != {"sha256"} or not _SHA256.fullmatch(digest):
        raise NotTrusted("RELEASE_SHAPE", f"{target.path[:100]} has other hashes than SHA-256")
    if not 0 <= target.length <= TARGET_BYTES_MAX:
        raise NotTrusted("RELEASE_SHAPE", f"{target.path[:100]} is over {TARGET_BYTES_MAX} bytes")
    return Target(digest, target.length)
