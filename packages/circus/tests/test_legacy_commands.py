from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from circus.control.client import Client
from circus.errors import CircusError
from circus.legacy.commands import Commands
from circus.supervise import events
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher

SOCKETS = (
    {"name": "circus.web", "fileno": 9, "host": "127.0.0.1", "port": 80, "backlog": 5, "path": None},
    {"name": "circus.un", "fileno": 6, "path": "/run/x", "backlog": 7},
)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(make_watcher("Web", 2), make_watcher("db", 1), sockets=SOCKETS)


@pytest.fixture
def commands(engine: FakeEngine, tmp_path: Path) -> Iterator[Commands]:
    path = str(tmp_path / "c.sock")
    with FakeCircusd(engine, path):
        yield Commands(Client(path))


def ask(commands: Commands, command: str, **properties: object) -> dict[str, Any]:
    reply = commands.answer({"id": "7", "command": command, "properties": properties})
    assert reply is not None
    assert reply.pop("id") == "7"
    assert isinstance(reply.pop("time"), float)
    return reply


def ok(**fields: object) -> dict[str, object]:
    return {"status": "ok", **fields}


def test_every_query_is_answered_as_the_ancestors_did(commands: Commands, engine: FakeEngine) -> None:
    web = [slot.pid for slot in engine.watchers["Web"].slots]
    engine.infos = {"Web": {web[0]: {"cpu": 1.0}}}
    assert ask(commands, "list") == ok(watchers=["db", "web"])
    assert ask(commands, "LIST", name="WEB") == ok(pids=web)
    assert ask(commands, "status") == ok(statuses={"web": "active", "db": "active"})
    assert ask(commands, "status", name="web") == {"status": "active"}
    assert ask(commands, "numprocesses") == ok(numprocesses=3)
    assert ask(commands, "numprocesses", name="web") == ok(numprocesses=2, watcher_name="Web")
    assert ask(commands, "numwatchers") == ok(numwatchers=2)
    assert ask(commands, "options", name="web")["options"]["cmd"] == "sleep 1"
    assert ask(commands, "options", name="web")["options"]["env"] == {"A": "***", "B": "***"}
    assert ask(commands, "get", name="web", keys=["env"], reveal=True) == ok(options={"env": {"A": "1", "B": "2"}})
    assert ask(commands, "get", name="web", keys=["numprocesses"]) == ok(options={"numprocesses": 2})
    assert ask(commands, "listsockets") == ok(
        sockets=[
            {"fd": 6, "name": "un", "backlog": 7, "path": "/run/x"},
            {"fd": 9, "name": "web", "backlog": 5, "host": "127.0.0.1", "port": 80},
        ]
    )
    assert ask(commands, "globaloptions", option="check_delay") == ok(options={"check_delay": 5.0})
    assert ask(commands, "globaloptions")["options"]["name"] == "default"
    assert ask(commands, "dstats") == ok(info=engine.daemon_info)
    info = {str(web[0]): {"cpu": 1.0}}
    assert ask(commands, "stats") == ok(infos={"Web": info})
    assert ask(commands, "stats", name="web") == ok(name="web", info=info)
    assert ask(commands, "stats", name="web", process=web[0], extended=True) == ok(process=web[0], info={"cpu": 1.0})


@pytest.mark.parametrize(
    ("command", "properties", "heard"),
    [
        ("start", {}, events.Start(1)),
        ("stop", {"name": "w*"}, events.Stop(1, ("Web",))),
        ("stop", {"name": "w[aeiou]", "match": "regex"}, events.Stop(1, ("Web",))),
        ("restart", {"name": "WEB", "match": "simple"}, events.Restart(1, ("Web",))),
        ("reload", {"name": "web"}, events.Reload(1, ("Web",))),
        ("reload", {"graceful": False, "sequential": True}, events.Reload(1, None, graceful=False, sequential=True)),
        ("incr", {"name": "web"}, events.SetCount(1, "Web", delta=1)),
        ("decr", {"name": "web", "nb": "2"}, events.SetCount(1, "Web", delta=-2)),
        ("signal", {"name": "web", "signum": "hup", "recursive": True}, ("signal", "Web", 1, None, False, True)),
        ("kill", {"name": "web"}, events.Kill(1, "Web")),
        ("kill", {"name": "web", "signum": "int", "graceful_timeout": "2"}, events.Kill(1, "Web", None, 2, 2.0)),
        ("signal", {"name": "web", "signum": 9, "child_pid": 5}, ("signal", "Web", 9, None, 5, False)),
        ("add", {"name": "x", "cmd": "y", "args": ["z"]}, ("add", "x", {"cmd": "y", "args": "z"}, False)),
        ("rm", {"name": "web", "nostop": True}, ("remove", "Web", True)),
        ("set", {"name": "web", "options": {"max_retry": 7}}, ("set", "Web", {"max_retry": "7"})),
        ("reloadconfig", {}, "reloadconfig"),
        ("quit", {}, "quit"),
    ],
)
@pytest.mark.parametrize("waiting", [True, False])
def test_every_order_is_given(
    command: str, properties: dict[str, Any], heard: object, waiting: bool, commands: Commands, engine: FakeEngine
) -> None:
    assert ask(commands, command, waiting=waiting, **properties)["status"] == "ok"
    ask(commands, "list")  # what is not waited for has begun by now
    assert engine.heard == [heard]


