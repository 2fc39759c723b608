"""Evidence packets: made from a real control plane, checked by their own ``verify.py`` alone (EVD-08, EVD-12)."""

from __future__ import annotations

import ast
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import CannotEvaluate, Refused
from contracts.times import rfc3339
from symphony.evidence_export import export
from symphony.packet import verifier_source, verify_folder
from symphony.packet.parts.findings import SENTENCE
from tests.evidence.support import (
    Plane,
    Sidecar,
    export_packet,
    key_entry,
    log_withdrawal,
    own_plane,
    posting,
    story,
    verify,
)
from tests.support.database import TestPostgres

FILES = {
    "records.jsonl", "log.json", "batches.json", "checkpoint", "streams.json", "postings.json", "packet.json",
    "timelines.json", "reconciliation.json", "exceptions.json", "kpis.json", "report.html", "README.txt",
    "manifest.json", "verify.py", "tuf",
}  # fmt: skip


@pytest.fixture(scope="module")
def told(postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plane, Path]]:
    """A plane whose story was told, and the packet of it; nobody changes them."""
    folder = tmp_path_factory.mktemp("told")
    with own_plane(postgres, folder) as (plane, sidecar):
        yield plane, export_packet(plane, folder / "packet", postings=story(plane, sidecar))


@pytest.fixture
def packet(told: tuple[Plane, Path]) -> Path:
    return told[1]


def test_a_whole_packet_verifies_by_itself_and_says_what_that_means(packet: Path, told: Any) -> None:
    code, text = verify(packet)
    assert code == 0, text
    assert text.rstrip().endswith(SENTENCE)
    assert "the packet's own root was used" in text
    assert {path.name for path in packet.iterdir()} == FILES
    assert verify_folder(packet)[0].exit_code() == 0
    code, text = verify(packet, "--root", str(told[0].ceremony.root_path))
    assert code == 0, text
    assert "the packet's own root" not in text


def test_the_reports_show_the_day(packet: Path) -> None:
    both = json.loads((packet / "reconciliation.json").read_text())
    counts = {name: both[name] for name in ("accepted", "posted", "refused_by_rail", "parked", "pending", "refused")}
    assert counts == {
        "accepted": 6, "posted": 3, "refused_by_rail": 1, "parked": 1, "pending": 1, "refused": 3
    }  # fmt: skip
    assert both["broken"] == []
    figures = json.loads((packet / "kpis.json").read_text())
    assert (figures["duplicates_stopped"], figures["evidence_complete_basis_points"]) == (1, 6666)
    entry = next(e for e in json.loads((packet / "timelines.json").read_text()) if e["instruction_id"] == "i-1")
    assert [event["what"] for event in entry["events"]] == ["ALLOW", "DISPATCHING", "DISPATCHED"]
    kinds = [item["kind"] for item in json.loads((packet / "exceptions.json").read_text())]
    assert sorted(kinds) == ["FAILED", "OPEN", "OPEN", "PENDING_MANUAL", "REFUSED", "REFUSED", "REFUSED"]


@pytest.mark.parametrize("word", ["settled", "certified", "settlement", "guarantee"])
def test_reports_never_claim_what_is_not_known(packet: Path, word: str) -> None:
    """EVD-17."""
    for name in ("report.html", "README.txt", "verify.py"):
        assert word not in (packet / name).read_text().lower()


def test_a_report_escapes_what_it_shows(fresh: tuple[Plane, Sidecar], tmp_path: Path) -> None:
    plane, sidecar = fresh
    sidecar.attest("<script>alert(1)</script>", reason="CAP_PAYMENT")
    plane.send(sidecar.seal())
    packet = export_packet(plane, tmp_path / "packet")
    assert b"<script" not in (packet / "report.html").read_bytes()
    assert verify(packet)[0] == 0


def test_a_period_is_a_contiguous_part_of_the_log_that_proves_itself(
    fresh: tuple[Plane, Sidecar], tmp_path: Path
) -> None:
    plane, sidecar = fresh
    other = Sidecar("rail:2", key=sidecar.key)
    moments = []
    for number in range(6):
        moments.append(rfc3339(datetime.now(UTC)))
        sidecar.payment(f"i-{number}")
        other.plain(number + 1)
        plane.send(sidecar.seal())
        plane.send(other.seal())
        time.sleep(0.01)
    for index, (begin, end) in enumerate([(2, 4), (0, 3), (4, None), (None, 5), (1, 2)]):
        period = {name: moments[n] for name, n in (("from", begin), ("to", end)) if n is not None}
        postings = [posting(f"i-{number}", posted_at=moments[number]) for number in range(6)]
        packet = export_packet(plane, tmp_path / f"packet-{index}", postings=postings, **period)
        code, text = verify(packet)
        assert code == 0, text
        log = json.loads((packet / "log.json").read_text())
        assert 0 < len(log["leaves"]) < log["tree_size"]
        assert "is not judged" in text


