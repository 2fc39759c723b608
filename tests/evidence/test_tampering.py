"""What is done to a packet, and what its verifier says (EVD-08): each change is seen, named, and has its exit code.

``remade`` writes the manifest again, as one who tampers on purpose would: what then still fails, fails by signatures.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts import checkpoint, evidence, keys, merkle
from contracts.canonical import canonical_bytes, digest_of
from symphony.packet import show_result, verify_folder
from symphony.packet.parts.contents import computed_files, manifest_of, pretty_json
from tests.evidence.support import ORIGIN, Plane, Sidecar, export_packet, own_plane, posting, story, verify
from tests.support.database import TestPostgres


@pytest.fixture(scope="module")
def made(postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plane, Sidecar, Path]]:
    folder = tmp_path_factory.mktemp("made")
    with own_plane(postgres, folder) as (plane, sidecar):
        packet = export_packet(plane, folder / "packet", postings=story(plane, sidecar))
        yield plane, sidecar, packet


@pytest.fixture
def packet(made: tuple[Plane, Sidecar, Path], tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(made[2], tmp_path / "packet"))


def remade(packet: Path) -> Path:
    (packet / "manifest.json").write_bytes(manifest_of(packet))
    return packet


def changed_json(packet: Path, name: str, change: Callable[[Any], Any]) -> Path:
    document = json.loads((packet / name).read_text())
    document = change(document) or document
    (packet / name).write_bytes(pretty_json(document))
    return remade(packet)


def lines(packet: Path) -> list[bytes]:
    return (packet / "records.jsonl").read_bytes().split(b"\n")[:-1]


def write_lines(packet: Path, found: list[bytes]) -> Path:
    (packet / "records.jsonl").write_bytes(b"".join(line + b"\n" for line in found))
    return remade(packet)


def place_of(packet: Path, stream: str, seq: int) -> int:
    return next(n for n, line in enumerate(lines(packet)) if (d := json.loads(line))["stream"] == stream
                and d["seq"] == seq)  # fmt: skip


def judged(packet: Path) -> tuple[int, str]:
    findings, facts = verify_folder(packet)
    return findings.exit_code(), show_result(findings, facts)


@pytest.mark.parametrize("again", [False, True])
def test_a_changed_byte_of_a_record_names_the_record(packet: Path, again: bool) -> None:
    found, place = lines(packet), place_of(packet, "rail", 7)
    found[place] = found[place].replace(b'"rail"', b'"rAil"', 1)
    (packet / "records.jsonl").write_bytes(b"".join(line + b"\n" for line in found))
    if again:
        remade(packet)
    code, text = verify(packet)
    assert code == 5
    assert f"record stream=rail seq=7 log_index={place}: its bytes are not those that the log holds" in text


@pytest.mark.parametrize("seq", [1, 9, 19])
def test_a_removed_record_names_the_gap(packet: Path, seq: int) -> None:
    found, place = lines(packet), place_of(packet, "rail", seq)
    code, text = verify(write_lines(packet, found[:place] + found[place + 1 :]))
    assert code == 5
    assert f"gap: record stream=rail seq={seq} log_index={place} was removed" in text


def test_a_removed_record_and_leaf_still_name_the_gap(packet: Path) -> None:
    found, place = lines(packet), place_of(packet, "rail", 9)

    def without(log: dict[str, Any]) -> None:
        del log["leaves"][place]
        log["tree_size"] -= 1

    write_lines(packet, found[:place] + found[place + 1 :])
    code, text = verify(changed_json(packet, "log.json", without))
    assert code == 5
    assert "gap: stream=rail seq=9-9: missing before" in text


def test_a_duplicated_record_is_seen(packet: Path) -> None:
    found, place = lines(packet), place_of(packet, "rail", 4)
    code, text = verify(write_lines(packet, [*found[:place], found[place], *found[place:]]))
    assert (code, "a record stands twice" in text) == (5, True)


def test_reordered_records_are_seen(packet: Path) -> None:
    found, place = lines(packet), place_of(packet, "rail", 4)
    found[place], found[place + 1] = found[place + 1], found[place]
    code, text = verify(write_lines(packet, found))
    assert code == 5
    assert f"record stream=rail seq=4 log_index={place}: stands in another place" in text


def test_an_added_record_is_seen(packet: Path) -> None:
    code, text = verify(write_lines(packet, [*lines(packet), b'{"schema":"symphony.evidence/attestation/1"}']))
    assert (code, "is no leaf of the log" in text) == (5, True)


def test_a_truncated_tail_shows_in_the_counters_that_the_checkpoint_binds(
    made: tuple[Plane, Sidecar, Path], packet: Path
) -> None:
    """The last batch is gone from records, leaves and batches; even the log's own smaller checkpoint is put in."""
    plane, sidecar, _ = made
    batches = json.loads((packet / "batches.json").read_text())
    cut = batches[-1]["first_index"]
    leaves = [bytes.fromhex(item) for item in json.loads((packet / "log.json").read_text())["leaves"]][:cut]

    def without(log: dict[str, Any]) -> None:
        log["leaves"] = log["leaves"][:cut]
        log["tree_size"] = log["end_index"] = cut

    changed_json(packet, "log.json", without)
    changed_json(packet, "batches.json", lambda found: found[:-1])
    write_lines(packet, lines(packet)[:cut])
    streams = json.loads((packet / "streams.json").read_text())["streams"]
    streams_sha256 = checkpoint.Checkpoint(ORIGIN, cut, merkle.root(leaves), digest_of(streams))
    (packet / "checkpoint").write_text(checkpoint.make(plane.log_key, streams_sha256))
    code, text = judged(remade(packet))
    last = len(sidecar.records)
    assert code == 5
    first = json.loads(base64.b64decode(batches[-1]["batch"]))["first_seq"]
    assert f"gap: stream=rail seq={first}-{last}: in the log, not in this packet" in text


