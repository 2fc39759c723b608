"""One transaction → one canonical instruction, or one refusal.

Rules, in this order (design section 3, station 2; section 8):

* ``Fr`` is the message's own InstgAgt and ``To`` its InstdAgt (the transaction's, else the group's), wherever both are
  present (``HEADER_MISMATCH``), in every release;
* the instructing agent is InstgAgt, else ``Fr``, else DbtrAgt; the instructed one InstdAgt, else ``To``, else CdtrAgt
  (``AGENT_MISSING``, ``AGENT_INVALID``);
* the currency is money of the release's table (``CURRENCY_UNKNOWN``), the amount 1 to 2^53-1 of its minor units
  (``AMOUNT_INVALID``); the settlement amount is governed, the instructed amount only carried;
* the settlement date is not before the duplicate window (``STALE_MESSAGE``);
* the business key is resolved instructing agent + UETR, else TxId, else InstrId, + settlement date, else the date of
  CreDtTm; never EndToEndId (``REFERENCE_MISSING``).

Not here: whether the participant may speak for the agent (the sidecar's fixed code, ``AGENT_MISMATCH``).
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final

from contracts.canonical import length_prefixed, sha256_hex
from contracts.errors import Refused
from contracts.money import minor_units
from rails.iso20022 import fields
from rails.iso20022.agents import Agent, agent_at
from rails.iso20022.elements import Children, children, text_at, text_of
from rails.iso20022.group import Group, Transaction, check_age
from rails.iso20022.header import NO_HEADER, Header
from rails.sdk.types import RailContext, References

ACCOUNT_CHARACTERS_MAX: Final = 64
_ACCOUNT_FORMS: Final = ("IBAN", "Othr", "BBAN", "UPIC", "PrtryAcct")


def references_of(transaction: Transaction) -> References:
    """The original ids, for the instruction or for the refusal."""
    ids = transaction.payment_id
    return References(
        instruction_ref=fields.reference(ids, "InstrId"),
        end_to_end_ref=fields.reference(ids, "EndToEndId"),
        tx_ref=fields.reference(ids, "TxId"),
        uetr=fields.uetr(ids),
    )


def instruction_of(
    transaction: Transaction,
    refs: References,
    group: Group,
    header: Header | None,
    context: RailContext,
    received: date,
) -> dict[str, Any]:
    """The canonical instruction but for its place in the message. Raises ``Refused``."""
    parts = transaction.parts
    instructing, instructed = _agents(parts, group, header or NO_HEADER)
    amount_minor = _amount_minor(transaction, context)
    settlement_date = fields.day(parts, "IntrBkSttlmDt") or group.settlement_date
    if settlement_date is not None:
        check_age(settlement_date, "IntrBkSttlmDt", context, received)
    debtor, creditor = children(parts.get("Dbtr")), children(parts.get("Cdtr"))
    return {
        "schema": "symphony.instruction/1",
        "kind": "transfer",
        "rail": "iso20022",
        "message_id": group.message_id,
        "created_date": group.created_date,
        "instruction_ref": refs.instruction_ref,
        "end_to_end_ref": refs.end_to_end_ref,
        "tx_ref": refs.tx_ref,
        "uetr": refs.uetr,
        "settlement_date": settlement_date,
        "settlement_method": group.settlement_method,
        "amount_minor": amount_minor,
        "currency": transaction.currency,
        "instructed_amount": _instructed_amount(parts),
        "instructing_agent": instructing,
        "instructed_agent": instructed,
        "debtor_agent": agent_at(parts.get("DbtrAgt")).name,
        "creditor_agent": agent_at(parts.get("CdtrAgt")).name,
        "debtor_account": _account(parts, "DbtrAcct"),
        "creditor_account": _account(parts, "CdtrAcct"),
        "debtor_country": _country(debtor),
        "creditor_country": _country(creditor),
        "charge_bearer": text_of(parts.get("ChrgBr")),
        "purpose": text_at(parts.get("Purp"), "Cd") or text_at(parts.get("Purp"), "Prtry"),
        "business_key": _business_key(instructing, refs, settlement_date or group.created_date),
        "header": header.canonical() if header is not None else None,
    }


def _agents(parts: Children, group: Group, header: Header) -> tuple[str, str]:
    own_sender = _own(parts, group, "InstgAgt")
    own_receiver = _own(parts, group, "InstdAgt")
    _check_header(own_sender, header.sender, "Fr", "InstgAgt")
    _check_header(own_receiver, header.receiver, "To", "InstdAgt")
    instructing = own_sender.name or header.sender.name or agent_at(parts.get("DbtrAgt")).name
    instructed = own_receiver.name or header.receiver.name or agent_at(parts.get("CdtrAgt")).name
    if instructing is None or instructed is None:
        missing = "instructing" if instructing is None else "instructed"
        raise Refused("AGENT_MISSING", f"the {missing} agent has no BIC, clearing member, LEI or other id")
    return instructing, instructed


def _own(parts: Children, group: Group, name: str) -> Agent:
    """The transaction's own agent, else the group's."""
    return agent_at(parts[name]) if name in parts else group.agent(name)


def _check_header(own: Agent, said: Agent, header_name: str, name: str) -> None:
    if own.name is not None and said.name is not None and not own.same_as(said):
        raise Refused("HEADER_MISMATCH", f"{header_name} is not the message's own {name}")


def _amount_minor(transaction: Transaction, context: RailContext) -> int:
    currency = context.exponents.get(transaction.currency)
    if currency is None or not currency.money:
        raise Refused("CURRENCY_UNKNOWN", f"{transaction.currency} is no money of the release's table")
    return minor_units(transaction.amount_text, currency.exponent)


def _instructed_amount(parts: Children) -> dict[str, str] | None:
    if "InstdAmt" not in parts:
        return None
    text, currency = fields.amount(parts["InstdAmt"], "InstdAmt")
    return {"text": text, "currency": currency}


def _account(parts: Children, name: str) -> str | None:
    if name not in parts:
        return None
    identification = children(children(parts[name]).get("Id"))
    for form in _ACCOUNT_FORMS:
        element = identification.get(form)
        text = text_at(element, "Id") if element is not None and len(element) else text_of(element)
        if text is not None:
            return text[:ACCOUNT_CHARACTERS_MAX]
    return None


def _country(party: Children) -> str | None:
    return fields.country(text_at(party.get("PstlAdr"), "Ctry") or text_of(party.get("CtryOfRes")))


def _business_key(instructing: str, refs: References, day: str) -> str:
    """Hex SHA-256 that no two different payments share; every part is there (design section 8)."""
    for kind, value in (("UETR", refs.uetr), ("TXID", refs.tx_ref), ("INSTRID", refs.instruction_ref)):
        if value is not None:
            return sha256_hex(length_prefixed(instructing, kind, value, day))
    raise Refused("REFERENCE_MISSING", "none of UETR, TxId and InstrId")
