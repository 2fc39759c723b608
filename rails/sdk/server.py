"""The adapter's side of the contract: a typed ``Adapter`` behind ``contracts.wire``.

Every request is checked against its type before the adapter sees it (``REQUEST_INVALID``); an unknown method is
``REQUEST_INVALID``; whatever else goes wrong inside is ``INTERNAL``, logged here and never shown to the peer.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from contracts import wire
from contracts.errors import Refused
from rails.sdk.types import (
    ConfigureRequest,
    Method,
    NormaliseAnswer,
    NormaliseRequest,
    ReconcileAnswer,
    ReconcileRequest,
    RenderAnswer,
    RenderRequest,
    StatusAnswer,
    SubmitAnswer,
    SubmitRequest,
)

_Request = TypeVar("_Request", bound=msgspec.Struct)


class Adapter(Protocol):
    """What a rail adapter does. Each raises only ``SymphonyError``."""

    async def configure(self, request: ConfigureRequest) -> None:
        """Compile the release's schemas; ``RELEASE_SCHEMA_HOSTILE`` leaves what was configured before in place."""

    async def normalise(self, request: NormaliseRequest) -> NormaliseAnswer:
        """Raw bytes → instructions and refusals, in the fixed order parse, type, schema facets, business rules."""

    async def submit(self, request: SubmitRequest) -> SubmitAnswer:
        """Send each item once and classify what came back."""

    async def query_status(self, request: SubmitRequest) -> StatusAnswer:
        """Ask the rail for each item."""

    async def reverse(self, request: SubmitRequest) -> SubmitAnswer:
        """Reverse payments; ``NOT_BUILT`` where the rail has no reversal."""

    async def reconcile(self, request: ReconcileRequest) -> ReconcileAnswer:
        """One page of the rail's own books."""

    async def render_status(self, request: RenderRequest) -> RenderAnswer:
        """A status report in the rail's own format."""


def handler_of(adapter: Adapter) -> wire.Handler:
    """The ``contracts.wire`` handler of an adapter."""

    async def handle(method: str, params: dict[str, Any]) -> dict[str, Any]:
        answer = await _dispatch(adapter, method, params)
        result: dict[str, Any] = msgspec.to_builtins(answer, builtin_types=(bytes,)) if answer else {"ok": True}
        return result

    return handle


async def serve(path: Path, adapter: Adapter) -> asyncio.Server:
    """Serve the adapter on a Unix socket (0600)."""
    return await wire.serve(path, handler_of(adapter))


async def _dispatch(adapter: Adapter, method: str, params: dict[str, Any]) -> msgspec.Struct | None:
    match method:
        case Method.NORMALISE:
            return await adapter.normalise(_request(params, NormaliseRequest))
        case Method.SUBMIT:
            return await adapter.submit(_request(params, SubmitRequest))
        case Method.QUERY_STATUS:
            return await adapter.query_status(_request(params, SubmitRequest))
        case Method.CONFIGURE:
            await adapter.configure(_request(params, ConfigureRequest))
            return None
        case Method.RECONCILE:
            return await adapter.reconcile(_request(params, ReconcileRequest))
        case Method.RENDER_STATUS:
            return await adapter.render_status(_request(params, RenderRequest))
        case Method.REVERSE:
            return await adapter.reverse(_request(params, SubmitRequest))
    raise Refused("REQUEST_INVALID", f"an adapter has no method {method[:32]!r}")


def _request(params: dict[str, Any], kind: type[_Request]) -> _Request:
    try:
        return msgspec.convert(params, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise Refused("REQUEST_INVALID", f"{kind.__name__}: {error}") from error
