"""The calls between processes: what a peer says wrong is an error of the closed list, never a ``KeyError``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import SymphonyError
from contracts.wire import Client, pack_frame, read_frame


async def _answered(path: Path, error: Any) -> SymphonyError:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frame = await read_frame(reader)
        writer.write(pack_frame({"id": frame["id"], "error": error}))
        await writer.drain()
        await reader.read()  # until the caller hangs up
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(peer, str(path))
    client = Client(path)
    try:
        with pytest.raises(SymphonyError) as found:
            await client.call("anything", {}, timeout_s=5)
        return found.value
    finally:
        await client.close()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": "RELEASE_CHANGED", "detail": "d"}, "RELEASE_CHANGED"),
        ({"code": "OF_A_LATER_VERSION", "detail": "d"}, "INTERNAL"),
        ({"code": None}, "INTERNAL"),
        ({"code": ["RELEASE_CHANGED"]}, "INTERNAL"),
        ({"code": {}}, "INTERNAL"),
        ({}, "INTERNAL"),
        ("words", "INTERNAL"),
    ],
)
def test_an_error_of_a_peer_is_of_the_closed_list(tmp_path: Path, error: Any, code: str) -> None:
    assert asyncio.run(_answered(tmp_path / "s", error)).code == code
