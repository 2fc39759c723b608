"""Insecure parts announce themselves (design section 13): a warning class of their own, an error in tests."""

from __future__ import annotations

import logging
import warnings
from typing import Any

_LOG = logging.getLogger("symphony.insecure")


class InsecureWarning(UserWarning):
    """Something runs that must never run outside a sandbox."""


def warn_of_wildcards(service: str, environment_data: dict[str, Any]) -> list[str]:
    """Say which wildcards a release brings, in the log and as ``InsecureWarning``; their names."""
    found = sorted(name for name, on in environment_data["wildcards"].items() if on)
    if found:
        text = f"{service} runs a release that admits any of: {', '.join(found)}. Sandbox only."
        _LOG.warning("%s", text)
        warnings.warn(text, InsecureWarning, stacklevel=2)
    return found
