"""Propose a release: collect the files, write the role and the proposal, sign it, send it (POL-01, POL-07).

``collect`` gathers every target but ``release.json`` and ``gate.json``; ``propose`` adds those two. The same rules as
in a sidecar are applied here first, against the officer's own pinned root: a mistake is named before anybody sees it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from tuf.api.metadata import Metadata, TargetFile, Targets

from contracts import opa_bundle
from contracts.canonical import canonical_bytes, sha256_hex
from contracts.errors import Refused
from contracts.keys import PROPOSAL_TYPE
from contracts.release.build import FIELD_OF, check_build
from contracts.release.contents import PROPOSAL_SCHEMA, verify_contents
from contracts.release.envelope import make_envelope
from contracts.release.impact import verify_impact
from contracts.release.model import FIELD
from contracts.release.rules import read_role
from contracts.release.trust import digest_of_signed, root_of, trust_of
from contracts.times import rfc3339
from symphony import policy_build
from symphony.release.ceremony import build_key_id
from symphony.release.client import ControlPlane, Officer

ROLE_LIFETIME = {"sandbox": timedelta(days=90), "staging": timedelta(days=30), "production": timedelta(days=30)}
REASON_MAX, TICKET_MAX = 500, 64
ACTIVATE_WITHIN = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Draft:
    """A release before it is sent: number, role file without signatures, all targets by relative path.

    ``impact`` and ``build``: the impact report, and SBOM and provenance by name, which the proposal names by digest
    (``contracts.release.impact``, ``contracts.release.build``) and which are no targets.
    """

    environment: str
    number: int
    metadata: bytes
    files: Mapping[str, bytes]
    impact: bytes | None = None
    build: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The metadata digest that approvers sign."""
        return digest_of_signed(Metadata.from_bytes(self.metadata))


def collect(
    *,
    environment_data: Mapping[str, Any],
    manifests: Mapping[str, Mapping[str, Any]],
    invariants: Mapping[str, Any],
    schemas: Mapping[str, bytes],
    build_key: ec.EllipticCurvePrivateKey,
    policies: Path = policy_build.POLICIES,
) -> dict[str, bytes]:
    """Every target of a release but ``release.json`` and ``gate.json``, by path.

    ``manifests`` by service name, ``schemas`` by ``"iso20022/pacs.008.001.08"``. The bundle's revision is the digest
    of the Rego, so the same policy gives the same bytes in every environment. Raises ``NotTrusted RELEASE_DIGEST``
    when the committed ``policy.wasm`` is not the recorded one.
    """
    rego = policy_build.rego_files(policies)
    bundle = opa_bundle.build(rego, policy_build.rego_digest(rego), build_key, build_key_id(build_key))
    files = {
        "policy.wasm": policy_build.committed_wasm(policies),
        "policy.tar.gz": bundle,
        "invariants.json": canonical_bytes(dict(invariants)),
        "environment.json": canonical_bytes(dict(environment_data)),
    }
    files |= {f"services/{name}.json": canonical_bytes(dict(manifest)) for name, manifest in manifests.items()}
    return files | {f"schemas/{name}.xsd": data for name, data in schemas.items()}


def schemas_from(folder: Path, rail: str = "iso20022") -> dict[str, bytes]:
    """The XSDs of a folder as a release names them: ``pacs.008.001.08.xsd`` → ``iso20022/pacs.008.001.08``."""
    found = {f"{rail}/{file.stem}": file.read_bytes() for file in sorted(folder.glob("*.xsd"))}
    if not found:
        raise Refused("RELEASE_SCHEMA_HOSTILE", f"{folder} holds no *.xsd")
    return found


