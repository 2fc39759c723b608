"""``make demo`` tells the whole story, proves each line, says what to try, and leaves nothing running."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from symphony.stack.layout import Layout

CLAIMS_MIN = 35


@pytest.mark.timeout(240)
def test_the_demo_proves_every_line_of_its_story(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "symphony", "demo", "--dir", str(folder)], capture_output=True, text=True, timeout=230, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert sum(line.startswith("   ok  ") for line in lines) >= CLAIMS_MIN
    assert [line[0] for line in lines if line[:2] in {f"{n}." for n in range(1, 8)}] == list("1234567")
    for code in (
        "TOKEN_REPLAYED", "POP_MISMATCH", "CERTIFICATE_REVOKED", "AGENT_MISMATCH", "NOT_ALLOWED_PARTICIPANT", "CAP_PAYMENT_VALUE",
        "MESSAGE_MALFORMED", "IDEMPOTENCY_KEY_REUSED", "DUPLICATE_TRANSACTION", "PERMIT_MISSING", "PERMIT_BODY_MISMATCH",
        "RELEASE_SIGNATURE",
    ):  # fmt: skip
        assert any(code in line for line in lines if line.startswith("   ok  ")), code
    assert "all proved" in lines[-4]
    assert sum("symphony" in line or "verify.py" in line for line in lines[-3:]) == 3
    assert Layout.open(folder).running() is None
    assert "Traceback" not in "".join(path.read_text() for path in folder.rglob("*.log"))
