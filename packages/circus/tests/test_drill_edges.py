"""The edges of a drill, each with what it looks at made by hand: streams, log files, sockets, a process."""

from __future__ import annotations

import dataclasses
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.house import free_port, wait_for

from circus import procfs, warden
from circus.drill import capture, course, logfiles, manager, premises, visitors
from circus.drill.kernel import Kernel
from circus.drill.scene import Scene
from circus.drill.texts import Unclear
from circus.errors import CircusError
from papa.core import index

# Streams ----------------------------------------------------------------------------------------------------


class Stream:
    """One stream as the kernel keeps it, with its index."""

    def __init__(self, folder: Path) -> None:
        self._out, self._index = folder / "out", folder / "index"
        self._out.touch()
        self.page = os.statvfs(folder).f_bsize
        self.give_back(0)

    def write(self, data: bytes) -> None:
        with self._out.open("ab") as file:
            file.write(data)

    def give_back(self, low: int) -> None:
        """All below it: whole pages are gone then, and the mark stands there before."""
        self._index.write_bytes(index.pack_header({"out": low}, {}, index.HEADER_SIZE))
        if low:
            with self._out.open("r+b") as file:
                file.write(bytes(low - low % self.page))

    def fds(self) -> dict[str, int]:
        return {"out": os.open(self._out, os.O_RDONLY), "index": os.open(self._index, os.O_RDONLY)}


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    return Stream(tmp_path)


@pytest.fixture
def recorder() -> Iterator[capture.Recorder]:
    recorder = capture.Recorder()
    yield recorder
    recorder.close()


def test_all_is_recorded_from_what_the_kernel_still_keeps(stream: Stream, recorder: capture.Recorder) -> None:
    stream.write(b"old\nfresh\n")
    stream.give_back(4)
    recorder.attach(1, 100, stream.fds())
    recorder.catch_up()
    stream.write(b"more\n")
    recorder.catch_up()
    assert recorder.heads() == {(1, "out"): 15}
    found = recorder.streams[1, "out"]
    assert (found.pid, found.pieces, found.at) == (100, [(4, b"fresh\nmore\n")], 15)


def test_pages_that_were_given_back_before_they_were_read_are_a_gap(stream: Stream, recorder: capture.Recorder) -> None:
    recorder.attach(1, 100, stream.fds())
    stream.write(b"a" * 10)
    recorder.catch_up()
    stream.write(b"b" * (stream.page - 10) + b"c" * 5)
    stream.give_back(stream.page + 2)
    recorder.catch_up()
    assert recorder.streams[1, "out"].pieces == [(0, b"a" * 10), (stream.page, b"c" * 5)]


def test_a_kernel_that_opens_its_files_anew_goes_on_where_the_first_was(
    stream: Stream, recorder: capture.Recorder
) -> None:
    recorder.attach(1, 100, stream.fds())
    stream.write(b"one")
    recorder.catch_up()
    stream.give_back(2)
    recorder.attach(1, 100, stream.fds())
    stream.write(b"two")
    recorder.catch_up()
    assert recorder.streams[1, "out"].pieces == [(0, b"onetwo")]


def test_what_there_is_no_room_for_is_not_kept(
    stream: Stream, recorder: capture.Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "MAX_BYTES", 8)
    recorder.attach(1, 100, stream.fds())
    stream.write(b"12345678")
    recorder.catch_up()
    assert recorder.streams[1, "out"].is_whole
    stream.write(b"9")
    recorder.catch_up()
    assert not recorder.streams[1, "out"].is_whole


def test_a_process_without_output_leaves_no_descriptor(recorder: capture.Recorder) -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    recorder.attach(1, 100, {"pid": fd})
    with pytest.raises(OSError):
        os.fstat(fd)
    assert recorder.streams == {}


# Log files --------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "web.log"


