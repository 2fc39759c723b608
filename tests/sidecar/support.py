"""One release with real keys, and messages as an acceptor hands them to the writer: what the tests bend."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.canonical import canonical_bytes
from contracts.keys import key_id_of, public_hex
from contracts.release import VerifiedRelease
from contracts.release.model import Emergency
from contracts.times import rfc3339
from sidecar.active import ActiveRelease
from sidecar.intake.handover import HandedItem, HandedMessage
from symphony.stack import credentials as dev

ROOT = Path(__file__).resolve().parents[2]
SERVICE = "reference-rail"
ISSUER, KID = "https://issuer.example", "issuer-1"
KAFUE, LUANGWA = "kafue-bank", "luangwa-bank"
AGENTS = {KAFUE: "KFUBZMLUXXX", LUANGWA: "LWGBZMLUXXX", "mosi-money": "MSIMZMLUXXX"}
NAME_CANARY, ACCOUNT_CANARY, KEY_CANARY = "MWANSA CANARY CHILUFYA", "99887766554433", "key-canary-"
"""What must be in no evidence and in no log: a debtor's name, an account, an idempotency key (EVD-09, NEG-36)."""


@cache
def ca() -> dev.Credential:
    """The release's certificate authority."""
    return dev.make_ca("Sandbox CA", now=datetime.now(UTC) - timedelta(days=1))


@cache
def certificate(participant: str) -> dev.Credential:
    """A participant's certificate."""
    return dev.participant_credential(ca(), "sandbox", participant, now=datetime.now(UTC) - timedelta(hours=1))


@cache
def issuer_key() -> Any:
    """The token issuer's key."""
    return dev.new_key()


@cache
def permit_key() -> Ed25519PrivateKey:
    """The sidecar's permit key."""
    return Ed25519PrivateKey.generate()


def permit_keys() -> dict[str, dict[str, str]]:
    """What a ledger knows of permit keys."""
    return {key_id_of(permit_key()): {"public_key": public_hex(permit_key()), "sidecar": SERVICE}}


@cache
def _template() -> dict[str, Any]:
    data: dict[str, Any] = json.loads((ROOT / "examples/environments/sandbox.template.json").read_text("utf-8"))
    data["issuers"] = [dev.issuer_entry(ISSUER, {KID: issuer_key()})]
    data["certificate_authorities"] = [ca().pem]
    data["permit_keys"] = [{"key_id": key_id, **entry} for key_id, entry in permit_keys().items()]
    return data


def environment_data() -> dict[str, Any]:
    """The sandbox's data with real keys, to be changed at will."""
    return copy.deepcopy(_template())


def manifest(**sidecar: Any) -> dict[str, Any]:
    """The reference rail's manifest; ``sidecar`` replaces parts of it (a dict is merged)."""
    made: dict[str, Any] = json.loads((ROOT / "manifests/reference-rail.json").read_text("utf-8"))
    for name, value in sidecar.items():
        made["sidecar"][name] = {**made["sidecar"][name], **value} if isinstance(value, dict) else value
    return made


def release(number: int = 1, *, data: dict[str, Any] | None = None, **sidecar: Any) -> VerifiedRelease:
    """A release as ``contracts.release`` would have verified it."""
    now = datetime.now(UTC)
    wasm = (ROOT / "policies/build/policy.wasm").read_bytes()
    return VerifiedRelease(
        environment="sandbox", number=number, metadata_digest=f"{number:064x}", policy_digest=hashlib.sha256(wasm).hexdigest(),
        expires_at=now + timedelta(days=1), fetched_at=now, lease_expires_at=now + timedelta(days=1),
        environment_data=data or environment_data(), manifest=manifest(**sidecar), policy_wasm=wasm, policy_bundle=b"",
        invariants={}, schemas={}, proposal={}, approver_key_ids=(), revocations=[], revocations_version=1,
    )  # fmt: skip


def active(number: int = 1, *, data: dict[str, Any] | None = None, **sidecar: Any) -> ActiveRelease:
    """That release, active."""
    return ActiveRelease(release(number, data=data, **sidecar))


def in_emergency(number: int = 1, ends_in_s: float = 3600, **sidecar: Any) -> ActiveRelease:
    """That release with emergency 1 over it."""
    alone, now = release(number, **sidecar), datetime.now(UTC)
    over = Emergency(1, "e" * 64, "0" * 64, now, now + timedelta(seconds=ends_in_s), alone.policy_digest)
    return ActiveRelease(replace(alone, emergency=over, decide_again=True))


