from __future__ import annotations

import fcntl
import importlib.util
import os
import socket
import stat
import sys
import threading

import pytest
from tests.house import free_port, wait_for

from papa import places
from papa.client import launch
from papa.client.blocking import Connection
from papa.errors import PapaError

GREETING = b'Papa is home. Type "help" for commands.\n'


@pytest.fixture
def ended(runtime_root, monkeypatch):
    """Ends the kernels that a test names, each under the root of that moment."""
    started = []

    def note(endpoint=None, root=runtime_root):
        started.append((endpoint, root))
        return endpoint

    yield note
    for endpoint, root in started:
        monkeypatch.setenv("PAPA_RUNTIME_DIR", str(root))
        with Connection(endpoint, client="test", autostart=False) as connection:
            connection.request("exit", force=True)
        directory = places.resolve(endpoint).directory
        wait_for(lambda directory=directory: not os.path.exists(directory), "its end")


def test_without_autostart_an_absent_kernel_is_said_at_once_and_nothing_is_made(runtime_root):
    with pytest.raises(PapaError) as caught:
        # Who waited would do so for longer than a test may take.
        launch.open_connection(autostart=False, timeout_s=1000)
    assert caught.value.code == "unreachable"
    assert "none runs" in caught.value.message
    assert os.listdir(runtime_root) == []


def test_a_directory_left_by_a_dead_kernel_is_no_kernel(runtime_root):
    directory = places.resolve().directory
    os.mkdir(directory, 0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(directory + "/control.sock")
    with open(directory + "/kernel.log", "w") as log:
        log.write("its last words")
    with pytest.raises(PapaError, match="none runs") as caught:
        launch.open_connection(autostart=False)
    assert "its last words" in caught.value.hint


def test_a_connection_blocks_and_nothing_was_read_from_it(ended):
    with launch.open_connection(ended()) as connection:
        assert connection.gettimeout() is None
        assert connection.family == socket.AF_UNIX
        assert connection.recv(len(GREETING), socket.MSG_WAITALL) == GREETING


def test_a_start_is_waited_for_while_somebody_else_has_the_lock(ended):
    instance = places.resolve(ended())
    lock = launch.try_lock(instance, make=True)
    connections = []
    thread = threading.Thread(target=lambda: connections.append(launch.open_connection(None)))
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    assert launch.try_lock(instance, make=True) is None
    os.close(lock)
    thread.join(30)
    connections[0].close()


def test_a_lock_that_never_goes_is_given_up_in_time(runtime_root):
    instance = places.resolve()
    lock = launch.try_lock(instance, make=True)
    with pytest.raises(PapaError, match=r"does not answer within 0\.1 s"):
        launch.open_connection(timeout_s=0.1)
    os.close(lock)


def test_a_kernel_that_is_just_leaving_is_followed_by_another(ended, monkeypatch):
    """It has the lock to its end, and takes its directory along."""
    real, looks = launch.try_lock, []

    def try_lock(instance, *, make):
        looks.append(make)
        return None if len(looks) == 1 else real(instance, make=make)

    monkeypatch.setattr(launch, "try_lock", try_lock)
    launch.open_connection(ended()).close()
    assert looks[:2] == [True, True]


def test_a_lock_on_a_directory_that_was_removed_is_worth_nothing(runtime_root, monkeypatch):
    instance = places.resolve()
    real = fcntl.flock

    def flock(fd, operation):
        real(fd, operation)
        os.rmdir(instance.directory)

    monkeypatch.setattr(launch.fcntl, "flock", flock)
    assert launch.try_lock(instance, make=True) is None
    fds = len(os.listdir("/proc/self/fd"))
    assert launch.try_lock(instance, make=True) is None
    assert len(os.listdir("/proc/self/fd")) == fds


def test_who_only_looks_does_not_make_a_directory_again_that_was_just_there(runtime_root, monkeypatch):
    monkeypatch.setattr(os.path, "isdir", lambda path: True)
    assert launch.try_lock(places.resolve(), make=False) is None
    assert os.listdir(runtime_root) == []


def test_a_kernel_of_a_port_is_reached_by_its_own_socket(ended):
    port = free_port()
    with launch.open_connection(ended(port)) as connection:
        assert connection.family == socket.AF_UNIX
    with socket.create_connection(("127.0.0.1", port)) as connection:
        assert connection.recv(len(GREETING), socket.MSG_WAITALL) == GREETING


def test_a_kernel_of_ours_under_another_root_is_reached_by_its_port(ended, monkeypatch, tmp_path):
    port = free_port()
    with Connection(ended(port), client="test") as connection:
        pid = connection.hello["pid"]
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path / "another"))
    for autostart in (True, False):
        with launch.open_connection(port, autostart=autostart) as connection:
            assert connection.family == socket.AF_INET
        with Connection(port, client="test", autostart=autostart) as connection:
            assert connection.hello["pid"] == pid


