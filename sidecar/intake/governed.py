"""Fixed code, not only Rego: who may speak for whom, and the caps of a payment (design section 3, stations 2 and 4).

Held by the acceptor before it decides, and by the writer again against the release, on its own:

* the instructing agent is one that the release assigns to the participant, else ``AGENT_MISMATCH``;
* the instructed agent is one that the release knows (or any, in a sandbox with wildcards), else ``NOT_ALLOWED_AGENT``;
* no officer's order freezes the participant or the currency, else ``ORDER_FROZEN``;
* a cap stands for the currency, the least of the release's, any order's and what a release that has grown old still permits
  (``contracts.release.staleness``), and the amount is within it, else ``CAP_PAYMENT_VALUE``.
"""

from __future__ import annotations

import copy
from typing import Any

from contracts.caps import ANY, cap_of
from contracts.orders import NO_ORDERS, Here
from contracts.release.staleness import FRESH, Standing

_CAPS_OF_VALUE = frozenset({"CAP_PAYMENT_VALUE", "CAP_DAILY_VALUE"})


class Governed:
    """The release's participants, agents and caps, by id."""

    def __init__(self, environment_data: dict[str, Any]) -> None:
        self._environment = environment_data
        self._orders = NO_ORDERS
        self._standing = FRESH
        self._participants = {entry["id"]: entry for entry in environment_data["participants"]}
        self._speaks = {entry["id"]: frozenset(entry["agents"]) for entry in environment_data["participants"]}
        self._agents = frozenset(environment_data["agents"])
        self._any_agent = bool(environment_data["wildcards"]["agents"]) and environment_data["environment"] == "sandbox"

    def under(self, orders: Here, standing: Standing = FRESH) -> Governed:
        """The same under the officers' orders and the age of the release, which only tighten."""
        if orders is self._orders and standing is self._standing:
            return self
        tightened = copy.copy(self)
        tightened._orders, tightened._standing = orders, standing  # noqa: SLF001 - a copy of ourselves
        return tightened

    def because(self, code: str) -> str:
        """What a participant is told beside a cap that is lower than the release's."""
        return self._standing.why if self._standing.tightens and code in _CAPS_OF_VALUE else ""

    def speaks_for(self, participant_id: str, agent: str) -> bool:
        """Whether the release assigns the agent to the participant."""
        agents = self._speaks.get(participant_id, frozenset())
        return agent in agents or (ANY in agents and self._any_agent)

    def caps(self, participant_id: str, currency: str) -> dict[str, int] | None:
        """The cap that stands (``contracts.caps``), or ``None``, which is a refusal."""
        participant = self._participants.get(participant_id)
        caps = None if participant is None else cap_of(self._environment, participant, currency)
        return None if caps is None else self._standing.lower(currency, self._orders.lower(participant_id, currency, caps))

    def refusal(self, participant_id: str, instruction: dict[str, Any]) -> str | None:
        """The reason code that fixed code gives against an instruction, or ``None``."""
        if not self.speaks_for(participant_id, instruction["instructing_agent"]):
            return "AGENT_MISMATCH"
        if self._orders.freezes(participant_id, instruction["currency"]) is not None:
            return "ORDER_FROZEN"
        if instruction["instructed_agent"] not in self._agents and not self._any_agent:
            return "NOT_ALLOWED_AGENT"
        caps = self.caps(participant_id, instruction["currency"])
        over = caps is None or instruction["amount_minor"] > caps["payment_minor_max"]
        return "CAP_PAYMENT_VALUE" if over else None
