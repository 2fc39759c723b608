"""How the writer obeys orders (design section 4, PIL-04): asked for on a way of its own, so that no slow release holds one up.

* obeyed in memory first, then durable with its evidence; what could not be kept yet is kept at the next round;
* a lift is durable before it counts;
* at start each is verified again from the pinned root, with the custodians' metadata that it was kept with: neither an edited
  row nor a control plane that is away lifts anything. A kept order that does not verify halts the whole service;
* what was refused is asked for again at each round (the custodians' word may be on its way), and is evidence once a process;
* an order is no trouble of a rail and never reaches routing: it is no trigger of a fallback.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from contracts import orders
from contracts.errors import NotTrusted, SymphonyError
from contracts.orders import Here, Signed, Standing
from contracts.release import Custodians, HttpsSource, NotThere, PinnedRoot, VerifiedRelease
from contracts.times import Clock
from contracts.tls import client_context
from sidecar.config import ReleaseConfig
from sidecar.events import Events
from sidecar.store import Fenced, StoreUnavailable, WriterStore
from sidecar.store.store import EXECUTOR

PAGES_MAX = 20
"""Answers of the control plane that one round reads."""
REFUSALS_RECORDED_MAX = 100
"""Refused entries that become evidence in one process's life: a hostile control plane cannot fill the stream."""
_LOG = logging.getLogger("symphony.orders")


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom ``Orders`` asks: the custodians' newest word, and the release last in force here (its lease may have ended)."""

    custodians: Callable[[], Custodians]
    release: Callable[[], VerifiedRelease | None]


