"""The language of the attack suite: what the attacker holds, what he publishes, and that he is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.metadata import Metadata

from contracts.canonical import canonical_bytes
from contracts.errors import SymphonyError
from contracts.release import ReleaseFollower
from contracts.release.model import FIELD
from symphony.release import ceremony
from symphony.release.ceremony import signed_revocations
from symphony.release.propose import Draft
from tests.attacks.index import Attack
from tests.releases.support import ENVIRONMENT, Mirror, World, sign_file

ONLINE = ("snapshot", "timestamp", "log")
REVOCATIONS = f"{ENVIRONMENT}-revocations"


class Attacker:
    """A hostile operator with a mirror of his own, and ``victim``, a follower with release 1 in force."""

    def __init__(self, attack: Attack, mirror: Mirror, victim: ReleaseFollower) -> None:
        self.attack, self.mirror, self.victim = attack, mirror, victim
        self.world: World = mirror.world
        self.held = set(ONLINE)
        self.was_refused = False
        self._before = self._durable()

    # what he holds

    def steals(self, *names: str) -> None:
        """Come to hold the keys of officers, ``esnart``, custodians, ``gate``."""
        self.held |= set(names)

    def key(self, name: str) -> Ed25519PrivateKey:
        """A key that he holds."""
        assert name in self.held, f"the attacker does not hold {name}'s key"
        return key_of(self.world, name)

    # what he publishes

    def drafts(self, number: int = 2, **changes: Any) -> Draft:
        """A release that lifts the cap, proposed by alice; ``changes`` as ``World.draft`` or ``World.files`` take them."""
        own = {name: changes.pop(name) for name in ("environment_data", "manifests", "build_key") if name in changes}
        files = {**self.world.files(cap_minor=7, **own), **changes.pop("replaced", {})}
        return self.world.draft(number, files, **changes)

    def publishes(self, made: Draft, *signers: str) -> None:
        """A release signed by keys that he holds, under a fresh snapshot and timestamp."""
        self.mirror.put_release(made, self.signs(made, *signers))

    def signs(self, made: Draft, *signers: str) -> bytes:
        """The role file of a draft, signed by keys that he holds."""
        return sign_file(made.metadata, *(self.key(name) for name in signers))

    def passes_on(self, made: Draft, *officers: str) -> None:
        """A release that officers signed of their own free will: deceived, or for another day or place."""
        self.mirror.put_release(made, self.world.signed(made, *officers))

    def passes_on_changed(self, change: Callable[[dict[str, Any]], None], number: int = 2) -> None:
        """The same with the signed part changed before they signed it."""
        made = self.drafts(number)
        value = json.loads(made.metadata)
        change(value["signed"])
        self.mirror.put_release(made, sign_file(canonical_bytes(value), *self.officers("bruno", "chanda")))

    def officers(self, *names: str) -> list[Ed25519PrivateKey]:
        """Honest officers' keys, for what they sign themselves."""
        return [self.world.ceremony.officer(name) for name in names]

    def publishes_targets(self, change: Callable[[dict[str, Any]], None], *signers: str, version: int = 2) -> None:
        """The custodians' metadata, changed and signed by ``signers`` (keys that he holds)."""
        self.mirror.put("targets", version, self.targets(change, *(self.key(name) for name in signers), version=version))

    def targets(self, change: Callable[[dict[str, Any]], None], *keys: Ed25519PrivateKey, version: int = 2) -> bytes:
        """The custodians' metadata, changed and signed."""
        value = json.loads(self.world.ceremony.targets(self.world.clock.now(), version=version))
        change(value["signed"])
        return sign_file(canonical_bytes(value), *keys)

    def custodians(self) -> list[Ed25519PrivateKey]:
        """Honest custodians' keys."""
        return [self.world.ceremony.custodian(name) for name in ceremony.CUSTODIANS[:2]]

    def list_of(self, *entries: Mapping[str, Any], version: int = 2, key: Ed25519PrivateKey | None = None) -> bytes:
        """A revocation list, by default the security officer's own."""
        signer = key or self.world.ceremony.security_officer
        return signed_revocations(signer, ENVIRONMENT, version, entries, self.world.clock.now())

    def publishes_list(self, *entries: Mapping[str, Any], version: int = 2, key: Ed25519PrivateKey | None = None) -> None:
        """Publish a revocation list."""
        self.mirror.put(REVOCATIONS, version, self.list_of(*entries, version=version, key=key))

    def elsewhere(self, name: str = "elsewhere") -> Mirror:
        """Another mirror of the same custodians, for what one victim is not to see."""
        return Mirror(self.world, self.world.folder / name)

    def lets_pass(self, **time: float) -> None:
        """Time goes by."""
        self.world.clock.moved += timedelta(**time)

    # how it ends

    def is_refused(self, number: int | None = 2, *, victim: ReleaseFollower | None = None, restarts: bool = True) -> None:
        """The victim's next look ends with the attack's code; nothing changed, the refusal of ``number`` is reported."""
        follower = victim or self.victim
        with pytest.raises(SymphonyError) as error:
            follower.refresh()
        assert error.value.code == self.attack.code, error.value
        self.stays_refused(number, follower, restarts=restarts)

    def stays_refused(self, number: int | None, follower: ReleaseFollower, *, restarts: bool = True) -> None:
        """What holds after every refusal."""
        self.was_refused = True
        assert follower.refused == (None if number is None else (number, self.attack.code))
        assert self._durable(follower) == self._before
        if restarts:
            again = self.mirror.follower().start()
            assert again is not None
            assert (again.number, again.metadata_digest) == self._before[1]

    def is_refused_by_a_newcomer(self, number: int | None, newcomer: ReleaseFollower) -> None:
        """A follower with an empty cache refuses and has nothing in force; the record is what it was."""
        before = self.victim._record.highest()
        assert self.code_of(newcomer.refresh) == self.attack.code
        assert newcomer.active is None
        assert newcomer.refused == (None if number is None else (number, self.attack.code))
        assert self.victim._record.highest() == before
        self.was_refused = True

    def does_not_start(self) -> None:
        """After a restart nothing is in force by what lies on disk; the durable record is what it was."""
        before = self.victim._record.highest() if self.attack.code != "CONFIGURATION" else None
        restarted = self.mirror.follower()
        assert self.code_of(restarted.start) == self.attack.code
        assert restarted.active is None
        if before is not None:
            assert restarted._record.highest() == before
        self.was_refused = True

    def is_not_approved(self, look: Callable[[], object]) -> None:
        """An officer's own look at the release ends with the code, before any signature."""
        assert self.code_of(look) == self.attack.code
        self.was_refused = True

    def comes_to_nothing(self) -> None:
        """There was nothing to refuse: the attack has no effect, and its row has no code."""
        assert self.attack.code == ""
        self.was_refused = True

    def code_of(self, call: Callable[[], object]) -> str:
        """The code of the refusal that a call ends with."""
        with pytest.raises(SymphonyError) as error:
            call()
        return error.value.code

    def takes_effect_from(self) -> None:
        """From here on counts what is in force now: a step before the attack that was meant to be taken."""
        self._before = self._durable()

    def _durable(self, follower: ReleaseFollower | None = None) -> tuple[Any, Any]:
        active = (follower or self.victim).active
        in_force = (active.number, active.metadata_digest) if active else None
        return in_force, self.victim._record.highest()


def key_of(world: World, name: str) -> Ed25519PrivateKey:
    """The key of anybody by name."""
    keys = world.ceremony
    if name in ONLINE:
        return keys.online(name)
    if name in ceremony.CUSTODIANS:
        return keys.custodian(name)
    if name == ceremony.SECURITY_OFFICER:
        return keys.security_officer
    return keys.gate if name == "gate" else keys.officer(name)


def ours(signed: dict[str, Any]) -> dict[str, Any]:
    """The field of ours in a signed part."""
    field: dict[str, Any] = signed[FIELD]
    return field


def digest_of_role(content: bytes) -> str:
    """The metadata digest of a role file."""
    from contracts.release.trust import digest_of_signed

    return digest_of_signed(Metadata.from_bytes(content))
