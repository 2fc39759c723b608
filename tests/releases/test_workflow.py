"""Who may do what with a release, over real TLS: one refusal a rule (POL-07, design section 4)."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from contracts.canonical import canonical_bytes
from contracts.errors import CannotEvaluate, NotTrusted, SymphonyError
from contracts.keys import REQUEST_TYPE, signer_of
from contracts.release.envelope import make_envelope
from symphony.release.approve import approve
from symphony.release.client import ControlPlane, Officer
from symphony.release.diff.build import difference
from symphony.release.promote import promote
from symphony.release.propose import send
from symphony.release.review import review
from symphony.release.rollback import rollback
from tests.releases.running import Running
from tests.releases.support import ENVIRONMENT, World

URL = f"/v1/releases/{ENVIRONMENT}/1"


def refused(code: str, call: Callable[[], Any]) -> None:
    """The call ends with this reason code."""
    with pytest.raises(SymphonyError) as error:
        call()
    assert error.value.code == code, error.value


def approval(officer: Officer, metadata: bytes, digest: str, number: int = 1) -> dict[str, Any]:
    """An approval as the client sends it, without the client's own checks."""
    from tuf.api.metadata import Metadata

    signature = signer_of(officer.key).sign(Metadata.from_bytes(metadata).signed_bytes).signature
    return {"envelope": officer.ask("approve", ENVIRONMENT, number, digest, signature=signature)}


def test_the_proposers_approval_is_refused_on_both_sides(running: Running, world: World) -> None:
    made = running.proposed()
    control, alice = running.control("alice"), world.officer("alice")
    reviewed = review(control, ENVIRONMENT, 1, root=world.root, now=world.clock.now())
    refused("OFFICER_IS_PROPOSER", lambda: approve(control, alice, reviewed))
    refused(
        "OFFICER_IS_PROPOSER", lambda: control.post(f"{URL}/approvals", approval(alice, made.metadata, made.digest))
    )


def test_two_approvals_make_it_approved_and_each_counts_once(running: Running, world: World) -> None:
    made = running.proposed()
    assert running.approved(1, "bruno") == ["PROPOSED"]
    body = approval(world.officer("bruno"), made.metadata, made.digest)
    refused("RELEASE_STATE", lambda: running.control("bruno").post(f"{URL}/approvals", body))
    refused("RELEASE_STATE", lambda: promote(running.control("bruno"), world.officer("bruno"), ENVIRONMENT, 1))
    assert running.approved(1, "chanda", "dalitso") == ["APPROVED", "APPROVED"]
    shown = running.control("alice").release(ENVIRONMENT, 1)
    assert shown["status"] == "APPROVED"
    assert [a["actor"] for a in shown["approvals"]] == ["bruno", "chanda", "dalitso"]
    assert [e["event"] for e in shown["events"]] == ["PROPOSED", "APPROVAL", "APPROVAL", "APPROVED", "APPROVAL"]
    assert all(e["envelope"] for e in shown["events"] if e["event"] != "APPROVED")


def test_a_signature_over_other_bytes_is_refused(running: Running, world: World) -> None:
    made = running.proposed()
    other = world.draft(1, world.files(cap_minor=9))
    bruno = world.officer("bruno")
    control = running.control("bruno")
    body = approval(bruno, other.metadata, made.digest)
    refused("RELEASE_SIGNATURE", lambda: control.post(f"{URL}/approvals", body))
    body = {"envelope": bruno.ask("approve", ENVIRONMENT, 1, made.digest, signature="zz")}
    refused("RELEASE_SIGNATURE", lambda: control.post(f"{URL}/approvals", body))


def test_the_envelope_is_by_the_key_of_the_certificates_officer(running: Running, world: World) -> None:
    made = running.proposed()
    body = approval(world.officer("chanda"), made.metadata, made.digest)
    refused("ENVELOPE_INVALID", lambda: running.control("bruno").post(f"{URL}/approvals", body))


@pytest.mark.parametrize("changes", [{"number": 2}, {"environment": "production"}, {"metadata_digest": "00" * 32},
                                     {"action": "promote"}])  # fmt: skip
