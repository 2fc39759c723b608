"""The same commands on a local stack, which has every key: one command signs and publishes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from symphony import cli
from symphony.drill.world import World
from symphony.stack.layout import write_json


@pytest.fixture
def stack(world: World) -> Path:
    """The folder of a scratch world as that of a stack."""
    assert world.authority is not None
    folder = world.folder / "ca"
    folder.mkdir()
    world.authority.write(folder / "processes.pem", folder / "processes-key.pem")
    ports = {"controlplane": world.port, "ledger": 1, "acceptor": 2}
    write_json(world.folder / "stack.json", {"ports": ports, "sockets": "/nowhere"})
    return world.folder


def test_an_officer_comes_and_another_goes_with_a_renewal(world: World, stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> int:
        return cli.main(["trust", *arguments, "--dir", str(stack)])

    assert run("enrol-officer", "femi", "--env", "sandbox", "--dry-run") == 0
    assert not (stack / "officers" / "femi").exists()
    assert run("enrol-officer", "Femi!", "--env", "sandbox") == 2
    assert run("enrol-officer", "femi", "--env", "sandbox") == 0
    assert run("enrol-officer", "femi", "--env", "sandbox") == 1, "he is there already"
    assert run("remove-officer", "bruno", "--env", "sandbox") == 1
    number = world.renewed(1, "alice", ["femi", "chanda"])
    assert run("remove-officer", "bruno", "--env", "sandbox", "--with-renewal", str(number)) == 2, "who asks for it?"
    assert run("remove-officer", "bruno", "--env", "sandbox", "--with-renewal", str(number), "--as", "alice") == 0
    assert run("rotate", "--relist") == 0
    capsys.readouterr()
    assert run("status", "-o", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["root_version"], document["targets_version"]) == (2, 4)
    names = sorted(one["name"] for one in document["environments"]["sandbox"])
    assert names == ["alice", "chanda", "dalitso", "femi"]
    sidecar = world.sidecar("one")
    sidecar.refresh()
    assert sidecar.active is not None
    assert (sidecar.active.number, sidecar.active.revocations_version) == (number, 2)