def test_records_signed_for_and_withheld_are_a_gap(
    postgres: TestPostgres, tmp_path: Path
) -> None:
    """The control plane itself drops the tail: the sidecar's heartbeat shows it."""
    with own_plane(postgres, tmp_path) as (plane, sidecar):
        sidecar.plain(3)
        plane.send(sidecar.seal())
        plane.beat(sidecar.heartbeat(5))
        code, text = judged(export_packet(plane, tmp_path / "packet"))
        assert code == 5
        assert "gap: stream=rail seq=4-5: signed for by the sidecar, not in the log" in text


def test_a_checkpoint_of_another_log_is_refused(packet: Path) -> None:
    note = (packet / "checkpoint").read_text()
    (packet / "checkpoint").write_text(note.replace(ORIGIN, "log.other/sandbox"))
    code, text = judged(remade(packet))
    assert (code, "which no release names" in text) == (5, True)


def test_a_checkpoint_by_a_strangers_key_is_missing_a_signature(packet: Path) -> None:
    note = (packet / "checkpoint").read_text().split("\n")
    head = checkpoint.Checkpoint(note[0], int(note[1]), base64.b64decode(note[2]), note[3].split()[1])
    (packet / "checkpoint").write_text(checkpoint.make(Ed25519PrivateKey.generate(), head))
    assert judged(remade(packet))[0] == 6


def test_a_forked_log_is_refused(made: tuple[Plane, Sidecar, Path], packet: Path) -> None:
    """The operator, who holds the log key, rewrites a record and signs another tree: the sidecar's batch tells."""
    found, place = lines(packet), place_of(packet, "rail", 2)
    found[place] = found[place].replace(b'"attempt_no":1', b'"attempt_no":2')
    write_lines(packet, found)
    leaves = [evidence.leaf(line) for line in found]
    changed_json(packet, "log.json", lambda log: log | {"leaves": [leaf.hex() for leaf in leaves]})
    note = (packet / "checkpoint").read_text().split("\n")
    head = checkpoint.Checkpoint(ORIGIN, len(leaves), merkle.root(leaves), note[3].split()[1])
    (packet / "checkpoint").write_text(checkpoint.make(made[0].log_key, head))
    code, text = judged(remade(packet))
    assert code == 5
    assert "the leaves do not give the root that the sidecar signed" in text
    assert "the leaves do not give the root that the log signed" not in text


