"""Judging: the order of the rules of one message, and what a batch may hold (ATT-07, D9, REC-06, INV-023)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar.attestation import Rejected, Verified
from sidecar.intake.governed import Governed
from sidecar.intake.handover import WHOLE_MESSAGE, HandedItem, HandedMessage
from sidecar.intake.verdict import Checked, Judged, Known, judge, split
from tests.sidecar import support
from tests.sidecar.support import KAFUE, LUANGWA, capped, payment

EXPIRES = datetime(2026, 11, 24, 12, tzinfo=UTC)
FIRST = {
    "instruction_id": "i-1", "attestation_id": "a-1", "tx_index": 0, "decision": "ALLOW", "reason_code": None, "detail": "",
    "refs": "{}", "message_type": None, "message_id": None, "policy_version": 1, "policy_checksum": "", "created_at": "",
}  # fmt: skip


def verified(participant: str = KAFUE, *, jti: str = "j1", key: str = "k1") -> Verified:
    """A caller whom the writer has verified."""
    return Verified(
        participant_id=participant, client_id="c", certificate_sha256="cc", x5t_s256="x", jwt_iss="i", jwt_aud="a", jwt_kid="k",
        jti_hash=jti, token_expires_at=EXPIRES, token_day=EXPIRES.date(), token_sha256="t", signature_alg="ES256",
        body_sha256="b", idempotency_key=key,
    )  # fmt: skip


def checked(*items: HandedItem, identity: Any = None, digest: str = "b", **message: Any) -> Checked:
    """A message of these payments by a verified caller."""
    handed = HandedMessage(
        correlation_id="c", received_at="", token="t", certificate_der=b"c", idempotency_key="k1", raw=b"", body_sha256=digest,
        release_number=1, items=list(items), **message,
    )  # fmt: skip
    return Checked(handed, identity or verified())


def allowed(index: int = 0, **changes: Any) -> HandedItem:
    """A payment that the acceptor's policy admitted."""
    return HandedItem(tx_index=index, instruction=payment(**changes), allow=True)


def known(**changes: Any) -> Known:
    """What an empty database knows."""
    return Known(**{
        "replayed": set(), "revoked": {}, "existing": {}, "duplicates": {}, "counters": {}, "usage": {}, **changes,
    })  # fmt: skip


def governed(payment_max: int = 1_000_000, value: int = 10_000_000, count: int = 100) -> Governed:
    """The sandbox with these caps of Kafue."""
    return Governed(capped(payment_max, value, count))


def judged(one: Checked, knows: Known | None = None, rules: Governed | None = None) -> Judged:
    """The verdict of one message."""
    return judge([one], knows or known(), rules or governed())[0]


TWICE = {0: [{**FIRST, "digest": "b"}]}
OTHER_BODY = {0: [{**FIRST, "digest": "other"}]}
BROKEN = Rejected(code="TOKEN_EXPIRED", detail="")
SPENDABLE = Rejected(code="PARTICIPANT_UNKNOWN", detail="", spendable=True, jti_hash="j1")


