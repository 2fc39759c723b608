"""``python -m symphony.invariants.judge``: the checks of a scratch copy of a checkout, for the mutation run.

JSON on standard input: the copy's ``folder`` of invariants, ``urls`` by kind of database, ``only`` (ids; empty for all),
``with_tests``. Answers with the result by id. The checks only read; what is broken, ``symphony.invariants.scratch`` breaks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from symphony.invariants import check, load_manifest


def main() -> int:
    """Read the question, write the answer."""
    asked = json.load(sys.stdin)
    manifest = load_manifest(Path(asked["folder"]))
    report = check(manifest, asked["urls"], only=frozenset(asked["only"]), with_tests=asked["with_tests"])
    json.dump({one.invariant.id: one.result for one in report.results}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