def test_an_envelope_about_something_else(running: Running, world: World, changes: dict[str, Any]) -> None:
    made = running.proposed()
    subject = {"action": "approve", "environment": ENVIRONMENT, "number": 1, "metadata_digest": made.digest}
    payload = canonical_bytes({**subject, "signature": "00" * 64, **changes})
    body = {"envelope": make_envelope(world.officer("bruno").key, REQUEST_TYPE, payload)}
    refused("ENVELOPE_INVALID", lambda: running.control("bruno").post(f"{URL}/approvals", body))


@pytest.mark.parametrize("envelope", [None, {}, {"payload": "", "payloadType": REQUEST_TYPE, "signatures": []}, [1]])
def test_what_is_no_envelope(running: Running, envelope: Any) -> None:
    running.proposed()
    refused("ENVELOPE_INVALID", lambda: running.control("bruno").post(f"{URL}/approvals", {"envelope": envelope}))


def test_security_officers_custodians_and_services_propose_nothing(running: Running, world: World) -> None:
    made = world.draft(1)
    for name in ("esnart", "custodian-1"):
        control = running.control(name)
        refused("OFFICER_UNKNOWN", lambda c=control: send(c, world.officer("alice"), made, "a test"))
    service = ControlPlane(running.url, running.service_context())
    refused("OFFICER_UNKNOWN", lambda: send(service, world.officer("alice"), made, "a test"))
    refused("OFFICER_UNKNOWN", lambda: running.control("alice").post("/v1/trust", {"roots": [], "targets": ""}))
    refused("OFFICER_UNKNOWN", lambda: running.control("alice").post("/v1/revocations/sandbox", {"metadata": ""}))


def test_a_proposal_under_another_officers_name(running: Running, world: World) -> None:
    made = world.draft(1)
    refused("ENVELOPE_INVALID", lambda: send(running.control("bruno"), world.officer("bruno"), made, "a test"))


def test_a_proposal_whose_bytes_are_not_all_there(running: Running, world: World) -> None:
    made = world.draft(1)
    envelope = world.officer("alice").ask("propose", ENVIRONMENT, 1, made.digest, reason="a test")
    metadata = base64.b64encode(made.metadata).decode()
    body = {"envelope": envelope, "environment": ENVIRONMENT, "metadata": metadata, "targets": {}}
    control = running.control("alice")
    refused("RELEASE_DIGEST", lambda: control.post("/v1/releases", body))
    wrong = {**body, "targets": {"00" * 32: base64.b64encode(b"x").decode()}}
    refused("RELEASE_DIGEST", lambda: control.post("/v1/releases", wrong))
    refused("REQUEST_INVALID", lambda: control.post("/v1/releases", {**body, "metadata": "%"}))
    refused("REQUEST_INVALID", lambda: control.post("/v1/releases", [body]))


def test_a_proposal_is_checked_before_anybody_approves(running: Running, world: World) -> None:
    files = world.files()
    failed = world.draft(1, files, gate=world.gate(files, failed=["INV-001"]))
    refused("RELEASE_GATE", lambda: send(running.control("alice"), world.officer("alice"), failed, "a test"))
    late = world.draft(1, now=world.clock.now() - timedelta(days=8))
    refused("RELEASE_LATE", lambda: send(running.control("alice"), world.officer("alice"), late, "a test"))


def test_numbers_follow_each_other(running: Running, world: World) -> None:
    refused("RELEASE_STATE", lambda: send(running.control("alice"), world.officer("alice"), world.draft(2), "a test"))
    running.proposed()
    refused("RELEASE_STATE", lambda: send(running.control("alice"), world.officer("alice"), world.draft(1), "a test"))


def test_a_release_is_promoted_once_and_never_below_the_active_one(running: Running, world: World) -> None:
    running.proposed()
    running.approved(1, "bruno", "chanda")
    running.release(cap_minor=7)
    control, alice = running.control("alice"), world.officer("alice")
    refused("RELEASE_STATE", lambda: promote(control, alice, ENVIRONMENT, 2))
    refused("RELEASE_STATE", lambda: promote(control, alice, ENVIRONMENT, 1))


