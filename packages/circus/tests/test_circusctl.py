from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.house import wait_for

import circus
from circus.bus import Event
from circus.circusctl import main
from circus.cli import render
from circus.cli.words import COMMANDS
from circus.config.causes import Cause
from circus.config.model import Finding
from circus.config.plan import Item, Plan
from circus.supervise import events
from circus.supervise.states import SlotState, WatcherState
from circus.testing.circusd import FakeCircusd, FakeEngine, make_slot, make_watcher


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("CIRCUSCTL_ENDPOINT", raising=False)
    return str(tmp_path)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(make_watcher("web", 2), make_watcher("db", 1))


class Ctl:
    """Runs circusctl in this process; answers (exit status, standard output, standard error)."""

    def __init__(self, circusd: FakeCircusd, capsys: pytest.CaptureFixture[str]) -> None:
        self.circusd = circusd
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        status = main(words)
        out, err = self._capsys.readouterr()
        return status, out, err


@pytest.fixture
def ctl(engine: FakeEngine, root: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Ctl]:
    with FakeCircusd(engine, f"{root}/circus-default.sock") as circusd:
        yield Ctl(circusd, capsys)


def spawn(*words: str, **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "circus.circusctl", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,  # type: ignore[call-overload]
    )


# What is printed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "out"),
    [
        ("status", "db: active\nweb: active\n"),
        ("status web", "active\n"),
        ("status WEB", "active\n"),
        ("list", "db,web\n"),
        ("list web", "13181,13182\n"),
        ("start", "ok\n"),
        ("stop web", "ok\n"),
        ("stop web --waiting", "ok\n"),
        ("restart w* db", "ok\n"),
        ("reload web --terminate --sequential", "ok\n"),
        ("incr web", "3\n"),
        ("incr web 3", "5\n"),
        ("decr web", "1\n"),
        ("decr web 2 --waiting", "0\n"),
        ("numprocesses", "3\n"),
        ("numprocesses web", "2\n"),
        ("numprocesses web 7", "7\n"),
        ("numprocesses web db 4", "web: 4\ndb: 4\n"),
        ("numprocesses w* db", "web: 2\ndb: 1\n"),
        ("status web db", "db: active\nweb: active\n"),
        ("status W*", "web: active\n"),
        ("status --match regex w|d", "db: active\nweb: active\n"),
        ("list web db", "web: 13181,13182\ndb: 11981\n"),
        ("incr * 2", "db: 3\nweb: 4\n"),
        ("decr db WEB", "db: 0\nweb: 1\n"),
        ("rm * --nostop", "ok\n"),
        ("kill web db", "ok\n"),
        ("exits web db", "none is known\n"),
        ("get * numprocesses", "db:\n  numprocesses: 1\nweb:\n  numprocesses: 2\n"),
        ("numwatchers", "2\n"),
        ("signal web TERM", "ok\n"),
        ("signal web 13181 --children 9", "ok\n"),
        ("set web priority 3 cmd sleep", "ok\n"),
        ("add new sleep 60", "ok\n"),
        ("rm web --nostop", "ok\n"),
        ("forget web", "ok\n"),
        ("forget --all --dry-run", "nothing would be forgotten\n"),
        ("options web", "cmd: sleep 1\nenv: A=***,B=***\nnumprocesses: 2\n"),
        ("options web --reveal", "cmd: sleep 1\nenv: A=1,B=2\nnumprocesses: 2\n"),
        ("get web env", "env: A=***,B=***\n"),
        ("get web env --reveal", "env: A=1,B=2\n"),
        ("get web numprocesses cmd", "cmd: sleep 1\nnumprocesses: 2\n"),
        ("reloadconfig", "nothing changed\nok\n"),
        ("reloadconfig --plan", "nothing changes\n"),
        ("quit", "ok\n"),
        ("shutdown --waiting", "ok\n"),
        ("globaloptions check_delay", "check_delay: 5.0\n"),
        ("globaloptions use_papa", "use_papa: False\n"),
        ("listsockets", ""),
        ("stats", ""),
        ("--version", f"{circus.__version__}\n"),
    ],
)
def test_every_command_prints_what_scripts_expect(line: str, out: str, ctl: Ctl) -> None:
    assert ctl(*line.split()) == (0, out, "")


