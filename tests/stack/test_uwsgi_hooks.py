"""The hooks of examples/stack against a stats server that says what a test wants."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from examples.stack.examples import uwsgi_lossless_reload as hooks


def worker(**told: Any) -> dict[str, Any]:
    facts = {"id": 1, "pid": 7, "status": "idle", "accepting": 1, "apps": [{"id": 0}], "requests": 0}
    facts |= {"exceptions": 0, "avg_rt": 0, "respawn_count": 1, "cores": [{"in_request": 0}]}
    return facts | told


def answer(*workers: dict[str, Any], pid: int | None = None) -> dict[str, Any]:
    sockets = [{"name": "/srv/sock/uwsgi"}]
    return {
        "pid": os.getpid() if pid is None else pid,
        "workers": workers or [worker()],
        "sockets": sockets,
        "listen_queue": 3,
        "load": 0,
    }


class StatsServer:
    """Gives the answers one after another, the last one again and again; ``told`` counts them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: list[dict[str, Any]] = []
        self.told = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if not self.answers:
                    return
                connection.sendall(json.dumps(self.answers[min(self.told, len(self.answers) - 1)]).encode())
                self.told += 1

    def close(self) -> None:
        self.answers.clear()
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
            self._thread.join(10)
        self._listener.close()
        assert not self._thread.is_alive()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsServer]:
    monkeypatch.chdir(tmp_path)
    server = StatsServer(Path("1.stats"))
    yield server
    server.close()


def watcher(**told: Any) -> Any:
    facts: dict[str, Any] = {
        "cmd": "uwsgi --stats $(circus.wid).stats",
        "processes": {os.getpid(): SimpleNamespace(wid=1)},
        "sockets": {"web": SimpleNamespace(path="/srv/sock/uwsgi")},
        "stop_signal": signal.SIGQUIT,
        "graceful_timeout": 10.0,
        "signals": [],
        "_options": {},
    }
    made = SimpleNamespace(**facts | told)
    made.send_signal = lambda pid, signum: made.signals.append((pid, signum))
    return made


def call(hook: Callable[..., bool], watched: Any, **told: Any) -> bool:
    return hook(watcher=watched, arbiter=None, hook_name=hook.__name__, **({"pid": os.getpid()} | told))


def test_an_instance_has_started_when_every_worker_accepts_with_its_application(server: StatsServer) -> None:
    server.answers = [
        answer(worker(accepting=0, apps=[])),
        answer(worker(), worker(id=2, apps=[])),
        answer(worker(), worker(id=2, status="sig255")),
        answer(worker(), worker(id=2, status="busy"), worker(id=3, status="cheap", apps=[])),
    ]
    assert call(hooks.children_started, watcher())
    assert server.told == 4


def test_the_stats_of_the_predecessor_at_the_same_address_are_not_believed(server: StatsServer) -> None:
    server.answers = [answer(pid=1), answer()]
    assert call(hooks.children_started, watcher())
    assert server.told == 2


def test_an_instance_that_ends_has_not_started(server: StatsServer) -> None:
    server.answers = [answer(worker(accepting=0))]
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert not call(hooks.children_started, watcher(), pid=process.pid)


def test_an_instance_at_a_socket_of_its_own_does_not_count_as_started(
    server: StatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "START_LIMIT_S", 0.2)
    server.answers = [answer()]
    assert not call(hooks.children_started, watcher(sockets={"web": SimpleNamespace(path="/srv/sock/other")}))
    assert server.told > 0
    assert call(hooks.children_started, watcher(sockets={"web": SimpleNamespace(port=80)}))


def test_an_instance_is_stopped_when_it_is_paused_and_its_threads_take_nothing_any_more(server: StatsServer) -> None:
    server.answers = [
        answer(),
        answer(worker(status="busy", requests=1)),
        answer(worker(status="pause", requests=2, cores=[{"in_request": 1}])),
        answer(worker(status="pause", requests=2)),
        answer(worker(status="pause", requests=3)),
    ]
    watched = watcher()
    assert call(hooks.clean_stop, watched, signum=signal.SIGQUIT)
    assert watched.signals == [(os.getpid(), signal.SIGTSTP)]
    assert server.told > 6  # more than once like the last one


def test_other_signals_and_an_instance_that_does_not_serve_are_not_kept_waiting(server: StatsServer) -> None:
    watched = watcher()
    assert call(hooks.clean_stop, watched, signum=signal.SIGHUP)
    server.answers = [answer(pid=1)]
    assert call(hooks.clean_stop, watched, signum=signal.SIGQUIT)
    assert watched.signals == []


def test_an_instance_that_never_gets_done_is_stopped_after_its_grace(server: StatsServer) -> None:
    server.answers = [answer(worker(status="busy"))]
    assert call(hooks.clean_stop, watcher(graceful_timeout=0.2), signum=signal.SIGQUIT)


def test_the_statistics_tell_of_queue_and_workers(server: StatsServer) -> None:
    server.answers = [answer(worker(requests=5))]
    stats: dict[str, Any] = {}
    assert call(hooks.extended_stats, watcher(), stats=stats)
    assert stats["uwsgi"]["listen_queue"] == 3
    assert stats["uwsgi"]["workers"]["1"]["requests"] == 5


@pytest.mark.parametrize(
    ("cmd", "wid", "address"),
    [
        ("uwsgi --stats 127.0.0.1:809$(circus.wid)", 2, ("127.0.0.1", 8092)),
        ("uwsgi --stats=:809$(CIRCUS.WID) --master", 3, ("127.0.0.1", 8093)),
        ("uwsgi --stats 127.0.0.1:809$(circus.wid)", 10, ("127.0.0.1", 15374)),
        ("uwsgi --stats /run/$(circus.wid).stats", 4, "/run/4.stats"),
        ("uwsgi --ini live.ini", 5, ("127.0.0.1", 8095)),
    ],
)
def test_the_address_is_the_one_that_the_instance_was_given(cmd: str, wid: int, address: object) -> None:
    assert hooks.stats_address(watcher(cmd=cmd, processes={9: SimpleNamespace(wid=wid)}), 9) == address
