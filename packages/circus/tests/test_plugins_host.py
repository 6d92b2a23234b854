"""The process of a plugin, beside a circusd without processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, ClassVar

import pytest
from tests.house import wait_for

from circus.bus import Event
from circus.config.plugins import VARIABLE
from circus.errors import CircusError
from circus.plugins import host
from circus.supervise import events
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher

#: As circusd gives it to a plugin.
IMPORT_PATH = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])


class Running:
    """A plugin's process, and what it tells."""

    started: ClassVar[list[Running]] = []

    def __init__(self, path: str, use: str = "plugin_for_tests.Telling", **config: str) -> None:
        self.started.append(self)
        told = {"name": "x", "use": use, "endpoint": path, "check_delay": 2.5, "config": config}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "circus.plugins"],
            env={**os.environ, "PYTHONPATH": IMPORT_PATH, VARIABLE: json.dumps(told)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def out(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def next(self) -> Any:
        while True:
            line = self.out.readline()
            assert line, self.end()[1]
            if line.startswith("["):
                return json.loads(line)

    def end(self) -> tuple[int, str]:
        _, err = self.process.communicate(timeout=50)
        return self.process.returncode, err


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Whatever became of the test."""
    yield
    while Running.started:
        process = Running.started.pop().process
        process.kill()
        process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "c.sock")


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(make_watcher("web", 2))


@pytest.fixture
def circusd(engine: FakeEngine, path: str) -> Iterator[FakeCircusd]:
    with FakeCircusd(engine, path) as circusd:
        yield circusd


def say(circusd: FakeCircusd, *names: str, watcher: str = "My Web.x") -> None:
    for name in names:
        circusd.call(lambda name=name: circusd.engine.bus.publish(Event(5.0, watcher, name, {"wid": 1})))  # type: ignore[misc]


def test_a_plugin_begins_hears_calls_and_ends(circusd: FakeCircusd, path: str, engine: FakeEngine) -> None:
    running = Running(path, text='a "b" ::: $x', priority="7", endpoint="never")
    assert running.next() == ["init", {"text": 'a "b" ::: $x', "priority": "7"}, 2.5]
    assert running.next() == ["later"]
    say(circusd, "raise", "spawn", "call")
    assert running.next() == ["heard", "my_web.x", "spawn", {"time": 5.0, "wid": 1}]
    assert running.next() == ["called", 1]
    assert running.next() == ["heard", "my_web.x", "call", {"time": 5.0, "wid": 1}]
    assert running.next() == ["async"]
    running.process.send_signal(signal.SIGTERM)
    assert running.next() == ["stop", 0.0]
    status, err = running.end()
    assert status == 0
    assert "as asked" in err
    assert "stop nobody: program nobody not found" in err
    assert "at the end" in err
    assert engine.heard == []


def test_what_happened_while_the_plugin_was_loaded_is_news_and_what_was_before_is_not(
    circusd: FakeCircusd, path: str, engine: FakeEngine
) -> None:
    say(circusd, "before")  # it says of itself that it happened long ago
    wait_for(lambda: [event.name for event in engine.bus.recent] == ["before"], "it has happened")
    running = Running(path)
    circusd.call(lambda: engine.bus.publish(Event(2e10, "web", "since", {})))
    assert running.next()[0] == "init"
    heard = [running.next(), running.next()]
    assert ["heard", "web", "since", {"time": 2e10}] in heard
    running.process.terminate()
    running.end()


def test_a_plugin_survives_circusd_and_goes_on_with_the_next(path: str) -> None:
    running = Running(path)  # before there is any
    first, second = FakeEngine(make_watcher("web")), FakeEngine(make_watcher("web"))
    second.started_at += 1
    with FakeCircusd(first, path) as circusd:
        assert running.next()[0] == "init"
        assert running.next() == ["later"]
        say(circusd, "one")
        assert running.next()[:3] == ["heard", "my_web.x", "one"]
    with FakeCircusd(second, path) as circusd:
        wait_for(lambda: circusd.ops.listeners, "the plugin")
        say(circusd, "two")
        assert running.next() == ["gap", None]
        assert running.next()[:3] == ["heard", "my_web.x", "two"]
        running.process.terminate()
        assert running.next() == ["stop", 0.0]
    assert running.end()[0] == 0


def test_a_plugin_whose_thread_hangs_ends_all_the_same(circusd: FakeCircusd, path: str) -> None:
    running = Running(path)
    running.next()
    running.next()
    say(circusd, "thread")
    assert running.next()[2] == "thread"
    running.process.send_signal(signal.SIGTERM)
    assert running.next() == ["stop", 0.0]
    assert running.end()[0] == -signal.SIGALRM


def test_a_plugin_that_hangs_ends_all_the_same(circusd: FakeCircusd, path: str) -> None:
    running = Running(path)
    running.next()
    running.next()
    say(circusd, "hang")
    assert running.next() == ["hanging"]
    running.process.send_signal(signal.SIGTERM)
    assert running.end()[0] == -signal.SIGALRM


@pytest.mark.parametrize(
    ("use", "said"),
    [
        ("nowhere.Class", "plugin nowhere.Class cannot be made: ModuleNotFoundError: No module named 'nowhere'"),
        ("plugin_for_tests.Nope", "has no attribute 'Nope'"),
        ("plugin_for_tests.Unmade", "cannot be made: ValueError: wrong option"),
        ("plugin_for_tests.NoPlugin", "it has no method start: is it a subclass of circus.plugins.CircusPlugin?"),
        (
            "circus.plugins.resource_watcher.ResourceWatcher",
            "resource_watcher: watcher is missing; write watcher = NAME",
        ),
    ],
)
def test_a_plugin_that_cannot_be_made_says_so_in_one_line(use: str, said: str, path: str) -> None:
    status, err = Running(path, use).end()
    assert status in (1, 3)
    assert said in err
    assert err.count("\n") == 1


def test_a_plugin_that_fails_to_begin_ends_with_its_traceback(circusd: FakeCircusd, path: str) -> None:
    status, err = Running(path, "plugin_for_tests.Failing").end()
    assert status == 1
    assert "OSError: no luck" in err


def test_a_plugin_that_is_not_active_does_not_begin(path: str) -> None:
    assert Running(path, active="no").end()[0] == 1


def test_circus_plugin_runs_one_by_hand(circusd: FakeCircusd, path: str) -> None:
    process = subprocess.Popen(
        [
            *(Path(sys.executable).parent / "circus-plugin", "--endpoint", path, "--check-delay", "3"),
            *("--config", "a:b:c:::d: e f ", "plugin_for_tests.Telling"),
        ],
        env={**os.environ, "PYTHONPATH": IMPORT_PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == ["init", {"a": "b:c", "d": "e f"}, 3.0]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=50)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: CLASS"),
        (["--config", "x", "a.B"], "'x' is no KEY:VALUE"),
        (["--log-level", "loud", "a.B"], "invalid choice: 'loud'"),
        (["--ssh", "host", "a.B"], "unrecognized arguments"),
        (["--log-output", "/nowhere/x", "a.B"], "No such file or directory"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host.logging, "basicConfig", _basic_config)
    assert host.main(words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def _basic_config(*, filename: str | None = None, **_more: object) -> None:
    if filename is not None:
        Path(filename).write_text("")


def test_what_is_not_from_circusd_is_refused() -> None:
    for text in ("", "{", "[]", '{"name": 1}'):
        with pytest.raises(CircusError, match="is not what circusd writes"):
            host._from_circusd(text)


def test_orders_of_a_plugin_are_orders(circusd: FakeCircusd, path: str, engine: FakeEngine) -> None:
    from circus.plugins import CircusPlugin

    plugin = CircusPlugin(path, None, 5.0)
    try:
        assert plugin.call("stop", name="web", waiting=True)["status"] == "ok"
        plugin.cast("start")
        plugin.call("list")  # it has begun by now
        assert engine.heard == [events.Stop(1, ("web",)), events.Start(2)]
        with pytest.raises(NotImplementedError):
            plugin.handle_recv((b"", b""))
    finally:
        plugin.loop.close()
