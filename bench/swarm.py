"""Many clients of one circusd in one loop: who follow streams, and who give orders one after the other.

Cheap on purpose: what is measured is circusd. Streams are counted, not decoded.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections import deque
from typing import Any

from papa import places

_CHUNK = 256 * 1024

#: Of a client that does not read: what circusd can get rid of is what this and its own buffer hold.
SLOW_BUFFER = 4096


#: As long as anything here may take on a loaded machine.
PATIENCE_S = 150.0


class Follower:
    """``said``: events; ``gaps``: times that it was told of one, of ``missed`` events or lines in all; ``first_id``,
    ``last_id``: where it was at first, and is."""

    def __init__(self, path: str, target: str, *, is_slow: bool = False) -> None:
        self.is_slow = is_slow
        self.said = self.gaps = self.missed = 0
        self.first_id = self.last_id = self.last_data = ""
        self.is_open = False
        self.has_ended = False
        self._rest = b""
        self.sock = socket.socket(socket.AF_UNIX)
        if is_slow:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
        with places.unix_address(path) as address:
            self.sock.connect(address)  # waits while circusd's queue is full
        self.sock.settimeout(PATIENCE_S)
        self.sock.sendall(f"GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())

    def read(self) -> None:
        """What has come. A slow one is not asked to."""
        data = self.sock.recv(_CHUNK)
        self.has_ended = not data
        data = self._rest + data
        if not self.is_open:
            head, ends, data = data.partition(b"\r\n\r\n")
            if not ends:
                self._rest = head
                return
            assert head.split(None, 2)[1] == b"200", head
            self.is_open = True
        whole, ends, self._rest = data.rpartition(b"\n\n")
        if not ends:
            return
        gaps = [each.partition(b"data: ")[2] for each in whole.split(b"\n\n") if b"event: missed\n" in each]
        self.gaps += len(gaps)
        self.missed += sum(told.get("lines") or told.get("missed") or 0 for told in map(json.loads, gaps))
        self.said += whole.count(b"\ndata: ") - len(gaps)
        if not self.first_id:
            self.first_id = whole.partition(b"id: ")[2].partition(b"\n")[0].decode()
        at = whole.rfind(b"id: ")
        if at >= 0:
            self.last_id = whole[at + 4 :].partition(b"\n")[0].decode()
        at = whole.rfind(b"\ndata: ")
        if at >= 0:
            self.last_data = whole[at + 7 :].partition(b"\n")[0].decode()


class Orderer:
    """Gives one order after the other, each by a connection of its own: `give` when there is no ``sock``.

    ``answers``: status and body of each order that was answered.
    """

    def __init__(self, path: str) -> None:
        self.sock: socket.socket | None = None
        self.taken_s: list[float] = []
        self.answers: list[tuple[int, Any]] = []
        self._path = path
        self.has_ended = False
        self._began = 0.0
        self._rest = b""

    def give(self, target: str, body: dict[str, object]) -> socket.socket:
        data = json.dumps(body).encode()
        head = f"POST {target} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        self._began, self._rest, self.has_ended = time.monotonic(), b"", False
        self.sock = socket.socket(socket.AF_UNIX)
        with places.unix_address(self._path) as address:
            self.sock.connect(address)
        self.sock.settimeout(PATIENCE_S)
        self.sock.sendall(head.encode() + f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
        return self.sock

    def read(self) -> None:
        """What has come; the answer is whole when the connection ends."""
        assert self.sock is not None
        data = self.sock.recv(_CHUNK)
        self._rest += data
        self.has_ended = not data

    def take(self) -> None:
        """The answer."""
        assert self.sock is not None
        head, ends, body = self._rest.partition(b"\r\n\r\n")
        assert ends, f"an order was not answered: {self._rest!r}"
        self.taken_s.append(time.monotonic() - self._began)
        self.answers.append((int(head.split(None, 2)[1]), json.loads(body)))
        self.sock.close()
        self.sock = None


class Swarm:
    def __init__(self, path: str) -> None:
        self.path = path
        self.followers: list[Follower] = []
        self.orderers: list[Orderer] = []
        self._selector = selectors.DefaultSelector()

    def follow(self, target: str, *, is_slow: bool = False) -> Follower:
        follower = Follower(self.path, target, is_slow=is_slow)
        self.followers.append(follower)
        if not is_slow:
            self._selector.register(follower.sock, selectors.EVENT_READ, follower)
        return follower

    def wake(self, follower: Follower) -> None:
        """A slow one begins to read."""
        follower.is_slow = False
        self._selector.register(follower.sock, selectors.EVENT_READ, follower)

    def orderer(self) -> Orderer:
        orderer = Orderer(self.path)
        self.orderers.append(orderer)
        return orderer

    def turn(self, timeout_s: float) -> None:
        """Read what there is; wait for some of it at most so long."""
        for key, _ in self._selector.select(timeout_s):
            client = key.data
            client.read()
            if client.has_ended:
                self._selector.unregister(key.fileobj)
            if isinstance(client, Orderer) and client.has_ended:
                client.take()

    def until(self, fact: Any, what: str, timeout_s: float = PATIENCE_S) -> None:
        """TimeoutError when that is not so in time."""
        deadline = time.monotonic() + timeout_s
        while not fact():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout_s} s: {what}")
            self.turn(0.05)

    def order(self, orders: list[tuple[str, dict[str, object]]], rate: float = 0.0) -> None:
        """All of them, by whoever is free; at most ``rate`` a second, unless it is 0. Returns when all are answered.

        TimeoutError when none is for PATIENCE_S.
        """
        waiting, began, count = deque(orders), time.monotonic(), 0
        answered, heard_at = len(self.answers), began
        while waiting or any(each.sock for each in self.orderers):
            now = time.monotonic()
            if (known := len(self.answers)) > answered:
                answered, heard_at = known, now
            if now > heard_at + PATIENCE_S:
                raise TimeoutError(f"no order was answered for {PATIENCE_S:g} s")
            for each in self.orderers:
                if waiting and each.sock is None and (not rate or began + count / rate <= now):
                    self._selector.register(each.give(*waiting.popleft()), selectors.EVENT_READ, each)
                    count += 1
            self.turn(0.005)

    @property
    def answers(self) -> list[tuple[int, Any]]:
        return [answer for each in self.orderers for answer in each.answers]

    def close(self) -> None:
        self._selector.close()
        for each in (*self.followers, *self.orderers):
            if each.sock is not None:
                each.sock.close()
