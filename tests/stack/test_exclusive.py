"""One supervisor a folder, ports that are free, a pid that came again, a socket folder that is ours."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import CannotEvaluate
from symphony.stack.exclusive import demand_ports, only
from symphony.stack.layout import Layout, started, write_json


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout.create(tmp_path / "stack")
    yield made
    made.sockets.rmdir()


def test_a_folder_is_held_by_one(layout: Layout) -> None:
    with only(layout.folder), pytest.raises(CannotEvaluate, match="runs already, or is coming up"), only(layout.folder):
        pass
    with only(layout.folder):
        pass


def test_the_kernel_lets_go_of_a_folder_whose_holder_was_killed(layout: Layout) -> None:
    code = (
        "import sys, time; from pathlib import Path; from symphony.stack.exclusive import only\n"
        "with only(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(layout.folder)], stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(CannotEvaluate), only(layout.folder):
            pass
        holder.kill()
        holder.wait()
        with only(layout.folder):
            pass


def test_a_port_that_another_program_has_taken_is_named(layout: Layout) -> None:
    demand_ports(layout)
    with socket.create_server(("127.0.0.1", layout.ports["ledger"])):
        with pytest.raises(CannotEvaluate, match=f"port {layout.ports['ledger']} of the ledger is taken") as refused:
            demand_ports(layout, wait_s=0.2)
        assert "stack.json" in refused.value.next_step


def test_a_process_that_has_the_supervisors_number_later_is_not_the_supervisor(layout: Layout) -> None:
    """Else ``down`` would end a stranger: after a restart of a machine or a container numbers come again."""
    write_json(layout.run_file, {"pid": os.getpid(), "started": started(os.getpid()), "ready": True, "processes": {}})
    assert layout.running() is not None
    write_json(layout.run_file, {"pid": os.getpid(), "started": "1", "ready": True, "processes": {}})
    assert layout.running() is None
    write_json(layout.run_file, {"pid": 2**22 + 1, "started": "1", "ready": True, "processes": {}})
    assert layout.running() is None


def test_a_socket_folder_that_was_cleared_away_is_made_again_under_another_name(layout: Layout) -> None:
    before = layout.sockets
    before.rmdir()
    before.symlink_to(layout.folder)
    again = Layout.create(layout.folder)
    assert again.sockets != before
    assert (again.ports, again.sockets.stat().st_mode & 0o777) == (layout.ports, 0o700)
    before.unlink()
    before.mkdir()
    again.sockets.rmdir()
