"""A start with the control plane down: the last-known-good is verified again from its bytes; what was spoiled does not run."""

from __future__ import annotations

import pytest

from contracts.errors import NotTrusted
from contracts.release import ReleaseFollower
from tests.releases.support import Mirror, follower


class Untouchable:
    """A source that must not be asked."""

    def fetch(self, path: str, length_max: int) -> bytes:
        """Never."""
        raise AssertionError(f"asked for {path}, {length_max}")


def test_a_cold_start_touches_no_network(mirror: Mirror, following: ReleaseFollower) -> None:
    """The control plane is down: what is held is verified again from its bytes, and runs until its lease ends."""
    started = follower(mirror.world, Untouchable(), mirror.world.folder / "follower").start()
    assert started is not None
    assert following.active is not None
    assert (started.number, started.metadata_digest) == (1, following.active.metadata_digest)
    started.check_live(mirror.world.clock.now())


HELD = {
    "file.json": "RELEASE_SHAPE", "targets.json": "RELEASE_SHAPE", "roots.json": None, "revocations/file.json": "RELEASE_SHAPE",
    "revocations/roots.json": "RELEASE_DIGEST", "target": "RELEASE_DIGEST",
}  # fmt: skip
"""What is cut short, and the code; ``None``: it is not held, then."""


@pytest.mark.parametrize(("name", "code"), list(HELD.items()), ids=list(HELD))
def test_a_cold_start_on_a_cache_that_was_cut_short_is_refused(
    mirror: Mirror, following: ReleaseFollower, name: str, code: str | None
) -> None:
    folder = mirror.world.folder / "follower"
    if name == "target":
        assert following.active is not None
        file = folder / "targets" / following.active.policy_digest
    else:
        (file,) = (folder / "held").glob(name if "/" in name else f"1-*/{name}")
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] if data != b"[]" else b"[")
    again = follower(mirror.world, Untouchable(), mirror.world.folder / "follower")
    if code is None:
        assert again.start() is None
    else:
        with pytest.raises(NotTrusted) as error:
            again.start()
        assert error.value.code == code
    assert again.active is None
