"""Writes docs/reference/openapi/controlplane.json from the descriptions beside the routes; a test holds the two together.

Usage: python -m scripts.openapi
"""

from __future__ import annotations

import json
from pathlib import Path

from controlplane.api.openapi import document

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference" / "openapi" / "controlplane.json"


def page() -> str:
    """The document as it is published."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(page(), "utf-8")
