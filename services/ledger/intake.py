"""POST /v1/postings: the hot path, a raw ASGI function. Nothing acts without a permit (issue 3, story 4).

The order of the checks; each refusal before the last means that surely nothing was posted:

1. the connection's certificate is current, not revoked, and one that may connect
2. headers and body inside their bounds                                     REQUEST_INVALID, BODY_TOO_LARGE
3. one ``Symphony-Permit`` header, base64url without padding                PERMIT_MISSING, PERMIT_MALFORMED
4. the release that the permit names                                        NO_ACTIVE_RELEASE, RELEASE_*
5. the body fits ``symphony.posting/1`` and is its own canonical bytes      POSTING_INVALID
6. the permit holds (``contracts.permit``) under that release, its key is not revoked, it names the release's
   policy and the instruction of the body                                   PERMIT_*
7. the purpose is built                                                     PURPOSE_NOT_BUILT
   the ledger's own invariants hold (PIL-05)                                SERVICE_HALTED, STORE_UNAVAILABLE
   a release that has grown old permits the value (design section 4)        RELEASE_STALE
8. the database's own rules (migrations/ledger/0004_functions.sql)          PERMIT_SUPERSEDED, POSTING_CONFLICT,
                                                                            ACCOUNT_UNKNOWN

While halted, and over what an old release permits, a posting that was made is still told to whoever repeats it (``REPEATED``,
``POSTING_CONFLICT``): "halted" would say that surely nothing was posted. Nothing can post: the database is asked as for an
account that is not admitted. While halted a seal is refused: it would change what may post, and recovery asks again.

``OUTCOME_UNKNOWN`` is the one answer after which a posting may exist: ask with a seal. Every other refusal of a peer
with a certificate is recorded before it is answered (refusals.py).
"""

from __future__ import annotations

import asyncio
import binascii
import logging
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import replace
from datetime import date
from typing import Any

import orjson

from contracts import permit
from contracts.canonical_fast import fast_canonical_bytes
from contracts.errors import NotTrusted, Refused, SymphonyError
from contracts.runtime_invariants import Watch
from contracts.schemas import check, fast_validator
from contracts.times import Clock, rfc3339
from contracts.tls import peer_of
from services.ledger import config
from services.ledger.batching import Batcher
from services.ledger.refusals import Refusals, Seen
from services.ledger.releases import ReleaseWindow
from services.ledger.replies import Reply, correlation_of, refusal, send_reply
from services.ledger.store.postings import Answer, Effect

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
EffectBatcher = Batcher[Effect, Answer]

PERMIT_HEADER = b"symphony-permit"
PERMIT_HEADER_BYTES_MAX = permit.PERMIT_BYTES_MAX * 4 // 3 + 4
SCHEMA = "symphony.posting/1"
_LOG = logging.getLogger("symphony.ledger.intake")


class Callers:
    """Who may connect: a current certificate of the CA, not revoked, on the local list where there is one."""

    def __init__(self, window: ReleaseWindow, clock: Clock, clients: Iterable[str] | None) -> None:
        self._window = window
        self._clock = clock
        self._clients = None if clients is None else frozenset(clients)

    def check(self, scope: Scope) -> None:
        """Raise ``CERTIFICATE_*`` for a connection that may not be served (any longer)."""
        peer, now = peer_of(scope), self._clock.now()
        if peer is None:
            raise NotTrusted("CERTIFICATE_MISSING", "no client certificate")
        if not peer.is_current(now):
            raise NotTrusted("CERTIFICATE_EXPIRED", f"valid to {rfc3339(peer.not_after)}")
        if self._window.revoked.holds("certificate", peer.sha256, now):
            raise NotTrusted("CERTIFICATE_REVOKED", f"certificate {peer.sha256[:16]}…")
        if self._clients is not None and peer.sha256 not in self._clients:
            raise NotTrusted("CERTIFICATE_UNTRUSTED", "the certificate is not one of this ledger's clients")


