"""Judging in batches against a plain model that knows one payment at a time (BAT-04: batching never changes correctness)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.intake.handover import HandedItem
from sidecar.intake.verdict import Checked, Judged, Known, judge, split
from tests.sidecar.support import KAFUE, LUANGWA, payment
from tests.sidecar.test_pure_verdict import FIRST, checked, governed, verified

PAYMENT_MAX, VALUE_MAX, COUNT_MAX = 60, 150, 4
RULES = governed(PAYMENT_MAX, VALUE_MAX, COUNT_MAX)


@dataclass
class Books:
    """What a database holds after each commit."""

    tokens: set[str] = field(default_factory=set)
    first: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    counters: dict[str, tuple[int, int]] = field(default_factory=dict)
    usage: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def known(self, batch: list[Checked]) -> Known:
        """``judge_batch``."""
        identities = [one.identity for one in batch]
        names = {identity.participant_id for identity in identities}
        return Known(
            replayed={n for n, identity in enumerate(identities) if identity.jti_hash in self.tokens}, revoked={},
            existing={
                n: self.first[key] for n, identity in enumerate(identities)
                if (key := (str(identity.participant_id), str(identity.idempotency_key))) in self.first
            },
            duplicates={
                (n, i): ("known", self.accepted[item.instruction["business_key"]])
                for n, one in enumerate(batch) for i, item in enumerate(one.message.items)
                if item.instruction is not None and item.instruction["business_key"] in self.accepted
            },
            counters={name: pair for name, pair in self.counters.items() if name in names},
            usage=dict(self.usage),
        )  # fmt: skip

    def commit(self, verdicts: list[Judged]) -> None:
        """``record_batch``: counts again by itself what was given out."""
        for verdict in verdicts:
            name, identity = str(verdict.participant_id), verdict.checked.identity
            sequence, tenant = self.counters.get(name, (1, 1))
            if verdict.spends:
                assert identity.jti_hash not in self.tokens
                self.tokens.add(str(identity.jti_hash))
            if verdict.items:
                rows = [{**FIRST, "digest": verdict.checked.message.body_sha256} for _ in verdict.items]
                assert self.first.setdefault((name, str(identity.idempotency_key)), rows) is rows
            for one in verdict.items:
                if not one.allowed:
                    continue
                instruction = one.item.instruction
                assert instruction is not None
                assert instruction["business_key"] not in self.accepted
                self.accepted[instruction["business_key"]] = name
                sequence += 1
                value, count = self.usage.get((name, "ZMW"), (0, 0))
                self.usage[name, "ZMW"] = (value + instruction["amount_minor"], count + 1)
            self.counters[name] = (sequence, tenant + 1)


def expected(books: Books, one: Checked) -> list[str | None] | str:
    """The plain model: reasons of one message, or why it is rejected; ``repeated`` for a true retry."""
    identity = one.identity
    name, used = str(identity.participant_id), dict(books.usage)
    if identity.jti_hash in books.tokens:
        return "TOKEN_REPLAYED"
    rows = books.first.get((name, str(identity.idempotency_key)))
    if rows is not None:
        return "repeated" if rows[0]["digest"] == one.message.body_sha256 else "IDEMPOTENCY_KEY_REUSED"
    reasons: list[str | None] = []
    mine: set[str] = set()
    for item in one.message.items:
        assert item.instruction is not None
        amount, business = item.instruction["amount_minor"], item.instruction["business_key"]
        value, count = used.get((name, "ZMW"), (0, 0))
        capped = name == KAFUE
        if not item.allow:
            reasons.append("POLICY_DENIED")
        elif capped and amount > PAYMENT_MAX:
            reasons.append("CAP_PAYMENT_VALUE")
        elif business in books.accepted or business in mine:
            reasons.append("DUPLICATE_TRANSACTION")
        elif capped and value + amount > VALUE_MAX:
            reasons.append("CAP_DAILY_VALUE")
        elif capped and count + 1 > COUNT_MAX:
            reasons.append("CAP_DAILY_COUNT")
        else:
            reasons.append(None)
            mine.add(business)
            used[name, "ZMW"] = (value + amount, count + 1)
    return reasons


def found(verdict: Judged) -> list[str | None] | str:
    """The verdict in the model's terms."""
    if verdict.reject_code is not None:
        return verdict.reject_code
    return "repeated" if verdict.existing else [one.reason_code for one in verdict.items]


@st.composite
def messages(draw: st.DrawFn) -> Checked:
    """Few tokens, keys, payments and bodies, so that they collide."""
    name = draw(st.sampled_from([KAFUE, KAFUE, LUANGWA]))
    to = LUANGWA if name == KAFUE else KAFUE
    one = st.builds(
        lambda ref, amount, allow: (ref, amount, allow),
        st.sampled_from("abcdefgh"), st.integers(1, PAYMENT_MAX + 5), st.integers(0, 5).map(bool),
    )  # fmt: skip
    items = [
        HandedItem(tx_index=n, instruction=payment(ref, by=name, to=to, amount=amount), allow=allow)
        for n, (ref, amount, allow) in enumerate(draw(st.lists(one, min_size=1, max_size=3)))
    ]
    identity = verified(name, jti=draw(st.sampled_from("123456789")), key=draw(st.sampled_from("xyzuvw")))
    return checked(*items, identity=identity, digest=draw(st.sampled_from(["b", "b", "other"])))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(messages(), min_size=1, max_size=8), min_size=1, max_size=4))
def test_batches_give_what_one_message_at_a_time_gives(batches: list[list[Checked]]) -> None:
    """ATT-07, D9, D12: every reason; numbers without gap; caps never passed; a business key accepted once."""
    together, alone = Books(), Books()
    numbers: dict[str, list[int]] = defaultdict(list)
    tenants: dict[str, list[int]] = defaultdict(list)
    for handed in batches:
        waiting = list(handed)
        while waiting:
            now, later = split(waiting)
            assert sorted(now + later) == list(range(len(waiting)))
            batch = [waiting[n] for n in now]
            verdicts = judge(batch, together.known(batch), RULES)
            together.commit(verdicts)
            for one, verdict in zip(batch, verdicts, strict=True):
                assert found(verdict) == expected(alone, one)
                alone.commit(judge([one], alone.known([one]), RULES))
                numbers[str(verdict.participant_id)] += [item.sequence_id for item in verdict.items if item.sequence_id]
                tenants[str(verdict.participant_id)].append(int(verdict.tenant_seq_no or 0))
            waiting = [waiting[n] for n in later]
    assert together == alone
    for given_out in (numbers, tenants):
        assert all(sequence == list(range(1, len(sequence) + 1)) for sequence in given_out.values())
    value, count = together.usage.get((KAFUE, "ZMW"), (0, 0))
    assert value <= VALUE_MAX
    assert count <= COUNT_MAX
