"""The application: one route, everything in one request."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import orjson
from fastapi import FastAPI, HTTPException, Request, Response

from benchmarks.baseline.checks import Callers, Messages
from benchmarks.baseline.store import Request as Recorded
from benchmarks.baseline.store import Store
from contracts.calendar import business_context
from contracts.times import rfc3339

OPA_CONNECTIONS = 64
DECISIONS = "/v1/data/symphony/payments/decisions"


class Settings(msgspec.Struct, frozen=True):
    """The configuration file: the environment data and the sidecar's manifest are those of the release."""

    port: int
    certificate: str
    key: str
    ca: str
    audience: str
    environment: dict[str, Any]
    sidecar: dict[str, Any]
    schema_file: str
    policy_digest: str
    opa_url: str
    database_url: str
    ledger_url: str | None = None


def create_app(settings: Settings) -> FastAPI:
    """The application of some settings."""
    environment = settings.environment
    callers = Callers(environment, settings.audience)
    exponents = {code: entry["exponent"] for code, entry in environment["currencies"].items()}
    messages = Messages(Path(settings.schema_file).read_bytes(), exponents)
    store = Store(settings.database_url, settings.ledger_url)
    opa: list[aiohttp.ClientSession] = []

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await store.open()
        connector = aiohttp.TCPConnector(limit=OPA_CONNECTIONS)
        async with aiohttp.ClientSession(settings.opa_url, connector=connector) as session:
            opa.append(session)
            yield
        await store.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    async def decide(document: dict[str, Any]) -> None:
        body = orjson.dumps({"input": {"items": [document]}})
        async with opa[0].post(DECISIONS, data=body, headers={"content-type": "application/json"}) as response:
            decision = orjson.loads(await response.read())["result"]["0"]
        if decision["allow"] is not True:
            raise HTTPException(422, ",".join(decision["reasons"]))

    @app.post("/v1/instructions")
    async def create(request: Request) -> Response:
        now = datetime.now(UTC)
        caller = callers.verify(request.headers.get("authorization", ""), request.scope["extensions"]["tls.peer_der"])
        key = request.headers.get("idempotency-key", "")
        raw = await request.body()
        if not 1 <= len(key) <= 64 or request.headers.get("content-type") != "application/xml":
            raise HTTPException(400, "headers")
        instruction = messages.read(raw)
        if instruction["instructing_agent"] not in caller.participant["agents"]:
            raise HTTPException(403, "agent")
        rail = business_context(settings.sidecar, environment["calendars"], now)
        document = _decision_input(settings, caller.participant["id"], caller.client_id, instruction, rail, now)
        await decide(document)
        caps = {**environment["caps"], **caller.participant.get("caps", {})}
        ids = await store.record(Recorded(
            caller, instruction, orjson.dumps(document), raw, hashlib.sha256(raw).hexdigest(), key, str(uuid.uuid4()),
            rfc3339(now), rail["business_date"], settings.policy_digest, caps[instruction["currency"]],
        ))  # fmt: skip
        body = [{**ids, "state": "SUCCEEDED", "received_at": rfc3339(now), "policy_checksum": settings.policy_digest}]
        return Response(orjson.dumps(body), 202, media_type="application/json")

    return app


def _decision_input(
    settings: Settings, participant: str, client: str, instruction: dict[str, Any], rail: dict[str, Any], now: datetime
) -> dict[str, Any]:
    return {
        "schema": "symphony.decision_input/1", "environment": settings.environment["environment"],
        "service": "reference-rail", "release_number": 1, "decision_time": rfc3339(now), "rail": rail,
        "participant_id": participant, "identity": {"client_id": client, "pop_mode": "mtls", "db_role": "ingest"},
        "usage": {"day": rail["business_date"], "value_minor": 0, "count": 0, "as_of": rfc3339(now)},
        "instruction": instruction,
    }  # fmt: skip