def test_the_version_command_tells_both_sides(ctl: Ctl) -> None:
    lines = ctl("version")[1].splitlines()
    assert lines[0] == f"circusctl {circus.__version__}"
    assert lines[1] == f"circusd {circus.__version__} (name default, pid {os.getpid()})"


@pytest.mark.parametrize(
    ("line", "heard"),
    [
        ("start", events.Start(1)),
        ("stop w* db", events.Stop(1, ("web", "db"))),
        ("restart --match simple WEB", events.Restart(1, ("web",))),
        ("restart --match regex w[aeiou]|x", events.Restart(1, ("web",))),
        ("reload", events.Reload(1, None, graceful=True)),
        ("reload web --terminate", events.Reload(1, ("web",), graceful=False)),
        ("reload --sequential web", events.Reload(1, ("web",), sequential=True)),
        ("incr web 2", events.SetCount(1, "web", delta=2)),
        ("decr web", events.SetCount(1, "web", delta=-1)),
        ("numprocesses web 0", events.SetCount(1, "web", count=0)),
        ("add new sleep 60", ("add", "new", {"cmd": "sleep", "args": "60"}, False)),
        ("add --start new python -u x.py --json", ("add", "new", {"cmd": "python", "args": "-u x.py --json"}, True)),
        ("add new --option uid=a=b --start --waiting sleep", ("add", "new", {"uid": "a=b", "cmd": "sleep"}, True)),
        (
            "add --option uid=1 --option gid=2 new -- -odd",
            ("add", "new", {"uid": "1", "gid": "2", "cmd": "-odd"}, False),
        ),
        ("add web", ("add", "web", {}, False)),
        ("rm web", ("remove", "web", False)),
        ("forget WE*", ("forget", ["web"], False)),
        ("forget --all --dry-run", ("forget", ["web", "db"], True)),
        ("rm WEB --nostop --waiting", ("remove", "web", True)),
        ("kill web", events.Kill(1, "web")),
        ("kill web 13181 --signum INT --graceful_timeout 0.5 --waiting", events.Kill(1, "web", 13181, 2, 0.5)),
        ("set WEB max_retry -1 --waiting", ("set", "web", {"max_retry": "-1"})),
        ("set web env A=1,B=2 stop_signal INT", ("set", "web", {"env.A": "1", "env.B": "2", "stop_signal": "INT"})),
        ("set web -- args -v", ("set", "web", {"args": "-v"})),
        ("signal web RTMIN+1 --recursive", ("signal", "web", int(signal.SIGRTMIN) + 1, None, False, True)),
        ("signal web --childpid 77 hup", ("signal", "web", 1, None, 77, False)),
        ("signal web 13181 hup", ("signal", "web", 1, 13181, False, False)),
        ("signal W* --match glob 9", ("signal", "web", 9, None, False, False)),
        ("stats --extended web 13181", ("stats", "web", 13181, True)),
        ("quit", "quit"),
        ("shutdown", "shutdown"),
        ("reloadconfig", "reloadconfig"),
        ("reloadconfig --plan", "plan"),
        ("reloadconfig --apply 3f2a9c81d07e --no-wait", ("reloadconfig", "3f2a9c81d07e")),
    ],
)
def test_every_command_orders_what_it_says(line: str, heard: object, ctl: Ctl) -> None:
    assert ctl(*line.split())[0] == 0
    assert ctl.circusd.engine.heard == [heard]


@pytest.mark.parametrize(
    ("line", "heard"),
    [
        ("incr web db 2", [events.SetCount(1, "web", delta=2), events.SetCount(2, "db", delta=2)]),
        ("rm WEB db", [("remove", "web", False), ("remove", "db", False)]),
        ("kill web 13182 13181 13182", [events.Kill(1, "web", 13182), events.Kill(2, "web", 13181)]),
        ("kill *", [events.Kill(1, "db"), events.Kill(2, "web")]),
        (
            "signal web 13181 13182 --children hup",
            [("signal", "web", 1, 13181, True, False), ("signal", "web", 1, 13182, True, False)],
        ),
        ("signal db web hup", [("signal", "db", 1, None, False, False), ("signal", "web", 1, None, False, False)]),
        ("stats web db", [("stats", "web", None, False), ("stats", "db", None, False)]),
        ("stats web 13181 13182", [("stats", "web", 13181, False), ("stats", "web", 13182, False)]),
    ],
)
def test_several_watchers_and_several_processes_are_named_in_one_command(
    line: str, heard: list[object], ctl: Ctl
) -> None:
    assert ctl(*line.split())[0] == 0
    assert ctl.circusd.engine.heard == heard


