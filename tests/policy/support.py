"""A decision input that passes, the sandbox that admits it, and policies that misbehave on request."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

from sidecar.policy.engine import WasmEngine
from symphony.policy_build import committed_wasm, rebuild

ROOT = Path(__file__).resolve().parent.parent.parent
AMOUNT_MAX = 2**53 - 1

MISBEHAVING = b"""package symphony.payments

decisions[format_int(index, 10)] := answer if {
	some index, item in input.items
	answer := decision(item.instruction.purpose)
}

obligations := {"routes": ["primary"], "hold": false, "second_approval": false}

yes := {"allow": true, "reasons": [], "obligations": obligations}

no := {"allow": false, "reasons": ["POLICY_DENIED"], "obligations": obligations}

decision(purpose) := yes if purpose in {"GOOD", "CONFLICT"}

decision(purpose) := no if purpose in {"BAD", "CONFLICT"}

decision(purpose) := yes if {
	purpose == "SLOW"
	count([1 | some a in numbers.range(1, 4000); some b in numbers.range(1, 4000); a == b]) > 0
}

decision(purpose) := yes if {
	purpose == "HUNGRY"
	count([concat("", [format_int(a, 10), "x"]) | some a in numbers.range(1, 60000)]) > 0
}

decision(purpose) := object.union(yes, {"allow": "yes"}) if purpose == "TEXT"

decision(purpose) := object.union(yes, {"reasons": ["POLICY_DENIED"]}) if purpose == "BOTH"

decision(purpose) := object.union(no, {"reasons": ["MADE_UP"]}) if purpose == "MADE_UP"

decision(purpose) := object.union(no, {"reasons": []}) if purpose == "SILENT"

decision(purpose) := object.union(yes, {"extra": 1}) if purpose == "EXTRA"

decision(purpose) := object.remove(yes, ["obligations"]) if purpose == "SHORT"

decision(purpose) := 7 if purpose == "NUMBER"
"""


@cache
def _environment() -> str:
    return (ROOT / "examples" / "environments" / "sandbox.template.json").read_text("utf-8")


def environment(**permitted: Any) -> dict[str, Any]:
    """The sandbox's environment data, with other values under ``permitted``."""
    document: dict[str, Any] = json.loads(_environment())
    document["permitted"].update(permitted)
    return document


_INPUT: dict[str, Any] = {
    "schema": "symphony.decision_input/1", "environment": "sandbox", "service": "reference-rail", "release_number": 1,
    "decision_time": "2026-11-24T10:00:00.000000Z", "participant_id": "kafue-bank",
    "rail": {"name": "iso20022", "timezone": "Africa/Lusaka", "business_date": "2026-11-24", "is_business_day": True,
             "local_minute": 720, "window_open": True},
    "identity": {"client_id": "kafue-bank-payments", "pop_mode": "mtls", "db_role": "ingest"},
    "usage": {"day": "2026-11-24", "value_minor": 0, "count": 0, "as_of": "2026-11-24T10:00:00.000000Z"},
    "instruction": {
        "schema": "symphony.instruction/1", "kind": "transfer", "rail": "iso20022", "message_type": "pacs.008.001.08",
        "message_id": "M-1", "tx_index": 0, "tx_count": 1, "created_date": "2026-11-24", "instruction_ref": "I-1",
        "end_to_end_ref": "E-1", "tx_ref": "T-1", "uetr": None, "settlement_date": "2026-11-24",
        "settlement_method": "CLRG", "amount_minor": 1250, "currency": "ZMW", "instructed_amount": None,
        "instructing_agent": "KFUBZMLUXXX", "instructed_agent": "LWGBZMLUXXX", "debtor_agent": None,
        "creditor_agent": None, "debtor_account": None, "creditor_account": None, "debtor_country": "ZM",
        "creditor_country": "ZM", "charge_bearer": "SHAR", "purpose": "GOOD", "business_key": "0" * 64, "header": None,
    },
}


def decision_input(participant_id: str = "kafue-bank", rail: dict[str, Any] | None = None, **instruction: Any) -> dict:
    """A schema-valid decision input that the sandbox allows, with other values where named."""
    document = copy.deepcopy(_INPUT)
    document["participant_id"] = participant_id
    document["rail"].update(rail or {})
    document["instruction"].update(instruction)
    return document


def engine(data_environment: dict[str, Any] | None = None, **bounds: int) -> WasmEngine:
    """The committed policy over the sandbox's data."""
    return WasmEngine(committed_wasm(), {"environment": data_environment or environment()}, **bounds)


@cache
def _misbehaving_wasm(opa: Path) -> bytes:
    return rebuild({"payments/decisions.rego": MISBEHAVING}, opa)


def misbehaving(opa: Path, **bounds: int) -> WasmEngine:
    """A policy whose answer is chosen by the instruction's purpose: GOOD, BAD, CONFLICT, SLOW, UNDEFINED …"""
    return WasmEngine(_misbehaving_wasm(opa), {}, **bounds)


def asked(*purposes: str) -> list[dict[str, Any]]:
    """One decision input a purpose."""
    return [decision_input(purpose=purpose) for purpose in purposes]