@pytest.mark.parametrize(
    ("name", "change", "code", "words"),
    [
        ("batches.json", lambda b: b[0].pop("signature") and None, 6, "not signed"),
        ("batches.json", lambda b: b[0].update(signature="00" * 64), 5, "signature does not hold"),
        ("batches.json", lambda b: b[:-1], 6, "no signed batch carries it"),
        ("batches.json", lambda b: b[1:], 6, "no signed batch carries it"),
        ("batches.json", lambda b: b[1].update(batch=b[0]["batch"]), 5, "batch stream=rail"),
        ("batches.json", lambda b: b[0].update(first_index=0), 5, "batch stream=rail"),
        ("streams.json", lambda s: s["streams"]["rail"].update(logged=1), 5, "not the counters"),
        ("streams.json", lambda s: s["streams"].pop("rail") and None, 5, "not the counters"),
        ("streams.json", lambda s: s.update(heartbeats=[]), 6, "no signed heartbeat"),
        ("streams.json", lambda s: s["heartbeats"][0].update(signature="00" * 64), 5, "heartbeat stream=rail"),
        ("log.json", lambda log: log.update(tree_size=1), 5, "the checkpoint is of"),
        ("log.json", lambda log: log["leaves"].reverse(), 5, "root that the log signed"),
        ("log.json", lambda log: log.update(right=["00" * 32]), 3, "does not fit the size"),
        ("kpis.json", lambda k: k.update(open=0), 5, "kpis.json: does not follow"),
        ("timelines.json", lambda t: t.pop() and None, 5, "timelines.json: does not follow"),
        ("exceptions.json", lambda e: e[:1], 5, "exceptions.json: does not follow"),
        ("reconciliation.json", lambda r: r.update(accepted=9), 5, "reconciliation.json: does not follow"),
    ],
)  # fmt: skip
def test_a_changed_file_is_seen_though_the_manifest_was_remade(
    packet: Path, name: str, change: Callable[[Any], Any], code: int, words: str
) -> None:
    found, text = judged(changed_json(packet, name, change))
    assert (found, words in text) == (code, True), text


@pytest.mark.parametrize("name", ["report.html", "README.txt"])
def test_a_changed_page_is_seen_though_the_manifest_was_remade(packet: Path, name: str) -> None:
    (packet / name).write_bytes((packet / name).read_bytes().replace(b"a", b"b", 1))
    code, text = judged(remade(packet))
    assert (code, f"{name}: does not follow from the records" in text) == (5, True)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda p: [*p, posting("i-stranger")], "POSTED_WITHOUT_ALLOW"),
        (lambda p: [*p, posting("r-0")], "POSTED_WITHOUT_ALLOW"),
        (lambda p: [*p, p[0]], "POSTED_TWICE"),
        (lambda p: p[1:], "DISPATCHED_WITHOUT_POSTING"),
        (lambda p: [p[0] | {"amount_minor": 101}, *p[1:]], "POSTING_DIFFERS"),
        (lambda p: [p[0] | {"credit_agent": "CCCCZMLUXXX"}, *p[1:]], "POSTING_DIFFERS"),
        (lambda p: [*p, posting("i-failed")], "POSTED_THOUGH_REFUSED"),
    ],
)
def test_allow_records_and_postings_are_compared_both_ways(
    packet: Path, change: Callable[[list[Any]], list[Any]], rule: str
) -> None:
    ledger = json.loads((packet / "postings.json").read_text())
    ledger["postings"] = change(ledger["postings"])
    code, text = judged(recomputed(packet, ledger))
    assert (code, rule in text) == (1, True), text


def test_a_posting_whose_outcome_is_not_recorded_yet_is_pending_and_no_fault(packet: Path) -> None:
    ledger = json.loads((packet / "postings.json").read_text())
    ledger["postings"].append(posting("i-pending"))
    assert judged(recomputed(packet, ledger))[0] == 0


def test_two_outcomes_of_one_payment_are_a_broken_rule(postgres: TestPostgres, tmp_path: Path) -> None:
    with own_plane(postgres, tmp_path) as (plane, sidecar):
        sidecar.payment("i-1")
        sidecar.add(
            "attempt", outbox_id="i-1", attempt_no=3, state="FAILED", epoch=1, release_number=1,
            policy_digest=json.loads(sidecar.records[0])["policy_digest"], rail="book",
        )  # fmt: skip
        plane.send(sidecar.seal())
        code, text = judged(export_packet(plane, tmp_path / "packet"))
        assert (code, "TWO_OUTCOMES" in text) == (1, True)


