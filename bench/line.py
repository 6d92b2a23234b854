"""The thinnest client: a connection in frames that counts replies and events and decodes none while a clock runs."""

from __future__ import annotations

import socket
import threading
from struct import Struct
from typing import Any

from papa import jsontext
from papa.wire import text_reply
from papa.wire.session import ClientSession

_LENGTHS = Struct("<II")

#: As long as anything here may take on a loaded machine.
PATIENCE_S = 120.0


class Line:
    """``replies`` and ``events`` are heads of frames, as they came."""

    def __init__(self, path: str) -> None:
        self._session = ClientSession()
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(PATIENCE_S)
        self._sock.connect(path)
        self._sock.sendall(self._session.opening())
        greeting = text_reply.GREETING + self._session.opening()
        self._buffer = bytearray()
        while len(self._buffer) < len(greeting):
            self._buffer += self._sock.recv(1 << 16)
        del self._buffer[: len(greeting)]
        self.replies: list[bytes] = []
        self.events: list[bytes] = []

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def request(self, op: str, **args: Any) -> bytes:
        """The bytes of a request, which nobody has sent yet."""
        return self._session.request(op, args)[1]

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def send_beside(self, data: bytes) -> threading.Thread:
        """The same in a thread: the kernel takes no more while its answers are not read."""
        thread = threading.Thread(target=self._sock.sendall, args=(data,), daemon=True)
        thread.start()
        return thread

    def await_replies(self, count: int) -> None:
        while len(self.replies) < count:
            self.receive()

    def await_exits(self, count: int) -> None:
        """``count`` events of ends, which are taken away."""
        while count:
            ends = [event for event in self.events if event.startswith(b'{"ev":"exit"')]
            count -= len(ends)
            self.events.clear()
            if count:
                self.receive()

    def ask(self, op: str, **args: Any) -> dict[str, Any]:
        self.replies.clear()
        self.send(self.request(op, **args))
        self.await_replies(1)
        return self.oks()[0]

    def oks(self) -> list[dict[str, Any]]:
        """What the replies say, which are taken away; an error is one here, too."""
        heads = [jsontext.loads(reply) for reply in self.replies]
        self.replies.clear()
        for head in heads:
            if "ok" not in head:
                raise RuntimeError(head)
        return [head["ok"] for head in heads]

    def receive(self) -> None:
        data = self._sock.recv(1 << 18)
        if not data:
            raise ConnectionError("the kernel closed the connection")
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _LENGTHS.size:
            head, body = _LENGTHS.unpack_from(buffer, at)
            end = at + _LENGTHS.size + head + body
            if end > len(buffer):
                break
            frame = bytes(buffer[at + _LENGTHS.size : at + _LENGTHS.size + head])
            (self.replies if frame.startswith(b'{"re"') else self.events).append(frame)
            at = end
        del buffer[:at]
