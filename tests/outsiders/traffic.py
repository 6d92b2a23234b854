"""Clients that ask without a pause while something happens to whom they ask, and what they were answered."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.house import BIN, House, wait_for

#: So many answers more show that it goes on.
FEW = 10

#: A client that waits longer has failed; the machine is busy.
ANSWER_S = 60

Ask = Callable[[], None]


class Traffic:
    """Each of ``clients`` is opened, and asked over and over, in a thread of its own; it raises what is wrong."""

    def __init__(self, *clients: AbstractContextManager[Ask]) -> None:
        self._answers = [0] * len(clients)
        self._failures: list[str] = []
        self._has_ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number, client)) for number, client in enumerate(clients)
        ]

    @property
    def answers(self) -> int:
        return sum(self._answers)

    def _run(self, number: int, client: AbstractContextManager[Ask]) -> None:
        try:
            with client as ask:
                while not self._has_ended.is_set():
                    ask()
                    self._answers[number] += 1
        except Exception as error:
            self._failures.append(f"client {number}, after {self._answers[number]} answers: {error!r}")

    def goes_on(self) -> None:
        """Each client has got some more answers, and none has failed."""
        before = list(self._answers)

        def has_more() -> bool:
            assert not self._failures, self._failures
            return all(now >= then + FEW for now, then in zip(self._answers, before, strict=True))

        wait_for(has_more, "more answers", timeout_s=ANSWER_S)

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        for thread in self._threads:
            thread.join()
        assert not self._failures, self._failures


def call(port: int) -> bytes:
    """All that is said at this port to who says nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as connection:
        said = b""
        while chunk := connection.recv(1000):
            said += chunk
        return said


class _Local(http.client.HTTPConnection):
    """By a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_S)
        self.sock.connect(str(self._path))


def visits(place: int | Path) -> AbstractContextManager[Ask]:
    """A connection for each request, as one that stays open may be closed by a server at any time."""

    def ask() -> None:
        if isinstance(place, int):
            connection = http.client.HTTPConnection("127.0.0.1", place, timeout=ANSWER_S)
        else:
            connection = _Local(place)
        try:
            connection.request("GET", "/visit")
            answer = connection.getresponse()
            said = answer.read()
            assert (answer.status, said[:10]) == (200, b"served by "), (answer.status, said)
        finally:
            connection.close()

    return contextlib.nullcontext(ask)


def survives_all(house: House, watcher: str, traffic: Traffic) -> None:
    """circusd leaves, dies and is replaced, papa dies and is replaced: the same processes answer all the time."""
    before = house.pids(watcher)
    assert before
    traffic.goes_on()
    for what in (house.quit, house.kill):
        what()
        traffic.goes_on()
        house.start()
        traffic.goes_on()
    house.asked("upgrade")
    traffic.goes_on()
    house.kill_kernel()
    traffic.goes_on()
    done = house.run(BIN / "papa", "upgrade")
    assert done.returncode == 0, done.stderr
    traffic.goes_on()
    wait_for(house.is_up, "all of it up")
    assert house.pids(watcher) == before
