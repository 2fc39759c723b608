"""``AdapterClient``: the sidecar's typed side of the adapter contract, over ``contracts.wire``.

Rules:

* ``submit`` and ``query_status`` never raise for a transport's fault: an adapter that could not be reached is
  ``SURELY_NOT_SENT`` only if no byte of the call left; anything later is ``IN_DOUBT`` / ``CANNOT_SAY`` (OUT-11, D7).
* An answer with another number of results than items is no answer: all of them in doubt.
* The other calls raise ``SymphonyError``: the adapter's own code, or ``ADAPTER_UNAVAILABLE``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from contracts.errors import CannotEvaluate, SymphonyError
from contracts.wire import Client, ConnectionLost
from rails.sdk.types import (
    ConfigureRequest,
    Method,
    NormaliseAnswer,
    NormaliseRequest,
    Outcome,
    RailContext,
    RailStatus,
    ReconcileAnswer,
    ReconcileRequest,
    RenderAnswer,
    RenderRequest,
    StatusAnswer,
    StatusResult,
    SubmitAnswer,
    SubmitItem,
    SubmitRequest,
    SubmitResult,
)

CONFIGURE_TIMEOUT_S: Final = 30.0
CALL_TIMEOUT_S: Final = 10.0
ANSWER_MARGIN_S: Final = 1.0
"""How much longer than ``timeout_ms`` the adapter itself gets to answer a submit."""
REFUSED_BEFORE_SENDING: Final = frozenset({"REQUEST_INVALID", "NOT_BUILT", "OVERLOADED", "CONFIGURATION"})
"""Codes with which an adapter refuses a submit before it does anything."""

_Answer = TypeVar("_Answer", bound=msgspec.Struct)


class AdapterClient:
    """One adapter process behind a Unix socket; calls may run at once; it reconnects by itself."""

    def __init__(self, path: Path) -> None:
        self._client = Client(path)

    async def close(self) -> None:
        """Close the connection; calls that wait end as in doubt or with ``ADAPTER_UNAVAILABLE``."""
        await self._client.close()

    async def configure(self, release_number: int, schemas: dict[str, bytes], context: RailContext) -> None:
        """Make a release known to the adapter. Raises ``RELEASE_SCHEMA_HOSTILE`` for a schema it will not use."""
        request = ConfigureRequest(release_number=release_number, schemas=schemas, context=context)
        await self._call(Method.CONFIGURE, request, timeout_s=CONFIGURE_TIMEOUT_S)

    async def normalise(
        self, raw: bytes, *, content_type: str, received_at: str, release_number: int, timeout_s: float = CALL_TIMEOUT_S
    ) -> NormaliseAnswer:
        """Raw bytes → canonical instructions and refusals. Raises ``RELEASE_CHANGED`` for an unknown release."""
        request = NormaliseRequest(
            raw=raw, content_type=content_type, received_at=received_at, release_number=release_number
        )
        return _typed(await self._call(Method.NORMALISE, request, timeout_s=timeout_s), NormaliseAnswer)

    async def submit(self, items: Sequence[SubmitItem], *, timeout_ms: int) -> list[SubmitResult]:
        """Exactly one outcome per item, in order; never raises for what the adapter or its socket does."""
        if not items:
            return []
        request = SubmitRequest(items=tuple(items), timeout_ms=timeout_ms)
        try:
            raw = await self._call(Method.SUBMIT, request, timeout_s=timeout_ms / 1000 + ANSWER_MARGIN_S)
            results = _typed(raw, SubmitAnswer).results
        except (SymphonyError, TimeoutError) as error:
            return [_submit_failed(error)] * len(items)
        if len(results) != len(items):
            return [_submit_failed(CannotEvaluate("ADAPTER_UNAVAILABLE", "another number of results"))] * len(items)
        return list(results)

    async def query_status(self, items: Sequence[SubmitItem], *, timeout_ms: int) -> list[StatusResult]:
        """Exactly one status per item, in order; ``CANNOT_SAY`` for whatever goes wrong on the way."""
        if not items:
            return []
        request = SubmitRequest(items=tuple(items), timeout_ms=timeout_ms)
        try:
            raw = await self._call(Method.QUERY_STATUS, request, timeout_s=timeout_ms / 1000 + ANSWER_MARGIN_S)
            results = _typed(raw, StatusAnswer).results
        except (SymphonyError, TimeoutError) as error:
            return [_cannot_say(error)] * len(items)
        if len(results) != len(items):
            return [_cannot_say(CannotEvaluate("ADAPTER_UNAVAILABLE", "another number of results"))] * len(items)
        return list(results)

    async def reconcile(self, request: ReconcileRequest) -> ReconcileAnswer:
        """One page of the rail's own postings."""
        timeout_s = request.timeout_ms / 1000 + ANSWER_MARGIN_S
        return _typed(await self._call(Method.RECONCILE, request, timeout_s=timeout_s), ReconcileAnswer)

    async def render_status(self, request: RenderRequest, *, timeout_s: float = CALL_TIMEOUT_S) -> RenderAnswer:
        """A status report in the rail's own format."""
        return _typed(await self._call(Method.RENDER_STATUS, request, timeout_s=timeout_s), RenderAnswer)

    async def _call(self, method: Method, request: msgspec.Struct, *, timeout_s: float) -> dict[str, Any]:
        params: dict[str, Any] = msgspec.to_builtins(request, builtin_types=(bytes,))
        try:
            return await self._client.call(method.value, params, timeout_s=timeout_s)
        except TimeoutError as error:
            raise CannotEvaluate("ADAPTER_UNAVAILABLE", f"no answer in {timeout_s:g} s") from error


def _typed(raw: dict[str, Any], kind: type[_Answer]) -> _Answer:
    try:
        return msgspec.convert(raw, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise CannotEvaluate("ADAPTER_UNAVAILABLE", f"not an answer of the contract: {error}") from error


def _submit_failed(error: Exception) -> SubmitResult:
    code = error.code if isinstance(error, SymphonyError) else "ADAPTER_UNAVAILABLE"
    nothing_left = (isinstance(error, ConnectionLost) and not error.sent) or code in REFUSED_BEFORE_SENDING
    if nothing_left:
        return SubmitResult(outcome=Outcome.SURELY_NOT_SENT, code=code, detail="the adapter did not take the call")
    return SubmitResult(outcome=Outcome.IN_DOUBT, code="OUTCOME_UNKNOWN", detail=f"adapter: {code}")


def _cannot_say(error: Exception) -> StatusResult:
    code = error.code if isinstance(error, SymphonyError) else "ADAPTER_UNAVAILABLE"
    return StatusResult(status=RailStatus.CANNOT_SAY, code=code, detail="the adapter gave no answer")
