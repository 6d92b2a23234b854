"""ZMTP 3, one side of one connection as bytes: what a peer says, and what is said to it. Pure.

Without authentication (the mechanism NULL), as the ancestors had it. A peer of ZMTP 3.1 speaks 3.0 with us. What is too
large is passed over without being kept; its sender is told of, and goes on.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass

#: Of one message, all its parts together; an order of the control API has 64 KiB at most.
MAX_MESSAGE = 256 * 1024

#: Parts of one message: the envelopes of proxies, and what they are around.
MAX_FRAMES = 16

#: Of a command of the wire, of which the largest is READY with its properties.
MAX_COMMAND = 4096

#: Of what a PING carries, which the answer carries back.
MAX_PING_CONTEXT = 16

#: What is passed over is taken in pieces of this size.
_PIECE = 64 * 1024

_SIGNATURE = b"\xff\0\0\0\0\0\0\0\0\x7f"
GREETING = _SIGNATURE + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)

_MORE, _LONG, _COMMAND = 1, 2, 4


class NotSpoken(Exception):
    """These bytes are not this language, or go beyond what is taken; the connection ends."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The peer has said what it is: DEALER, REQ, SUB..."""

    kind: str


@dataclass(frozen=True, slots=True)
class Message:
    frames: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The beginning of a message that was passed over: the parts before the one that was too much."""

    frames: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Subscription:
    topic: bytes
    is_wanted: bool


@dataclass(frozen=True, slots=True)
class Ping:
    context: bytes


Said = Ready | Message | TooLarge | Subscription | Ping


class Parser:
    """Takes bytes as they come, from the first one of a connection on."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._said: list[Said] = []
        self._parsing = self._parse()
        self._wanted = next(self._parsing)

    def feed(self, data: bytes | memoryview) -> list[Said]:
        """What is whole now.

        Raises: NotSpoken; nothing more can be fed then.
        """
        self._pending += data
        at = 0
        while len(self._pending) - at >= self._wanted:
            piece = bytes(self._pending[at : at + self._wanted])
            at += self._wanted
            self._wanted = self._parsing.send(piece)
        del self._pending[:at]
        said, self._said = self._said, []
        return said

    def _parse(self) -> Generator[int, bytes, None]:
        """Yields how many bytes it wants next."""
        yield from self._greeting()
        flags, size = yield from self._head()
        if not flags & _COMMAND or size > MAX_COMMAND:
            raise NotSpoken("it does not say that it is ready")
        kind = _kind((yield size))
        self._said.append(Ready(kind))
        while True:
            yield from self._message()

    def _greeting(self) -> Generator[int, bytes, None]:
        if (yield 1) != _SIGNATURE[:1] or (yield 9)[-1:] != _SIGNATURE[-1:]:
            raise NotSpoken("it does not speak ZMTP")
        if (yield 1)[0] < 3:
            raise NotSpoken("it speaks ZMTP 1 or 2, of a libzmq older than 4.0")
        rest = yield 53
        mechanism = rest[1:21].rstrip(b"\0")
        if mechanism != b"NULL":
            raise NotSpoken(f"it wants the mechanism {mechanism[:20]!r}, and there is none but NULL")

    def _head(self) -> Generator[int, bytes, tuple[int, int]]:
        flags = (yield 1)[0]
        if flags > (_MORE | _LONG | _COMMAND) or (flags & _COMMAND and flags & _MORE):
            raise NotSpoken(f"a frame with the flags {flags:#04x}")
        size = int.from_bytes((yield 8 if flags & _LONG else 1), "big")
        return flags, size

    def _message(self) -> Generator[int, bytes, None]:
        frames: list[bytes] = []
        room = MAX_MESSAGE
        is_whole = False
        while not is_whole:
            flags, size = yield from self._head()
            if flags & _COMMAND:
                if size > MAX_COMMAND:
                    raise NotSpoken(f"a command of {size} bytes")
                self._command((yield size))
                is_whole = not frames  # between two parts a PING may come
                continue
            is_whole = not flags & _MORE
            if size > room or len(frames) == MAX_FRAMES:
                self._said.append(TooLarge(tuple(frames)))
                yield from self._pass_over(size, is_last=is_whole)
                return
            frames.append((yield size))
            room -= size
        if frames:
            self._said.append(Message(tuple(frames)))

    def _pass_over(self, size: int, *, is_last: bool) -> Generator[int, bytes, None]:
        while True:
            while size:
                size -= len((yield min(size, _PIECE)))
            if is_last:
                return
            flags, size = yield from self._head()
            is_last = not flags & (_MORE | _COMMAND)

    def _command(self, body: bytes) -> None:
        length = body[0] if body else 0
        name, rest = body[1 : 1 + length], body[1 + length :]
        if name == b"PING":
            if len(rest) > 2 + MAX_PING_CONTEXT:
                raise NotSpoken(f"a PING of {len(rest)} bytes")
            self._said.append(Ping(rest[2:]))  # behind how long the peer waits
        elif name in (b"SUBSCRIBE", b"CANCEL"):
            self._said.append(Subscription(rest, name == b"SUBSCRIBE"))


def subscription_of(frames: Iterable[bytes]) -> Subscription | None:
    """What a subscriber of ZMTP 3.0 says as a message; None: something else."""
    first, *others = frames
    if others or first[:1] not in (b"\0", b"\1"):
        return None
    return Subscription(first[1:], first[:1] == b"\1")


def _kind(body: bytes) -> str:
    if not body.startswith(b"\x05READY"):
        raise NotSpoken("it does not say that it is ready")
    at = 6
    while at < len(body):
        name_end = at + 1 + body[at]
        value_at = name_end + 4
        value_end = value_at + int.from_bytes(body[name_end:value_at], "big")
        if value_end > len(body):
            break
        if body[at + 1 : name_end].lower() == b"socket-type":
            return body[value_at:value_end].decode("ascii", "replace")
        at = value_end
    raise NotSpoken("it does not say what kind of socket it is")


# What is said -----------------------------------------------------------------------------------------------


def ready(kind: str) -> bytes:
    """Behind the greeting: what we are."""
    told = b"\x05READY" + _property(b"Socket-Type", kind.encode("ascii"))
    if kind == "ROUTER":
        told += _property(b"Identity", b"")
    return bytes((_COMMAND, len(told))) + told


def pong(context: bytes) -> bytes:
    told = b"\x04PONG" + context
    return bytes((_COMMAND, len(told))) + told


def message(frames: Iterable[bytes]) -> bytes:
    parts = []
    *first, last = frames
    for frame, more in [*((frame, _MORE) for frame in first), (last, 0)]:
        if len(frame) < 256:
            parts.append(bytes((more, len(frame))))
        else:
            parts.append(bytes((more | _LONG,)) + len(frame).to_bytes(8, "big"))
        parts.append(frame)
    return b"".join(parts)


def _property(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + len(value).to_bytes(4, "big") + value
