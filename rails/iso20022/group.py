"""What belongs to the whole message: its header group, and the rules over all transactions together.

Rules, in this order, each a refusal of the whole message (``tx_index`` −1):

* at most the release's ``transactions_max`` (``TOO_MANY_TRANSACTIONS``);
* ``NbOfTxs`` is the number of transactions (``COUNT_MISMATCH``);
* ``CtrlSum`` is the sum of the settlement amounts, whatever their currencies; ``TtlIntrBkSttlmAmt`` is their sum, all
  in its own currency (``SUM_MISMATCH``);
* ``CreDtTm`` is not before the rail's duplicate window (``STALE_MESSAGE``), nor ahead of us by more than the widest
  time zones, unless the release has the wildcard for dates (``DATE_INVALID``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from lxml import etree

from contracts.errors import Refused
from rails.iso20022 import fields
from rails.iso20022.agents import Agent, agent_at
from rails.iso20022.elements import Children, children
from rails.iso20022.limits import FUTURE_DAYS_MAX
from rails.sdk.types import RailContext

_GROUP: Final = "GrpHdr"
_TRANSACTION: Final = "CdtTrfTxInf"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One ``CdtTrfTxInf``, its governed elements read once."""

    parts: Children
    payment_id: Children
    amount_text: str
    currency: str


@dataclass(frozen=True, slots=True)
class Group:
    """The group header's governed elements, and the transactions."""

    parts: Children
    message_id: str
    created_date: str
    settlement_date: str | None
    settlement_method: str
    transactions: tuple[Transaction, ...]

    def agent(self, name: str) -> Agent:
        """The group's own ``InstgAgt`` or ``InstdAgt``. Raises ``AGENT_INVALID``."""
        return agent_at(self.parts.get(name))


def body_of(document: etree._Element) -> etree._Element:
    """The one child of a ``Document`` (``FIToFICstmrCdtTrf``; in 001.01 ``pacs.008.001.01``)."""
    inner = list(document)
    if len(inner) != 1:
        raise Refused("SCHEMA_INVALID", f"{len(inner)} messages in the Document")
    return inner[0]


def read_group(document: etree._Element) -> Group:
    """Third of the fixed order: facets of what is governed. Raises ``SCHEMA_INVALID`` or ``DATE_INVALID``."""
    body = body_of(document)
    parts = children(children(body).get(_GROUP))
    namespace = body.tag[: body.tag.rfind("}") + 1]
    transactions = tuple(_transaction(e) for e in body.iterchildren(namespace + _TRANSACTION))
    if not transactions:
        raise Refused("SCHEMA_INVALID", f"no {_TRANSACTION}")
    return Group(
        parts=parts,
        message_id=fields.required(parts, "MsgId"),
        created_date=fields.day_of_moment(fields.required(parts, "CreDtTm"), "CreDtTm"),
        settlement_date=fields.day(parts, "IntrBkSttlmDt"),
        settlement_method=fields.settlement_method(children(parts.get("SttlmInf"))),
        transactions=transactions,
    )


def _transaction(element: etree._Element) -> Transaction:
    parts = children(element)
    text, currency = fields.amount(parts.get("IntrBkSttlmAmt"), "IntrBkSttlmAmt")
    return Transaction(parts, children(parts.get("PmtId")), text, currency)


def check_group(group: Group, context: RailContext, received: date) -> None:
    """Fourth of the fixed order, for the message as a whole. Raises ``Refused``."""
    found = len(group.transactions)
    if found > context.transactions_max:
        raise Refused("TOO_MANY_TRANSACTIONS", f"{found} transactions, at most {context.transactions_max}")
    said = fields.count(group.parts, "NbOfTxs")
    if said != found:
        raise Refused("COUNT_MISMATCH", f"NbOfTxs says {said}, there are {found}")
    _check_sums(group)
    check_age(group.created_date, "CreDtTm", context, received)
    ahead = date.fromisoformat(group.created_date).toordinal() - received.toordinal()
    if ahead > FUTURE_DAYS_MAX and not context.wildcards.get("dates", False):
        raise Refused("DATE_INVALID", f"CreDtTm is {ahead} days ahead")


def check_age(day: str, name: str, context: RailContext, received: date) -> None:
    """Refuse a day before the duplicate window: its business keys may have been purged."""
    age = received.toordinal() - date.fromisoformat(day).toordinal()
    if age > context.duplicate_window_days:
        raise Refused("STALE_MESSAGE", f"{name} is {age} days old, at most {context.duplicate_window_days}")


def _check_sums(group: Group) -> None:
    total = sum(fields.scaled(t.amount_text, "IntrBkSttlmAmt") for t in group.transactions)
    control = fields.reference(group.parts, "CtrlSum")
    if control is not None and fields.scaled(control, "CtrlSum") != total:
        raise Refused("SUM_MISMATCH", "CtrlSum is not the sum of the settlement amounts")
    if "TtlIntrBkSttlmAmt" not in group.parts:
        return
    text, currency = fields.amount(group.parts["TtlIntrBkSttlmAmt"], "TtlIntrBkSttlmAmt")
    if any(t.currency != currency for t in group.transactions):
        raise Refused("SUM_MISMATCH", f"TtlIntrBkSttlmAmt is in {currency}, a transaction is not")
    if fields.scaled(text, "TtlIntrBkSttlmAmt") != total:
        raise Refused("SUM_MISMATCH", "TtlIntrBkSttlmAmt is not the sum of the settlement amounts")
