"""The emergency release over one follower's release: looked for at each refresh, kept durably, taken up at start (ADR 0013).

The repository names the newest sealed one in its snapshot; ``emergency/<env>/<K>.json`` beside the metadata is its document:
``{"opening": envelope, "closing": envelope or null}``, or is not there while K is sealed. Nothing of it is believed (rules E1 to
E9 of ``contracts.release.emergency``). Any failure leaves the normal release in force.

    folder/emergency.json      number and opening digest of the highest one taken, its envelope, and whether it has ended (E6)
    folder/held/emergency/…    its role file, with the custodians' metadata that it stands on

An opening that was taken ends here by itself, at E5's end, without a word from anybody.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from contracts.canonical import parse_json
from contracts.errors import CannotEvaluate, NotTrusted, Refused, SymphonyError
from contracts.release import emergency
from contracts.release.build import demanded
from contracts.release.emergency import Said, Sealed
from contracts.release.held import EMERGENCY, Held, HeldReleases
from contracts.release.limits import EMERGENCY_DOCUMENT_BYTES_MAX
from contracts.release.model import VerifiedRelease
from contracts.release.record import write_durably
from contracts.release.repository import Repository
from contracts.release.source import NotThere
from contracts.release.trust import Trust, root_of, trust_of
from contracts.times import Clock

_LOG = logging.getLogger("symphony.emergency")


@dataclass(frozen=True, slots=True)
class Opened:
    """An emergency release whose opening holds here. ``policy``: ``policy.wasm`` and ``policy.tar.gz``."""

    sealed: Sealed
    opening: Said
    policy: tuple[bytes, bytes]

    @property
    def over(self) -> int:
        """The release that it stands over."""
        return int(self.opening.claims["over"])


@dataclass(frozen=True, slots=True)
class _Record:
    """The highest one taken here. ``over``: the release that it stood over."""

    number: int
    opening_sha256: str
    over: int
    opening: dict[str, Any]
    ended: bool


@dataclass(frozen=True, slots=True)
class Ground:
    """What a look stands on: the custodians' word with its bytes, and the revocations. ``offline``: nothing is written."""

    trust: Trust
    targets: bytes
    roots: tuple[bytes, ...]
    revocations: Sequence[Mapping[str, Any]]
    offline: bool = False


