"""pacs.002.001.10: the status report in the participant's own format, original ids echoed (design section 12).

``GrpSts`` is ``ACTC`` where every transaction is accepted, ``RJCT`` where none is, ``PART`` where they differ. ACTC
says that the instruction is taken, technically valid: never that it is settled. Each reason is an ISO external status
reason code, with our own reason code in ``AddtlInf``.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from lxml import etree

from contracts.times import parse_rfc3339
from rails.iso20022.envelope import ISO_NAMESPACE
from rails.sdk.types import RenderRequest, TransactionStatus

MESSAGE_TYPE: Final = "pacs.002.001.10"
_NAMESPACE: Final = ISO_NAMESPACE + MESSAGE_TYPE
_UNKNOWN: Final = "NOTPROVIDED"
_ID_MAX: Final = 35
_UETR_LENGTH: Final = 36
_INFORMATION_MAX: Final = 105
_UETR: Final = re.compile(r"[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}")
_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(request: RenderRequest) -> bytes:
    """The whole report, UTF-8 with its XML declaration."""
    document = etree.fromstring(f'<Document xmlns="{_NAMESPACE}"/>')
    report = _child(document, "FIToFIPmtStsRpt")
    header = _child(report, "GrpHdr")
    _text(header, "MsgId", request.report.report_id)
    moment = parse_rfc3339(request.report.created_at)
    _text(header, "CreDtTm", moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    _group(report, request)
    for result in request.results:
        _transaction(report, result)
    return bytes(etree.tostring(document, xml_declaration=True, encoding="UTF-8"))


def group_status(results: tuple[TransactionStatus, ...], group: TransactionStatus | None) -> str:
    """The status of the message as a whole."""
    statuses = {result.status for result in results}
    if group is not None or not statuses:
        return group.status if group is not None else "RJCT"
    return statuses.pop() if len(statuses) == 1 else "PART"


def _group(report: etree._Element, request: RenderRequest) -> None:
    original = _child(report, "OrgnlGrpInfAndSts")
    _text(original, "OrgnlMsgId", request.original.message_id or _UNKNOWN)
    _text(original, "OrgnlMsgNmId", request.original.message_type or _UNKNOWN)
    if request.original.tx_count:
        _text(original, "OrgnlNbOfTxs", str(request.original.tx_count))
    status = group_status(request.results, request.group)
    _text(original, "GrpSts", status)
    if request.group is not None:
        _reason(original, request.group)
    if status == "PART":
        for each, number in sorted(Counter(r.status for r in request.results).items()):
            detail = _child(original, "NbOfTxsPerSts")
            _text(detail, "DtldNbOfTxs", str(number))
            _text(detail, "DtldSts", each)


def _transaction(report: etree._Element, result: TransactionStatus) -> None:
    entry = _child(report, "TxInfAndSts")
    refs = result.refs
    uetr = refs.uetr if refs.uetr is not None and _UETR.fullmatch(refs.uetr) else None
    for name, value in (
        ("OrgnlInstrId", refs.instruction_ref),
        ("OrgnlEndToEndId", refs.end_to_end_ref),
        ("OrgnlTxId", refs.tx_ref),
        ("OrgnlUETR", uetr),
        ("TxSts", result.status),
    ):
        if value:
            _text(entry, name, value, length_max=_UETR_LENGTH if name == "OrgnlUETR" else _ID_MAX)
    _reason(entry, result)


def _reason(parent: etree._Element, result: TransactionStatus) -> None:
    if result.iso_reason is None and result.code is None:
        return
    information = _child(parent, "StsRsnInf")
    reason = _child(information, "Rsn")
    if result.iso_reason is not None:
        _text(reason, "Cd", result.iso_reason[:4])
    else:
        _text(reason, "Prtry", result.code or "")
    words = ": ".join(word for word in (result.code, result.detail) if word)
    if words:
        _text(information, "AddtlInf", words, length_max=_INFORMATION_MAX)


def _child(parent: etree._Element, name: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{_NAMESPACE}}}{name}")


def _text(parent: etree._Element, name: str, text: str, *, length_max: int = _ID_MAX) -> None:
    _child(parent, name).text = _NOT_XML.sub("", text)[:length_max] or _UNKNOWN
