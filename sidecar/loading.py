"""A release or orders from a folder that an officer brought: the way beside a control plane that is down or hostile (design 4).

    DIR/metadata/…, DIR/targets/…    as a TUF repository serves them (``contracts.release.FolderSource``)
    DIR/orders/*.json                orders and lifts, an envelope each

Every rule is that of the ordinary way: nothing is believed because it lies here. A release that is refused keeps the old one
running, and holds up no order. Each loading is evidence.
"""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any, Protocol

from contracts import orders
from contracts.errors import Misused, NotTrusted, Refused, SymphonyError
from contracts.release import FolderSource, ReleaseSource, VerifiedRelease
from sidecar.events import Events

FILES_MAX = 1000


class Follows(Protocol):
    """``sidecar.following.Following``, as far as it is asked here."""

    def last(self) -> VerifiedRelease | None:
        """The release taken up last."""

    async def refresh(self, source: ReleaseSource | None = None) -> SymphonyError | None:
        """One round over a source."""


class Obeys(Protocol):
    """``sidecar.orders.Orders``, as far as it is asked here."""

    async def take(self, envelope: bytes) -> dict[str, Any]:
        """Obey one."""


async def load(folder: Path, following: Follows, obeying: Obeys, events: Events) -> dict[str, Any]:
    """``{"release": {"number", "activated", "code", "detail"} | None, "orders": [{"file", …}]}``: what became of each.

    Raises ``Misused CONFIGURATION`` for a folder that holds neither.
    """
    parts = [name for name in ("metadata", "orders") if await asyncio.to_thread((folder / name).is_dir)]
    if not folder.is_absolute() or not parts:
        raise Misused(
            "CONFIGURATION", f"{folder} has neither metadata/ nor orders/ that the sidecar can read",
            next_step="symphony release export DIR",
        )  # fmt: skip
    answer: dict[str, Any] = {"release": None, "orders": []}
    if "metadata" in parts:
        answer["release"] = await _release(folder, following)
        loaded = {"number": answer["release"]["number"], "reason_code": answer["release"]["code"]}
        await events.write("release_loaded", loaded)
    if "orders" in parts:
        answer["orders"] = await _orders(folder / "orders", obeying)
    return answer


async def _release(folder: Path, following: Follows) -> dict[str, Any]:
    before = following.last()
    trouble = await following.refresh(FolderSource(folder))
    after = following.last()
    return {
        "number": after.number if after else None,
        "activated": after is not None and (before is None or before.number != after.number),
        "code": trouble.code if trouble else None, "detail": trouble.detail if trouble else "",
    }  # fmt: skip


async def _orders(folder: Path, obeying: Obeys) -> list[dict[str, Any]]:
    """Orders before lifts, by number; a file that cannot be read is refused and holds up no other."""
    names = sorted(path for path in await asyncio.to_thread(lambda: list(folder.iterdir())) if path.suffix == ".json")
    if len(names) > FILES_MAX:
        raise Refused("ORDER_INVALID", f"more than {FILES_MAX} files")
    found: list[tuple[bool, int, str, bytes]] = []
    answers: list[dict[str, Any]] = []
    for path in names:
        try:
            data = await asyncio.to_thread(_read, path)
            signed = orders.read(data)
            found.append((signed.is_lift, signed.number, path.name, data))
        except SymphonyError as error:
            answers.append({"file": path.name, "outcome": "refused", "code": error.code, "detail": error.detail})
    for _, number, name, data in sorted(found):
        try:
            answers.append({"file": name, **await obeying.take(data)})
        except SymphonyError as error:
            answers.append({"file": name, "number": number, "outcome": "refused", "code": error.code, "detail": error.detail})
    return answers


def _read(path: Path) -> bytes:
    """A regular file within the bound; a pipe or a link to a device holds up nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotTrusted("ORDER_INVALID", "not a file")
            return file.read(orders.ENVELOPE_BYTES_MAX + 1)
    except OSError as error:
        raise NotTrusted("ORDER_INVALID", f"cannot be read: {error.strerror}") from error
