"""The messages under examples/: as their generator writes them, and each with the answer that its name promises."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime

import pytest

from rails.iso20022.samples import freshen
from tests.rails.examples import BAD, PARTLY, VALID, files
from tests.rails.support import EXAMPLES, code, codes, narrow, read


def test_the_files_on_disk_are_those_of_the_generator() -> None:
    on_disk = {
        str(path.relative_to(EXAMPLES)): path.read_bytes()
        for path in EXAMPLES.rglob("*")
        if path.is_file() and path.name != "README.md"
    }
    assert on_disk == files()


@pytest.mark.parametrize("name", sorted(VALID))
def test_a_valid_example_is_taken(name: str) -> None:
    answer = read((EXAMPLES / "valid" / name).read_bytes())
    assert codes(answer) == ["OK"] * len(VALID[name].payments)
    assert answer.message.message_type == VALID[name].message_type


@pytest.mark.parametrize("name", sorted(PARTLY))
def test_a_partly_good_example_is_taken_in_part(name: str) -> None:
    assert codes(read((EXAMPLES / "partly" / name).read_bytes())) == PARTLY[name][1]


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_example_gives_its_code(name: str) -> None:
    wanted = tomllib.loads((EXAMPLES / "bad" / "codes.toml").read_text("utf-8"))
    assert code((EXAMPLES / "bad" / name).read_bytes()) == wanted[name] == BAD[name][1]


def test_examples_of_versions_headers_and_countries_are_there() -> None:
    assert {sample.version for sample in VALID.values()} >= {"02", "08", "09", "10", "13"}
    assert {sample.header for sample in VALID.values()} == {None, "01", "02", "03"}
    countries = {r.instruction["instructing_agent"][4:6] for s in VALID.values() for r in read(s.xml()).results}
    assert countries == {"ZM", "ZA", "DE", "TZ"}


def test_a_freshened_example_is_dated_today_and_a_payment_of_its_own() -> None:
    raw = VALID["zm-bulk-08.xml"].xml()
    later = datetime(2027, 6, 1, tzinfo=UTC)
    fresh = freshen(raw, later, mark="-r7")
    answer = read(fresh, narrow(), now="2027-06-01T10:00:00.000000Z")
    assert codes(answer) == ["OK"] * 4
    keys = {r.instruction["business_key"] for r in answer.results}
    assert len(keys) == 4
    assert not keys & {r.instruction["business_key"] for r in read(raw).results}
    assert answer.message.message_id == "KFU-0080-r7"
    assert len(set(re.findall(rb"<UETR>([^<]+)", fresh))) == 4


def test_late_in_the_evening_a_freshened_example_is_dated_the_rails_next_day() -> None:
    """At 22:30 UTC the business day in Lusaka is the next one; a message of the day before would be refused."""
    fresh = freshen(VALID["zm-domestic-08.xml"].xml(), datetime(2027, 6, 1, 22, 30, tzinfo=UTC))
    answer = read(fresh, narrow(), now="2027-06-01T22:30:00.000000Z")
    assert codes(answer) == ["OK"]
    assert {r.instruction["settlement_date"] for r in answer.results} == {"2027-06-02"}