def draft(
    officer: Officer,
    files: Mapping[str, bytes],
    gate: bytes,
    *,
    environment: str,
    number: int,
    reason: str,
    change_ticket: str,
    now: datetime,
    not_before: datetime | None = None,
    source: Mapping[str, Any] | None = None,
    impact: bytes | None = None,
    build: Mapping[str, bytes] | None = None,
) -> Draft:
    """The role file and the signed proposal of release ``number``. ``source``: the checkout that it was made from."""
    if not 1 <= len(reason.strip()) <= REASON_MAX or len(change_ticket) > TICKET_MAX:
        raise Refused("REQUEST_INVALID", f"a reason has 1 to {REASON_MAX} characters, a ticket at most {TICKET_MAX}")
    start = not_before or now
    proposal = {
        "schema": PROPOSAL_SCHEMA,
        "environment": environment,
        "number": number,
        "reason": reason,
        "change_ticket": change_ticket,
        "not_before": rfc3339(start),
        "predecessor": number - 1 or None,
        "targets": {path: sha256_hex(data) for path, data in files.items()},
        "gate_sha256": sha256_hex(gate),
        "created_at": rfc3339(now),
        "proposer_key_id": officer.key_id,
        **({"source": dict(source)} if source else {}),
        **({"build": {FIELD_OF[name]: sha256_hex(data) for name, data in build.items()}} if build else {}),
    } | ({} if impact is None else {"impact_sha256": sha256_hex(impact)})
    signed = orjson.dumps(make_envelope(officer.key, PROPOSAL_TYPE, canonical_bytes(proposal)))
    complete = {**files, "gate.json": gate, "release.json": signed}
    metadata = role_file(officer, complete, environment, number, start, now)
    return Draft(environment, number, metadata, complete, impact, build or {})


def role_file(
    officer: Officer, files: Mapping[str, bytes], environment: str, number: int, start: datetime, now: datetime
) -> bytes:
    """The environment's role, version ``number``, without signatures."""
    prefix = f"{environment}/{number}/"
    targets = {prefix + path: TargetFile.from_data(prefix + path, data, ["sha256"]) for path, data in files.items()}
    ours = {
        "environment": environment,
        "number": number,
        "not_before": rfc3339(start),
        "activate_before": rfc3339(start + ACTIVATE_WITHIN),
        "proposer_key_id": officer.key_id,
    }
    expires = (now + ROLE_LIFETIME[environment]).replace(microsecond=0)
    role = Targets(version=number, expires=expires, targets=targets, unrecognized_fields={FIELD: ours})
    return Metadata(role).to_bytes()


def propose(
    control: ControlPlane,
    officer: Officer,
    files: Mapping[str, bytes],
    gate: bytes,
    *,
    environment: str,
    reason: str,
    change_ticket: str,
    root: bytes,
    now: datetime,
    not_before: datetime | None = None,
    source: Mapping[str, Any] | None = None,
    impact: bytes | None = None,
    build: Mapping[str, bytes] | None = None,
) -> Draft:
    """Check and send the next release. Raises the reason code of the rule that does not hold, here or there."""
    number = max((int(r["number"]) for r in control.releases(environment)), default=0) + 1
    made = draft(
        officer,
        files,
        gate,
        environment=environment,
        number=number,
        reason=reason,
        change_ticket=change_ticket,
        now=now,
        not_before=not_before,
        source=source,
        impact=impact,
        build=build,
    )
    roots, targets, _ = control.trust(environment, root_of(root).version)
    trust = trust_of(root_of(root, roots), targets, environment)
    role = read_role(trust, made.metadata, environment)
    contents = verify_contents(trust, role, made.files)
    if impact is not None:
        verify_impact(contents.proposal, role, impact)
    check_build(trust, role, contents, made.build)
    send(control, officer, made, reason)
    return made


def send(control: ControlPlane, officer: Officer, made: Draft, reason: str) -> None:
    """Send a draft as it is."""
    envelope = officer.ask("propose", made.environment, made.number, made.digest, reason=reason)
    sent = [*made.files.values(), *([made.impact] if made.impact is not None else []), *made.build.values()]
    body = {
        "envelope": envelope,
        "environment": made.environment,
        "metadata": base64.b64encode(made.metadata).decode(),
        "targets": {sha256_hex(data): base64.b64encode(data).decode() for data in sent},
    }
    control.post("/v1/releases", body)
