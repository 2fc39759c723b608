"""A payment parks, the desk shows it, the wrong decision is refused, two officers close it with the right one (D8, OUT-12).

The ledger stands still while the writer dies with the payment in hand, so that its successor asks in vain and parks it.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import CannotEvaluate
from contracts.times import SystemClock
from symphony import resolving
from symphony.stack.desk import take
from symphony.stack.layout import SIDECAR
from tests.e2e.support import ROOT, Stack, message, running, stopped, until

RESOLUTION = "SELECT record FROM symphony.log_leaves WHERE stream = %s AND kind = 'resolution'"
POSTED = "SELECT count(*) AS n FROM ledger.postings WHERE instruction_id = %s AND purpose = 'post'"


@pytest.fixture(scope="module")
def park_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The rail is asked twice, a second apart, and then the payment is people's."""
    folder, manifests = tmp_path_factory.mktemp("park"), tmp_path_factory.mktemp("manifests")
    (folder / "points").mkdir()
    for path in (ROOT / "manifests").glob("*.json"):
        document = json.loads(path.read_text())
        if "sidecar" in document:
            document["sidecar"]["lease_ms"] = 1000
            document["sidecar"]["retry"]["attempts_max"] = 2
            document["sidecar"]["rail"] |= {"submit_timeout_ms": 700, "query_timeout_ms": 700}
        (manifests / path.name).write_text(json.dumps(document))
    with running(folder, "--manifests", str(manifests), "--failpoints", str(folder / "points")) as up:
        yield up


def desk(stack: Stack) -> dict[str, Any]:
    return take(stack.layout, SystemClock())


def shown(stack: Stack, one: str) -> dict[str, Any]:
    """The payment as the desk shows it."""
    (found,) = (payment for payment in desk(stack)["payments"] if payment["instruction_id"] == one)
    return dict(found)


def park(stack: Stack, point: str) -> str:
    """A payment whose writer died at a point; the desk shows it as in doubt, then as parked. The ledger hangs meanwhile."""
    pid, ledger, place = stack.pid("writer"), stack.pid("ledger"), stack.folder / "points" / point
    place.touch()
    (one,) = stack.submit(message("77.00")).accepted
    hit = place.with_name(f"{point}.hit")
    until(hit.exists, what=f"the point {point}")
    hit.unlink()
    with stopped(ledger):
        os.kill(pid, signal.SIGKILL)
        until(lambda: shown(stack, one)["state"] == "UNCERTAIN", what="doubt")
        assert shown(stack, one)["next_steps"] == ["wait: the sidecar asks the rail again by itself"]
        until(lambda: shown(stack, one)["state"] == "NEEDS_REVIEW", what="parking")
        with pytest.raises(CannotEvaluate) as caught:  # the rail still hangs: nobody may decide for it
            approve(stack, one, "failed")
        assert caught.value.code in {"OUTCOME_UNKNOWN", "ADAPTER_UNAVAILABLE"}
    until(lambda: look(stack, one) in {"accepted_final", "not_found_final"}, what="the rail's answer")
    return one


def look(stack: Stack, one: str) -> str:
    return str(resolving.ask(stack.layout, "parked", instruction_id=one)["rail"]["status"])


def make(stack: Stack, one: str, decision: str, *, officer: str = "alice") -> Path:
    """The maker's command."""
    said = stack.json("payment", "resolve", one, "--decision", decision, "--officer", officer, "--reason", "the rail's statement",
                      "--evidence-reference", "CASE-17")  # fmt: skip
    assert officer not in said["must_also_sign"]
    return Path(said["file"])


def approve(stack: Stack, one: str, decision: str) -> dict[str, Any]:
    """Maker and checker without the command line."""
    from symphony.release.client import Officer

    file, checker = make(stack, one, decision), Officer.from_folder(stack.layout.officer("bruno"))
    return resolving.approve(stack.layout, file, resolving.load(file, one), checker).answer