def test_several_answers_in_json_are_told_by_what_they_are_about(ctl: Ctl) -> None:
    answers = json.loads(ctl("--json", "incr", "web", "db")[1])["answers"]
    assert {name: answer["numprocesses"] for name, answer in answers.items()} == {"web": 3, "db": 2}
    assert json.loads(ctl("--json", "list", "*")[1])["answers"]["db"]["name"] == "db"
    told = json.loads(ctl("--json", "status", "web", "db")[1])
    assert [watcher["name"] for watcher in told["watchers"]] == ["web", "db"]


def test_a_name_with_odd_characters_reaches_its_watcher(ctl: Ctl) -> None:
    for name in ("a/b c", "ä?x=1&y", "100%", "#1"):
        ctl.circusd.engine.watchers = {name: make_watcher(name, 2)}
        assert ctl("numprocesses", name)[1] == "2\n"
        assert ctl("options", name)[0] == 0
        assert ctl("stats", name)[0] == 0
        assert ctl("incr", name)[1] == "3\n"
        assert ctl("stop", name)[0] == 0


def test_what_is_not_as_wanted_is_always_shown_below_its_watcher(ctl: Ctl) -> None:
    slots = (
        make_slot(1, pid=5, reason="looks odd"),
        make_slot(2, state=SlotState.BACKOFF, reason="no such\nprogram"),
        make_slot(3, state=SlotState.EXITED, last_status=-9),
        make_slot(4, state=SlotState.STOPPED),
        make_slot(5, state=SlotState.STOPPED, reason="a hook refused"),
    )
    stopped = make_watcher("db", state=WatcherState.STOPPED, wants_up=False, reason="gave up", slots=())
    ctl.circusd.engine.watchers = {"web": make_watcher("web", 5, slots=slots), "db": stopped}
    assert re.sub(r" for \w+:", ":", ctl("status")[1]).splitlines() == [
        "db: stopped",
        "  gave up",
        "web: active",
        "  web.1 running pid 5: looks odd",
        "  web.2 backoff: no such program",
        "  web.3 exited: killed by signal 9",
        "  web.5 stopped: a hook refused",
    ]
    assert ctl("status", "web")[1] == "active\n"
    verbose = ctl("status", "-v", "web")[1].splitlines()
    assert [line.split(" for ")[0] for line in verbose] == [
        "active",
        "  web.1 running pid 5",
        "  web.2 backoff: no such program",
        "  web.3 exited: killed by signal 9",
        "  web.4 stopped",
        "  web.5 stopped: a hook refused",
    ]


def test_a_verbose_status_tells_drift_and_what_is_foreign_and_warnings_go_to_standard_error(ctl: Ctl) -> None:
    ctl.circusd.engine.view = {
        "drift": {"web": "args"},
        "foreign": ({"name": "circus.x.1", "pid": 4},),
        "warnings": ("careful",),
    }
    _, out, err = ctl("status", "-v")
    assert "web: active\n  drift: args\n  web.1 running" in out
    assert out.endswith("foreign: circus.x.1 pid 4\n")
    assert err == "warning: careful\n"
    assert ctl("status")[1:] == ("db: active\nweb: active\n", "warning: careful\n")


def test_the_last_ends_of_processes_are_printed(ctl: Ctl) -> None:
    assert ctl("exits", "web")[1] == "none is known\n"
    ended = {"at": 1_700_000_000.0, "wid": 1, "pid": 4711, "ran_s": 192.4, "reason": "ended with status 3"}
    ctl.circusd.engine.ends["web"] = [ended, {**ended, "wid": 2}]
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1_700_000_000))
    lines = [f"{at} web.{wid} pid 4711 after 3m12s: ended with status 3\n" for wid in (1, 2)]
    assert ctl("exits", "WEB")[1] == "".join(lines)
    assert ctl("exits", "web", "-n", "1")[1] == lines[1]
    assert json.loads(ctl("exits", "web", "-n", "1", "--json")[1]) == {"name": "web", "exits": [{**ended, "wid": 2}]}
    assert ctl("exits", "web", "-n", "0")[0] == 2
    assert ctl("exits", "nope")[0] == 3


