"""The index as the streams keep it: complete where it can be, given up where it cannot, never in the way."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from circus.logbook import catalogue, entries, writing
from circus.logbook.entries import Run, Source
from circus.logbook.writing import Book, Laid
from circus.streams import ledger
from circus.streams.ledger import Ledger, LogsPlace

WEB = Source("web", 1, 10, "stdout")


def laid(base: int = 0, length: int = 10) -> Laid:
    return Laid("/logs/web.log", 1, 2, base, b"x" * 10, (Run(WEB, length, 5),))


def index(state: Path) -> entries.Index:
    directory = Path(writing.directory_of(str(state / "logs"), "/logs/web.log"))
    return entries.parse((directory / writing.index_name(1, 2)).read_bytes())


def story(run: Callable[[], object]) -> None:
    asyncio.run(asyncio.wait_for(run(), 30))  # type: ignore[arg-type]


async def until(fact: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not fact():
            await asyncio.sleep(0.002)


def test_what_is_laid_is_in_the_index_when_it_returns(tmp_path: Path) -> None:
    async def run() -> None:
        mine = Ledger(LogsPlace(str(tmp_path), 4000, 1000.0))
        await mine.lay(laid())
        assert index(tmp_path).end == 10
        await mine.lay(None)
        mine.close()

    story(run)


def test_streams_are_noted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = catalogue.save
    monkeypatch.setattr(catalogue, "save", lambda logs, known: (saved.append(1), save(logs, known)))

    async def run() -> None:
        mine = Ledger(LogsPlace(str(tmp_path), 4000, 1000.0))
        for number in range(50):
            mine.attached(f"/logs/{number}.log", "web", "stdout")
        await until(lambda: len(catalogue.load(str(tmp_path / "logs"))) == 50)
        mine.attached("/logs/3.log", "web", "stdout")  # known already
        await mine.lay(laid())
        mine.close()

    story(run)
    assert len(saved) == 1


def test_the_catalogue_is_not_written_for_each_log_of_a_crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "REST", 1e9)
    saved: list[int] = []
    save = catalogue.save
    monkeypatch.setattr(catalogue, "save", lambda logs, known: (saved.append(1), save(logs, known)))

    async def run() -> None:
        mine = Ledger(LogsPlace(str(tmp_path), 4000, 1000.0))
        mine.attached("/logs/first.log", "web", "stdout")
        await until(lambda: catalogue.load(str(tmp_path / "logs")))
        for number in range(50):
            mine.attached(f"/logs/{number}.log", "web", "stdout")
            await mine.lay(laid(number * 10))
        assert len(saved) == 1
        mine.close()
        await until(lambda: len(catalogue.load(str(tmp_path / "logs"))) == 51)

    story(run)
    assert len(saved) == 2


def test_a_directory_that_hangs_is_given_up_after_a_while_and_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thaw = threading.Event()
    lay = Book.lay

    def hang(book: Book, what: Laid) -> None:
        thaw.wait(20)
        lay(book, what)

    monkeypatch.setattr(ledger, "PATIENCE_S", 0.01)
    monkeypatch.setattr(Book, "lay", hang)

    async def run() -> None:
        mine = Ledger(LogsPlace(str(tmp_path), 4000, 1000.0))
        await mine.lay(laid())
        assert "has not answered for" in mine.trouble
        await mine.lay(laid(10))  # nobody waits for it
        mine.attached("/logs/web.log", "web", "stdout")
        thaw.set()
        monkeypatch.setattr(ledger, "PATIENCE_S", 10)
        await until(lambda: not mine._hanging)
        await mine.lay(laid(20))
        assert mine.trouble == ""
        assert [span.start for span in index(tmp_path).spans] == [0, 20]
        await until(lambda: catalogue.load(str(tmp_path / "logs")))
        mine.close()

    story(run)


def test_a_directory_that_fails_is_said_and_tried_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logs").write_text("in the way")

    async def run() -> None:
        mine = Ledger(LogsPlace(str(tmp_path), 4000, 1000.0))
        mine.attached("/logs/web.log", "web", "stdout")
        await mine.lay(laid())
        assert "Not a directory" in mine.trouble or "File exists" in mine.trouble
        os.unlink(tmp_path / "logs")
        await mine.lay(laid(10))  # too early
        assert mine.trouble
        monkeypatch.setattr(ledger, "RETRY_S", -1.0)
        await until(lambda: not mine._is_noting)
        mine._retry_at = 0.0
        await mine.lay(laid(20))
        assert mine.trouble == ""
        await until(lambda: catalogue.load(str(tmp_path / "logs")))
        mine.close()

    story(run)


def test_without_a_directory_nothing_is_indexed() -> None:
    async def run() -> None:
        mine = Ledger(None)
        mine.attached("/logs/web.log", "web", "stdout")
        await mine.lay(laid())
        assert mine.trouble == ""
        mine.close()

    story(run)


def test_only_so_many_index_files_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_OPEN", 3)
    monkeypatch.setattr(ledger, "MAX_KNOWN", 6)
    before = len(os.listdir("/proc/self/fd"))
    ends = dict.fromkeys(range(8), 0)

    async def run() -> None:
        mine = Ledger(LogsPlace(str(tmp_path), 4000, 1000.0))
        for number in (0, 1, 2, 3, 4, 5, 6, 7, 3, 7, 0, 1, 2, 7):
            await mine.lay(Laid(f"/logs/{number}.log", 1, number, ends[number], b"x", (Run(WEB, 5, 5),)))
            ends[number] += 5
            assert mine.trouble == ""
            assert sum(str(tmp_path) in path for path in open_files()) <= 3
        assert len(mine._books) == 6
        for number, end in ends.items():
            directory = Path(writing.directory_of(str(tmp_path / "logs"), f"/logs/{number}.log"))
            assert entries.parse((directory / writing.index_name(1, number)).read_bytes()).end == end
        mine.close()
        await until(lambda: not mine._books)

    story(run)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def open_files() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            continue
    return found


def test_what_cannot_be_noted_is_remembered_once_however_often_it_comes(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()  # where the directory is to be

    async def run() -> None:
        mine = Ledger(LogsPlace(str(tmp_path), 4000, 1000.0))
        for _ in range(3):
            for _ in range(100):
                mine.attached("/logs/web.log", "web", "stdout")
            await until(lambda: mine.trouble)
        assert len(mine._unnoted) == 1
        mine.close()

    story(run)
