from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.logfiles import LogFiles

from circus.control import following, rings, sse
from circus.control.caller import Caller
from circus.control.dispatch import dispatch
from circus.control.ops import Ops
from circus.errors import CircusError
from circus.logbook import cursors, strand
from circus.logbook.writing import Laid
from circus.testing.circusd import FakeEngine, make_watcher

OWNER = Caller("owner", "test")


class House:
    """Operations over log files that are written by hand."""

    def __init__(self, folder: Path) -> None:
        self.logs = LogFiles(folder)
        self.engine = FakeEngine(make_watcher("web", 2), make_watcher("db"))
        self.engine.state_directory = str(folder)
        self.ops = Ops(self.engine)

    def write(self, *lines: tuple[int, str], stream: str = "stdout", **more: Any) -> Laid:
        laid = self.logs.write(stream, *lines, **more)
        if self.engine.hear is not None:
            self.engine.hear(laid)
        return laid

    async def page(self, query: str = "", watcher: str = "web") -> Any:
        return await dispatch(self.ops, OWNER, "GET", f"/v1/watchers/{watcher}/logs?{query}")

    async def follow(self, query: str = "", watcher: str = "web") -> Ear:
        heard = await dispatch(self.ops, OWNER, "GET", f"/v1/watchers/{watcher}/logs?follow=true&{query}")
        assert not isinstance(heard, dict)
        return Ear(heard)


class Ear:
    """Reads a stream as a client does."""

    def __init__(self, heard: AsyncIterator[bytes]) -> None:
        self.heard = heard
        self.said: list[Any] = []
        self.ids: list[str] = []
        self._parser = sse.Parser()

    @property
    def last_id(self) -> str:
        return self._parser.last_id

    async def take(self) -> None:
        for each in self._parser.feed(await anext(self.heard)):
            told = json.loads(each.data)
            self.said.append(told["text"] if not each.kind else {each.kind: told})
            self.ids.append(each.last_id)

    async def until(self, *said: str) -> None:
        """The last ones that were heard are these."""
        async with asyncio.timeout(30):
            while self.said[-len(said) :] != list(said):
                await self.take()

    async def leave(self) -> None:
        await self.heard.aclose()  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "BREATH_S", 0.0)


def play(folder: Path, scenario: Callable[[House], Awaitable[None]]) -> None:
    async def run() -> None:
        house = House(folder)
        try:
            await scenario(house)
        finally:
            house.ops.close()
            await asyncio.sleep(0)

    asyncio.run(run())


def test_the_last_lines_are_told_and_where_to_go_on(tmp_path: Path) -> None:
    async def run(house: House) -> None:
        house.write((1, "one"), (3, "three"))
        house.write((2, "two"), stream="stderr", wid=2)
        page = await house.page("limit=2")
        assert [line["text"] for line in page["lines"]] == ["two", "three"]
        assert page["lines"][0] == {"text": "two", "at": 2.0, "stream": "stderr", "instance": 2, "pid": 102}
        assert (page["name"], page["more"], page["gaps"]) == ("web", True, [])
        before = await house.page(f"limit=5&order=newest&cursor={page['cursor']}")
        assert ([line["text"] for line in before["lines"]], before["more"]) == (["one"], False)
        house.write((4, "four"))
        after = await house.page(f"cursor={page['latest']}")
        assert [line["text"] for line in after["lines"]] == ["four"]
        assert [line["text"] for line in (await house.page("since=2.5"))["lines"]] == ["three", "four"]
        assert [line["text"] for line in (await house.page("order=oldest&limit=1"))["lines"]] == ["one"]
        assert (await house.page(watcher="db"))["lines"] == []

    play(tmp_path, run)


