"""Environment data of a local stack: a template without keys, and the stack's own keys and authorities put in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate
from contracts.keys import key_id_of, load_private_key, public_hex
from contracts.release import staleness
from contracts.schemas import check
from symphony.places import folder
from symphony.stack.credentials import issuer_entry, load_key
from symphony.stack.layout import ISSUER, ISSUER_KID, SIDECAR, Layout

NARROW = "environments/sandbox.template.json"
LOG_ORIGIN = "symphony.sandbox/log"


def template_of(manifests: Path | None) -> Path:
    """The environment template that goes with a folder of manifests: its own, else the sandbox's."""
    own = manifests / "environment.template.json" if manifests else None
    return own if own is not None and own.exists() else folder("examples") / NARROW


def load_template(path: Path) -> dict[str, Any]:
    """Read a template. Raises ``CannotEvaluate CONFIGURATION``."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CannotEvaluate("CONFIGURATION", f"{path}: {error}") from error
    assert isinstance(document, dict)
    return document


def environment_data(layout: Layout, template: dict[str, Any]) -> dict[str, Any]:
    """The template with this stack's keys; checked against its schema (``RELEASE_MANIFEST``)."""
    permit = load_private_key(layout.folder / "sidecar" / "permit.pem")
    evidence = load_private_key(layout.folder / "sidecar" / "evidence.pem")
    log = load_private_key(layout.folder / "controlplane" / "keys" / "log.pem")
    issuer = load_key(layout.folder / "issuer" / "key.pem")
    data = {
        **template,
        "issuers": [issuer_entry(ISSUER, {ISSUER_KID: issuer})],
        "certificate_authorities": [(layout.folder / "ca" / "participants.pem").read_text()],
        "permit_keys": [{"key_id": key_id_of(permit), "public_key": public_hex(permit), "sidecar": SIDECAR}],
        "evidence_keys": [{"key_id": key_id_of(evidence), "public_key": public_hex(evidence), "sidecar": SIDECAR}],
        "log_keys": [{"origin": LOG_ORIGIN, "public_key": public_hex(log)}],
    }
    check("symphony.environment/1", data, code="RELEASE_MANIFEST")
    return data


def manifests_in(chosen: Path | None) -> dict[str, dict[str, Any]]:
    """Service manifests of a folder by service name, each sound by itself and with the others; the repo's own without one."""
    place = chosen or folder("manifests")
    found = {}
    for path in sorted(place.glob("*.json")):
        document = json.loads(path.read_text())
        if document.get("schema") == "symphony.service/1":
            check("symphony.service/1", document, code="RELEASE_MANIFEST")
            staleness.check_manifest(document)
            found[document["service"]] = document
    if not found:
        raise CannotEvaluate("CONFIGURATION", f"{place} holds no service manifest")
    staleness.check_agree(found)
    return found
