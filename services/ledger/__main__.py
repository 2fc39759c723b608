"""``python -m services.ledger --config FILE``: run a ledger until SIGTERM. Exit 3 when it could not start."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

import uvloop

from contracts import logs
from contracts.errors import SymphonyError
from contracts.times import SystemClock
from services.ledger.config import load
from services.ledger.server import Ledger, bell_of, follower_of, reporter_of

COULD_NOT_START = 3


async def _run(path: Path) -> None:
    settings = load(path)
    clock = SystemClock()
    ledger = Ledger(
        settings,
        follower=follower_of(settings, clock),
        clock=clock,
        report=reporter_of(settings, clock),
        bell=bell_of(settings),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ledger.stop)
    await ledger.serve(lambda port: logging.getLogger("symphony.ledger").info("listening on port %d", port))


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="services.ledger", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    logs.set_up()
    try:
        uvloop.run(_run(arguments.config))
    except SymphonyError as error:
        print(f"ledger: {error}\nnext: {error.next_step}", file=sys.stderr)
        return COULD_NOT_START
    return 0


if __name__ == "__main__":
    sys.exit(main())