def test_what_is_forgotten_is_printed(ctl: Ctl) -> None:
    ctl("stop", "web")
    assert ctl("forget", "--all", "--dry-run")[1] == "web: stopped by hand\n"
    assert ctl("forget", "web", "db")[1] == "forgotten: web: stopped by hand\nok\n"
    assert ctl("status", "web")[1] == "active\n"
    answer = json.loads(ctl("--json", "forget", "--all")[1])
    assert answer == {"watchers": {}, "dry_run": False, "operation": answer["operation"]}


def test_a_verbose_status_tells_what_is_by_hand(ctl: Ctl) -> None:
    ctl.circusd.engine.view = {"by_hand": {"web": "set by hand: cmd", "old": "removed by hand"}}
    out = ctl("status", "-v")[1]
    assert "web: active\n  set by hand: cmd\n" in out
    assert out.endswith("removed by hand: old\n")
    assert ctl("status")[1] == "db: active\nweb: active\n"


def test_a_verbose_status_of_one_watcher_tells_as_much_of_it_as_that_of_all(ctl: Ctl) -> None:
    ctl.circusd.engine.view = {"by_hand": {"web": "set by hand: cmd"}, "drift": {"web": "args"}}
    assert ctl("status", "-v", "WEB")[1].startswith("active\n  drift: args\n  set by hand: cmd\n  web.1 running")
    assert ctl("status", "-v", "db")[1].startswith("active\n  db.1 running")


def test_the_figures_of_circusd_are_printed_as_the_ancestors_do_and_then_those_of_papa(ctl: Ctl) -> None:
    facts = {
        "username": "root",
        "nice": 0,
        "mem_info1": "9M",
        "mem_info2": "8M",
        "cpu": 0.5,
        "mem": 1,
        "ctime": "0:01.00",
    }
    ctl.circusd.engine.daemon_info = {"pid": 4, "cmdline": "circusd", "ctime": "0:01.00", **facts}
    out = "Main Process:\n   4  circusd root 0 9M 8M 0.5 1 0:01.00\npapa:\n   No such process (stopped?)\n"
    assert ctl("dstats") == (0, out, "")


def test_an_option_that_only_hooks_know_is_got_like_any(ctl: Ctl) -> None:
    assert ctl("set", "web", "stats_base_port", "8090")[0] == 0
    assert ctl("get", "web", "stats_base_port") == (0, "stats_base_port: 8090\n", "")


def test_the_status_of_an_earlier_circusd_is_understood(ctl: Ctl) -> None:
    answer = json.loads(ctl("--json", "status")[1])
    del answer["by_hand"]
    assert next(iter(render.status_lines(answer, 0.0, is_verbose=True))) == "db: active"


def test_what_is_odd_about_a_value_goes_to_standard_error(ctl: Ctl) -> None:
    ctl.circusd.engine.set_warnings = ["web: careful"]
    assert ctl("set", "web", "priority", "1") == (0, "ok\n", "warning: web: careful\n")


def test_only_a_verbose_status_lists_many_warnings(ctl: Ctl) -> None:
    ctl.circusd.engine.view = {"warnings": ("one", "two", "three")}
    assert ctl("status")[2] == "warning: one\nwarning: and 2 more; see `circusctl status -v`\n"
    assert ctl("status", "-v")[2] == "warning: one\nwarning: two\nwarning: three\n"


def test_statistics_are_a_line_per_process_and_children_are_indented(ctl: Ctl) -> None:
    facts = {
        "cmdline": "sleep",
        "username": "root",
        "nice": 0,
        "mem_info1": "1.52M",
        "mem_info2": "5.00M",
        "cpu": 0.0,
        "mem": 0.01,
        "ctime": "0:00.00",
    }
    child = {**facts, "pid": 8}
    told = {"wid": 1, "age": 2.0, "started": 1.0, "create_time": 1.0, "uwsgi": {"queue": 0, "\x1b[2J": "idle\n"}}
    ctl.circusd.engine.infos = {
        "web": {7: {**facts, "pid": 7, "children": [child], **told}, 9: "No such process (stopped?)"},
        "db": {},
    }
    text = "sleep root 0 1.52M 5.00M 0.0 0.01 0:00.00"
    assert ctl("stats")[1].splitlines() == [
        "web:",
        f"7: 7  {text}",
        f"   8  {text}",
        r'   uwsgi: {"queue": 0, "\u001b[2J": "idle\n"}',
        "9: No such process (stopped?)",
        "db:",
    ]


