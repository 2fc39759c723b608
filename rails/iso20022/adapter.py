"""The adapter itself: the calls of ``rails.sdk`` on top of ``normalise``, ``ledger`` and ``status_report``.

It keeps the last ``RELEASES_KEPT_MAX`` releases that it was configured with; a call names the one it is read under, and
an unknown one is ``RELEASE_CHANGED``. A release whose schemas are refused changes nothing.
"""

from __future__ import annotations

from contracts.errors import CannotEvaluate, Refused
from contracts.insecure import warn_of_wildcards
from contracts.times import parse_rfc3339
from rails.iso20022.ledger import Ledger
from rails.iso20022.limits import RELEASES_KEPT_MAX
from rails.iso20022.normalise import Ruleset
from rails.iso20022.reader import Reader
from rails.iso20022.schemas import Schemas
from rails.iso20022.status_report import render
from rails.sdk.types import (
    ConfigureRequest,
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


class Iso20022Adapter:
    """pacs.008 on a book rail; see ``rails.sdk.server.Adapter``."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._reader = Reader()
        self._rules: dict[int, Ruleset] = {}

    async def configure(self, request: ConfigureRequest) -> None:
        """Compile the release's schemas; a new one's wildcards are warned of. Raises ``RELEASE_SCHEMA_HOSTILE``."""
        rules = Ruleset(Schemas(request.schemas), request.context)
        if request.release_number not in self._rules:
            warn_of_wildcards("the ISO 20022 adapter", {"wildcards": request.context.wildcards})
        self._rules.pop(request.release_number, None)
        self._rules[request.release_number] = rules
        while len(self._rules) > RELEASES_KEPT_MAX:
            del self._rules[next(iter(self._rules))]

    async def normalise(self, request: NormaliseRequest) -> NormaliseAnswer:
        """Raw bytes → instructions and refusals. Raises ``RELEASE_CHANGED``, ``REQUEST_INVALID``."""
        rules = self._rules.get(request.release_number)
        if rules is None:
            raise CannotEvaluate("RELEASE_CHANGED", f"not configured with release {request.release_number}")
        _moment(request.received_at)
        return await self._reader.normalise(request.raw, request.received_at, rules)

    async def submit(self, request: SubmitRequest) -> SubmitAnswer:
        """Post each item once."""
        return SubmitAnswer(results=await self._ledger.submit(request.items, timeout_ms=request.timeout_ms))

    async def query_status(self, request: SubmitRequest) -> StatusAnswer:
        """Ask under a seal."""
        return StatusAnswer(results=await self._ledger.query_status(request.items, timeout_ms=request.timeout_ms))

    async def reverse(self, request: SubmitRequest) -> SubmitAnswer:
        """A reversal is another kind of instruction, and that kind is not built. Raises ``NOT_BUILT``."""
        raise Refused("NOT_BUILT", f"{len(request.items)} reversals: this rail has no reversal")

    async def reconcile(self, request: ReconcileRequest) -> ReconcileAnswer:
        """A page of the ledger's own postings."""
        return await self._ledger.reconcile(request)

    async def render_status(self, request: RenderRequest) -> RenderAnswer:
        """pacs.002.001.10."""
        _moment(request.report.created_at)
        return RenderAnswer(xml=render(request))

    async def close(self) -> None:
        """End the reader's thread and drop the kept connections."""
        self._reader.close()
        await self._ledger.close()


def _moment(text: str) -> None:
    try:
        parse_rfc3339(text)
    except ValueError as error:
        raise Refused("REQUEST_INVALID", str(error)[:80]) from error
