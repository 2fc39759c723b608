"""A participant's client: mTLS with its own certificate, a fresh sender-constrained token per request (a development
stack).

In a real deployment the issuer is the scheme's; here the stack's issuer key makes the tokens.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from contracts.errors import CannotEvaluate
from contracts.times import SystemClock
from contracts.tls import client_context
from symphony.stack.credentials import issue_token, load_credential, load_key
from symphony.stack.environment import manifests_in
from symphony.stack.layout import ISSUER, ISSUER_KID, SERVICE, Layout

TIMEOUT_S = 20.0
POLL_S = 0.1
ENDED = frozenset({"SUCCEEDED", "FAILED", "REFUSED", "NEEDS_REVIEW"})


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer: status, parsed JSON (or the text), content type."""

    status: int
    body: Any
    content_type: str

    @property
    def code(self) -> str | None:
        """The reason code: of the problem document, else of the first entry that has one."""
        if isinstance(self.body, dict):
            return self.body.get("reason_code")
        entries = self.body if isinstance(self.body, list) else []
        return next((entry["reason_code"] for entry in entries if entry["reason_code"]), None)

    @property
    def accepted(self) -> list[str]:
        """Instruction ids that were accepted."""
        entries = self.body if isinstance(self.body, list) else []
        return [entry["instruction_id"] for entry in entries if entry["state"] != "REFUSED"]


class Participant:
    """One participant of a stack. ``close`` it."""

    def __init__(
        self, layout: Layout, name: str, *, certificate_of: str | None = None, subject: str | None = None
    ) -> None:
        folder = layout.participant(certificate_of or name)
        self._layout = layout
        self.name = name
        self.subject = subject or f"{name}-payments"
        self._x5t = load_credential(
            layout.participant(name) / "client.pem", layout.participant(name) / "client-key.pem"
        ).x5t_s256
        self._issuer = load_key(layout.folder / "issuer" / "key.pem")
        self._audience = audience(layout)
        context = client_context(folder / "client.pem", folder / "client-key.pem", layout.ca)
        self._client = httpx.Client(base_url=layout.url("acceptor"), verify=context, timeout=TIMEOUT_S)

    def token(self, *, jti: str | None = None) -> str:
        """A fresh token, bound to this participant's certificate."""
        return issue_token(
            self._issuer, ISSUER_KID, ISSUER, self._audience, self.subject, self._x5t, SystemClock().now(), jti=jti
        )

    def submit(
        self, raw: bytes, *, key: str | None = None, token: str | None = None, accept: str = "application/json"
    ) -> Reply:
        """Send a message. Raises ``CannotEvaluate`` when it is not known whether it arrived."""
        headers = {
            "authorization": f"Bearer {token or self.token()}", "idempotency-key": key or str(uuid.uuid4()),
            "content-type": "application/xml", "accept": accept,
        }  # fmt: skip
        return self._call("POST", "/v1/instructions", headers=headers, content=raw)

    def status(self, instruction_id: str) -> Reply:
        """The state of an own instruction."""
        return self._call(
            "GET", f"/v1/instructions/{instruction_id}", headers={"authorization": f"Bearer {self.token()}"}
        )

    def wait(self, instruction_id: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The state once it has ended. Raises ``CannotEvaluate OUTCOME_UNKNOWN`` after the bound."""
        deadline = time.monotonic() + timeout_s
        while True:
            reply = self.status(instruction_id)
            if reply.status == httpx.codes.OK and reply.body["state"] in ENDED:
                return dict(reply.body)
            if time.monotonic() > deadline:
                raise CannotEvaluate("OUTCOME_UNKNOWN", f"{instruction_id} has not ended in {timeout_s:.0f} s")
            time.sleep(POLL_S)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _call(self, method: str, path: str, **more: Any) -> Reply:
        try:
            response = self._client.request(method, path, **more)
        except httpx.HTTPError as error:
            raise CannotEvaluate(
                "OUTCOME_UNKNOWN", f"the sidecar did not answer: {error}", next_step="retry with the same key"
            ) from error
        kind = response.headers.get("content-type", "")
        return Reply(response.status_code, response.json() if "json" in kind else response.text, kind)


def audience(layout: Layout) -> str:
    """The audience of the sidecar's manifest, as the active release has it."""
    return str(manifests_in(layout.folder / "manifests")[SERVICE]["audience"])


def participant_for(layout: Layout, path: Path) -> str:
    """The participant that speaks for a message's instructing agent, from the stack's template; the first otherwise."""
    from symphony.stack.environment import load_template

    template = load_template(layout.folder / "environment.template.json")
    text = path.read_bytes().decode("utf-8", "replace").upper()
    known = [p["id"] for p in template["participants"]]
    places = {
        entry["id"]: min(
            (text.find(agent[:8]) for agent in entry["agents"] if agent != "*" and agent[:8] in text), default=-1
        )
        for entry in template["participants"]
    }
    found = sorted((place, name) for name, place in places.items() if place >= 0)
    return str(found[0][1] if found else known[0])
