"""The conformance harness: what every adapter owes the sidecar, asked over its own socket (ADP).

``failures = await check(client, kit)``; an empty list is a pass. The kit is the rail's: a release to configure,
messages that must be taken, and messages that must be refused with the code that goes with each.

Asked: an unknown release is refused; a good message gives one valid instruction per transaction, numbered, the same on
every call, with business keys of their own; a bad one gives its code and nothing else; a code is always one of the
closed list; status reports are rendered; a submit gives exactly one outcome per item, and none of them a success, while
the rail is not there; a method that is not built says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from contracts.errors import SymphonyError
from contracts.reasons import REASONS
from contracts.schemas import fast_validator
from rails.sdk.client import AdapterClient
from rails.sdk.types import (
    NormaliseAnswer,
    Outcome,
    RailContext,
    RailStatus,
    RenderRequest,
    StatusReport,
    SubmitItem,
    TransactionStatus,
)

_UNKNOWN_RELEASE: Final = 999_999_999


@dataclass(frozen=True, slots=True)
class Kit:
    """What a rail brings. ``bad``: message → the reason code that it must give (of the message, or of a transaction).

    ``rail_is_down``: no rail listens where the adapter would submit, so that no outcome may be a success.
    """

    release_number: int
    schemas: Mapping[str, bytes]
    context: RailContext
    good: Mapping[str, bytes]
    bad: Mapping[str, tuple[bytes, str]]
    received_at: str
    content_type: str
    rail_is_down: bool


async def check(client: AdapterClient, kit: Kit) -> list[str]:
    """One line for every rule that does not hold."""
    await client.configure(kit.release_number, dict(kit.schemas), kit.context)
    found: list[str] = []
    for part in (_unknown_release, _good, _bad, _rendered, _submitted):
        found += [line async for line in part(client, kit)]
    return found


async def _unknown_release(client: AdapterClient, kit: Kit) -> AsyncIterator[str]:
    try:
        await _normalise(client, kit, b"", release=_UNKNOWN_RELEASE)
        yield "an unknown release: answered"
    except SymphonyError as error:
        if error.code != "RELEASE_CHANGED":
            yield f"an unknown release: {error.code}"


async def _good(client: AdapterClient, kit: Kit) -> AsyncIterator[str]:
    for name, raw in kit.good.items():
        answer = await _normalise(client, kit, raw)
        if answer.group_refused is not None:
            yield f"{name}: refused {answer.group_refused.code}"
        for line in _instructions(answer):
            yield f"{name}: {line}"
        if answer != await _normalise(client, kit, raw):
            yield f"{name}: another answer the second time"


def _instructions(answer: NormaliseAnswer) -> list[str]:
    found: list[str] = []
    keys: set[str] = set()
    for index, result in enumerate(answer.results):
        instruction = result.instruction
        if instruction is None:
            found.append(f"transaction {index}: {result.refused.code if result.refused else 'neither'}")
        elif not fast_validator("symphony.instruction/1").is_valid(instruction):
            found.append(f"transaction {index}: not a canonical instruction")
        elif (instruction["tx_index"], instruction["tx_count"]) != (index, len(answer.results)):
            found.append(f"transaction {index}: misnumbered")
        else:
            keys.add(instruction["business_key"])
    if not answer.results or (not found and len(keys) != len(answer.results)):
        found.append("no transactions, or two with one business key")
    return found


async def _bad(client: AdapterClient, kit: Kit) -> AsyncIterator[str]:
    for name, (raw, wanted) in kit.bad.items():
        answer = await _normalise(client, kit, raw)
        refused = [answer.group_refused] if answer.group_refused else [r.refused for r in answer.results if r.refused]
        codes = {refusal.code for refusal in refused}
        if codes != {wanted}:
            yield f"{name}: {sorted(codes)} instead of {wanted}"
        if answer.group_refused is not None and answer.results:
            yield f"{name}: refused as a whole, and answered in parts"
        if not codes <= REASONS.keys():
            yield f"{name}: a code outside the closed list"


async def _rendered(client: AdapterClient, kit: Kit) -> AsyncIterator[str]:
    report = StatusReport(report_id="CONFORMANCE", created_at=kit.received_at)
    for name, raw in kit.good.items():
        answer = await _normalise(client, kit, raw)
        lines = tuple(TransactionStatus(status="ACTC") for _ in answer.results)
        rendered = await client.render_status(RenderRequest(report=report, original=answer.message, results=lines))
        if not rendered.xml:
            yield f"{name}: no status report"


async def _submitted(client: AdapterClient, kit: Kit) -> AsyncIterator[str]:
    items = [SubmitItem(instruction_id=f"conformance-{n}", body=b"{}", permit=b"{}") for n in range(3)]
    outcomes = [r.outcome for r in await client.submit(items, timeout_ms=2000)]
    statuses = [r.status for r in await client.query_status(items, timeout_ms=2000)]
    if len(outcomes) != len(items) or len(statuses) != len(items):
        yield "another number of outcomes than items"
    if kit.rail_is_down and set(outcomes) != {Outcome.SURELY_NOT_SENT}:
        yield f"no rail: {sorted(set(outcomes))}"
    if kit.rail_is_down and set(statuses) != {RailStatus.CANNOT_SAY}:
        yield f"no rail: {sorted(set(statuses))}"


async def _normalise(client: AdapterClient, kit: Kit, raw: bytes, *, release: int | None = None) -> NormaliseAnswer:
    return await client.normalise(
        raw,
        content_type=kit.content_type,
        received_at=kit.received_at,
        release_number=kit.release_number if release is None else release,
    )
