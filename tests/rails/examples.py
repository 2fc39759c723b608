"""The messages of ``examples/messages``, as code: ``python -m tests.rails.examples`` writes them, a test compares them.

All are ours, generated; all carry one date (``rails.iso20022.samples.EXAMPLE_MOMENT``). ``BAD`` names the code of each.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime

from rails.iso20022.samples import Payment, Sample
from tests.rails.support import EXAMPLES

ISO = "urn:iso:std:iso:20022:tech:xsd:"
PLAIN = Sample()
WITH_HEADER = Sample(header="02", wrapper="BizMsgEnvlp")


def uetr(number: int) -> str:
    return f"5f0c7a46-4c1e-4c8a-9a55-0b7a3b8d{number:04x}"


def payment(number: int, **more: str | None) -> Payment:
    return replace(
        Payment(
            uetr=uetr(number), tx_id=f"TX-{number:04}", instruction_id=f"IN-{number:04}", end_to_end_id=f"INV-{number}"
        ),
        **more,  # type: ignore[arg-type]
    )


def bulk(*amounts: str, start: int) -> tuple[Payment, ...]:
    return tuple(payment(start + n, amount=amount) for n, amount in enumerate(amounts))


VALID: dict[str, Sample] = {
    "zm-domestic-02.xml": Sample(version="02", payments=(payment(2, amount="1250.00"),), message_id="KFU-0002"),
    "zm-domestic-08.xml": replace(
        WITH_HEADER, payments=(payment(8, amount="18400.50"),), message_id="KFU-0008", method="INDA"
    ),
    "zm-branch-08.xml": Sample(
        payments=(payment(9, amount="990", instructing="KFUBZMLKXXX", instructed="LWGBZMLUXXX"),), instructing=None,
        instructed=None, message_id="KFU-0009",
    ),
    "zm-wallet-10.xml": Sample(
        version="10", payments=(payment(10, amount="350.00", debtor_agent="MSIMZMLU", creditor_agent="KFUBZMLU"),),
        message_id="MSI-0010", header="02", instructing="MSIMZMLU", instructed="KFUBZMLUXXX", wrapper="RequestPayload",
    ),
    "za-cross-border-13.xml": Sample(
        version="13",
        payments=(
            payment(13, amount="75000.00", currency="ZAR", debtor_agent="DRKBZAJJXXX", creditor_agent="KFUBZMLUXXX"),
        ),
        message_id="DRK-0013", instructing="DRKBZAJJXXX", instructed="KFUBZMLUXXX", header="03", wrapper="Envelope",
    ),
    "de-cross-border-08.xml": Sample(
        payments=(
            payment(18, amount="9999.99", currency="EUR", debtor_agent="RHUBDEFFXXX", creditor_agent="LWGBZMLUXXX"),
        ),
        message_id="RHU-0018", instructing="RHUBDEFF", instructed="LWGBZMLU", header="01", wrapper="DataPDU",
        method="INGA",
    ),
    "tz-cross-border-08.xml": Sample(
        payments=(
            payment(19, amount="1500000", currency="TZS", debtor_agent="SRGBTZTZXXX", creditor_agent="KFUBZMLUXXX"),
        ),
        message_id="SRG-0019", instructing=None, instructed=None, settlement_date=None,
    ),
    "zm-yen-09.xml": Sample(version="09", payments=(payment(20, amount="120000", currency="JPY"),), message_id="KFU20"),
    "zm-bulk-08.xml": replace(
        WITH_HEADER, payments=bulk("100.00", "250.25", "0.75", "4000", start=80), message_id="KFU-0080"
    ).summed(),
    "zm-bulk-two-agents-10.xml": Sample(
        version="10", payments=(payment(90, instructed="LWGBZMLUXXX"), payment(91, instructed="MSIMZMLUXXX")),
        instructed=None, message_id="KFU-0090",
    ).summed(),
}  # fmt: skip

PARTLY: dict[str, tuple[Sample, list[str]]] = {
    "zero-among-three-08.xml": (
        Sample(payments=bulk("10.00", "0.00", "30.00", start=100), message_id="KFU-0100").summed(),
        ["OK", "AMOUNT_INVALID", "OK"],
    ),
    "metal-and-money-08.xml": (
        Sample(
            payments=(payment(110, amount="10.00"), payment(111, amount="2", currency="XAU")), message_id="KFU-0110",
            control_sum="12.00",
        ),
        ["OK", "CURRENCY_UNKNOWN"],
    ),
    "header-of-one-of-two-08.xml": (
        replace(
            WITH_HEADER, payments=(payment(120), payment(121, instructing="RHUBDEFFXXX")), instructing=None,
            sender="KFUBZMLUXXX", message_id="KFU-0120",
        ),
        ["OK", "HEADER_MISMATCH"],
    ),
}  # fmt: skip


def doctype(text: str) -> bytes:
    """A message with a document type before its root, and the entity used inside."""
    head, _, rest = PLAIN.xml().decode().partition("?>")
    return f"{head}?>\n{text}{rest.replace('MSG-0001', '&x;')}".encode()


LAUGHS = "".join(f'<!ENTITY l{n} "{("&l" + str(n - 1) + ";") * 10}">' for n in range(1, 10))
TWO = PLAIN.xml().partition(b"?>")[2]
NAME_ONLY = {"KFUBZMLUXXX": "<Nm>Kafue Commercial Bank</Nm>"}
PACS_002 = f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="{ISO}pacs.002.001.10"><FIToFIPmtStsRpt><GrpHdr><MsgId>STS-1</MsgId>
<CreDtTm>2026-11-24T08:30:00Z</CreDtTm></GrpHdr></FIToFIPmtStsRpt></Document>
"""

