"""A stock OPA server on loopback with a policy and its data, for the time of a ``with``; one kept-alive connection."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import orjson

from contracts.errors import CannotEvaluate
from sidecar.policy.answers import Decision, denied, read_answers
from sidecar.policy.errors import PolicyFailed
from symphony.policy.source import Source

START_S_MAX = 10.0
ANSWER_S_MAX = 30.0
_DECISIONS = "/v1/data/symphony/payments/decisions"


class OpaServer:
    """``with OpaServer(source, environment, opa) as server: server.allowed(items)``. Raises ``CannotEvaluate RELEASE_POLICY``."""

    def __init__(self, source: Source, environment: dict[str, Any], opa: Path) -> None:
        self._source, self._environment, self._opa = Source(source.governing), environment, opa
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])

    def __enter__(self) -> Self:
        with ExitStack() as held:
            place = held.enter_context(self._source.folder())
            address = ["--addr", f"127.0.0.1:{self._port}", "--log-level", "error", "--skip-version-check"]
            self._process = subprocess.Popen(
                [str(self._opa), "run", "--server", *address, str(place)], stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", "HOME": str(place)},
            )  # fmt: skip
            held.callback(self._end)
            self._await()
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S_MAX)
            held.callback(self._connection.close)
            self._send("PUT", "/v1/data/environment", self._environment)
            self._held = held.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def allowed(self, items: list[dict[str, Any]]) -> list[bool]:
        """One batch; an item without an answer is a deny."""
        result = orjson.loads(self._send("POST", _DECISIONS, {"input": {"items": items}})).get("result", {})
        return [bool(result.get(str(index), {}).get("allow")) for index in range(len(items))]

    def decisions(self, items: list[dict[str, Any]]) -> list[Decision]:
        """One decision an item, as the sidecar reads its engine's answers: undefined and malformed are a deny."""
        answer = orjson.loads(self._send("POST", _DECISIONS, {"input": {"items": items}}))
        results = [{"result": answer["result"]}] if "result" in answer else []
        try:
            return read_answers(orjson.dumps(results), len(items))
        except PolicyFailed:
            return [denied("POLICY_ERROR")] * len(items)

    def cpu_s(self) -> float | None:
        """CPU seconds that the server has used; ``None`` where the system does not say."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return None

    def _await(self) -> None:
        ends = time.monotonic() + START_S_MAX
        while time.monotonic() < ends and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self._port), 1):
                    return
            except OSError:
                time.sleep(0.02)
        raise CannotEvaluate("RELEASE_POLICY", "opa run --server did not start", next_step="symphony policy check")

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(START_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, method: str, path: str, body: Any) -> bytes:
        try:
            self._connection.request(method, path, orjson.dumps(body), {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise CannotEvaluate("RELEASE_POLICY", f"the opa server does not answer: {error}") from error
        if answer.status >= http.client.BAD_REQUEST:
            said = content[:200].decode(errors="replace")
            raise CannotEvaluate("RELEASE_POLICY", f"the opa server answers {answer.status}: {said}")
        return content