class Emergencies:
    """See the module. ``policy``: the digest of the newest sealed emergency's policy, open or not, where one is known."""

    def __init__(
        self, *, environment: str, root: bytes, folder: Path, held: HeldReleases, repository: Repository, clock: Clock,
        test: Callable[[VerifiedRelease], None],
    ) -> None:  # fmt: skip
        self.policy: str | None = None
        self._environment, self._root, self._clock, self._test = environment, root, clock, test
        self._file = folder / "emergency.json"
        self._held, self._repository = held, repository
        self._opened: Opened | None = None
        self._record: _Record | None = None
        self._read = False
        self._over: tuple[VerifiedRelease, Opened | None, VerifiedRelease] | None = None

    def over(self, release: VerifiedRelease) -> VerifiedRelease:
        """What is in force over a release now: itself, or with the emergency that stands over it (E5, E7)."""
        opened, made = self._standing(release), self._over
        if made is None or made[0] is not release or made[1] is not opened:
            made = self._over = (release, opened, self._made(release, opened))
        return made[2]

    def under(self, release: VerifiedRelease) -> VerifiedRelease:
        """The release without any emergency: what is in force when the one that is open ends."""
        return self._made(release, None)

    def targets(self) -> set[str]:
        """Digests of the targets that must stay on disk."""
        return {target.sha256 for target in self._opened.sealed.role.targets.values()} if self._opened else set()

    def start(self, release: VerifiedRelease, revocations: Sequence[Mapping[str, Any]]) -> None:
        """Take up what was open, from its own bytes; what does not hold any more is over, and said."""
        try:
            record, held = self._known(), self._held.load(EMERGENCY)
            if record is None or record.ended or held is None:
                return
            trust = trust_of(root_of(self._root, held.roots), held.targets, self._environment)
            ground = Ground(trust, held.targets, held.roots, revocations, offline=True)
            self._take(ground, held.file, record.opening, release, known=record, here=True)
        except SymphonyError as error:
            _LOG.error("the emergency release that was open is not taken up: %s", error)

    def look(self, ground: Ground, named: int | None, release: VerifiedRelease | None) -> None:
        """Look for an opening or a closing of the emergency that the snapshot names. Raises ``NotTrusted``, ``CannotEvaluate``."""
        self.policy = None
        record = self._known()
        if named is None or release is None:
            return
        if record is not None and named < record.number:
            raise NotTrusted("EMERGENCY_REPLAYED", f"emergency {named}; {record.number} was opened before")
        self._look_at_sealed(ground)
        document = self._document(named)
        if record is not None and named == record.number:
            self._look_again(ground, record, document, release)
        elif document is None:
            self._end("a later one is sealed")
        else:
            self._end("a later one is open")
            self._take_new(ground, document, release)

    def _look_again(
        self, ground: Ground, record: _Record, document: dict[str, Any] | None, release: VerifiedRelease
    ) -> None:
        """At the one that was taken: whether it still holds under what the custodians say now, and is not closed."""
        if document is not None and emergency.payload_sha256(document["opening"]) != record.opening_sha256:
            raise NotTrusted("EMERGENCY_REPLAYED", f"emergency {record.number} was opened before with another opening")
        if record.ended:
            return
        role = self._role_that_stands()
        if document is not None and document["closing"] is not None:
            trust = emergency.trust_for_emergencies(ground.trust, self._environment)
            sealed = emergency.verify_sealed(trust, role, self._environment)
            emergency.verify_closing(trust, sealed, record.opening_sha256, document["closing"], self._clock.now())
            self._end("closed")
            return
        before, self._opened = self._opened, None
        self._take(ground, role, record.opening, release, known=record, here=before is not None)

    def _role_that_stands(self) -> bytes:
        """The role file of the one that is open; where it does not hold any more, it is over."""
        try:
            return self._repository.role(emergency.role_name(self._environment))
        except NotTrusted:
            self._opened = None
            raise

    def _take_new(self, ground: Ground, document: dict[str, Any], release: VerifiedRelease) -> None:
        role = self._repository.role(emergency.role_name(self._environment))
        if document["closing"] is None:
            self._take(ground, role, document["opening"], release, known=None, here=False)

    def _look_at_sealed(self, ground: Ground) -> None:
        """What may be opened next: a permit of a service that heard the opening earlier is known by it."""
        try:
            trust = emergency.trust_for_emergencies(ground.trust, self._environment)
            role = self._repository.role(emergency.role_name(self._environment))
            sealed = emergency.verify_sealed(trust, role, self._environment)
            emergency.verify_always(trust, sealed, ground.revocations, self._clock.now())
            self.policy = sealed.role.targets["policy.wasm"].sha256
        except SymphonyError as error:
            _LOG.info("the sealed emergency release could not be opened as it is: %s", error)

    def _take(
        self, ground: Ground, role: bytes, envelope: dict[str, Any], release: VerifiedRelease, *, known: _Record | None,
        here: bool,
    ) -> None:  # fmt: skip
        """Every rule; then on disk, then in the record, then in force. ``here``: its bytes are, and were tested."""
        now = self._clock.now()
        trust = emergency.trust_for_emergencies(ground.trust, self._environment)
        sealed = emergency.verify_sealed(trust, role, self._environment)
        emergency.verify_always(trust, sealed, ground.revocations, now)
        opening = emergency.verify_opening(trust, sealed, envelope, now)
        if known is not None and known.opening_sha256 != opening.sha256:
            raise NotTrusted("EMERGENCY_REPLAYED", f"emergency {sealed.number} was opened before with another opening")
        if opening.claims["over"] > release.number:
            raise CannotEvaluate("RELEASE_NOT_YET", f"it stands over release {opening.claims['over']}, {release.number} is here")
        record = _Record(sealed.number, opening.sha256, opening.claims["over"], envelope, ended=False)
        if now >= sealed.ends_at(opening.at) or opening.claims["over"] < release.number:
            if not ground.offline:
                self._keep(replace(record, ended=True))
            return  # over, here or before it came here: nothing is wrong with it
        if demanded(release.manifest):
            raise NotTrusted("RELEASE_PROVENANCE", "an emergency carries no attested build, and the manifest here demands one")
        name = emergency.role_name(self._environment)
        if not here:
            self._repository.download(f"{name}/{sealed.number}/", sealed.role.targets, self._held.targets_folder)
        files = self._held.files(sealed.role.targets)
        emergency.verify_sealed_contents(trust, sealed, files)
        opened = Opened(sealed, opening, (files["policy.wasm"], files["policy.tar.gz"]))
        if known is None or not here:
            self._test(self._made(release, opened))
            self._held.save(EMERGENCY, Held(role, ground.targets, ground.roots))
            self._keep(record)
        self._opened, self.policy = opened, sealed.role.targets["policy.wasm"].sha256

    def _standing(self, release: VerifiedRelease) -> Opened | None:
        opened = self._opened
        if opened is None or opened.over != release.number:
            return None
        return opened if self._clock.now() < opened.sealed.ends_at(opened.opening.at) else None

    def _made(self, release: VerifiedRelease, opened: Opened | None) -> VerifiedRelease:
        if opened is not None:
            return emergency.overlaid(release, opened.sealed, opened.opening, opened.policy)
        stood = self._record is not None and self._record.over == release.number
        return replace(release, decide_again=True) if stood else release

    def _end(self, why: str) -> None:
        if self._record is not None and not self._record.ended:
            _LOG.warning("emergency %d is over: %s", self._record.number, why)
            self._keep(replace(self._record, ended=True))
        self._opened = None

    def _keep(self, record: _Record) -> None:
        if record != self._record:
            value = {name: getattr(record, name) for name in ("number", "opening_sha256", "over", "opening", "ended")}
            write_durably(self._file, json.dumps(value).encode())
            self._record = record
        if record.ended:
            self._opened = None

    def _known(self) -> _Record | None:
        """The record; one that cannot be read is never taken for an empty one."""
        if not self._read:
            self._record, self._read = _record(self._file), True
        return self._record

    def _document(self, number: int) -> dict[str, Any] | None:
        try:
            data = self._repository.beside(f"emergency/{self._environment}/{number}.json", EMERGENCY_DOCUMENT_BYTES_MAX)
        except NotThere:
            return None
        try:
            value = parse_json(data, bytes_max=EMERGENCY_DOCUMENT_BYTES_MAX)
        except Refused as error:
            raise NotTrusted("EMERGENCY_INVALID", error.detail) from error
        if not isinstance(value, dict) or set(value) != {"opening", "closing"}:
            raise NotTrusted("EMERGENCY_INVALID", "the document is opening and closing")
        return value


def _record(file: Path) -> _Record | None:
    try:
        value = json.loads(file.read_text("utf-8"))
        return _Record(
            int(value["number"]), str(value["opening_sha256"]), int(value["over"]), dict(value["opening"]), bool(value["ended"])
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotEvaluate("CONFIGURATION", f"the record of emergencies {file}: {error}") from error
