"""No test was skipped, and no fewer passed than the committed floor.

Usage: python -m scripts.check_count RESULTS.xml COUNT     (exit 0; 1 with the reason; 4 when nothing ran)
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Read the JUnit file and the floor; print one line."""
    results, floor_file = Path(arguments[0]), Path(arguments[1])
    cases = list(ET.parse(results).getroot().iter("testcase"))
    floor = int(floor_file.read_text())
    skipped = [f"{case.get('classname')}.{case.get('name')}" for case in cases if case.find("skipped") is not None]
    passed = sum(1 for case in cases if all(case.find(kind) is None for kind in ("skipped", "failure", "error")))
    print(f"check_count: {passed} passed, {len(skipped)} skipped, the floor is {floor}")
    if passed == 0:
        return 4
    for name in skipped:
        print(f"check_count: skipped: {name}")
    if passed < floor:
        print(f"check_count: {floor - passed} tests fewer than before; if they went for a reason, lower {floor_file}")
    return 1 if skipped or passed < floor else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