def test_sockets_are_listed_by_descriptor(ctl: Ctl) -> None:
    ctl.circusd.engine.view = {
        "sockets": (
            {"name": "b", "fileno": 10, "path": "/run/b"},
            {"name": "a", "fd": 9, "host": "127.0.0.1", "port": 80},
        )
    }
    assert ctl("listsockets")[1] == "9:socket 'a' at 127.0.0.1:80\n10:socket 'b' at /run/b\n"


def test_a_plan_is_told_to_who_wants_to_know(ctl: Ctl) -> None:
    web = Item("watcher", "web", "restart", (Cause("cmd", "a", "b", "/etc/c.ini", 3),))
    warnings = (Finding("c.ini", 1, "odd"), Finding("c.ini", 2, "queer"))
    ctl.circusd.engine.made = Plan("4711", items=(web, Item("watcher", "db", "keep")), warnings=warnings)
    done = "restarted  web\n             cmd: a -> b (/etc/c.ini:3)\nkept       db\nok\n"
    warned = "warning: c.ini:1: odd\nwarning: and 1 more; see `circusctl status -v`\n"
    assert ctl("reloadconfig") == (0, done, warned)
    assert ctl("reloadconfig", "-v") == (0, done, "warning: c.ini:1: odd\nwarning: c.ini:2: queer\n")
    assert ctl("reloadconfig", "--apply", "4711") == (0, done, warned)
    assert ctl("reloadconfig", "--quiet") == (0, "ok\n", warned)
    status, out, err = ctl("reloadconfig", "--plan")
    assert (status, err) == (0, "warning: c.ini:1: odd\nwarning: c.ini:2: queer\n")
    last = "to do it: circusctl reloadconfig --apply 4711\n"
    assert out == f"restart  web\n           cmd: a -> b (/etc/c.ini:3)\nkeep     db\n{last}"
    assert ctl("--endpoint", "default", "reloadconfig", "--plan")[1].endswith(
        "to do it: circusctl --endpoint default reloadconfig --apply 4711\n"
    )
    ctl.circusd.engine.made = Plan("4712", items=(Item("watcher", "db", "keep"),))
    assert ctl("reloadconfig", "--plan") == (0, "nothing changes\n", "")
    status, out, err = ctl("reloadconfig", "--apply", "4711")
    assert (status, out, err) == (3, "", "error: plan 4711 does not hold any more: web was stopped\n")
    assert ctl("reloadconfig", "--apply", "4711", "--plan")[0] == 2


def test_json_is_the_answer_on_one_line_wherever_the_option_stands(ctl: Ctl) -> None:
    before, after = ctl("--json", "status", "web"), ctl("status", "web", "--json")
    assert before[0] == after[0] == 0
    assert before[1].count("\n") == 1
    assert json.loads(before[1])["state"] == json.loads(after[1])["state"] == "active"
    assert json.loads(ctl("list", "--json", "--prettify")[1]) == {"watchers": ["db", "web"]}


def test_an_error_in_json_is_on_standard_output_and_keeps_its_exit_status(ctl: Ctl) -> None:
    status, out, err = ctl("--json", "status", "wbe")
    assert (status, err) == (3, "")
    assert json.loads(out) == {
        "error": {"code": "not-found", "message": "watcher 'wbe' not found", "hint": "did you mean 'web'?"}
    }
    assert json.loads(ctl("statis", "--json")[1])["error"]["code"] == "usage"


def test_nothing_that_a_terminal_obeys_is_printed(ctl: Ctl) -> None:
    slot = make_slot(1, state=SlotState.FATAL, reason="\x1b[2Jgone\r\n\x07x\u202e")
    ctl.circusd.engine.watchers = {"web": make_watcher("web", slots=(slot,))}
    out = ctl("status")[1]
    assert out.replace("\n", "").isprintable()


