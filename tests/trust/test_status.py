"""What trust status says of a folder of metadata, and what turns it red; pure, without a server."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import NotTrusted, Refused
from contracts.keys import public_hex
from symphony.drill.world import MovableClock
from symphony.release.ceremony import Ceremony
from symphony.trust.change import Next
from symphony.trust.plan import LIFETIME
from symphony.trust.published import Published, of_folder
from symphony.trust.sign import merged, signed_by
from symphony.trust.status import RED, WARNED, exit_code, lines, status

NOW = MovableClock().now()


@pytest.fixture
def ceremony(tmp_path: Path) -> Ceremony:
    """Every key, and trust signed with them."""
    made = Ceremony(tmp_path)
    made.make_keys()
    made.sign_trust(NOW)
    return made


@pytest.fixture
def published(ceremony: Ceremony) -> Published:
    """What its folder holds."""
    return of_folder(ceremony.folder / "trust")


def warning_of(published: Published, name: str, left: timedelta) -> Any:
    """The warning of a role so long before the end."""
    document = status(published, (NOW + LIFETIME).replace(microsecond=0) - left)
    return next(one["warning"] for one in document["roles"] if one["name"] == name)


@pytest.mark.parametrize(("left", "expected"), [
    (timedelta(days=30, seconds=1), None), (timedelta(days=30), 30), (timedelta(days=7, seconds=1), 30), (timedelta(days=7), 7),
    (timedelta(days=1, seconds=1), 7), (timedelta(days=1), 1), (timedelta(seconds=1), 1), (timedelta(), 0),
], ids=["over-30", "30", "over-7", "7", "over-1", "1", "a-second", "run-out"])  # fmt: skip
def test_root_targets_and_lists_warn_30_7_and_1_days_before(published: Published, left: timedelta, expected: int | None) -> None:
    for name in ("root", "targets", "sandbox-revocations"):
        assert warning_of(published, name, left) == expected, name


def test_warnings_are_an_exit_code_only_where_they_are_asked_for_and_red_is_before_them(published: Published) -> None:
    calm, soon, late = (status(published, NOW + timedelta(days=days)) for days in (0, 340, 366))
    assert [exit_code(one, fail_on_warn=False) for one in (calm, soon, late)] == [0, 0, RED]
    assert [exit_code(one, fail_on_warn=True) for one in (calm, soon, late)] == [0, WARNED, RED]
    assert any("root: ran out at" in line for line in late["red"])
    assert any(line.startswith("warning: root runs out within 30 days") for line in lines(soon))


def changed(ceremony: Ceremony, wish: Any, *, signers: tuple[str, ...] = ("custodian-1", "custodian-2")) -> Published:
    """What is published after a change that these custodians sign."""
    following = Next(of_folder(ceremony.folder / "trust"))
    wish(following)
    for name, data in following.files(NOW).items():
        if not name.startswith("published"):
            (ceremony.folder / "trust" / name).write_bytes(signed_by(data, *map(ceremony.custodian, signers)))
    return of_folder(ceremony.folder / "trust")


@pytest.mark.parametrize(("who", "what"), [("officer", "sandbox: no key may be lost"), ("security", "sandbox-revocations: no key may be lost")])
def test_the_last_key_that_may_be_lost_is_red(ceremony: Ceremony, who: str, what: str) -> None:
    def wish(following: Next) -> None:
        if who == "officer":
            following.remove_officer("sandbox", "dalitso")
        else:
            following.targets.revoke_key(following.targets.get_delegated_role("sandbox-revocations").keyids[1], "sandbox-revocations")

    document = status(changed(ceremony, wish), NOW)
    assert any(line.startswith(what) for line in document["red"]), document["red"]
    assert exit_code(document, fail_on_warn=False) == RED


def test_custodians_who_must_all_sign_are_red(ceremony: Ceremony) -> None:
    document = status(changed(ceremony, lambda following: following.custodians_min(3), signers=("custodian-1", "custodian-2", "custodian-3")), NOW)
    assert [line.split(":")[0] for line in document["red"]] == ["root", "targets"]


@pytest.mark.parametrize("wish", [
    lambda f: [f.remove_custodian(f"custodian-{n}") for n in (1, 2)], lambda f: [f.remove_officer("sandbox", n) for n in ("alice", "bruno")],
    lambda f: f.remove_officer("sandbox", "zed"), lambda f: f.remove_officer("production", "alice"), lambda f: f.custodians_min(4),
    lambda f: [f.remove_security_officer("sandbox", n) for n in ("esnart", "faith")],
    lambda f: f.remove_online("snapshot", f.root.roles["snapshot"].keyids[0]),
    lambda f: f.add_officer("sandbox", "again", f.targets.get_key(f.targets.get_delegated_role("sandbox").keyids[0]).keyval["public"]),
], ids=["custodians", "officers", "stranger", "environment", "threshold", "security", "online", "twice"])  # fmt: skip
def test_a_change_that_leaves_too_few_or_names_a_stranger_is_refused(published: Published, wish: Any) -> None:
    following = Next(published)
    with pytest.raises(Refused):
        wish(following)
        following.files(NOW)


def test_a_custodians_key_is_no_officers(ceremony: Ceremony, published: Published) -> None:
    following = Next(published)
    following.add_officer("sandbox", "two-hats", public_hex(ceremony.custodian("custodian-1")))
    with pytest.raises(NotTrusted, match="RELEASE_KEY_REUSED"):
        following.files(NOW)


def test_what_does_not_verify_is_no_status(ceremony: Ceremony) -> None:
    trust = ceremony.folder / "trust"
    data = ceremony.targets(NOW, version=2)
    (trust / "2.targets.json").write_bytes(data.replace(b'"version": 2', b'"version": 3').replace(b'"version":2', b'"version":3'))
    with pytest.raises(NotTrusted, match="RELEASE_SIGNATURE"):
        of_folder(trust)


def test_copies_of_different_drafts_are_not_merged(ceremony: Ceremony) -> None:
    with pytest.raises(NotTrusted, match="RELEASE_FORKED"):
        merged([ceremony.targets(NOW, version=2), ceremony.targets(NOW, version=3)])
