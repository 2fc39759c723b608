"""The invariant gate on a stack's own databases, and on fresh ones of the checkout's migrations."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from contracts.errors import CannotEvaluate
from symphony import migrations, places
from symphony.invariants import check, load_manifest, release_form
from symphony.stack import logins, prepare
from symphony.stack.layout import Layout
from symphony.stack.postgres import temporary_cluster


def invariants_document() -> dict[str, Any]:
    """``invariants.json`` of a release."""
    return release_form(load_manifest())


def stack_urls(layout: Layout) -> dict[str, str]:
    """The databases of a stack as the superuser sees them: a check must be able to see everything."""
    cluster = prepare.database(layout)
    if cluster.pid() is None:
        raise CannotEvaluate(
            "STORE_UNAVAILABLE", "the stack's PostgreSQL does not run", next_step=f"symphony up --dir {layout.folder}"
        )
    return {kind: cluster.admin_url(name) for kind, name in prepare.DATABASES.items()}


def check_stack(layout: Layout) -> tuple[list[str], list[str]]:
    """Ids that hold in a stack's own databases, and ids that do not."""
    report = check(load_manifest(), stack_urls(layout))
    return report.passed, report.failed


@contextmanager
def fresh_urls() -> Iterator[Mapping[str, str]]:
    """A temporary cluster with every database at the checkout's migrations, gone afterwards."""
    cluster = temporary_cluster()
    try:
        cluster.start()
        secret = {login: secrets.token_hex(12) for kind in logins.KINDS.values() for login in kind.logins}
        urls = {}
        for kind, name in prepare.DATABASES.items():
            chosen = logins.KINDS[kind]
            logins.ensure_logins(cluster.admin_url(), chosen, secret)
            logins.create_database(cluster.admin_url(), chosen, name)
            owner = cluster.url(name, login=chosen.owner, password=secret[chosen.owner])
            logins.close_public_schema(owner)
            migrations.apply(owner, places.folder("migrations") / kind)
            logins.grant_roles(cluster.admin_url(name), chosen)
            urls[kind] = cluster.admin_url(name)
        yield urls
    finally:
        cluster.destroy()
