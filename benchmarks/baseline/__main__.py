"""``python -m benchmarks.baseline CONFIG``: serve, one uvicorn worker, mTLS."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import uvicorn

from benchmarks.baseline.app import Settings, create_app
from contracts.tls import server_context, uvicorn_config


def main() -> None:
    """Read the configuration and serve."""
    settings = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Settings)
    context = server_context(Path(settings.certificate), Path(settings.key), Path(settings.ca))
    uvicorn.Server(
        uvicorn_config(create_app(settings), host="127.0.0.1", port=settings.port, context=context, loop="uvloop")
    ).run()


main()
