"""Intake over real mTLS: what is taken, what is refused, and that a refusal stores nothing (EVD-01, EVD-08)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from contracts import evidence, keys
from contracts.canonical import canonical_bytes
from tests.evidence.support import ENVIRONMENT, Plane, Sidecar, decoded


def refused(answer: Any, code: str) -> dict[str, Any]:
    body = answer.json()
    assert (answer.headers["content-type"], body["reason_code"]) == ("application/problem+json", code), body
    assert body["status"] == answer.status_code
    return body


def logged(plane: Plane, sidecar: Sidecar) -> list[bytes]:
    found = []
    for seq in range(1, len(sidecar.records) + 1):
        answer = plane.client.get(f"/v1/evidence/records/{sidecar.name}/{seq}")
        if answer.status_code == 200:
            found.append(base64.b64decode(answer.json()["record"]))
    return found


def test_batches_are_logged_in_order_byte_for_byte(plane: Plane, sidecar: Sidecar) -> None:
    for count in (1, 3, 2):
        sidecar.plain(count)
        answer = plane.send(sidecar.seal())
        assert (answer.status_code, answer.json()) == (200, {"last_seq": len(sidecar.records)})
    assert logged(plane, sidecar) == sidecar.records


def test_the_same_bytes_again_are_answered_as_before_and_logged_once(plane: Plane, sidecar: Sidecar) -> None:
    """The shipper was killed between sealing and marking shipped: it sends the same bytes again."""
    sidecar.plain(3)
    body = sidecar.seal()
    first, size = plane.send(body), plane.size()
    for _ in range(3):
        assert plane.send(body).json() == first.json()
    sidecar.plain(1)
    later = sidecar.seal()
    assert plane.send(later).json() == {"last_seq": 4}
    assert plane.send(body).json() == {"last_seq": 4}
    plane.checkpoint(size=size + 1)
    assert logged(plane, sidecar) == sidecar.records


def test_a_gap_names_the_last_number(plane: Plane, sidecar: Sidecar) -> None:
    sidecar.plain(2)
    plane.send(sidecar.seal())
    sidecar.plain(2)
    missing = sidecar.seal()
    sidecar.plain(1)
    body = refused(plane.send(sidecar.seal()), "BATCH_GAP")
    assert body["last_seq"] == 2
    assert plane.send(missing).status_code == 200


@pytest.mark.parametrize("how", ["same range", "overlap", "inside", "shorter"])
def test_other_bytes_for_a_range_that_is_there_are_a_fork(plane: Plane, sidecar: Sidecar, how: str) -> None:
    sidecar.plain(4)
    plane.send(sidecar.seal())
    first = {"same range": 1, "overlap": 3, "inside": 2, "shorter": 1}[how]
    count = {"same range": 4, "overlap": 4, "inside": 2, "shorter": 2}[how]
    records = [_record(sidecar, first + offset, number=99) for offset in range(count)]
    refused(plane.send(_sealed(sidecar, records, first_seq=first)), "BATCH_FORKED")
    assert logged(plane, sidecar) == sidecar.records


def test_another_predecessor_or_an_older_epoch_is_a_fork(plane: Plane, sidecar: Sidecar) -> None:
    sidecar.epoch = 5
    sidecar.plain(1)
    plane.send(sidecar.seal())
    records = [_record(sidecar, 2)]
    other = _sealed(sidecar, records, first_seq=2, previous_batch_sha256="ab" * 32)
    refused(plane.send(other), "BATCH_FORKED")
    older = _sealed(sidecar, records, first_seq=2, previous_batch_sha256=sidecar.previous, epoch=4)
    refused(plane.send(older), "BATCH_FORKED")


def test_a_stranger_an_unlisted_key_and_the_own_stream_are_refused(plane: Plane, sidecar: Sidecar) -> None:
    stranger = Sidecar("nobody")
    stranger.plain(1)
    refused(plane.send(stranger.seal()), "STREAM_UNKNOWN")
    unlisted = Sidecar(sidecar.name)
    unlisted.plain(1)
    refused(plane.send(unlisted.seal()), "STREAM_UNKNOWN")
    refused(plane.beat(unlisted.heartbeat()), "STREAM_UNKNOWN")
    own = Sidecar("controlplane", key=sidecar.key)
    own.plain(1)
    refused(plane.send(own.seal()), "STREAM_UNKNOWN")


def test_one_sidecar_does_not_sign_for_another(plane: Plane, sidecar: Sidecar) -> None:
    other = Sidecar("rail-79", key=sidecar.key)
    other.plain(1)
    refused(plane.send(other.seal()), "STREAM_UNKNOWN")


def test_the_writers_of_a_sidecar_have_streams_of_their_own(plane: Plane, sidecar: Sidecar) -> None:
    shard = Sidecar(f"{sidecar.name}:2", key=sidecar.key)
    shard.plain(1)
    assert plane.send(shard.seal()).json() == {"last_seq": 1}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda body: body | {"signature": "00" * 64}, "BATCH_SIGNATURE"),
        (lambda body: body | {"records": body["records"][::-1]}, "BATCH_SIGNATURE"),
        (lambda body: body | {"records": body["records"][:-1]}, "REQUEST_INVALID"),
        (lambda body: body | {"records": [*body["records"], body["records"][0]]}, "REQUEST_INVALID"),
        (lambda body: body | {"records": [*body["records"][:-1], base64.b64encode(b"{}").decode()]},
         "BATCH_SIGNATURE"),
        (lambda body: body | {"records": "x"}, "REQUEST_INVALID"),
        (lambda body: body | {"records": ["%"] * 3}, "REQUEST_INVALID"),
        (lambda body: body | {"signature": 1}, "REQUEST_INVALID"),
        (lambda body: body | {"signature": "zz"}, "REQUEST_INVALID"),
        (lambda body: body | {"batch": "!"}, "REQUEST_INVALID"),
        (lambda body: body | {"batch": base64.b64encode(b"[]").decode()}, "REQUEST_INVALID"),
        (lambda _body: {}, "REQUEST_INVALID"),
    ],
)  # fmt: skip
def test_a_batch_that_does_not_hold_is_refused_and_not_stored(
    plane: Plane, sidecar: Sidecar, change: Callable[[dict[str, Any]], dict[str, Any]], code: str
) -> None:
    sidecar.plain(3)
    body = sidecar.seal()
    refused(plane.send(change(body)), code)
    assert logged(plane, sidecar) == []
    assert plane.send(body).status_code == 200


@pytest.mark.parametrize("fault", ["stream", "environment", "seq", "schema", "not canonical", "secret", "too large"])
def test_records_that_do_not_belong_are_refused_though_signed(plane: Plane, sidecar: Sidecar, fault: str) -> None:
    document = json.loads(_record(sidecar, 1))
    document |= {
        "stream": {"stream": "other"}, "environment": {"environment": "production"}, "seq": {"seq": 2},
        "schema": {"schema": "x"}, "secret": {"pan": "4111"}, "too large": {"text": "x" * 300_000},
    }.get(fault, {})  # fmt: skip
    data = json.dumps(document).encode() if fault == "not canonical" else _canonical(document)
    answer = plane.send(_sealed(sidecar, [data], first_seq=1))
    assert answer.status_code == 400
    assert answer.json()["reason_code"] in ("REQUEST_INVALID", "BATCH_SIGNATURE")
    assert plane.client.get(f"/v1/evidence/records/{sidecar.name}/1").status_code == 404


def test_another_environments_batch_is_refused(plane: Plane, sidecar: Sidecar) -> None:
    data = _record(sidecar, 1)
    refused(plane.send(_sealed(sidecar, [data], first_seq=1, environment="production")), "STREAM_UNKNOWN")


def test_a_body_over_its_bound_is_refused(plane: Plane) -> None:
    refused(plane.client.post("/v1/evidence/heartbeats", content=b"x" * 9000), "REQUEST_INVALID")
    refused(plane.client.post("/v1/evidence/batches", content=b"[1]"), "REQUEST_INVALID")


def test_a_heartbeat_says_what_is_logged_and_never_lowers_a_counter(plane: Plane, sidecar: Sidecar) -> None:
    assert plane.beat(sidecar.heartbeat()).json() == {"last_seq": 0}
    sidecar.plain(4)
    plane.send(sidecar.seal())
    assert plane.beat(sidecar.heartbeat(9)).json() == {"last_seq": 4}
    assert plane.beat(sidecar.heartbeat(2)).json() == {"last_seq": 4}
    rows = plane.client.get("/v1/evidence/streams").json()["streams"]
    found = next(row for row in rows if row["stream"] == sidecar.name)
    assert (found["last_seq"], found["signed_seq"]) == (4, 9)


def test_a_changed_heartbeat_is_refused(plane: Plane, sidecar: Sidecar) -> None:
    body = sidecar.heartbeat(1)
    refused(plane.beat(body | {"signature": sidecar.heartbeat(2)["signature"]}), "BATCH_SIGNATURE")


def test_records_of_an_instruction_are_found(plane: Plane, sidecar: Sidecar) -> None:
    sidecar.payment("i-42")
    sidecar.payment("i-43")
    plane.send(sidecar.seal())
    found = plane.client.get("/v1/evidence/instructions/i-42").json()["records"]
    assert [item["kind"] for item in found] == ["attestation", "attempt", "attempt"]
    assert [base64.b64decode(item["record"]) for item in found] == sidecar.records[:3]


def test_ten_thousand_records_are_appended(plane: Plane, sidecar: Sidecar) -> None:
    for _ in range(5):
        sidecar.plain(2000)
        assert plane.send(sidecar.seal()).status_code == 200
    assert plane.beat(sidecar.heartbeat()).json() == {"last_seq": 10_000}


def _record(sidecar: Sidecar, seq: int, **fields: Any) -> bytes:
    return evidence.record(
        "shipping", environment=ENVIRONMENT, service=sidecar.name, stream=sidecar.name, seq=seq,
        recorded_at="2026-11-24T10:00:00.000000Z", **fields,
    )  # fmt: skip


def _sealed(sidecar: Sidecar, records: list[bytes], **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "environment": ENVIRONMENT, "stream": sidecar.name, "epoch": sidecar.epoch, "first_seq": 1,
        "leaves": [evidence.leaf(item) for item in records], "sealed_at": "2026-11-24T10:00:01.000000Z",
        "previous_batch_sha256": None if changes.get("first_seq", 1) == 1 else "00" * 31 + "01",
    }  # fmt: skip
    sealed = evidence.seal(sidecar.key, keys.key_id_of(sidecar.key), **(arguments | changes))
    body = {**sealed.envelope(), "records": [base64.b64encode(item).decode() for item in records]}
    assert decoded(body)["stream"] == sidecar.name
    return body


def _canonical(document: dict[str, Any]) -> bytes:
    return canonical_bytes(document)
