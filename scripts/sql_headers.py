"""SQL lint, part three: what a migration says of itself in the comment lines at its top.

* ``-- rollback: …``       MIG-03: how operation goes back (traffic to the release before; what is left in place);
* ``-- compatibility: …``  MIG-13: the test that shows old and new code on a hot table, where the file names one;
* ``-- contract: …``       MIG-09: in a file named ``_contract_``: since when both were written, the proof, the days.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pglast.parser import scan

ROOT = Path(__file__).resolve().parent.parent
BEFORE_THE_RULE = {"controlplane": 2, "sidecar": 7, "ledger": 5}
"""The last file of each database that was applied before headers were asked for; applied files are immutable."""
CONTRACT_DAYS_MIN = 14
"""MIG-09: days of writing both forms before the old one may go."""
HOT = re.compile(
    r"\bpayment_(?:instructions|terminals|outbox_pending|outbox_attempts)\b|\bledger\s*\.\s*\w+", re.IGNORECASE
)
_HEADER = re.compile(r"^--\s*(rollback|compatibility|contract):[ \t]*(.*)$")
_CONTRACT = re.compile(r"^dual-write since (\d{4}), parity (\S.*), days (\d+)$")
_NOTHING = frozenset({"", "-", "none", "n/a", "no"})


def headers(text: str) -> dict[str, str]:
    """The headers of the comment lines before the first statement."""
    found = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("--"):
            break
        if match := _HEADER.match(line):
            found[match[1]] = match[2].strip()
    return found


def judged(file: str, text: str, root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """What is missing or wrong in the headers of ``<database>/NNNN_name.sql``."""
    database, number, said = Path(file).parent.name, int(Path(file).name[:4]), headers(text)
    if "_contract_" in file:
        yield from _contract(said.get("contract", ""), number)
    if number <= BEFORE_THE_RULE.get(database, 0):
        return
    if said.get("rollback", "").lower() in _NOTHING:
        yield "rollback", "a line -- rollback: says how operation goes back"
    if hot := hot_tables(text):
        yield from _compatibility(said.get("compatibility", ""), hot, root)


def hot_tables(text: str) -> list[str]:
    """The outbox and ledger tables that a file names outside its comments, function bodies included."""
    code = [text[token.start : token.end + 1] for token in scan(text) if not token.name.endswith("COMMENT")]
    return sorted({re.sub(r"\s", "", found) for found in HOT.findall(" ".join(code))})


def _compatibility(said: str, hot: list[str], root: Path) -> Iterator[tuple[str, str]]:
    path, _, node = said.partition("::")
    if not path.startswith("tests/") or not (root / path).is_file():
        yield "compatibility", f"it names {', '.join(hot[:3])}: a line -- compatibility: names a test that exists"
    elif node and f"def {node}(" not in (root / path).read_text("utf-8"):
        yield "compatibility", f"{path} has no {node}"


def _contract(said: str, number: int) -> Iterator[tuple[str, str]]:
    match = _CONTRACT.match(said)
    if match is None:
        yield "contract", "the line is -- contract: dual-write since NNNN, parity <evidence>, days N"
    elif not 1 <= int(match[1]) < number:
        yield "contract", f"dual-write since {match[1]}: that is no earlier file"
    elif int(match[3]) < CONTRACT_DAYS_MIN:
        yield "contract", f"{match[3]} days of dual-write, at least {CONTRACT_DAYS_MIN} are asked for"