def capped(payment: int, value: int, count: int) -> dict[str, Any]:
    """Environment data whose caps of Kafue in ZMW are these."""
    data = environment_data()
    caps = {"payment_minor_max": payment, "daily_minor_max": value, "daily_count_max": count}
    next(p for p in data["participants"] if p["id"] == KAFUE)["caps"] = {"ZMW": caps}
    return data


def token(participant: str = KAFUE, **changes: Any) -> str:
    """A fresh token of a participant's client, bound to its certificate; ``jti`` and ``x5t`` may be set."""
    x5t = changes.pop("x5t", None) or certificate(participant).x5t_s256
    return dev.issue_token(
        issuer_key(), KID, ISSUER, SERVICE, f"{participant}-payments", x5t, changes.pop("now", datetime.now(UTC)), **changes
    )


def business_date() -> str:
    """Today in the rail's zone: from 22:00 UTC on it is another day there."""
    return datetime.now(ZoneInfo("Africa/Lusaka")).date().isoformat()


def payment(ref: str | None = None, *, by: str = KAFUE, to: str = LUANGWA, amount: int = 12_500, **changes: Any) -> dict[str, Any]:
    """A canonical instruction that the sandbox's policy admits; its business key comes from ``ref``."""
    ref = ref or uuid4().hex
    today = business_date()
    return {
        "schema": "symphony.instruction/1", "kind": "transfer", "rail": "iso20022", "message_type": "pacs.008.001.08",
        "message_id": f"M{ref}"[:35], "tx_index": 0, "tx_count": 1, "created_date": today, "instruction_ref": f"I{ref}"[:35],
        "end_to_end_ref": f"E{ref}"[:35], "tx_ref": None, "uetr": None, "settlement_date": today, "settlement_method": "CLRG",
        "amount_minor": amount, "currency": "ZMW", "instructed_amount": None, "instructing_agent": AGENTS[by],
        "instructed_agent": AGENTS[to], "debtor_agent": None, "creditor_agent": None, "debtor_account": ACCOUNT_CANARY,
        "creditor_account": ACCOUNT_CANARY[::-1], "debtor_country": None, "creditor_country": None, "charge_bearer": None,
        "purpose": None, "business_key": hashlib.sha256(ref.encode()).hexdigest(), "header": None, **changes,
    }  # fmt: skip


def decision_input(instruction: dict[str, Any], participant: str, number: int) -> bytes:
    """The frozen input that an acceptor decides on."""
    now = rfc3339(datetime.now(UTC))
    return canonical_bytes({
        "schema": "symphony.decision_input/1", "environment": "sandbox", "service": SERVICE, "release_number": number,
        "decision_time": now, "participant_id": participant,
        "rail": {"name": "iso20022", "timezone": "Africa/Lusaka", "business_date": business_date(), "is_business_day": True,
                 "local_minute": 600, "window_open": True},
        "identity": {"client_id": f"{participant}-payments", "pop_mode": "mtls", "db_role": "ingest"},
        "usage": {"day": now[:10], "value_minor": 0, "count": 0, "as_of": now}, "instruction": instruction,
    })  # fmt: skip


def item(instruction: dict[str, Any], index: int = 0, *, by: str = KAFUE, number: int = 1, **changes: Any) -> HandedItem:
    """A payment that an acceptor's policy admitted."""
    refs = {name: instruction.get(name) for name in ("instruction_ref", "end_to_end_ref", "tx_ref", "uetr")}
    filled = {"allow": True, "decision_input": decision_input(instruction, by, number), "refs": refs, **changes}
    return HandedItem(tx_index=index, instruction=instruction, **filled)


def handed(*payments: dict[str, Any], by: str = KAFUE, key: str | None = None, number: int = 1, **changes: Any) -> HandedMessage:
    """A request with these payments as an honest acceptor hands it over; ``changes`` makes it another."""
    raw = changes.pop("raw", None) or f"<Dbtr><Nm>{NAME_CANARY}</Nm></Dbtr>{ACCOUNT_CANARY} {payments}".encode()
    filled: dict[str, Any] = {
        "correlation_id": str(uuid4()), "received_at": rfc3339(datetime.now(UTC)), "token": changes.pop("token", None) or token(by),
        "certificate_der": certificate(by).der, "idempotency_key": key or KEY_CANARY + uuid4().hex, "raw": raw,
        "body_sha256": hashlib.sha256(raw).hexdigest(), "release_number": number, "message_type": "pacs.008.001.08",
        "message_id": "M1", "items": [item(one, index, by=by, number=number) for index, one in enumerate(payments)],
    }  # fmt: skip
    return HandedMessage(**{**filled, **changes})