BAD: dict[str, tuple[bytes, str]] = {
    "empty-document.xml": (f'<Document xmlns="{ISO}pacs.008.001.08"/>\n'.encode(), "SCHEMA_INVALID"),
    "cut-short.xml": (PLAIN.xml()[:700], "MESSAGE_MALFORMED"),
    "two-roots.xml": (PLAIN.xml() + TWO, "MESSAGE_MALFORMED"),
    "latin-1-called-utf-8.xml": (PLAIN.xml().replace(b"Mutale", "Müller".encode("latin-1")), "MESSAGE_MALFORMED"),
    "encoding-not-taken.xml": (PLAIN.xml().replace(b"UTF-8", b"UTF-7"), "MESSAGE_MALFORMED"),
    "undeclared-entity.xml": (PLAIN.xml().replace(b"MSG-0001", b"&nbsp;"), "MESSAGE_MALFORMED"),
    "plain-text.xml": (b"please pay Mutale Farms 1250 kwacha\n", "MESSAGE_MALFORMED"),
    "external-entity.xml": (
        doctype('<!DOCTYPE Document [<!ENTITY x SYSTEM "file:///etc/hostname">]>'), "MESSAGE_HOSTILE",
    ),
    "parameter-entity.xml": (
        doctype('<!DOCTYPE Document [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p.dtd"> %p;]>'), "MESSAGE_HOSTILE",
    ),
    "external-dtd.xml": (doctype('<!DOCTYPE Document SYSTEM "http://127.0.0.1:9/d.dtd">'), "MESSAGE_HOSTILE"),
    "billion-laughs.xml": (
        doctype(f'<!DOCTYPE Document [<!ENTITY l0 "ha">{LAUGHS}<!ENTITY x "&l9;">]>'), "MESSAGE_HOSTILE",
    ),
    "doctype-in-utf-16.xml": (
        doctype('<!DOCTYPE Document [<!ENTITY x "y">]>').decode().replace("UTF-8", "UTF-16").encode("utf-16"),
        "MESSAGE_HOSTILE",
    ),
    "too-deep.xml": (b"<a>" * 200 + b"</a>" * 200, "MESSAGE_HOSTILE"),
    "deeper-than-the-parser.xml": (b"<a>" * 5000 + b"</a>" * 5000, "MESSAGE_HOSTILE"),
    "no-iso-namespace.xml": (PLAIN.xml().replace(ISO.encode(), b"urn:example:"), "MESSAGE_TYPE_UNKNOWN"),
    "header-only.xml": (
        f'<AppHdr xmlns="{ISO}head.001.001.02"><BizMsgIdr>X</BizMsgIdr></AppHdr>\n'.encode(), "MESSAGE_TYPE_UNKNOWN",
    ),
    "json.json": (b'{"GrpHdr": {"MsgId": "MSG-0001"}, "CdtTrfTxInf": {}}\n', "MESSAGE_TYPE_UNSUPPORTED"),
    "status-report.xml": (PACS_002.encode(), "MESSAGE_TYPE_UNSUPPORTED"),
    "two-documents.xml": (b"<Envelope>" + TWO + TWO + b"</Envelope>\n", "MESSAGE_TYPE_UNSUPPORTED"),
    "version-not-carried.xml": (PLAIN.xml().replace(b"pacs.008.001.08", b"pacs.008.001.99"), "SCHEMA_UNAVAILABLE"),
    "reference-too-long.xml": (replace(PLAIN, message_id="M" * 36).xml(), "SCHEMA_INVALID"),
    "bic-of-nine.xml": (replace(PLAIN, instructing="KFUBZMLUX").xml(), "SCHEMA_INVALID"),
    "negative-amount.xml": (Sample(payments=(payment(1, amount="-5.00"),)).xml(), "SCHEMA_INVALID"),
    "uetr-of-version-one.xml": (
        Sample(payments=(payment(1, uetr="5f0c7a46-4c1e-1c8a-9a55-0b7a3b8d1e01"),)).xml(), "SCHEMA_INVALID",
    ),
    "amount-split-by-comment.xml": (
        Sample(payments=(payment(1, amount="1<!-- x -->000000.001"),)).xml(), "AMOUNT_INVALID",
    ),
    "header-of-another-type.xml": (replace(WITH_HEADER, header_type="pacs.009.001.08").xml(), "HEADER_TYPE_MISMATCH"),
    "header-of-another-version.xml": (
        replace(WITH_HEADER, header_type="pacs.008.001.10").xml(), "HEADER_TYPE_MISMATCH",
    ),
    "header-without-receiver.xml": (
        WITH_HEADER.xml().replace(b"<To>", b"<Fr>", 1).replace(b"</To>", b"</Fr>", 1), "HEADER_INVALID",
    ),
    "header-twice.xml": (
        WITH_HEADER.xml().replace(b"<BizMsgEnvlp>", b'<BizMsgEnvlp><AppHdr xmlns="urn:x"/>'), "HEADER_INVALID",
    ),
    "header-from-another-bank.xml": (replace(WITH_HEADER, sender="RHUBDEFFXXX").xml(), "HEADER_MISMATCH"),
    "header-to-another-bank.xml": (replace(WITH_HEADER, receiver="MSIMZMLUXXX").xml(), "HEADER_MISMATCH"),
    "count-wrong.xml": (replace(PLAIN, count="2").xml(), "COUNT_MISMATCH"),
    "control-sum-wrong.xml": (replace(PLAIN, control_sum="1250.01").xml(), "SUM_MISMATCH"),
    "total-wrong.xml": (replace(PLAIN, total=("1249.99", "ZMW")).xml(), "SUM_MISMATCH"),
    "total-in-another-currency.xml": (replace(PLAIN, total=("1250.00", "ZAR")).xml(), "SUM_MISMATCH"),
    "stale.xml": (replace(PLAIN, moment=datetime(2020, 2, 29, 9, tzinfo=UTC)).xml(), "STALE_MESSAGE"),
    "settlement-long-ago.xml": (replace(PLAIN, settlement_date="2020-02-29").xml(), "STALE_MESSAGE"),
    "from-the-future.xml": (replace(PLAIN, moment=datetime(2031, 1, 1, 9, tzinfo=UTC)).xml(), "DATE_INVALID"),
    "zero-amount.xml": (Sample(payments=(payment(1, amount="0.00"),)).xml(), "AMOUNT_INVALID"),
    "fraction-of-a-yen.xml": (Sample(payments=(payment(1, amount="10.5", currency="JPY"),)).xml(), "AMOUNT_INVALID"),
    "more-than-2-to-the-53.xml": (Sample(payments=(payment(1, amount="90071992547409.92"),)).xml(), "AMOUNT_INVALID"),
    "gold.xml": (Sample(payments=(payment(1, amount="2.34", currency="XAU"),)).xml(), "CURRENCY_UNKNOWN"),
    "no-such-currency.xml": (Sample(payments=(payment(1, currency="ZZZ"),)).xml(), "CURRENCY_UNKNOWN"),
    "agent-by-name-only.xml": (
        Sample(instructing=None, payments=(payment(1),), extra=NAME_ONLY).xml(), "AGENT_MISSING",
    ),
    "nothing-but-end-to-end.xml": (
        Sample(payments=(payment(1, uetr=None, tx_id=None, instruction_id=None),)).xml(), "REFERENCE_MISSING",
    ),
}  # fmt: skip


def files() -> dict[str, bytes]:
    """Every example by its path below ``examples/messages``."""
    out = {f"valid/{name}": sample.xml() for name, sample in VALID.items()}
    out |= {f"partly/{name}": sample.xml() for name, (sample, _) in PARTLY.items()}
    out |= {f"bad/{name}": raw for name, (raw, _) in BAD.items()}
    lines = [f'"{name}" = "{wanted}"' for name, (_, wanted) in sorted(BAD.items())]
    head = "# The reason code of each message of this folder. Written by tests/rails/examples.py.\n"
    out["bad/codes.toml"] = (head + "\n".join(lines) + "\n").encode()
    return out


def main() -> int:
    for name, raw in files().items():
        path = EXAMPLES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    return 0


if __name__ == "__main__":
    sys.exit(main())
