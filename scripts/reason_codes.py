"""Writes docs/reference/reason-codes.md from the closed list; a test holds the two together.

Usage: python -m scripts.reason_codes
"""

from __future__ import annotations

from pathlib import Path

from contracts.reasons import REASONS

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference" / "reason-codes.md"


def page() -> str:
    """The page."""
    lines = [
        "# Reason codes",
        "",
        "The closed list (`contracts/reasons.py`), written by `python -m scripts.reason_codes`. *ISO* is the",
        "ExternalStatusReason1Code of a pacs.002. *Retry*: with a fresh token and the same idempotency key.",
        "",
        "| code | station | HTTP | ISO | retry | meaning | next step |",
        "|---|---|---|---|---|---|---|",
    ]
    for reason in REASONS.values():
        retry = "yes" if reason.retryable else ""
        cells = (f"`{reason.code}`", reason.station, str(reason.http), reason.iso, retry, reason.meaning, reason.next_step)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), "utf-8")
