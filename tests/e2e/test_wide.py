"""Every file of ``shared/data/iso20022`` through a whole stack that admits any agent: posted, or its code of the table.

What is neither named in the table of the rail nor posted is ``DUPLICATE_TRANSACTION``: several files share a business key, and
the first that is accepted is the one that is posted (issue 3; POL-09, D9).
"""

from __future__ import annotations

import time
import tomllib
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from symphony.participant import Participant
from tests.e2e.support import ROOT, Stack

FILES, TAKEN, POSTED = 179, 18, 10
SECONDS_MAX = 5.0


@pytest.mark.timeout(300)
def test_every_real_file_is_posted_or_gives_its_code(wide_stack: Stack, shared_data: Path) -> None:
    table = tomllib.loads((ROOT / "tests" / "rails" / "expected_codes.toml").read_text())
    expected = {name: code for name, code in _flat(table).items() if isinstance(code, str)}
    folder = shared_data / "iso20022"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "README.md")
    wrong, states, codes = [], Counter[str](), Counter[str]()
    with closing(Participant(wide_stack.layout, "wide")) as sender:
        for path in files:
            name = str(path.relative_to(folder))
            begun = time.monotonic()
            reply = sender.submit(path.read_bytes())
            if time.monotonic() - begun > SECONDS_MAX:
                wrong.append(f"{name}: answered after more than {SECONDS_MAX} s")
            code = reply.code or "ACCEPTED"
            codes[code] += 1
            if reply.status >= 500 or code != expected.get(name, code):
                wrong.append(f"{name}: {reply.status} {code}, not {expected.get(name)}")
            if name not in expected and code not in {"ACCEPTED", "DUPLICATE_TRANSACTION"}:
                wrong.append(f"{name}: {code}, though no rule is broken")
            states.update(sender.wait(identifier)["state"] for identifier in reply.accepted)
    assert not wrong, "\n".join(wrong)
    assert len(files) == FILES
    assert codes["ACCEPTED"] + codes["DUPLICATE_TRANSACTION"] == TAKEN
    assert set(states) == {"SUCCEEDED"}
    assert codes["ACCEPTED"] == POSTED, codes
    assert sum(codes.values()) - TAKEN == len(expected)


def _flat(table: dict[str, object], prefix: str = "") -> dict[str, object]:
    out: dict[str, object] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{name}/")
        else:
            out[prefix + name] = value
    return out
