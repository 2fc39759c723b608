"""Hand-packed arrays are what PostgreSQL reads, value for value; both validators take the posting schema alike."""

from __future__ import annotations

import json
from datetime import date

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import Refused
from contracts.schemas import check, fast_validator
from services.ledger.store import arrays
from tests.ledger.support import posting, sealing

TEXT = st.text(st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"]), max_size=20)
KINDS = {
    arrays.UuidArray: st.uuids(), arrays.BigintArray: st.integers(-(2**63), 2**63 - 1), arrays.TextArray: TEXT,
    arrays.ByteaArray: st.binary(max_size=20), arrays.BooleanArray: st.booleans(),
    arrays.DateArray: st.none() | st.dates(date(1, 1, 1)),
}  # fmt: skip


@pytest.fixture(scope="module")
def connection(database):
    with psycopg.connect(database.admin, autocommit=True, prepare_threshold=0) as made:
        arrays.register(made)
        yield made


@settings(max_examples=25, deadline=None)
@given(st.data())
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_array_arrives_as_it_was(connection, kind, data):
    values = data.draw(st.lists(KINDS[kind], max_size=20))
    assert connection.execute("SELECT %b", [kind(values)]).fetchone()[0] == values


BODY = st.fixed_dictionaries({
    name: st.sampled_from([value, None, "", 0, -1, 2**53, "post", "ZMW", "A" * 81, "OTHR:\x00", "2026-11-24", True, []])
    for name, value in json.loads(posting()).items()
})  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(BODY, st.sets(st.sampled_from(sorted(json.loads(posting()))), max_size=2), st.booleans())
def test_the_fast_validator_and_the_explaining_one_agree(body, dropped, extra):
    body = {name: value for name, value in body.items() if name not in dropped} | ({"memo": 1} if extra else {})
    try:
        check("symphony.posting/1", body, code="POSTING_INVALID")
        explained = True
    except Refused:
        explained = False
    assert fast_validator("symphony.posting/1").is_valid(body) is explained


def test_both_bodies_fit_the_schema():
    for body in (posting(), posting(settlement_date=None), sealing(json.loads(posting())["instruction_id"])):
        check("symphony.posting/1", json.loads(body), code="POSTING_INVALID")
        assert fast_validator("symphony.posting/1").is_valid(json.loads(body))
