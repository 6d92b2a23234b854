"""A circusd without processes that has something of everything: up, down, failing, waiting, foreign and lost."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import circus
from circus.bus import Event
from circus.cli import circusctl, waiting
from circus.config.causes import Cause
from circus.config.model import Finding
from circus.config.plan import Item, Plan
from circus.control.audit import Trail
from circus.control.caller import Caller
from circus.control.members import Members
from circus.logbook import catalogue, entries, writing
from circus.logbook.entries import Run, Source
from circus.logbook.writing import Book, Laid
from circus.supervise.states import SlotKey, SlotState, WatcherState
from circus.testing.circusd import FakeEngine, make_slot, make_watcher

#: 2026-11-22 12:00:00 UTC; nothing moves it.
NOW = 1_795_348_800.0
PID = 4242
VERSION = "1.0.0"

PATIENCE_S = 60.0

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

CONFIG = """\
[circus]
name = default

[watcher:web]
cmd = /bin/sleep 60
numprocesses = 2
graceful_timeout = 5
use_papa = true

[watcher:db]
cmd = /bin/sh -c 'exec sleep 60'

[socket:front]
host = 127.0.0.1
port = 8080
"""

WRONG_CONFIG = """\
[watcher:web]
cmd = /bin/nothing
numproceses = 2
stop_signal = NOPE

