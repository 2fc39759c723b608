"""What the payments benchmark sends: an environment with 64 participants, and requests signed beforehand.

A request is one HTTP message, whole: one generated pacs.008.001.08 with one transaction and its own UETR, a token of its
own (ES256, bound to the participant's certificate, five minutes), an idempotency key of its own. Participants send in
turn, each over connections with its own certificate, each to another bank than itself.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contracts.calendar import business_context
from rails.iso20022.samples import Payment, Sample
from symphony.participant import audience
from symphony.stack.credentials import issue_token, load_credential, load_key
from symphony.stack.environment import manifests_in
from symphony.stack.layout import ISSUER, ISSUER_KID, SERVICE, Layout

ROOT = Path(__file__).resolve().parent.parent
PARTICIPANTS = 64
CURRENCY = "ZMW"
CAP_MINOR = 10**14
MESSAGE_VERSION = "08"
HEAD = (
    b"POST /v1/instructions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nauthorization: Bearer %s\r\nidempotency-key: %s\r\n"
    b"content-type: application/xml\r\ncontent-length: %d\r\n\r\n"
)


def participant_id(number: int) -> str:
    """``bank-00``."""
    return f"bank-{number:02}"


def agent(number: int) -> str:
    """The BIC that a participant speaks for."""
    return f"B{chr(65 + number // 26)}{chr(65 + number % 26)}KZMLUXXX"


def manifests_folder(folder: Path) -> Path:
    """A folder for ``symphony up --manifests``: the sandbox's template with the benchmark's banks, the repo's manifests."""
    folder.mkdir(parents=True, exist_ok=True)
    template = json.loads((ROOT / "examples" / "environments" / "sandbox.template.json").read_text())
    banks, agents = range(PARTICIPANTS), [agent(number) for number in range(PARTICIPANTS)]
    template["participants"] = [
        {
            "id": participant_id(number), "name": f"Bank {number:02}", "status": "active", "agents": [agent(number)],
            "clients": [f"{participant_id(number)}-payments"], "message_types": ["pacs.008"],
        }
        for number in banks
    ]  # fmt: skip
    template["agents"] = agents
    template["caps"] = {
        CURRENCY: {"payment_minor_max": CAP_MINOR, "daily_minor_max": CAP_MINOR, "daily_count_max": 10_000_000}
    }
    template["permitted"] = {
        **template["permitted"], "participants": [participant_id(number) for number in banks], "agents": agents,
        "currencies": [CURRENCY],
    }  # fmt: skip
    (folder / "environment.template.json").write_text(json.dumps(template, indent=1))
    for path in sorted((ROOT / "manifests").glob("*.json")):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@dataclass(frozen=True)
class Bank:
    """A participant's credentials: file names for TLS, the thumbprint that its tokens are bound to."""

    number: int
    certificate: Path
    key: Path
    x5t: str


class Workload:
    """Makes requests for the participants of a stack's folder; the stack need not run."""

    def __init__(self, layout: Layout) -> None:
        self._issuer = load_key(layout.folder / "issuer" / "key.pem")
        self._audience = audience(layout)
        self._layout = layout
        self.ca = layout.ca
        self.banks = [self._bank(number) for number in range(PARTICIPANTS)]

    def _bank(self, number: int) -> Bank:
        folder = self._layout.participant(participant_id(number))
        certificate, key = folder / "client.pem", folder / "client-key.pem"
        return Bank(number, certificate, key, load_credential(certificate, key).x5t_s256)

    def requests(self, count: int, port: int) -> list[list[bytes]]:
        """``count`` requests, dealt to the participants in turn."""
        now = datetime.now(UTC)
        dealt: list[list[bytes]] = [[] for _ in self.banks]
        date = self._business_date(now)
        for n in range(count):
            bank = self.banks[n % PARTICIPANTS]
            dealt[bank.number].append(self._request(bank, n, now, date, port))
        return dealt

    def _request(self, bank: Bank, n: int, now: datetime, date: str, port: int) -> bytes:
        other = agent((bank.number + 1 + n % (PARTICIPANTS - 1)) % PARTICIPANTS)
        mark = uuid.uuid4().hex[:20]
        body = Sample(
            version=MESSAGE_VERSION, message_id=f"M-{mark}", moment=now, settlement_date=date, instructing=agent(bank.number),
            instructed=other,
            payments=(Payment(
                amount=f"{1 + n % 5000}.{n % 100:02}", currency=CURRENCY, end_to_end_id=f"E-{mark}", tx_id=f"T-{mark}",
                instruction_id=f"I-{mark}", uetr=str(uuid.uuid4()), debtor_agent=agent(bank.number), creditor_agent=other,
            ),),
        ).xml()  # fmt: skip
        token = issue_token(
            self._issuer, ISSUER_KID, ISSUER, self._audience, f"{participant_id(bank.number)}-payments", bank.x5t, now
        )
        return HEAD % (port, token.encode(), str(uuid.uuid4()).encode(), len(body)) + body

    def _business_date(self, now: datetime) -> str:
        template = json.loads((self._layout.folder / "environment.template.json").read_text())
        settings: dict[str, Any] = manifests_in(self._layout.folder / "manifests")[SERVICE]["sidecar"]
        return str(business_context(settings, template["calendars"], now)["business_date"])

    def jobs(self, dealt: list[list[bytes]], connections_min: int) -> Iterator[dict[str, Any]]:
        """One entry a connection: at least one a participant, more where more are to be in flight."""
        each = -(-connections_min // PARTICIPANTS)
        for bank, requests in zip(self.banks, dealt, strict=True):
            for share in range(each):
                yield {"certificate": str(bank.certificate), "key": str(bank.key), "requests": requests[share::each]}
