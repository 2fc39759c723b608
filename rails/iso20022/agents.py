"""Who an agent is: one canonical name of a ``FinInstnId``, and when two of them are the same.

Rules (design section 3, station 2):

* BIC (``BICFI`` or ``BIC``), as 11 upper-case characters; else ``CLR:<system>:<member>``; else ``LEI:<lei>``; else
  ``OTHR:<id>``; a name or an address alone identifies nobody;
* a BIC has the form of ISO 9362; what is no BIC, or could be read in two ways, is ``AGENT_INVALID``;
* two agents are compared by the first kind of identification that both carry; with none in common they are not the
  same, for the header must name the message's own agent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from lxml import etree

from contracts.errors import Refused
from rails.iso20022.elements import Children, children, text_at, text_of

_BIC: Final = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?")
_LEI: Final = re.compile(r"[A-Z0-9]{18}[0-9]{2}")
_KINDS: Final = ("bic", "clearing", "lei", "other")
_HEAD_OFFICE: Final = "X" * 3


@dataclass(frozen=True, slots=True)
class Agent:
    """The identifications that an agent carries, each in canonical form."""

    bic: str | None = None
    clearing: str | None = None
    lei: str | None = None
    other: str | None = None

    @property
    def name(self) -> str | None:
        """The canonical name, by the order of the rule above; ``None`` where nothing identifies the agent."""
        return self.bic or self.clearing or self.lei or self.other

    def same_as(self, other: Agent) -> bool:
        """Whether both name one agent, by the first kind of identification that both carry."""
        for kind in _KINDS:
            mine, theirs = getattr(self, kind), getattr(other, kind)
            if mine is not None and theirs is not None:
                return bool(mine == theirs)
        return False


NOBODY: Final = Agent()


def agent_at(element: etree._Element | None) -> Agent:
    """The agent of an ``InstgAgt``, ``DbtrAgt``, ``FIId`` … element. Raises ``Refused AGENT_INVALID``."""
    if element is None:
        return NOBODY
    institution = children(element).get("FinInstnId")
    if institution is None:
        return NOBODY
    parts = children(institution)
    return _from_parts(children(parts["CmbndId"]) if "CmbndId" in parts else parts)


def party_at(element: etree._Element | None) -> Agent:
    """The agent of a header's ``Fr`` or ``To``: an institution, or an organisation that has a BIC or an LEI."""
    parts = children(element)
    if "FIId" in parts:
        return agent_at(parts["FIId"])
    identification = children(children(parts.get("OrgId")).get("Id")).get("OrgId")
    organisation = children(identification)
    bic = text_of(organisation.get("AnyBIC")) or text_of(organisation.get("BICOrBEI"))
    return Agent(bic=_bic(bic), lei=_lei(text_of(organisation.get("LEI"))))


def _from_parts(parts: Children) -> Agent:
    named = parts.get("Othr") if "Othr" in parts else parts.get("PrtryId")
    other = None if named is None else text_at(named, "Id")
    return Agent(
        bic=_bic(text_of(parts.get("BICFI")) or text_of(parts.get("BIC"))),
        clearing=_clearing(parts.get("ClrSysMmbId")),
        lei=_lei(text_of(parts.get("LEI"))),
        other=None if other is None else f"OTHR:{_printable(other)}",
    )


def _bic(text: str | None) -> str | None:
    if text is None:
        return None
    bic = text.upper()
    if not _BIC.fullmatch(bic):
        raise Refused("AGENT_INVALID", "a BIC has 8 or 11 characters of ISO 9362")
    return bic if len(bic) == 11 else bic + _HEAD_OFFICE


def _lei(text: str | None) -> str | None:
    if text is None:
        return None
    if not _LEI.fullmatch(text.upper()):
        raise Refused("AGENT_INVALID", "an LEI has 20 characters of ISO 17442")
    return f"LEI:{text.upper()}"


def _clearing(element: etree._Element | None) -> str | None:
    """``CLR:<system>:<member>``; version 001.01 has only a code or a proprietary member id."""
    if element is None:
        return None
    member = text_at(element, "MmbId") or text_at(element, "Id") or text_at(element, "Prtry")
    if member is None:
        return None
    system = text_at(element, "ClrSysId", "Cd") or text_at(element, "ClrSysId", "Prtry") or ""
    if ":" in system:
        raise Refused("AGENT_INVALID", "a clearing system's code has no colon")
    return f"CLR:{_printable(system)}:{_printable(member)}"


def _printable(text: str) -> str:
    if not text.isprintable() or len(text) > 35:
        raise Refused("AGENT_INVALID", "an identification has at most 35 printable characters")
    return text
