"""Tell somebody (MIG-11): a small JSON document, POSTed to a URL or given to a command on its standard input.

Bounded: three tries of five seconds for a URL, one of thirty for a command. What nobody took is an error, never a shrug.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Mapping
from typing import Any

import httpx

from contracts.errors import CannotEvaluate

TRIES = 3
TIMEOUT_S = 5.0
PAUSE_S = 1.0
COMMAND_TIMEOUT_S = 30.0


def notify(target: str, document: Mapping[str, Any], *, pause_s: float = PAUSE_S) -> None:
    """Send it. Raises ``CannotEvaluate CONFIGURATION``; the message names no password of a URL."""
    body = json.dumps(document).encode()
    if target.startswith(("http://", "https://")):
        _post(target, body, pause_s)
    else:
        _run(target, body)


def _post(url: str, body: bytes, pause_s: float) -> None:
    said = ""
    for number in range(TRIES):
        if number:
            time.sleep(pause_s * number)
        try:
            answer = httpx.post(url, content=body, headers={"Content-Type": "application/json"}, timeout=TIMEOUT_S)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            said = type(error).__name__
            continue
        if answer.is_success:
            return
        said = f"it answers {answer.status_code}"
    raise CannotEvaluate("CONFIGURATION", f"nobody was notified at {_host(url)}: {said}, {TRIES} tries")


def _host(url: str) -> str:
    """Of the URL nothing that could be a password."""
    try:
        return httpx.URL(url).host
    except (httpx.InvalidURL, ValueError):
        return "an address that is none"


def _run(command: str, body: bytes) -> None:
    try:
        done = subprocess.run(
            shlex.split(command), input=body, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        raise CannotEvaluate("CONFIGURATION", f"nobody was notified: {type(error).__name__}") from error
    if done.returncode:
        raise CannotEvaluate("CONFIGURATION", f"nobody was notified: the command ended with {done.returncode}")