class Orders:
    """The orders of one writer. ``here`` is what everything else asks for."""

    def __init__(
        self, store: WriterStore, events: Events, asked: Asked, *, environment: str, service: str, clock: Clock,
        changed: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._store, self._events, self._asked = store, events, asked
        self._environment, self._service, self._clock = environment, service, clock
        self._changed = changed
        self._standing = Standing()
        self._here: Here | None = None
        self._rail = ""
        self._unkept: list[tuple[Signed, Custodians]] = []
        self._refusals: set[str] = set()
        self._after = 0
        self._taking = asyncio.Lock()

    def here(self) -> Here:
        """What orders mean for this service now."""
        release = self._asked.release()
        rail = release.manifest["sidecar"]["rail"]["name"] if release is not None else self._rail
        if self._here is None or rail != self._rail:
            self._rail, self._here = rail, self._standing.here(self._service, rail)
        return self._here

    async def start(self, root: Path) -> None:
        """Take up what was kept, each verified again. Raises ``StoreUnavailable``: without them nothing is served."""
        async with self._store.transaction(EXECUTOR) as transaction:
            rows = await transaction.rows("kept_orders")
        pinned = PinnedRoot.from_file(root).root if rows else b""
        for number, is_lift, envelope, targets, roots in rows:
            try:
                word = Custodians.of(pinned, [bytes(root) for root in roots], bytes(targets), self._environment)
                self._take_up(orders.read(bytes(envelope)), word)
            except SymphonyError as error:
                _LOG.critical("the kept %s %d does not verify: %s", "lift of order" if is_lift else "order", number, error)
                if not is_lift:
                    self._standing.broken.append(number)
        self._said()

    def _take_up(self, signed: Signed, word: Custodians) -> None:
        if signed.is_lift:
            self._verify_lift(signed, word, None)
            self._standing.lift(signed)
        else:
            orders.verify_order(signed, environment=self._environment, officers=word.trust.officers, listed=None, now=None)
            self._standing.take(signed)

    async def run(self, config: ReleaseConfig) -> None:
        """Ask the control plane until cancelled."""
        source: HttpsSource | None = None
        while True:
            try:
                if source is None:
                    context = client_context(Path(config.certificate), Path(config.key), Path(config.ca))
                    source = HttpsSource(config.url, context)
                await self.round(source)
            except Fenced:
                raise
            except (SymphonyError, OSError) as error:
                _LOG.info("asking for orders: %s", error)  # those that are known stand; asked again at the next round
            except Exception:  # noqa: BLE001 - the loop must go on
                _LOG.exception("asking for orders")
            await asyncio.sleep(config.poll_ms / 1000)

    async def round(self, source: HttpsSource) -> None:
        """Keep what is not kept yet, and take what the control plane has since."""
        async with self._taking:
            await self._keep_the_rest()
        for _ in range(PAGES_MAX):
            try:
                path = f"orders/{self._environment}/{self._after}"
                data = await asyncio.to_thread(source.fetch, path, orders.PAGE_BYTES_MAX)
            except NotThere:
                return  # a control plane of the release before
            entries, last = orders.page(data)
            if last < self._after:
                self._after = 0  # another control plane, or one from a backup: what is known is known
            elif not await self._take_page(entries):
                return

    async def _take_page(self, entries: list[tuple[int, bytes]]) -> bool:
        """Whether to ask for more at once. The place moves only over what was taken."""
        every = True
        for position, envelope in entries:
            try:
                await self.take(envelope)
            except SymphonyError as error:
                _LOG.warning("an order at place %d is refused: %s", position, error)
                every = False
            self._after = max(self._after, position) if every else self._after
        return every and len(entries) == orders.PAGE_MAX

    async def take(self, envelope: bytes) -> dict[str, Any]:
        """Obey an order or a lift. Raises ``NotTrusted ORDER_*`` or ``OFFICER_UNKNOWN`` for one that does not hold."""
        async with self._taking:
            signed: Signed | None = None
            try:
                signed = orders.read(envelope)
                return await (self._lift(signed) if signed.is_lift else self._obey(signed))
            except NotTrusted as error:
                await self._refused(envelope, signed, error)
                raise

    async def _obey(self, order: Signed) -> dict[str, Any]:
        answer = {"number": order.number, "kind": order.claims["kind"], "outcome": "known"}
        if order.key in self._standing.orders:
            return answer
        word, release = self._asked.custodians(), self._asked.release()
        listed = release.environment_data.get("order_keys") if release is not None else None
        officers, now = word.trust.officers, self._clock.now()
        orders.verify_order(order, environment=self._environment, officers=officers, listed=listed, now=now)
        self._standing.take(order)
        self._said()  # before it is durable: a refusal is never too early
        self._unkept.append((order, word))
        try:
            await self._keep_the_rest()
        except StoreUnavailable as error:
            _LOG.error("order %d is obeyed, and not durable yet: %s", order.number, error)
        return {**answer, "outcome": "obeyed"}

    async def _lift(self, lift: Signed) -> dict[str, Any]:
        answer = {"number": lift.number, "kind": "lift", "outcome": "known"}
        if lift.key in self._standing.lifted:
            return answer
        word = self._asked.custodians()
        now = self._clock.now()
        key_ids = self._verify_lift(lift, word, now)
        if now >= word.trust.expires_at:
            raise NotTrusted("RELEASE_EXPIRED", "the custodians' word on the officers has run out")
        await self._keep_the_rest()
        await self._keep(lift, word, {"action": "lifted", "key_ids": list(key_ids), "reason_code": None})
        self._standing.lift(lift)
        self._said()
        return {**answer, "outcome": "lifted"}

    def _verify_lift(self, lift: Signed, word: Custodians, now: datetime | None) -> tuple[str, ...]:
        return orders.verify_lift(
            lift, self._standing.named_by(lift), environment=self._environment, officers=word.trust.officers,
            threshold=word.trust.approvals_min, now=now,
        )  # fmt: skip

    async def _keep_the_rest(self) -> None:
        while self._unkept:
            order, word = self._unkept[0]
            code = self._alarm(order)
            fields = {"action": "obeyed", "key_ids": [order.claims["key_id"]], "reason_code": code}
            await self._keep(order, word, {**fields, "missing": self._standing.missing()})
            del self._unkept[0]

    def _alarm(self, order: Signed) -> str | None:
        """Rule 4: a fork and a missing number are obeyed and said."""
        if self._standing.is_forked(order):
            _LOG.critical("order %d came with two contents; both are obeyed", order.number)
            return "ORDER_FORKED"
        if self._standing.missing():
            _LOG.error("orders %s are missing below %d", self._standing.missing(), self._standing.highest)
            return "ORDER_NUMBER"
        return None

    async def _keep(self, signed: Signed, word: Custodians, fields: Mapping[str, Any]) -> None:
        """One transaction: the row and its evidence. A row that is there already has its evidence."""
        order = self._standing.orders[signed.key]
        about = _about(order)
        async with self._store.transaction(EXECUTOR) as transaction:
            new = await transaction.value(
                "keep_order", signed.number, signed.order_sha256, signed.is_lift, signed.envelope, word.targets, list(word.roots)
            )
            if new:
                await self._events.add(transaction, "order", {**about, **fields})
        _LOG.warning("order %d (%s) is %s", order.number, order.claims["kind"], fields["action"])

    async def _refused(self, envelope: bytes, signed: Signed | None, error: NotTrusted) -> None:
        """Evidence once; an envelope that cannot be read has nothing that could be said of it but the reason."""
        mark = f"{error.code} {signed.sha256 if signed else hash(envelope)}"
        if mark in self._refusals or len(self._refusals) >= REFUSALS_RECORDED_MAX:
            return
        fields = {"action": "refused", **_about(signed), "key_ids": [], "reason_code": error.code}
        await self._events.write("order", fields)
        self._refusals.add(mark)

    def _said(self) -> None:
        self._here = None
        self._changed()


def _about(signed: Signed | None) -> dict[str, Any]:
    if signed is None:
        return dict.fromkeys(("number", "order_sha256", "order_kind", "scope"))
    named = {"number": signed.number, "order_sha256": signed.order_sha256}
    return {**named, "order_kind": signed.claims.get("kind"), "scope": signed.claims.get("scope")}
