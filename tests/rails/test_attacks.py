"""XML attacks: refused with a reason code, in bounded time, without a file opened or a socket made (NEG, SEC)."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest
from lxml import etree

from rails.iso20022 import limits, xml
from rails.iso20022.samples import Payment, Sample
from tests.rails.support import code, codes, read

SECONDS_MAX = 5.0
GOOD = Sample().xml()
BODY = GOOD.partition(b"?>\n")[2]
ENCODED = '<?xml version="1.0" encoding="{}"?>\n' + BODY.decode()


def in_time(raw: bytes) -> str:
    start = time.monotonic()
    answer = code(raw)
    assert time.monotonic() - start < SECONDS_MAX
    return answer


def filled(unit: bytes, end: bytes = b"", start: bytes = b"<a>") -> bytes:
    return start + unit * ((limits.MESSAGE_BYTES_MAX - 64) // len(unit)) + end


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b"", "MESSAGE_MALFORMED"),
        (b"\x00" * 100, "MESSAGE_MALFORMED"),
        (b" " * 100_000, "MESSAGE_MALFORMED"),
        (b"x" * (limits.MESSAGE_BYTES_MAX + 1), "MESSAGE_HOSTILE"),
        (filled(b"<b/>", b"</a>"), "MESSAGE_HOSTILE"),
        (filled(b"<a>"), "MESSAGE_HOSTILE"),
        (filled(b"text ", b"</a>"), "MESSAGE_TYPE_UNKNOWN"),
        (filled(b"&lt;", b"</a>"), "MESSAGE_TYPE_UNKNOWN"),
        (filled(b"<![CDATA[x]]>", b"</a>"), "MESSAGE_HOSTILE"),
        (filled(b"]]>", b"</a>"), "MESSAGE_MALFORMED"),
        (filled(b"<!---->", b"", b""), "MESSAGE_HOSTILE"),
        (filled(b"<?x?>", b"<a/>", b""), "MESSAGE_HOSTILE"),
        (b"<!--" + b"-" * 1_000_000, "MESSAGE_MALFORMED"),
        (b"<" * 300_000, "MESSAGE_MALFORMED"),
        (b"[" * 1_000_000, "MESSAGE_MALFORMED"),
        (b'{"a":' * 100_000, "MESSAGE_MALFORMED"),
        (b"{" + b'"a":1,' * 1_000_000 + b'"b":2}', "MESSAGE_TYPE_UNKNOWN"),
        (b"<a " + b" ".join(b'b%d=""' % n for n in range(500_000)) + b"/>", "MESSAGE_TYPE_UNKNOWN"),
        (b"<a " + b" ".join(b'xmlns:b%d="u"' % n for n in range(200_000)) + b"/>", "MESSAGE_TYPE_UNKNOWN"),
        (b"<a " + b'b="" ' * 200_000 + b"/>", "MESSAGE_MALFORMED"),
        (b"<a>" + b"".join(b"<n%d/>" % n for n in range(300_000)) + b"</a>", "MESSAGE_TYPE_UNKNOWN"),
        (b"<" + b"n" * 9_000_000 + b"/>", "MESSAGE_MALFORMED"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value[:12]!r}-{len(value)}",
)
def test_bulk_is_refused_in_time(raw: bytes, wanted: str) -> None:
    assert in_time(raw) in {wanted, "MESSAGE_HOSTILE"}


@pytest.mark.parametrize(
    ("sample", "wanted"),
    [
        (Sample(payments=(Payment(),) * 512).summed(), ["OK"] * 512),
        (Sample(payments=(Payment(),) * 513).summed(), ["TOO_MANY_TRANSACTIONS"]),
        (Sample(payments=(Payment(),) * 9000), ["TOO_MANY_TRANSACTIONS"]),
        (Sample(message_id="M" * 5_000_000), ["SCHEMA_INVALID"]),
        (Sample(payments=(Payment(amount="1" * 5_000_000),)), ["SCHEMA_INVALID"]),
        (Sample(payments=(Payment(amount="1." + "0" * 5_000_000),)), ["SCHEMA_INVALID"]),
        (Sample(count="0" * 1_000_000 + "1"), ["SCHEMA_INVALID"]),
        (Sample(instructing="A" * 5_000_000), ["SCHEMA_INVALID"]),
        (Sample(settlement_date="9" * 1_000_000), ["SCHEMA_INVALID"]),
        (Sample(header="02", sender="A" * 1_000_000), ["HEADER_INVALID"]),
        (Sample(header="02", header_type="p" * 1_000_000), ["HEADER_TYPE_MISMATCH"]),
    ],
    ids=["512", "513", "9000", "id", "amount", "zeros", "count", "bic", "date", "header", "type"],
)
def test_large_fields_and_many_transactions_in_time(sample: Sample, wanted: list[str]) -> None:
    start = time.monotonic()
    answer = read(sample.xml())
    assert time.monotonic() - start < SECONDS_MAX
    found = codes(answer)
    # what libxml2 cannot hold as one text is refused a step earlier, never later
    assert found == wanted or (found[0] in {"MESSAGE_MALFORMED", "MESSAGE_HOSTILE"} and len(found) == 1)
    assert answer.group_refused is None or len(answer.group_refused.detail) <= 300


DOCTYPES = [
    "<!DOCTYPE a>", "<!DOCTYPE a []>", '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
    '<!DOCTYPE a PUBLIC "-//X//Y" "http://127.0.0.1/x">', "<!DOCTYPE\n\n a>", "<!-- x --><!DOCTYPE a>",
    "<?x y?>\n<!-- - --> <!DOCTYPE a>", "<!ENTITY x 'y'>", "<!ELEMENT a ANY>", "<![INCLUDE[ <!DOCTYPE a> ]]>",
]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be-bom", "iso-8859-1", "cp1252"])
@pytest.mark.parametrize("doctype", DOCTYPES)
def test_no_encoding_hides_a_document_type(doctype: str, encoding: str) -> None:
    names = {"utf-8-sig": "UTF-8", "utf-16-be-bom": "UTF-16", "cp1252": "windows-1252"}
    head = f'<?xml version="1.0" encoding="{names.get(encoding, encoding)}"?>\n'
    text = head + doctype + BODY.decode()
    raw = b"\xfe\xff" + text.encode("utf-16-be") if encoding == "utf-16-be-bom" else text.encode(encoding)
    assert code(raw) == "MESSAGE_HOSTILE"


@pytest.mark.parametrize("encoding", ["UTF-8", "utf-8", "us-ascii", "ISO-8859-1", "windows-1252"])
def test_the_usual_encodings_are_read(encoding: str) -> None:
    assert code(ENCODED.format(encoding).encode(encoding)) == "OK"


def test_utf_16_with_its_mark_is_read() -> None:
    assert code(ENCODED.format("UTF-16").encode("utf-16")) == "OK"
    assert code(b"\xfe\xff" + ENCODED.format("utf-16").encode("utf-16-be")) == "OK"
    assert code(b"\xef\xbb\xbf" + GOOD) == "OK"


@pytest.mark.parametrize(
    "raw",
    [
        ENCODED.format("UTF-16").encode("utf-8"),
        ENCODED.format("UTF-8").encode("utf-16"),
        ENCODED.format("UTF-16").encode("utf-16-le"),
        ENCODED.format("UTF-32").encode("utf-32"),
        ENCODED.format("UTF-7").encode("utf-7"),
        ENCODED.format("IBM037").encode("cp037"),
        ENCODED.format("x" * 60).encode(),
        b"\xef\xbb\xbf" + ENCODED.format("ISO-8859-1").encode(),
        GOOD.replace(b"Chilufya", b"\xed\xa0\x80"),
        GOOD.replace(b"Chilufya", b"\xc0\xbc"),
        GOOD.replace(b"Chilufya", b"\x0b"),
        GOOD.replace(b"Chilufya", b"&#11;"),
        GOOD.replace(b"Chilufya", b"&#xD800;"),
        GOOD.replace(b'version="1.0"', b'version="2.0"'),
        b"\n" + GOOD,
        GOOD + b"\x00",
    ],
    ids=range(16),
)
def test_an_encoding_that_does_not_hold_is_malformed(raw: bytes) -> None:
    assert code(raw) == "MESSAGE_MALFORMED"


def test_comments_and_instructions_split_no_value() -> None:
    """A validator and a reader that see different texts are how an amount changes on the way."""
    plain = read(Sample(payments=(Payment(amount="1000.00"),)).xml())
    for amount in ("1<!-- x -->000.00", "10<?x y?>00.00", "<![CDATA[1000]]>.00", "&#49;000.00", "1000<!---->.<?x?>00"):
        assert read(Sample(payments=(Payment(amount=amount),)).xml()).results == plain.results, amount


def test_an_element_of_another_namespace_cannot_stand_in() -> None:
    raw = Sample(instructing=None).xml().replace(
        b"<SttlmInf>", b'<o:InstgAgt xmlns:o="urn:o"><FinInstnId/></o:InstgAgt><SttlmInf>'
    )  # fmt: skip
    assert code(raw) == "SCHEMA_INVALID"


def test_schema_hints_and_types_of_the_sender_are_not_followed(tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("xsd") / "any.xsd"
    other.write_text('<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"/>')
    xsi = b'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    hint = xsi + f'xsi:schemaLocation="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08 {other}" '.encode()
    assert code(GOOD.replace(b"<Document ", b"<Document " + hint)) == "OK"
    assert code(replace(Sample(), count="x").xml().replace(b"<Document ", b"<Document " + hint)) == "SCHEMA_INVALID"
    typed = GOOD.replace(b"<NbOfTxs>", b"<NbOfTxs " + xsi + b'xsi:type="Max35Text">')
    assert code(typed) == "SCHEMA_INVALID"
    nil = GOOD.replace(b"<CreDtTm>", b"<CreDtTm " + xsi + b'xsi:nil="true">')
    assert code(nil) == "SCHEMA_INVALID"


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        include = f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{url}"/>'.encode()
        style = f'<?xml-stylesheet href="{url}"?>'.encode()
        assert code(style + BODY) == "OK"
        assert code(GOOD.replace(b"<Dbtr>", include + b"<Dbtr>")) == "SCHEMA_INVALID"
        for doctype in (f'<!DOCTYPE a SYSTEM "{url}">', f'<!DOCTYPE a [<!ENTITY % p SYSTEM "{url}"> %p;]>'):
            assert code(doctype.encode() + BODY) == "MESSAGE_HOSTILE"
        with pytest.raises(TimeoutError):
            server.accept()


def test_the_parser_itself_would_not_expand_either() -> None:
    """Defence in depth: behind the rule that refuses every DOCTYPE, libxml2 is set to expand and load nothing."""
    root = xml._parsed(b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>')
    assert root.text is None
    assert root.getroottree().docinfo.internalDTD is not None


def test_depth_is_ours_to_bound() -> None:
    nested = Sample().xml().replace(b"<Document", b"<a>" * 40 + b"<Document").replace(
        b"</Document>", b"</Document>" + b"</a>" * 40
    )  # fmt: skip
    assert code(nested) == "OK"
    assert code(nested.replace(b"<a>", b"<a><a>").replace(b"</a>", b"</a></a>")) == "MESSAGE_HOSTILE"
    assert isinstance(xml._TOO_DEEP, etree.XPath)