def test_a_release_is_not_promoted_before_its_time_or_too_late(running: Running, world: World) -> None:
    running.proposed(not_before=world.clock.now() + timedelta(hours=1))
    running.approved(1, "bruno", "chanda")
    control, alice = running.control("alice"), world.officer("alice")
    refused("RELEASE_NOT_BEFORE", lambda: promote(control, alice, ENVIRONMENT, 1))
    world.clock.moved += timedelta(days=8)
    refused("RELEASE_LATE", lambda: promote(control, alice, ENVIRONMENT, 1))


def test_of_promotions_at_once_exactly_one_succeeds(running: Running, world: World) -> None:
    """D5: one active release; the others are told so, and snapshot and timestamp have no gap."""
    running.proposed()
    running.approved(1, "bruno", "chanda")
    outcomes: list[str] = []
    barrier = threading.Barrier(6)

    def run(name: str) -> None:
        control, officer = running.control(name), world.officer(name)
        barrier.wait()
        try:
            promote(control, officer, ENVIRONMENT, 1)
            outcomes.append("ACTIVE")
        except SymphonyError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("alice", "bruno", "chanda") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["ACTIVE", *["RELEASE_STATE"] * 5]
    active = [r["number"] for r in running.control("alice").releases(ENVIRONMENT) if r["status"] == "ACTIVE"]
    assert active == [1]


def test_an_officer_signs_only_a_policy_that_is_the_pair_of_his_own_checkout(
    running: Running, world: World, tmp_path: Any
) -> None:
    """Without opa: digests of Rego and Wasm must be those of policies/BUILD.json of the approver (exit 3)."""
    running.proposed()
    own = tmp_path / "policies"
    own.mkdir()
    (own / "BUILD.json").write_text('{"rego_sha256": "00", "wasm_sha256": "00", "opa_version": "1.22.2"}')
    nowhere = tmp_path / "no-opa"
    with pytest.raises((CannotEvaluate, NotTrusted)) as error:
        review(
            running.control("bruno"), ENVIRONMENT, 1, root=world.root, now=world.clock.now(), policies=own, opa=nowhere
        )
    assert error.value.code == "RELEASE_NOT_REBUILT"


def test_the_difference_names_what_changed(running: Running, world: World) -> None:
    running.release(cap_minor=1_000_000)
    running.proposed(cap_minor=500)
    reviewed = review(running.control("bruno"), ENVIRONMENT, 2, root=world.root, now=world.clock.now())
    (change,) = reviewed.difference.changes
    assert (change.place, change.before, change.after) == ("environment.json/caps/ZMW/payment_minor_max", 1_000_000, 500)
    assert [one.place for one in difference({}, {"policy.wasm": b"x"}).changes] == ["policy.wasm"]
    assert [one.place for one in difference({"policy.wasm": b"x"}, {"policy.wasm": b"y"}).changes] == ["policy.wasm"]


def test_nothing_is_rolled_back_to_that_was_never_active(running: Running, world: World) -> None:
    running.proposed()
    refused("RELEASE_STATE", lambda: rollback(
        running.control("alice"), world.officer("alice"), environment=ENVIRONMENT, to=1, reason="r",
        change_ticket="c", root=world.root, now=world.clock.now(),
    ))  # fmt: skip


def test_a_release_that_is_not_promoted_is_not_served_over_tuf(running: Running) -> None:
    made = running.proposed()
    from contracts.canonical import sha256_hex

    digest = sha256_hex(made.files["environment.json"])
    control = running.control("alice")
    refused("NOT_FOUND", lambda: control.get_bytes(f"/tuf/targets/{ENVIRONMENT}/1/{digest}.environment.json"))
    refused("NOT_FOUND", lambda: control.get_bytes("/tuf/metadata/1.sandbox.json"))
    assert control.get_bytes(f"{URL}/targets/environment.json") == made.files["environment.json"]
