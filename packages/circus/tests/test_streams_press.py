from __future__ import annotations

import asyncio
import contextlib
import errno
import gzip
import os
import subprocess
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.backups import KEY, Killed, dying, found

from circus.streams import backups, press
from circus.streams.backups import Backups, Identity
from circus.streams.press import Job, Presses, Stopped
from circus.streams.store import Intent, Place
from circus.streams.workers import Workers

BOUND_S = 30.0


def job_of(path: Path, count: int = 9, held: Identity | None = None, **fields: Any) -> Job:
    return Job(Backups(str(path), KEY, count), lambda: held, **fields)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_a_backup_becomes_one_that_gunzip_reads_with_its_mode_owner_and_time(log: Path) -> None:
    plain, packed = Path(f"{log}.1"), Path(f"{log}.1.gz")
    data = b"a line\n" * 100_000
    plain.write_bytes(data)
    os.chmod(plain, 0o640)
    os.utime(plain, ns=(10**18, 10**18 + 7))
    if os.getuid() == 0:
        os.chown(plain, 12, 34)
    before = plain.stat()
    job_of(log).run()
    assert not plain.exists()
    after = packed.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_mtime_ns == before.st_mtime_ns
    assert after.st_size < len(data) / 20
    done = subprocess.run(["gunzip", "-t", packed], capture_output=True, check=True)
    assert (done.stderr, gzip.decompress(packed.read_bytes())) == (b"", data)
    assert [path.name for path in log.parent.iterdir()] == ["log.1.gz"]


def test_each_backup_is_compressed_and_what_is_compressed_stays(log: Path) -> None:
    for number in range(1, 4):
        Path(f"{log}.{number}").write_text(str(number))
    log.write_text("now")
    job_of(log).run()
    before = Path(f"{log}.2.gz").stat()
    job_of(log).run()
    after = Path(f"{log}.2.gz").stat()
    assert found(log) == {"": "now", ".1.gz": "1", ".2.gz": "2", ".3.gz": "3"}
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


def test_a_backup_that_compare_may_have_to_look_into_is_left(log: Path) -> None:
    Path(f"{log}.1").write_text("1")
    Path(f"{log}.2").write_text("2")
    job_of(log, held=backups.identity_of(f"{log}.1")).run()
    assert found(log) == {".1": "1", ".2.gz": "2"}


