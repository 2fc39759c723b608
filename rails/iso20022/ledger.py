"""The ledger as this rail: submit is ``POST /v1/postings`` with the sidecar's body and permit, unchanged.

Each item is sent once, at once, over at most ``connections_max`` kept mTLS connections; the items of a call share its
deadline; the order of the answers is the order of the items. What an answer means is ``outcome``.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec

from contracts.errors import CannotEvaluate, Refused
from rails.iso20022.http import HttpClient, NoAnswer, NotSent, Response
from rails.iso20022.limits import ITEMS_MAX
from rails.iso20022.outcome import status_result, submit_result
from rails.sdk.types import ReconcileAnswer, ReconcileRequest, StatusResult, SubmitItem, SubmitResult

_POSTINGS = "/v1/postings"


class Ledger:
    """The adapter's side of the ledger's API."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def submit(self, items: Sequence[SubmitItem], *, timeout_ms: int) -> tuple[SubmitResult, ...]:
        """One outcome per item; never raises for what the ledger or the network does."""
        answers = await self._all(items, timeout_ms)
        return tuple(submit_result(a, i.instruction_id) for a, i in zip(answers, items, strict=True))

    async def query_status(self, items: Sequence[SubmitItem], *, timeout_ms: int) -> tuple[StatusResult, ...]:
        """One status per item, asked under a seal."""
        answers = await self._all(items, timeout_ms)
        return tuple(status_result(a, i.instruction_id) for a, i in zip(answers, items, strict=True))

    async def reconcile(self, request: ReconcileRequest) -> ReconcileAnswer:
        """A page of the ledger's own postings. Raises ``CannotEvaluate RAIL_UNREACHABLE``."""
        query = {"from": request.start, "to": request.end}
        if request.cursor is not None:
            query["cursor"] = request.cursor
        deadline = asyncio.get_running_loop().time() + request.timeout_ms / 1000
        try:
            path = f"{_POSTINGS}?{urlencode(query)}"
            answer = await self._client.request("GET", path, headers={}, body=b"", deadline=deadline)
        except (NotSent, NoAnswer) as error:
            raise CannotEvaluate("RAIL_UNREACHABLE", str(error)) from error
        if answer.status != 200:
            raise CannotEvaluate("RAIL_UNREACHABLE", f"the ledger answers {answer.status}")
        try:
            return msgspec.json.decode(answer.body, type=ReconcileAnswer)
        except msgspec.DecodeError as error:
            raise CannotEvaluate("RAIL_UNREACHABLE", "the ledger's page cannot be read") from error

    async def close(self) -> None:
        """Drop the kept connections."""
        await self._client.close()

    async def _all(self, items: Sequence[SubmitItem], timeout_ms: int) -> list[Response | NotSent | NoAnswer]:
        if len(items) > ITEMS_MAX:
            raise Refused("REQUEST_INVALID", f"{len(items)} items, at most {ITEMS_MAX}")
        deadline = asyncio.get_running_loop().time() + timeout_ms / 1000
        return await asyncio.gather(*(self._one(item, deadline) for item in items))

    async def _one(self, item: SubmitItem, deadline: float) -> Response | NotSent | NoAnswer:
        permit = urlsafe_b64encode(item.permit).rstrip(b"=").decode("ascii")
        headers = {"content-type": "application/json", "symphony-permit": permit}
        try:
            return await self._client.request("POST", _POSTINGS, headers=headers, body=item.body, deadline=deadline)
        except (NotSent, NoAnswer) as error:
            return error
