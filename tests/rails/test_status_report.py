"""pacs.002.001.10, against the real schema: status of the group, original ids, ISO reason codes (design section 12)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from contracts.reasons import REASONS
from rails.iso20022.status_report import MESSAGE_TYPE, group_status, render
from rails.sdk.types import MessageInfo, References, RenderRequest, StatusReport, TransactionStatus

REPORT = StatusReport(report_id="RPT-1", created_at="2026-11-24T10:00:00.123456Z")
ORIGINAL = MessageInfo(message_type="pacs.008.001.08", message_id="MSG-1", tx_count=2, created_date="2026-11-24")
REFS = References(
    instruction_ref="IN-1", end_to_end_ref="E2E-1", tx_ref="TX-1", uetr="5f0c7a46-4c1e-4c8a-9a55-0b7a3b8d1e01"
)
OK = TransactionStatus(status="ACTC", refs=REFS)
NO = TransactionStatus(status="RJCT", refs=REFS, iso_reason="AM12", code="AMOUNT_INVALID", detail="zero")


@pytest.fixture(scope="module")
def schema(shared_data: Path) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(shared_data / "xsd" / f"{MESSAGE_TYPE}.xsd"))


def texts(raw: bytes, name: str) -> list[str | None]:
    return [element.text for element in etree.fromstring(raw).iter(f"{{*}}{name}")]


@pytest.mark.parametrize(
    ("results", "group", "wanted"),
    [
        ((OK, OK), None, "ACTC"), ((NO, NO), None, "RJCT"), ((OK, NO), None, "PART"), ((), None, "RJCT"),
        ((), TransactionStatus(status="RJCT", iso_reason="FF01", code="MESSAGE_MALFORMED"), "RJCT"),
    ],
)  # fmt: skip
def test_the_groups_status(
    results: tuple[TransactionStatus, ...], group: TransactionStatus | None, wanted: str, schema: etree.XMLSchema
) -> None:
    raw = render(RenderRequest(report=REPORT, original=ORIGINAL, results=results, group=group))
    schema.assertValid(etree.fromstring(raw))
    assert texts(raw, "GrpSts") == [wanted] == [group_status(results, group)]


def test_the_original_ids_are_echoed(schema: etree.XMLSchema) -> None:
    raw = render(RenderRequest(report=REPORT, original=ORIGINAL, results=(OK, NO)))
    schema.assertValid(etree.fromstring(raw))
    wanted = {
        "MsgId": ["RPT-1"], "CreDtTm": ["2026-11-24T10:00:00.123Z"], "OrgnlMsgId": ["MSG-1"],
        "OrgnlMsgNmId": ["pacs.008.001.08"], "OrgnlNbOfTxs": ["2"], "OrgnlInstrId": ["IN-1"] * 2,
        "OrgnlEndToEndId": ["E2E-1"] * 2, "OrgnlTxId": ["TX-1"] * 2, "OrgnlUETR": [REFS.uetr] * 2,
        "TxSts": ["ACTC", "RJCT"], "Cd": ["AM12"], "AddtlInf": ["AMOUNT_INVALID: zero"], "DtldNbOfTxs": ["1", "1"],
        "DtldSts": ["ACTC", "RJCT"],
    }  # fmt: skip
    assert {name: texts(raw, name) for name in wanted} == wanted


@pytest.mark.parametrize("code", sorted(REASONS))
def test_every_reason_can_be_reported(code: str, schema: etree.XMLSchema) -> None:
    reason = REASONS[code]
    line = TransactionStatus(status="RJCT", iso_reason=reason.iso, code=code, detail=reason.meaning)
    raw = render(RenderRequest(report=REPORT, original=MessageInfo(), group=line))
    schema.assertValid(etree.fromstring(raw))
    assert texts(raw, "OrgnlMsgId") == texts(raw, "OrgnlMsgNmId") == ["NOTPROVIDED"]


TEXT = st.none() | st.text(max_size=130)


def test_whatever_is_echoed_the_report_is_valid(schema: etree.XMLSchema) -> None:
    @settings(max_examples=300, deadline=None)
    @given(refs=st.tuples(TEXT, TEXT, TEXT, TEXT), code=TEXT, detail=st.text(max_size=300), original=TEXT)
    def run(refs: tuple[str | None, ...], code: str | None, detail: str, original: str | None) -> None:
        line = TransactionStatus(
            status="RJCT",
            refs=References(instruction_ref=refs[0], end_to_end_ref=refs[1], tx_ref=refs[2], uetr=refs[3]),
            code=code, detail=detail,
        )  # fmt: skip
        info = MessageInfo(message_id=original, message_type="pacs.008.001.08")
        raw = render(RenderRequest(report=REPORT, original=info, results=(line,)))
        schema.assertValid(etree.fromstring(raw))

    run()