@pytest.mark.parametrize(
    ("one", "knows", "code", "spends"),
    [
        (checked(allowed()), known(), None, True),
        (checked(allowed()), known(replayed={0}), "TOKEN_REPLAYED", False),
        (checked(allowed()), known(replayed={0}, existing=TWICE), "TOKEN_REPLAYED", False),
        (checked(allowed()), known(replayed={0}, revoked={0: "CERTIFICATE_REVOKED"}), "TOKEN_REPLAYED", False),
        (checked(identity=BROKEN), known(replayed={0}), "TOKEN_EXPIRED", False),
        (checked(identity=BROKEN, rejected_code="BODY_EMPTY"), known(), "TOKEN_EXPIRED", False),
        (checked(identity=SPENDABLE), known(), "PARTICIPANT_UNKNOWN", True),
        (checked(identity=SPENDABLE), known(replayed={0}), "TOKEN_REPLAYED", False),
        (checked(rejected_code="BODY_EMPTY"), known(), "BODY_EMPTY", True),
        (checked(rejected_code="BODY_EMPTY"), known(revoked={0: "KEY_REVOKED"}, existing=OTHER_BODY), "BODY_EMPTY", True),
        (checked(allowed()), known(revoked={0: "KEY_REVOKED"}), "KEY_REVOKED", True),
        (checked(allowed()), known(revoked={0: "PARTICIPANT_REVOKED"}, existing=TWICE), "PARTICIPANT_REVOKED", True),
        (checked(allowed()), known(existing=OTHER_BODY), "IDEMPOTENCY_KEY_REUSED", True),
        (checked(allowed()), known(existing=TWICE), None, True),
    ],
)
def test_the_first_rule_that_speaks_decides_and_says_whether_the_token_is_spent(
    one: Checked, knows: Known, code: str | None, spends: bool
) -> None:
    """ATT-07, D1, D9, INV-023: in the order of the module's rules."""
    verdict = judged(one, knows)
    assert (verdict.reject_code, verdict.spends) == (code, spends)
    if code is not None:
        assert (verdict.items, verdict.existing) == ([], [])


def test_a_true_retry_brings_the_first_result_and_judges_nothing_again() -> None:
    """REC-06: no number, no usage; a tenant number of its own."""
    knows = known(existing=TWICE, counters={KAFUE: (5, 9)})
    verdict = judged(checked(allowed()), knows)
    assert (verdict.existing, verdict.items, verdict.tenant_seq_no) == (TWICE[0], [], 9)
    assert (knows.counters, knows.usage) == ({KAFUE: (5, 10)}, {})


def test_a_refusal_of_the_whole_message_is_one_row_without_a_number() -> None:
    """Design section 8."""
    verdict = judged(checked(allowed(), group_refused_code="SCHEMA_INVALID", group_refused_detail="d"))
    (item,) = verdict.items
    assert (item.item.tx_index, item.reason_code, item.sequence_id) == (WHOLE_MESSAGE, "SCHEMA_INVALID", None)
    assert verdict.reject_code is None


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (HandedItem(tx_index=0, refused_code="AMOUNT_INVALID"), "AMOUNT_INVALID"),
        (HandedItem(tx_index=0), "INPUT_INVALID"),
        (HandedItem(tx_index=0, instruction=payment(), allow=False, reasons=["CAP_PAYMENT_VALUE", "X"]), "CAP_PAYMENT_VALUE"),
        (HandedItem(tx_index=0, instruction=payment(), allow=False), "POLICY_DENIED"),
        (HandedItem(tx_index=0, instruction=payment(), allow=True, refused_code="AGENT_MISMATCH"), "AGENT_MISMATCH"),
        (HandedItem(tx_index=0, instruction=payment(by=LUANGWA), allow=False, reasons=["POLICY_DENIED"]), "AGENT_MISMATCH"),
        (allowed(by=LUANGWA, to=KAFUE), "AGENT_MISMATCH"),
        (allowed(instructed_agent="NOBODYZZXXX"), "NOT_ALLOWED_AGENT"),
        (allowed(amount=1_000_001), "CAP_PAYMENT_VALUE"),
        (allowed(currency="AUD"), "CAP_PAYMENT_VALUE"),
        (allowed(amount=1_000_000), None),
    ],
)
def test_a_payment_is_allowed_only_if_nobody_is_against_it(item: HandedItem, reason: str | None) -> None:
    """Design section 3, station 4: station 2, the writer's fixed code, Rego."""
    (one,) = judged(checked(item)).items
    assert (one.reason_code, one.sequence_id) == (reason, None if reason else 1)


