"""What every policy must answer before its release activates (design section 4: "answers its self-test").

* no items: no answers;
* an item without anything: denied (the cheapest form of the fail-open probe);
* a whole payment of a participant that nobody knows: an answer, whichever, so that data on which the policy cannot be
  evaluated at all (two participants of one id) are found before they refuse every payment.
"""

from __future__ import annotations

from typing import Any

UNKNOWN_PARTICIPANT = "symphony-self-test"

_DATE = "2026-01-01"
_MOMENT = "2026-01-01T00:00:00.000000Z"
_AGENT = "ZZZZZZZZXXX"
_NAME = "self-test"


def whole_payment(environment: str) -> dict[str, Any]:
    """A decision input that fits its schema, of ``UNKNOWN_PARTICIPANT``."""
    return {
        "schema": "symphony.decision_input/1", "environment": environment, "service": _NAME, "release_number": 1,
        "decision_time": _MOMENT, "participant_id": UNKNOWN_PARTICIPANT,
        "rail": {"name": _NAME, "timezone": "UTC", "business_date": _DATE, "is_business_day": False,
                 "local_minute": 0, "window_open": False},
        "identity": {"client_id": _NAME, "pop_mode": "mtls", "db_role": "ingest"},
        "usage": {"day": _DATE, "value_minor": 0, "count": 0, "as_of": _MOMENT},
        "instruction": {
            "schema": "symphony.instruction/1", "kind": "transfer", "rail": _NAME, "message_type": "pacs.008.001.08",
            "message_id": _NAME, "tx_index": 0, "tx_count": 1, "created_date": _DATE, "instruction_ref": _NAME,
            "end_to_end_ref": None, "tx_ref": None, "uetr": None, "settlement_date": _DATE,
            "settlement_method": "CLRG", "amount_minor": 1, "currency": "XTS", "instructed_amount": None,
            "instructing_agent": _AGENT, "instructed_agent": _AGENT, "debtor_agent": None, "creditor_agent": None,
            "debtor_account": None, "creditor_account": None, "debtor_country": None, "creditor_country": None,
            "charge_bearer": None, "purpose": None, "business_key": "0" * 64, "header": None,
        },
    }
