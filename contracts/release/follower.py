"""One service's way from release to release: fetch, verify, keep, activate; any failure keeps the old one running.

Order of an activation: targets on disk, engine self-test, signed files on disk, durable record, then in force. A crash
between any two leaves a state that ``start`` and ``refresh`` take up again: the record decides what may be started.

``refresh`` also renews what does not hang on a new release: the lease (timestamp), the officers, the revocation list; and, once
the release has been verified under it, the custodians' newer word, held with the release for the next start. It puts a
renewed ``VerifiedRelease`` into ``active`` even when it returns None or raises about a candidate; callers compare
``active.revocations_version``. A release in force whose own digest is revoked stops being active (fail closed), before
anything is written: a full disk does not keep it. A repository whose metadata does not hold is reported in ``refused``
as a release is, under the release number that it named last.

Blocking; call it by ``asyncio.to_thread``. One folder has one follower.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Root, Snapshot, Timestamp

from contracts.errors import CannotEvaluate, NotTrusted, SymphonyError
from contracts.release import rules, staleness
from contracts.release.build import Attested
from contracts.release.contents import Contents, manifest_of, verify_contents
from contracts.release.emergency_following import Emergencies, Ground
from contracts.release.held import NEVER, REVOCATIONS, Held, HeldReleases, place_of
from contracts.release.model import Revocations, Role, VerifiedRelease
from contracts.release.record import AcceptedRecord
from contracts.release.repository import Repository
from contracts.release.source import ReleaseSource
from contracts.release.trust import Custodians, Trust, parse, root_of, trust_of
from contracts.software import Software, installed
from contracts.times import Clock

SelfTest = Callable[[VerifiedRelease], None]
"""Raises when the engine does not compile the policy or a compiled-in invariant does not hold (rule 15)."""


@dataclass(frozen=True, slots=True)
class _State:
    """What one refresh or start stands on."""

    trust: Trust
    targets: bytes
    roots: tuple[bytes, ...]
    revocations: Revocations
    fetched_at: datetime
    lease_expires_at: datetime


class ReleaseFollower:
    """See the module. ``refused`` is the last refusal of a release as (number, code), ``emergency_refused`` of an emergency.

    ``delivered`` is the newest release number that the repository has shown here, taken or not; ``seen`` the snapshot's
    version of the last refresh, 0 before the first (what ``contracts.release.bell`` asks with).
    """

    def __init__(
        self,
        *,
        environment: str,
        service: str,
        folder: Path,
        root_bytes: bytes,
        source: ReleaseSource,
        record: AcceptedRecord,
        clock: Clock,
        minimum_number: int = 1,
        self_test: SelfTest | None = None,
        metadata_fetch_timeout_s: float = 10,
        software: Callable[[], Software] = installed,
    ) -> None:
        self.environment, self.service = environment, service
        self._base: VerifiedRelease | None = None
        self.refused: tuple[int, str] | None = None
        self.emergency_refused: tuple[int, str] | None = None
        self.delivered: int | None = None
        self.seen = 0
        self._root_bytes, self._record, self._clock = root_bytes, record, clock
        self._minimum_number, self._self_test, self._software = minimum_number, self_test, software
        self._held = HeldReleases(folder)
        self._repository = Repository(
            root=root_bytes, source=source, folder=folder / "tuf", metadata_timeout_s=metadata_fetch_timeout_s
        )
        self._emergencies = Emergencies(
            environment=environment, root=root_bytes, folder=folder, held=self._held, repository=self._repository, clock=clock,
            test=self._test,
        )  # fmt: skip
        self._revocations: Revocations | None = None
        self._roles: list[Role] = []
        self._custodians: tuple[int, int] | None = None
        self._stands_on: tuple[bytes, tuple[bytes, ...]] | None = None
        self._trust: tuple[tuple[bytes, ...], bytes, Trust] | None = None
        self._lock = threading.Lock()

    @property
    def active(self) -> VerifiedRelease | None:
        """The release in force, with the emergency over it while one is open (``contracts.release.emergency``)."""
        return None if self._base is None else self._emergencies.over(self._base)

    @property
    def under(self) -> VerifiedRelease | None:
        """The release alone: what comes back when the emergency over it ends."""
        return None if self._base is None else self._emergencies.under(self._base)

    @property
    def emergency_policy(self) -> str | None:
        """The digest of the newest sealed emergency's policy, open or not."""
        return self._emergencies.policy

    def start(self) -> VerifiedRelease | None:
        """Restart on the release already held, offline, by rules 11 and 12; ``None`` when none is held.

        Raises ``NotTrusted`` when what is held does not hold (then ``refresh`` may still bring one), or is past its end and
        the schedule of its manifest. The lease is not asked for here: see ``contracts.release.staleness``.
        """
        with self._lock:
            accepted = self._record.highest()
            held = self._held.load(place_of(*accepted)) if accepted else None
            if held is None:
                return None
            trust, root = self._held_trust(held)
            role = rules.verify_role(trust, held.file, self.environment)
            rules.check_may_hold(role, accepted)
            self._revocations = self._held_revocations()
            fetched_at, lease_expires_at = self._held_lease(root)
            state = _State(trust, held.targets, held.roots, self._revocations, fetched_at, lease_expires_at)
            rules.check_not_revoked(role, state.revocations.entries, self._clock.now())
            release = replace(self._verified(state, role), officers=self._still_officers(trust))
            staleness.demand_role(release, self._clock.now())
            self._base = release
            self._roles = [role]
            self._emergencies.start(self._base, state.revocations.entries)
            return self.active

    def refresh(self, source: ReleaseSource | None = None) -> VerifiedRelease | None:
        """Ask the source; the new release when one activates, ``None`` when the number is unchanged.

        ``source`` stands in for the own one this once: a folder that an officer brought, held to the same rules.

        Raises ``NotTrusted`` or ``CannotEvaluate``; ``active`` stays (but see the module on revocation).
        """
        with self._lock:
            state = self._reporting(lambda: self._refreshed(source))
            try:
                made = self._follow(state)
            except SymphonyError as error:
                self.refused = (self.delivered or 0, error.code)
                self._stop_if_revoked(state)
                with suppress(SymphonyError):  # it is kept in ``emergency_refused``
                    self._look_for_emergencies(state)
                raise
            self._look_for_emergencies(state)
            return made

    def _look_for_emergencies(self, state: _State) -> None:
        """After the release itself: what is wrong with an emergency never holds up a release."""
        ground = Ground(state.trust, state.targets, state.roots, state.revocations.entries)
        try:
            self._emergencies.look(ground, self._published(f"{self.environment}-emergency")[1], self._base)
            self.emergency_refused = None
        except SymphonyError as error:
            self.emergency_refused = (self._published(f"{self.environment}-emergency")[1] or 0, error.code)
            raise

    def custodians(self) -> Custodians:
        """The custodians' newest word seen here, verified again. Raises ``NotTrusted RELEASE_*`` where there is none."""
        return Custodians.of(
            self._root_bytes, self._repository.roots(), self._repository.file("targets"), self.environment
        )

    def _still_officers(self, trust: Trust) -> dict[str, str]:
        """Of a held release's officers those whom the newest targets seen here list, too: a restart brings nobody back."""
        try:
            newest = self.custodians().trust.officers
        except NotTrusted:
            return {}  # nobody, until the next refresh
        return {key_id: key for key_id, key in trust.officers.items() if newest.get(key_id) == key}

    def _reporting(self, refreshed: Callable[[], _State]) -> _State:
        """A repository that does not hold is a refusal, too, under the number that it named last (0: none yet)."""
        try:
            return refreshed()
        except SymphonyError as error:
            if error.code != "RELEASE_UNREACHABLE":  # nobody answered: nothing was refused
                self.refused = (self._named(), error.code)
            raise

    def _refreshed(self, source: ReleaseSource | None) -> _State:
        self._repository.refresh(source)
        self.seen, self.delivered = self._published()
        roots = tuple(self._repository.roots())
        targets = self._repository.file("targets")
        trust = self._trusted(roots, targets)
        self._check_not_older(trust)
        now = self._clock.now()
        timestamp = self._repository.file("timestamp")
        snapshot = self._repository.file("snapshot")
        lease_expires_at = min(parse(timestamp, Timestamp).signed.expires, parse(snapshot, Snapshot).signed.expires)
        revocations_bytes = self._repository.role(f"{self.environment}-revocations")
        revocations = rules.verify_revocations(trust, revocations_bytes, self.environment, self._known_revocations())
        if now >= min(lease_expires_at, trust.expires_at, revocations.expires_at):
            raise NotTrusted("RELEASE_EXPIRED", "root, targets, snapshot, timestamp or revocation list has run out")
        state = _State(trust, targets, roots, revocations, now, lease_expires_at)
        if self._base is not None:  # before it is durable: a further refusal is never too early
            self._base = _renewed(self._base, state)
            self._stop_if_revoked(state)
        if self._revocations is None or revocations.version > self._revocations.version:
            self._held.save(REVOCATIONS, Held(revocations_bytes, targets, roots))
        self._revocations = revocations
        self._held.save_lease(now, timestamp)
        return state

    def _trusted(self, roots: tuple[bytes, ...], targets: bytes) -> Trust:
        """What follows from these very bytes; the same bytes are not verified a second time."""
        if self._trust is None or self._trust[:2] != (roots, targets):
            self._trust = (roots, targets, trust_of(root_of(self._root_bytes, roots), targets, self.environment))
        return self._trust[2]

    def _follow(self, state: _State) -> VerifiedRelease | None:
        if self.delivered is None:
            raise CannotEvaluate("RELEASE_UNREACHABLE", "no release is published yet")
        role_bytes = self._repository.role(self.environment)
        role = rules.verify_role(state.trust, role_bytes, self.environment)
        accepted, now = self._record.highest(), self._clock.now()
        if accepted is not None and role.number == accepted[0]:
            rules.check_not_forked(role, accepted)
        else:
            rules.check_may_activate(role, accepted, self._minimum_number, now)
        rules.check_always(state.trust, role, state.revocations.entries, now)
        if self._base is not None and self._base.number == role.number:
            self._stand_on(state, role, role_bytes)
            self.refused = None
            return None
        self._repository.download(f"{role.environment}/{role.number}/", role.targets, self._held.targets_folder)
        release = self._verified(state, role, fetch=True)
        self._held.save(place_of(role.number, role.digest), Held(role_bytes, state.targets, state.roots))
        self._record.accept(role.number, role.digest)
        self._base, self.refused = release, None
        self._keep(role)
        return release

    def _stand_on(self, state: _State, role: Role, role_bytes: bytes) -> None:
        """The release in force holds under what the custodians say now: it ends when that does, after a restart too."""
        assert self._base is not None
        stands_on = (state.targets, state.roots)
        if stands_on != self._stands_on:
            place, held = place_of(role.number, role.digest), Held(role_bytes, *stands_on)
            if self._held.load(place) != held:
                self._contents(state.trust, role)
                self._held.save_trust(place, held)
            self._stands_on = stands_on
        self._base = replace(self._base, expires_at=min(role.expires_at, state.trust.expires_at))

    def _contents(self, trust: Trust, role: Role, *, fetch: bool = False) -> Contents:
        """The documents by every rule, of what is held; ``fetch`` brings an attested build that is not (rule 17)."""
        contents = verify_contents(trust, role, self._held.files(role.targets), service=self.service)
        place, prefix = place_of(role.number, role.digest), f"{role.environment}/{role.number}/"
        Attested(
            kept=partial(self._held.load_build, place), keep=partial(self._held.save_build, place), here=self._software,
            fetch=partial(self._repository.attachment, prefix) if fetch else None,
        ).check(trust, role, contents.proposal, manifest_of(contents, self.service))  # fmt: skip
        return contents

    def _verified(self, state: _State, role: Role, *, fetch: bool = False) -> VerifiedRelease:
        contents = self._contents(state.trust, role, fetch=fetch)
        release = VerifiedRelease(
            environment=role.environment,
            number=role.number,
            metadata_digest=role.digest,
            policy_digest=role.targets["policy.wasm"].sha256,
            expires_at=min(role.expires_at, state.trust.expires_at),
            fetched_at=state.fetched_at,
            lease_expires_at=state.lease_expires_at,
            environment_data=contents.environment_data,
            manifest=manifest_of(contents, self.service),
            policy_wasm=contents.policy_wasm,
            policy_bundle=contents.policy_bundle,
            invariants=contents.invariants,
            schemas=contents.schemas,
            proposal=contents.proposal,
            approver_key_ids=role.approver_key_ids,
            revocations=[dict(entry) for entry in state.revocations.entries],
            revocations_version=state.revocations.version,
            officers=state.trust.officers,
        )
        self._test(release)
        return release

    def _test(self, release: VerifiedRelease) -> None:
        if self._self_test is None:
            return
        try:
            self._self_test(release)
        except SymphonyError:
            raise
        except Exception as error:
            raise NotTrusted("RELEASE_ENGINE", f"{type(error).__name__}: {error}") from error

    def _keep(self, role: Role) -> None:
        self._roles = [*self._roles[-1:], role]
        digests = {target.sha256 for kept in self._roles for target in kept.targets.values()} | self._emergencies.targets()
        self._held.prune([place_of(kept.number, kept.digest) for kept in self._roles], digests)

    def _published(self, role: str | None = None) -> tuple[int, int | None]:
        """The snapshot's version, and the release that it names for this environment (or the version of ``role``)."""
        snapshot = parse(self._repository.file("snapshot"), Snapshot).signed
        meta = snapshot.meta.get(f"{role or self.environment}.json")
        return snapshot.version, meta.version if meta else None

    def _named(self) -> int:
        try:
            return self._published()[1] or 0
        except NotTrusted:
            return 0

    def _stop_if_revoked(self, state: _State) -> None:
        active, now = self._base, self._clock.now()
        if active and rules.is_revoked(state.revocations.entries, "release", active.metadata_digest, now):
            self._base = None

    def _known_revocations(self) -> Revocations | None:
        """The list that a new one must contain: in memory, else the held one, when there is one that holds."""
        if self._revocations is None and self._held.load(REVOCATIONS) is not None:
            self._revocations = self._held_revocations()
        return self._revocations

    def _held_revocations(self) -> Revocations:
        held = self._held.load(REVOCATIONS)
        if held is None:
            raise NotTrusted("RELEASE_DIGEST", "the revocation list is not held")
        trust, _ = self._held_trust(held)
        return rules.verify_revocations(trust, held.file, self.environment)

    def _held_trust(self, held: Held) -> tuple[Trust, Root]:
        root = root_of(self._root_bytes, held.roots)
        return trust_of(root, held.targets, self.environment), root

    def _check_not_older(self, trust: Trust) -> None:
        """Rule 16: TUF's cache may be lost or put back; what is held here remembers."""
        versions = (trust.root.version, trust.targets.version)
        if self._custodians is None:
            self._custodians = self._held_custodians()
        if versions[0] < self._custodians[0] or versions[1] < self._custodians[1]:
            raise NotTrusted("RELEASE_ROLLBACK", f"root and targets {versions} after {self._custodians}")
        self._custodians = versions

    def _held_custodians(self) -> tuple[int, int]:
        """The versions of root and targets under which release and list were taken; of those that hold."""
        root = targets = 0
        accepted = self._record.highest()
        for place in (REVOCATIONS, *([place_of(*accepted)] if accepted else [])):
            held = self._held.load(place)
            try:
                trust = self._held_trust(held)[0] if held else None
            except NotTrusted:
                continue  # it was edited: ``start`` says so
            if trust is not None:
                root, targets = max(root, trust.root.version), max(targets, trust.targets.version)
        return root, targets

    def _held_lease(self, root: Root) -> tuple[datetime, datetime]:
        fetched_at, data = self._held.load_lease()
        try:
            timestamp = parse(data, Timestamp)
            root.verify_delegate("timestamp", timestamp.signed_bytes, timestamp.signatures)
        except (NotTrusted, RepositoryError):
            return NEVER, NEVER
        return min(fetched_at, self._clock.now()), timestamp.signed.expires


def _renewed(active: VerifiedRelease, state: _State) -> VerifiedRelease:
    return replace(
        active,
        expires_at=min(active.expires_at, state.trust.expires_at),
        fetched_at=state.fetched_at,
        lease_expires_at=state.lease_expires_at,
        revocations=[dict(entry) for entry in state.revocations.entries],
        revocations_version=state.revocations.version,
        officers=state.trust.officers,  # whom the custodians removed meanwhile is no officer any more
    )