class Intake:
    """The ASGI function of ``POST /v1/postings``."""

    def __init__(
        self, window: ReleaseWindow, callers: Callers, clock: Clock, posts: EffectBatcher, seals: EffectBatcher,
        refusals: Refusals, watch: Watch,
    ) -> None:  # fmt: skip
        self._window = window
        self._callers = callers
        self._clock = clock
        self._posts = posts
        self._seals = seals
        self._refusals = refusals
        self._watch = watch
        self._roots = permit.VerifiedRoots()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; never an exception, never a stack trace to the caller."""
        correlation, seen = correlation_of(scope["headers"]), Seen()
        try:
            reply = await self._answer(scope, receive, seen)
        except SymphonyError as error:
            reply = await self._refused(error, scope, seen, correlation)
        except Exception:  # noqa: BLE001 - logged, and answered INTERNAL
            _LOG.exception("a posting failed: %s", correlation)
            reply = await self._refused(Refused("INTERNAL"), scope, seen, correlation)
        await send_reply(send, reply, correlation)

    async def _refused(self, error: SymphonyError, scope: Scope, seen: Seen, correlation: str) -> Reply:
        _LOG.info("refused %s: %s", error.code, correlation)
        peer = peer_of(scope)
        if peer is not None:
            await self._refusals.record(error, peer.sha256, seen)
        return refusal(error, correlation)

    async def _answer(self, scope: Scope, receive: Receive, seen: Seen) -> Reply:
        self._callers.check(scope)
        _check_size(scope["headers"])
        seen.body = await _body_of(scope["headers"], receive)
        effect = self._checked(permit.parse(_permit_of(scope["headers"])), seen.body, seen)
        purpose = effect.claims.purpose
        if purpose == "post":
            return await self._post(effect)
        if purpose == "seal":
            self._watch.demand_open()
            return _sealed(effect, await self._seals.submit(effect, timeout_s=config.REQUEST_TIMEOUT_S))
        raise Refused("PURPOSE_NOT_BUILT", f"{purpose} is not built")

    async def _post(self, effect: Effect) -> Reply:
        stopped = self._watch.stopped() or self._beyond(effect.body)
        asked = effect if stopped is None else replace(effect, admitted=False)
        answer = await self._posts.submit(asked, timeout_s=config.REQUEST_TIMEOUT_S)
        if stopped is not None and answer.outcome == "ACCOUNT_UNKNOWN":
            raise stopped
        return _posted(effect, answer)

    def _beyond(self, document: dict[str, Any]) -> SymphonyError | None:
        return self._window.beyond(document["debit_agent"], document["currency"], document["amount_minor"])

    def _checked(self, presented: permit.Permit, body: bytes, seen: Seen) -> Effect:
        terms = self._window.choose(presented.claims.release_number, presented.claims.policy_digest)
        document = seen.document = _document_of(body)
        claims = permit.verify_parsed(
            presented, body=body, purpose=document["purpose"], audience=terms.audience,
            environment=terms.environment, keys=terms.keys, now=self._clock.now(), skew_s=terms.skew_s,
            roots=self._roots,
        )  # fmt: skip
        self._window.check_key(terms, claims.key_id)
        if claims.policy_digest != terms.policy_digest:
            raise NotTrusted("PERMIT_POLICY", f"not the policy of release {terms.number}")
        if claims.instruction_id != document["instruction_id"]:
            raise NotTrusted("PERMIT_BODY_MISMATCH", "the permit is for another instruction")
        admitted = claims.purpose != "post" or terms.admits(
            document["debit_agent"], document["credit_agent"], document["currency"]
        )
        return Effect(claims, document, admitted)


def _check_size(headers: list[tuple[bytes, bytes]]) -> None:
    if sum(len(name) + len(value) for name, value in headers) > config.HEADER_BYTES_MAX:
        raise Refused("REQUEST_INVALID", f"headers over {config.HEADER_BYTES_MAX} bytes")


def _permit_of(headers: list[tuple[bytes, bytes]]) -> bytes:
    """The permit's bytes; the encoding has one form, too."""
    values = [value for name, value in headers if name == PERMIT_HEADER]
    if not values:
        raise Refused("PERMIT_MISSING", "no Symphony-Permit header")
    if len(values) > 1 or len(values[0]) > PERMIT_HEADER_BYTES_MAX:
        raise NotTrusted("PERMIT_MALFORMED", "one Symphony-Permit header, of a bounded length")
    try:
        decoded = urlsafe_b64decode(values[0] + b"=" * (-len(values[0]) % 4))
    except (binascii.Error, ValueError) as error:
        raise NotTrusted("PERMIT_MALFORMED", "not base64url") from error
    if urlsafe_b64encode(decoded).rstrip(b"=") != values[0]:
        raise NotTrusted("PERMIT_MALFORMED", "not base64url without padding")
    return decoded


async def _body_of(headers: list[tuple[bytes, bytes]], receive: Receive) -> bytes:
    """The body, bounded in size and time."""
    declared = next((value for name, value in headers if name == b"content-length"), b"0")
    if len(declared) > 10 or not declared.isdigit() or int(declared) > config.BODY_BYTES_MAX:
        raise Refused("BODY_TOO_LARGE", f"a posting is at most {config.BODY_BYTES_MAX} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(config.REQUEST_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused("REQUEST_INVALID", "the peer went away")
                body += message.get("body", b"")
                if len(body) > config.BODY_BYTES_MAX:
                    raise Refused("BODY_TOO_LARGE", f"a posting is at most {config.BODY_BYTES_MAX} bytes")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError as error:
        raise Refused("REQUEST_INVALID", "the body did not come in time") from error


def _document_of(body: bytes) -> dict[str, Any]:
    """The posting document; its bytes have one form (RFC 8785), so its digest names its content."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused("POSTING_INVALID", "the body is not JSON") from error
    if not fast_validator(SCHEMA).is_valid(document):
        check(SCHEMA, document, code="POSTING_INVALID")
        raise Refused("POSTING_INVALID", "the body does not fit its schema")
    if fast_canonical_bytes(document) != body:
        raise Refused("POSTING_INVALID", "the body is not in canonical form (RFC 8785)")
    settlement = document.get("settlement_date")
    try:
        if settlement is not None:
            date.fromisoformat(settlement)
    except ValueError as error:
        raise Refused("POSTING_INVALID", f"settlement_date: no such day: {settlement}") from error
    assert isinstance(document, dict)
    return document


def _posting(effect: Effect, answer: Answer) -> dict[str, Any]:
    assert answer.posted_at is not None
    return {"posting_id": str(answer.posting_id), "instruction_id": effect.claims.instruction_id, "status": "posted",
            "posted_at": rfc3339(answer.posted_at)}  # fmt: skip


def _posted(effect: Effect, answer: Answer) -> Reply:
    if answer.outcome == "POSTED":
        return Reply(201, orjson.dumps(_posting(effect, answer)))
    if answer.outcome == "REPEATED":
        return Reply(200, orjson.dumps({**_posting(effect, answer), "repeated": True}))
    raise Refused(answer.outcome, f"instruction {effect.claims.instruction_id}")


def _sealed(effect: Effect, answer: Answer) -> Reply:
    if answer.outcome != "SEALED":
        raise Refused(answer.outcome, f"instruction {effect.claims.instruction_id}")
    posting = _posting(effect, answer) if answer.posting_id is not None else None
    return Reply(200, orjson.dumps({
        "instruction_id": effect.claims.instruction_id, "sealed": True, "posted": posting is not None,
        "posting": posting,
    }))  # fmt: skip