def test_a_kernel_of_ours_under_another_root_is_reached_by_its_path(ended, monkeypatch, tmp_path):
    path = str(tmp_path / "papa.sock")
    with Connection(ended(path), client="test") as connection:
        pid = connection.hello["pid"]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path / "another"))
    with Connection("unix://" + path, client="test", autostart=False) as connection:
        assert connection.hello["pid"] == pid


def test_a_port_that_somebody_else_listens_at_is_never_connected_to(ended, monkeypatch):
    port = free_port()
    ended(port)
    monkeypatch.setattr(launch.sockdiag, "uid_of_listener", lambda host, port: os.geteuid() + 1)
    with socket.create_server(("127.0.0.1", port)) as squatter:
        squatter.settimeout(0)
        with launch.open_connection(port) as connection:
            assert connection.family == socket.AF_UNIX
        with pytest.raises(BlockingIOError):
            squatter.accept()
        with Connection(port, client="test") as connection:
            [warning] = connection.request("status").ok["warnings"]
            assert "Address already in use" in warning


def test_a_socket_that_somebody_else_listens_at_is_not_taken_for_a_kernel(runtime_root, monkeypatch):
    directory = places.resolve().directory
    os.mkdir(directory, 0o700)
    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(directory + "/control.sock")
        squatter.listen()
        monkeypatch.setattr(launch, "_listener_uid", lambda connection: os.geteuid() + 1)
        with pytest.raises(PapaError, match="none runs"):
            launch.open_connection(autostart=False)


def test_a_root_that_is_a_symbolic_link_is_refused(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path / "link"))
    with pytest.raises(PapaError) as caught:
        launch.open_connection()
    assert caught.value.code == "refused"


def test_a_python_that_cannot_be_started_is_named(runtime_root, monkeypatch):
    monkeypatch.setattr(places, "program", lambda module: ["/does/not/exist/python"])
    with pytest.raises(PapaError, match="/does/not/exist/python cannot be started") as caught:
        launch.open_connection()
    assert caught.value.code == "unreachable"


def test_a_launcher_that_fails_is_told_with_its_reason(runtime_root, monkeypatch):
    monkeypatch.setattr(places, "program", lambda module: [sys.executable, "-c", "raise SystemExit('no such luck')"])
    with pytest.raises(PapaError, match="launcher ended with status 1") as caught:
        launch.open_connection()
    assert "no such luck" in caught.value.hint


def test_the_kernel_is_named_after_who_started_it(ended, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/circusd", "circus.ini"])
    with Connection(ended(), client="test") as connection:
        pid = connection.hello["pid"]
    with open(f"/proc/{pid}/comm") as file:
        assert file.read().startswith("papa")
    if importlib.util.find_spec("setproctitle"):
        with open(f"/proc/{pid}/cmdline") as file:
            assert file.read().rstrip("\0") == "papa daemon from circusd"


@pytest.mark.parametrize(
    ("argv", "name"), [([], "python"), ([""], "python"), (["-c"], "python"), (["/a/b.py"], "b.py")]
)
def test_a_program_without_a_name_is_python(monkeypatch, argv, name):
    monkeypatch.setattr(sys, "argv", argv)
    assert launch._program_name() == name


# --- what it is called ---------------------------------------------------------------------------------------


def test_a_missing_setproctitle_is_no_matter(monkeypatch):
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    assert launch.find_setproctitle() is None
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: (_ for _ in ()).throw(ValueError()))
    assert launch.find_setproctitle() is None


def test_only_a_few_variables_are_passed_on(monkeypatch):
    for name in list(os.environ):
        monkeypatch.delenv(name)
    assert launch._environment() == {"PATH": os.defpath, "LC_ALL": "C"}
    for name in ("PATH", "LANG", "PAPA_X", "LD_PRELOAD", "SECRET"):
        monkeypatch.setenv(name, "x")
    assert launch._environment() == {"PATH": "x", "LC_ALL": "C", "PAPA_X": "x"}


def test_a_title_of_any_length_fits(ended):
    with launch.open_connection(ended(), title="x" * 500):
        pass
    with Connection(client="test") as connection:
        pid = connection.hello["pid"]
    with open(f"/proc/{pid}/cmdline") as file:
        assert file.read().count("x") >= launch.MAX_TITLE
