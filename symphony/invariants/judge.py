"""``python -m symphony.invariants.judge``: the checks of the checkout that this file lies in, for the mutation run.

JSON on standard input: ``urls`` by kind of database, ``only`` (ids; empty for all), ``with_tests``. Answers with the result
by id. The checks only read; nothing is broken here (that is ``symphony.invariants.scratch``).
"""

from __future__ import annotations

import json
import sys

from symphony.invariants import check, load_manifest


def main() -> int:
    """Read the question, write the answer."""
    asked = json.load(sys.stdin)
    report = check(load_manifest(), asked["urls"], only=frozenset(asked["only"]), with_tests=asked["with_tests"])
    json.dump({one.invariant.id: one.result for one in report.results}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
