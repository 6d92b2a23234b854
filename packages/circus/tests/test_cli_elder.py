from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from circus.bus import Event
from circus.cli import elder
from circus.cli.circusctl import main
from circus.control import endpoints
from circus.legacy import zmq_client
from circus.supervise import events
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher

from .doors import Door
from .test_legacy_zmq_client import answering

Ctl = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def private_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir(mode=0o700)


@pytest.fixture
def ctl(capsys: pytest.CaptureFixture[str]) -> Ctl:
    def run(endpoint: str, *words: str) -> tuple[int, str, str]:
        status = main(["--endpoint", endpoint, *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(make_watcher("Web", 2), make_watcher("db", 1))


def test_a_circusd_without_a_control_socket_here_is_asked_by_zmq(engine: FakeEngine, tmp_path: Path, ctl: Ctl) -> None:
    with Door(engine, tmp_path) as door:
        place = door.listener().place
        assert ctl(place, "status") == (0, "db: active\nweb: active\n", "")
        assert ctl(place, "stop", "w*") == (0, "ok\n", "")
        assert ctl(place, "status", "web") == (0, "stopped\n", "")
        assert engine.heard == [events.Stop(1, ("Web",))]
        assert ctl(place, "--json", "numwatchers") == (0, '{"numwatchers": 2}\n', "")
        assert ctl(place, "status", "nobody") == (3, "", "error: program nobody not found\n")
        assert ctl(place, "shutdown")[0] == 2
        assert ctl(place, "logs", "web")[0] == 2
        assert ctl(place, "reloadconfig", "--plan")[0] == 2


def test_the_control_socket_comes_first(engine: FakeEngine, tmp_path: Path, ctl: Ctl) -> None:
    with Door(engine, tmp_path) as door:
        place = door.listener().place
        (tmp_path / "run").mkdir(mode=0o700, exist_ok=True)
        with FakeCircusd(FakeEngine(name="here"), endpoints.resolve(place)):
            assert "name here" in ctl(place, "version")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("stop", ("stop", {"waiting": True})),
        ("stop a --no-wait", ("stop", {"name": "a", "match": "glob"})),
        ("start a --match simple", ("start", {"name": "a", "match": "simple", "waiting": True})),
        (
            "reload a --sequential",
            ("reload", {"name": "a", "graceful": True, "sequential": True, "waiting": True}),
        ),
        ("decr a 2", ("decr", {"name": "a", "nb": 2, "waiting": True})),
        ("numprocesses a 4", ("set", {"name": "a", "options": {"numprocesses": 4}, "waiting": True})),
        ("signal a 7 HUP", ("signal", {"name": "a", "signum": "HUP", "pid": 7, "children": False, "recursive": False})),
        ("kill a --graceful_timeout 2", ("kill", {"name": "a", "graceful_timeout": 2.0, "waiting": True})),
        ("rm a --nostop", ("rm", {"name": "a", "nostop": True, "waiting": True})),
        (
            "set a max_retry -1 copy_env yes graceful_timeout 1.5 stop_signal INT env A=1,B=x rlimit_nofile 9 cmd y",
            (
                "set",
                {
                    "name": "a",
                    "options": {
                        "max_retry": -1,
                        "copy_env": True,
                        "graceful_timeout": 1.5,
                        "stop_signal": 2,
                        "env": {"A": "1", "B": "x"},
                        "rlimit_nofile": 9,
                        "cmd": "y",
                    },
                    "waiting": True,
                },
            ),
        ),
        ("set a numprocesses many", ("set", {"name": "a", "options": {"numprocesses": "many"}, "waiting": True})),
        (
            "add --start a sh -c 'x y'",
            ("add", {"name": "a", "cmd": "sh -c 'x y'", "options": {}, "start": True, "waiting": True}),
        ),
        ("quit --no-wait", ("quit", {})),
    ],
)
def test_orders_are_put_into_messages(words: str, message: Any, ctl: Ctl) -> None:
    with answering(lambda heard: [{"id": heard["id"], "status": "ok"}]) as (endpoint, heard):
        assert ctl(endpoint, *shlex.split(words))[0] == 0
    assert [(each["command"], each["properties"]) for each in heard] == [message]


def test_a_refusal_is_told_in_the_words_of_who_refuses(ctl: Ctl) -> None:
    why = "arbiter is already running arbiter_stop_watchers command"
    replies = iter([{"errno": 5, "reason": why}, {"errno": 3, "reason": "no"}, {}])
    with answering(lambda heard: [{"id": heard["id"], "status": "error", **next(replies)}]) as (endpoint, _):
        assert ctl(endpoint, "stop") == (3, "", f"error: {why}\n")
        assert ctl(endpoint, "list") == (3, "", "error: no\n")
        assert ctl(endpoint, "list")[0] == 3


def test_a_singleton_stays_one(engine: FakeEngine, tmp_path: Path, ctl: Ctl) -> None:
    engine.watchers["db"] = make_watcher("db", singleton=True)
    with Door(engine, tmp_path) as door:
        status, out, err = ctl(door.listener().place, "incr", "db")
    assert (status, out, err) == (0, "1\n", "warning: db is a singleton: it has at most one process\n")


def test_events_are_heard_at_the_address_at_which_they_are_published(engine: FakeEngine, tmp_path: Path) -> None:
    with Door(engine, tmp_path) as door:
        heard = elder.Elder(door.listener("pubsub_endpoint").place, None)._listen(["watcher.web."])

        def publish() -> None:
            engine.bus.publish(Event(1.0, "Web", "spawn", {"process_pid": 7}))

        door.call(lambda: door.loop.call_later(0, _again, door, publish))
        assert next(heard) == {"topic": "watcher.web.spawn", "message": {"time": 1.0, "process_pid": 7}}
        heard.close()  # type: ignore[attr-defined]


def _again(door: Door, publish: Callable[[], None]) -> None:
    """Until somebody has subscribed, and then once more."""
    publish()
    if not door.gate._news.is_wanted:
        door.loop.call_later(0.01, _again, door, publish)
    else:
        publish()


def test_without_pyzmq_one_line_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, ctl: Ctl) -> None:
    monkeypatch.setattr(zmq_client, "is_there", lambda: False)
    status, out, err = ctl("tcp://127.0.0.1:1", "list")
    assert (status, out) == (1, "")
    assert err.startswith(
        "error: no circusd of this machine has the endpoint tcp://127.0.0.1:1, and to ask others pyzmq"
    )


def test_nobody_there_is_told_at_once(tmp_path: Path, ctl: Ctl) -> None:
    status, _, err = ctl(f"ipc://{tmp_path}/nobody", "stop")
    assert (status, err.split(":")[1]) == (1, " no circusd answers at ipc")
