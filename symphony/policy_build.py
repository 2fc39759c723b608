"""From Rego to ``policy.wasm`` and back: build, rebuild, compare (POL-05, POL-10; design sections 4 and 5).

* ``rego_digest`` names a set of Rego files: SHA-256 over their names and bytes, tests left out.
* ``rebuild`` compiles them with the pinned ``opa``, in a fresh folder, under ``policies/capabilities.json`` of *this*
  checkout: the same Rego gives the same bytes, and no clock, randomness or network can be reached.
* ``check_pair`` is what an officer relies on before he signs: rebuilt here and equal; or, without an ``opa``, the very
  pair of digests recorded in his own checkout (``policies/BUILD.json``, which CI rebuilds); else nothing (exit 3).

Not here: the bundle and its signature (``contracts.opa_bundle``), tests and style (``symphony.policy_check``).
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from contracts.canonical import length_prefixed, parse_json, sha256_hex
from contracts.errors import CannotEvaluate, NotTrusted, Refused
from symphony import places
from symphony.opa import OPA_VERSION, find_opa, run, version_of

POLICIES = places.folder("policies")
ENTRYPOINT = "symphony/payments/decisions"
REGO_FILES_MAX = 200
WASM_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pair:
    """The digests of Rego and Wasm that belong together, and the ``opa`` that says so (``policies/BUILD.json``)."""

    rego_sha256: str
    wasm_sha256: str
    opa_version: str


@dataclass(frozen=True, slots=True)
class Checked:
    """How a pair was held to be one: ``rebuilt`` here with ``opa``, or only recorded in this checkout."""

    pair: Pair
    rebuilt: bool

    @property
    def sentence(self) -> str:
        """What an officer is told before he signs."""
        how = f"rebuilt here with opa {self.pair.opa_version}, same bytes" if self.rebuilt else (
            "not rebuilt here: the digests equal the pair recorded in this checkout (policies/BUILD.json)"
        )
        return f"policy.wasm {self.pair.wasm_sha256[:16]}… of Rego {self.pair.rego_sha256[:16]}…: {how}"


def capabilities() -> Path:
    """The builtins that a policy may use: no clock, randomness or network."""
    return POLICIES / "capabilities.json"


def rego_files(folder: Path = POLICIES) -> dict[str, bytes]:
    """The governing Rego below a policies folder by its path there (``payments/caps.rego``), tests left out."""
    found = sorted(path for path in folder.rglob("*.rego") if not path.name.endswith("_test.rego"))
    if not found or len(found) > REGO_FILES_MAX:
        raise Refused("RELEASE_ENGINE", f"{folder} holds {len(found)} Rego files, not 1 to {REGO_FILES_MAX}")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def rego_digest(files: dict[str, bytes] | Path = POLICIES) -> str:
    """SHA-256 (hex) that names a set of Rego files, or those below a folder."""
    held = rego_files(files) if isinstance(files, Path) else files
    parts = (part for name in sorted(held) for part in (name, sha256_hex(held[name])))
    return sha256_hex(length_prefixed("symphony.rego/1", *parts))


def rebuild(files: dict[str, bytes] | Path = POLICIES, opa: Path | None = None, *, any_version: bool = False) -> bytes:
    """The bytes of ``policy.wasm``. Raises ``Refused RELEASE_ENGINE`` for Rego that does not compile."""
    program = opa or find_opa()
    version = version_of(program)
    if version != OPA_VERSION and not any_version:
        raise CannotEvaluate("RELEASE_NOT_REBUILT", f"{program} is opa {version}, pinned is {OPA_VERSION}")
    held = rego_files(files) if isinstance(files, Path) else files
    with tempfile.TemporaryDirectory(prefix="symphony-policy-") as name:
        return _compile(held, program, Path(name))


def _compile(files: dict[str, bytes], opa: Path, folder: Path) -> bytes:
    source = folder / "rego"
    for name, content in files.items():
        path = source / name
        if not path.resolve().is_relative_to(source.resolve()):
            raise Refused("RELEASE_ENGINE", f"a Rego file named {name!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "capabilities.json").write_bytes(capabilities().read_bytes())
    arguments = ["build", "--target", "wasm", "--entrypoint", ENTRYPOINT, "--capabilities", "../capabilities.json"]
    done = run(opa, [*arguments, "--output", "../built.tar.gz", "."], source)
    if done.returncode != 0:
        raise Refused("RELEASE_ENGINE", (done.stderr or done.stdout).strip()[:2000])
    return _wasm_of(folder / "built.tar.gz")


def _wasm_of(bundle: Path) -> bytes:
    with tarfile.open(bundle) as archive:
        file = archive.extractfile("/policy.wasm")
        wasm = file.read(WASM_BYTES_MAX + 1) if file else b""
    if not wasm or len(wasm) > WASM_BYTES_MAX:
        raise Refused("RELEASE_ENGINE", f"policy.wasm of {len(wasm)} bytes, not 1 to {WASM_BYTES_MAX}")
    return wasm


def recorded_pair(folder: Path = POLICIES) -> Pair:
    """The pair that this checkout records. Raises ``CannotEvaluate`` when it records none."""
    try:
        document = parse_json((folder / "BUILD.json").read_bytes())
        return Pair(**{field: str(document[field]) for field in ("rego_sha256", "wasm_sha256", "opa_version")})
    except (OSError, Refused, KeyError, TypeError) as error:
        raise CannotEvaluate("RELEASE_NOT_REBUILT", f"no digest pair in {folder / 'BUILD.json'}: {error}") from error


def committed_wasm(folder: Path = POLICIES) -> bytes:
    """The committed ``policy.wasm``, for a machine without ``opa``; its bytes are held to the recorded digest."""
    wasm = (folder / "build" / "policy.wasm").read_bytes()
    if sha256_hex(wasm) != recorded_pair(folder).wasm_sha256:
        raise NotTrusted("RELEASE_DIGEST", "policies/build/policy.wasm is not the recorded one: symphony policy build")
    return wasm


def check_pair(files: dict[str, bytes], wasm: bytes, *, opa: Path | None = None, folder: Path = POLICIES) -> Checked:
    """Hold a release's Rego and Wasm to be a pair before it is signed (POL-05, NEG of design section 4).

    Raises ``NotTrusted RELEASE_DIGEST`` when a rebuild gives other bytes, and ``CannotEvaluate RELEASE_NOT_REBUILT``
    when there is no ``opa`` and the pair is not the recorded one.
    """
    try:
        program = opa or find_opa()
        built = rebuild(files, program)
    except CannotEvaluate:
        recorded = recorded_pair(folder)
        if (rego_digest(files), sha256_hex(wasm)) != (recorded.rego_sha256, recorded.wasm_sha256):
            raise
        return Checked(recorded, rebuilt=False)
    if built != wasm:
        raise NotTrusted("RELEASE_DIGEST", f"the Rego compiles to {sha256_hex(built)}, not to {sha256_hex(wasm)}")
    return Checked(Pair(rego_digest(files), sha256_hex(wasm), OPA_VERSION), rebuilt=True)


def build(folder: Path = POLICIES, opa: Path | None = None) -> Pair:
    """``symphony policy build``: compile and write ``build/policy.wasm`` and ``BUILD.json``."""
    wasm = rebuild(folder, opa)
    pair = Pair(rego_digest(folder), sha256_hex(wasm), OPA_VERSION)
    (folder / "build").mkdir(exist_ok=True)
    (folder / "build" / "policy.wasm").write_bytes(wasm)
    record = {"rego_sha256": pair.rego_sha256, "wasm_sha256": pair.wasm_sha256, "opa_version": pair.opa_version}
    (folder / "BUILD.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    return pair
