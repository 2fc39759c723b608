"""Each rule of normalisation by itself (design sections 3 and 8; NEG): the fixed order, agents, money, dates, keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rails.iso20022.normalise import Ruleset
from rails.iso20022.samples import Payment, Sample
from tests.rails.support import VERSIONS, code, codes, context, read, schemas, wide

ONE = Payment()
HEADED = Sample(header="02")
OTHER = "RHUBDEFFXXX"


def instruction(sample: Sample, **changes: object) -> dict[str, object]:
    answer = read(replace(sample, **changes).xml())
    assert codes(answer) == ["OK"] * len(answer.results), answer
    found = answer.results[0].instruction
    assert found is not None
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_pacs_008_is_read_alike(version: str) -> None:
    plain = instruction(Sample(version=version))
    assert plain["amount_minor"] == 125000
    assert (plain["instructing_agent"], plain["instructed_agent"]) == ("KFUBZMLUXXX", "LWGBZMLUXXX")
    assert (plain["uetr"] is not None) == (int(version) >= 8)


@pytest.mark.parametrize("wrapper", ["BizMsgEnvlp", "RequestPayload", "DataPDU", "Envelope", "Message", "Request"])
def test_the_envelope_does_not_matter(wrapper: str) -> None:
    wrapped = read(replace(HEADED, wrapper=wrapper).xml())
    assert wrapped.message.wrapper == wrapper
    assert wrapped.results == read(HEADED.xml()).results


def test_a_message_in_cdata_is_read_by_the_same_rules() -> None:
    inner = replace(HEADED, wrapper="Inner").xml().decode()
    raw = f"<Envelope><Data><![CDATA[{inner}]]></Data></Envelope>".encode()
    answer = read(raw)
    assert (codes(answer), answer.message.wrapper) == (["OK"], "Envelope/CDATA")
    hostile = raw.replace(b"<Inner>", b"<!DOCTYPE Inner><Inner>")
    assert code(hostile) == "MESSAGE_HOSTILE"


def test_nothing_is_looked_for_inside_a_document() -> None:
    """Supplementary data may hold anything, also what looks like another message or header."""
    posing = Sample(payments=(replace(ONE, amount="9999.00"),)).xml().partition(b"?>")[2]
    supplement = b"<SplmtryData><Envlp>" + posing + b"</Envlp></SplmtryData></FIToFICstmrCdtTrf>"
    raw = Sample().xml().replace(b"</FIToFICstmrCdtTrf>", supplement)
    answer = read(raw)
    assert codes(answer) == ["OK"]
    assert answer.results[0].instruction["amount_minor"] == 125000


# the fixed order ------------------------------------------------------------------------------------------------------
def test_the_order_is_parse_type_facets_rules() -> None:
    broken = Sample(
        header="02", header_type="pacs.008.001.10", sender=OTHER, count="7", message_id="M" * 40,
        payments=(replace(ONE, amount="0"),), settlement_date="2020-01-01",
    )  # fmt: skip
    steps = [
        ("MESSAGE_MALFORMED", broken.xml() + b"<"),
        ("HEADER_TYPE_MISMATCH", broken.xml()),
        ("SCHEMA_INVALID", (broken := replace(broken, header_type=None)).xml()),
        ("COUNT_MISMATCH", (broken := replace(broken, message_id="M")).xml()),
        ("HEADER_MISMATCH", (broken := replace(broken, count=None)).xml()),
        ("AMOUNT_INVALID", (broken := replace(broken, sender=None)).xml()),
        ("STALE_MESSAGE", (broken := replace(broken, payments=(ONE,))).xml()),
        ("OK", replace(broken, settlement_date=None).xml()),
    ]
    assert [(code(raw), wanted) for wanted, raw in steps] == [(wanted, wanted) for wanted, _ in steps]


def test_a_type_that_the_release_does_not_permit_is_refused_by_name() -> None:
    none = Ruleset(schemas(), replace_context(message_types=()))
    refused = read(Sample().xml(), none).group_refused
    assert refused is not None
    assert (refused.code, refused.detail) == ("MESSAGE_TYPE_UNSUPPORTED", "pacs.008.001.08: the rail takes nothing")


def replace_context(**changes: object) -> object:
    import msgspec

    return msgspec.structs.replace(context(), **changes)


# agents ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sample", "agents"),
    [
        (Sample(), ("KFUBZMLUXXX", "LWGBZMLUXXX")),
        (Sample(payments=(replace(ONE, instructing=OTHER, instructed="MSIMZMLU"),)), (OTHER, "MSIMZMLUXXX")),
        (Sample(instructing=None, instructed=None), ("KFUBZMLUXXX", "LWGBZMLUXXX")),
        (
            Sample(instructing=None, instructed=None, header="02", sender=OTHER, receiver="SRGBTZTZ"),
            (OTHER, "SRGBTZTZXXX"),
        ),
    ],
    ids=["the group's", "the transaction's before the group's", "debtor's and creditor's", "the header's before those"],
)
def test_which_agents_instruct(sample: Sample, agents: tuple[str, str]) -> None:
    found = instruction(sample)
    assert (found["instructing_agent"], found["instructed_agent"]) == agents


@pytest.mark.parametrize(
    ("inner", "name"),
    [
        ("<ClrSysMmbId><ClrSysId><Cd>ZMCLR</Cd></ClrSysId><MmbId>0107</MmbId></ClrSysMmbId>", "CLR:ZMCLR:0107"),
        ("<ClrSysMmbId><MmbId>0107</MmbId></ClrSysMmbId>", "CLR::0107"),
        ("<LEI>5493001KJTIIGC8Y1R12</LEI>", "LEI:5493001KJTIIGC8Y1R12"),
        ("<Othr><Id>mtnsbx</Id></Othr>", "OTHR:mtnsbx"),
        ("<BICFI>KFUBZMLU</BICFI><LEI>5493001KJTIIGC8Y1R12</LEI>", "KFUBZMLUXXX"),
    ],
)
def test_how_an_agent_is_named(inner: str, name: str) -> None:
    assert instruction(Sample(extra={"KFUBZMLUXXX": inner}))["instructing_agent"] == name


@pytest.mark.parametrize(
    ("inner", "wanted"),
    [
        ("<Nm>Kafue Bank</Nm>", "AGENT_MISSING"),
        ("<ClrSysMmbId><ClrSysId><Prtry>A:B</Prtry></ClrSysId><MmbId>C</MmbId></ClrSysMmbId>", "AGENT_INVALID"),
        ("<Othr><Id>a\nb</Id></Othr>", "AGENT_INVALID"),
    ],
)
def test_an_agent_that_cannot_be_told_is_refused(inner: str, wanted: str) -> None:
    sample = Sample(extra={"KFUBZMLUXXX": inner, "KFUBZMLU": inner})
    assert code(sample.xml()) == wanted


def test_header_and_message_agree_on_eleven_characters() -> None:
    assert code(replace(HEADED, instructing="KFUBZMLU", sender="KFUBZMLUXXX", receiver="LWGBZMLU").xml()) == "OK"
    assert code(replace(HEADED, sender="KFUBZMLKXXX").xml()) == "HEADER_MISMATCH"
    assert code(replace(HEADED, receiver="KFUBZMLUXXX").xml()) == "HEADER_MISMATCH"


def test_a_header_that_identifies_the_agent_in_another_way_does_not_name_it() -> None:
    by_clearing = {"KFUBZMLUXXX": "<ClrSysMmbId><MmbId>0107</MmbId></ClrSysMmbId>"}
    assert code(replace(HEADED, extra=by_clearing).xml()) == "HEADER_MISMATCH"


def test_header_mismatch_holds_under_the_wildest_release() -> None:
    assert code(replace(HEADED, sender=OTHER).xml(), wide()) == "HEADER_MISMATCH"


def test_where_the_message_names_no_agent_the_header_alone_counts() -> None:
    assert instruction(HEADED, instructing=None, sender=OTHER)["instructing_agent"] == OTHER


# money ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("0.01", "ZMW", 1), ("+1.5", "ZMW", 150), ("1.50000", "ZMW", 150), ("00012.3", "ZMW", 1230), ("7", "JPY", 7),
        ("7.00000", "JPY", 7), ("1.234", "BHD", 1234), ("90071992547409.91", "ZMW", 2**53 - 1), (".5", "ZMW", 50),
        ("\n 12.50 \t", "ZMW", 1250),
    ],
)  # fmt: skip
def test_minor_units_by_currency(amount: str, currency: str, minor: int) -> None:
    assert instruction(Sample(payments=(replace(ONE, amount=amount, currency=currency),)))["amount_minor"] == minor


@pytest.mark.parametrize(
    ("amount", "currency", "wanted"),
    [
        ("0", "ZMW", "AMOUNT_INVALID"), ("0.001", "ZMW", "AMOUNT_INVALID"), ("1.5", "JPY", "AMOUNT_INVALID"),
        ("90071992547409.92", "ZMW", "AMOUNT_INVALID"), ("999999999999999999", "JPY", "AMOUNT_INVALID"),
        ("1e3", "ZMW", "SCHEMA_INVALID"), ("-1", "ZMW", "SCHEMA_INVALID"), ("", "ZMW", "SCHEMA_INVALID"),
        ("NaN", "ZMW", "SCHEMA_INVALID"), ("1,50", "ZMW", "SCHEMA_INVALID"), ("١٢", "ZMW", "SCHEMA_INVALID"),
        ("1", "XAU", "CURRENCY_UNKNOWN"), ("1", "XTS", "CURRENCY_UNKNOWN"), ("1", "XXX", "CURRENCY_UNKNOWN"),
        ("1", "zmw", "SCHEMA_INVALID"), ("1", "", "SCHEMA_INVALID"),
    ],
)  # fmt: skip
def test_what_is_no_amount_of_money(amount: str, currency: str, wanted: str) -> None:
    assert code(Sample(payments=(replace(ONE, amount=amount, currency=currency),)).xml()) == wanted


# several transactions -------------------------------------------------------------------------------------------------
PAIR = (replace(ONE, tx_id="A", uetr=None), replace(ONE, tx_id="B", uetr=None, amount="0.05"))


def test_sums_are_compared_exactly_and_for_the_whole_message() -> None:
    pair = Sample(payments=PAIR)
    assert codes(read(pair.summed().xml())) == ["OK", "OK"]
    assert codes(read(replace(pair, control_sum="1250.050000").xml())) == ["OK", "OK"]
    for wrong in ("1250.0500000001", "1250.04", "-1250.05", "125005"):
        assert codes(read(replace(pair, control_sum=wrong).xml())) == ["SUM_MISMATCH"], wrong


def test_a_control_sum_is_over_all_currencies_a_total_over_its_own() -> None:
    mixed = Sample(payments=(ONE, replace(ONE, currency="EUR", tx_id="B", uetr=None)), control_sum="2500.00")
    assert codes(read(mixed.xml())) == ["OK", "OK"]
    assert codes(read(replace(mixed, total=("2500.00", "ZMW")).xml())) == ["SUM_MISMATCH"]


def test_transactions_are_bounded_by_the_release() -> None:
    rules = Ruleset(schemas(), context(transactions_max=1))
    assert code(Sample().xml(), rules) == "OK"
    assert code(Sample(payments=PAIR).xml(), rules) == "TOO_MANY_TRANSACTIONS"


def test_a_refused_transaction_keeps_its_place_and_its_references() -> None:
    bad = replace(ONE, amount="0", tx_id="B", end_to_end_id="E2", instruction_id=None, uetr=None)
    answer = read(Sample(payments=(ONE, bad)).xml())
    refused = answer.results[1].refused
    assert refused is not None
    assert (refused.tx_index, refused.code, answer.message.tx_count) == (1, "AMOUNT_INVALID", 2)
    assert (refused.refs.tx_ref, refused.refs.end_to_end_ref, refused.refs.uetr) == ("B", "E2", None)
    assert answer.results[0].instruction["tx_index"] == 0


# dates and keys -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("day", "wanted"),
    [
        ("2026-11-24", "OK"), ("2026-10-25", "OK"), ("2026-10-24", "STALE_MESSAGE"), ("0001-01-01", "STALE_MESSAGE"),
        ("2026-11-24Z", "OK"), ("2026-11-24+14:00", "OK"), ("2026-02-30", "SCHEMA_INVALID"),
        ("12026-01-01", "DATE_INVALID"), ("-2026-01-01", "DATE_INVALID"),
    ],
)  # fmt: skip
def test_settlement_dates(day: str, wanted: str) -> None:
    assert code(Sample(settlement_date=day).xml()) == wanted


def moved(day: str) -> bytes:
    return Sample(settlement_date=None).xml().replace(b"<CreDtTm>2026-11-24", b"<CreDtTm>" + day.encode())


@pytest.mark.parametrize(
    ("day", "wanted", "in_the_wide"),
    [
        ("2026-11-25", "OK", "OK"), ("2026-11-26", "DATE_INVALID", "OK"), ("2026-10-25", "OK", "OK"),
        ("2026-10-24", "STALE_MESSAGE", "OK"), ("1900-01-01", "STALE_MESSAGE", "STALE_MESSAGE"),
        ("9999-12-31", "DATE_INVALID", "OK"),
    ],
)  # fmt: skip
def test_the_date_of_the_message(day: str, wanted: str, in_the_wide: str) -> None:
    assert (code(moved(day)), code(moved(day), wide())) == (wanted, in_the_wide)


def key(sample: Sample, **changes: object) -> object:
    return instruction(sample, **changes)["business_key"]


def test_the_business_key_is_agent_reference_and_date_and_nothing_else() -> None:
    base = key(Sample())
    same = [
        key(Sample(message_id="OTHER")), key(HEADED), key(Sample(version="10")), key(Sample(instructing="KFUBZMLU")),
        key(Sample(payments=(replace(ONE, amount="1.00", end_to_end_id="X", tx_id="Y", instruction_id="Z"),))),
    ]  # fmt: skip
    assert set(same) == {base}
    different = [
        key(Sample(instructing=OTHER)), key(Sample(settlement_date="2026-11-25")),
        key(Sample(payments=(replace(ONE, uetr="5f0c7a46-4c1e-4c8a-9a55-0b7a3b8d1e02"),))),
        key(Sample(payments=(replace(ONE, uetr=None),))),
        key(Sample(payments=(replace(ONE, uetr=None, tx_id=None),))),
    ]  # fmt: skip
    assert len({base, *different}) == 6


def test_a_reference_means_the_same_with_space_around_it() -> None:
    bare = Payment(uetr=None, tx_id="T1")
    assert key(Sample(payments=(bare,))) == key(Sample(payments=(replace(bare, tx_id="  T1\n"),)))


def test_without_a_settlement_date_the_day_of_the_message_is_in_the_key() -> None:
    assert key(Sample(settlement_date=None)) == key(Sample())


def test_end_to_end_alone_tells_no_duplicate() -> None:
    nothing = replace(ONE, uetr=None, tx_id=None, instruction_id=" ")
    assert code(Sample(payments=(nothing,)).xml()) == "REFERENCE_MISSING"
