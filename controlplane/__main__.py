"""``python -m controlplane --config FILE``: serve until SIGTERM or SIGINT.

Config: ``{"host", "port", "certificate", "key", "ca", "database_url", "keys": folder with snapshot.pem, timestamp.pem
and log.pem, "log_origin", "environment", "principals": file (optional), "timestamp_lifetime_s" (optional),
"runtime_check_interval_s" (optional, 180 at most)}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvicorn

from contracts import logs
from contracts.errors import CannotEvaluate, SymphonyError
from contracts.keys import load_private_key
from contracts.runtime_invariants import RUNTIME_CHECK_INTERVAL_S, Watch
from contracts.times import SystemClock
from contracts.tls import server_context, uvicorn_config
from controlplane.app import create_app
from controlplane.context import Context
from controlplane.identity import enrol_file
from controlplane.invariants import of_controlplane
from controlplane.store import Database

REQUIRED = (
    "host", "port", "certificate", "key", "ca", "database_url", "keys", "log_origin", "environment",
)  # fmt: skip
OPTIONAL = ("principals", "timestamp_lifetime_s", "runtime_check_interval_s")


def read_config(path: Path) -> dict[str, Any]:
    """The local configuration. Raises ``CannotEvaluate CONFIGURATION`` with the field at fault."""
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CannotEvaluate("CONFIGURATION", f"{path}: {error}") from error
    missing = [name for name in REQUIRED if name not in config]
    unknown = [name for name in config if name not in REQUIRED + OPTIONAL]
    if missing or unknown:
        raise CannotEvaluate("CONFIGURATION", f"{path}: missing {missing}, unknown {unknown}")
    assert isinstance(config, dict)
    return config


def context_of(config: dict[str, Any]) -> Context:
    """The context that a configuration describes."""
    keys = Path(config["keys"])
    clock = SystemClock()
    interval_s = config.get("runtime_check_interval_s", RUNTIME_CHECK_INTERVAL_S)
    return Context(
        pool=Database(config["database_url"]),
        environment=config["environment"],
        snapshot_key=load_private_key(keys / "snapshot.pem"),
        timestamp_key=load_private_key(keys / "timestamp.pem"),
        log_key=load_private_key(keys / "log.pem"),
        log_origin=config["log_origin"],
        timestamp_lifetime=timedelta(seconds=config.get("timestamp_lifetime_s", 3600)),
        clock=clock,
        watch=Watch(lambda: of_controlplane(config, clock), interval_s=interval_s),
    )


def server_of(config: dict[str, Any], context: Context) -> uvicorn.Server:
    """The server, not yet running."""
    tls = server_context(Path(config["certificate"]), Path(config["key"]), Path(config["ca"]))
    return uvicorn.Server(
        uvicorn_config(create_app(context), host=config["host"], port=config["port"], context=tls, lifespan="on")
    )


async def _serve(config: dict[str, Any]) -> None:
    context = context_of(config)
    assert context.watch is not None
    await context.watch.at_start()
    if "principals" in config:
        await enrol_file(context, Path(config["principals"]))
    await server_of(config, context).serve()


def main() -> int:
    """Run; 3 when the configuration or the database is not usable."""
    parser = argparse.ArgumentParser(prog="python -m controlplane", description="The Symphony control plane.")
    parser.add_argument("--config", type=Path, required=True)
    logs.set_up()
    try:
        config = read_config(parser.parse_args().config)
        with asyncio.Runner(loop_factory=uvicorn.Config("", loop="auto").get_loop_factory()) as runner:
            runner.run(_serve(config))
    except SymphonyError as error:
        sys.stderr.write(f"{error}\n  next: {error.next_step}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
