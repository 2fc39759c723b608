"""A policy of 500 lines over 50,000 data entries, the same at each run: what a whole country's rail would have.

The Rego is the repository's own payments policy and, up to ``LINES`` lines, one file of ceilings by currency and kind of
agent (BIC or clearing code): a ninth check, which every payment must pass, of many rules of which one matches. The data are the
sandbox's with 10,000 participants, the most that the schema admits, each with caps of its own in two currencies, and with as many
agents as fill up the 50,000 entries, each known and permitted: 5 MB of JSON. Only what the schemas admit.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

from benchmarks.workload import ROOT
from sidecar.policy.self_test import whole_payment
from symphony.policy.source import Source
from symphony.policy_build import POLICIES, rego_files

LINES = 500
ENTRIES = 50_000
PARTICIPANTS_MAX = 10_000
TEMPLATE = ROOT / "examples" / "environments" / "sandbox.template.json"
CURRENCY, OTHER_CURRENCY = "ZMW", "USD"
_CHECKS_END = b'\t"OUTSIDE_HOURS",\n]'
_CODE = "POLICY_DENIED"
_HEAD = f"""# Ceilings by currency and kind of agent.
package symphony.payments

passes("{_CODE}", item) if {{
	some kind in kinds(item.instruction.instructed_agent)
	within_ceiling(item.instruction.currency, kind, item.instruction.amount_minor)
}}

kinds(agent) := ["clearing"] if startswith(agent, "CLR:")

kinds(agent) := ["bic"] if not startswith(agent, "CLR:")
"""
_RULE = """
within_ceiling(currency, kind, amount) if {{
	currency == "{currency}"
	kind == "{kind}"
	amount <= {ceiling}
}}
"""


def sandbox() -> dict[str, Any]:
    """The sandbox's environment data."""
    data: dict[str, Any] = json.loads(TEMPLATE.read_text("utf-8"))
    return data


def source(lines: int = LINES, folder: Path = POLICIES) -> Source:
    """Rego of at most so many lines, of which at least the last seven are wanting."""
    files = rego_files(folder)
    decisions = files["payments/decisions.rego"]
    assert _CHECKS_END in decisions, "the checks of the payments policy end otherwise"
    files["payments/decisions.rego"] = decisions.replace(_CHECKS_END, _CHECKS_END[:-1] + f'\t"{_CODE}",\n]'.encode())
    room = lines - count_lines(Source(files)) - _HEAD.count("\n")
    files["payments/ceilings.rego"] = (_HEAD + "".join(_rules(room // _RULE.count("\n")))).encode()
    return Source(files)


def count_lines(policy: Source) -> int:
    """Lines of the Rego that decides."""
    return sum(content.count(b"\n") for content in policy.governing.values())


def _rules(count: int) -> list[str]:
    named = sorted(sandbox()["currencies"].keys() - {CURRENCY, OTHER_CURRENCY})
    pairs = [(currency, kind) for currency in (*named, OTHER_CURRENCY, CURRENCY) for kind in ("clearing", "bic")][-count:]
    return [
        _RULE.format(currency=currency, kind=kind, ceiling=10_000_000_000 + number)
        for number, (currency, kind) in enumerate(pairs)
    ]


def environment(entries: int = ENTRIES) -> dict[str, Any]:
    """Environment data of so many participants and agents together, besides the sandbox's few."""
    data = sandbox()
    banks = min(PARTICIPANTS_MAX - len(data["participants"]), entries // 5)
    agents = [agent(number) for number in range(entries - banks)]
    data["participants"] += [_bank(number) for number in range(banks)]
    data["permitted"]["participants"] += [bank(number) for number in range(banks)]
    data["agents"] += agents
    data["permitted"]["agents"] += agents
    return data


def bank(number: int) -> str:
    """A participant's id."""
    return f"bank-{number:05}"


def agent(number: int) -> str:
    """A BIC."""
    letters = ""
    for _ in range(4):
        number, rest = divmod(number, len(string.ascii_uppercase))
        letters = string.ascii_uppercase[rest] + letters
    return f"{letters}ZMLBXXX"


def _bank(number: int) -> dict[str, Any]:
    caps = {
        currency: {"payment_minor_max": 2_000_000 + number, "daily_minor_max": 200_000_000, "daily_count_max": 100_000}
        for currency in (CURRENCY, OTHER_CURRENCY)
    }
    return {
        "id": bank(number), "name": f"Bank number {number:05} of the benchmark", "status": "active", "agents": [agent(number)],
        "clients": [f"{bank(number)}-payments"], "message_types": ["pacs.008", "pacs.009"], "caps": caps,
    }  # fmt: skip


def payments(count: int, data: dict[str, Any]) -> list[dict[str, Any]]:
    """Decision inputs, each with its own reference, from and to others all over the lists; one in ten is over the cap."""
    permitted = set(data["permitted"]["participants"])
    ids = [one["id"] for one in data["participants"] if one["status"] == "active" and one["id"] in permitted]
    known = data["permitted"]["agents"]
    out = []
    for number in range(count):
        item = whole_payment("sandbox")
        item["participant_id"] = ids[number * 7919 % len(ids)]
        item["rail"] |= {"is_business_day": True, "window_open": True}
        item["instruction"].update(
            currency=CURRENCY, instructed_agent=known[(number * 104_729 + len(known) // 2) % len(known)],
            message_id=f"M-{number}", amount_minor=1 + number if number % 10 != 9 else 9_000_000_000_000,
        )  # fmt: skip
        out.append(item)
    return out
