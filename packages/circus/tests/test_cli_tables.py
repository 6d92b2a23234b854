"""What people at a terminal see: tables that fit, with what is wrong in front."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import circus
from circus.circusctl import main
from circus.cli import columns, painting, tables, terminal
from circus.cli.words import COMMANDS
from circus.supervise.states import SlotState, WatcherState
from circus.testing.circusd import FakeCircusd, FakeEngine, make_slot, make_watcher

Ctl = Callable[[str], list[str]]

FACTS = {
    "cmdline": "sleep",
    "username": "root",
    "nice": 0,
    "mem_info1": "1.52M",
    "mem_info2": "5.00M",
    "cpu": 0.0,
    "mem": 0.01,
    "ctime": "0:00.00",
    "age": 75.2,
}


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(make_watcher("web", 2), make_watcher("db"))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("CIRCUSCTL_ENDPOINT", f"{tmp_path}/c.sock")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return f"{tmp_path}/c.sock"


@pytest.fixture
def ctl(engine: FakeEngine, path: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Ctl]:
    def run(line: str) -> list[str]:
        capsys.readouterr()
        assert main(["--table", *line.split()]) == 0
        return capsys.readouterr().out.splitlines()

    with FakeCircusd(engine, path):
        yield run


def timeless(lines: list[str]) -> list[str]:
    return [re.sub(r"\b\d+s$", "0s", line) for line in lines]


# Status -----------------------------------------------------------------------------------------------------


def test_a_status_says_how_many_run_and_since_when(ctl: Ctl) -> None:
    assert timeless(ctl("status")) == [
        "NAME  STATE   PROCESSES  PIDS         UPTIME",
        "db    active        1/1  11981            0s",
        "web   active        2/2  13181 13182      0s",
        "2 watchers, all as they should be",
    ]
    assert timeless(ctl("status WEB")) == [
        "NAME  STATE   PROCESSES  PIDS         UPTIME",
        "web   active        2/2  13181 13182      0s",
    ]


def test_what_is_wrong_comes_first_and_its_reason_stands_below_it(ctl: Ctl, engine: FakeEngine) -> None:
    slots = (make_slot(1, pid=5), make_slot(2, state=SlotState.BACKOFF, reason="no such program: " + "x" * 90))
    engine.watchers["web"] = make_watcher("web", 2, slots=slots)
    engine.watchers["api"] = make_watcher("api", state=WatcherState.STOPPED, wants_up=False, slots=())
    engine.watchers["old"] = make_watcher("old", state=WatcherState.STOPPED, wants_up=False, reason="gave up", slots=())
    assert timeless(ctl("status")) == [
        "NAME  STATE    PROCESSES  PIDS   UPTIME",
        "old   stopped        0/1  -           -",
        "  gave up",
        "web   active         1/2  5          0s",
        "  web.2 backoff: no such program:",
        "    " + "x" * 76,
        "    " + "x" * 14,
        "api   stopped        0/1  -           -",
        "db    active         1/1  11981      0s",
        "4 watchers, 2 not as they should be: old, web",
    ]


def test_a_verbose_status_has_a_row_for_every_process_and_what_is_not_as_the_file_has_it(
    ctl: Ctl, engine: FakeEngine
) -> None:
    slots = (make_slot(1, pid=5, health="unhealthy"), make_slot(2, state=SlotState.EXITED, last_status=-9))
    engine.watchers["web"] = make_watcher("web", 2, slots=slots)
    engine.view = {
        "by_hand": {"web": "set by hand: cmd", "gone": "removed by hand"},
        "drift": {"web": "args"},
        "foreign": ({"name": "circus.x.1", "pid": 812},),
    }
    lines = timeless(ctl("status -v"))
    assert lines[:8] == [
        "NAME     STATE    PROCESSES  PIDS   UPTIME",
        "web      active         1/2  5          0s",
        "  drift: args",
        "  set by hand: cmd",
        "  web.1  running             5          0s",
        "    unhealthy",
        "  web.2  exited              -           -",
        "    killed by signal 9",
    ]
    assert "removed by hand: gone" in lines
    assert "foreign: circus.x.1 pid 812" in lines


def test_many_pids_are_counted_and_the_row_fits(ctl: Ctl, engine: FakeEngine) -> None:
    slots = tuple(make_slot(wid, pid=4_000_000 + wid) for wid in range(1, 501))
    engine.watchers = {"a-watcher-with-a-name-that-is-too-long-for-a-terminal": make_watcher("w", 500, slots=slots)}
    engine.watchers = {"w" * 60: make_watcher("w" * 60, 500, slots=slots)}
    lines = ctl("status")
    assert "500/500" in lines[1]
    assert max(map(len, lines)) <= 80
    assert "…" in lines[1]


def test_a_name_that_a_terminal_would_obey_is_harmless_and_wide_letters_keep_the_columns(
    ctl: Ctl, engine: FakeEngine
) -> None:
    engine.watchers = {name: make_watcher(name) for name in ("\x1b[2Jx", "日本", "e\u0301t\u0301e")}
    lines = ctl("status")
    assert all(line.isprintable() for line in lines)
    at = {columns.width_of(line[: line.index("active")]) for line in lines[1:4]}
    assert at == {6}  # as wide as NAME, and a gap


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal(width: int, ctl: Ctl, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    many = "an option with a long value " * 20
    engine.changed["web"] = {"cmd": many, "args": "y" * 300}
    engine.ends["web"] = [{"at": 1.0, "wid": 1, "pid": 4711, "ran_s": 192.4, "reason": many}]
    engine.infos = {"web": {7: {**FACTS, "pid": 7, "cmdline": "c" * 200}, 9: "No such process (stopped?)"}}
    engine.told_of = {
        "ops": {
            "target": "https://hooks.example/" + "p" * 90,
            **dict.fromkeys(("sent", "failed", "dropped", "collapsed", "waiting"), 2),
            "error": "",
        }
    }
    for line in ("options web", "exits web", "stats", "status -v", "notify list", "list", "version", "globaloptions"):
        drawn = ctl(line)
        assert max(map(len, drawn)) <= width, line
        assert drawn[0].isupper()


# Others -----------------------------------------------------------------------------------------------------


def test_long_values_go_on_below_themselves(ctl: Ctl, engine: FakeEngine) -> None:
    engine.changed["web"] = {"cmd": "word " * 30 + "end"}
    assert ctl("options web") == [
        "OPTION        VALUE",
        "cmd           " + "word " * 12 + "word",
        "              " + "word " * 12 + "word",
        "              " + "word " * 4 + "end",
        "env           A=***,B=***",
        "numprocesses  2",
    ]
    assert ctl("get * numprocesses")[1:] == ["db       numprocesses  1", "web      numprocesses  2"]


def test_names_and_pids_are_columns(ctl: Ctl) -> None:
    assert ctl("list") == ["NAME", "db", "web"]
    assert ctl("list web db") == ["NAME    PID", "web   13181", "web   13182", "db    11981"]


def test_figures_stand_below_each_other_and_children_are_indented(ctl: Ctl, engine: FakeEngine) -> None:
    engine.infos = {"web": {7: {**FACTS, "pid": 7, "children": [{**FACTS, "pid": 8}], "queue": 3}}}
    assert ctl("stats") == [
        "WATCHER  PID  CPU%  MEM%    RSS   VIRT     TIME    AGE  USER  COMMAND",
        "web        7   0.0  0.01  1.52M  5.00M  0:00.00  1m15s  root  sleep",
        "           8   0.0  0.01  1.52M  5.00M  0:00.00  1m15s  root    sleep",
        "                                                                queue: 3",
    ]
    engine.daemon_info = {**FACTS, "pid": 4, "cmdline": "circusd"}
    assert " ".join(ctl("dstats")[1].split()) == "circusd 4 0.0 0.01 1.52M 5.00M 0:00.00 1m15s root circusd"


def test_ends_and_sockets_and_orders_are_tables(ctl: Ctl, engine: FakeEngine) -> None:
    at = 1_700_000_000.0
    engine.ends["web"] = [{"at": at, "wid": 1, "pid": 4711, "ran_s": 192.4, "reason": "ended with status 3"}]
    ended = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    assert ctl("exits web") == [
        "ENDED                PROCESS   PID  AFTER  HOW",
        f"{ended}  web.1    4711  3m12s  ended with status 3",
    ]
    assert ctl("exits db") == ["none is known"]
    engine.view = {"sockets": ({"name": "a", "fd": 9, "host": "127.0.0.1", "port": 80, "backlog": 5},)}
    assert ctl("listsockets") == ["FD  NAME  BACKLOG  ADDRESS", " 9  a           5  127.0.0.1:80"]
    assert ctl("operations") == ["none is known"]
    ctl("stop web")
    assert ctl("operations")[1].split()[3:] == ["done", "uid", str(os.getuid()), "stop", "web"]
    assert ctl("version")[1].split() == ["circusctl", circus.__version__, "-", "-", "-"]


def test_runs_of_jobs_are_a_table(ctl: Ctl, engine: FakeEngine) -> None:
    run = {
        "due": 60.0, "by_hand": True, "state": "failed", "started_at": 61.0, "ended_at": 73.0, "pid": 9, "status": 3,
        "signal": None, "reason": "ended with status 3", "count": 1,
    }  # fmt: skip
    job = {"schedule": "x", "timezone": None, "next_run": 120.0, "waiting": 0, "current": None, "last": run}
    engine.view = {"jobs": {"web": job}}
    engine.ran["web"] = [run]
    heads, first, second = ctl("runs web")
    assert heads.split() == ["JOB", "DUE", "STATE", "PID", "TOOK", "WHY"]
    assert first.endswith("  failed    9   12s  by hand; ended with status 3")
    assert second.endswith("  next      -     -  -")


def test_every_table_is_of_a_command() -> None:
    assert tables.OF.keys() <= COMMANDS.keys()


# Colours and terminals --------------------------------------------------------------------------------------


def test_states_have_colours_at_a_terminal_and_json_has_none(engine: FakeEngine, path: str) -> None:
    engine.watchers["web"] = make_watcher("web", state=WatcherState.STOPPED, wants_up=False, slots=())
    with FakeCircusd(engine, path):
        lines = at_a_terminal("status").splitlines()
        assert "\x1b[1mNAME\x1b[0m" in lines[0]
        assert "\x1b[32mactive\x1b[0m" in lines[1]
        assert "\x1b[2mstopped\x1b[0m" in lines[2]
        assert "\x1b" not in at_a_terminal("--color", "never", "status")
        assert "\x1b" not in at_a_terminal("--json", "status")
        assert "\x1b" not in at_a_terminal("--json", "--color", "always", "status")


def at_a_terminal(*words: str) -> str:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "circus.circusctl", *words]
    told = b""
    with open(leader, "rb", buffering=0) as seen, subprocess.Popen(command, stdout=follower):
        os.close(follower)
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more
            while more := seen.read(65536):
                told += more
    return told.decode()


def test_a_terminal_is_told_what_scripts_are_not(ctl: Ctl, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    assert capsys.readouterr().out == "db: active\nweb: active\n"


def test_colours_that_are_known_are_those_that_terminals_have() -> None:
    painter = terminal.Terminal(has_colour=True)
    for state in painting.COLOURS:
        assert painter.paint(state, *painting.COLOURS[state]).startswith("\x1b[")