def test_who_waits_for_one_watcher_gets_its_processes(commands: Commands, engine: FakeEngine) -> None:
    pids = [slot.pid for slot in engine.watchers["Web"].slots]
    assert ask(commands, "stop", name="web", waiting=True) == ok(info=None)
    assert ask(commands, "start", name="web", waiting=True) == ok(info={"started": pids, "kept": []})
    assert ask(commands, "start", name="*", waiting=True) == ok()
    assert ask(commands, "start", name="web") == ok()
    assert ask(commands, "incr", name="web", waiting=True) == ok(numprocesses=3)
    added = ask(commands, "add", name="x", cmd="y", start=True, waiting=True)
    assert (added["status"], added["kept"]) == ("ok", [])
    assert ask(commands, "add", name="x2", cmd="y", start=True) == ok()
    ask(commands, "list")
    # Only the start is not waited for: whoever has the answer may name the watcher.
    assert engine.heard[-2][:2] == ("add", "x2") and engine.heard[-2][3] is False
    assert engine.heard[-1].names == ("x2",)
    engine.watchers["db"] = make_watcher("db", singleton=True)
    assert ask(commands, "incr", name="db", waiting=True) == ok(numprocesses=1, singleton=True)


@pytest.mark.parametrize(
    ("command", "properties", "errno", "reason"),
    [
        ("nope", {}, 2, "unknown command: 'nope'"),
        ("ipython", {}, 2, "unknown command: 'ipython'"),
        ("listen", {}, 3, "subscribe"),
        ("signal", {"name": "web"}, 3, "message invalid 'signum' is missing"),
        ("signal", {"name": "web", "signum": "nope"}, 3, "is no signal"),
        ("signal", {"name": "web", "signum": 1, "pid": "x"}, 3, "'pid' isn't an integer"),
        ("signal", {"name": "web", "signum": 1, "pid": 5}, 3, "5 is none of its processes"),
        ("incr", {}, 3, "message invalid 'name' is missing"),
        ("incr", {"name": "web", "nb": []}, 3, "'nb' isn't an integer"),
        ("list", {"name": "x"}, 3, "program x not found"),
        ("stop", {"name": "x"}, 3, "program x not found"),
        ("stop", {"name": "(", "match": "regex"}, 3, "is no regular expression"),
        ("stop", {"name": "x", "match": "soundex"}, 3, "use simple, glob or regex"),
        ("get", {"name": "web", "keys": ["zzz"]}, 3, "'zzz' option not found"),
        ("kill", {"name": "web", "graceful_timeout": "x"}, 3, "'graceful_timeout' isn't a number"),
        ("set", {"name": "web"}, 3, "message invalid 'options' is missing"),
        ("set", {"name": "web", "options": {"env": {"A": "1", "B": 2}}}, 3, "env: the value of 'B' is no string"),
        ("add", {"name": "x"}, 3, "message invalid 'cmd' is missing"),
        ("add", {"name": "x", "cmd": "y", "options": [1]}, 3, "message invalid 'options' is not an object"),
        ("globaloptions", {"option": "nope"}, 3, "'nope' option not found"),
        ("get", {"name": "web"}, 3, "message invalid 'keys' is missing"),
    ],
)
def test_what_is_refused_has_the_ancestors_number(
    command: str, properties: dict[str, Any], errno: int, reason: str, commands: Commands
) -> None:
    reply = ask(commands, command, **properties)
    assert (reply["status"], reply["errno"], reply["tb"]) == ("error", errno, None)
    assert reason in reply["reason"]


def test_what_the_engine_refuses_is_a_command_error(commands: Commands, engine: FakeEngine) -> None:
    engine.refusal = "no"
    assert (ask(commands, "stop", waiting=True)["errno"], ask(commands, "stop")["status"]) == (5, "ok")
    engine.failure = CircusError("forbidden", "runs as another user")
    assert ask(commands, "list")["errno"] == 4


@pytest.mark.parametrize(
    ("data", "errno"),
    [(b"", 1), (b"{", 1), (b"[" * 100_000, 1), (b"7", 1), (b"\xff", 1), (b"{}", 3), (b'{"command": 7}', 3),
     (b'{"command": "list", "properties": [1]}', 3)],
)  # fmt: skip
def test_what_is_no_message_is_answered_and_harms_nobody(data: bytes, errno: int, commands: Commands) -> None:
    assert json.loads(commands.answer_bytes(data) or b"")["errno"] == errno
    assert json.loads(commands.answer_bytes(b'{"command": "numwatchers"}') or b"")["numwatchers"] == 2


def test_a_cast_has_no_reply(commands: Commands, engine: FakeEngine) -> None:
    assert commands.answer({"command": "stop", "msg_type": "cast"}) is None
    assert commands.answer_bytes(b'{"command": "nope", "msg_type": "cast"}') is None
    ask(commands, "list")  # it has begun by now
    assert engine.heard == [events.Stop(1)]


def test_without_a_circusd_there_is_no_reply(tmp_path: Path) -> None:
    with pytest.raises(CircusError, match="no circusd answers"):
        Commands(Client(str(tmp_path / "none"))).answer({"command": "list"})
