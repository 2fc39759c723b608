"""Outside the sandbox: no wildcard, whoever signs it (RELEASE_WILDCARD); one environment's role is not another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.errors import NotTrusted
from contracts.release import rules
from contracts.release.contents import verify_contents
from contracts.release.trust import Trust, root_of, trust_of
from symphony.release.ceremony import Ceremony
from tests.releases.support import World, environment_data


@pytest.fixture
def wide(tmp_path: Path) -> tuple[World, Trust]:
    """Custodians who delegate sandbox and production to the same officers."""
    world = World(tmp_path / "first")
    world.ceremony = Ceremony(world.folder / "wide", ("sandbox", "production"))
    world.ceremony.make_keys()
    world.folder = world.folder / "wide"
    world.trust = world.ceremony.sign_trust(world.clock.now())
    return world, trust_of(root_of(world.root), world.trust["targets.json"], "production")


def production(**changes: Any) -> dict[str, Any]:
    """Environment data of production."""
    return {**environment_data(), "environment": "production", **changes}


def check(wide: tuple[World, Trust], data: dict[str, Any]) -> None:
    """Through every rule but the record's."""
    world, trust = wide
    made = world.draft(1, world.files(environment_data=data), environment="production")
    role = rules.verify_role(trust, world.signed(made), "production")
    verify_contents(trust, role, made.files)


def test_production_without_wildcards_holds(wide: tuple[World, Trust]) -> None:
    check(wide, production())


@pytest.mark.parametrize("name", ["agents", "currencies", "settlement_methods", "dates"])
def test_a_wildcard_outside_the_sandbox(wide: tuple[World, Trust], name: str) -> None:
    wildcards = {**environment_data()["wildcards"], name: True}
    with pytest.raises(NotTrusted, match="RELEASE_WILDCARD"):
        check(wide, production(wildcards=wildcards))


def test_a_participant_that_speaks_for_everybody(wide: tuple[World, Trust]) -> None:
    participants = [{**environment_data()["participants"][0], "agents": ["*"]}]
    with pytest.raises(NotTrusted, match="RELEASE_WILDCARD"):
        check(wide, production(participants=participants))


def test_a_cap_for_every_currency(wide: tuple[World, Trust]) -> None:
    with pytest.raises(NotTrusted, match="RELEASE_WILDCARD"):
        check(wide, production(caps={"*": environment_data()["caps"]["ZMW"]}))


def test_sandbox_signed_by_the_same_officers_is_not_production(wide: tuple[World, Trust]) -> None:
    world, trust = wide
    made = world.draft(1)
    with pytest.raises(NotTrusted, match="RELEASE_ENVIRONMENT"):
        rules.verify_role(trust, world.signed(made), "production")