@pytest.mark.parametrize(("point", "right", "wrong"), [
    ("dispatch.answered", "dispatched", "failed"), ("dispatch.claimed", "failed", "dispatched"),
])  # fmt: skip
def test_a_parked_payment_is_closed_as_the_rail_bears_out(
    park_stack: Stack, point: str, right: str, wrong: str
) -> None:
    """D8, OUT-11, OUT-12: the whole way, by the commands."""
    stack, one = park_stack, park(park_stack, point)
    text = stack.symphony("desk").stdout
    assert all(
        word in text
        for word in (one, "NEEDS_REVIEW", "77.00 ZMW", "KFUBZMLUXXX -> LWGBZMLUXXX", "OUTCOME_UNKNOWN", "query")
    )
    assert "submit" not in text
    totals = {(t["participant"], t["currency"]): (t["amount"], t["payments"]) for t in stack.json("desk")["totals"]}
    assert totals == {("kafue-bank", "ZMW"): ("77.00 ZMW", 1)}

    refused = stack.symphony(
        "payment", "resolve", one, "--approve", str(make(stack, one, wrong)), "--officer", "bruno", code=1
    )
    assert "RESOLUTION_CONTRADICTED" in refused.stderr
    file = make(stack, one, right)
    own = stack.symphony("payment", "resolve", one, "--approve", str(file), "--officer", "alice", code=1)
    assert "RESOLUTION_TWO_OFFICERS" in own.stderr
    assert shown(stack, one)["state"] == "NEEDS_REVIEW"

    command = ("payment", "resolve", one, "--approve", str(file), "--officer", "bruno")
    _killed_before_the_commit(stack, command)
    assert shown(stack, one)["state"] == "NEEDS_REVIEW"
    until(lambda: look(stack, one), what="the next writer")
    assert "recorded at" in stack.symphony(*command).stdout
    assert "first result" in stack.symphony(*command).stdout

    posted = int(right == "dispatched")
    assert stack.row("ledger", POSTED, one)["n"] == posted
    found = stack.json("payment", "show", one)
    assert found["state"] == ("SUCCEEDED" if posted else "FAILED")
    (event,) = (event for event in found["events"] if event["what"] == "resolved")
    assert all(word in event["detail"] for word in ("alice", "bruno", "CASE-17", right.upper()))
    assert "nothing is in doubt" in stack.symphony("desk").stdout
    until(lambda: [r for r in records(stack) if r["instruction_id"] == one], what="shipping")
    (record,) = (r for r in records(stack) if r["instruction_id"] == one)
    assert (record["decision"], record["evidence_reference"]) == (right.upper(), "CASE-17")
    assert stack.json("reconcile")["ok"] is True


def records(stack: Stack) -> list[dict[str, Any]]:
    """Resolutions in the control plane's log."""
    return [json.loads(bytes(row["record"])) for row in stack.rows("controlplane", RESOLUTION, SIDECAR)]


def _killed_before_the_commit(stack: Stack, command: tuple[str, ...]) -> None:
    """The checker's command, whose writer is killed with the rail's answer in hand: could not tell, nothing changed."""
    pid, point = stack.pid("writer"), stack.folder / "points" / "resolve.answered"
    point.touch()
    words = [sys.executable, "-m", "symphony", *command, "--dir", str(stack.folder)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        hit = point.with_name("resolve.answered.hit")
        until(hit.exists, what="the point")
        hit.unlink()
        os.kill(pid, signal.SIGKILL)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 3, said
    until(lambda: stack.pid("writer") != pid, what="the restart")


def test_a_desk_with_nothing_in_doubt_says_so(park_stack: Stack) -> None:
    """Exit 0; a payment that is not parked is not resolved; the way in is the sidecar user's own."""
    assert stat.S_IMODE((park_stack.layout.sockets / "writer.sock").stat().st_mode) == 0o600
    assert park_stack.json("desk")["payments"] == []
    (one,) = park_stack.submit(message("5.00")).accepted
    until(lambda: park_stack.json("payment", "show", one)["state"] == "SUCCEEDED", what="the posting")
    words = ("--decision", "failed", "--reason", "r", "--evidence-reference", "CASE-1", "--officer", "alice")
    assert "RESOLUTION_STALE" in park_stack.symphony("payment", "resolve", one, *words, code=1).stderr
    assert "maker" in park_stack.symphony("payment", "resolve", one, "--officer", "alice", code=2).stderr
