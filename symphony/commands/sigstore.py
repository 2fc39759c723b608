"""Options of whom a Sigstore bundle over a release's provenance must be by: this machine's own word, never the control plane's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from symphony.commands.acting import with_options

_file = click.Path(path_type=Path, exists=True, dir_okay=False)
NAMES = ("sigstore_trusted_root", "sigstore_identity", "sigstore_issuer")


def sigstore_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The command gets them as one ``expected``: ``symphony.attest.sigstore.Expected`` or ``None``."""

    @functools.wraps(function)
    def run(**given: Any) -> Any:
        from symphony.attest.sigstore import Expected

        expected = Expected.of(*(given.pop(name) for name in NAMES))
        return function(expected=expected, **given)

    return with_options(run, [
        click.option(
            "--sigstore-trusted-root", type=_file, envvar="SYMPHONY_SIGSTORE_TRUSTED_ROOT",
            help="trusted_root.json by which a Sigstore bundle is checked; a release without one is then refused.",
        ),
        click.option(
            "--sigstore-identity", envvar="SYMPHONY_SIGSTORE_IDENTITY", help="Who must have signed the provenance: e-mail or URI."
        ),
        click.option("--sigstore-issuer", envvar="SYMPHONY_SIGSTORE_ISSUER", help="Who must have vouched for it: the OIDC issuer."),
    ])  # fmt: skip
