"""The bytes of a release's targets: proposal, gate result, bundle, environment data, manifests (rules 8, 9 and 13).

* wildcards only in the sandbox (``RELEASE_WILDCARD``), every document by its schema (``RELEASE_MANIFEST``);
* the release carries a manifest for this service (``RELEASE_SERVICE_UNKNOWN``), and each says whose it is; who proposes,
  approves or publishes checks every manifest, a service its own: what is broken for one does not stop the others;
* a manifest's schedule for a release that grows old is sound, and a sidecar's agrees with its ledger's (``staleness``);
* the OPA bundle's own signature holds, by the build key that the custodians name (``RELEASE_BUNDLE``, POL-06).

Not here: compiling the policy, usability of the XSDs (the service's self-test).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts import opa_bundle, schemas
from contracts.canonical import canonical_bytes, parse_json, sha256_hex
from contracts.canonical_fast import fast_canonical_bytes
from contracts.errors import NotTrusted, Refused
from contracts.freeze_windows import check_freezes
from contracts.keys import INTOTO_TYPE, PROPOSAL_TYPE
from contracts.release import staleness
from contracts.release.build import named
from contracts.release.envelope import open_envelope_bytes
from contracts.release.impact import check_named
from contracts.release.limits import TARGET_BYTES_MAX
from contracts.release.model import GATED_TARGETS, Role
from contracts.release.trust import Trust
from contracts.times import rfc3339

GATED = GATED_TARGETS
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
TEST_RESULT_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
PROPOSAL_SCHEMA = "symphony.release/1"


@dataclass(frozen=True, slots=True)
class Contents:
    """The checked documents of a release. ``manifests`` by service name; ``schemas`` as in ``VerifiedRelease``."""

    proposal: dict[str, Any]
    environment_data: dict[str, Any]
    invariants: dict[str, Any]
    manifests: dict[str, dict[str, Any]]
    schemas: dict[str, bytes]
    policy_wasm: bytes
    policy_bundle: bytes


def verify_contents(trust: Trust, role: Role, files: Mapping[str, bytes], *, service: str | None = None) -> Contents:
    """The documents of a release, every rule but the service's own. ``files`` by path relative to ``<env>/<N>/``.

    ``service``: whose manifest is read, by a service that follows; without it all are (proposal and approval).
    """
    check_digests(role, files)
    proposal = verify_proposal(trust, role, files)
    verify_gate(trust, role, files["gate.json"])
    opa_bundle.verify(files["policy.tar.gz"], trust.build_key_pem, trust.build_key_id)
    environment_data = _environment(role, files["environment.json"])
    return Contents(
        proposal=proposal,
        environment_data=environment_data,
        invariants=_object("invariants.json", files["invariants.json"]),
        manifests=_manifests(files, service),
        schemas={name[8:-4]: data for name, data in files.items() if name.startswith("schemas/")},
        policy_wasm=files["policy.wasm"],
        policy_bundle=files["policy.tar.gz"],
    )


def manifest_of(contents: Contents, service: str) -> dict[str, Any]:
    """The manifest of a service. Raises ``NotTrusted RELEASE_SERVICE_UNKNOWN``."""
    if service not in contents.manifests:
        raise NotTrusted("RELEASE_SERVICE_UNKNOWN", f"no services/{service}.json")
    return contents.manifests[service]


def check_digests(role: Role, files: Mapping[str, bytes]) -> None:
    """Rule 13. Raises ``NotTrusted RELEASE_DIGEST``."""
    if set(files) != set(role.targets):
        raise NotTrusted("RELEASE_DIGEST", "the files are not the targets of the role")
    for path, target in role.targets.items():
        if len(files[path]) != target.length or sha256_hex(files[path]) != target.sha256:
            raise NotTrusted("RELEASE_DIGEST", f"{path} is not what was signed")


def verify_proposal(trust: Trust, role: Role, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Rule 8: the proposal, and that it is about this very release. Raises ``NotTrusted RELEASE_PROPOSAL``."""
    keys = {role.proposer_key_id: trust.officers[role.proposer_key_id]}
    payload, _ = open_envelope_bytes(files["release.json"], PROPOSAL_TYPE, keys, "RELEASE_PROPOSAL")
    proposal = _object("release.json", payload, "RELEASE_PROPOSAL")
    expected = {
        "schema": PROPOSAL_SCHEMA,
        "environment": role.environment,
        "number": role.number,
        "not_before": rfc3339(role.not_before),
        "predecessor": role.number - 1 or None,
        "targets": {p: t.sha256 for p, t in role.targets.items() if p not in ("release.json", "gate.json")},
        "gate_sha256": role.targets["gate.json"].sha256,
        "proposer_key_id": role.proposer_key_id,
    }
    for field, value in expected.items():
        if proposal.get(field) != value:
            raise NotTrusted("RELEASE_PROPOSAL", f"the proposal's {field} is not that of the role")
    if any(not isinstance(proposal.get(f), str) or not proposal[f] for f in ("reason", "change_ticket", "created_at")):
        raise NotTrusted("RELEASE_PROPOSAL", "the proposal lacks its reason, change ticket or time")
    check_named(proposal)
    named(proposal)
    if payload != canonical_bytes(proposal):
        raise NotTrusted("RELEASE_PROPOSAL", "the proposal is not canonical JSON")
    return proposal


