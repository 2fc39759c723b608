"""Options and small helpers that the commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

DEFAULT_DIR = Path("var/demo")

dir_option = click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), default=DEFAULT_DIR, show_default=True,
    envvar="SYMPHONY_DIR", help="Folder of the local stack.",
)  # fmt: skip
output_option = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Output format."
)
env_option = click.option("--env", "environment", default="sandbox", show_default=True, help="Environment.")


def show_json(document: Any) -> None:
    """Print a document as JSON."""
    click.echo(json.dumps(document, indent=2, default=str, ensure_ascii=False))


def say(line: str) -> None:
    """One line of progress."""
    click.echo(line)
