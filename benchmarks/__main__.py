"""``python -m benchmarks [NAME ...]``: run them all, or those named; what ``make bench`` runs.

Each is a process of its own, one after the other, and writes ``var/bench/<name>.json``. Exit 0 when all have been
measured, 3 when one could not be.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks.workload import ROOT

NAMES = ("attestation", "policy", "activation", "ledger", "evidence", "impact", "propagation", "payments")
COULD_NOT = 3


def main() -> int:
    """Run them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(NAMES)}")
    names = parser.parse_args().names or list(NAMES)
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    failed = []
    for number, name in enumerate(names, 1):
        print(f"== {number}/{len(names)} {name}", flush=True)
        begun = time.monotonic()
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT, check=False).returncode != 0:
            failed.append(name)
        print(f"   {time.monotonic() - begun:.0f} s, var/bench/{name}.json", flush=True)
    if failed:
        print(f"could not be measured: {', '.join(failed)}", file=sys.stderr)
    return COULD_NOT if failed else 0


if __name__ == "__main__":
    sys.exit(main())
