"""What a circusd in the foreground says to whoever started it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from circus.control import endpoints
from circus.daemon import greeting
from circus.engine.view import EngineView
from circus.supervise.states import SlotState, WatcherState, WatcherView
from circus.testing.circusd import make_slot, make_watcher

START = 1000.0


def view(*watchers: WatcherView, **changes: Any) -> EngineView:
    facts: dict[str, Any] = {
        "name": "default",
        "pid": 7,
        "started_at": START,
        "config": "/srv/circus.ini",
        "watchers": watchers,
        "sockets": (),
        "kernel": {"pid": 8},
        "foreign": (),
        "drift": {},
        "by_hand": {},
        "warnings": (),
    }
    return EngineView(**{**facts, **changes})


def watcher(name: str, *started: float, **changes: Any) -> WatcherView:
    slots = tuple(make_slot(wid, pid=100 + wid, started_at=at) for wid, at in enumerate(started, 1))
    return make_watcher(name, len(slots), **{"slots": slots, **changes})


def told(lines: list[str]) -> list[str]:
    return [" ".join(line.split()) for line in lines]


def test_it_says_which_one_it_is_what_it_found_and_what_comes_next() -> None:
    seen = view(
        watcher("web", START - 5, START - 9, START + 1),
        watcher("db", START - 1),
        foreign=({"name": "circus.old.1"},),
        warnings=("papa is inside circus.service",),
    )
    lines = told(greeting.first_lines(seen, "/x/circus-two.sock", ["https://10.0.0.5:8443"], is_new=False))
    assert lines[0].endswith(" takes commands: default, pid 7")
    assert lines[1:] == [
        "configuration /srv/circus.ini",
        "control /x/circus-two.sock",
        "listening https://10.0.0.5:8443",
        "papa found, pid 8",
        "adopted 3 processes: web (2), db (1)",
        "foreign 1 of other configurations, left alone: circus.old.1",
        "warning papa is inside circus.service",
        "next circusctl --endpoint /x/circus-two.sock status -v",
    ]


def test_who_found_nothing_is_brief_and_the_default_circusd_needs_no_endpoint() -> None:
    lines = told(greeting.first_lines(view(), endpoints.resolve(None), [], is_new=True))
    assert lines[3:] == ["papa started, pid 8", "next circusctl status -v"]
    named = greeting.first_lines(view(), endpoints.resolve("shop"), [], is_new=True)
    assert told(named)[-1] == "next circusctl --endpoint shop status -v"


def test_all_that_came_up_is_counted() -> None:
    seen = view(watcher("web", START - 5, START + 1), watcher("db", START), watcher("off", wants_up=False))
    lines = told(greeting.last_lines(seen, endpoints.resolve(None), 0.44))
    assert lines == ["circusd: all is up after 0.4 s", "started 2 processes: web (1), db (1)", "stopped off"]


def test_what_did_not_come_up_is_told_with_its_reason_and_where_to_look() -> None:
    failing = make_slot(1, state=SlotState.BACKOFF, reason="ended with status 3")
    starting = make_slot(1, state=SlotState.STARTING, pid=9, started_at=START)
    seen = view(
        watcher("mail sender", slots=(failing,), state=WatcherState.STARTING),
        watcher("slow", slots=(starting,), state=WatcherState.STARTING),
        watcher("again", slots=(make_slot(1, pid=9, started_at=START + 1, last_status=-9),)),
        watcher("kept", slots=(make_slot(1, pid=9, started_at=START - 1, last_status=-9),)),
        watcher("job", state=WatcherState.STOPPED, reason="waits for its time"),
    )
    assert told(greeting.last_lines(seen, endpoints.resolve(None), 10.0)) == [
        "circusd: not all is well after 10.0 s",
        "started 2 processes: slow (1), again (1)",
        "failed mail sender: ended with status 3",
        "failed again: ended with status -9",
        "on the way slow",
        "next circusctl status -v; circusctl logs 'mail sender'",
    ]


def test_many_names_are_cut() -> None:
    seen = view(*(watcher(f"w{number}", START) for number in range(11)))
    assert told(greeting.last_lines(seen, "", 1.0))[1].endswith("w7 (1) and 3 more")


def test_nobody_is_greeted_in_the_background(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with open(os.devnull, "w") as nobody:
        monkeypatch.setattr("sys.stderr", nobody)
        assert not greeting._is_heard()
    monkeypatch.setattr("sys.stderr", None)
    assert not greeting._is_heard()


def test_nothing_that_a_terminal_obeys_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    greeting._say(["circusd \x1b[31mred", "kö"])
    assert capsys.readouterr().err == "circusd \\x1b[31mred\nkö\n"
