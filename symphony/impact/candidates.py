"""What is to be replayed: a release of the control plane, or a working folder as it would be proposed."""

from __future__ import annotations

from pathlib import Path

from contracts.canonical import canonical_bytes
from contracts.errors import CannotEvaluate
from symphony import places
from symphony.impact.replay import Candidate
from symphony.opa import find_opa
from symphony.policy.source import load
from symphony.policy_build import check_pair, committed_wasm, rebuild
from symphony.release.review import downloaded
from symphony.stack.environment import environment_data, load_template
from symphony.stack.layout import ENVIRONMENT, Layout
from symphony.stack.release_one import control_plane

TEMPLATE = "environment.template.json"


def of_release(layout: Layout, officer: str, number: int) -> Candidate:
    """A release, downloaded and held to every rule but the approvals. Raises ``NotTrusted RELEASE_*``."""
    files = downloaded(control_plane(layout, officer), ENVIRONMENT, number, layout.root.read_bytes()).files
    return Candidate(files["policy.wasm"], files["environment.json"], number)


def of_folder(layout: Layout, folder: Path | None, template: Path | None) -> Candidate:
    """A folder of Rego, or a checkout with one (``policies/``), under a template's data with this stack's keys.

    Without a folder the checkout's or the installed policies; without a template the folder's own, else the stack's.
    """
    chosen = folder or places.folder("policies")
    rego = chosen / "policies" if (chosen / "policies").is_dir() else chosen
    own = chosen / TEMPLATE
    data = load_template(template or (own if own.is_file() else layout.folder / TEMPLATE))
    return Candidate(_wasm(rego), canonical_bytes(environment_data(layout, data)))


def _wasm(folder: Path) -> bytes:
    """Compiled here; without an ``opa`` the folder's own, where the pair of digests is the recorded one."""
    governing = load(folder).governing
    try:
        return rebuild(governing, find_opa())
    except CannotEvaluate:
        if not (folder / "build" / "policy.wasm").is_file():
            raise
        wasm = committed_wasm(folder)
        check_pair(governing, wasm, folder=folder)
        return wasm
