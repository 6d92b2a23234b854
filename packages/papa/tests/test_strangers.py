"""A state directory into which somebody else could put something: refused in one line, and nothing of it is used."""

from __future__ import annotations

import os
import socket

import pytest
from tests.house import wait_for
from tests.kernels import Kernel, papa

from papa import places
from papa.client import launch
from papa.errors import PapaError
from papa.kernel.state import State

STRANGER = 64995

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.fixture
def kernel(runtime_root):
    kernel = Kernel()
    yield kernel
    # Shown with a failure only.
    print(kernel.log())
    kernel.end()


def plant(path, kind):
    """What a stranger may leave there, who cannot give a file to us."""
    if kind == "file":
        path.write_bytes(b"{}")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener, places.unix_address(str(path)) as address:
            listener.bind(address)
    else:
        path.symlink_to("/etc/hostname")
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)


NAMES = ["kernel.log", "served", "journal", "control.sock", "control.sock.new", "processes", "sockets", "output"]


@pytest.mark.parametrize("kind", ["file", "pipe", "link", "directory", "socket"])
@pytest.mark.parametrize("name", NAMES)
def test_what_a_stranger_has_put_there_is_refused_before_anything_is_touched(runtime_root, name, kind):
    directory = runtime_root / "kernel-default"
    directory.mkdir()
    directory.chmod(0o777)
    plant(directory / name, kind)
    for _ in range(2):
        with pytest.raises(PapaError) as caught:
            launch.open_connection(timeout_s=30)
        assert caught.value.code == "refused"
        assert f"{directory}/{name}: belongs to uid {STRANGER}" in caught.value.message
        assert os.listdir(directory) == [name]
        assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["processes/1.json", "sockets/1.json", "output/1"])
def test_what_a_stranger_has_put_deeper_is_refused_by_the_kernel(kernel, runtime_root, name):
    directory = runtime_root / "kernel-default"
    for part in (directory, (directory / name).parent):
        part.mkdir()
        part.chmod(0o777)
    plant(directory / name, "link")
    with pytest.raises(PapaError) as caught:
        launch.open_connection(timeout_s=10)
    assert caught.value.code == "unreachable"
    assert f"{directory}/{name}: belongs to uid {STRANGER}" in caught.value.hint


@pytest.mark.parametrize("kind", ["file", "pipe", "link"])
def test_a_stream_file_that_is_none_of_ours_is_never_opened(tmp_path, kind):
    state = State(str(tmp_path))
    os.close(state.open_output(1, "out"))
    plant(tmp_path / "output/1/err", kind)
    for opening in (state.open_output, state.open_output_for_reading):
        with pytest.raises(OSError, match=r"no file of ours|symbolic links"):
            opening(1, "err")
    state.close()


def test_a_subdirectory_that_leads_elsewhere_is_not_followed(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state/processes").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        State(str(tmp_path / "state"))
    assert sorted(os.listdir(tmp_path)) == ["state"]


def test_what_root_has_put_there_is_no_strangers(tmp_path, monkeypatch):
    (tmp_path / "note").write_text("of the administrator")
    os.chown(tmp_path, STRANGER, STRANGER)
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    fd = places.open_private_dir(str(tmp_path))
    places.refuse_strangers(fd, str(tmp_path))
    os.close(fd)


def test_a_directory_that_many_share_is_refused_and_stays_as_it_is(tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "somebody's").touch()
    shared.chmod(0o1777)
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(shared))
    done = papa("serve", "--daemonize")
    assert done.returncode != 0
    assert f"{shared}: is a directory that many users share" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert shared.stat().st_mode & 0o7777 == 0o1777
    os.unlink(shared / "somebody's")
    places.ensure_private_dir(str(shared))
    assert shared.stat().st_mode & 0o7777 == 0o700


ROOTS = [
    "with blank",
    'it\'s "quoted" $(touch gone); `x`',
    "new\nline",
    "\udcff\udcfe",
    "-n",
    f"long/{'n' * 60}/{'m' * 60}",
]


@pytest.mark.parametrize("name", ROOTS)
def test_a_root_of_any_name_works_over_a_kill(runtime_root, monkeypatch, name):
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(runtime_root / name))
    kernel = Kernel()
    try:
        before = kernel.start()
        row = kernel.writer("w", 300, 0.001)
        kernel.kill()
        assert kernel.status()["holder"] == before["holder"]
        wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
        assert len(kernel.output(row)) == 16 * 300
        assert papa("exit", "--force").returncode == 0
        wait_for(kernel.is_gone, "its end")
    finally:
        kernel.end()


def test_a_root_that_no_file_system_takes_is_one_clear_error(monkeypatch, tmp_path):
    for name in ("n" * 300, "/".join(["n" * 200] * 30)):
        monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path / name))
        done = papa("serve", "--daemonize")
        assert done.returncode != 0
        assert "File name too long" in done.stderr
        assert "Traceback" not in done.stderr
