"""``python -m rails.iso20022 --config FILE``: serve the adapter on its Unix socket until SIGTERM or SIGINT."""

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
from contracts.tls import client_context
from rails.iso20022.adapter import Iso20022Adapter
from rails.iso20022.config import Config, load
from rails.iso20022.http import HttpClient
from rails.iso20022.ledger import Ledger
from rails.sdk.server import serve

_LOG = logging.getLogger("symphony.rails.iso20022")
EXIT_CANNOT_EVALUATE = 3


async def run(config: Config) -> None:
    """Serve until told to stop. Raises ``CannotEvaluate CONFIGURATION`` for files that cannot be used."""
    context = client_context(Path(config.certificate), Path(config.key), Path(config.ca))
    client = HttpClient(config.ledger_url, context, connections_max=config.connections_max)
    adapter = Iso20022Adapter(Ledger(client))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await serve(Path(config.socket), adapter)
    _LOG.info("serving on %s", config.socket)
    try:
        await stop.wait()
    finally:
        server.close()
        await adapter.close()


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 after a clean stop, 3 where the configuration cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m rails.iso20022", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args(arguments)
    logs.set_up()
    try:
        uvloop.run(run(load(options.config)))
    except SymphonyError as error:
        sys.stderr.write(f"{error.code}: {error.detail}\n{error.next_step}\n")
        return EXIT_CANNOT_EVALUATE
    except OSError as error:
        sys.stderr.write(f"CONFIGURATION: {error}\n")
        return EXIT_CANNOT_EVALUATE
    return 0


if __name__ == "__main__":
    sys.exit(main())
