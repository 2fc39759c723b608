"""The order of (epoch, attempt): any sequence against a model, and races that nobody may win twice."""

from __future__ import annotations

import asyncio
import hashlib
import random
from uuid import uuid4

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.permit import Claims
from services.ledger.store import Database
from services.ledger.store.postings import Effect, post, seal
from tests.ledger.support import AGENTS

DIGESTS = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a", "b", "seal")}


def effect(instruction, purpose, epoch, attempt, content="a", admitted=True):
    body = {"kind": "transfer", "rail": "iso20022", "amount_minor": 5 if content == "a" else 6, "currency": "ZMW",
            "debit_agent": AGENTS[0], "credit_agent": AGENTS[1], "settlement_date": None}  # fmt: skip
    claims = Claims(
        version=1, environment="sandbox", sidecar="zm-rail", key_id="0" * 64, instruction_id=instruction,
        attempt=attempt, epoch=epoch, purpose=purpose, release_number=1,
        request_sha256=DIGESTS["seal" if purpose == "seal" else content],
        policy_digest="0" * 64, attestation_leaf_hash="0" * 64, audience="core-ledger", iat=1, exp=2,
    )  # fmt: skip
    return Effect(claims, body, admitted)


class Model:
    """What an instruction's history must answer."""

    def __init__(self):
        self.mark = ()
        self.posted = None

    def expect(self, purpose, pair, content, admitted):
        mark = (pair, purpose, "seal" if purpose == "seal" else content)
        if self.mark and (pair < self.mark[0] or (pair == self.mark[0] and mark != self.mark)):
            return "PERMIT_SUPERSEDED"
        self.mark = mark
        if purpose == "seal":
            return "SEALED"
        if self.posted is not None:
            return "REPEATED" if self.posted == content else "POSTING_CONFLICT"
        if not admitted:
            return "ACCOUNT_UNKNOWN"
        self.posted = content
        return "POSTED"


@pytest.fixture(scope="module")
def loop():
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture(scope="module")
def store(database, loop):
    made = Database(database.writer, connections_max=8)
    yield made
    loop.run_until_complete(made.close())


STEPS = st.lists(
    st.tuples(st.sampled_from(["post", "post", "seal"]), st.tuples(st.integers(0, 2), st.integers(0, 2)),
              st.sampled_from("aab"), st.sampled_from([True, True, False])),
    min_size=1, max_size=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_sequence_answers_as_the_model_does(store, loop, steps):
    instruction, model = str(uuid4()), Model()

    async def run():
        for purpose, pair, content, admitted in steps:
            call = post if purpose == "post" else seal
            (answer,) = await call(store, [effect(instruction, purpose, *pair, content, admitted)])
            assert answer.outcome == model.expect(purpose, pair, content, admitted)
            if answer.outcome in {"POSTED", "REPEATED"}:
                assert answer.posting_id is not None
            if answer.outcome == "SEALED":
                assert (answer.posting_id is not None) == (model.posted is not None)

    loop.run_until_complete(run())


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, min_size=2, max_size=12))
def test_a_batch_answers_each_item_as_if_it_were_alone(store, loop, histories):
    """BAT-04: step n of every history in one call."""
    instructions = [str(uuid4()) for _ in histories]
    models = [Model() for _ in histories]

    async def run():
        for number in range(max(map(len, histories))):
            for purpose, call in (("post", post), ("seal", seal)):
                chosen = [n for n, steps in enumerate(histories) if number < len(steps) and steps[number][0] == purpose]
                if not chosen:
                    continue
                items = [(n, *histories[n][number][1:]) for n in chosen]
                answers = await call(store, [effect(instructions[n], purpose, *p, c, a) for n, p, c, a in items])
                wanted = [models[n].expect(purpose, p, c, a) for n, p, c, a in items]
                assert [answer.outcome for answer in answers] == wanted

    loop.run_until_complete(run())


def test_a_seal_and_a_post_at_once_never_both_win_wrongly(store, loop, database):
    """Many rounds, both orders: "not posted" under a seal is true for ever, "posted" names the posting."""
    seed = random.randrange(2**32)
    dice, told = random.Random(seed), {"posted": 0, "not posted": 0}

    async def one():
        instruction = str(uuid4())

        async def later(call, item):
            await asyncio.sleep(dice.random() * 0.002)
            return (await call(store, [item]))[0]

        posted, sealed = await asyncio.gather(
            later(post, effect(instruction, "post", 1, 1)), later(seal, effect(instruction, "seal", 1, 2))
        )
        assert sealed.outcome == "SEALED"
        if sealed.posting_id is None:
            assert posted.outcome == "PERMIT_SUPERSEDED"
            told["not posted"] += 1
        else:
            assert (posted.outcome, posted.posting_id) == ("POSTED", sealed.posting_id)
            told["posted"] += 1
        return instruction, sealed.posting_id

    async def run():
        rounds = []
        for _ in range(75):
            rounds += await asyncio.gather(*[one() for _ in range(4)])
        return rounds

    rounds = loop.run_until_complete(run())
    with psycopg.connect(database.admin) as connection:
        rows = dict(connection.execute("SELECT instruction_id::text, posting_id FROM ledger.postings").fetchall())
    assert all(rows.get(instruction) == posting_id for instruction, posting_id in rounds), f"seed {seed}"
    assert min(told.values()) > 10, f"the race was one-sided: {told}, seed {seed}"


def test_the_same_instruction_in_many_batches_at_once_is_posted_once(store, loop, database):
    """Batches of the same ids in other orders neither deadlock nor post twice."""
    instructions = [str(uuid4()) for _ in range(30)]
    seed = random.randrange(2**32)
    dice = random.Random(seed)

    async def run():
        batches = [dice.sample(instructions, len(instructions)) for _ in range(8)]
        return await asyncio.gather(*[post(store, [effect(i, "post", 1, 1) for i in batch]) for batch in batches])

    outcomes = [answer.outcome for answers in loop.run_until_complete(run()) for answer in answers]
    assert (outcomes.count("POSTED"), outcomes.count("REPEATED")) == (30, 210), f"seed {seed}"
    with psycopg.connect(database.admin) as connection:
        counted = "SELECT count(*) FROM ledger.postings WHERE instruction_id = ANY (%s::uuid[])"
        assert connection.execute(counted, (instructions,)).fetchone() == (30,)


def test_the_books_balance_and_every_posting_has_two_lines(store, loop, database):
    loop.run_until_complete(post(store, [effect(str(uuid4()), "post", 1, 1) for _ in range(100)]))
    with psycopg.connect(database.admin) as connection:
        assert connection.execute("SELECT sum(amount_minor) FROM ledger.lines").fetchone() == (0,)
        lines, postings = connection.execute(
            "SELECT (SELECT count(*) FROM ledger.lines), (SELECT count(*) FROM ledger.postings)"
        ).fetchone()
    assert lines == 2 * postings > 0
