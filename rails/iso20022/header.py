"""The business application header (head.001): it must be readable, and about this message.

Rules: ``MsgDefIdr`` names the document's own type and version (``HEADER_TYPE_MISMATCH``); the header fits its schema
where the release carries one, and in any case has one ``Fr``, ``To``, ``BizMsgIdr`` and ``MsgDefIdr`` of the right size
(``HEADER_INVALID``); a header of another standard beside an ISO document is not usable. Whether ``Fr`` and ``To`` are
the message's own agents is asked for each transaction (``transaction``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lxml import etree

from contracts.errors import Refused
from rails.iso20022.agents import NOBODY, Agent, party_at
from rails.iso20022.elements import children, text_of
from rails.iso20022.envelope import ISO_NAMESPACE
from rails.iso20022.schemas import Schemas

_VERSION: Final = re.compile(r"head\.001\.001\.\d{2}")
_ONCE: Final = ("Fr", "To", "BizMsgIdr", "MsgDefIdr")
_TEXT_MAX: Final = 35


@dataclass(frozen=True, slots=True)
class Header:
    """What is governed of a header."""

    sender: Agent
    receiver: Agent
    message_definition: str
    business_message_id: str

    def canonical(self) -> dict[str, str | None]:
        """The ``header`` field of a canonical instruction."""
        return {
            "from": self.sender.name,
            "to": self.receiver.name,
            "message_definition": self.message_definition,
            "business_message_id": self.business_message_id,
        }


NO_HEADER: Final = Header(NOBODY, NOBODY, "", "")


def check_type(element: etree._Element | None, message_type: str) -> None:
    """Second of the fixed order: the header, where it can be read so far, names this type of message."""
    definition = text_of(children(element).get("MsgDefIdr"))
    if definition is not None and _version(element) is not None and definition != message_type:
        raise Refused("HEADER_TYPE_MISMATCH", f"the header says {definition[:40]}, the document is {message_type}")


def read_header(element: etree._Element, schemas: Schemas) -> Header:
    """Third of the fixed order: the header's own facets. Raises ``HEADER_INVALID``."""
    version = _version(element)
    if version is None:
        raise Refused("HEADER_INVALID", "the header is no head.001")
    if version in schemas:
        schemas.check(version, element, code="HEADER_INVALID")
    names = [child.tag.rpartition("}")[2] for child in element]
    for name in _ONCE:
        if names.count(name) != 1:
            raise Refused("HEADER_INVALID", f"{names.count(name)} times {name}")
    parts = children(element)
    try:
        sender, receiver = party_at(parts["Fr"]), party_at(parts["To"])
    except Refused as error:
        raise Refused("HEADER_INVALID", f"Fr or To: {error.detail}") from error
    return Header(sender, receiver, _text(parts["MsgDefIdr"]), _text(parts["BizMsgIdr"]))


def _text(element: etree._Element) -> str:
    text = text_of(element)
    if text is None or len(text) > _TEXT_MAX:
        raise Refused("HEADER_INVALID", f"{etree.QName(element).localname} has 1 to {_TEXT_MAX} characters")
    return text


def _version(element: etree._Element | None) -> str | None:
    namespace = (etree.QName(element).namespace or "") if element is not None else ""
    named = namespace.removeprefix(ISO_NAMESPACE)
    return named if namespace.startswith(ISO_NAMESPACE) and _VERSION.fullmatch(named) else None