def added(file: logfiles.LogFile) -> list[bytes]:
    try:
        return file.added()
    finally:
        file.close()


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_whole_lines_are_told_that_came_since(path: Path) -> None:
    path.write_bytes(b"old\nbegun ")
    file = logfiles.LogFile(str(path))
    append(path, b"before\nnew\nnot yet")
    assert added(file) == [b"new"]


def test_a_file_that_was_rotated_and_one_that_came_are_read(path: Path) -> None:
    path.write_bytes(b"old\n")
    path.with_name("web.log.1").write_bytes(b"older\n")
    file = logfiles.LogFile(str(path))
    append(path, b"first\n")
    path.rename(path.with_name("web.log.2"))
    append(path, b"second\n")
    assert sorted(added(file)) == [b"first", b"second"]
    absent = logfiles.LogFile(str(path.with_name("later.log")))
    append(path.with_name("later.log"), b"here\n")
    assert added(absent) == [b"here"]


def test_what_cannot_be_told_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"old\n")
    file = logfiles.LogFile(str(path))
    path.write_bytes(b"")
    with pytest.raises(Unclear, match="cut"):
        added(file)
    file = logfiles.LogFile(str(path))
    path.with_name("web.log.1.gz").touch()
    with pytest.raises(Unclear, match="compressed"):
        added(file)
    file = logfiles.LogFile(str(path))
    append(path, b"much\n")
    monkeypatch.setattr(logfiles, "MAX_BYTES", 4)
    with pytest.raises(Unclear, match="more than"):
        added(file)


# Connections ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["inet", "unix"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, dict[str, Any]]]:
    if request.param == "inet":
        made = socket.create_server(("127.0.0.1", free_port()))
        row: dict[str, Any] = {"host": "0.0.0.0", "port": made.getsockname()[1]}
    else:
        row = {"path": str(tmp_path / "s.sock")}
        made = socket.socket(socket.AF_UNIX)
        made.bind(row["path"])
        made.listen()
    with made:
        yield made, row


