"""Who may sign: TUF root → targets → each release of the environment → its evidence keys and log keys.

Rules: a root follows the one before it, signed by the thresholds of both; targets is signed by the custodians, a
release by the officers whom targets delegates, counting distinct key material and not the proposer's; a target's
bytes have the signed digest. Expiry is not asked: a packet is read long after its releases ended. Ed25519 only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from symphony.packet.parts.findings import CANNOT, MISSING, WRONG, Fault, sha256_of, strict_json


@dataclass
class TrustedKeys:
    """What the custodians and officers signed, as far as evidence is concerned."""

    environment: str
    roots: list[dict[str, Any]] = field(default_factory=list)
    root_sha256: str = ""
    evidence_keys: dict[tuple[str, str], str] = field(default_factory=dict)
    log_keys: dict[str, list[str]] = field(default_factory=dict)
    policies: dict[int, str] = field(default_factory=dict)
    roles: dict[tuple[str, int], str] = field(default_factory=dict)
    emergency_policies: set[str] = field(default_factory=set)


def read_trust(folder: Path, environment: str, pinned: bytes | None) -> TrustedKeys:
    """Verify the packet's TUF metadata from its first root, or from a root that the reader brings."""
    out = TrustedKeys(environment)
    _read_roots(folder / "tuf", out, pinned)
    targets = [_verified_targets(path, out) for path in _versions(folder / "tuf", "targets")]
    if not targets:
        raise Fault(CANNOT, "tuf: the packet has no targets.json")
    for path in _versions(folder / "tuf", environment):
        _read_release(folder / "tuf" / "targets", path, targets, out)
    for path in _versions(folder / "tuf", f"{environment}-emergency"):
        _read_emergency(path, targets, out)
    if not out.policies:
        raise Fault(CANNOT, "tuf: the packet has no release")
    return out


def verify_bytes(public_key: str, signature: bytes, data: bytes) -> bool:
    """Whether an Ed25519 signature holds."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def verify_dsse(public_key: str, signature: str, payload_type: str, payload: bytes) -> bool:
    """Whether a signature over the DSSE encoding of a payload holds."""
    kind = payload_type.encode()
    encoded = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    try:
        return verify_bytes(public_key, bytes.fromhex(signature), encoded)
    except ValueError:
        return False


def canonical_tuf(value: Any) -> str:
    """The canonical JSON of TUF: sorted keys, no spaces, only the quotation mark and the backslash escaped."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ",".join(map(canonical_tuf, value)) + "]"
    if isinstance(value, dict):
        items = (f"{canonical_tuf(key)}:{canonical_tuf(value[key])}" for key in sorted(value))
        return "{" + ",".join(items) + "}"
    raise ValueError(f"{type(value).__name__} has no canonical form")


def _versions(folder: Path, role: str) -> list[Path]:
    found = {}
    for path in folder.glob(f"*.{role}.json"):
        number, _, rest = path.name.partition(".")
        if rest == f"{role}.json" and number.isascii() and number.isdigit() and str(int(number)) == number:
            found[int(number)] = path
    return [found[number] for number in sorted(found)]


def _document(path: Path, kind: str) -> dict[str, Any]:
    document = strict_json(path.read_bytes())
    signed = document["signed"]
    if signed["_type"] != kind or signed["version"] != int(path.name.partition(".")[0]):
        raise Fault(WRONG, f"tuf/{path.name}: is {signed['_type']} version {signed['version']}")
    assert isinstance(document, dict)
    return document


def _threshold(document: dict[str, Any], keys: dict[str, Any], role: dict[str, Any], name: str, but: str = "") -> None:
    """Raise unless signatures of distinct key material, not counting ``but``, reach the role's threshold."""
    data = canonical_tuf(document["signed"]).encode("utf-8")
    good, failed = set(), 0
    for signature in document["signatures"]:
        key = keys.get(signature["keyid"])
        if signature["keyid"] not in role["keyids"] or key is None or key["keytype"] != "ed25519":
            continue
        material = str(key["keyval"]["public"]).lower()
        if verify_bytes(material, bytes.fromhex(signature["sig"]), data):
            good.add(material)
        else:
            failed += 1
    good.discard(but)
    if len(good) < max(1, int(role["threshold"])):
        text = f"tuf/{name}: {len(good)} valid signatures of {role['threshold']} needed"
        raise Fault(WRONG if failed else MISSING, text)