def recomputed(packet: Path, ledger: dict[str, Any]) -> Path:
    """The packet as its exporter would have made it with other postings."""
    documents = {index: json.loads(line) for index, line in enumerate(lines(packet))}
    note = (packet / "checkpoint").read_text().split("\n")
    log = {"origin": note[0], "tree_size": int(note[1]), "root": base64.b64decode(note[2]).hex(), "whole": True}
    about = json.loads((packet / "packet.json").read_text())
    (packet / "postings.json").write_bytes(pretty_json(ledger))
    for name, content in computed_files(about, documents, ledger, log)[0].items():
        (packet / name).write_bytes(content)
    return remade(packet)


def test_an_unlisted_missing_or_linked_file_is_seen(packet: Path) -> None:
    (packet / "extra").write_text("x")
    assert judged(packet)[0] == 5
    (packet / "extra").unlink()
    (packet / "kpis.json").rename(packet / "other")
    assert judged(packet)[0] == 5
    (packet / "other").rename(packet / "kpis.json")
    (packet / "link").symlink_to(packet / "kpis.json")
    assert judged(packet)[0] == 3


def test_the_readers_own_root_decides(packet: Path, tmp_path: Path) -> None:
    other = tmp_path / "other-root.json"
    root = json.loads((packet / "tuf" / "1.root.json").read_text())
    root["signed"]["expires"] = "2040-01-01T00:00:00Z"
    other.write_text(json.dumps(root))
    assert verify(packet, "--root", str(other))[0] == 5


@pytest.mark.parametrize("name", ["1.root.json", "1.targets.json", "1.sandbox.json"])
@pytest.mark.parametrize("count", [0, 1])
def test_a_role_below_its_threshold_is_missing_signatures(packet: Path, name: str, count: int) -> None:
    path = packet / "tuf" / name
    document = json.loads(path.read_text())
    document["signatures"] = document["signatures"][:count]
    path.write_text(json.dumps(document))
    assert judged(remade(packet))[0] == 6


def test_the_proposers_own_signature_is_no_approval(packet: Path) -> None:
    path = packet / "tuf" / "1.sandbox.json"
    document = json.loads(path.read_text())
    assert len(document["signatures"]) == 3
    document["signatures"] = document["signatures"][:2]
    path.write_text(json.dumps(document))
    code, text = judged(remade(packet))
    assert (code, "1 valid signatures of 2 needed" in text) == (6, True)


def test_other_environment_data_is_refused(packet: Path) -> None:
    """A stranger's evidence key is slipped into the release."""
    path = packet / "tuf" / "targets" / "sandbox" / "1" / "environment.json"
    document = json.loads(path.read_text())
    document["evidence_keys"][0]["public_key"] = keys.public_hex(Ed25519PrivateKey.generate())
    path.write_bytes(canonical_bytes(document))
    code, text = judged(remade(packet))
    assert (code, "not those that the officers signed" in text) == (5, True)


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_flipped_byte_of_any_file_passes(made: tuple[Plane, Sidecar, Path], data: st.DataObject) -> None:
    packet = made[2]
    name = data.draw(st.sampled_from(sorted(p.relative_to(packet).as_posix() for p in packet.rglob("*") if
                                            p.is_file())))  # fmt: skip
    path = packet / name
    content = path.read_bytes()
    at, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    flipped = bytearray(content)
    flipped[at] ^= 1 << bit
    try:
        path.write_bytes(flipped)
        findings, facts = verify_folder(packet)
        assert findings.exit_code() in (3, 5, 6), (name, at, bit)
        assert show_result(findings, facts)
    finally:
        path.write_bytes(content)


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_flipped_byte_of_evidence_passes_when_the_manifest_is_remade(
    made: tuple[Plane, Sidecar, Path], data: st.DataObject
) -> None:
    packet = made[2]
    name = data.draw(st.sampled_from(["records.jsonl", "report.html", "kpis.json", "timelines.json"]))
    path, manifest = packet / name, packet / "manifest.json"
    content, listed = path.read_bytes(), manifest.read_bytes()
    flipped = bytearray(content)
    flipped[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        path.write_bytes(flipped)
        remade(packet)
        assert verify_folder(packet)[0].exit_code() == 5
    finally:
        path.write_bytes(content)
        manifest.write_bytes(listed)