def test_a_business_key_twice_in_one_message_is_a_duplicate_the_second_time() -> None:
    """Also when the first was refused: then it is none."""
    same = payment("same")
    first, second = (HandedItem(tx_index=n, instruction=same, allow=True) for n in range(2))
    assert [one.reason_code for one in judged(checked(first, second)).items] == [None, "DUPLICATE_TRANSACTION"]
    denied = HandedItem(tx_index=0, instruction=same, allow=False)
    assert [one.reason_code for one in judged(checked(denied, second)).items] == ["POLICY_DENIED", None]


def test_a_known_business_key_names_its_instruction_to_its_own_participant_only() -> None:
    """DUPLICATE_TRANSACTION."""
    for owner, detail in ((KAFUE, "i-9"), (LUANGWA, "")):
        (one,) = judged(checked(allowed()), known(duplicates={(0, 0): ("i-9", owner)})).items
        assert (one.reason_code, one.detail) == ("DUPLICATE_TRANSACTION", detail)


def test_daily_caps_are_met_exactly_and_never_passed() -> None:
    """Value first, then count; what is refused takes nothing."""
    rules, knows = governed(100, 251, 3), known(usage={(KAFUE, "ZMW"): (50, 1)})
    items = [allowed(n, amount=amount) for n, amount in enumerate((100, 100, 100, 1))]
    reasons = [one.reason_code for one in judged(checked(*items), knows, rules).items]
    assert reasons == [None, None, "CAP_DAILY_VALUE", "CAP_DAILY_COUNT"]
    assert knows.usage[KAFUE, "ZMW"] == (250, 3)


def test_a_batch_holds_no_token_key_or_business_key_twice() -> None:
    """What comes second waits for the next batch; messages that share nothing go together."""
    one = checked(allowed(ref="a"), identity=verified(jti="1", key="1"))
    same_token = checked(allowed(ref="b"), identity=verified(jti="1", key="2"))
    same_key = checked(allowed(ref="c"), identity=verified(jti="3", key="1"))
    same_payment = checked(allowed(ref="a"), identity=verified(LUANGWA, jti="4", key="1"))
    other = checked(allowed(ref="d"), identity=verified(LUANGWA, jti="5", key="9"))
    assert split([one, same_token, same_key, same_payment, other]) == ([0, 4], [1, 2, 3])
    assert split([checked(identity=BROKEN), checked(identity=BROKEN)]) == ([0, 1], [])
    assert split([checked(identity=SPENDABLE), checked(identity=SPENDABLE)]) == ([0], [1])


def test_the_order_of_messages_that_share_something_is_kept() -> None:
    """A message never overtakes one that it shares a key with, also not one that waits itself."""
    first = checked(allowed(ref="a"), identity=verified(jti="1", key="1"))
    second = checked(allowed(ref="b"), identity=verified(jti="2", key="1"))
    third = checked(allowed(ref="b"), identity=verified(jti="3", key="3"))
    assert split([first, second, third]) == ([0], [1, 2])


def test_fixed_code_knows_wildcards_in_a_sandbox_only() -> None:
    """Design section 3: ``*`` of a participant and any instructed agent need both the wildcard and the sandbox."""
    data = support.environment_data()
    data["wildcards"]["agents"] = True
    next(p for p in data["participants"] if p["id"] == KAFUE)["agents"] = ["*"]
    stranger = payment(instructing_agent="STRANGEZXXX", instructed_agent="NOBODYZZXXX")
    assert Governed(data).refusal(KAFUE, stranger) is None
    assert Governed(data).refusal(LUANGWA, stranger) == "AGENT_MISMATCH"
    assert Governed(data).refusal("nobody", stranger) == "AGENT_MISMATCH"
    for bent in ({**data, "environment": "production"}, {**data, "wildcards": {**data["wildcards"], "agents": False}}):
        assert Governed(bent).refusal(KAFUE, stranger) == "AGENT_MISMATCH"
        assert Governed(bent).refusal(LUANGWA, payment(by=LUANGWA, instructed_agent="NOBODYZZXXX")) == "NOT_ALLOWED_AGENT"
