"""What the control plane takes of a stock OPA's reports, and what it refuses: no payload stays, every bound holds."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import Any, LiteralString

import orjson
import psycopg
import pytest
from psycopg import errors

from contracts.canonical import digest_of
from contracts.errors import Refused, SymphonyError
from controlplane.opa import reading, services
from symphony.release.client import ControlPlane
from tests.releases.running import Running
from tests.releases.support import SERVICE
from tests.support.database import Database

SECRET = "a payload that must not stay"
EVENT: dict[str, Any] = {
    "labels": {"id": "one", "version": "1.22.2"}, "decision_id": "d-1", "path": "symphony/payments/decisions",
    "bundles": {"symphony": {"revision": "r1"}}, "timestamp": "2026-11-27T10:00:00.123456789Z",
    "input": {"items": [{"iban": SECRET}]}, "requested_by": SECRET,
    "result": {"0": {"allow": True, "reasons": [SECRET]}, "1": {"allow": False}, "2": {"allow": "true"}},
}  # fmt: skip
STATUS: dict[str, Any] = {
    "labels": {"id": "one", "version": "1.22.2", "service": "somebody-else"},
    "bundles": {"symphony": {"name": "symphony", "active_revision": "r1", "code": "bundle_error", "message": "a\x00b",
                             "last_successful_activation": "2026-11-27T10:00:00Z"}},
    "metrics": {"prometheus": {"go_goroutines": 1}},
}  # fmt: skip


def log(*events: Any) -> bytes:
    """A decision log as OPA sends it."""
    return gzip.compress(json.dumps(list(events)).encode())


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        pytest.param(b"[", "", id="no JSON"),
        pytest.param(b"{}", "", id="no list"),
        pytest.param(b"[]", "", id="no decision"),
        pytest.param(b"[1]", "", id="no object"),
        pytest.param(log(EVENT), "", id="gzip that does not say so"),
        pytest.param(log(EVENT)[:-9], "gzip", id="cut short"),
        pytest.param(log(EVENT) + b"x", "gzip", id="something behind it"),
        pytest.param(log(EVENT) + log(EVENT), "gzip", id="two members"),
        pytest.param(log(EVENT), "br", id="another encoding"),
        pytest.param(b"\x1f\x8b" + b"0" * 40, "gzip", id="no gzip"),
        pytest.param(gzip.compress(b"[" * 100_000), "gzip", id="too deep"),
        pytest.param(b'[{"decision_id":"a","decision_id":"b"}]', "", id="a duplicate key"),
        pytest.param(log(*[EVENT] * (reading.DECISIONS_MAX + 1)), "gzip", id="too many"),
    ],
)
def test_a_decision_log_that_is_none_or_over_a_bound_is_refused(body: bytes, encoding: str) -> None:
    with pytest.raises(Refused) as error:
        reading.decisions_of(body, encoding)
    assert error.value.code == "REQUEST_INVALID"


def test_a_bomb_is_cut_off_where_it_passes_the_bound() -> None:
    bomb = gzip.compress(b" " * (8 * reading.LOG_PLAIN_BYTES_MAX), compresslevel=1)
    assert len(bomb) < reading.LOG_BYTES_MAX
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match="out of gzip"):
            reading.decisions_of(bomb, "gzip")
        assert tracemalloc.get_traced_memory()[1] < 4 * reading.LOG_PLAIN_BYTES_MAX
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "change",
    [
        {"decision_id": None}, {"decision_id": "a\x00"}, {"decision_id": "x" * 65}, {"labels": {}}, {"labels": "one"},
        {"labels": {"id": "\ud800"}}, {"timestamp": None}, {"timestamp": "yesterday"}, {"timestamp": 1},
        {"timestamp": "2026-11-27T10:00:00"}, {"input": {"sha256": SECRET}}, {"bundles": []}, {"bundles": {"symphony": 1}},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_a_decision_out_of_shape_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Refused) as error:
        reading.decisions_of(json.dumps([{**EVENT, **change}]).encode(), "")
    assert error.value.code == "REQUEST_INVALID"


def test_of_a_decision_only_counts_and_digests_are_read() -> None:
    (one,) = reading.decisions_of(log(EVENT), "gzip")
    assert SECRET not in repr(one)
    assert (one.allowed, one.denied, one.failed, one.revision) == (1, 2, False, "r1")
    assert (one.input_sha256, one.input_masked) == (digest_of(EVENT["input"]), False)
    masked = {**EVENT, "input": {"sha256": "ab" * 32}, "error": {"code": SECRET}, "result": None}
    (one,) = reading.decisions_of(log(masked), "gzip")
    assert (one.input_sha256, one.input_masked, one.failed, one.allowed + one.denied) == ("ab" * 32, True, True, 0)
    assert SECRET not in repr(one)
    half = {**EVENT, "input": {"sha256": "ab" * 32, "iban": SECRET}}
    (one,) = reading.decisions_of(log(half), "gzip")
    assert (one.input_sha256, one.input_masked) == (digest_of(half["input"]), False)


def test_a_status_is_read_without_what_cannot_be_shown() -> None:
    status = reading.status_of(STATUS)
    assert (status.bundle_code, status.bundle_message, status.active_revision) == ("bundle_error", "a b", "r1")
    assert status.activated_at is not None
    never = {"labels": {"id": "one"}, "bundles": {"symphony": {"last_successful_activation": "0001-01-01T00:00:00Z"}}}
    assert reading.status_of(never).activated_at is None


@pytest.mark.parametrize("result", [True, {"allow": True}, {"0": {"allow": True}}], ids=["bare", "one", "by index"])
def test_an_allow_is_counted_in_each_form_of_a_result(result: Any) -> None:
    (one,) = reading.decisions_of(log({**EVENT, "result": result}), "gzip")
    assert (one.allowed, one.denied) == (1, 0)


@pytest.mark.parametrize("result", [None, 1, {}, {"0": {"reasons": []}}, ["allow"]], ids=json.dumps)
def test_a_result_without_a_verdict_counts_as_none(result: Any) -> None:
    (one,) = reading.decisions_of(log({**EVENT, "result": result}), "gzip")
    assert (one.allowed, one.denied) == (0, 0)


def test_an_input_without_a_canonical_form_has_no_digest_and_is_dropped() -> None:
    (one,) = reading.decisions_of(log({**EVENT, "input": {"amount": 2**53 + 1, "iban": SECRET}}), "gzip")
    assert (one.input_sha256, one.input_masked) == (None, False)
    assert SECRET not in repr(one)


class Sender(ControlPlane):
    """A client that sends bytes as they are."""

    def send(self, path: str, body: bytes) -> Any:
        """Post bytes; the JSON answer."""
        answer = self._call("POST", path, body)
        return orjson.loads(answer) if answer else None


def service(running: Running, name: str = SERVICE) -> Sender:
    """A service's client."""
    return Sender(running.url, running.service_context(name))