def test_a_retry_that_was_answered_again_is_no_exception_and_no_second_decision(
    fresh: tuple[Plane, Sidecar], tmp_path: Path
) -> None:
    plane, sidecar = fresh
    sidecar.payment("i-1")
    sidecar.add("attestation", decision="ACCEPT", attestation_id="again", reason_code=None, release_number=1,
                policy_digest=None, repeats="a-i-1", instructions=[])  # fmt: skip
    sidecar.add("attestation", decision="REJECT", attestation_id="no", reason_code="TOKEN_EXPIRED",
                release_number=None, policy_digest=None, instructions=[])  # fmt: skip
    plane.send(sidecar.seal())
    packet = export_packet(plane, tmp_path / "packet", postings=[posting("i-1")])
    assert verify(packet)[0] == 0
    found = json.loads((packet / "exceptions.json").read_text())
    assert [(item["kind"], item["reason_code"]) for item in found] == [("REJECTED", "TOKEN_EXPIRED")]
    assert json.loads((packet / "kpis.json").read_text())["repeats_answered"] == 1


def test_an_empty_period_is_refused(fresh: tuple[Plane, Sidecar]) -> None:
    answer = fresh[0].client.get("/v1/exports/evidence", params={"to": "2020-01-01T00:00:00.000000Z"})
    assert (answer.status_code, answer.json()["reason_code"]) == (404, "NOT_FOUND")
    answer = fresh[0].client.get("/v1/exports/evidence", params={"from": "yesterday"})
    assert answer.json()["reason_code"] == "REQUEST_INVALID"


def test_two_releases_and_a_rotated_evidence_key_verify(fresh: tuple[Plane, Sidecar], tmp_path: Path) -> None:
    plane, sidecar = fresh
    sidecar.plain(2)
    plane.send(sidecar.seal())
    old, sidecar.key = sidecar.key, Sidecar("x").key
    sidecar.plain(1)
    late = sidecar.seal()
    assert plane.send(late).json()["reason_code"] == "STREAM_UNKNOWN"
    plane.publish(2, [key_entry("rail", sidecar.key)], log_keys=[plane.log_key])
    assert plane.send(late).status_code == 200
    assert plane.beat(Sidecar("rail", key=old).heartbeat(1)).status_code == 200, "a key of an earlier release"
    packet = export_packet(plane, tmp_path / "packet")
    code, text = verify(packet)
    assert code == 0, text


@pytest.mark.needs_schema("controlplane", 3)
def test_what_happened_to_a_release_stands_in_the_packet_and_verifies(
    fresh: tuple[Plane, Sidecar], tmp_path: Path
) -> None:
    """The log's own records ride in no sidecar's batch: role versions and releases' events, and nothing else."""
    plane, sidecar = fresh
    asyncio.run(log_withdrawal(plane))
    packet = export_packet(plane, tmp_path / "packet", postings=story(plane, sidecar))
    assert "symphony.evidence/release_event/1" in (packet / "records.jsonl").read_text()
    code, text = verify(packet)
    assert code == 0, text


def test_an_export_that_was_cut_off_leaves_nothing(fresh: tuple[Plane, Sidecar], tmp_path: Path) -> None:
    plane, _ = fresh
    with plane.client.stream("GET", "/v1/exports/evidence") as answer:
        parts = [json.loads(line) for line in answer.iter_lines()]
    with pytest.raises(CannotEvaluate, match="cut off"):
        export(parts[:-1], tmp_path / "out" / "packet")
    assert list((tmp_path / "out").iterdir()) == []
    for hostile in ({"part": "tuf", "name": "../../x", "content": ""}, {"part": "fill"}, {"part": "record"}):
        with pytest.raises(CannotEvaluate, match="cannot be read"):
            export([*parts[:-1], hostile], tmp_path / "out" / "packet")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("x")
    with pytest.raises(Refused, match="there already"):
        export(parts, tmp_path / "there")


def test_the_verifier_is_one_file_of_standard_library_and_cryptography() -> None:
    names = set()
    for node in ast.walk(ast.parse(verifier_source())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).split(".")[0])
    assert names - set(sys.stdlib_module_names) == {"cryptography"}


def test_no_name_stands_in_two_sections_of_the_verifier() -> None:
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = [node.name for node in ast.parse(verifier_source()).body if isinstance(node, kinds)]
    names += [target.id for node in ast.parse(verifier_source()).body if isinstance(node, ast.Assign)
              for target in ast.walk(node) if isinstance(target, ast.Name)
              and isinstance(target.ctx, ast.Store)]  # fmt: skip
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(("arguments", "code"), [(["/nonexistent"], 3), (["."], 3), (["--root", "/nonexistent"], 3)])
def test_what_is_no_packet_could_not_be_evaluated(tmp_path: Path, arguments: list[str], code: int) -> None:
    (tmp_path / "verify.py").write_text(verifier_source())
    done = subprocess.run([sys.executable, "-I", str(tmp_path / "verify.py"), *arguments], cwd=tmp_path,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == code


def test_the_result_as_json(packet: Path) -> None:
    code, text = verify(packet, "--json")
    result = json.loads(text)
    assert (code, result["exit_code"], result["faults"]) == (0, 0, [])
    assert result["facts"]["streams"]["rail"]["logged"] == result["facts"]["streams"]["rail"]["signed"]
