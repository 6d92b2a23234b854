from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.house import wait_for

from circus import procfs
from circus.control import claim as claim_module
from circus.control.claim import claim
from circus.control.client import Client
from circus.errors import CircusError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path / "root"))


def test_the_socket_is_ours_alone_whatever_the_umask(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    before = os.umask(0)
    try:
        held = claim(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    held.release()


def test_the_runtime_root_is_made_and_private(tmp_path: Path) -> None:
    held = claim(str(tmp_path / "root" / "circus-default.sock"))
    assert stat.S_IMODE(os.stat(tmp_path / "root").st_mode) == 0o700
    held.release()


def test_no_other_directory_is_made(tmp_path: Path) -> None:
    with pytest.raises(CircusError, match="No such file or directory") as caught:
        claim(str(tmp_path / "none" / "c.sock"))
    assert caught.value.code == "failed"
    assert str(tmp_path / "none") in caught.value.hint


def test_a_second_one_of_the_same_name_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    held = claim(path)
    with pytest.raises(CircusError, match=rf"runs already at .*c\.sock \(pid {os.getpid()}\)") as caught:
        claim(path)
    assert caught.value.code == "conflict"
    held.release()


def test_a_released_name_is_free_and_its_socket_gone(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    held = claim(path)
    held.release()
    held.release()
    assert not os.path.exists(path)
    claim(path).release()


def test_what_a_killed_one_left_behind_is_taken_over(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    code = (
        "import sys, signal; from circus.control.claim import claim; "
        "held = claim(sys.argv[1]); print(1, flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(CircusError, match=f"pid {holder.pid}"):
            claim(path)
        holder.kill()
        holder.wait()
    assert os.path.exists(path)
    claim(path).release()


def test_a_successor_waits_for_one_that_is_leaving(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    leaving = claim(path)
    leaving.stop_listening()
    assert not os.path.exists(path)
    timer = threading.Timer(0.1, leaving.release)
    timer.start()
    claim(path).release()
    timer.join()


def test_a_successor_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_module, "LEAVING_TIMEOUT_S", 0.05)
    leaving = claim(str(tmp_path / "c.sock"))
    leaving.stop_listening()
    with pytest.raises(CircusError, match="runs already"):
        claim(leaving.path)
    leaving.release()


def test_a_listener_without_a_lock_is_not_robbed(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    held = claim(path)
    os.unlink(f"{path}.lock")  # as a cleaner of old files does
    with pytest.raises(CircusError, match="runs already"):
        claim(path)
    held.release()


def test_a_listener_whose_queue_is_full_is_not_robbed(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen(0)
        client.connect(path)
        with pytest.raises(CircusError, match="runs already"):
            claim(path)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "c.sock").write_text("precious")
    with pytest.raises(CircusError, match="is no socket"):
        claim(str(tmp_path / "c.sock"))
    assert (tmp_path / "c.sock").read_text() == "precious"


def test_a_release_leaves_the_socket_of_another_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    held = claim(path)
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        held.release()
        assert os.path.exists(path)


def test_who_has_stopped_listening_leaves_the_socket_of_a_later_one_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    held = claim(path)
    held.stop_listening()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)  # on many file systems with the same inode number
        held.release()
        assert os.path.exists(path)


def test_a_long_path_is_served(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    held = claim(str(directory / "c.sock"))
    assert (directory / "c.sock").is_socket()
    held.release()
    assert not (directory / "c.sock").exists()


def test_a_failed_claim_leaves_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "c.sock").write_text("")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(CircusError):
            claim(str(tmp_path / "c.sock"))
    assert len(os.listdir("/proc/self/fd")) <= before  # others may close theirs meanwhile


def test_a_conflict_is_known_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Longer than a test may take.
    monkeypatch.setattr(claim_module, "LEAVING_TIMEOUT_S", 1000.0)
    held = claim(str(tmp_path / "c.sock"))
    with pytest.raises(CircusError):
        claim(held.path)
    held.release()


#: Holds a name; told to, its first thread ends, so that it is a zombie, and the other one keeps what it has open.
HALF_DEAD = """
import ctypes, sys, threading
from circus.control.claim import claim
held = claim(sys.argv[1])
threading.Thread(target=lambda: print(1, flush=True) or sys.stdin.readlines()).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def _half_dead(path: str) -> subprocess.Popen[bytes]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HALF_DEAD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    wait_for(lambda: procfs.has_ended(holder.pid), "the end of its first thread")
    return holder


def test_the_name_of_one_that_is_dead_but_for_a_thread_is_free(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    with _half_dead(path) as first, _half_dead(path) as second:
        with pytest.raises(CircusError, match=r"no circusd answers at .*: it is dead"):
            Client(path).get("status")
        held = claim(path)
        with pytest.raises(CircusError, match=rf"runs already .*\(pid {os.getpid()}\)"):
            claim(path)
        first.kill()
        first.wait()
        with pytest.raises(CircusError, match=rf"runs already .*\(pid {os.getpid()}\)"):
            claim(path)
        held.release()
        second.kill()
    claim(path).release()
    assert os.listdir(tmp_path) == ["c.sock.lock"]
