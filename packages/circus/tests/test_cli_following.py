"""Looking on: events as lines for people, and a status that goes on, also while circusd is away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs
from tests.house import wait_for
from tests.screens import Screen

from circus.bus import Event
from circus.circusctl import main
from circus.cli import events, listen, shades
from circus.cli.terminal import Terminal
from circus.control import listening
from circus.control.client import Client
from circus.errors import AWAY, CircusError
from circus.supervise.states import SlotState, WatcherState
from circus.testing.circusd import FakeCircusd, FakeEngine, make_slot, make_watcher

#: 2026-11-22 12:00 UTC
NOON = 1_795_348_800


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(make_watcher("web", 2), make_watcher("db"))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("CIRCUSCTL_ENDPOINT", f"{tmp_path}/c.sock")
    return f"{tmp_path}/c.sock"


def spawn(*words: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "circus.circusctl", *words]
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environ)


def happen(circusd: FakeCircusd, watcher: str, name: str, **fields: object) -> None:
    circusd.call(lambda: circusd.engine.bus.publish(Event(time.time(), watcher, name, fields)))


def stopped(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=30)[1]
    return process.returncode, err


@pytest.mark.parametrize("code", AWAY)
def test_whatever_a_circusd_says_that_leaves_the_next_one_is_waited_for(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([CircusError(code, "circusd leaves"), None])

    class Once:
        def __init__(self, *_: object, **_more: object) -> None:
            if (error := next(answers)) is not None:
                raise error

    monkeypatch.setattr(listening, "Listening", Once)
    monkeypatch.setattr(listen, "RETRY_S", 0.0)
    assert isinstance(listen._wait_for_next(Client("/none"), [], ""), Once)


# Events -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            {"topic": "watcher.web.reap", "watcher": "web", "event": "reap", "message": {"exit_code": 3, "wid": 1}},
            "-  web           reap        exit_code=3 wid=1",
        ),
        (
            {"topic": "circusd.x", "watcher": "", "event": "x", "message": {"reason": "a\nb", "n": None, "t": ""}},
            '-  circusd       x           reason="a b" n=null t=""',
        ),
        ({"topic": "watcher.web.start", "message": "odd"}, "-  circusd       watcher.web.start  said=odd"),
        (
            {"topic": "t", "watcher": "w" * 14, "event": "survivors", "message": {"time": NOON + 0.25}},
            "12:00:00.250  wwwwwwwwwwwwww  survivors",
        ),
    ],
)
def test_an_event_is_a_line_for_people(event: dict[str, object], said: str) -> None:
    assert events.line(event, Terminal(), NOON) == said


def test_events_have_colours_for_what_is_wrong_and_for_whom_they_are_about() -> None:
    event = {"topic": "t", "watcher": "web", "event": "fatal", "message": {"time": NOON}}
    shown = events.line(event, Terminal(has_colour=True), NOON)
    assert "\x1b[2m12:00:00.000\x1b[0m" in shown
    assert "\x1b[1;31mfatal\x1b[0m" in shown
    assert "\x1b[33mreap\x1b[0m" in events.line(
        {**event, "event": "reap", "message": {"exit_code": -9}}, Terminal(has_colour=True), NOON
    )


def test_events_of_a_watcher_are_asked_for_by_its_name_and_come_also_from_before(engine: FakeEngine, path: str) -> None:
    engine.bus.publish(Event(time.time() - 30, "My Web", "spawn", {"process_pid": 7}))
    engine.bus.publish(Event(time.time() - 3600, "My Web", "stop"))
    with FakeCircusd(engine, path) as circusd:
        process = spawn("events", "my web", "--since", "10m")
        assert process.stdout is not None
        assert process.stdout.readline().endswith("  My Web        spawn       process_pid=7\n")
        process.stdout.readline()  # younger in the ring, whatever its time is
        happen(circusd, "db", "spawn")
        happen(circusd, "My Web", "reap", exit_code=-9)
        assert process.stdout.readline().endswith("  My Web        reap        exit_code=-9\n")
        assert stopped(process)[0] == 130


def test_events_in_json_are_those_of_listen(engine: FakeEngine, path: str) -> None:
    with FakeCircusd(engine, path) as circusd:
        process = spawn("--json", "events", "watcher.web.start")
        wait_for(lambda: circusd.ops.listeners, "the listener")
        happen(circusd, "web", "stop")
        happen(circusd, "web", "start")
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["topic"] == "watcher.web.start"
        assert stopped(process)[0] == 130


def test_a_time_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], engine: FakeEngine, path: str) -> None:
    with FakeCircusd(engine, path):
        assert main(["events", "--since", "soon"]) == 2
    assert "'soon' is no time" in capsys.readouterr().err


# Status, again and again ------------------------------------------------------------------------------------


def test_into_a_pipe_go_the_changes(engine: FakeEngine, path: str) -> None:
    with FakeCircusd(engine, path) as circusd:
        process = spawn("status", "-f", "web", "d*")
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["db: active 1/1\n", "web: active 2/2\n"]
        slots = (make_slot(1, pid=5), make_slot(2, state=SlotState.BACKOFF, reason="no such program"))
        engine.watchers["web"] = make_watcher("web", 2, slots=slots)
        happen(circusd, "web", "reap")
        assert process.stdout.readline().endswith("  web: active 1/2: web.2 backoff: no such program\n")
        del engine.watchers["db"]
        happen(circusd, "db", "remove")
        assert process.stdout.readline().endswith("  db: removed\n")
        assert stopped(process) == (130, "circusctl: stopped waiting\n")


def test_it_goes_on_when_circusd_is_back(engine: FakeEngine, path: str) -> None:
    with FakeCircusd(engine, path):
        process = spawn("status", "-f", "WEB")
        assert process.stdout is not None
        assert process.stdout.readline() == "web: active 2/2\n"
    assert process.stdout.readline().endswith("  circusd is away\n")
    other = FakeEngine(make_watcher("web", 3))
    with FakeCircusd(other, path):
        assert process.stdout.readline().endswith("  circusd is back\n")
        assert process.stdout.readline().endswith("  web: active 3/3\n")
        assert stopped(process) == (130, "circusctl: stopped waiting\n")


def test_in_json_it_is_a_whole_status_for_each_change(engine: FakeEngine, path: str) -> None:
    with FakeCircusd(engine, path) as circusd:
        process = spawn("--json", "status", "-f")
        assert process.stdout is not None
        assert len(json.loads(process.stdout.readline())["watchers"]) == 2
        down = structs.replace(engine.watchers["web"], state=WatcherState.STOPPED, slots=())
        engine.watchers["web"] = down
        happen(circusd, "web", "stop")
        states = {each["name"]: each["state"] for each in json.loads(process.stdout.readline())["watchers"]}
        assert states == {"web": "stopped", "db": "active"}
        assert stopped(process)[0] == 130


def test_at_a_terminal_it_stands_in_place_and_the_last_picture_stays(engine: FakeEngine, path: str) -> None:
    with Screen() as screen:
        with FakeCircusd(engine, path) as circusd:
            process = spawn("status", "-f", "--color", "never", stdout=screen.end)
            os.close(screen.end)
            screen.until("2 watchers, all as they should be")
            assert screen.text.startswith("\x1b[?1049h")
            engine.watchers["web"] = make_watcher("web", 1, slots=(make_slot(1, state=SlotState.FATAL, reason="gone"),))
            happen(circusd, "web", "fatal")
            screen.until("1 not as they should be: web")
        screen.until("circusd is away since ")
        with FakeCircusd(engine, path):
            screen.text = ""
            screen.until("Ctrl-C ends")
            process.send_signal(signal.SIGINT)
            while screen.read():
                pass
    assert (process.wait(30), process.communicate()[1]) == (130, "circusctl: stopped waiting\n")
    last = screen.text.rpartition("\x1b[?1049l")[2]
    assert "web.1 fatal: gone" in last
    assert "Ctrl-C" not in last


def test_the_terminal_is_as_before_also_for_who_is_told_to_end(engine: FakeEngine, path: str) -> None:
    with Screen() as screen, FakeCircusd(engine, path):
        process = spawn("status", "-f", "--color", "never", stdout=screen.end)
        os.close(screen.end)
        screen.until("2 watchers, all as they should be")
        process.send_signal(signal.SIGTERM)
        while screen.read():
            pass
    assert (process.wait(30), process.communicate()[1]) == (143, "")
    assert "\x1b[?25h\x1b[?1049l" in screen.text


def test_there_must_be_a_circusd_and_watchers_to_begin_with(
    engine: FakeEngine, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "-f"]) == 1
    with FakeCircusd(engine, path):
        assert main(["status", "-f", "wbe"]) == 3
        assert main(["status", "-f", "x*"]) == 3
    assert "did you mean 'web'?" in capsys.readouterr().err


# Colours of what goes by --------------------------------------------------------------------------------------


def test_a_name_has_always_the_same_colour_and_its_neighbours_another_one() -> None:
    assert shades.colour_of("web.1") == shades.colour_of("web.1")
    assert len({shades.colour_of(f"web.{wid}") for wid in range(1, 6)}) == 5


def test_times_of_other_days_have_their_date() -> None:
    assert shades.clock(NOON + 0.0625, NOON) == "12:00:00.062"
    assert shades.clock(NOON - 86400, NOON) == "2026-11-21 12:00:00.000"


def test_a_line_says_whose_it_is_and_where_it_was_written() -> None:
    now = time.time()
    plain = Terminal()
    assert shades.log_line(plain, now, "web", 2, "stdout", "up") == f"{shades.clock(now, now)} web.2 | up"
    assert shades.log_line(plain, None, "web", 0, "stderr", "no") == "--:--:--.--- web ! no"
    assert shades.log_line(plain, None, "", 0, "", "?") == "--:--:--.--- | ?"


@pytest.mark.parametrize(
    ("text", "coloured", "plain"),
    [
        ("a\tb", "a\tb", "a\tb"),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m\x1b[0m", "red"),
        ("\x1b[2J\x07x\r", "\ufffd[2J\ufffdx\ufffd", "\ufffd[2J\ufffdx\ufffd"),
        ("\x1b]0;title\x07", "\ufffd]0;title\ufffd", "\ufffd]0;title\ufffd"),
    ],
)
def test_only_colours_of_a_program_reach_a_terminal(text: str, coloured: str, plain: str) -> None:
    assert shades.harmless(text, Terminal(has_colour=True)) == coloured
    assert shades.harmless(text, Terminal()) == plain
