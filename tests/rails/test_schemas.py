"""Schemas of a release: compiled once, plain and self-contained, or refused (POL-09; RELEASE_SCHEMA_HOSTILE)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import CannotEvaluate
from rails.iso20022 import limits
from rails.iso20022.normalise import Ruleset
from rails.iso20022.samples import Sample
from rails.iso20022.schemas import Schemas
from tests.rails.support import code, context, read, schema_sources

NAME = "iso20022/pacs.008.001.08"
NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"
XS = 'xmlns:xs="http://www.w3.org/2001/XMLSchema"'


def small(inner: str = "", *, target: str = NAMESPACE, name: str = "Document", head: str = "") -> bytes:
    return f'{head}<xs:schema {XS} targetNamespace="{target}">{inner}<xs:element name="{name}"/></xs:schema>'.encode()


def test_all_thirteen_versions_compile() -> None:
    assert len(schema_sources()) == 13
    assert all(name.removeprefix("iso20022/") in Schemas(schema_sources()) for name in schema_sources())


def test_schemas_of_another_rail_are_not_ours() -> None:
    assert "x" not in Schemas({"iso8583/x": b"not read"})


@pytest.mark.parametrize(
    "source",
    [
        b"", b"<", b"<a/>", b"\xff\xfe", small(target="urn:x"), small(name="Other"), small("<xs:element/>"),
        small('<xs:include schemaLocation="file:///etc/hostname"/>'),
        small('<xs:import namespace="urn:x" schemaLocation="http://127.0.0.1:9/x.xsd"/>'),
        small('<xs:import namespace="urn:x"/>'), small('<xs:redefine schemaLocation="x.xsd"/>'),
        small('<xs:override schemaLocation="x.xsd"/>'),
        small('<xs:annotation><xs:appinfo><x schemaLocation="y"/></xs:appinfo></xs:annotation>'),
        small(head="<!DOCTYPE x>"), small(head='<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/hostname">]>'),
        small('<xs:element name="a" type="nowhere"/>'), small("<!--" + "x" * limits.SCHEMA_BYTES_MAX + "-->"),
    ],
    ids=range(17),
)  # fmt: skip
def test_a_schema_that_is_not_plain_is_refused(source: bytes) -> None:
    with pytest.raises(CannotEvaluate, match="RELEASE_SCHEMA_HOSTILE"):
        Schemas({NAME: source})


def test_too_many_schemas_are_refused() -> None:
    many = {f"iso20022/pacs.008.001.{n}": small() for n in range(limits.SCHEMAS_MAX + 1)}
    with pytest.raises(CannotEvaluate, match="RELEASE_SCHEMA_HOSTILE"):
        Schemas(many)


def test_a_version_without_its_schema_is_not_taken() -> None:
    rules = Ruleset(Schemas({NAME: schema_sources()[NAME]}), context())
    assert code(Sample().xml(), rules) == "OK"
    assert code(Sample(version="10").xml(), rules) == "SCHEMA_UNAVAILABLE"


LAX = f"""<xs:schema {XS} targetNamespace="{NAMESPACE}" elementFormDefault="qualified"><xs:element name="Document">
<xs:complexType><xs:sequence><xs:any processContents="skip" minOccurs="0" maxOccurs="unbounded"/></xs:sequence>
</xs:complexType></xs:element></xs:schema>""".encode()


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, "OK"), ({"message_id": "M" * 36}, "SCHEMA_INVALID"), ({"message_id": " "}, "SCHEMA_INVALID"),
        ({"count": "one"}, "SCHEMA_INVALID"), ({"count": "1" * 16}, "SCHEMA_INVALID"),
        ({"method": "CASH"}, "SCHEMA_INVALID"), ({"control_sum": "x"}, "SCHEMA_INVALID"),
        ({"settlement_date": "tomorrow"}, "DATE_INVALID"), ({"settlement_date": "2026-02-30"}, "DATE_INVALID"),
        ({"instructing": "NOPE"}, "AGENT_INVALID"), ({"payments": ()}, "SCHEMA_INVALID"),
    ],
)  # fmt: skip
def test_governed_elements_are_checked_whatever_the_schema_permits(changes: dict[str, object], wanted: str) -> None:
    rules = Ruleset(Schemas({NAME: LAX}), context())
    assert code(replace(Sample(), **changes).xml(), rules) == wanted


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (b"2026-11-24T08:30:00Z", b"yesterday", "DATE_INVALID"),
        (b' Ccy="ZMW"', b"", "SCHEMA_INVALID"),
        (b' Ccy="ZMW"', b' Ccy="zmw"', "SCHEMA_INVALID"),
        (b"1250.00", b"1e3", "SCHEMA_INVALID"),
        (b"1250.00", b"-1", "AMOUNT_INVALID"),
        (b"5f0c7a46-", b"5f0c7a4-", "SCHEMA_INVALID"),
        (b"5f0c7a46-", b"5F0C7A46-", "OK"),
        (b"TX-0001", b"T" * 36, "SCHEMA_INVALID"),
        (b"</Document>", b"<x/></Document>", "SCHEMA_INVALID"),
    ],
)
def test_built_in_checks_of_one_element(old: bytes, new: bytes, wanted: str) -> None:
    rules = Ruleset(Schemas({NAME: LAX}), context())
    assert code(Sample().xml().replace(old, new, 1), rules) == wanted


def test_a_uetr_is_one_payment_in_either_case() -> None:
    rules = Ruleset(Schemas({NAME: LAX}), context())
    keys = {
        read(raw, rules).results[0].instruction["business_key"]
        for raw in (Sample().xml(), Sample().xml().replace(b"5f0c7a46-4c1e", b"5F0C7A46-4C1E"))
    }
    assert len(keys) == 1


def test_a_refusal_names_the_element_and_never_the_value() -> None:
    refused = read(replace(Sample(), instructing="SECRETVALUE9").xml()).group_refused
    assert refused is not None
    assert "BICFI" in refused.detail
    assert "{4,4}" in refused.detail
    assert "SECRET" not in refused.detail


def test_the_header_has_its_schema_where_the_release_carries_one(shared_data: Path) -> None:
    sources = schema_sources() | {
        f"iso20022/{path.stem}": path.read_bytes() for path in (shared_data / "xsd").glob("head.001.001.*.xsd")
    }
    rules = Ruleset(Schemas(sources), context())
    for version in ("01", "02", "03"):
        good = Sample(header=version)
        assert code(good.xml(), rules) == "OK"
        undated = good.xml().replace(b"<CreDt>2026-11-24T08:30:00Z</CreDt>", b"")
        assert (code(undated, rules), code(undated)) == ("HEADER_INVALID", "OK")
