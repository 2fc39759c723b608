"""Where in the envelope the message is: one ``Document`` in its ISO namespace, and at most one header.

Rules:

* the ``Document`` may be the root, or stand anywhere in a wrapper (``BizMsgEnvlp``, ``RequestPayload``, ``DataPDU``,
  ``Envelope``, ``Message``, …), or be the text of one wrapper element (CDATA); the wrapper itself is not governed;
* nothing is looked for *inside* a ``Document`` or an ``AppHdr``, so supplementary data cannot pose as either;
* two documents, or two headers, are refused: which one is meant is not ours to guess;
* the message type is the namespace's, never what an envelope or a file name says;
* the type is named in the refusal also where the sender left ``Document`` out but not the ISO namespace.

Not here: whether the rail takes the type (``normalise``), what the header says (``header``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import orjson
from lxml import etree

from contracts.errors import Refused
from rails.iso20022.limits import EMBEDDED_TEXTS_MAX
from rails.iso20022.xml import decode, parse, parse_text

ISO_NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:"
_TYPE: Final = re.compile(r"[a-z]{4}\.\d{3}\.\d{3}\.\d{2}")
_NO_MESSAGE: Final = ("head.001.", "nvlp.001.")
_JSON_PARTS: Final = frozenset({"GrpHdr", "Assgnmt", "AppHdr", "Document", "BizMsgEnvlp"})


@dataclass(frozen=True, slots=True)
class Message:
    """A message found: its type, the ``Document``, the header beside it, and the envelope's name."""

    message_type: str
    document: etree._Element
    header: etree._Element | None
    wrapper: str | None


def open_message(raw: bytes) -> Message:
    """Parse and find. Raises ``Refused`` with one of the ``MESSAGE_`` codes or ``HEADER_INVALID``."""
    _refuse_json(raw)
    root = parse(raw)
    documents, headers = _outermost(root)
    wrapper = _local(root) if documents and documents[0] is not root else None
    if not documents:
        embedded = _embedded(root)
        if embedded is not None:
            wrapper = f"{_local(root)}/CDATA"
            documents, inner = _outermost(embedded)
            headers += inner
    return Message(_type_of(root, documents), documents[0], _one_header(headers), wrapper)


def _outermost(root: etree._Element) -> tuple[list[etree._Element], list[etree._Element]]:
    documents: list[etree._Element] = []
    headers: list[etree._Element] = []
    stack = [root]
    while stack:
        element = stack.pop()
        name = _local(element)
        if name == "Document" and _iso_type(element) is not None:
            documents.append(element)
        elif name == "AppHdr":
            headers.append(element)
        else:
            stack.extend(reversed(element))
    return documents, headers


def _type_of(root: etree._Element, documents: list[etree._Element]) -> str:
    if len(documents) > 1:
        types = ", ".join(sorted({_iso_type(d) or "" for d in documents}))
        raise Refused("MESSAGE_TYPE_UNSUPPORTED", f"{len(documents)} documents in one envelope ({types}): send one")
    if documents:
        return _iso_type(documents[0]) or ""
    for element in root.iter():
        named = _iso_type(element)
        if named is not None and not named.startswith(_NO_MESSAGE):
            raise Refused("MESSAGE_TYPE_UNSUPPORTED", f"{named} without its Document element")
    namespace = etree.QName(root).namespace or "no namespace"
    raise Refused("MESSAGE_TYPE_UNKNOWN", f"no ISO 20022 Document; the root is {_local(root)[:40]} in {namespace[:80]}")


def _one_header(headers: list[etree._Element]) -> etree._Element | None:
    if len(headers) > 1:
        raise Refused("HEADER_INVALID", f"{len(headers)} headers in one envelope")
    return headers[0] if headers else None


def _embedded(root: etree._Element) -> etree._Element | None:
    """The message that one text of the envelope is (one level, same rules), or ``None``."""
    texts = [t for t in (e.text for e in root.iter() if not len(e)) if t and t.lstrip().startswith("<")]
    for text in texts[:EMBEDDED_TEXTS_MAX]:
        if ISO_NAMESPACE not in text:
            continue
        try:
            return parse_text(text.strip())
        except Refused as error:
            if error.code == "MESSAGE_HOSTILE":
                raise
    return None


def _refuse_json(raw: bytes) -> None:
    if raw[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
        return
    try:
        value = orjson.loads(decode(raw).lstrip("\ufeff"))
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise Refused("MESSAGE_MALFORMED", "neither XML nor JSON") from error
    if isinstance(value, dict) and _JSON_PARTS & value.keys():
        raise Refused("MESSAGE_TYPE_UNSUPPORTED", "a message in JSON: the rail takes XML")
    raise Refused("MESSAGE_TYPE_UNKNOWN", "a JSON body that is no ISO 20022 message")


def _iso_type(element: etree._Element) -> str | None:
    namespace = etree.QName(element).namespace or ""
    if not namespace.startswith(ISO_NAMESPACE):
        return None
    named = namespace[len(ISO_NAMESPACE) :]
    return named if _TYPE.fullmatch(named) else None


def _local(element: etree._Element) -> str:
    return element.tag.rpartition("}")[2]
