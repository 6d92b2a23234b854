from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from circus.bus import RING_LENGTH, Bus, Event
from circus.control import events as feed_module
from circus.control import server as server_module
from circus.control import sse
from circus.control.client import Client
from circus.control.events import Feed, topic_of
from circus.control.listening import Listening
from circus.errors import CircusError
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher

START = 1000.5


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "PAUSE_OF_EACH_S", 0.0)


class Ear:
    """Reads a feed as a client does, as far as there is something."""

    def __init__(self, heard: AsyncIterator[bytes]) -> None:
        self._heard = heard
        self._parser = sse.Parser()
        self._reading: asyncio.Task[bytes] | None = None

    @property
    def last_id(self) -> str:
        return self._parser.last_id

    async def hear(self) -> list[dict[str, Any]]:
        """All that can be read without an event that is still to come."""
        heard: list[dict[str, Any]] = []
        while True:
            self._reading = self._reading or asyncio.ensure_future(anext(self._heard, b""))
            for _ in range(5):
                await asyncio.sleep(0)
            if not self._reading.done():
                return heard
            data, self._reading = self._reading.result(), None
            if not data:
                return heard
            heard += [json.loads(said.data) for said in self._parser.feed(data)]

    async def leave(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)


def play(scenario: Callable[[Bus, Feed], Awaitable[None]]) -> None:
    bus = Bus()
    asyncio.run(scenario(bus, Feed(bus, START)))


def say(bus: Bus, *names: str, watcher: str = "web") -> None:
    for name in names:
        bus.publish(Event(float(bus.published), watcher, name, {"wid": 1}))


def names_of(heard: list[dict[str, Any]]) -> list[str]:
    return [each["event"] if "event" in each else f"missed {each['missed']}" for each in heard]


@pytest.mark.parametrize(
    ("watcher", "topic"),
    [
        ("web", "watcher.web.spawn"),
        ("My Web.Site", "watcher.my_web.site.spawn"),
        ("plugin:x", "watcher.plugin:x.spawn"),
        ("", "circusd.spawn"),
    ],
)
def test_a_topic_is_made_of_the_watchers_name_as_the_ancestors_made_it(watcher: str, topic: str) -> None:
    assert topic_of(Event(1.0, watcher, "spawn")) == topic


def test_who_listens_hears_what_happens_from_now_on_with_its_time() -> None:
    async def scenario(bus: Bus, feed: Feed) -> None:
        say(bus, "start")
        ear = Ear(feed.listen())
        assert await ear.hear() == []
        say(bus, "spawn", watcher="Web X")
        message = {"time": 1.0, "wid": 1}
        expected = {"topic": "watcher.web_x.spawn", "watcher": "Web X", "event": "spawn", "message": message}
        assert await ear.hear() == [expected]
        await ear.leave()

    play(scenario)


def test_topics_are_beginnings_and_the_others_are_not_heard() -> None:
    async def scenario(bus: Bus, feed: Feed) -> None:
        ear = Ear(feed.listen(["watcher.web.sp", "watcher.db."]))
        await ear.hear()
        say(bus, "spawn", "reap", "spit")
        say(bus, "reap", watcher="db")
        assert names_of(await ear.hear()) == ["spawn", "spit", "reap"]
        await ear.leave()

    play(scenario)


def test_one_who_comes_back_goes_on_behind_the_last_that_he_heard() -> None:
    async def scenario(bus: Bus, feed: Feed) -> None:
        ear = Ear(feed.listen())
        await ear.hear()
        say(bus, "a", "b")
        await ear.hear()
        await ear.leave()
        say(bus, "c", "d")
        again = Ear(feed.listen(last_id=ear.last_id))
        assert names_of(await again.hear()) == ["c", "d"]
        await again.leave()

    play(scenario)


