"""The socket for what services say, with a real one and nobody behind it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from circus import procfs
from circus.engine import notices
from circus.engine.names import Names
from circus.engine.notices import Notices
from circus.probes import Said


class Scene:
    """An engine that has one process, this one, and a socket."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        row = procfs.row(os.getpid())
        assert row is not None
        self._mine = SimpleNamespace(pid=os.getpid(), start_ticks=row.start_ticks)
        self.is_known = True
        self.is_any_coming = False
        self.is_ready = False
        self.noted = asyncio.Event()
        self.said: list[Said] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.hosted = self
        engine: Any = SimpleNamespace(
            names=Names("default"), is_started=True, lives=self, probing=self, begin=self.begin
        )
        self.notices = Notices(engine)
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.door.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.door.bind(self.path)
        self.notices._socket = self.door
        self.notices.look()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    def by_pid(self, pid: int) -> Any:
        return self._mine if self.is_known and pid == os.getpid() else None

    def must_note(self, _: Any) -> bool:
        return not self.is_ready

    async def note_ready(self, _: Any) -> None:
        self.is_ready = True
        await self.noted.wait()

    def on_said(self, _: Any, said: Said) -> None:
        self.said.append(said)

    def say(self, *texts: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            for text in texts:
                door.sendto(text.encode(), self.path)

    def is_anything_left(self) -> bool:
        try:
            self.door.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    async def settled(self) -> None:
        """The loop has had time to call whoever it would."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def until(self, fact: Callable[[], object]) -> None:
        async with asyncio.timeout(50):
            while not fact():
                await asyncio.sleep(0.002)


def story(tmp_path: Path, work: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        scene = Scene(tmp_path / "s")
        try:
            await work(scene)
        finally:
            scene.notices.close()
            for task in scene.tasks:
                task.cancel()

    asyncio.run(run())


def test_ready_is_taken_out_when_it_is_noted_and_not_before(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        scene.say("STATUS=one", "READY=1", "STATUS=two")
        await scene.until(lambda: len(scene.said) == 2)
        assert scene.said == [Said(text="one"), Said(is_ready=True)]
        assert scene.door.recv(100, socket.MSG_PEEK) == b"READY=1"
        scene.noted.set()
        await scene.until(lambda: len(scene.said) == 3)
        assert not scene.is_anything_left()

    story(tmp_path, work)


def test_while_one_is_noted_nobody_reads_whoever_comes_meanwhile(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        scene.say("READY=1", "STATUS=two", "STATUS=three")
        await scene.until(lambda: len(scene.said) == 1)
        scene.notices.look()  # another process has come
        await scene.settled()
        assert scene.said == [Said(is_ready=True)]
        scene.noted.set()
        await scene.until(lambda: not scene.is_anything_left())
        assert scene.said[1:] == [Said(text="two"), Said(text="three")]

    story(tmp_path, work)


def test_who_may_be_a_process_that_is_just_coming_is_waited_for(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        scene.is_known, scene.is_any_coming = False, True
        scene.say("STATUS=early")
        await scene.until(lambda: not scene.notices._is_reading)
        assert scene.is_anything_left()
        scene.is_known = True
        scene.notices.look()
        await scene.until(lambda: scene.said == [Said(text="early")])
        assert scene.notices.strangers == 0

    story(tmp_path, work)


def test_strangers_are_counted_and_told_of_once_and_wait_for_no_spawn_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notices, "HOLD_S", 0.05)
    caplog.set_level("INFO")

    async def work(scene: Scene) -> None:
        scene.is_known, scene.is_any_coming = False, True
        scene.say("READY=1", "READY=1", "READY=1")
        await scene.until(lambda: scene.notices.strangers == 3)
        assert not scene.said
        assert caplog.text.count(f"process {os.getpid()} spoke to NOTIFY_SOCKET") == 1

    story(tmp_path, work)


def test_a_descendant_speaks_for_its_process_and_who_has_ended_for_nobody(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        speak = f"import socket; socket.socket(1, 2).sendto(b'STATUS=child', {scene.path!r})"
        with subprocess.Popen([sys.executable, "-S", "-c", speak + "; input()"], stdin=subprocess.PIPE):
            await scene.until(lambda: scene.said == [Said(text="child")])
        scene.notices._pause()
        subprocess.run([sys.executable, "-S", "-c", speak], check=True)
        scene.notices.look()
        await scene.until(lambda: scene.notices.strangers == 1)
        assert len(scene.said) == 1

    story(tmp_path, work)


def test_a_process_that_took_the_pid_of_ours_is_not_ours(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        scene._mine.start_ticks += 1
        scene.say("STATUS=not me")
        await scene.until(lambda: scene.notices.strangers == 1)
        assert not scene.said

    story(tmp_path, work)


def test_of_a_flood_only_so_much_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "AT_ONCE", 3)

    async def work(scene: Scene) -> None:
        scene.notices._pause()
        scene.say(*["WATCHDOG=1"] * 8)
        scene.notices._is_reading = True  # as if the loop had called
        asyncio.get_running_loop().add_reader(scene.door, lambda: None)
        scene.notices._on_readable(scene.door)
        assert len(scene.said) == 3
        assert not scene.notices._is_reading
        await scene.until(lambda: len(scene.said) == 8)

    story(tmp_path, work)


def test_the_directory_may_be_passed_by_all_and_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "run-notify"
    notices._make_directory(str(path))
    notices._make_directory(str(path))
    assert path.stat().st_mode & 0o777 == 0o711
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(PermissionError):
        notices._make_directory(str(tmp_path / "link"))