# How it ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status", "message", "hint"),
    [
        ("status wbe", 3, "watcher 'wbe' not found", "did you mean 'web'?"),
        ("stop x*", 3, "no watcher matches 'x*'", "there are: db, web"),
        ("restart --match regex x", 3, "no watcher matches x", "there are: db, web"),
        ("signal web NOPE", 3, "'NOPE' is no signal", "RTMIN+1"),
        ("signal web 1 TERM", 3, "web: 1 is none of its processes", "13181, 13182"),
        ("get web nope", 3, "web: 'nope' option not found", "circusctl options web"),
        ("numprocesses web -- -1", 3, "count: expected `int` >= 0", "bounds"),
        ("numprocesses web 99999999", 3, "count: expected `int` <= 10000", "bounds"),
        ("add", 2, "NAME", "circusctl add --help"),
        ("add new --option uid=1", 2, "CMD is missing", "circusctl add --help"),
        ("add new --option uid sleep", 2, "--option uid has no value", "KEY=VALUE"),
        ("add new --option uid=1 --option uid=2 sleep", 2, "--option uid is given twice", "KEY=VALUE"),
        ("rm nope", 3, "watcher 'nope' not found", "there are: db, web"),
        ("forget nope", 3, "watcher 'nope' not found", "there are: db, web"),
        ("forget", 2, "give either names of watchers or --all", "see `circusctl forget --help`"),
        ("forget web --all", 2, "give either names of watchers or --all", "see `circusctl forget --help`"),
        ("globaloptions nope", 3, "'nope' option not found", "there are: audit.file, check_delay, control"),
        ("restart --match regex (", 2, "no regular expression", ""),
        ("sttaus", 2, "unknown command 'sttaus'", "did you mean `circusctl status`?"),
        ("qqq", 2, "unknown command 'qqq'", "circusctl --help"),
        ("signal web", 2, "SIGNAL", "circusctl signal --help"),
        ("incr", 2, "NAME", "circusctl incr --help"),
        ("kill web 1", 3, "web: 1 is none of its processes", "13181, 13182"),
        ("kill web --graceful_timeout soon", 2, "soon", "circusctl kill --help"),
        ("set web", 2, "KEY VALUE", "circusctl set --help"),
        ("set web cmd", 2, "cmd has no value", "KEY VALUE"),
        ("set web uid 1 uid 2", 2, "twice", "once"),
        ("set web gracefull_timeout 3", 3, "web: unknown option gracefull_timeout", "did you mean graceful_timeout?"),
        ("incr web many", 3, "watcher 'many' not found", "there are: db, web"),
        ("status web wbe", 3, "watcher 'wbe' not found", "did you mean 'web'?"),
        ("signal web db 4711 HUP", 2, "pids are those of one watcher", "circusctl signal --help"),
        ("kill web db 4711", 2, "pids are those of one watcher", "circusctl kill --help"),
        ("kill * 4711", 2, "pids are those of one watcher", "in place of a pattern"),
        ("signal web 13181 4711 HUP", 3, "web: 4711 is none of its processes", "13181, 13182"),
        ("kill web 13181 4711", 3, "web: 4711 is none of its processes", "13181, 13182"),
        ("rm web nope", 3, "watcher 'nope' not found", "there are: db, web"),
        ("incr web nope 2", 3, "watcher 'nope' not found", "there are: db, web"),
        ("stats web db 4711", 2, "pids are those of one watcher", "circusctl stats --help"),
        ("status --nope", 2, "--nope", "circusctl status --help"),
        ("--nope status", 2, "--nope", "circusctl --help"),
        ("--timeout 0 status", 2, "more than 0", "circusctl --help"),
        ("--timeout 1e300 status", 2, "at most 31622400", "circusctl --help"),
        ("--timeout soon status", 2, "'soon' is no number of seconds", "circusctl --help"),
        ("--timeout", 2, "--timeout", "circusctl --help"),
        ("--timeout inf status", 2, "more than 0", "circusctl --help"),
        ("--endpoint a/b status", 2, "'a/b' is no endpoint", "unix:///path"),
        ("--endpoint nobody status", 1, "no circusd answers at", "circusd CONFIG"),
    ],
)
def test_a_failure_is_a_line_a_hint_and_an_exact_status(
    line: str, status: int, message: str, hint: str, ctl: Ctl
) -> None:
    got, out, err = ctl(*line.split())
    assert (got, out) == (status, "")
    lines = err.splitlines()
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert hint in "".join(lines[1:])
    assert len(lines) <= 2
    assert ctl.circusd.engine.heard == []


