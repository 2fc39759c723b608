"""What a sidecar remembers for good: the highest release, revocations, spent tokens (SEC-08, SEC-09, ATT-08, INV-023)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.sidecar.rows import KAFUE, NONE, STREAM, ZONE, Bench, Row, attestation, refusal, says

A, B = "a" * 64, "b" * 64


def test_a_release_is_accepted_upwards_only(bench: Bench) -> None:
    """Anti-rollback (design section 4): SY002 for a lower number, and for another content of the same."""
    assert bench.executor.call("highest_release") == {"number": None, "metadata_digest": None}
    bench.executor.call("accept_release", 3, A)
    bench.executor.call("accept_release", 3, A)
    for number, digest in ((2, A), (2, B), (3, B)):
        assert refusal(bench.executor.call, "accept_release", number, digest).sqlstate == "SY002"
    bench.executor.call("accept_release", 5, B)
    assert refusal(bench.executor.call, "accept_release", 4, A).sqlstate == "SY002"
    assert bench.executor.call("highest_release") == {"number": 5, "metadata_digest": B}
    assert bench.admin.do("SELECT number FROM symphony.accepted_releases ORDER BY 1") == [(3,), (5,)]


@pytest.mark.parametrize(("number", "digest", "constraint"), [
    (0, A, "accepted_releases_number_check"), (1, "", "accepted_releases_metadata_digest_check"),
    (1, "A" * 64, "accepted_releases_metadata_digest_check"),
])  # fmt: skip
def test_a_release_has_a_number_and_a_digest(bench: Bench, number: int, digest: str, constraint: str) -> None:
    """POL-02."""
    assert says(refusal(bench.executor.call, "accept_release", number, digest)) == ("23514", constraint)
    assert bench.count("accepted_releases") == 0


@pytest.mark.parametrize(("second", "kept"), [((3, B), [(3, A)]), ((2, B), [(3, A)]), ((3, A), [(3, A)]), ((4, B), [(3, A), (4, B)])])
def test_two_that_accept_at_once_accept_one_history(bench: Bench, second: tuple[int, str], kept: list[Any]) -> None:
    """Anti-rollback: the second waits for the first, and is held to it."""
    ends: list[Any] = []
    other = bench.another("symphony_executor")

    def accept() -> None:
        try:
            other.call("accept_release", *second)
        except psycopg.Error as error:
            ends.append(error.sqlstate)

    with bench.executor.open():
        bench.executor.within("accept_release", 3, A)
        thread = threading.Thread(target=accept)
        thread.start()
        thread.join(0.2)
    thread.join(10)
    assert bench.admin.do("SELECT number, metadata_digest FROM symphony.accepted_releases ORDER BY 1") == kept
    assert ends == ([] if second in kept else ["SY002"])


def entry(id_: str = KAFUE, kind: str = "participant", until: datetime | None = None, **changes: Any) -> Row:
    end = None if until is None else until.isoformat()
    return {"kind": kind, "id": id_, "reason": "KEY_COMPROMISE", "revoked_at": "2026-01-01T00:00:00Z", "until": end, **changes}


def revoked(bench: Bench, **asked: str) -> list[Any]:
    answer = bench.ingest.call("judge_batch", STREAM, 1, ZONE, [{"n": 0, **(asked or {"participant": KAFUE})}], NONE)
    return list(answer["revoked"])


def test_revocations_only_grow(bench: Bench) -> None:
    """SEC-08, INV-023: a known entry stays as it was first received; a list that lost one takes nothing back."""
    assert bench.executor.call("add_revocations", 1, [entry("x"), entry("y")]) == 2
    assert bench.executor.call("add_revocations", 2, [entry("y", reason="OTHER"), entry("z")]) == 1
    assert bench.executor.call("add_revocations", 3, NONE) == 0
    rows = bench.admin.do("SELECT id, reason_code, list_version FROM symphony.revocations ORDER BY id")
    assert rows == [("x", "KEY_COMPROMISE", 1), ("y", "KEY_COMPROMISE", 1), ("z", "KEY_COMPROMISE", 2)]


def test_what_is_revoked_is_refused_in_the_commit_that_would_accept(bench: Bench) -> None:
    """SEC-09, NEG-19, INV-023: certificate, token key and participant; each only as its own kind."""
    bench.executor.call("add_revocations", 1, [entry("c", "certificate"), entry("k", "token_key"), entry()])
    assert revoked(bench, certificate="c", token_key="k", participant="x") == [[0, "certificate"], [0, "token_key"]]
    assert revoked(bench, certificate="k", token_key="c", participant=KAFUE) == [[0, "participant"]]
    assert revoked(bench, certificate="other") == []


def test_a_revocation_ends_at_its_end_and_a_later_end_holds(bench: Bench) -> None:
    """SEC-08, SEC-09: of two entries for one id the later end holds, and no end wins; the table keeps both."""
    now = datetime.now(UTC)
    past, future = now - timedelta(hours=1), now + timedelta(hours=1)
    bench.executor.call("add_revocations", 1, [entry(until=past)])
    assert revoked(bench) == []
    bench.executor.call("add_revocations", 2, [entry(until=past), entry(until=future)])
    assert revoked(bench) == [[0, "participant"]]
    assert bench.executor.call("add_revocations", 3, [entry(until=past), entry(until=future), entry()]) == 1
    assert bench.executor.call("add_revocations", 4, [entry(), entry()]) == 0
    assert revoked(bench) == [[0, "participant"]]
    assert bench.count("revocations") == 3


def test_the_certificates_that_are_revoked_are_a_view(bench: Bench) -> None:
    """SEC-08: ``revoked_client_certs``."""
    bench.executor.call("add_revocations", 7, [entry("f" * 64, "certificate"), entry()])
    rows = bench.reader.do("SELECT cert_fingerprint_sha256, reason_code, list_version FROM symphony.revoked_client_certs")
    assert rows == [("f" * 64, "KEY_COMPROMISE", 7)]


@pytest.mark.parametrize("change", [{"kind": "weather"}, {"id": None}, {"reason": None}, {"revoked_at": None}], ids=str)
def test_a_list_with_one_broken_entry_adds_nothing(bench: Bench, change: Row) -> None:
    """SEC-08: all or nothing."""
    assert refusal(bench.executor.call, "add_revocations", 1, [entry("x"), entry("y", **change)]).sqlstate in {"23514", "23502"}
    assert bench.count("revocations") == 0


def spend(bench: Bench, number: int, expires: datetime) -> str:
    message = attestation(tenant_seq_no=number, jti_day=expires.date().isoformat(), jti_expires_at=expires.isoformat())
    bench.record([message])
    return str(message["jti_hash"])


def test_only_tokens_that_are_long_expired_are_forgotten(bench: Bench) -> None:
    """ATT-08, ATT-07: a live one, one of today and one of yesterday stay, and stay spent."""
    now = datetime.now(UTC)
    ages = [timedelta(minutes=5), timedelta(0), timedelta(days=-1), timedelta(days=-3), timedelta(days=-9)]
    hashes = [spend(bench, number, now + age) for number, age in enumerate(ages, 1)]
    assert bench.executor.call("purge_seen_jti", 1) == 1
    assert bench.executor.call("purge_seen_jti", 100) == 1
    assert bench.executor.call("purge_seen_jti", 100) == 0
    kept = {row[0] for row in bench.admin.do("SELECT jti_hash FROM symphony.seen_jti")}
    assert kept == set(hashes[:3])
    asked = [{"n": n, "jti_hash": hashes[n], "jti_day": (now + ages[n]).date().isoformat()} for n in range(5)]
    assert sorted(bench.ingest.call("judge_batch", STREAM, 1, ZONE, asked, NONE)["replayed"]) == [0, 1, 2]


def test_the_replay_memory_holds_hashes_and_no_token(bench: Bench) -> None:
    """ATT-08, INV-024: these columns, and unique on expiry day and hash."""
    rows = bench.admin.do("SELECT attname FROM pg_attribute WHERE attrelid = 'symphony.seen_jti'::regclass AND attnum > 0 ORDER BY attnum")
    assert [row[0] for row in rows] == ["expires_day", "jti_hash", "tenant_id", "first_seen_at_utc", "expires_at_utc"]