[watcher:db]
use_papa = perhaps
"""


def _run(due: float, state: str, **more: Any) -> dict[str, object]:
    told: dict[str, object] = {
        "due": due, "by_hand": False, "state": state, "started_at": due, "ended_at": due + 75, "pid": None,
        "status": 0, "signal": None, "reason": "ended with status 0", "count": 1,
    }  # fmt: skip
    return told | more


RUNS = [
    _run(NOW - 3 * DAY, "done"),
    _run(NOW - 2 * DAY, "failed", status=4, reason="ended with status 4"),
    _run(NOW - DAY, "skipped", started_at=None, ended_at=None, status=None, reason="the run before was not over"),
    _run(NOW - HOUR, "running", ended_at=None, pid=6101, status=None, reason="", by_hand=True),
]

JOB = {
    "schedule": "@daily", "timezone": None, "next_run": NOW + 12 * HOUR, "waiting": 1, "current": RUNS[3],
    "last": RUNS[1],
}  # fmt: skip


def _exit(wid: int, ago_s: float, ran_s: float, status: int | None, reason: str, **more: Any) -> dict[str, object]:
    told: dict[str, object] = {
        "at": NOW - ago_s, "watcher": "api", "wid": wid, "pid": 5100 + wid, "started_at": NOW - ago_s - ran_s,
        "ran_s": ran_s, "status": status, "signal": None, "ordered": False, "reason": reason,
    }  # fmt: skip
    return told | more


USAGE = {"user_s": 0.14, "system_s": 0.03, "max_rss": 31 << 20, "major_faults": 3}


def _info(pid: int, wid: int | None = None, **more: Any) -> dict[str, object]:
    told: dict[str, object] = {
        "pid": pid, "cmdline": "web", "username": "www", "nice": 0, "mem_info1": "21.50M", "mem_info2": "310.25M",
        "cpu": 12.5, "mem": 0.134, "ctime": "1:02.07", "create_time": NOW - 3 * HOUR, "age": 3 * HOUR,
    }  # fmt: skip
    return told | ({} if wid is None else {"wid": wid, "started": NOW - 3 * HOUR}) | more


def _counters(**changes: float) -> dict[str, float]:
    return {"bytes": 4096, "gaps": 0, "dropped": 0, "sink_errors": 0, "held": 0, "lag_s": 0.0} | changes


def make_engine(folder: Path) -> FakeEngine:
    """Its files are below ``folder``."""
    running = {"is_ready": True, "started_at": NOW - 3 * HOUR}
    web = make_watcher("web", 2, slots=(make_slot(1, pid=5001, **running), make_slot(2, pid=5002, **running)))
    failing = make_slot(2, state=SlotState.BACKOFF, reason="waits 8 s: 3 of 5 starts failed", last_status=1)
    api = make_watcher(
        "api", 2, slots=(make_slot(1, pid=5101, **running, health="unhealthy", reason="unhealthy: HTTP 503"), failing)
    )
    waiting = "waits for db to be ready"
    cache = make_watcher(
        "cache", 1, state=WatcherState.STARTING, reason=waiting, slots=(), waits_for=("db",), priority=5
    )
    db = make_watcher("db", 1, state=WatcherState.STOPPED, wants_up=False, slots=())
    spent = make_slot(1, state=SlotState.FATAL, reason="gave up: 5 starts failed in 10 s", last_status=-11)
    mailer = make_watcher("mailer", 1, state=WatcherState.STOPPED, slots=(spent,), reason="no process is left")
    backup = make_watcher("backup", 0, state=WatcherState.STOPPED, reason="waits for its time", slots=())
    named = make_watcher("日報 worker", 1, slots=(make_slot(1, pid=5301, **running),), singleton=True)
    front = {"name": "front", "fileno": 200, "host": "127.0.0.1", "port": 8080, "backlog": 2048}
    engine = FakeEngine(
        web, api, cache, db, mailer, backup, named,
        kernel={"papa": "2.0.0", "protocol": 1, "pid": 4200, "instance": "default", "tier": "full", "boot_id": "b"},
        sockets=(front, {"name": "admin", "fileno": 201, "path": "/run/admin.sock", "backlog": 128}),
        foreign=({"name": "circus.old.1", "pid": 812},),
        drift={"web": "cmd was changed since it was started"},
        by_hand={"db": "stopped by hand", "web": "set by hand: graceful_timeout", "gone": "removed by hand"},
        said={SlotKey("web", 1): "42 requests a second"},
        warnings=("circus.ini:7: warning: numproceses is no option", "papa covers 2 of 4 processes"),
        survivors={"web": [{"pid": 5009, "parent": 1, "command": "helper", "state": "S", "why": "session"}]},
        jobs={"backup": JOB},
    )  # fmt: skip
    engine.state_directory = str(folder / "state")
    engine.config_path = str(folder / "circus.ini")
    engine.counters = {
        "web": {"stdout": _counters(held=70000, lag_s=12.0), "stderr": _counters(dropped=512)},
        "api": {"stdout": _counters(), "stderr": _counters()},
    }
    engine.infos = {
        "web": {
            5001: _info(5001, 1, children=[_info(5003, cmdline="helper")], requests=42),
            5002: _info(5002, 2, cpu="N/A", username="N/A", nice="N/A"),
        },
        "api": {5101: "No such process (stopped?)"},
    }
    engine.daemon_info = _info(PID, cmdline="circusd")
    engine.ends["api"] = [
        _exit(1, 2 * DAY, 3 * DAY, 0, "ended with status 0", ordered=True),
        _exit(2, 200.0, 12.0, -11, "ended by signal 11 (SIGSEGV)", signal="SIGSEGV"),
        _exit(2, 100.0, 0.2, 1, "ended with status 1", core=False, usage=USAGE),
    ]
    engine.whys.update(_whys())
    engine.ran["backup"] = RUNS
    engine.told_of = {
        "ops": _notifier("https://hooks.example/***"),
        "mail": _notifier("command /srv/bin/tell", waiting=1, failed=2, error="it ended with status 1"),
    }
    engine.made = PLAN
    return engine


def _order(what: str, ago_s: float, **more: Any) -> dict[str, object]:
    told = {"what": what, "by": "token deploy", "origin": "192.0.2.7", "at": NOW - ago_s, "operation": "17-4"}
    return told | {"along": False} | more


def _whys() -> dict[str, dict[str, Any]]:
    wanted = {"up": True, "numprocesses": 2, "in_file": 2, "source": "order", "reason": "", "file": "", "line": 0}
    pause = {"kind": "backoff", "what": "ended with status 1, the 3rd failure in a row", "wid": 2, "since": None}
    then = "the next attempt (3 of 5 failures in a row)"
    ill = {"kind": "order", "what": "gave up: 5 starts failed in 10 s", "wid": 1, "since": None, "until": None}
    changes = [
        ("cmd", "/srv/api/serve --workers 4", "/srv/api/serve --workers 16 --preload", "/etc/circus.ini", 12, False),
        ("stop_signal", None, "INT", "by hand", 0, False),
        ("env TOKEN", "", "", "/etc/circus.ini", 19, True),
    ]
    return {
        "api": {
            "well": False,
            "wanted": wanted | {"order": _order("start", 300.0), "count_order": _order("count", 290.0), "in_file": 1},
            "waits": [pause | {"until": NOW + 8, "then": then}],
            "next": {"at": NOW + 8, "what": then},
            "ran_well": NOW - 4 * DAY,
            "changes": changes,
            "last_set": _order("set", 310.0, by="uid 0", origin="unix"),
            "last_reload": _order("reloadconfig", 305.0),
        },
        "mailer": {
            "well": False,
            "wanted": wanted
            | {"up": False, "source": "circusd", "reason": "gave up: 5 starts failed in 10 s"}
            | {"order": _order("restart", 60.0, by="", origin="", along=True), "count_order": None},
            "waits": [ill | {"then": ""}],
            "next": {"at": None, "what": "none by itself: it needs an order (`circusctl start mailer`)"},
        },
    }


EVENTS: list[tuple[str, float, dict[str, object]]] = [
    ("web.start", 30.0, {}),
    ("web.spawn", 30.0, {"process_pid": 5001}),
    ("api.reap", 20.0, {"process_pid": 5102, "exit_code": -11}),
    ("mailer.fatal", 10.0, {"wid": 1, "reason": "gave up: 5 starts failed in 10 s"}),
]


def events() -> Iterator[Event]:
    for name, ago_s, fields in EVENTS:
        watcher, _, event = name.partition(".")
        yield Event(NOW - ago_s, watcher, event, fields)


_FILE = "/etc/circus.ini"

PLAN = Plan(
    "3f2a9c81d07e",
    items=(
        Item("watcher", "db", "keep"),
        Item("watcher", "web", "roll", file=_FILE, line=4, causes=(
            Cause("cmd", "/srv/bin/web --port 8080", "/srv/bin/web --port 8081", _FILE, 5, False),
            Cause("env", None, "", _FILE, 9, True),
        )),
        Item("watcher", "mailer", "remove"),
        Item("socket", "front", "reopen", file=_FILE, line=11, causes=(Cause("port", "8080", "8081", _FILE, 13),)),
    ),
    by_hand={"db": ("stopped by hand",)},
    warnings=(Finding(_FILE, 7, "numproceses is no option", "did you mean numprocesses?", "warning"),),
)  # fmt: skip


def _notifier(target: str, **changes: object) -> dict[str, object]:
    return {
        "target": target, "sent": 12, "failed": 0, "dropped": 0, "collapsed": 0, "waiting": 0, "error": "",
    } | changes  # fmt: skip


# Files ------------------------------------------------------------------------------------------------------

OUT, ERR = Source("web", 1, 5001, "stdout"), Source("web", 2, 5002, "stderr")

LINES = (
    (60.0, OUT, b"GET / 200\n"),
    (50.0, ERR, b"slow answer: \xff\n"),
    (40.0, OUT, b"GET /\x1b[31m 404\n"),
)


def make_files(folder: Path) -> None:
    """Configurations, logs and a trail of orders below ``folder``, which is at its place already."""
    (folder / "circus.ini").write_text(CONFIG)
    (folder / "wrong.ini").write_text(WRONG_CONFIG)
    _write_logs(folder)
    trail = Trail(str(folder / "audit.jsonl"))
    for ago_s, fields in TRAIL:
        trail.note({"at": NOW - ago_s, "who": "uid 0", "from": "unix", **fields, "request": "19f-1"})
    trail.close()


TRAIL: list[tuple[float, dict[str, Any]]] = [
    (3 * DAY, {"operation": "stop", "watchers": ["db"], "result": "ok", "ms": 12.0}),
    (
        40.0,
        {"operation": "watchers.set", "watchers": ["web"], "options": ["graceful_timeout"], "result": "ok", "ms": 3.0},
    ),
    (30.0, {"operation": "quit", "result": "forbidden", "ms": 0.1, "who": "token deploy", "from": "192.0.2.7"}),
]


def _write_logs(folder: Path) -> None:
    path, logs = folder / "web.log", str(folder / "state" / "logs")
    path.write_bytes(b"".join(line for _, _, line in LINES))
    known: dict[str, catalogue.Entry] = {}
    for _, source, _ in LINES:
        catalogue.note(known, str(path), catalogue.FILE, source.watcher, source.stream)
    catalogue.save(logs, known)
    book = Book(writing.directory_of(logs, str(path)), str(path))
    found = path.stat()
    runs = entries.joined(Run(source, len(line), int((NOW - ago_s) * 1e9)) for ago_s, source, line in LINES)
    head = path.read_bytes()[: writing.HEAD_BYTES]
    book.lay(Laid(str(path), found.st_dev, found.st_ino, 0, head, tuple(runs)))
    book.close()


# What differs between machines ------------------------------------------------------------------------------


def still() -> list[tuple[Any, str, Any]]:
    """What is to be put in the place of what: the time, our pid, our user, secrets; and patience, on a busy machine."""
    return [
        (circusctl, "DEFAULT_TIMEOUT_S", PATIENCE_S),
        (waiting, "SOON_S", PATIENCE_S),
        (time, "time", lambda: NOW),
        (os, "getpid", lambda: PID),
        (circus, "__version__", VERSION),
        (secrets, "token_bytes", lambda count=32: bytes(range(1, count + 1))),
        (Members, "caller", lambda *_: Caller("uid 0", "unix")),
    ]


@contextlib.contextmanager
def in_utc() -> Iterator[None]:
    with mock.patch.dict(os.environ, TZ="UTC"):
        time.tzset()
        yield
    time.tzset()
