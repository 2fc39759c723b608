"""Where the files that are not code lie: migrations, policies, manifests, invariants, examples.

In a checkout beside the packages; from an installed wheel under the environment's ``share/symphony``.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

from contracts.errors import CannotEvaluate


def installed() -> Path:
    """Where an installed wheel has them, whether or not one is installed."""
    return Path(sysconfig.get_path("data")) / "share" / "symphony"


def folder(name: str) -> Path:
    """The folder ``name`` (``migrations``, ``policies`` …); ``CONFIGURATION`` says where it was looked for."""
    checkout = Path(__file__).resolve().parent.parent
    for base in (checkout, installed()):
        if (base / name).is_dir():
            return base / name
    raise CannotEvaluate("CONFIGURATION", f"the folder {name} is neither in {checkout} nor in {installed()}")
