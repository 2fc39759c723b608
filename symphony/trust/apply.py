"""From drafts to what is published: written into a folder, signed by keys that lie here, sent as one change."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, Signature

from contracts.canonical import parse_json
from contracts.errors import CannotEvaluate, Misused, NotTrusted, Refused
from symphony.release.client import ControlPlane, Officer
from symphony.release.revoke import publish_trust
from symphony.trust.sign import Folder

PRINCIPALS = "principals.json"


def write_drafts(folder: Path, files: Mapping[str, bytes], principals: Sequence[Mapping[str, Any]] = ()) -> None:
    """A new folder of drafts. Raises ``Misused CONFIGURATION`` where anything lies there already."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise Misused("CONFIGURATION", f"{folder} is not empty", next_step="name a new folder: --out")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    if principals:
        (folder / PRINCIPALS).write_text(json.dumps(list(principals), indent=1))


def renewal(officer: Officer, environment: str, number: int, digest: str) -> dict[str, Any]:
    """An officer's word that an approved release is published with the change."""
    envelope = officer.ask("promote", environment, number, digest)
    return {"environment": environment, "number": number, "envelope": envelope}


def approved_role(control: ControlPlane, environment: str, number: int) -> bytes:
    """The role file of an approved release with its approvals, as the control plane has them; nothing of it is trusted."""
    shown = control.release(environment, number)
    if shown["status"] != "APPROVED":
        raise Refused("RELEASE_STATE", f"release {number} of {environment} is {shown['status']}, not APPROVED")
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(base64.b64decode(shown["metadata"], validate=True))
        approvals = {one["key_id"]: Signature(one["key_id"], one["signature"]) for one in shown["approvals"]}
    except (KeyError, TypeError, ValueError) as error:
        raise CannotEvaluate("RELEASE_UNREACHABLE", "the control plane shows no role file") from error
    metadata.signatures = approvals
    return metadata.to_bytes()


def publish_folder(
    control: ControlPlane, folder: Folder, *, renewals: Sequence[Mapping[str, Any]] = ()
) -> dict[str, int]:
    """Publish signed drafts as one change. Raises ``NotTrusted RELEASE_SIGNATURE`` while a signature is missing."""
    missing = folder.missing()
    if missing:
        raise NotTrusted("RELEASE_SIGNATURE", "; ".join(missing))
    folder.check()
    roots = [data for data in (folder.before, folder.root) if data is not None]
    lists = {name.removesuffix("-revocations"): data for name, data in folder.lists.items()}
    return publish_trust(
        control, roots, folder.targets, revocations=lists, renewals=renewals, principals=_principals(folder.path)
    )


def _principals(folder: Path) -> list[dict[str, Any]]:
    path = folder / PRINCIPALS
    return list(parse_json(path.read_bytes())) if path.exists() else []
