"""What officers asked for and were refused, kept with their own envelope and as a leaf of the evidence log (POL-07).

Kept is a refusal only where the envelope holds: by this officer's key, for this action, environment and number. What a
stranger sends, or somebody in another's name, is answered and not kept, so nobody can fill the log. The same envelope
refused again for the same cause is kept once, and at most ``REFUSALS_A_DAY`` of one officer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from contracts.errors import CannotEvaluate, NotTrusted, Refused, SymphonyError
from controlplane.context import Context
from controlplane.evidence.own import log_event
from controlplane.identity import Principal
from controlplane.releases.asking import Word, word_of
from controlplane.store import queries
from controlplane.trust import services as trust_services

REFUSALS_A_DAY = 1000
DETAIL_MAX = 300
_LOG = logging.getLogger("symphony.controlplane")
_SQL = queries("controlplane.releases")
_Answer = TypeVar("_Answer")
_Service = Callable[[Context, Principal, str, int, Any], Awaitable[_Answer]]


def keeps_refusals(action: str) -> Callable[[_Service[_Answer]], _Service[_Answer]]:
    """Decorate a service ``(context, principal, environment, number, envelope)``: what it refuses is kept, then raised."""

    def decorate(service: _Service[_Answer]) -> _Service[_Answer]:
        @wraps(service)
        async def kept(
            context: Context, principal: Principal, environment: str, number: int, envelope: Any
        ) -> _Answer:
            try:
                return await service(context, principal, environment, number, envelope)
            except (Refused, NotTrusted) as error:
                await _keep(context, principal, environment, number, envelope, action, error)
                raise

        return kept

    return decorate


async def _keep(
    context: Context, principal: Principal, environment: str, number: int, envelope: Any, action: str,
    error: SymphonyError,
) -> None:  # fmt: skip
    try:
        async with context.pool.transaction() as connection:
            trust = await trust_services.trust_for(connection, environment)
            word = word_of(trust, principal, environment, envelope, action)
            if word.fields.get("number") != number:
                return
            values = _values(principal, environment, number, action, error, word)
            row = await (await connection.execute(_SQL["keep_refusal"], values)).fetchone()
            if row is not None and row["kept"]:
                await log_event(
                    context, connection, "REFUSED", environment=environment, number=number, action=action,
                    actor_key_id=str(principal.key_id), envelope_sha256=word.sha256, reason_code=error.code,
                )  # fmt: skip
    except (Refused, NotTrusted):
        return  # not this officer's own word
    except CannotEvaluate as unkept:
        _LOG.warning("a refusal of %s was not kept: %s", action, unkept)


def _values(
    principal: Principal, environment: str, number: int, action: str, error: SymphonyError, word: Word
) -> tuple[Any, ...]:
    detail = (error.detail or error.reason.meaning)[:DETAIL_MAX].replace("\x00", "")
    return (
        environment, action, number, error.code, detail, principal.name, principal.key_id, word.envelope, REFUSALS_A_DAY,
    )  # fmt: skip
