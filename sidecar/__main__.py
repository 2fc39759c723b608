"""``python -m sidecar acceptor|writer|shipper --config FILE``: run one process of a sidecar until SIGTERM.

Exit 3 when it could not start, 4 when a newer writer has begun (fenced).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvloop

from contracts import logs
from contracts.errors import SymphonyError
from sidecar import config as configuration
from sidecar.store import Fenced

COULD_NOT_START = 3
FENCED = 4
SWITCH_INTERVAL_S = 0.0005
"""Threads take turns this often. A decision lets go of the interpreter at each call into Wasm, a dozen times, and each time would
wait out Python's 5 ms while the next release is verified and made in a thread beside it (``benchmarks.activation``)."""


def _run(role: str, path: Path) -> None:
    match role:
        case "acceptor":
            from sidecar import acceptor

            uvloop.run(acceptor.run(configuration.load(path, configuration.AcceptorConfig)))
        case "writer":
            from sidecar import writer

            uvloop.run(writer.run(configuration.load(path, configuration.WriterConfig)))
        case "shipper":
            from sidecar.evidence import shipper

            uvloop.run(shipper.run(configuration.load(path, configuration.ShipperConfig)))


def _fenced(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(map(_fenced, error.exceptions))
    return isinstance(error, Fenced)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m sidecar", description=__doc__)
    parser.add_argument("role", choices=("acceptor", "writer", "shipper"))
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    logs.set_up()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        _run(arguments.role, arguments.config)
    except SymphonyError as error:
        sys.stderr.write(f"{arguments.role}: {error}\nnext: {error.next_step}\n")
        return COULD_NOT_START
    except (BaseExceptionGroup, Fenced) as error:
        if not _fenced(error):
            raise
        sys.stderr.write("writer: a newer writer has begun; this one ends\n")
        return FENCED
    return 0


if __name__ == "__main__":
    sys.exit(main())
