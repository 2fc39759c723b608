"""Who asks (PyJWT), and what: schema facets and the governed elements (lxml)."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import jwt
from fastapi import HTTPException
from lxml import etree

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"
_NAMES = {"p": NAMESPACE}
LEEWAY_S = 5
REQUIRED = ["iss", "aud", "sub", "exp", "iat", "nbf", "jti"]


@dataclass(frozen=True)
class Caller:
    """A verified caller."""

    participant: dict[str, Any]
    client_id: str
    jti_hash: str
    expires_at: int
    certificate_sha256: str
    token_hash: str


class Callers:
    """Verifies tokens of one issuer, bound to the client certificate (RFC 8705)."""

    def __init__(self, environment: dict[str, Any], audience: str) -> None:
        issuer = environment["issuers"][0]
        self._issuer, self._audience = issuer["issuer"], audience
        self._key = jwt.PyJWK(issuer["jwks"]["keys"][0]).key
        self._by_client = {client: one for one in environment["participants"] for client in one["clients"]}

    def verify(self, authorization: str, der: bytes) -> Caller:
        """Raises 401."""
        scheme, _, token = authorization.partition(" ")
        try:
            claims = jwt.decode(
                token, self._key, algorithms=["ES256"], audience=self._audience, issuer=self._issuer, leeway=LEEWAY_S,
                options={"require": REQUIRED},
            )  # fmt: skip
        except jwt.InvalidTokenError as error:
            raise HTTPException(401, str(error)) from error
        digest = hashlib.sha256(der).digest()
        bound = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        participant = self._by_client.get(claims["sub"])
        if scheme != "Bearer" or claims.get("cnf", {}).get("x5t#S256") != bound or participant is None:
            raise HTTPException(401, "not bound to this certificate")
        if participant["status"] != "active":
            raise HTTPException(403, "participant not active")
        jti_hash = hashlib.sha256(f"{claims['iss']}\0{claims['jti']}".encode()).hexdigest()
        token_hash = hashlib.sha256(token.encode()).hexdigest()
        return Caller(participant, claims["sub"], jti_hash, claims["exp"], digest.hex(), token_hash)


class Messages:
    """Reads one pacs.008.001.08 with one transaction."""

    def __init__(self, schema: bytes, exponents: dict[str, int]) -> None:
        self._schema = etree.XMLSchema(etree.fromstring(schema))
        self._exponents = exponents

    def read(self, raw: bytes) -> dict[str, Any]:
        """The canonical instruction. Raises 400 or 422."""
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
        try:
            root = etree.fromstring(raw, parser)
        except etree.XMLSyntaxError as error:
            raise HTTPException(400, "not XML") from error
        if not self._schema.validate(root):
            raise HTTPException(422, "schema")
        return self._instruction(root)

    def _instruction(self, root: etree._Element) -> dict[str, Any]:
        group = root.find("p:FIToFICstmrCdtTrf/p:GrpHdr", _NAMES)
        transaction = root.find("p:FIToFICstmrCdtTrf/p:CdtTrfTxInf", _NAMES)
        assert group is not None
        assert transaction is not None
        if group.findtext("p:NbOfTxs", None, _NAMES) != "1":
            raise HTTPException(422, "one transaction a message")
        amount = transaction.find("p:IntrBkSttlmAmt", _NAMES)
        assert amount is not None
        currency = amount.get("Ccy", "")
        minor = Decimal(amount.text or "") * 10 ** self._exponents[currency]
        if minor != int(minor) or minor < 1:
            raise HTTPException(422, "amount")
        created = (group.findtext("p:CreDtTm", None, _NAMES) or "")[:10]
        date = group.findtext("p:IntrBkSttlmDt", None, _NAMES)
        sender, receiver = _agent(group, "InstgAgt"), _agent(group, "InstdAgt")
        uetr = transaction.findtext("p:PmtId/p:UETR", None, _NAMES)
        key = hashlib.sha256(f"{sender}\0{uetr}\0{date or created}".encode()).hexdigest()
        return {
            "schema": "symphony.instruction/1", "kind": "transfer", "rail": "iso20022", "message_type": "pacs.008.001.08",
            "message_id": group.findtext("p:MsgId", None, _NAMES), "tx_index": 0, "tx_count": 1, "created_date": created,
            "instruction_ref": transaction.findtext("p:PmtId/p:InstrId", None, _NAMES),
            "end_to_end_ref": transaction.findtext("p:PmtId/p:EndToEndId", None, _NAMES),
            "tx_ref": transaction.findtext("p:PmtId/p:TxId", None, _NAMES), "uetr": uetr, "settlement_date": date,
            "settlement_method": group.findtext("p:SttlmInf/p:SttlmMtd", None, _NAMES), "amount_minor": int(minor),
            "currency": currency, "instructed_amount": None, "instructing_agent": sender, "instructed_agent": receiver,
            "debtor_agent": _agent(transaction, "DbtrAgt"), "creditor_agent": _agent(transaction, "CdtrAgt"),
            "debtor_account": None, "creditor_account": None, "debtor_country": None, "creditor_country": None,
            "charge_bearer": transaction.findtext("p:ChrgBr", None, _NAMES), "purpose": None, "business_key": key,
            "header": None,
        }  # fmt: skip


def _agent(parent: etree._Element, name: str) -> str | None:
    bic = parent.findtext(f"p:{name}/p:FinInstnId/p:BICFI", None, _NAMES)
    return None if bic is None else bic.upper().ljust(11, "X")