def verify_gate(trust: Trust, role: Role, data: bytes) -> dict[str, Any]:
    """Rule 9: the in-toto statement. Raises ``NotTrusted RELEASE_GATE``."""
    payload, key_id = open_envelope_bytes(data, INTOTO_TYPE, trust.gate_keys, "RELEASE_GATE")
    if trust.gate_keys[key_id] == trust.officers[role.proposer_key_id]:
        raise NotTrusted("RELEASE_GATE", "the gate key is the proposer's")
    statement = _object("gate.json", payload, "RELEASE_GATE")
    check_gate_statement(statement, {name: role.targets[name].sha256 for name in GATED})
    return statement


def check_gate_statement(statement: Mapping[str, Any], digests: Mapping[str, str]) -> None:
    """A pass, of at least one test, for exactly these digests (by file name)."""
    try:
        kind = (statement["_type"], statement["predicateType"])
        subjects = {s["name"]: s["digest"]["sha256"] for s in statement["subject"]}
        predicate = statement["predicate"]
        passed = predicate["result"] == "PASSED" and bool(predicate["passedTests"])
        passed = passed and not predicate.get("failedTests") and not predicate.get("warnedTests")
    except (KeyError, TypeError) as error:
        raise NotTrusted("RELEASE_GATE", "not an in-toto test result") from error
    if kind != (STATEMENT_TYPE, TEST_RESULT_TYPE) or not passed:
        raise NotTrusted("RELEASE_GATE", "the gate result is not a pass")
    if subjects != dict(digests):
        raise NotTrusted("RELEASE_GATE", "the gate result is about other bytes")


def _environment(role: Role, data: bytes) -> dict[str, Any]:
    value = _object("environment.json", data)
    if value.get("environment") != role.environment:
        raise NotTrusted("RELEASE_ENVIRONMENT", "the environment data is of another environment")
    if role.environment != "sandbox" and has_wildcard(value):
        raise NotTrusted("RELEASE_WILDCARD", f"{role.environment} admits no wildcard")
    _by_schema("symphony.environment/1", value)
    check_freezes(value, role.not_before, role.expires_at)
    return value


def has_wildcard(environment_data: Mapping[str, Any]) -> bool:
    """Whether environment data admits anything that it does not list. Odd shapes are the schema's to refuse."""
    wildcards = environment_data.get("wildcards")
    participants = environment_data.get("participants")
    return (
        (isinstance(wildcards, dict) and any(wildcards.values()))
        or any("*" in (p.get("agents") or ()) for p in participants or () if isinstance(p, dict))
        or "*" in (environment_data.get("caps") or ())
        or any("*" in (p.get("caps") or ()) for p in participants or () if isinstance(p, dict))
    )


def _manifests(files: Mapping[str, bytes], service: str | None) -> dict[str, dict[str, Any]]:
    """By service; of every one its schema, or of ``service`` alone (the others' bytes are signed, and theirs to refuse)."""
    names = {name[9:-5]: name for name in files if name.startswith("services/")}
    found = {of: _manifest(name, files[name]) for of, name in names.items() if service in (None, of)}
    if service is None:
        staleness.check_agree(found)
    return found


def _manifest(name: str, data: bytes) -> dict[str, Any]:
    value = _object(name, data)
    _by_schema("symphony.service/1", value)
    if name != f"services/{value['service']}.json":
        raise NotTrusted("RELEASE_MANIFEST", f"{name} is the manifest of {value['service']}")
    staleness.check_manifest(value)
    return value


def _by_schema(schema_id: str, value: Any) -> None:
    try:
        schemas.check(schema_id, value, code="RELEASE_MANIFEST")
    except Refused as error:
        raise NotTrusted("RELEASE_MANIFEST", error.detail) from error


def _object(name: str, data: bytes, code: str = "RELEASE_MANIFEST") -> dict[str, Any]:
    try:
        value = parse_json(data, bytes_max=TARGET_BYTES_MAX)
        fast_canonical_bytes(value)  # 5 MB in 50 ms: an acceptor decides in the same process meanwhile
    except Refused as error:
        raise NotTrusted(code, f"{name}: {error.detail}") from error
    if not isinstance(value, dict):
        raise NotTrusted(code, f"{name} is not a JSON object")
    return value
