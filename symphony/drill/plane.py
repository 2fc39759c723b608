"""A control plane that runs for a drill: in a thread of its own, over real TLS, on a database of its own."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import uvicorn

from contracts.errors import CannotEvaluate
from contracts.tls import server_context, uvicorn_config
from controlplane.app import create_app
from controlplane.context import Context
from controlplane.identity import enrol_file

START_S, STOP_S = 30.0, 30.0


class Plane:
    """``with Plane(make_context, principals, server folder, ca) as plane``: ``plane.url``. Loopback only; ``port`` 0 is any."""

    def __init__(self, make: Callable[[], Context], principals: Path, folder: Path, ca: Path, port: int = 0) -> None:
        self._make, self._principals, self.port = make, principals, port
        self._tls: ssl.SSLContext = server_context(folder / "server.pem", folder / "server-key.pem", ca)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None
        self._server: uvicorn.Server | None = None
        self.url = ""
        self.context: Context | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(START_S) or self._error is not None:
            raise CannotEvaluate("CONFIGURATION", f"the drill's control plane did not start: {self._error}")
        return self

    def __exit__(self, *_error: object) -> None:
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(STOP_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - told to whoever waits for the start
            self._error = error
            self._started.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.context = self._make()
        await enrol_file(self.context, self._principals)
        app = create_app(self.context)
        self._server = uvicorn.Server(
            uvicorn_config(app, host="127.0.0.1", port=self.port, context=self._tls, lifespan="on")
        )
        task = asyncio.create_task(self._server._serve())  # noqa: SLF001 - serve() takes the signals
        while not self._server.started and not task.done():  # noqa: ASYNC110 - uvicorn tells it by an attribute
            await asyncio.sleep(0.01)
        if self._server.started:
            self.port = self._server.servers[0].sockets[0].getsockname()[1]
            self.url = f"https://127.0.0.1:{self.port}"
            self._started.set()
        await task
