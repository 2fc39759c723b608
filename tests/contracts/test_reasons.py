"""The closed list of reason codes is closed, complete, used and published (ATT-15)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contracts.errors import Refused
from contracts.reasons import REASONS, by_code
from scripts.reason_codes import TARGET, page

ROOT = Path(__file__).resolve().parents[2]
SIDES = ("contracts", "controlplane", "sidecar", "rails", "services", "symphony")
_WORD = re.compile(r'"([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)"')


def sources() -> dict[str, str]:
    return {
        str(path.relative_to(ROOT)): path.read_text("utf-8")
        for side in SIDES
        for suffix in ("py", "sql", "rego")
        for path in [*(ROOT / side).rglob(f"*.{suffix}"), *((ROOT / "policies").rglob("*.rego") if side == "contracts" else [])]
        if path.name != "reasons.py" and not path.name.endswith("_test.rego")
    }


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS)
def test_every_code_has_a_meaning_a_status_an_iso_reason_and_a_next_step(reason: object) -> None:
    code, http, iso = reason.code, reason.http, reason.iso  # type: ignore[attr-defined]
    assert re.fullmatch(r"[A-Z][A-Z0-9_]{3,47}", code)
    assert 400 <= http < 600
    assert re.fullmatch(r"[A-Z0-9]{4}", iso)
    assert reason.meaning  # type: ignore[attr-defined]
    assert reason.next_step  # type: ignore[attr-defined]
    assert http not in {502, 504}, "a gateway's codes are not ours"


def test_a_code_outside_the_list_is_a_defect_of_ours() -> None:
    with pytest.raises(KeyError):
        Refused("NO_SUCH_CODE")
    with pytest.raises(KeyError):
        by_code("")


def test_a_code_that_stands_in_the_list_is_used_somewhere() -> None:
    text = "\n".join(sources().values())
    unused = {code for code in REASONS if f'"{code}"' not in text and f"'{code}'" not in text}
    assert unused <= NOT_RAISED_YET, unused - NOT_RAISED_YET


NOT_RAISED_YET = {"SERVICE_HALTED"}
"""In the list because participants' programs must know it before the first halt; orders come with the release issue."""


def test_errors_raised_in_the_code_are_of_the_list() -> None:
    raised = re.compile(r'(?:Refused|NotTrusted|CannotEvaluate|SymphonyError|problem)\(\s*"([A-Z0-9_]+)"')
    for name, text in sources().items():
        for code in raised.findall(text):
            assert code in REASONS, f"{name} raises {code}"


def test_the_published_page_is_the_list() -> None:
    assert TARGET.read_text("utf-8") == page(), "run: python -m scripts.reason_codes"
