"""Where the databases come from that a check looks at: just made, a stack's, or live ones by their URLs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from symphony.invariants.checks import Target
from symphony.invariants.databases import fresh
from symphony.invariants.model import Manifest

URLS_VARIABLE = "SYMPHONY_DATABASE_URLS"
_DRIVER = re.compile(r"^postgres(?:ql)?\+[a-z0-9_]+://")
"""SQLAlchemy's form (``postgresql+psycopg://``), which libpq does not know; alembic users have it at hand."""

url_option = click.option(
    "--database-url", "given", multiple=True, metavar="NAME=URL", envvar=URLS_VARIABLE,
    help=f"A live database, by its name in the manifest; may be repeated ({URLS_VARIABLE}: a list with blanks between). A "
    "password is better left to PGPASSWORD or ~/.pgpass.",
)  # fmt: skip
server_option = click.option(
    "--server-url", metavar="URL", envvar="SYMPHONY_SERVER_URL",
    help="A throwaway server (as superuser) for the fresh databases, where the migrations need what the embedded one has not.",
)  # fmt: skip


@contextmanager
def fresh_of(manifest: Manifest, server_url: str | None = None) -> Iterator[dict[str, str]]:
    """URLs by name of databases just made from a repository's migrations. Raises ``CannotEvaluate`` where they do not run."""
    if manifest.databases:
        with fresh(manifest.databases, manifest.root, server_url=server_url) as urls:
            yield urls
        return
    if server_url is not None:
        raise click.UsageError("Symphony's own databases are made on the embedded server: leave --server-url out")
    from symphony.stack.gate import fresh_urls

    with fresh_urls() as own:
        yield dict(own)


def live_of(manifest: Manifest, stack: Path | None, given: Sequence[str]) -> dict[str, str] | None:
    """URLs by name of a stack's databases or of those that were given; ``None`` for neither. Raises ``click.UsageError``."""
    if stack is None:
        return named(given, Target({}, manifest.folder, databases=manifest.databases).kinds) if given else None
    if given or manifest.databases:
        raise click.UsageError("--dir is a stack of Symphony's own: leave --database-url and another manifest out")
    from symphony.stack.gate import stack_urls
    from symphony.stack.layout import Layout

    return stack_urls(Layout.open(stack))


def named(given: Sequence[str], names: frozenset[str]) -> dict[str, str]:
    """``NAME=URL`` words as a mapping; a URL alone where there is one name only. Raises ``click.BadParameter``."""
    found: dict[str, str] = {}
    for one in given:
        name, equals, url = one.partition("=")
        if len(names) == 1 and re.match(r"postgres(?:ql)?(?:\+[a-z0-9_]+)?://", one):
            name, equals, url = next(iter(names)), "=", one
        if name not in names or not equals or not url:
            raise click.BadParameter(f"NAME=URL, with a NAME of {', '.join(sorted(names))}", param_hint="--database-url")
        if name in found:
            raise click.BadParameter(f"{name} is given twice", param_hint="--database-url")
        found[name] = _url(name, url)
    return found


def _url(name: str, url: str) -> str:
    plain = _DRIVER.sub("postgresql://", url)
    try:
        conninfo_to_dict(plain)
    except ProgrammingError:  # its words hold the URL, and so a password
        raise click.BadParameter(f"{name}: no URL of PostgreSQL (postgresql://…)", param_hint="--database-url") from None
    return plain
