"""Frames: how bytes on a connection are cut into messages, and back.

A frame is ``u32 head length, u32 body length`` (little endian), a head (one JSON object, pure ASCII) and a
body (any bytes). The one idea: lengths come first and are bounded, so a peer that lies is found out after
eight bytes, and no input can make the decoder hold more than one largest frame and what one read brought.

Not here: what a head means (``messages``) and when a connection speaks frames (``session``).
"""

from __future__ import annotations

from struct import Struct

from papa import jsontext
from papa.errors import PapaError, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_INFINITY = float("inf")
_LENGTHS = Struct("<II")
PREFIX = _LENGTHS.size

#: An environment and arguments as large as the system takes them (2 MiB) fit, escaped as JSON.
MAX_HEAD = 4 * 1024 * 1024
#: Output that is read over the wire comes in pieces of at most this.
MAX_BODY = 1024 * 1024


def encode_frame(head: dict[str, Any], body: bytes = b"") -> bytes:
    """One frame. Raises PapaError ``limit`` when head or body is larger than a peer would take."""
    text = jsontext.dumps(head, separators=(",", ":"), allow_nan=False).encode("ascii")
    if len(text) > MAX_HEAD:
        raise PapaError(
            f"the message takes {len(text)} bytes, more than {MAX_HEAD}",
            code="limit",
            hint="ask for less at a time",
        )
    if len(body) > MAX_BODY:
        raise PapaError(f"the body takes {len(body)} bytes, more than {MAX_BODY}", code="limit")
    return _LENGTHS.pack(len(text), len(body)) + text + body


class FrameDecoder:
    """Bytes in, frames out, however the bytes were cut on their way.

    Feed what was received, then call ``next_frame`` until it returns None, before feeding again.
    """

    __slots__ = ("_buffer", "_start")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._start = 0

    @property
    def held(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._buffer) - self._start

    @property
    def rest(self) -> bytes:
        """These bytes."""
        return bytes(self._buffer[self._start :])

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next_frame(self) -> tuple[dict[str, Any], bytes] | None:
        """The next whole frame, or None. Raises ProtocolError; the connection cannot go on after that."""
        if self.held < PREFIX:
            return None
        head_size, body_size = _LENGTHS.unpack_from(self._buffer, self._start)
        if head_size > MAX_HEAD:
            raise ProtocolError(f"a frame's head is announced with {head_size} bytes, more than {MAX_HEAD}")
        if body_size > MAX_BODY:
            raise ProtocolError(f"a frame's body is announced with {body_size} bytes, more than {MAX_BODY}")
        if self.held < PREFIX + head_size + body_size:
            return None
        middle = self._start + PREFIX + head_size
        head = _load(bytes(self._buffer[self._start + PREFIX : middle]))
        body = bytes(self._buffer[middle : middle + body_size])
        self._start = middle + body_size
        if self._start == len(self._buffer):
            self._buffer.clear()
            self._start = 0
        return head, body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    """What is beyond all floats would be read as infinity, which no JSON can say again."""
    number = float(text)
    if number in (_INFINITY, -_INFINITY):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _load(text: bytes) -> dict[str, Any]:
    try:
        # Decoded first: jsontext.loads would guess UTF-16 and UTF-32 from the first bytes.
        head = jsontext.loads(text.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a frame's head is no JSON: {error}") from None
    if not isinstance(head, dict):
        raise ProtocolError("a frame's head is no JSON object")
    return head
