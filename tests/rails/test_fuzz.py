"""Mutated bytes of real and own messages: always a clean answer with a code of the closed list, in bounded time."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.money import AMOUNT_MINOR_MAX, decimal_text
from contracts.reasons import REASONS
from contracts.schemas import fast_validator
from rails.iso20022.samples import Payment, Sample
from rails.sdk.types import NormaliseAnswer
from tests.rails.examples import files
from tests.rails.support import codes, read, wide

SECONDS_MAX = 2.0
FUZZ = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
PIECES = [
    b"<!DOCTYPE a [<!ENTITY x 'y'>]>", b"&x;", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?", b"?>", b"\x00",
    b"\xff\xfe", b"\xef\xbb\xbf", b"</",
    b"/>", b"<Document", b"<AppHdr>", b'xmlns="', b"&#x0;", b"&#49;", b"9" * 40, b"-", b"XAU",
    b"XXXX", b"<CdtTrfTxInf>", b"</CdtTrfTxInf>", b"<InstgAgt/>", b"<Fr/>", b"{", b"\xc3\x28", b" " * 300,
    b'<a xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08">', b"T24:00:00Z", b"2026-13-45",
]  # fmt: skip


@cache
def own() -> tuple[bytes, ...]:
    return tuple(raw for name, raw in sorted(files().items()) if not name.endswith(".toml"))


@st.composite
def mutated(draw: st.DrawFn, bases: tuple[bytes, ...]) -> bytes:
    raw = bytearray(draw(st.sampled_from(bases)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(raw)))
        match draw(st.integers(0, 5)):
            case 0:
                raw[at : at + 1] = draw(st.binary(min_size=1, max_size=4))
            case 1:
                raw[at:at] = draw(st.sampled_from(PIECES))
            case 2:
                del raw[at : at + draw(st.integers(1, 80))]
            case 3:
                end = at + draw(st.integers(1, 200))
                raw[at:at] = raw[at:end]
            case 4:
                del raw[at:]
            case _:
                other = draw(st.sampled_from(bases))
                start = draw(st.integers(0, len(other)))
                raw[at:at] = other[start : start + draw(st.integers(1, 200))]
    return bytes(raw)


def clean(answer: NormaliseAnswer) -> None:
    assert set(codes(answer)) <= REASONS.keys() | {"OK"}
    if answer.group_refused is not None:
        assert answer.results == ()
        assert answer.group_refused.tx_index == -1
        assert REASONS[answer.group_refused.code].station == "normalise"
        return
    assert answer.message.tx_count == len(answer.results) > 0
    for index, result in enumerate(answer.results):
        assert (result.instruction is None) != (result.refused is None)
        if result.instruction is not None:
            assert fast_validator("symphony.instruction/1").is_valid(result.instruction)
            assert result.instruction["tx_index"] == index


def judged(raw: bytes) -> None:
    start = time.monotonic()
    clean(read(raw, wide()))
    assert time.monotonic() - start < SECONDS_MAX


@FUZZ
@given(raw=mutated(own()))
def test_mutated_messages_of_our_own(raw: bytes) -> None:
    judged(raw)


def test_mutated_real_messages(shared_data: Path) -> None:
    real = tuple(p.read_bytes() for p in sorted((shared_data / "iso20022").glob("*/*")) if p.stat().st_size < 40_000)

    @FUZZ
    @given(raw=mutated(real))
    def run(raw: bytes) -> None:
        judged(raw)

    run()


@FUZZ
@given(raw=st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_bytes_that_are_no_message(raw: bytes) -> None:
    answer = read(raw)
    clean(answer)
    assert answer.group_refused is not None


@pytest.mark.parametrize("step", [1, 7, 8])
def test_a_message_cut_anywhere_is_never_taken(step: int) -> None:
    raw = Sample(header="02").xml()
    for end in range(step % 7, len(raw.rstrip()) - 1, 7):
        answer = read(raw[:end])
        assert answer.group_refused is not None, end
        clean(answer)


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="￾￿"), max_size=50)


@FUZZ
@given(ids=st.tuples(TEXT, TEXT, TEXT), agent=TEXT, message_id=TEXT)
def test_any_text_in_a_reference_is_carried_or_refused(ids: tuple[str, str, str], agent: str, message_id: str) -> None:
    from xml.sax.saxutils import escape

    payment = Payment(instruction_id=ids[0], tx_id=ids[1], end_to_end_id=ids[2], uetr=None)
    inner = {"KFUBZMLUXXX": f"<Othr><Id>{escape(agent)}</Id></Othr>"}
    answer = read(Sample(payments=(payment,), message_id=message_id, extra=inner).xml())
    clean(answer)
    if codes(answer) == ["OK"]:
        instruction = answer.results[0].instruction
        assert instruction["tx_ref"] == (ids[1].strip() or None)
        assert instruction["instructing_agent"] == f"OTHR:{agent.strip()}"


@FUZZ
@given(minor=st.integers(1, AMOUNT_MINOR_MAX), exponent=st.sampled_from([(0, "JPY"), (2, "ZMW"), (3, "BHD")]))
def test_every_amount_comes_back_as_it_was_sent(minor: int, exponent: tuple[int, str]) -> None:
    text = decimal_text(minor, exponent[0])
    answer = read(Sample(payments=(Payment(amount=text, currency=exponent[1]),)).summed().xml())
    assert answer.results[0].instruction["amount_minor"] == minor


@FUZZ
@given(minors=st.lists(st.integers(1, 10**12), min_size=1, max_size=20), off=st.integers(-3, 3))
def test_a_sum_holds_only_if_it_is_exact(minors: list[int], off: int) -> None:
    payments = tuple(Payment(amount=decimal_text(m, 2), tx_id=f"T{n}", uetr=None) for n, m in enumerate(minors))
    said = sum(minors) + off
    if said < 1:
        return
    answer = read(Sample(payments=payments, control_sum=decimal_text(said, 2)).xml())
    assert codes(answer) == (["OK"] * len(minors) if off == 0 else ["SUM_MISMATCH"])