def test_a_refused_operation_is_told_with_its_reason(ctl: Ctl) -> None:
    ctl.circusd.engine.refusal = "web: cannot start: no such program"
    assert ctl("start", "web")[::2] == (
        3,
        "error: web: cannot start: no such program\n"
        "  hint: `circusctl status -v` shows the state now, the log of circusd how it came to it\n",
    )


def test_the_commands_are_listed_by_help(ctl: Ctl) -> None:
    status, out, err = ctl("--help")
    assert (status, err) == (0, "")
    assert out.startswith("usage: circusctl ")
    for command in COMMANDS:
        assert f"\n  {command} " in out
    assert ctl()[::2] == (2, "error: no command is given\n  hint: `circusctl --help` lists them\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_before_and_after_it(command: str, ctl: Ctl) -> None:
    status, out, _ = ctl("--help", *command.split())
    assert status == 0
    assert out.startswith(f"usage: circusctl {command} ")
    with pytest.raises(SystemExit) as caught:
        ctl(*command.split(), "--help")
    assert caught.value.code == 0


def test_the_endpoint_comes_from_the_option_else_the_environment(
    ctl: Ctl, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeCircusd(FakeEngine(name="other"), f"{root}/circus-other.sock"):
        monkeypatch.setenv("CIRCUSCTL_ENDPOINT", "other")
        assert "name other" in ctl("version")[1]
        assert "name default" in ctl("--endpoint", "default", "version")[1]
        assert "name default" in ctl("version", "--endpoint", f"unix://{root}/circus-default.sock")[1]
        monkeypatch.setenv("CIRCUSCTL_ENDPOINT", "tcp://127.0.0.1:5555")
        assert "name default" in ctl("version")[1]


def test_a_time_out_bounds_an_order_only_if_it_was_given(ctl: Ctl) -> None:
    ctl.circusd.engine.gate = gate = asyncio.Event()
    status, _, err = ctl("--timeout", "0.2", "stop")
    assert (status, err.startswith("error: Timed out. ")) == (1, True)
    timer = threading.Timer(0.05, lambda: ctl.circusd.call(gate.set))
    timer.start()
    assert ctl("stop")[0] == 0
    timer.join()


@pytest.mark.parametrize(
    ("words", "status"), [("list", 1), ("--help", 1), ("list --help", 1), ("--version", 1), ("--json nope", 2)]
)
def test_a_reader_that_left_is_no_traceback(words: str, status: int, ctl: Ctl) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "circus.circusctl", *words.split()],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"},
    )
    os.close(writing)
    assert (result.returncode, result.stderr) == (status, "")


def _in_a_shell(line: str, **environ: str) -> tuple[int, str, str]:
    line = line.replace("circusctl", f"{sys.executable} -m circus.circusctl")
    result = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, env={**os.environ, **environ})
    return result.returncode, result.stdout, result.stderr


def test_a_full_disk_is_told_in_one_line(ctl: Ctl) -> None:
    for command in ("list", "--help", "list --help", "--version"):
        status, _, err = _in_a_shell(f"circusctl {command} >/dev/full")
        assert status == 1
        assert err.startswith("error: standard output cannot be written: No space left on device\n  hint: ")
        assert len(err.splitlines()) == 2
    assert _in_a_shell("circusctl nope 2>/dev/full") == (2, "", "")


def test_closed_streams_change_neither_what_is_done_nor_the_status(ctl: Ctl) -> None:
    assert _in_a_shell("circusctl incr web >&-") == (0, "", "")
    assert ctl.circusd.engine.heard == [events.SetCount(1, "web", delta=1)]
    assert _in_a_shell("circusctl nope >&- 2>&-") == (2, "", "")
    assert _in_a_shell("circusctl list --help <&- >&- 2>&-") == (0, "", "")


def test_letters_that_standard_output_cannot_show_are_escaped(ctl: Ctl) -> None:
    ctl.circusd.engine.watchers = {"kö": make_watcher("kö", 1)}
    assert _in_a_shell("circusctl list", PYTHONIOENCODING="ascii") == (0, "k\\xf6\n", "")


