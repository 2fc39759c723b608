"""Who may what: read from a live catalogue, and the committed list (tests/support/privileges.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg

HERE = Path(__file__).parent
LIST = HERE / "privileges.json"


def live(url: str) -> dict[str, set[str]]:
    """Every privilege in a database by grantee, as ``SELECT table ledger.lines``; the owner and superusers left out."""
    found: dict[str, set[str]] = {}
    with psycopg.connect(url) as connection:
        for grantee, what in connection.execute((HERE / "privileges.sql").read_bytes()):
            found.setdefault(grantee, set()).add(what)
    return found


def committed() -> dict[str, Any]:
    """The list: ``databases`` by kind and grantee, ``logins`` with the roles that each may assume."""
    return dict(json.loads(LIST.read_text()))
