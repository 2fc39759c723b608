"""What an officer checks before he signs: the bytes, downloaded and held to every rule on his own machine.

* the custodians' metadata from his own pinned root, the role file and every target by its digest;
* Rego and Wasm are a pair: rebuilt here, or the pair that his own checkout records (``symphony.policy_build``);
* the difference to the release before, computed here, of every document and every digest.

Nothing that the control plane says is believed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from contracts import opa_bundle
from contracts.errors import CannotEvaluate, NotTrusted
from contracts.release import rules
from contracts.release.contents import Contents, verify_contents
from contracts.release.model import Role
from contracts.release.trust import Trust, root_of, trust_of
from symphony import policy_build
from symphony.release.client import ControlPlane

_LINES_MAX = 2000
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Download:
    """A release's bytes by path, and what they verified to be."""

    trust: Trust
    role: Role
    metadata: bytes
    files: Mapping[str, bytes]
    contents: Contents


@dataclass(frozen=True, slots=True)
class Review:
    """A release as this officer's machine found it to be; ``difference`` to the release before, a line each."""

    release: Download
    pair: policy_build.Checked
    difference: tuple[str, ...]


def review(
    control: ControlPlane,
    environment: str,
    number: int,
    *,
    root: bytes,
    now: datetime,
    policies: Path = policy_build.POLICIES,
    opa: Path | None = None,
) -> Review:
    """Download and check a release. ``root`` is the officer's own pinned root.

    Raises ``NotTrusted`` for a rule that does not hold, ``CannotEvaluate RELEASE_NOT_REBUILT`` (exit 3) when there is
    no ``opa`` and the policy is not the recorded pair.
    """
    found = downloaded(control, environment, number, root)
    trust, role, files = found.trust, found.role, found.files
    if now >= role.activate_before:
        raise NotTrusted("RELEASE_LATE", f"activate_before is {role.activate_before.isoformat()}")
    rego = opa_bundle.verify(files["policy.tar.gz"], trust.build_key_pem, trust.build_key_id)
    rego = {name: data for name, data in rego.items() if name.endswith(".rego")}
    pair = policy_build.check_pair(rego, files["policy.wasm"], opa=opa, folder=policies)
    before: Mapping[str, bytes] = {}
    if number > 1:
        before = downloaded(control, environment, number - 1, root).files
    return Review(found, pair, tuple(difference(before, files)))


def downloaded(control: ControlPlane, environment: str, number: int, root: bytes) -> Download:
    """The bytes of a release, held to every rule but the approvals. Raises ``NotTrusted RELEASE_*``."""
    pinned = root_of(root)
    roots, targets, _ = control.trust(environment, pinned.version)
    trust = trust_of(root_of(root, roots), targets, environment)
    shown = control.release(environment, number)
    try:
        metadata = base64.b64decode(shown["metadata"], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise CannotEvaluate("RELEASE_UNREACHABLE", "the control plane shows no role file") from error
    role = rules.read_role(trust, metadata, environment)
    if role.number != number:
        raise NotTrusted("RELEASE_SHAPE", f"asked for release {number}, got {role.number}")
    address = f"/v1/releases/{environment}/{number}/targets"
    files = {path: control.get_bytes(f"{address}/{path}") for path in role.targets}
    return Download(trust, role, metadata, files, verify_contents(trust, role, files))


def difference(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    """What changed between two releases, one line each: fields of documents, digests of the rest."""
    lines: list[str] = []
    for path in sorted({*before, *after} - {"release.json", "gate.json"}):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        if old is None or new is None:
            lines.append(f"{'+' if old is None else '-'} {path}")
        elif path.endswith(".json"):
            lines += _changed(path, json.loads(old), json.loads(new))
        else:
            lines.append(f"~ {path}")
    return lines[:_LINES_MAX] + ([f"… and {len(lines) - _LINES_MAX} more"] if len(lines) > _LINES_MAX else [])


def _changed(path: str, old: Any, new: Any) -> list[str]:
    if old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new})
        return [ln for k in keys for ln in _changed(f"{path}/{k}", old.get(k, _MISSING), new.get(k, _MISSING))]
    return [f"~ {path}: {_shown(old)} → {_shown(new)}"]


def _shown(value: Any) -> str:
    text = "(absent)" if value is _MISSING else json.dumps(value, sort_keys=True)
    return text if len(text) <= 120 else text[:117] + "…"
