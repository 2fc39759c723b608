"""The log over real mTLS: checkpoints, tiles and proofs agree with the records (D15, EVD-08)."""

from __future__ import annotations

import base64
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts import checkpoint, keys, merkle
from contracts.canonical import canonical_bytes
from contracts.errors import NotTrusted
from tests.evidence.support import ORIGIN, Plane, Sidecar


def leaves_of(plane: Plane, size: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < size:
        page = plane.client.get("/v1/evidence/records", params={"first_index": len(found), "limit": 1000}).json()
        found += [merkle.leaf_hash(base64.b64decode(item["record"])) for item in page["records"]]
    return found[:size]


def verified(plane: Plane, note: str) -> checkpoint.Checkpoint:
    return checkpoint.verify(note, origin=ORIGIN, public_key=keys.public_hex(plane.log_key))


def test_the_signed_root_is_the_root_over_all_records_as_batches_of_every_size_arrive(
    fresh: tuple[Plane, Sidecar],
) -> None:
    plane, sidecar = fresh
    plane.checkpoint(size=0)
    for count in (1, 2, 1, 5, 255, 1, 256, 3, 600, 1, 1000):
        before = verified(plane, plane.checkpoint(size=0))
        sidecar.plain(count)
        assert plane.send(sidecar.seal()).status_code == 200
        signed = verified(plane, plane.checkpoint(size=before.size + count))
        leaves = leaves_of(plane, signed.size)
        assert signed.root == merkle.root(leaves)
        answer = plane.client.get("/v1/log/consistency", params={"from": before.size or 1, "to": signed.size}).json()
        old_root = merkle.root(leaves[: before.size or 1])
        proof = [bytes.fromhex(item) for item in answer["proof"]]
        assert merkle.verify_consistency(before.size or 1, signed.size, old_root, signed.root, proof)
    for index in (0, 1, 255, 256, 257, 511, 512, 1023, 1024, signed.size - 1):
        answer = plane.client.get("/v1/log/proof", params={"index": index, "size": signed.size}).json()
        proof = [bytes.fromhex(item) for item in answer["proof"]]
        assert merkle.verify_inclusion(bytes.fromhex(answer["leaf_hash"]), index, signed.size, proof, signed.root)
        assert bytes.fromhex(answer["leaf_hash"]) == leaves[index]
    _check_tiles(plane, leaves)


def test_streams_that_arrive_at_once_and_twice_make_one_tree(fresh: tuple[Plane, Sidecar]) -> None:
    """Each body is sent twice, eight streams at the same time: one lock gives out the indices, each once."""
    plane, sidecar = fresh
    shards = [Sidecar(f"rail:{number}", key=sidecar.key) for number in range(8)]
    before = plane.size()

    def ship(shard: Sidecar) -> list[int]:
        statuses = []
        for count in (3, 1, 7):
            shard.plain(count)
            body = shard.seal()
            with ThreadPoolExecutor(2) as twice:
                statuses += [answer.status_code for answer in twice.map(plane.send, [body, body])]
        return statuses

    with ThreadPoolExecutor(8) as pool:
        assert {status for statuses in pool.map(ship, shards) for status in statuses} == {200}
    signed = verified(plane, plane.checkpoint(size=before + 8 * 11))
    assert signed.size == before + 8 * 11
    assert signed.root == merkle.root(leaves_of(plane, signed.size))


def _check_tiles(plane: Plane, leaves: list[bytes]) -> None:
    full, rest = divmod(len(leaves), 256)
    tops = []
    for index in range(full):
        answer = plane.client.get(f"/log/tile/0/{index:03d}")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.content == b"".join(leaves[index * 256 : index * 256 + 256])
        tops.append(merkle.root(leaves[index * 256 : index * 256 + 256]))
    assert plane.client.get(f"/log/tile/0/{full:03d}.p/{rest}").content == b"".join(leaves[full * 256 :])
    assert plane.client.get(f"/log/tile/1/000.p/{full}").content == b"".join(tops)


@pytest.mark.parametrize(
    "path",
    ["0/x001", "0/1", "64/000", "00/000", "0/000.p/0", "0/000.p/256", "0/000.p/01", "0/999", "9/000", "0/x999/999",
     "-1/000", "entries/000", "0/000/000"],
)  # fmt: skip
def test_what_is_no_tile_is_not_found(plane: Plane, path: str) -> None:
    assert plane.client.get(f"/log/tile/{path}").status_code == 404


def test_a_checkpoint_comes_within_a_second_and_binds_every_streams_counters(
    fresh: tuple[Plane, Sidecar],
) -> None:
    plane, sidecar = fresh
    size = plane.size()
    sidecar.plain(4)
    plane.send(sidecar.seal())
    started = time.monotonic()
    plane.checkpoint(size=size + 4)
    assert time.monotonic() - started < 15
    plane.beat(sidecar.heartbeat(7))
    counters = {"controlplane": {"logged": size, "signed": size}, "rail": {"logged": 4, "signed": 7}}
    assert size >= 4, "root, targets, the release's role and the snapshot are leaves"
    expected = hashlib.sha256(canonical_bytes(counters)).hexdigest()
    end = time.monotonic() + 3
    while (found := verified(plane, plane.checkpoint(size=0))).streams_sha256 != expected:
        assert time.monotonic() < end, found
        time.sleep(0.05)


def test_every_version_of_every_tuf_role_is_a_leaf_once(fresh: tuple[Plane, Sidecar]) -> None:
    plane, _ = fresh
    with psycopg.connect(plane.database.reader, autocommit=True) as connection:
        connection.execute("SET ROLE symphony_control_reader")
        logged = connection.execute("SELECT role, version, sha256 FROM symphony.log_release_metadata").fetchall()
        published = connection.execute("SELECT role, version, sha256 FROM symphony.tuf_metadata").fetchall()
    assert {("root", 1), ("targets", 1)} <= {(role, version) for role, version, _ in logged}
    assert set(logged) <= set(published)


def test_a_checkpoint_of_another_key_origin_or_text_is_refused(plane: Plane) -> None:
    note = plane.checkpoint(size=1)
    public = keys.public_hex(plane.log_key)
    text, _, tail = note.rpartition("\n\n")
    with pytest.raises(NotTrusted):
        checkpoint.verify(note, origin=ORIGIN, public_key=keys.public_hex(Ed25519PrivateKey.generate()))
    with pytest.raises(NotTrusted):
        checkpoint.verify(note, origin="log.test/other", public_key=public)
    for changed in (text + "\nextra\n\n" + tail, text + "\n\n", text, note + "x", note.replace("\n", "\r\n"), ""):
        with pytest.raises(NotTrusted):
            checkpoint.verify(changed, origin=ORIGIN, public_key=public)


def test_a_line_of_a_witness_is_passed_over(plane: Plane) -> None:
    note = plane.checkpoint(size=1)
    witness = base64.b64encode(bytes(76)).decode()
    cosigned = note + f"\u2014 witness.test {witness}\n"
    assert verified(plane, cosigned) == verified(plane, note)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/log/proof", 400), ("/v1/log/proof?index=-1", 400), ("/v1/log/proof?index=99999999", 404),
     ("/v1/log/proof?index=0&size=99999999", 404), ("/v1/log/proof?index=0&size=0", 404),
     ("/v1/log/consistency?from=0", 400), ("/v1/log/consistency?from=5&to=4", 400),
     ("/v1/log/consistency?from=1&to=99999999", 404), ("/v1/evidence/records?first_index=x", 400),
     ("/v1/evidence/records/rail-0/999999", 404)],
)  # fmt: skip
def test_a_proof_outside_the_tree_is_refused(plane: Plane, path: str, status: int) -> None:
    plane.checkpoint(size=1)
    answer = plane.client.get(path)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "statement",
    ["UPDATE symphony.log_leaves SET seq = seq", "DELETE FROM symphony.log_leaves", "TRUNCATE symphony.log_leaves",
     "UPDATE symphony.evidence_batches SET epoch = 1", "TRUNCATE symphony.evidence_batches",
     "DELETE FROM symphony.evidence_batches", "UPDATE symphony.log_checkpoints SET size = 0",
     "TRUNCATE symphony.log_checkpoints", "UPDATE symphony.log_head SET size = 0", "DELETE FROM symphony.log_head",
     "TRUNCATE symphony.log_head", "UPDATE symphony.evidence_streams SET last_seq = last_seq - 1",
     "DELETE FROM symphony.evidence_streams", "TRUNCATE symphony.evidence_streams",
     "DELETE FROM symphony.log_nodes", "TRUNCATE symphony.log_subjects", "TRUNCATE symphony.evidence_heartbeats",
     "TRUNCATE symphony.log_release_metadata"],
)  # fmt: skip
def test_even_the_owner_cannot_change_or_remove_evidence_by_statement(
    plane: Plane, sidecar: Sidecar, statement: str
) -> None:
    """Append-only by row trigger and TRUNCATE trigger, besides by privilege (D11, NEG-09 to NEG-11)."""
    sidecar.payment("i-kept")
    sidecar.plain(256)
    plane.send(sidecar.seal())
    plane.beat(sidecar.heartbeat())
    with (
        psycopg.connect(plane.database.owner, autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


@pytest.mark.parametrize("role", ["symphony_control", "symphony_control_reader"])
def test_no_runtime_role_writes_but_by_function(plane: Plane, role: str) -> None:
    """INV-010, EVD-13: the reader reads, and calls nothing."""
    url = plane.database.writer if role == "symphony_control" else plane.database.reader
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SET ROLE {role}")
        for statement in (
            "INSERT INTO symphony.log_nodes VALUES (8, 0, sha256(''))",
            "SELECT symphony.log_extend('{}')",
            "SELECT symphony.log_add('controlplane', 1, '{}', '{}', '{}', '{}', '{}')",
            "UPDATE symphony.log_head SET size = size + 1",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        if role == "symphony_control_reader":
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT symphony.evidence_lock_own('sandbox')")
