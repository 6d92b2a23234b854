"""Who asks, listens, follows and visits all the time. What goes wrong is a fault, but where nobody could answer:
circusd was killed. A visitor of the socket has no such excuse, and neither has anybody while a daemon is upgraded.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from circus.control.listening import Listening
from circus.errors import AWAY, CircusError
from papa.places import unix_address
from tests.house import ANSWER_S
from tests.soak import books
from tests.soak.world import CRASHING, EDITED, FORKING, JOBS, QUIET, RESTARTED, World

QUESTIONS = ("/v1/status", "/v1/stats", "/metrics", "/v1/operations", "/v1/watchers/web3/logs?limit=20", "/v1/dstats")
COMMANDS = (["status"], ["stats"], ["logs", "web4", "-n", "5"], ["list", "http"], ["operations"])
LEAVING_EXITS = (*RESTARTED, *QUIET, *FORKING, *CRASHING, *JOBS, "http", EDITED)

#: Connections of one burst; half a request on each.
BURST = 200
#: A fault that repeats says nothing more.
MOST_FAULTS = 20


class Traffic:
    def __init__(self, world: World) -> None:
        self.world = world
        self.exits = books.Exits()
        self.events = books.Events()
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self._has_ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listening: Listening | None = None

    # Threads ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._has_ended.clear()
        questions, commands = itertools.cycle(QUESTIONS), itertools.cycle(COMMANDS)
        works: list[tuple[str, Callable[[], None], float]] = [
            ("questions", lambda: self._ask(next(questions)), 0.1),
            ("circusctl", lambda: self._run(next(commands)), 2.0),
            ("listening", self._listen, 0.0),
            ("followers", self._follow, 1.0),
            ("visitors", self._visit, 0.05),
            ("bursts", self._burst, 15.0),
            ("exits", self.gather_exits, 5.0),
        ]
        self._threads = [threading.Thread(target=self._repeat, args=work, daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Wait for all of them. Who listens has what was told until now."""
        self._has_ended.set()
        for thread in self._threads:
            thread.join(3 * ANSWER_S)
            if thread.is_alive():
                self.faults.append("a client waits for an answer that does not come")
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def _repeat(self, name: str, work: Callable[[], None], pause_s: float) -> None:
        while not self._has_ended.is_set():
            blind = self.world.blind
            try:
                work()
                self.counts[name] += 1
            except Exception as error:
                is_away = isinstance(error, CircusError) and error.code in AWAY
                if is_away and (blind % 2 or self.world.blind != blind):
                    self.counts["unanswered"] += 1
                    self._has_ended.wait(0.05)
                elif len(self.faults) < MOST_FAULTS:
                    self.faults.append(f"{name}: {type(error).__name__}: {error}")
            self._has_ended.wait(pause_s)

    # Works --------------------------------------------------------------------------------------------------

    def _ask(self, target: str) -> None:
        if target == "/metrics":
            sock, page = self.world.client.open_stream(target)
            with sock:
                while more := sock.recv(1 << 16):
                    page += more
            if b"circus_" not in page:
                raise ValueError("a page of metrics without any")
        else:
            self.world.client.get(target)

    def _run(self, words: list[str]) -> None:
        done = self.world.ctl(*words)
        if done.returncode:
            code = "unreachable" if "circusd" in done.stderr else "failed"
            raise CircusError(code, f"circusctl {' '.join(words)}: {done.returncode} {done.stderr}", "")

    def _listen(self) -> None:
        """What has come; the connection is kept."""
        if self._listening is None:
            self._listening = Listening(self.world.client, last_id=self.events.last_id)
        try:
            heard = self._listening.receive()
        except CircusError:
            # It leaves, or another version takes its place: the next one goes on where this one was.
            self._listening.close()
            self._listening = None
            return
        self.events.note(heard)
        if not heard:
            self._has_ended.wait(0.02)

    def _follow(self) -> None:
        """Three who follow lines, of whom one does not read."""
        with contextlib.ExitStack() as stack:
            for name in ("talk1", "talk2", "talk3"):
                sock, _ = self.world.client.open_stream(f"/v1/watchers/{name}/logs?follow=true")
                stack.enter_context(sock)
                sock.settimeout(0.2)
                if name == "talk3":
                    self._has_ended.wait(2)
                    continue
                deadline = time.monotonic() + 1
                while time.monotonic() < deadline and not self._has_ended.is_set():
                    with contextlib.suppress(TimeoutError):
                        if not sock.recv(1 << 16):
                            break

    def _visit(self) -> None:
        with socket.create_connection(("127.0.0.1", self.world.port), ANSWER_S) as peer:
            peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: peer.recv(4096), b""))
        if not answer.endswith(b"ok\n"):
            raise ValueError(f"a visitor got {answer!r}")

    def _burst(self) -> None:
        """Many at once, who go away in the midst of a request."""
        with contextlib.ExitStack() as stack, unix_address(self.world.client.path) as address:
            for _ in range(BURST):
                sock = stack.enter_context(socket.socket(socket.AF_UNIX))
                sock.settimeout(1)
                with contextlib.suppress(OSError):
                    sock.connect(address)
                    sock.sendall(b"GET /v1/status HTTP/1.1\r\nHost:")

    def gather_exits(self) -> None:
        for watcher in LEAVING_EXITS:
            self.exits.note(watcher, self._exits_of(watcher))

    def _exits_of(self, watcher: str) -> list[dict[str, Any]]:
        return list(self.world.client.get(f"/v1/watchers/{watcher}/exits")["exits"])


@contextlib.contextmanager
def going_on(world: World) -> Iterator[Traffic]:
    traffic = Traffic(world)
    traffic.begin()
    try:
        yield traffic
    finally:
        traffic.end()
