"""A broken invariant of the sidecar's database while payments come: refused, shown, mended, and not one is lost or twice."""

from __future__ import annotations

import json
import os
import signal
import ssl
import uuid
from collections.abc import Callable

import httpx
import psycopg
import pytest

from symphony.stack import prepare
from tests.e2e.support import Stack, message, until

INTERVAL_S = 0.2
GUARD = "trg_deny_outbox_attempts_mutation"
ATTEMPTS = "symphony.payment_outbox_attempts"
POSTED = "SELECT count(*) AS n, count(DISTINCT instruction_id) AS once FROM ledger.postings WHERE purpose = 'post'"


@pytest.fixture
def halting(new_stack: Callable[..., Stack]) -> Stack:
    """A stack of its own whose writer asks often."""
    stack = new_stack("halting")
    path = stack.layout.folder / "sidecar" / "writer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"runtime_check_interval_s": INTERVAL_S}))
    restart(stack)
    until(lambda: stack.json("doctor")["ok"], what="a ready stack")
    return stack


def restart(stack: Stack) -> None:
    """The writer, by the supervisor."""
    pid = stack.pid("writer")
    os.kill(pid, signal.SIGTERM)
    until(lambda: stack.pid("writer") != pid, what="the restart")


def as_superuser(stack: Stack, statement: str) -> list[tuple[str]]:
    """What an operator, or an intruder, does."""
    with psycopg.connect(prepare.database(stack.layout).admin_url(prepare.DATABASES["sidecar"]), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def ready(stack: Stack) -> httpx.Response:
    """The acceptor's own word, over TLS."""
    context = ssl.create_default_context(cafile=str(stack.layout.ca))
    return httpx.get(f"{stack.layout.url('acceptor')}/health/ready", verify=context)


def refused(stack: Stack, key: str) -> httpx.Response:
    """A payment that is refused, as HTTP."""
    client = stack.participant()
    headers = {"authorization": f"Bearer {client.token()}", "idempotency-key": key, "content-type": "application/xml"}
    answer: httpx.Response = client._client.post("/v1/instructions", headers=headers, content=message())
    return answer


def sent(stack: Stack, key: str) -> list[str]:
    """The ids of an accepted payment; a 503 of an acceptor that is behind its writer is asked again under the same key."""
    body = message()
    return list(until(lambda: stack.submit(body, key=key).accepted, what="an accepted payment"))


@pytest.mark.timeout(300)
def test_a_dropped_trigger_halts_the_sidecar_and_recreated_it_goes_on(halting: Stack) -> None:
    """PIL-05, INV-014: also across a restart, which refuses; afterwards each accepted payment is posted once."""
    accepted = [sent(halting, str(uuid.uuid4()))[0] for _ in range(5)]
    (definition,) = as_superuser(halting, f"SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = '{GUARD}' AND tgparentid = 0")[0]
    as_superuser(halting, f"DROP TRIGGER {GUARD} ON {ATTEMPTS}")
    until(lambda: "SERVICE_HALTED" in ready(halting).text, what="the halt")
    assert (ready(halting).status_code, ready(halting).text) == (503, "SERVICE_HALTED INV-014\n")
    key = str(uuid.uuid4())
    answer = refused(halting, key)
    assert (answer.status_code, answer.json()["reason_code"], answer.json()["detail"]) == (503, "SERVICE_HALTED", "INV-014")
    assert int(answer.headers["retry-after"]) >= 1
    part = next(part for part in halting.json("doctor", code=1)["parts"] if part["name"] == "acceptor")
    assert "SERVICE_HALTED INV-014" in part["detail"]
    assert f"symphony invariants check --dir {halting.folder}" in part["next_step"]
    said = halting.symphony("doctor", code=1).stdout
    assert "SERVICE_HALTED INV-014" in said
    assert "mend-a-halted-service.md" in said
    assert "INV-014" in halting.symphony("invariants", "check", "--only", "INV-014", code=1).stdout
    restart(halting)
    until(lambda: "RELEASE_INVARIANT" in (halting.folder / "sidecar" / "writer.log").read_text(), what="the refusal to start")
    until(lambda: halting.submit().status == 503, what="a refusal while the writer does not start")
    as_superuser(halting, definition)
    until(lambda: halting.json("doctor", code=None)["ok"], timeout_s=30, what="readiness after mending")
    accepted += sent(halting, key)  # the refused key was never used
    for instruction in accepted:
        assert halting.participant().wait(instruction)["state"] == "SUCCEEDED"
    assert len(accepted) == 6
    recorded = halting.row("sidecar", "SELECT count(*) AS n FROM symphony.payment_instructions")["n"]
    assert (recorded, halting.row("ledger", POSTED)) == (6, {"n": 6, "once": 6})
    assert halting.symphony("reconcile").returncode == 0
