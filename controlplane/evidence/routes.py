"""HTTP of the evidence log.

``POST /v1/evidence/batches`` and ``/heartbeats`` are open to any client of the TLS authority: the signature under a
listed evidence key is what counts. ``/log/…`` shows hashes only. Records are shown to enrolled officers, custodians
and operators (EVD-13 gives auditors a role of their own: packets).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from contracts.errors import Refused
from contracts.problem import CONTENT_TYPE, problem_of
from controlplane.api.http import bytes_answer, json_answer, number_of, read_object
from controlplane.context import Context
from controlplane.evidence import checkpoints, intake, log, own
from controlplane.evidence.keys import ReleaseEvidenceKeys
from controlplane.identity import require
from controlplane.store import queries

READERS = ("officer", "security_officer", "custodian", "operator")
RECORDS_PAGE_MAX = 1000
_SQL = queries("controlplane.evidence")
_TILE = re.compile(
    r"(?P<level>[0-9]|[1-5][0-9]|6[0-3])/(?P<index>(?:x[0-9]{3}/){0,4}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


def routes(context: Context) -> list[BaseRoute]:
    """The addresses of intake, log and records; sets the context's hook for TUF role versions."""
    context.log_release_metadata = partial(own.log_release_metadata, context)
    keys = ReleaseEvidenceKeys(context)

    async def batches(request: Request) -> Response:
        try:
            document = await read_object(request, bytes_max=intake.BATCH_BODY_BYTES_MAX)
            return json_answer({"last_seq": await intake.take_batch(context, keys, document)})
        except intake.BatchGap as gap:
            return _gap(gap)

    async def heartbeats(request: Request) -> Response:
        document = await read_object(request, bytes_max=intake.HEARTBEAT_BODY_BYTES_MAX)
        return json_answer({"last_seq": await intake.take_heartbeat(context, keys, document)})

    return [
        Route("/v1/evidence/batches", batches, methods=["POST"]),
        Route("/v1/evidence/heartbeats", heartbeats, methods=["POST"]),
        Route("/log/checkpoint", _with(_checkpoint, context)),
        Route("/log/tile/{path:path}", _with(_tile, context)),
        Route("/v1/log/proof", _with(_inclusion, context)),
        Route("/v1/log/consistency", _with(_consistency, context)),
        Route("/v1/evidence/streams", _with(_streams, context)),
        Route("/v1/evidence/records", _with(_records, context)),
        Route("/v1/evidence/records/{stream}/{seq:int}", _with(_record, context)),
        Route("/v1/evidence/instructions/{instruction_id}", _with(_instruction, context)),
    ]


def background(context: Context) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """The checkpoint maker."""
    return [partial(checkpoints.background, context)]


def _with(handler: Callable[[Context, Request], Awaitable[Response]], context: Context) -> Any:
    async def endpoint(request: Request) -> Response:
        return await handler(context, request)

    return endpoint


def _gap(gap: intake.BatchGap) -> Response:
    status, body = problem_of(gap)
    content = orjson.dumps(orjson.loads(body) | {"last_seq": gap.last_seq})
    return Response(content, status, media_type=CONTENT_TYPE)


async def _checkpoint(context: Context, _request: Request) -> Response:
    newest = await log.newest_checkpoint(context)
    return bytes_answer(newest["note"].encode(), "text/plain; charset=utf-8", cache_control="no-cache")


async def _tile(context: Context, request: Request) -> Response:
    match = _TILE.fullmatch(request.path_params["path"])
    width = int(match["width"] or log.TILE_WIDTH) if match else 0
    if match is None or (match["width"] is not None and width >= log.TILE_WIDTH):
        raise Refused("NOT_FOUND", "not the address of a tile")
    index = int(match["index"].replace("x", "").replace("/", ""))
    content = await log.tile(context, int(match["level"]), index, width)
    if content is None:
        raise Refused("NOT_FOUND", "the log has no such tile yet")
    return bytes_answer(content, cache_control="public, max-age=31536000, immutable")


async def _inclusion(context: Context, request: Request) -> Response:
    newest = await log.newest_checkpoint(context)
    index, size = number_of(request, "index"), number_of(request, "size", newest["size"])
    if size > newest["size"]:
        raise Refused("NOT_FOUND", f"the newest checkpoint is of {newest['size']} leaves")
    proof = await log.inclusion_proof(context, index, size)
    leaf = (await log.hashes(context, 0, index, 1))[0]
    answer = {"index": index, "size": size, "leaf_hash": leaf.hex(), "proof": [item.hex() for item in proof]}
    return json_answer(answer | ({"checkpoint": newest["note"]} if size == newest["size"] else {}))


async def _consistency(context: Context, request: Request) -> Response:
    newest = await log.newest_checkpoint(context)
    old, new = number_of(request, "from"), number_of(request, "to", newest["size"])
    if new > newest["size"]:
        raise Refused("NOT_FOUND", f"the newest checkpoint is of {newest['size']} leaves")
    proof = await log.consistency_proof(context, old, new)
    return json_answer({"from": old, "to": new, "proof": [item.hex() for item in proof]})


async def _streams(context: Context, request: Request) -> Response:
    await require(context, request, *READERS)
    rows = await context.pool.fetch(_SQL["streams"])
    return json_answer({"streams": rows})


async def _records(context: Context, request: Request) -> Response:
    await require(context, request, *READERS)
    first = number_of(request, "first_index", 0)
    limit = min(number_of(request, "limit", RECORDS_PAGE_MAX), RECORDS_PAGE_MAX)
    rows = await context.pool.fetch(_SQL["records"], first, first + limit)
    return json_answer({"records": [_shown(row) for row in rows]})


async def _record(context: Context, request: Request) -> Response:
    await require(context, request, *READERS)
    rows = await context.pool.fetch(
        _SQL["record_of_stream"], request.path_params["stream"], request.path_params["seq"]
    )
    if not rows:
        raise Refused("NOT_FOUND", "no such record in the log")
    return json_answer(_shown(rows[0]))


async def _instruction(context: Context, request: Request) -> Response:
    await require(context, request, *READERS)
    rows = await context.pool.fetch(_SQL["records_of_instruction"], request.path_params["instruction_id"])
    return json_answer({"records": [_shown(row) for row in rows]})


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "index": row["index"], "stream": row["stream"], "seq": row["seq"], "kind": row["kind"],
        "leaf_hash": row["leaf_hash"].hex(), "record": base64.b64encode(row["record"]).decode(),
    }  # fmt: skip
