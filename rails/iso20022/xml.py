"""Bytes → an element tree, or one reason code. Nothing is fetched, expanded or guessed.

Rules (design section 3, station 2; NEG):

* UTF-8 (with or without BOM), US-ASCII, ISO-8859-1, windows-1252 and UTF-16 with BOM are read, strictly, here;
  libxml2 then sees UTF-8 only, so that no encoding can hide what the rules below look for;
* what stands before the root element is white space, comments and processing instructions, nothing else: a DOCTYPE is
  ``MESSAGE_HOSTILE`` before a parser sees it, and with it every entity, external reference and parameter entity;
* at most ``MESSAGE_BYTES_MAX``, ``TAGS_MAX``, ``DEPTH_MAX``; ``huge_tree`` stays off;
* comments and processing instructions are dropped by the parser and their text neighbours joined, so that
  ``1<!---->000`` reads as the schema reads it; no instruction is ever acted upon.
"""

from __future__ import annotations

import re
from typing import Final

from lxml import etree

from contracts.errors import Refused
from rails.iso20022.limits import DEPTH_MAX, DETAIL_CHARACTERS_MAX, MESSAGE_BYTES_MAX, TAGS_MAX

_ENCODINGS: Final = {
    "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii", "iso-8859-1": "iso-8859-1",
    "latin1": "iso-8859-1", "windows-1252": "cp1252",
}  # fmt: skip
_DECLARATION: Final = re.compile(
    r"""<\?xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:"1\.\d"|'1\.\d')"""
    r"""(?:[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*(?:"(?P<a>[A-Za-z][\w.-]{0,40})"|'(?P<b>[A-Za-z][\w.-]{0,40})'))?"""
    r"""(?:[ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*(?:"(?:yes|no)"|'(?:yes|no)'))?[ \t\r\n]*\?>"""
)
_DECLARATION_BYTES_MAX: Final = 256
_SPACE: Final = " \t\r\n"
_TOO_DEEP: Final = etree.XPath("boolean(/" + "*/" * DEPTH_MAX + "*)")


def parse(raw: bytes) -> etree._Element:
    """The root element. Raises ``Refused`` with ``MESSAGE_MALFORMED`` or ``MESSAGE_HOSTILE``."""
    if len(raw) > MESSAGE_BYTES_MAX:
        raise Refused("MESSAGE_HOSTILE", f"over {MESSAGE_BYTES_MAX} bytes")
    return parse_text(decode(raw))


def parse_text(text: str) -> etree._Element:
    """As ``parse``, for text that is decoded already; its XML declaration, if any, is dropped."""
    body = _without_declaration(text)
    _check_prolog(body)
    if body.count("<") > TAGS_MAX:
        raise Refused("MESSAGE_HOSTILE", f"over {TAGS_MAX} tags")
    root = _parsed(body.encode("utf-8"))
    if root.getroottree().docinfo.internalDTD is not None:
        raise Refused("MESSAGE_HOSTILE", "a document type")
    if _TOO_DEEP(root):
        raise Refused("MESSAGE_HOSTILE", f"more than {DEPTH_MAX} elements deep")
    return root


def decode(raw: bytes) -> str:
    """The characters of a message. Raises ``MESSAGE_MALFORMED`` for an encoding that is not taken or does not hold."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _strictly(raw, "utf-16", declared_as={"utf-16"})
    if raw.startswith(b"\xef\xbb\xbf"):
        return _strictly(raw[3:], "utf-8", declared_as={"utf-8", "utf8"})
    head = raw[:_DECLARATION_BYTES_MAX].decode("iso-8859-1")
    match = _DECLARATION.match(head)
    name = ((match["a"] or match["b"]) if match else None) or "utf-8"
    codec = _ENCODINGS.get(name.lower())
    if codec is None:
        raise Refused("MESSAGE_MALFORMED", f"the encoding {name} is not taken: send UTF-8")
    return _strictly(raw, codec, declared_as=set(_ENCODINGS))


def _strictly(raw: bytes, codec: str, *, declared_as: set[str]) -> str:
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError as error:
        raise Refused("MESSAGE_MALFORMED", f"not {codec} at byte {error.start}") from error
    match = _DECLARATION.match(text[:_DECLARATION_BYTES_MAX])
    declared = (match["a"] or match["b"]) if match else None
    if declared is not None and declared.lower() not in declared_as:
        raise Refused("MESSAGE_MALFORMED", f"declared as {declared}, sent as {codec}")
    return text


def _without_declaration(text: str) -> str:
    if not text.startswith("<?xml") or text[5:6] not in _SPACE:
        return text
    match = _DECLARATION.match(text[:_DECLARATION_BYTES_MAX])
    if match is None:
        raise Refused("MESSAGE_MALFORMED", "the XML declaration cannot be read")
    return text[match.end() :]


def _check_prolog(body: str) -> None:
    """Refuse anything but space, comments and processing instructions before the root element."""
    at = 0
    while True:
        while at < len(body) and body[at] in _SPACE:
            at += 1
        if body.startswith("<!--", at):
            at = _after(body, "-->", at + 4)
        elif body.startswith("<?", at):
            at = _after(body, "?>", at + 2)
        elif body.startswith("<!", at):
            raise Refused("MESSAGE_HOSTILE", "a document type before the root element")
        else:
            return


def _after(body: str, end: str, start: int) -> int:
    found = body.find(end, start)
    if found < 0:
        raise Refused("MESSAGE_MALFORMED", f"no {end} before the end")
    return found + len(end)


def _parsed(data: bytes) -> etree._Element:
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, load_dtd=False, dtd_validation=False, attribute_defaults=False,
        no_network=True, huge_tree=False, recover=False, remove_comments=True, remove_pis=True, strip_cdata=True,
    )  # fmt: skip
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        text = (error.msg or "not XML")[:DETAIL_CHARACTERS_MAX]
        if "xcessive depth" in text or "XML_PARSE_HUGE" in text:
            raise Refused("MESSAGE_HOSTILE", f"more than {DEPTH_MAX} elements deep, or a text without end") from error
        raise Refused("MESSAGE_MALFORMED", text) from error
    except (ValueError, AssertionError) as error:
        raise Refused("MESSAGE_MALFORMED", "not XML") from error