@pytest.mark.parametrize("stage", ["packed", "named"])
@pytest.mark.parametrize("shifts", [1, 3])
def test_a_rotation_meanwhile_mixes_no_names(
    log: Path, stage: str, shifts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(f"{log}.1").write_text("old")

    def rotate(*_: object) -> None:
        for number in range(shifts):
            log.write_text(f"new {number}")
            backups.shift(str(log), KEY, 3)

    job = job_of(log, count=3)
    if stage == "packed":
        job.on_pressed = rotate
    else:
        monkeypatch.setattr(job.__class__, "_settle_names", rotate)
    job.run()
    if shifts == 1:
        assert found(log) == {".1": "new 0", ".2.gz": "old"}
    else:
        assert found(log) == {".1": "new 2", ".2": "new 1", ".3": "new 0"}


def test_the_seam_is_told_of_both_before_the_new_one_has_its_name(log: Path) -> None:
    Path(f"{log}.1").write_text("old")
    plain = backups.identity_of(f"{log}.1")
    told: list[tuple[str, Identity, Identity]] = []

    def on_pressed(path: str, old: Identity, new: Identity) -> None:
        assert not os.path.exists(f"{log}.1.gz")
        told.append((path, old, new))

    job_of(log, on_pressed=on_pressed).run()
    assert told == [(str(log), plain, backups.identity_of(f"{log}.1.gz"))]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(killed_after=st.integers(0, 30), second=st.integers(0, 30))
def test_at_whatever_moment_it_is_killed_the_next_one_finishes(
    killed_after: int, second: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path_factory.mktemp("logs") / "log"
    for number in range(1, 3):
        Path(f"{log}.{number}").write_text(f"text of {number}\n")
    for moment in (killed_after, second):
        with pytest.MonkeyPatch.context() as patch:
            dying(patch, moment)
            with contextlib.suppress(Killed):
                job_of(log).run()
        for number in range(1, 3):
            there = [text for name, text in found_whole(log).items() if name.startswith(f".{number}")]
            assert set(there) == {f"text of {number}\n"}
        backups._busy.clear()  # as in another process
    job_of(log).run()
    assert found(log) == {".1.gz": "text of 1\n", ".2.gz": "text of 2\n"}


def found_whole(log: Path) -> dict[str, str]:
    half = Path(backups.half_made(str(log)))
    if half.exists():
        half.rename(log.parent.parent / "half")
    try:
        return found(log)
    finally:
        if (log.parent.parent / "half").exists():
            (log.parent.parent / "half").rename(half)


def test_both_forms_are_kept_when_they_differ_and_it_is_said(log: Path) -> None:
    Path(f"{log}.1").write_text("one thing")
    Path(f"{log}.1.gz").write_bytes(gzip.compress(b"another one"))
    Path(f"{log}.2").write_text("2")
    with pytest.raises(OSError, match=r"log\.1 and .*log\.1\.gz are both there and differ"):
        job_of(log).run()
    assert found(log) == {".1": "one thing", ".1.gz": "another one", ".2.gz": "2"}


def test_a_backup_that_somebody_writes_to_is_left(log: Path) -> None:
    Path(f"{log}.1").write_text("one\n")

    def append(*_: object) -> None:
        with open(f"{log}.1", "a") as file:
            file.write("two\n")

    with pytest.raises(OSError, match="was written to"):
        job_of(log, on_pressed=append).run()
    assert found(log) == {".1": "one\ntwo\n"}


def test_the_end_of_circusd_does_not_wait_for_it(log: Path) -> None:
    Path(f"{log}.1").write_text("one\n")
    job = job_of(log)
    job.stop.set()
    with pytest.raises(Stopped):
        job.run()
    assert found(log) == {".1": "one\n"}


# Beside the loop --------------------------------------------------------------------------------------------


class Room:
    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.presses = Presses(Workers(), self._begin, lambda kind, fields: self.said.append((kind, fields)))

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.get_running_loop().create_task(work))
        return self.tasks[-1]

    async def rest(self) -> None:
        async with asyncio.timeout(BOUND_S):
            await asyncio.gather(*self.tasks)


def place_of(path: Path) -> Place:
    found = path.stat()
    return Place(found.st_dev, found.st_ino, found.st_size, "")


def test_a_backup_waits_until_the_intent_of_its_rotation_is_superseded(log: Path) -> None:
    log.write_text("old")
    shelf = Backups(str(log), KEY, 3)
    rotating = Intent(str(log), place_of(log), rotate=3)

    async def story() -> None:
        room = Room()
        Path(f"{log}.2").write_text("from before")
        room.presses.on_intent(str(log), rotating, shelf)
        assert room.tasks == []
        backups.shift(str(log), KEY, 3)
        log.write_text("new")
        room.presses.on_intent(str(log), Intent(str(log), place_of(log)), shelf)
        room.presses.on_intent(str(log), Intent(str(log), place_of(log)), shelf)
        assert len(room.tasks) == 1, "nothing was rotated"
        await room.rest()
        assert room.said == []

    asyncio.run(story())
    assert found(log) == {"": "new", ".1.gz": "old", ".2.gz": "from before"}


def test_a_failure_is_said_once_and_tried_again(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(press, "RETRY_FIRST_S", 0.01)
    Path(f"{log}.1").write_text("old")
    times = [0]
    write = press._write

    def full(fd: int, data: bytes) -> None:
        times[0] += 1
        if times[0] < 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(fd, data)

    monkeypatch.setattr(press, "_write", full)
    troubles: list[str] = []

    async def story() -> Room:
        room = Room()
        room.presses.on_intent(str(log), Intent(str(log), Place(0, 0, 0, "")), Backups(str(log), KEY, 3))
        async with asyncio.timeout(BOUND_S):
            while not troubles:
                await asyncio.sleep(0)
                troubles.extend(room.presses.troubles())
        await room.rest()
        assert room.presses.troubles() == []
        return room

    said = asyncio.run(story()).said
    assert said == [
        ("compress_failed", {"path": str(log), "reason": "No space left on device", "retry_in_s": 0.01}),
        ("compress_recovered", {"path": str(log)}),
    ]
    assert troubles == [f"{log}: backups cannot be compressed: No space left on device"]
    assert found(log) == {".1.gz": "old"}


def test_two_forms_that_differ_hold_up_no_newer_backup(log: Path) -> None:
    Path(f"{log}.1").write_text("one thing")
    Path(f"{log}.1.gz").write_bytes(gzip.compress(b"another one"))
    log.write_text("now")
    shelf = Backups(str(log), KEY, 5)

    async def until(room: Room, is_met: Callable[[], bool]) -> None:
        async with asyncio.timeout(BOUND_S):
            while not is_met():
                await asyncio.sleep(0)

    async def story() -> None:
        room = Room()
        room.presses.on_intent(str(log), Intent(str(log), place_of(log)), shelf)
        await until(room, lambda: bool(room.presses.troubles()))
        room.presses.on_intent(str(log), Intent(str(log), place_of(log), rotate=5), shelf)
        backups.shift(str(log), KEY, 5)
        log.write_text("then")
        room.presses.on_intent(str(log), Intent(str(log), place_of(log)), shelf)
        await until(room, lambda: os.path.exists(f"{log}.1.gz") and not os.path.exists(f"{log}.1"))
        assert [kind for kind, _ in room.said] == ["compress_failed"], "it is told once"
        await room.presses.close()
        await room.rest()

    asyncio.run(story())
    assert found(log) == {"": "then", ".1.gz": "now", ".2": "one thing", ".2.gz": "another one"}


def test_at_the_end_of_circusd_what_is_half_made_is_removed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(f"{log}.1").write_text("old")
    begun, go_on = threading.Event(), threading.Event()
    write = press._write

    def slowly(fd: int, data: bytes) -> None:
        write(fd, data)
        begun.set()
        go_on.wait(BOUND_S)

    monkeypatch.setattr(press, "_write", slowly)
    monkeypatch.setattr(press, "CHUNK", 1)

    async def story() -> None:
        room = Room()
        room.presses.on_intent(str(log), Intent(str(log), Place(0, 0, 0, "")), Backups(str(log), KEY, 3))
        await asyncio.to_thread(begun.wait, BOUND_S)
        assert os.path.exists(backups.half_made(str(log)))
        asyncio.get_running_loop().call_soon(go_on.set)
        await room.presses.close()
        await room.rest()
        assert room.said == []

    asyncio.run(story())
    assert found(log) == {".1": "old"}


def test_a_backup_that_cannot_be_read_keeps_no_younger_one_from_being_compressed(log: Path) -> None:
    Path(f"{log}.1").write_text("1")
    Path(f"{log}.2").symlink_to("/etc/hostname")
    Path(f"{log}.3").write_text("3")
    with pytest.raises(OSError, match=f"{log}.2"):
        job_of(log).run()
    assert sorted(path.name for path in log.parent.iterdir()) == ["log.1.gz", "log.2", "log.3.gz"]
