"""A packet knows the policies of sealed emergency releases, by the officers' signatures, and takes no other (ADR 0013)."""

from __future__ import annotations

from pathlib import Path

import pytest

from symphony.packet.parts.findings import Fault
from symphony.packet.parts.trust import TrustedKeys, read_trust
from tests.releases.glass import ROLE, role_file, sealed_draft
from tests.releases.support import ENVIRONMENT, World


@pytest.fixture
def packet(tmp_path: Path) -> tuple[World, Path]:
    """The part of a packet that says whom to trust: root, targets, release 1."""
    world = World(tmp_path / "stack")
    tuf, made = tmp_path / "packet" / "tuf", world.draft(1)
    for path, data in made.files.items():
        file = tuf / "targets" / ENVIRONMENT / "1" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    (tuf / "1.root.json").write_bytes(world.root)
    (tuf / "1.targets.json").write_bytes(world.trust["targets.json"])
    (tuf / f"1.{ENVIRONMENT}.json").write_bytes(world.signed(made))
    return world, tmp_path / "packet"


def read(packet: tuple[World, Path]) -> TrustedKeys:
    return read_trust(packet[1], ENVIRONMENT, None)


def test_the_policy_of_a_sealed_emergency_is_known(packet: tuple[World, Path]) -> None:
    world, folder = packet
    assert read(packet).emergency_policies == set()
    (folder / "tuf" / f"1.{ROLE}.json").write_bytes(role_file(world, sealed_draft(world)))
    found = read(packet)
    assert found.emergency_policies == {found.policies[1]}
    assert (ROLE, 1) in found.roles


@pytest.mark.parametrize("signers", [("bruno",), ("alice", "bruno")], ids=["one approval", "the proposer's counted"])
def test_one_that_officers_did_not_approve_is_a_fault(packet: tuple[World, Path], signers: tuple[str, ...]) -> None:
    world, folder = packet
    (folder / "tuf" / f"1.{ROLE}.json").write_bytes(role_file(world, sealed_draft(world), *signers))
    with pytest.raises(Fault, match="1 valid signatures of 2 needed"):
        read(packet)