def test_one_who_comes_back_to_another_circusd_hears_so_and_all_that_it_has() -> None:
    async def scenario(bus: Bus, feed: Feed) -> None:
        say(bus, "a", "b")
        for last_id in ("5-1", "1000500-3"):  # an earlier one's; one that is still to come
            again = Ear(feed.listen(last_id=last_id))
            assert names_of(await again.hear()) == ["missed None", "a", "b"]
            await again.leave()

    play(scenario)


def test_who_names_a_time_hears_what_happened_since() -> None:
    async def scenario(bus: Bus, feed: Feed) -> None:
        say(bus, "a", "b", "c")
        ear = Ear(feed.listen(since=1.0))
        assert names_of(await ear.hear()) == ["b", "c"]
        await ear.leave()
        bus.publish(Event(0.5, "web", "set back"))  # the clock was
        ear = Ear(feed.listen(since=1.0))
        assert names_of(await ear.hear()) == ["b", "c", "set back"]
        await ear.leave()

    play(scenario)


def test_a_slow_listener_is_told_how_many_he_missed_and_holds_up_nobody() -> None:
    async def scenario(bus: Bus, feed: Feed) -> None:
        slow, swift = Ear(feed.listen()), Ear(feed.listen())
        await slow.hear()
        await swift.hear()
        for number in range(RING_LENGTH + 7):
            say(bus, str(number))
            if number % 100 == 0:
                await swift.hear()
        last = str(RING_LENGTH + 6)
        assert names_of(await swift.hear())[-1] == last
        heard = names_of(await slow.hear())
        # What was being read when he fell asleep, then a gap, then all that is kept.
        assert (heard[:3], heard[-1], len(heard)) == (["0", "missed 6", "7"], last, RING_LENGTH + 2)
        await slow.leave()
        await swift.leave()

    play(scenario)


def test_one_who_comes_back_too_late_is_told_how_many_he_missed() -> None:
    async def scenario(bus: Bus, feed: Feed) -> None:
        say(bus, *map(str, range(RING_LENGTH + 10)))
        ear = Ear(feed.listen(last_id="1000500-4"))
        assert names_of(await ear.hear())[:2] == ["missed 6", "10"]
        await ear.leave()

    play(scenario)


def test_one_who_wanted_none_of_many_events_has_missed_none() -> None:
    async def scenario(bus: Bus, feed: Feed) -> None:
        ear = Ear(feed.listen(["watcher.db."]))
        for number in range(3 * RING_LENGTH):
            say(bus, str(number))
            if number % 100 == 0:
                assert await ear.hear() == []
        await ear.leave()
        again = Ear(feed.listen(["watcher.db."], last_id=ear.last_id))
        assert await again.hear() == []
        await again.leave()

    play(scenario)


def test_an_event_with_a_name_that_is_no_text_is_heard_like_any_other() -> None:
    async def scenario(bus: Bus, feed: Feed) -> None:
        ear = Ear(feed.listen())
        await ear.hear()
        bus.publish(Event(1.0, "web", "sink_failed", {"path": "/x\udcff\n", "error": ValueError("odd")}))
        assert (await ear.hear())[0]["message"] == {"time": 1.0, "path": "/x\udcff\n", "error": "odd"}
        await ear.leave()

    play(scenario)


@pytest.mark.parametrize("last_id", ["x", "7", "7-", "-7", "a-1", "7-1-x", "7-" + "9" * 5000])
def test_what_is_no_id_is_refused(last_id: str) -> None:
    with pytest.raises(CircusError, match="is no id of an event"):
        Feed(Bus(), START).listen(last_id=last_id)


