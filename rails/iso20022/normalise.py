"""Raw bytes → instructions and refusals, in the fixed order: parse, type, schema facets, business rules.

The first thing wrong is the answer. What is wrong with the message is one refusal for all of it; what is wrong with a
transaction is that transaction's own. Pure: bytes, schemas and context in, values out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from contracts.errors import Refused
from contracts.schemas import fast_validator
from rails.iso20022.elements import text_at
from rails.iso20022.envelope import Message, open_message
from rails.iso20022.fields import REFERENCE_MAX
from rails.iso20022.group import Group, Transaction, check_group, read_group
from rails.iso20022.header import Header, check_type, read_header
from rails.iso20022.schemas import Schemas
from rails.iso20022.transaction import instruction_of, references_of
from rails.sdk.types import (
    MessageInfo,
    NormaliseAnswer,
    RailContext,
    References,
    Refusal,
    TransactionResult,
)

BUILT: Final = frozenset({"pacs.008"})
"""The message types that this adapter can read; the release may permit fewer."""
_INSTRUCTION: Final = "symphony.instruction/1"


@dataclass(frozen=True, slots=True)
class Ruleset:
    """One release as this adapter sees it."""

    schemas: Schemas
    context: RailContext


def normalise(raw: bytes, received_at: str, rules: Ruleset) -> NormaliseAnswer:
    """One result per transaction, or one refusal of the message. Never raises for what the bytes are."""
    info = MessageInfo()
    try:
        message = open_message(raw)
        info = _info(message)
        group, header = _read(message, rules)
        info = MessageInfo(
            message_type=message.message_type,
            message_id=group.message_id,
            tx_count=len(group.transactions),
            created_date=group.created_date,
            wrapper=message.wrapper,
        )
        received = date.fromisoformat(received_at[:10])
        refs = [references_of(t) for t in group.transactions]
        check_group(group, rules.context, received)
    except Refused as error:
        return NormaliseAnswer(message=info, group_refused=Refusal(code=error.code, detail=error.detail))
    results = tuple(
        _result(index, transaction, refs[index], group, header, rules.context, received, message.message_type)
        for index, transaction in enumerate(group.transactions)
    )
    return NormaliseAnswer(message=info, results=results)


def _read(message: Message, rules: Ruleset) -> tuple[Group, Header | None]:
    """Second and third of the fixed order: the type, then the facets."""
    kind = message.message_type[:8]
    if kind not in BUILT or kind not in rules.context.message_types:
        taken = ", ".join(sorted(BUILT & set(rules.context.message_types))) or "nothing"
        raise Refused("MESSAGE_TYPE_UNSUPPORTED", f"{message.message_type}: the rail takes {taken}")
    check_type(message.header, message.message_type)
    if message.message_type not in rules.schemas:
        raise Refused("SCHEMA_UNAVAILABLE", f"the release carries no schema for {message.message_type}")
    rules.schemas.check(message.message_type, message.document, code="SCHEMA_INVALID")
    header = read_header(message.header, rules.schemas) if message.header is not None else None
    return read_group(message.document), header


def _result(
    index: int,
    transaction: Transaction,
    refs: References,
    group: Group,
    header: Header | None,
    context: RailContext,
    received: date,
    message_type: str,
) -> TransactionResult:
    try:
        instruction = instruction_of(transaction, refs, group, header, context, received)
        instruction |= {"message_type": message_type, "tx_index": index, "tx_count": len(group.transactions)}
        if not fast_validator(_INSTRUCTION).is_valid(instruction):
            raise Refused("SCHEMA_INVALID", "the transaction has no canonical form")
        return TransactionResult(instruction=instruction)
    except Refused as error:
        refusal = Refusal(code=error.code, detail=error.detail, tx_index=index, refs=refs)
        return TransactionResult(refused=refusal)


def _info(message: Message) -> MessageInfo:
    """What can be told of a message before its schema has been checked."""
    body = next(iter(message.document), None)
    message_id = text_at(body, "GrpHdr", "MsgId")
    return MessageInfo(
        message_type=message.message_type,
        message_id=message_id[:REFERENCE_MAX] if message_id else None,
        wrapper=message.wrapper,
    )