def _read_roots(folder: Path, out: TrustedKeys, pinned: bytes | None) -> None:
    paths = _versions(folder, "root")
    if not paths:
        raise Fault(CANNOT, "tuf: the packet has no root.json")
    first = pinned if pinned is not None else paths[0].read_bytes()
    document = strict_json(first)
    start = int(document["signed"]["version"])
    out.root_sha256 = sha256_of(first)
    _root_signed(document, [document["signed"]], "the first root")
    out.roots.append(document["signed"])
    for path in paths:
        following = _document(path, "root")
        version = following["signed"]["version"]
        if version == start and path.read_bytes() != first:
            raise Fault(WRONG, f"tuf/{path.name}: is not the root that you trust")
        if version <= start:
            continue
        if version != out.roots[-1]["version"] + 1:
            raise Fault(WRONG, f"tuf/{path.name}: follows version {out.roots[-1]['version']}")
        _root_signed(following, [out.roots[-1], following["signed"]], path.name)
        out.roots.append(following["signed"])


def _root_signed(document: dict[str, Any], roots: list[dict[str, Any]], name: str) -> None:
    for root in roots:
        _threshold(document, root["keys"], root["roles"]["root"], name)


def _verified_targets(path: Path, out: TrustedKeys) -> dict[str, Any]:
    document = _document(path, "targets")
    fault: Fault | None = None
    for root in reversed(out.roots):
        try:
            _threshold(document, root["keys"], root["roles"]["targets"], path.name)
        except Fault as error:
            fault = fault or error
        else:
            delegations = document["signed"]["delegations"]
            assert isinstance(delegations, dict)
            return delegations
    assert fault is not None
    raise fault


def _read_release(folder: Path, path: Path, targets: list[dict[str, Any]], out: TrustedKeys) -> None:
    document = _document(path, "targets")
    signed, ours = document["signed"], document["signed"]["x-symphony"]
    number = signed["version"]
    if (ours["environment"], ours["number"]) != (out.environment, number):
        raise Fault(WRONG, f"tuf/{path.name}: says that it is release {ours['number']} of {ours['environment']}")
    _signed_by_officers(document, targets, path.name, out.environment)
    out.roles[out.environment, number] = sha256_of(path.read_bytes())
    prefix = f"{out.environment}/{number}/"
    for name, target in signed["targets"].items():
        file = folder / name
        if ".." in name.split("/") or not name.startswith(prefix):
            raise Fault(WRONG, f"tuf/{path.name}: lists {name}")
        if file.is_file() and sha256_of(file.read_bytes()) != target["hashes"]["sha256"]:
            raise Fault(WRONG, f"tuf/targets/{name}: its bytes are not those that the officers signed")
    out.policies[number] = signed["targets"][prefix + "policy.wasm"]["hashes"]["sha256"]
    if prefix + "environment.json" not in signed["targets"]:
        raise Fault(WRONG, f"tuf/{path.name}: lists no environment data")
    data = strict_json((folder / prefix / "environment.json").read_bytes())
    for entry in data["evidence_keys"]:
        out.evidence_keys[entry["sidecar"], entry["key_id"]] = entry["public_key"]
    for entry in data["log_keys"]:
        out.log_keys.setdefault(entry["origin"], []).append(entry["public_key"])


def _read_emergency(path: Path, targets: list[dict[str, Any]], out: TrustedKeys) -> None:
    """A sealed emergency release: its policy may stand over a release; its opening is a leaf of the log."""
    document, role = _document(path, "targets"), f"{out.environment}-emergency"
    signed, ours = document["signed"], document["signed"]["x-symphony"]
    if (ours["environment"], ours["number"]) != (out.environment, signed["version"]):
        raise Fault(WRONG, f"tuf/{path.name}: says that it is emergency {ours['number']} of {ours['environment']}")
    _signed_by_officers(document, targets, path.name, role)
    out.roles[role, signed["version"]] = sha256_of(path.read_bytes())
    out.emergency_policies.add(signed["targets"][f"{role}/{signed['version']}/policy.wasm"]["hashes"]["sha256"])


def _signed_by_officers(document: dict[str, Any], targets: list[dict[str, Any]], name: str, environment: str) -> None:
    fault: Fault | None = None
    for delegations in reversed(targets):
        role = next((item for item in delegations["roles"] if item["name"] == environment), None)
        if role is None:
            continue
        proposer = delegations["keys"].get(document["signed"]["x-symphony"]["proposer_key_id"])
        but = str(proposer["keyval"]["public"]).lower() if proposer else ""
        try:
            _threshold(document, delegations["keys"], role, name, but)
            return
        except Fault as error:
            fault = fault or error
    raise fault or Fault(WRONG, f"tuf/{name}: the custodians delegate no role {environment}")