def test_listeners_and_topics_are_bounded_and_one_that_leaves_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "MAX_LISTENERS", 2)

    async def scenario(_bus: Bus, feed: Feed) -> None:
        begun = [feed.listen() for _ in range(3)]  # all before one of them counts
        ears = [Ear(heard) for heard in begun]
        for ear in ears:
            await ear.hear()
        assert feed.listeners == 2
        with pytest.raises(CircusError, match="2 listen already"):
            feed.listen()
        await ears[0].leave()
        assert feed.listeners == 1
        feed.listen()
        for ear in ears:
            await ear.leave()

    play(scenario)
    with pytest.raises(CircusError, match="topics"):
        Feed(Bus(), START).listen(["x"] * (feed_module.MAX_TOPICS + 1))


def test_at_the_end_everybody_hears_what_there_was_and_is_let_go() -> None:
    async def scenario(bus: Bus, feed: Feed) -> None:
        heard = feed.listen()
        await anext(heard)
        say(bus, "last")
        feed.close()
        assert b'"last"' in b"".join([data async for data in heard])
        assert feed.listeners == 0

    play(scenario)


def test_listeners_cost_nothing_while_nothing_happens() -> None:
    class Counting(selectors.DefaultSelector):
        turns = 0

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            Counting.turns += 1
            return super().select(timeout)

    async def scenario() -> None:
        feed = Feed(Bus(), START)
        ears = [Ear(feed.listen()) for _ in range(5)]
        for ear in ears:
            await ear.hear()
        before = Counting.turns
        await asyncio.sleep(0.2)
        assert Counting.turns - before <= 2  # our own sleep and what it resumes
        for ear in ears:
            await ear.leave()

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(Counting())) as runner:
        runner.run(scenario())


# Over the socket --------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path))
    return f"{tmp_path}/circus-default.sock"


def test_events_come_over_the_socket_and_end_with_circusd(root: str) -> None:
    engine = FakeEngine(make_watcher("web"))
    with FakeCircusd(engine, root) as circusd:
        listening = Listening(Client(root), ["watcher."])
        circusd.call(lambda: say(engine.bus, "a", "b", watcher="Ä"))
        heard = listening.read()
        while len(heard) < 2:
            heard += listening.read()
        assert [(each["watcher"], each["event"]) for each in heard] == [("Ä", "a"), ("Ä", "b")]
        assert heard[-1]["id"] == listening.last_id
        assert listening.receive() == []
    with pytest.raises(CircusError, match="it has left"):
        listening.read()
    listening.close()


def test_a_listener_who_does_not_read_does_not_hold_up_the_end(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CLOSE_TIMEOUT_S", 1000.0)
    engine = FakeEngine(make_watcher("web"))
    with FakeCircusd(engine, root) as circusd:
        listening = Listening(Client(root))
        for _ in range(20):  # far more than the socket holds
            circusd.call(lambda: [engine.bus.publish(Event(1.0, "w", "x", {"text": "x" * 4000})) for _ in range(500)])
        assert Client(root).get("/v1/version")["name"] == "default"
    assert not circusd._thread.is_alive()
    listening.close()


def test_a_refusal_is_told_as_everywhere(root: str) -> None:
    with FakeCircusd(FakeEngine(), root), pytest.raises(CircusError, match="is no id of an event"):
        Listening(Client(root), last_id="nonsense")


def test_what_is_no_feed_is_said() -> None:
    listening = Listening.__new__(Listening)
    listening._path, listening._parser = "x", sse.Parser()
    for data in (b"data: {\n\n", b"data: 7\n\n", b"data: \xff\n\n"):
        with pytest.raises(CircusError, match="is no event"):
            listening._parse(data)


def test_who_listens_is_told_at_once_and_then_after_a_pause_of_all_that_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "PAUSE_OF_EACH_S", 3600.0)

    async def scenario(bus: Bus, feed: Feed) -> None:
        ear = Ear(feed.listen())
        await ear.hear()
        say(bus, "first")
        assert names_of(await ear.hear()) == ["first"]
        say(bus, "second")
        say(bus, "third")
        assert await ear.hear() == []
        feed.close()
        assert names_of(await ear.hear()) == ["second", "third"]
        assert feed._later is None

    play(scenario)
