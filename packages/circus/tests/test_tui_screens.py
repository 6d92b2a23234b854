"""Every screen of circus-top, and every order that it gives, in front of a circusd without processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs
from packages.circus.tests.screens import LARGE, SMALL, Stage, play, play_alone

from circus.bus import Event
from circus.engine.samples import Use
from circus.errors import CircusError
from circus.supervise import events
from circus.supervise.states import SlotKey, SlotState, WatcherState
from circus.testing.circusd import FakeCircusd, FakeEngine, make_slot, make_watcher
from circus.tui import explaining, orders, watching

WEB_PID = make_watcher("web", 3).slots[0].pid


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((watching, "GAP_S"), (watching, "SAMPLE_S"), (watching, "FIRST_PAUSE_S")):
        monkeypatch.setattr(module, name, 0.02)
    monkeypatch.setattr(watching, "MOST_PAUSE_S", 0.1)
    monkeypatch.setattr(explaining, "AGAIN_S", 0.05)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "circus-fake.sock")


def house(**view: object) -> FakeEngine:
    """A watcher that is well, one that waits for its next attempt, and one that is down."""
    waiting = make_slot(
        1, state=SlotState.BACKOFF, reason="ended with status 3, the 2nd failure; next attempt after 4 s"
    )
    down = structs.replace(make_watcher("old"), state=WatcherState.STOPPED, wants_up=False, slots=())
    return FakeEngine(make_watcher("web", 3), make_watcher("mail", slots=(waiting,)), down, **view)


def change(circusd: FakeCircusd, *watchers: object) -> None:
    """The watchers are so from now on, and it is told."""

    def tell() -> None:
        for watcher in watchers:
            circusd.engine.watchers[watcher.name] = watcher
        circusd.engine.bus.publish(Event(time.time(), "web", "spawn"))

    circusd.call(tell)


def names(stage: Stage) -> list[str]:
    return [line.lstrip(">").split()[0] for line in stage.app.screen.lister.texts() if line.strip()]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_is_wrong_stands_first_with_why(path: str, size: tuple[int, int]) -> None:
    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        await stage.sees("1 in trouble", "3 watchers, 4 slots", "2 warnings", "mail: ended with status 3")
        assert names(stage) == ["mail", "web", "old"]
        await stage.sees("backoff    ended with status 3", "3/3")

    play(house(warnings=("one", "two")), path, scenario, size=size)


def test_what_fails_later_comes_up_and_the_cursor_stays_at_its_row(path: str) -> None:
    async def scenario(stage: Stage, circusd: FakeCircusd) -> None:
        await stage.sees("web", "old")
        await stage.press("end")
        await stage.sees(">old")
        change(circusd, make_watcher("old", slots=(make_slot(1, state=SlotState.FATAL, reason="it gave up"),)))
        await stage.sees("2 in trouble", "failed     it gave up", ">old")
        assert names(stage) == ["old", "mail", "web"]

    play(house(), path, scenario)


def test_processor_and_memory_are_drawn_as_they_are_used(path: str) -> None:
    engine = house()
    key, pid = SlotKey("web", 1), int(WEB_PID or 0)

    async def scenario(stage: Stage, circusd: FakeCircusd) -> None:
        now = time.time()
        for back in (12, 8, 4):
            use = Use(key, pid, (12 - back) / 2, 3 * 1024 * 1024)
            circusd.call(lambda back=back, use=use: engine.figures.samples.add(now - back, [use]))
        await stage.sees("50.0", "3.0M", "▁██", "███")

    play(engine, path, scenario)


def test_nobody_looks_at_figures_while_none_are_shown(path: str) -> None:
    engine = house()
    looks: list[float] = []

    async def look() -> None:
        looks.append(time.time())

    engine.figures.look = look  # type: ignore[method-assign]

    async def scenario(stage: Stage, circusd: FakeCircusd) -> None:
        await stage.until(lambda: len(looks) > 2, "it is looked")
        await stage.press("question_mark")
        await stage.sees("Nothing is ordered before")
        board = stage.app.screen
        before = len(looks)
        # One may have been under way; after that, none, however often the screen is drawn anew.
        for count in (4, 5, 6):
            change(circusd, make_watcher("web", count))
            await stage.sees(f"{count + 1} slots")
        assert stage.app.screen is board
        assert len(looks) <= before + 1

    play(engine, path, scenario)


def test_rows_are_sorted_filtered_and_grouped(path: str) -> None:
    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        await stage.sees("by trouble, watchers")
        await stage.press("5")
        await stage.until(lambda: names(stage) == ["mail", "old", "web"], "sorted by name")
        await stage.press("5")
        await stage.until(lambda: names(stage) == ["web", "old", "mail"], "the other way round")
        await stage.press("home", "enter")
        await stage.until(lambda: names(stage) == ["web", "web.3", "web.2", "web.1", "old", "mail"], "web is open")
        await stage.press("g")
        await stage.until(lambda: names(stage) == ["web.3", "web.2", "web.1", "old", "mail.1"], "processes alone")
        await stage.press("slash")
        await stage.sees("Enter: go on")
        await stage.press(*"WEB.2")
        await stage.sees("1 found")
        await stage.press("enter")
        await stage.sees("filter: WEB.2")
        assert names(stage) == ["web.2"]
        await stage.press("escape")
        await stage.misses("filter:")
        assert len(names(stage)) == 5

    play(house(), path, scenario)


ORDERS: list[tuple[str, list[str], str, Callable[[FakeEngine], bool]]] = [
    ("r", [], "circusctl restart web", lambda engine: any(isinstance(each, events.Restart) for each in engine.heard)),
    ("R", [], "circusctl reload web", lambda engine: any(isinstance(each, events.Reload) for each in engine.heard)),
    ("s", [], "circusctl stop web", lambda engine: not engine.watchers["web"].wants_up),
    ("S", [], "circusctl start web", lambda engine: any(isinstance(each, events.Start) for each in engine.heard)),
    ("plus", [], "circusctl incr web", lambda engine: engine.watchers["web"].numprocesses == 4),
    ("minus", [], "circusctl decr web", lambda engine: engine.watchers["web"].numprocesses == 2),
    ("c", ["7", "enter"], "circusctl numprocesses web 7", lambda e: e.watchers["web"].numprocesses == 7),
    ("k", ["enter"], "circusctl signal web HUP", lambda e: ("signal", "web", 1, None, False, False) in e.heard),
]  # fmt: skip


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize(("key", "typed", "line", "is_done"), ORDERS, ids=[each[2] for each in ORDERS])
def test_an_order_is_shown_as_the_line_of_circusctl_and_given_after_a_yes(
    path: str, size: tuple[int, int], key: str, typed: list[str], line: str, is_done: Callable[[FakeEngine], bool]
) -> None:
    engine = FakeEngine(make_watcher("web", 3))

    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        await stage.sees(">web")
        await stage.press(key)
        if typed:
            await stage.sees("Enter: go on")
            await stage.press(*typed)
        await stage.sees(line, "y: do it")
        assert not is_done(engine)
        await stage.press("y")
        await stage.sees(f"{line}: {'3 got it' if key == 'k' else 'done'}")
        assert is_done(engine)

    play(engine, path, scenario, size=size)


def test_a_no_orders_nothing(path: str) -> None:
    engine = house()

    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        await stage.sees(">mail")
        for answer in ("n", "escape"):
            await stage.press("s")
            await stage.sees("y: do it")
            await stage.press(answer)
            await stage.misses("y: do it")
        await stage.press("k")
        await stage.sees("which signal")
        await stage.press("escape")
        await stage.misses("which signal")
        assert not [each for each in engine.heard if not (isinstance(each, tuple) and each[0] == "stats")]

    play(engine, path, scenario)


def test_at_a_process_a_signal_is_for_it_alone(path: str) -> None:
    engine = FakeEngine(make_watcher("web", 3))

    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        await stage.sees(">web")
        await stage.press("enter", "down", "k")
        await stage.sees(f"circusctl --endpoint shop signal web {WEB_PID} HUP")
        await stage.press("enter")
        await stage.sees("y: do it")
        await stage.press("y")
        await stage.sees("1 got it")
        assert ("signal", "web", 1, WEB_PID, False, False) in engine.heard

    play(engine, path, scenario, endpoint="shop")


def test_what_is_typed_wrongly_is_said_and_goes_no_further(path: str) -> None:
    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        await stage.sees(">web")
        await stage.press("c")
        await stage.sees("how many processes")
        await stage.press("x", "enter")
        await stage.sees("'x' is no number of processes")
        await stage.press("backspace", "4", "enter")
        await stage.sees("circusctl numprocesses web 4", "y: do it")

    play(FakeEngine(make_watcher("web", 3)), path, scenario)


def test_what_a_cat_on_the_keys_types_is_no_number() -> None:
    with pytest.raises(CircusError, match="is no number of processes"):
        orders.order(orders.BY_WORD["numprocesses"], orders.Target("web"), said="9" * 5000)
    told = orders.order(orders.BY_WORD["signal"], orders.Target("web"), said="9" * 5000)
    assert told.body["signum"] == "9" * 5000  # circusd says that there is no such signal


def test_an_order_that_is_under_way_is_followed_to_its_end(path: str) -> None:
    engine = house()

    async def scenario(stage: Stage, circusd: FakeCircusd) -> None:
        import asyncio

        engine.gate = gate = asyncio.Event()
        await stage.sees(">mail")
        await stage.press("s")
        await stage.sees("y: do it")
        await stage.press("y")
        await stage.sees("circusctl stop mail: ", " of 1 watchers")
        circusd.call(gate.set)
        await stage.sees("circusctl stop mail: done")

    play(engine, path, scenario)


def test_what_circusd_refuses_and_what_fails_is_said(path: str) -> None:
    engine = house()

    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        async def refuse(*_: object, **__: object) -> int:
            raise CircusError("forbidden", "a viewer may not signal", "ask an operator")

        engine.signal = refuse  # type: ignore[method-assign]
        engine.refusal = "mail: it does not end"
        await stage.sees(">mail")
        await stage.press("k")
        await stage.sees("which signal")
        await stage.press("enter")
        await stage.sees("y: do it")
        await stage.press("y")
        await stage.sees("a viewer may not signal (ask an operator)")
        await stage.press("s")
        await stage.sees("y: do it")
        await stage.press("y")
        await stage.sees("circusctl stop mail: mail: it does not end")

    play(engine, path, scenario)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_the_palette_has_all_commands_with_their_lines_and_carries_one_out(path: str, size: tuple[int, int]) -> None:
    engine = FakeEngine(make_watcher("web", 3))

    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        await stage.sees(">web")
        await stage.press("colon")
        await stage.sees("circusctl restart web", "circusctl numprocesses web N", "circusctl logs -f web")
        await stage.press(*"help")
        await stage.misses("circusctl restart web")
        await stage.press("enter")
        await stage.sees("Nothing is ordered before")
        await stage.press("escape")
        await stage.sees(">web")
        await stage.press("colon")
        await stage.sees("circusctl logs -f web")
        await stage.press(*"restart", "enter")
        await stage.sees("circusctl restart web", "y: do it")
        await stage.press("y")
        await stage.sees("circusctl restart web: done")

    play(engine, path, scenario, size=size)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_why_shows_what_is_wanted_what_is_and_how_it_ended(path: str, size: tuple[int, int]) -> None:
    engine = house()
    engine.whys["mail"] = {"well": False, "next": {"at": None, "what": "nothing before the port is free"}}
    end = {
        "at": time.time(), "watcher": "mail", "wid": 1, "pid": 4711, "started_at": time.time() - 3, "ran_s": 3.0,
        "status": 3, "signal": None, "ordered": False, "reason": "ended with status 3",
    }  # fmt: skip
    engine.ends["mail"] = [end]

    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        await stage.sees(">mail")
        await stage.press("w")
        await stage.sees("circusctl why mail", "mail is not as it is wanted", "nothing before the port is free")
        await stage.sees("pid 4711 after 3s: ended with status 3")
        await stage.press("l")
        await stage.sees("log of mail")
        await stage.press("escape")
        await stage.misses("log of mail")
        await stage.press("escape")
        await stage.misses("circusctl why mail")

    play(engine, path, scenario, size=size)


def test_warnings_are_shown_when_asked_for(path: str) -> None:
    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        await stage.sees("1 warning")
        await stage.press("W")
        await stage.sees("the disk of web.log is full")

    play(house(warnings=("the disk of web.log is full",)), path, scenario)


def test_without_colours_letters_keep_those_of_the_terminal(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def scenario(stage: Stage, _circusd: FakeCircusd) -> None:
        await stage.sees(">mail")
        (filter,) = [each for each in stage.app._filters if type(each).__name__ in ("NoColor", "Monochrome")]
        assert type(filter).__name__ == "NoColor"

    play(house(), path, scenario)


def test_over_an_end_of_circusd_the_screen_stays_and_goes_on_with_the_next_one(path: str) -> None:
    async def scenario(stage: Stage) -> None:
        with FakeCircusd(house(), stage.path):
            await stage.sees(">mail", "1 in trouble")
        await stage.sees("circusd is away since", "mail", "web")
        await stage.press("s")
        await stage.sees("y: do it")
        await stage.press("y")
        await stage.sees("circusctl stop mail: no circusd answers")
        with FakeCircusd(FakeEngine(make_watcher("web", 5)), stage.path):
            await stage.sees("all well", "1 watcher, 5 slots")
            await stage.misses("is away")

    play_alone(path, scenario)