def test_a_held_connection_stays_is_closed_or_is_dropped(listener: tuple[socket.socket, dict[str, Any]]) -> None:
    made, row = listener
    visitor = visitors.Visitor(row, name="web", held=3)
    served = [made.accept()[0] for _ in range(3)]
    served[0].close()
    if made.family == socket.AF_INET:  # a unix socket knows no reset without data that nobody read
        served[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        served[1].close()
    visitor.close()
    is_inet = made.family == socket.AF_INET
    assert (visitor.count.held, visitor.count.closed, visitor.count.dropped) == (3, 1, int(is_inet))
    for each in served:
        each.close()


def test_visits_that_fail_are_counted_with_the_reason(listener: tuple[socket.socket, dict[str, Any]]) -> None:
    made, row = listener
    visitor = visitors.Visitor(row, name="web", held=0)
    visitor.begin()
    try:
        made.accept()[0].close()
        made.close()
        # One that waited to be accepted fails otherwise.
        wait_for(lambda: "connection refused" in visitor.count.reasons, "a visit that is refused")
    finally:
        visitor.close()
    assert visitor.count.tried >= visitor.count.failed > 0


def test_who_asks_by_http_wants_an_answer(listener: tuple[socket.socket, dict[str, Any]]) -> None:
    made, row = listener
    visitor = visitors.Visitor(row, name="web", held=0, path="/up")
    visitor.begin()
    try:
        with made.accept()[0] as served:
            assert served.recv(1024).startswith(b"GET /up HTTP/1.0\r\n")
            served.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        with made.accept()[0] as served:
            served.recv(1024)
        wait_for(lambda: "no answer" in visitor.count.reasons, "an answer that is none")
        made.close()
    finally:
        visitor.close()


def test_only_what_takes_connections_is_visited() -> None:
    assert visitors.can_visit({"type": "stream", "port": 80})
    assert visitors.can_visit({"path": "/s"})
    assert not visitors.can_visit({"type": "dgram", "port": 80})


# A process --------------------------------------------------------------------------------------------------

SCRIPT = """#!/bin/sh
echo "$(pwd) $(umask) $COLOUR warden=$CIRCUS_WARDEN arguments=$*"
exec sleep 60
"""


def test_a_process_is_started_again_as_it_was(tmp_path: Path) -> None:
    program, out, folder = tmp_path / "circusd", tmp_path / "out", tmp_path / "folder"
    program.write_text(SCRIPT)
    program.chmod(0o755)
    folder.mkdir()
    argv = [str(program), "--log-level", "info", "a b.ini"]
    environ = {"PATH": os.environ["PATH"], "COLOUR": "blue and red", warden.VARIABLE: "7 1 -1 0"}
    first = subprocess.Popen(
        argv, env=environ, cwd=folder, umask=0o027, stdout=out.open("ab"), stderr=subprocess.DEVNULL
    )
    second = None
    try:
        wait_for(out.read_text, "what it says")
        how = manager.look(first.pid, argv)
        assert manager.keeper(first.pid) == ""  # that warden is not its parent
        first.kill()
        first.wait()
        second = manager.start(how)
        how.close()
        wait_for(lambda: out.read_text().count("\n") == 2, "what the second one says")
    finally:
        for each in (first, second):
            if each is not None:
                each.kill()
                each.wait()
    before, after = out.read_text().splitlines()
    assert before == f"{folder} 0027 blue and red warden=7 1 -1 0 arguments=--log-level info a b.ini"
    assert after == f"{folder} 0027 blue and red warden= arguments=--log-level info a b.ini"


def test_where_the_folder_of_circusd_is_gone_it_could_not_be_started_again(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path / "folder") as running:
        try:
            (tmp_path / "folder").rmdir()
            with pytest.raises(CircusError, match="working directory of circusd") as caught:
                manager.look(running.pid, ["circusd"])
        finally:
            running.kill()
    assert caught.value.exit_status == 3


def test_a_stranger_that_has_the_pid_by_now_is_not_killed(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            found = procfs.row(stranger.pid)
            assert found is not None
            before = dataclasses.replace(found, start_ticks=found.start_ticks - 1)
            start = manager.Start(("circusd",), "/bin/false", {}, "/", 0, 0, 0, (), (-1, -1))
            scene = Scene("default", before, str(tmp_path / "none"), start, "", {}, {}, [], [], "", [], [], {})
            with Kernel(str(tmp_path / "kernel")) as kernel:
                drill = course.Course(scene, kernel, premises.Wish(connections=0), lambda _text: None)
                with pytest.raises(CircusError, match="ended before it was killed"):
                    drill.run()
            assert stranger.poll() is None
        finally:
            stranger.kill()


@pytest.mark.parametrize(
    ("policy", "is_kept"), [("always", True), ("on-failure", True), ("on-watchdog", False), ("no", False), ("", False)]
)
def test_systemd_keeps_what_it_starts_again_after_a_kill(
    policy: str, is_kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f"#!/bin/sh\necho {policy}\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(manager, "_unit", lambda _pid: ("shop.service", False))
    with subprocess.Popen(["/bin/sleep", "60"], env={"INVOCATION_ID": "1"}) as running:
        try:
            wait_for(lambda: procfs.variable(running.pid, b"INVOCATION_ID"), "its environment")
            assert manager.keeper(running.pid) == ("systemd (shop.service)" if is_kept else "")
        finally:
            running.kill()


def test_a_program_that_is_no_circusd_is_left_alone() -> None:
    with pytest.raises(CircusError, match="part of another program") as caught:
        manager.look(os.getpid(), ["python", "-m", "pytest"])
    assert caught.value.exit_status == 3


def test_who_is_gone_was_started_nobody_knows_how() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    with pytest.raises(CircusError, match="does not say"):
        manager.look(ended.pid, ["circusd"])
