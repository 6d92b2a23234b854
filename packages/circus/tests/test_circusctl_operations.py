"""circusctl about operations: their ids, what is known of them, and how one is followed."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.house import wait_for

from circus.circusctl import main
from circus.control.client import Client
from circus.supervise.progress import Standing
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(make_watcher("web", 2), make_watcher("db"))


@pytest.fixture
def circusd(engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCircusd]:
    path = f"{tmp_path}/c.sock"
    monkeypatch.setenv("CIRCUSCTL_ENDPOINT", path)
    with FakeCircusd(engine, path) as circusd:
        yield circusd


@pytest.fixture
def ctl(circusd: FakeCircusd, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(words)
        out, err = capsys.readouterr()
        return status, out, err

    return run


Ctl = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    "line",
    ["stop web", "incr web", "kill web", "set web priority 3", "rm web", "reloadconfig", "quit"],
)
def test_who_does_not_wait_is_given_an_id(line: str, ctl: Ctl) -> None:
    status, out, err = ctl(*line.split(), "--no-wait")
    lines = out.splitlines()
    assert (status, err) == (0, "")
    told, last = lines[-2:]
    assert (told.split()[0], last) == ("operation", "ok")


def test_operations_are_listed_and_one_is_shown(ctl: Ctl, engine: FakeEngine) -> None:
    assert ctl("operations") == (0, "none is known\n", "")
    ctl("stop", "web", "db")
    engine.refusal = "web: cannot start: no such program"
    ctl("start", "web")
    first, second = ctl("operations")[1].splitlines()
    id = first.split()[0]
    assert " done     stop web db  (" in first
    assert second.endswith("): web: cannot start: no such program")
    lines = ctl("operations", id)[1].splitlines()
    assert lines[0] == "stop web db: done"
    assert json.loads(ctl("--json", "operations", id)[1])["result"]["operation"] == id
    status, out, _ = ctl("operations", second.split()[0])
    assert (status, "web: cannot start" in out) == (3, True)
    status, _, err = ctl("operations", "1-1")
    assert status == 3
    assert "it was given to an earlier circusd" in err


def test_one_is_followed_to_its_end_and_its_status_is_that_of_the_order(ctl: Ctl, engine: FakeEngine) -> None:
    engine.gate = asyncio.Event()
    engine.standing[1] = [
        Standing("web", False, 1, 2, "ended", "waits for its processes to end"),
        Standing("db", True, 1, 1, "ended", ""),
    ]
    id = ctl("stop", "--no-wait")[1].split()[1]
    command = [sys.executable, "-m", "circus.circusctl", "--timeout", "30", "operations", id, "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "1 of 2 watchers, 2 of 3 processes\n"
        assert following.stdout.readline() == "  web: 1 of 2 ended, waits for its processes to end\n"
        assert ctl("operations", id)[1].splitlines()[-1] == "    web: 1 of 2 ended, waits for its processes to end"
        engine.refusal = "web: it does not end"
        gate = engine.gate
        wait_for(lambda: engine.followers, "somebody follows")
        gate._loop.call_soon_threadsafe(gate.set)  # type: ignore[attr-defined]
        rest = following.stdout.read()
        assert following.wait(20) == 3
    assert "stop: failed" in rest and "web: it does not end" in rest


def test_a_connection_that_breaks_ends_the_following_in_words(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(Client, "open_stream", lambda *_: (ours, b""))
    ours.sendall(b"unread")
    theirs.close()  # with something unread: a reset
    status, _, err = ctl("operations", "4711", "--follow")
    assert (status, "circusd has left before the operation has ended" in err) == (1, True)


def test_following_nothing_is_a_mistake(ctl: Ctl) -> None:
    status, _, err = ctl("operations", "--follow")
    assert (status, "needs the ID" in err) == (2, True)
