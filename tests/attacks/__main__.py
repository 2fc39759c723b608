"""Writes docs/reference/attacks.md. Usage: python -m tests.attacks"""

from __future__ import annotations

from tests.attacks.index import PAGE, page

if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