def test_the_program_imports_next_to_nothing(ctl: Ctl) -> None:
    heavy = ("typing", "dataclasses", "inspect", "http", "asyncio", "logging", "shutil", "msgspec", "psutil", "hashlib")
    code = (
        "import sys; from circus.circusctl import main; main(['status']); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, env=_plain_environment()
    )
    assert result.stdout.splitlines()[-1] == "[]", result.stderr


def _plain_environment() -> dict[str, str]:
    """Without the site's start-up code, which imports what it likes."""
    places = [path for path in sys.path if path.endswith("/src")]
    return {**os.environ, "PYTHONPATH": ":".join(places)}


# Pieces -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (59.9, "59s"), (60, "1m00s"), (192, "3m12s"), (7500, "2h05m"), (86400 * 3 + 3600 * 4, "3d04h")],
)
def test_durations_show_their_two_largest_units(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


@pytest.mark.parametrize(("status", "text"), [(1, "exited with status 1"), (-15, "killed by signal 15")])
def test_an_end_is_told_in_words(status: int, text: str) -> None:
    assert render.ending(status) == text


# Events -----------------------------------------------------------------------------------------------------


def test_listen_prints_events_goes_on_with_the_next_circusd_and_says_what_may_be_missing(root: str) -> None:
    path, environ = f"{root}/circus-default.sock", {**os.environ, "PAPA_RUNTIME_DIR": root}
    event = Event(5.0, "My Web", "reap", {"process_pid": 7, "exit_code": -9})
    message = '{"time": 5.0, "process_pid": 7, "exit_code": -9}'
    first, second = FakeEngine(make_watcher("web")), FakeEngine(make_watcher("web"))
    second.started_at += 1
    with FakeCircusd(first, path) as circusd:
        listener = spawn("listen", "watcher.my_", env=environ)
        assert listener.stdout is not None
        assert listener.stderr is not None
        wait_for(lambda: circusd.ops.listeners, "the listener")
        circusd.call(lambda: first.bus.publish(Event(4.0, "other", "reap")))
        circusd.call(lambda: first.bus.publish(event))
        assert listener.stdout.readline() == f"watcher.my_web.reap: {message}\n"
    second.bus.publish(event)
    with FakeCircusd(second, path):
        assert listener.stdout.readline() == f"watcher.my_web.reap: {message}\n"
        assert listener.stderr.readline().startswith("warning: this is another circusd;")
        listener.send_signal(signal.SIGINT)
        assert listener.communicate(timeout=50)[1].startswith("circusctl: stopped waiting")
        assert listener.returncode == 130


def test_listen_as_json_is_a_line_for_each_event_and_ends_with_its_reader(root: str) -> None:
    engine, path = FakeEngine(make_watcher("web")), f"{root}/circus-default.sock"
    with FakeCircusd(engine, path) as circusd:
        listener = spawn("--json", "listen", env={**os.environ, "PAPA_RUNTIME_DIR": root})
        assert listener.stdout is not None
        assert listener.stderr is not None
        wait_for(lambda: circusd.ops.listeners, "the listener")
        circusd.call(lambda: engine.bus.publish(Event(4.0, "web", "start")))
        said = json.loads(listener.stdout.readline())
        assert (said["topic"], said["message"]) == ("watcher.web.start", {"time": 4.0})
        listener.stdout.close()
        circusd.call(lambda: engine.bus.publish(Event(4.0, "web", "stop")))
        assert listener.wait(50) == 1
        assert listener.stderr.read() == ""
        listener.stderr.close()


def test_listen_needs_a_circusd_to_begin_with(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["listen"]) == 1
    assert "no circusd answers" in capsys.readouterr().err


def test_streams_that_wait_or_have_lost_something_are_shown() -> None:
    quiet = {"bytes": 9, "gaps": 0, "dropped": 0, "sink_errors": 0, "held": 0, "lag_s": 0.0}
    assert list(render.output_lines({"stdout": quiet, "stderr": {**quiet, "held": 9, "lag_s": 0.2}})) == []
    waiting = {**quiet, "held": 900, "lag_s": 12.4}
    assert list(render.output_lines({"stderr": {**quiet, "dropped": 5}, "stdout": {**waiting, "dropped": 7}})) == [
        "  stdout: 900 bytes are kept by papa, the oldest for 12 s; 7 bytes were lost",
        "  stderr: 5 bytes were lost",
    ]
