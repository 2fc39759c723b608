"""Messages of our own making, for examples, demos, benchmarks and tests; nothing here is on the way of a payment.

``Sample.xml()`` writes a pacs.008 of any version that the XSDs accept, with or without a header and an envelope.
``freshen`` makes an example ready to be sent now: today's date, new UETRs and ids, everything else as it was.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

EXAMPLE_MOMENT: Final = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
"""The date that every example carries."""
_ZONE: Final = ZoneInfo("Africa/Lusaka")
"""The zone of the sandbox's rail: its business day begins two hours before that of UTC."""
_ISO: Final = "urn:iso:std:iso:20022:tech:xsd:"
_UETR: Final = re.compile(rb"(?<=<UETR>)[^<]{36}(?=</UETR>)")
_FRESH: Final = re.compile(rb"(?<=<)(MsgId|BizMsgIdr|InstrId|TxId|EndToEndId)>([^<]{1,35})<")


@dataclass(frozen=True, slots=True)
class Payment:
    """One transaction. Agents are BICs; ``None`` leaves an element out."""

    amount: str = "1250.00"
    currency: str = "ZMW"
    end_to_end_id: str | None = "INV-2026-1142"
    tx_id: str | None = "TX-0001"
    instruction_id: str | None = "IN-0001"
    uetr: str | None = "5f0c7a46-4c1e-4c8a-9a55-0b7a3b8d1e01"
    instructing: str | None = None
    instructed: str | None = None
    debtor_agent: str = "KFUBZMLUXXX"
    creditor_agent: str = "LWGBZMLUXXX"
    settlement_date: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One message. ``header`` is the head.001 version (``"02"``) or ``None``; ``wrapper`` the envelope's element."""

    version: str = "08"
    payments: tuple[Payment, ...] = (Payment(),)
    message_id: str = "MSG-0001"
    moment: datetime = EXAMPLE_MOMENT
    settlement_date: str | None = "2026-11-24"
    method: str = "CLRG"
    instructing: str | None = "KFUBZMLUXXX"
    instructed: str | None = "LWGBZMLUXXX"
    count: str | None = None
    control_sum: str | None = None
    total: tuple[str, str] | None = None
    header: str | None = None
    header_type: str | None = None
    sender: str | None = None
    receiver: str | None = None
    wrapper: str | None = None
    extra: dict[str, str] = field(default_factory=dict)

    def xml(self) -> bytes:
        """The message, UTF-8."""
        document = self._document()
        wrapper = self.wrapper or ("Envelope" if self.header else None)
        body = f"<{wrapper}>\n{self._header()}{document}</{wrapper}>\n" if wrapper else document
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode()

    def summed(self) -> Sample:
        """The same message with true control sum and total."""
        total = str(sum((Decimal(p.amount) for p in self.payments), Decimal(0)))
        return replace(self, control_sum=total, total=(total, self.payments[0].currency))

    @property
    def message_type(self) -> str:
        """``pacs.008.001.08``."""
        return f"pacs.008.001.{self.version}"

    def _document(self) -> str:
        body = self.message_type if self.version == "01" else "FIToFICstmrCdtTrf"
        transactions = "".join(self._transaction(p) for p in self.payments)
        return (
            f'<Document xmlns="{_ISO}{self.message_type}">\n<{body}>\n{self._group()}{transactions}</{body}>\n'
            "</Document>\n"
        )

    def _group(self) -> str:
        total = f'<TtlIntrBkSttlmAmt Ccy="{self.total[1]}">{self.total[0]}</TtlIntrBkSttlmAmt>\n' if self.total else ""
        return (
            "<GrpHdr>\n"
            + _leaf("MsgId", self.message_id)
            + _leaf("CreDtTm", self.moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
            + _leaf("NbOfTxs", self.count or str(len(self.payments)))
            + _leaf("CtrlSum", self.control_sum)
            + total
            + _leaf("IntrBkSttlmDt", self.settlement_date)
            + f"<SttlmInf>{_leaf('SttlmMtd', self.method).strip()}</SttlmInf>\n"
            + self._agent("InstgAgt", self.instructing)
            + self._agent("InstdAgt", self.instructed)
            + "</GrpHdr>\n"
        )

    def _transaction(self, payment: Payment) -> str:
        uetr = payment.uetr if int(self.version) >= 8 else None
        return (
            "<CdtTrfTxInf>\n<PmtId>\n"
            + _leaf("InstrId", payment.instruction_id)
            + _leaf("EndToEndId", payment.end_to_end_id)
            + _leaf("TxId", payment.tx_id)
            + _leaf("UETR", uetr)
            + f'</PmtId>\n<IntrBkSttlmAmt Ccy="{payment.currency}">{payment.amount}</IntrBkSttlmAmt>\n'
            + _leaf("IntrBkSttlmDt", payment.settlement_date)
            + _leaf("ChrgBr", "SHAR")
            + self._agent("InstgAgt", payment.instructing)
            + self._agent("InstdAgt", payment.instructed)
            + "<Dbtr><Nm>Chilufya Trading Ltd</Nm></Dbtr>\n"
            + self._agent("DbtrAgt", payment.debtor_agent)
            + self._agent("CdtrAgt", payment.creditor_agent)
            + "<Cdtr><Nm>Mutale Farms</Nm></Cdtr>\n</CdtTrfTxInf>\n"
        )

    def _agent(self, name: str, bic: str | None) -> str:
        if bic is None:
            return ""
        element = "BIC" if int(self.version) <= 2 else "BICFI"
        inner = self.extra.get(bic, f"<{element}>{bic}</{element}>")
        return f"<{name}><FinInstnId>{inner}</FinInstnId></{name}>\n"

    def _header(self) -> str:
        if self.header is None:
            return ""
        sender, receiver = self.sender or self.instructing, self.receiver or self.instructed
        return (
            f'<AppHdr xmlns="{_ISO}head.001.001.{self.header}">\n'
            f"<Fr><FIId><FinInstnId><BICFI>{sender}</BICFI></FinInstnId></FIId></Fr>\n"
            f"<To><FIId><FinInstnId><BICFI>{receiver}</BICFI></FinInstnId></FIId></To>\n"
            + _leaf("BizMsgIdr", self.message_id)
            + _leaf("MsgDefIdr", self.header_type or self.message_type)
            + _leaf("CreDt", self.moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
            + "</AppHdr>\n"
        )


def freshen(
    raw: bytes, moment: datetime, *, new_uetr: Callable[[], str] = lambda: str(uuid.uuid4()), mark: str = ""
) -> bytes:
    """An example, dated the rail's day at ``moment``, with new UETRs; ``mark`` behind its ids makes them new, too."""
    day = moment.astimezone(_ZONE).strftime("%Y-%m-%d").encode()
    example_day = EXAMPLE_MOMENT.strftime("%Y-%m-%d").encode()
    fresh = _UETR.sub(lambda _: new_uetr().encode(), raw.replace(example_day, day))
    if not mark:
        return fresh
    return _FRESH.sub(lambda m: b"%s>%s<" % (m[1], (m[2][: 35 - len(mark)] + mark.encode())), fresh)


def _leaf(name: str, text: str | None) -> str:
    return "" if text is None else f"<{name}>{escape(text)}</{name}>\n"