def test_what_was_written_before_an_end_is_shown(tmp_path: Path) -> None:
    async def run(house: House) -> None:
        house.write((1, "one"), (5, "dies"), (7, "later"))
        house.write((5, "other"), wid=2)
        house.engine.ends["web"] = [{"at": 3.0, "wid": 2}, {"at": 5.0, "wid": 1}]
        assert [line["text"] for line in (await house.page("around_exit=1"))["lines"]] == ["one", "dies"]
        assert (await house.page("around_exit=2"))["lines"] == []
        for wrong in ("around_exit=3", "around_exit=2&instance=1"):
            with pytest.raises(CircusError, match="ends are known"):
                await house.page(wrong)

    play(tmp_path, run)


@pytest.mark.parametrize(
    "query",
    [
        "follow=true&until=1", "follow=true&order=oldest", "around_exit=1&since=1", "follow=true&around_exit=1",
        "cursor=nonsense", "cursor=W1tbW1s", "limit=1001", "limit=-1", "stream=stdin", "instance=0", "contains=", "x=1",
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(tmp_path: Path, query: str) -> None:
    async def run(house: House) -> None:
        with pytest.raises(CircusError) as caught:
            await house.page(query)
        assert caught.value.http_status == 400

    play(tmp_path, run)


def test_who_follows_hears_the_last_lines_and_those_that_come(tmp_path: Path) -> None:
    async def run(house: House) -> None:
        house.write((1, "one"), (2, "two"))
        ear = await house.follow("limit=1")
        assert house.engine.hear is None, "nobody listens before it is read"
        await ear.take()
        assert (ear.said, house.ops.followers) == (["two"], 1)
        house.write((3, "three"))
        house.write((4, "oops"), stream="stderr")  # a log that was not there before
        await ear.until("three", "oops")
        house.logs.rotate("stdout")
        house.write((5, "of db"), watcher="db", stream="db")
        house.write((5, "five"), (6, "six"))
        await ear.until("five", "six")
        assert "of db" not in ear.said
        page = await house.page(f"cursor={ear.ids[-2]}")
        assert [line["text"] for line in page["lines"]] == ["six"], "its ids are cursors"
        await ear.leave()
        assert (house.engine.hear, house.ops.followers) == (None, 0)

    play(tmp_path, run)


def test_who_follows_from_a_moment_on_hears_what_was_written_since(tmp_path: Path) -> None:
    async def run(house: House) -> None:
        house.write((1, "one"), (3, "three"), (5, "five"))
        ear = await house.follow("since=2.5")
        await ear.until("three", "five")
        assert ear.said == ["three", "five"]
        house.write((6, "six"))
        await ear.until("six")
        await ear.leave()

    play(tmp_path, run)


def test_who_was_away_for_long_is_told_what_he_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MAX_REPLAY_LINES", 10)
    monkeypatch.setattr(following, "REPLAY_PAGE", 5)

    async def run(house: House) -> None:
        house.write(*((number, f"line {number}") for number in range(20)))
        ear = await house.follow("since=0.5")
        while not ear.said or isinstance(ear.said[-1], str):
            await ear.take()
        assert ear.said[:-1] == [f"line {number}" for number in range(1, 11)]
        page = await house.page(f"cursor={ear.said[-1]['missed']['cursor']}")
        assert [line["text"] for line in page["lines"]] == [f"line {number}" for number in range(11, 20)]
        assert ear.said[-1]["missed"]["bytes"] == 9 * len("line 11\n")
        house.write((21, "new"))
        await ear.until("new")
        await ear.leave()

    play(tmp_path, run)


def test_who_comes_back_goes_on_behind_what_he_heard_also_with_another_circusd(tmp_path: Path) -> None:
    async def run(house: House) -> None:
        ear = await house.follow()
        await ear.take()
        house.write((1, "one"))
        await ear.until("one")
        last_id = ear.last_id
        await ear.leave()
        house.write((2, "two"))
        house.logs.rotate("stdout")
        house.write((3, "three"))
        again = House(tmp_path)
        again.logs = house.logs
        known = ["two", "three"]
        for mine in (house, again):
            back = await mine.follow(f"cursor={last_id}")
            await back.until(*known)
            known.append(f"four {mine is again}")
            mine.write((4, known[-1]))
            await back.until(*known)
            assert back.said == known
            await back.leave()
        again.ops.close()

    play(tmp_path, run)


def test_a_slow_one_is_told_what_he_missed_and_the_others_are_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rings, "MAX_LINES", 10)

    async def run(house: House) -> None:
        slow, quick = await house.follow(), await house.follow()
        await slow.take()
        await quick.take()
        for number in range(100):
            house.write((number, f"line {number}"))
            await quick.until(f"line {number}")
        await slow.until("line 99")
        (missed,) = [each for each in slow.said if not isinstance(each, str)]
        assert missed["missed"]["lines"] == 90
        assert slow.said[-10:] == [f"line {number}" for number in range(90, 100)]
        assert quick.said == [f"line {number}" for number in range(100)]
        page = await house.page(f"limit=90&cursor={missed['missed']['cursor']}")
        assert [line["text"] for line in page["lines"]] == quick.said[:90], "what was missed can be had"
        await slow.leave()
        await quick.leave()

    play(tmp_path, run)


def test_what_a_follower_wants_can_be_said(tmp_path: Path) -> None:
    async def run(house: House) -> None:
        house.write((1, "an error before"), (1, "nothing"))
        ear = await house.follow("contains=error&instance=2&stream=stdout&limit=0")
        both = await house.follow("contains=error")
        await ear.take()
        await both.take()
        house.write((2, "error of one"))
        house.write((3, "error of two"), (3, "all is well"), wid=2)
        await both.until("error of two")
        house.write((4, "error there"), wid=2, stream="stderr")
        await both.until("error there")
        house.write((5, "error again"), wid=2)
        await ear.until("error of two", "error again")
        await both.until("error of one", "error of two", "error there", "error again")
        assert ear.said[0] == "error of two"
        assert both.said[0] == "an error before"
        await ear.leave()
        await both.leave()

    play(tmp_path, run)


def test_bytes_that_are_no_text_and_long_lines_are_told(tmp_path: Path) -> None:
    async def run(house: House) -> None:
        path = tmp_path / "stdout.log"
        house.write((1, "x"))
        path.write_bytes(b"\xff\n")
        house.write((2, "y" * 20_000))
        raw, cut = (await house.page())["lines"]
        assert (raw["text"], raw["raw"]) == ("\ufffd", "/w==")
        assert (len(cut["text"]), cut["cut"], "cut" in raw) == (16384, True, False)

    play(tmp_path, run)


def test_there_is_a_bound_of_followers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MAX_FOLLOWERS", 1)

    async def run(house: House) -> None:
        ear = await house.follow()
        await ear.take()
        with pytest.raises(CircusError, match="follow logs already"):
            await house.follow()
        await ear.leave()
        await (await house.follow()).leave()

    play(tmp_path, run)


def test_at_the_end_everybody_is_given_what_there_is(tmp_path: Path) -> None:
    async def run(house: House) -> None:
        ear = await house.follow()
        await ear.take()
        house.write((1, "last"))
        await ear.until("last")
        house.ops.close()
        with pytest.raises(StopAsyncIteration):
            await ear.take()
        assert house.ops.followers == 0

    play(tmp_path, run)


def test_a_disk_that_fails_is_said_and_what_comes_later_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(house: House) -> None:
        house.write((0, "before"))
        ear = await house.follow("limit=0")
        await ear.take()
        with monkeypatch.context() as patch:
            patch.setattr(strand.Strand, "take", _fail)
            house.write((1, "lost"))
            async with asyncio.timeout(30):
                while not ear.said:
                    await ear.take()
        assert list(ear.said[0]) == ["missed"]
        house.write((2, "after"))
        await ear.until("after")
        await ear.leave()

    play(tmp_path, run)


def _fail(*_: object) -> Any:
    raise OSError(5, "Input/output error", "stdout.log")


def test_a_disk_that_hangs_holds_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    begin = strand.Strand.begin

    def hang(mine: strand.Strand, first: Laid | None = None) -> None:
        if mine.path.endswith("stdout.log"):
            gate.wait(30)
        begin(mine, first)

    monkeypatch.setattr(strand.Strand, "begin", hang)
    monkeypatch.setattr(following, "_disk_of", lambda path: path)

    async def run(house: House) -> None:
        house.write((1, "one"))
        house.write((1, "one"), watcher="db", stream="db")
        stuck, free = await house.follow(), await house.follow(watcher="db")
        waiting = asyncio.ensure_future(stuck.take())
        await free.until("one")
        house.write((2, "two"), watcher="db", stream="db")
        await free.until("two")
        assert not waiting.done()
        gate.set()
        await waiting
        await stuck.leave()
        await free.leave()

    play(tmp_path, run)


def open_files(folder: Path) -> list[str]:
    """Below ``folder``: what else this process has open may be closed at any time."""
    found = []
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{each}"))
    return sorted(path for path in found if path.startswith(str(folder)))


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    async def run(house: House) -> None:
        house.write((1, "one"))
        await house.page()
        before = open_files(tmp_path)
        for _ in range(3):
            ear = await house.follow()
            await ear.until("one")
            await ear.leave()
            async with asyncio.timeout(30):
                while house.ops._log_feed._closing:
                    await asyncio.sleep(0.001)
        assert open_files(tmp_path) == before

    play(tmp_path, run)


def test_nothing_is_done_while_nothing_is_written(tmp_path: Path) -> None:
    async def run(house: House) -> None:
        ears = [await house.follow() for _ in range(3)]
        waiting = []
        for ear in ears:
            await ear.take()
        house.write((1, "one"))
        for ear in ears:
            await ear.until("one")
            waiting.append(asyncio.ensure_future(ear.take()))
        loop: Any = asyncio.get_running_loop()
        feed, desk = house.ops._log_feed, house.ops._desk

        def rests() -> bool:
            is_reading = desk.threads or any(source.reading for source in feed._sources.values())
            return not is_reading and all(each.cancelled() for each in loop._scheduled)

        deadline = loop.time() + 30
        while not rests():
            assert loop.time() < deadline, f"something still wakes up: {loop._scheduled}"
            await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    play(tmp_path, run)


def test_who_does_not_see_all_writers_of_a_file_gets_no_line_of_which_nobody_knows_whose_it_is(tmp_path: Path) -> None:
    theirs = Caller("web's", "test", patterns=("web",))

    async def scenario(house: House) -> None:
        (house.logs.folder / "shared.log").write_text("written before there was an index\n")
        house.write((1, "from web"), stream="shared")
        house.write((2, "from db"), stream="shared", watcher="db")
        house.write((3, "own"), stream="own")
        target = "/v1/watchers/web/logs"
        told = {}
        for caller in (OWNER, theirs):
            page: Any = await dispatch(house.ops, caller, "GET", f"{target}?order=oldest")
            followed = await dispatch(house.ops, caller, "GET", f"{target}?follow=true&since=0")
            assert not isinstance(followed, dict)
            ear = Ear(followed)
            house.write((4, "the last"), stream="own")
            await ear.until("the last")
            await ear.leave()
            told[caller] = [line["text"] for line in page["lines"]], ear.said
        for lines in told[OWNER]:
            assert "written before there was an index" in lines and "from db" not in lines
        for lines in told[theirs]:
            assert {"from web", "own"} <= set(lines) and "written before there was an index" not in lines

    play(tmp_path, scenario)


def test_places_in_logs_that_there_are_not_are_not_handed_on(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        house.write((1, "one"))
        cursor = cursors.encode({f"none{number}": number for number in range(100)})
        ear = await house.follow(f"cursor={cursor}")
        await ear.until("one")
        assert len(cursors.decode(ear.last_id)) == 1
        await ear.leave()

    play(tmp_path, scenario)
