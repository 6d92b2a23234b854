"""Orders that are waited for: what they wait for is shown, and who gives up is told how to follow them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.house import wait_for
from tests.screens import Screen

from circus.circusctl import main
from circus.cli import progress, waiting
from circus.cli.asking import Daemon
from circus.control import server
from circus.control.client import Client, Pending
from circus.errors import CircusError
from circus.supervise import events
from circus.supervise.progress import Standing
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine(make_watcher("web", 2), make_watcher("db"))
    engine.gate = asyncio.Event()
    engine.standing[1] = [
        Standing("web", False, 1, 2, "ended", "waits for its processes to end"),
        Standing("db", True, 1, 1, "ended", ""),
    ]
    return engine


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("CIRCUSCTL_ENDPOINT", f"{tmp_path}/c.sock")
    return f"{tmp_path}/c.sock"


@pytest.fixture
def circusd(engine: FakeEngine, path: str) -> Iterator[FakeCircusd]:
    with FakeCircusd(engine, path) as circusd:
        yield circusd


def spawn(*words: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "circus.circusctl", "--timeout", "50", *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=stderr, text=True, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    )


def open_gate(circusd: FakeCircusd) -> None:
    gate = circusd.engine.gate
    assert gate is not None
    circusd.call(gate.set)


# Giving up ---------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_the_waiting_and_says_how_to_follow_the_order(circusd: FakeCircusd, engine: FakeEngine) -> None:
    with spawn("stop") as process:
        wait_for(lambda: engine.heard, "the order")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    first, second = err.splitlines()
    assert first == "circusctl: stopped waiting"
    id = second.split()[-2]
    assert second == f"  stop goes on: `circusctl operations {id} --follow`"
    open_gate(circusd)
    assert main(["operations", id, "--follow"]) == 0


def test_ctrl_c_names_all_orders_that_go_on(circusd: FakeCircusd, engine: FakeEngine, path: str) -> None:
    with spawn("--endpoint", path, "kill", "web", "db") as process:
        wait_for(lambda: len(engine.heard) == 2, "both orders")
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=30)[1]
    told = err.splitlines()[1:]
    assert [line.split(":")[0] for line in told] == ["  kill web goes on", "  kill db goes on"]
    assert all(f"`circusctl --endpoint {path} operations " in line for line in told)
    open_gate(circusd)


def test_who_has_no_time_is_told_what_it_waits_for(
    circusd: FakeCircusd, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--timeout", "2", "stop", "web", "db"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        "error: Timed out. stop web db has not ended within 2 s: 1 of 2 watchers, 2 of 3 processes; "
        "web: 1 of 2 ended, waits for its processes to end"
    )
    assert second.startswith("  hint: it goes on: `circusctl operations ")
    assert main(["--timeout", "2", "--json", "stop", "web"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "timeout"
    open_gate(circusd)


def test_a_circusd_from_before_an_upgrade_knows_no_tags_and_obeys(
    circusd: FakeCircusd, engine: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.gate = None
    asked: list[dict[str, object]] = []
    given = Client.begin

    def begin(client: Client, target: str, body: dict[str, object], **more: bool) -> Pending:
        asked.append(body)
        return given(client, target, {("misspelt" if key == "tag" else key): body[key] for key in body}, **more)

    monkeypatch.setattr(Client, "begin", begin)
    monkeypatch.setattr(waiting, "UNKNOWN_TAG", "unknown field `misspelt`")
    assert main(["kill", "web", "db"]) == 0
    assert capsys.readouterr() == ("ok\n", "")
    assert ["tag" in body for body in asked] == [True, True, False, False]
    assert len(engine.heard) == 2


def count_questions(monkeypatch: pytest.MonkeyPatch, name: str) -> list[str]:
    """circusd hangs where it is asked about operations."""
    asked: list[str] = []
    given = getattr(Client, name)

    def ask(client: Client, target: str, **more: str) -> object:
        if "/operations/" not in target:
            return given(client, target, **more)
        asked.append(target)
        raise CircusError("timeout", "Timed out. circusd did not answer")

    monkeypatch.setattr(Client, name, ask)
    return asked


def test_a_circusd_that_hangs_is_waited_for_once_and_not_for_each_order(
    circusd: FakeCircusd, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = count_questions(monkeypatch, "get")
    assert main(["--timeout", "0.3", "kill", "web", "db"]) == 1
    assert len(asked) == 1
    assert "it has taken the order and goes on with it" in capsys.readouterr().err
    monkeypatch.setattr(waiting, "_answered", interrupt)
    assert main(["kill", "web", "db"]) == 130
    assert len(asked) == 2
    assert "an order that circusd has taken goes on" in capsys.readouterr().err
    open_gate(circusd)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_bar_waits_once_for_a_circusd_that_hangs(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = count_questions(monkeypatch, "open_stream")
    bar = progress.Bar(Daemon(Client(path), is_bounded=False), ["a", "b"])
    bar.close()
    assert (len(asked), bar.descriptors) == (1, [])


# Several -----------------------------------------------------------------------------------------------------


def test_all_orders_are_given_before_one_is_waited_for(circusd: FakeCircusd, engine: FakeEngine) -> None:
    with spawn("kill", "web", "13181", "13182") as process:
        wait_for(lambda: len(engine.heard) == 2, "both orders")
        assert engine.heard == [events.Kill(1, "web", 13181), events.Kill(2, "web", 13182)]
        open_gate(circusd)
        assert process.communicate(timeout=30) == ("ok\n", "")
    assert process.returncode == 0


def test_an_order_that_could_not_be_given_says_how_many_were(
    circusd: FakeCircusd, engine: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Client.begin

    def begin(client: Client, target: str, body: dict[str, object], **more: bool) -> Pending:
        if "/db/" in target:
            raise CircusError("timeout", "Timed out. circusd did not answer", "the order was not taken")
        return given(client, target, body, **more)

    monkeypatch.setattr(Client, "begin", begin)
    assert main(["kill", "web", "db"]) == 1
    hint = "the order was not taken; 1 of 2 orders were given before it: `circusctl operations` shows them"
    assert hint in capsys.readouterr().err
    monkeypatch.undo()
    open_gate(circusd)


def test_one_that_fails_is_told_when_all_have_ended(circusd: FakeCircusd, engine: FakeEngine) -> None:
    engine.refusal = "db: it does not end"
    with spawn("kill", "web", "db") as process:
        wait_for(lambda: len(engine.heard) == 2, "both orders")
        open_gate(circusd)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.splitlines()[0]) == (3, "", "error: db: it does not end")


def test_too_many_orders_are_refused_before_one_is_given(
    circusd: FakeCircusd, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.watchers = {f"w{number}": make_watcher(f"w{number}") for number in range(101)}
    assert main(["kill", "w*"]) == 3
    assert "101 orders in one command" in capsys.readouterr().err
    assert engine.heard == []


# Shown at a terminal -----------------------------------------------------------------------------------------


def test_what_takes_long_has_a_bar_that_is_gone_at_the_end(circusd: FakeCircusd, engine: FakeEngine) -> None:
    with Screen() as screen, spawn("stop", "web", "db", stderr=screen.end) as process:
        os.close(screen.end)
        screen.until("2 of 3 processes")
        screen.until("web: 1 of 2 ended, waits for its processes to end")
        engine.standing[1] = [Standing("web", False, 0, 2, "ended", "still waits for its processes to end")]
        circusd.call(lambda: [follower() for follower in engine.followers])
        screen.until("still waits")
        open_gate(circusd)
        assert process.stdout is not None
        assert process.stdout.read() == "ok\n"
        while screen.read():
            pass
    assert process.returncode == 0
    assert screen.text.rstrip().endswith("\x1b[2K")  # the last line was cleared


def test_a_circusd_that_leaves_is_told_with_what_was_known(
    engine: FakeEngine, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CLOSE_TIMEOUT_S", 0.1)
    with Screen() as screen:
        with FakeCircusd(engine, path):
            process = spawn("stop", "web", "db", stderr=screen.end)
            os.close(screen.end)
            screen.until("web: 1 of 2 ended, waits for its processes to end")
        screen.until("status` shows the state")
        with process:
            assert process.wait(30) == 3
    said = " ".join(screen.text.split())
    assert "last known: 1 of 2 watchers, 2 of 3 processes; web: 1 of 2 ended" in said
    assert "the next circusd takes up what was decided" in said


def test_into_a_pipe_there_is_no_bar(circusd: FakeCircusd, engine: FakeEngine) -> None:
    with spawn("stop", "web") as process:
        wait_for(lambda: engine.heard, "the order")
        open_gate(circusd)
        assert process.communicate(timeout=30) == ("ok\n", "")
    assert engine.followers == []