def test_a_service_speaks_for_itself_only_and_nothing_of_a_payload_is_kept(running: Running) -> None:
    alice, plain = running.control("alice"), json.dumps([EVENT]).encode()
    for path, body in (("status", orjson.dumps({})), ("logs", plain)):
        with pytest.raises(SymphonyError) as error:
            Sender(running.url, alice._context).send(f"/v1/opa/{path}", body)
        assert error.value.code == "OFFICER_UNKNOWN"
    for path in ("status", f"decisions/{SERVICE}"):
        with pytest.raises(SymphonyError) as error:
            service(running).get(f"/v1/opa/{path}")
        assert error.value.code == "OFFICER_UNKNOWN"

    assert service(running).send("/v1/opa/logs", plain) == {"new": 1}
    assert service(running).send("/v1/opa/logs", plain) == {"new": 0}
    service(running).post("/v1/opa/status", STATUS)
    service(running).post("/v1/opa/status", STATUS)
    assert service(running, "core-ledger").send("/v1/opa/logs", plain) == {"new": 1}

    (kept,) = alice.get(f"/v1/opa/decisions/{SERVICE}")["decisions"]
    assert (kept["decision_id"], kept["allowed"], kept["denied"], kept["input_masked"]) == ("d-1", 1, 2, False)
    (server,) = alice.get("/v1/opa/status")["servers"]
    assert (server["service"], server["active_revision"], server["bundle_message"]) == (SERVICE, "r1", "a b")
    assert alice.get("/v1/opa/status")["desired_revision"] is None
    for body in ({**STATUS, "labels": {"id": "\x00"}}, {**STATUS, "bundles": None}):
        with pytest.raises(SymphonyError, match="REQUEST_INVALID"):
            service(running).post("/v1/opa/status", body)


def test_a_service_over_its_rate_is_told_to_come_later(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "DECISIONS_PER_MINUTE_MAX", 2)
    monkeypatch.setattr(services, "CHANGES_PER_HOUR_MAX", 1)
    two = [{**EVENT, "decision_id": name} for name in ("a", "b")]
    assert service(running).post("/v1/opa/logs", two) == {"new": 2}
    service(running).post("/v1/opa/status", STATUS)
    changed = {**STATUS, "labels": {"id": "two", "version": "1"}}
    for path, body in (("logs", [{**EVENT, "decision_id": "c"}]), ("status", changed)):
        with pytest.raises(SymphonyError) as error:
            service(running).post(f"/v1/opa/{path}", body)
        assert (error.value.code, error.value.reason.http) == ("OVERLOADED", 503)
    service(running).post("/v1/opa/status", STATUS)
    assert service(running, "core-ledger").post("/v1/opa/logs", two) == {"new": 2}
    assert len(running.control("alice").get(f"/v1/opa/decisions/{SERVICE}")["decisions"]) == 2


KEPT: dict[LiteralString, LiteralString] = {
    "opa_status_events": "(service, instance, environment, version) VALUES ('s', 'i', 'sandbox', '1')",
    "opa_uploads": "(service, environment, decisions) VALUES ('s', 'sandbox', 1)",
    "opa_decisions": "(service, decision_id, upload_id, instance, path, input_masked, allowed, denied, failed, decided_at)"
    " SELECT 's', 'd', upload_id, 'i', '', true, 0, 0, false, now() FROM symphony.opa_uploads",
}


@pytest.mark.needs_schema("controlplane", 5)
def test_what_an_opa_reported_is_never_changed(database: Database) -> None:
    with psycopg.connect(database.owner, autocommit=True) as connection:
        for table, row in KEPT.items():
            connection.execute(f"INSERT INTO symphony.{table} {row}")
            for change in (
                "UPDATE symphony.{} SET service = 'x'",
                "DELETE FROM symphony.{}",
                "TRUNCATE symphony.{} CASCADE",
            ):
                with pytest.raises(errors.InsufficientPrivilege, match="is append-only"):
                    connection.execute(change.format(table).encode())
