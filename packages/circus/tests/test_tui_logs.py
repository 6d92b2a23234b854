"""The log screen of circus-top, in front of log files that are written by hand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from packages.circus.tests.screens import LARGE, SMALL, Stage, play, play_alone
from tests.logfiles import LogFiles

from circus.control import following
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher
from circus.tui import logs, watching

NOW = int(time.time())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "BREATH_S", 0.0)
    for module in (logs, watching):
        monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.02)
        monkeypatch.setattr(module, "MOST_PAUSE_S", 0.1)


class House:
    def __init__(self, folder: Path) -> None:
        self.files = LogFiles(folder)
        self.path = str(folder / "circus-fake.sock")
        self.engine = FakeEngine(make_watcher("web", 2))
        self.engine.state_directory = str(folder)

    def write(self, circusd: FakeCircusd, *lines: tuple[int, str], **more: Any) -> None:
        """As circusd does it: whoever follows hears of it."""
        laid = self.files.write(more.pop("stream", "stdout"), *lines, **more)

        def tell() -> None:
            if self.engine.hear is not None:
                self.engine.hear(laid)

        circusd.call(tell)

    def end(self, at: float, status: int, *, wid: int = 1, ordered: bool = False) -> None:
        row = {"at": at, "watcher": "web", "wid": wid, "pid": 100 + wid, "started_at": at - 9, "ran_s": 9.0}
        told = {"status": status, "signal": None, "ordered": ordered, "reason": f"ended with status {status}"}
        self.engine.ends.setdefault("web", []).append(row | told)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def open_log(stage: Stage) -> None:
    await stage.sees(">web")
    await stage.press("l")
    await stage.sees("log of web: follows")


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_log_shows_what_was_written_and_what_is_written(house: House, size: tuple[int, int]) -> None:
    house.files.write("stdout", (NOW - 9, "the beginning"), (NOW - 8, "\tindented \x1b[31mred"))
    house.files.write("stderr", (NOW - 7, "a complaint"), wid=2)

    async def scenario(stage: Stage, circusd: FakeCircusd) -> None:
        await open_log(stage)
        await stage.sees("web.1 the beginning", "web.1     indented  [31mred", "web.2 ! a complaint")
        await stage.until(lambda: house.engine.hear is not None, "it is followed")
        house.write(circusd, (NOW, "and this is new"))
        await stage.sees("web.1 and this is new")
        await stage.press("escape")
        await stage.until(lambda: house.engine.hear is None, "nobody follows")

    play(house.engine, house.path, scenario, size=size)


def test_the_log_of_a_process_has_its_lines_alone(house: House) -> None:
    house.files.write("stdout", (NOW, "of one"), wid=1)
    house.files.write("stdout", (NOW, "of two"), wid=2)

    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        await stage.sees(">web")
        await stage.press("enter", "down", "down", "l")
        await stage.sees("log of web.2: follows", "of two")
        assert "of one" not in stage.text

    play(house.engine, house.path, scenario)


def test_a_search_goes_from_one_line_that_has_it_to_the_next_in_both_directions(house: House) -> None:
    house.files.write(
        "stdout", *((NOW, f"line {number}{' Needle' if number % 20 == 0 else ''}") for number in range(60))
    )

    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        def at() -> str:
            board = stage.app.screen
            assert isinstance(board, logs.Logs)
            return board.lister.texts()[board.lister.cursor - board.lister.top]

        await open_log(stage)
        await stage.sees("line 59")
        await stage.press("slash")
        await stage.sees("Enter: go on")
        await stage.press(*"needle")
        await stage.sees("3 lines of 60")
        await stage.press("enter")
        await stage.until(lambda: "line 40 Needle" in at(), "the last one")
        await stage.press("N")
        await stage.until(lambda: "line 20 Needle" in at(), "one before")
        await stage.press("n", "n")
        await stage.sees("'needle' is not there")
        assert "line 40 Needle" in at()

    play(house.engine, house.path, scenario)


def test_above_the_first_line_are_older_ones(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "PAGE", 10)
    house.files.write("stdout", *((NOW, f"line {number:02}") for number in range(35)))

    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        await open_log(stage)
        await stage.sees("line 25", "line 34")
        assert "line 24" not in stage.text
        for oldest in (15, 5, 0):
            await stage.press("home", "up")
            await stage.sees(f"line {oldest:02}")

    play(house.engine, house.path, scenario)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_jump_leads_to_the_last_crash_and_to_those_before_it(house: House, size: tuple[int, int]) -> None:
    house.files.write("stdout", (NOW - 90, "before the first"), (NOW - 50, "before the second"), (NOW - 10, "later"))
    house.end(NOW - 80, 3)
    house.end(NOW - 60, 0)  # it ended well
    house.end(NOW - 45, 7)
    house.end(NOW - 20, -15, ordered=True)

    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        await open_log(stage)
        await stage.press("x")
        await stage.sees("crash 1 of 2", "web.1 ended with status 7", "before the second")
        await stage.misses("later")
        await stage.press("x")
        await stage.sees("crash 2 of 2", "web.1 ended with status 3", "before the first")
        await stage.misses("before the second")
        await stage.press("x")
        await stage.sees("2 crashes are known")
        await stage.press("X")
        await stage.sees("crash 1 of 2")
        await stage.press("f")
        await stage.sees("follows", "later")

    play(house.engine, house.path, scenario, size=size)


def test_a_log_that_cannot_be_read_says_so(house: House) -> None:
    async def scenario(stage: Stage, circusd: FakeCircusd) -> None:
        await open_log(stage)
        await stage.press("x")
        await stage.sees("no crashes are known")
        await stage.press("slash")
        await stage.sees("Enter: go on")
        await stage.press(*"abc", "enter")
        await stage.sees("'abc' is not there")
        await stage.press("escape")
        await stage.sees(">web")
        circusd.call(lambda: house.engine.watchers.pop("web"))
        await stage.press("l")
        await stage.sees("not found; f: follow again")

    play(house.engine, house.path, scenario)


def test_the_screen_follows_the_next_circusd_from_where_the_one_before_it_left(house: House) -> None:
    house.files.write("stdout", (NOW - 9, "before"))

    async def scenario(stage: Stage) -> None:
        with FakeCircusd(house.engine, stage.path):
            await open_log(stage)
            await stage.sees("web.1 before")
        await stage.sees("circusd is away since", "web.1 before")
        house.files.write("stdout", (NOW - 5, "meanwhile"))
        with FakeCircusd(house.engine, stage.path) as circusd:
            await stage.sees("meanwhile")
            house.write(circusd, (NOW, "after"))
            await stage.sees("web.1 after")
            assert stage.text.count("web.1 before") == 1

    play_alone(house.path, scenario)
