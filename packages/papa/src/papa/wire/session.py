"""Sessions: one connection's state, without its socket: bytes in, messages out, and answers back into bytes.

A server connection begins in text. ``frames 1`` as its first line turns it into frames for good; a watch
turns text into a conversation of shown output and acknowledgements. The two languages meet here: whatever a
connection speaks, the kernel sees the same requests and gives the same replies.

A server does, for each piece received: ``feed(data)``; then call ``next()`` until it is None: a Request is
carried out and answered with ``reply`` or ``refuse``, an Answer is sent, a Close is sent and ends the
connection. Pull one item at a time and answer it before the next: what a text line means depends on how the
one before ended.

A client does: send ``opening()``; ``feed(data)``; call ``next()`` until it is None.
"""

from __future__ import annotations

from papa.errors import PapaError, ProtocolError
from papa.wire import frames, messages, text, text_reply
from papa.wire.messages import Event, Reply, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

#: A text command; an environment of a few hundred variables fits.
MAX_LINE = 64 * 1024
#: A telnet sub-negotiation is a few dozen bytes.
MAX_TELNET = 512

#: What a watch shows: nothing; frames, which the peer acknowledges; lines, for people.
NOTHING, FRAMES, LINES = "", "frames", "lines"

FRAMES_LINE = "frames 1"
_OPENING = b"frames 1\n"

#: The telnet bytes of RFC 854: interpret-as-command, sub-negotiation and its end, the four option commands,
#: break and interrupt (what Ctrl-C sends), "are you there".
_IAC, _SB, _SE = 255, 250, 240
_WILL, _WONT, _DO, _DONT = 251, 252, 253, 254
_BREAK, _INTERRUPT, _THERE = 243, 244, 246
_TIMING_MARK = 6
#: Whatever option a peer asks for or offers is declined, once each time: telnet shows nothing while it waits for
#: the answer to a timing mark (RFC 860), which it asks for after Ctrl-C.
_DECLINED = {_DO: _WONT, _WILL: _DONT}


#: Stands for a line in a watch; whoever breaks off has read nothing.
_INTERRUPTED = bytes((_IAC, _INTERRUPT))


class Answer:
    """Bytes to send at once; no request belongs to them."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Close:
    """Send *data*, then close. *reason* is for the log; "" when the peer asked for it."""

    __slots__ = ("data", "reason")

    def __init__(self, reason: str, data: bytes = b"") -> None:
        self.reason = reason
        self.data = data


class ServerSession:
    """The kernel's end of a connection."""

    __slots__ = ("_at", "_buffer", "_decoder", "_is_closed", "_is_cut", "_is_first", "_line", "_watching")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._line = bytearray()
        #: The line is too long: the rest of it is passed over.
        self._is_cut = False
        self._is_first = True
        self._decoder: frames.FrameDecoder | None = None
        #: What this text connection watches as: NOTHING, FRAMES or LINES.
        self._watching = NOTHING
        self._is_closed = False

    @property
    def is_framed(self) -> bool:
        return self._decoder is not None

    @property
    def is_closed(self) -> bool:
        """It has said its last word."""
        return self._is_closed

    @property
    def held(self) -> int:
        """Bytes that wait for the rest of what they belong to, or for their turn."""
        if self._decoder is not None:
            return self._decoder.held
        return len(self._buffer) - self._at + len(self._line)

    def pack(self) -> dict[str, Any]:
        """What it is in the middle of, for another one's unpack()."""
        if self._decoder is not None:
            return {"frames": self._decoder.rest.decode("latin-1")}
        return {
            "text": self._buffer[self._at :].decode("latin-1"),
            "line": self._line.decode("latin-1"),
            "cut": self._is_cut,
            "first": self._is_first,
            "watching": self._watching,
        }

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> ServerSession:
        self = cls()
        if "frames" in packed:
            self._decoder = frames.FrameDecoder()
            self._decoder.feed(packed["frames"].encode("latin-1"))
            return self
        self._buffer += packed["text"].encode("latin-1")
        self._line += packed["line"].encode("latin-1")
        self._is_cut, self._is_first, self._watching = packed["cut"], packed["first"], packed["watching"]
        return self

    def greeting(self) -> bytes:
        """What to send when the connection is accepted."""
        return text_reply.GREETING

    def feed(self, data: bytes) -> None:
        if self._is_closed:
            return
        if self._decoder is not None:
            self._decoder.feed(data)
            return
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += data

    def next(self) -> Request | Answer | Close | None:
        """The next thing to do, or None when more bytes are needed."""
        if self._is_closed:
            return None
        item = self._next_line() if self._decoder is None else self._next_frame(self._decoder)
        if isinstance(item, Close):
            self._is_closed = True
            self._buffer.clear()
            self._at = 0
        return item

    # Answers

    def reply(self, request: Request, ok: Mapping[str, Any], *, fds: Sequence[str] = (), body: bytes = b"") -> bytes:
        """The bytes that say *ok*; b"" for a one-way request. Descriptors *fds* go out with these bytes.

        A reply that is too large to be sent becomes the error ``limit``.
        """
        if self._decoder is None:
            return self._text_reply(request, ok)
        if request.id is None:
            return b""
        try:
            return messages.encode_reply(request.id, ok, fds=fds, body=body)
        except PapaError as error:
            return messages.encode_error(request.id, error)

    def refuse(self, request: Request, error: PapaError) -> bytes:
        """The bytes that say *error*; b"" for a one-way request."""
        if self._decoder is None:
            return text_reply.render_error(request.op, error)
        return b"" if request.id is None else messages.encode_error(request.id, error)

    def event(self, name: str, fields: Mapping[str, Any]) -> bytes:
        """The bytes that tell of an event; b"" in text, where nothing is told unasked."""
        return b"" if self._decoder is None else messages.encode_event(name, fields)

    def show(self, entries: Iterable[tuple[str, str, int, bytes | int | None]]) -> bytes:
        """One frame of a text watch; the peer acknowledges it with a line (a ``watch-next`` request).

        Entries are (name, ``out`` or ``err``, wall_ns, data) and (name, ``closed``, wall_ns, status).
        """
        parts = []
        for name, kind, wall_ns, what in entries:
            if isinstance(what, bytes):
                parts.append(text_reply.render_output(kind, name, wall_ns, what))
            else:
                parts.append(text_reply.render_closed(name, wall_ns / 1e9, what))
        return b"".join(parts) + text_reply.FRAME_END

    def end_watch(self, *, is_stopped: bool = False) -> bytes:
        """What to send when a watch is over; from here on lines are commands again."""
        self._watching = NOTHING
        return text_reply.render_watch_end(is_stopped)

    def _text_reply(self, request: Request, ok: Mapping[str, Any]) -> bytes:
        if request.op == "watch-next":
            return self.end_watch(is_stopped=request.args["stop"]) if ok["is_over"] else b""
        if request.op == "watch":
            self._watching = LINES if request.args["lines"] else FRAMES
            return text_reply.render_watch_begin(ok["count"], is_for_eyes=self._watching == LINES)
        if request.watch:
            self._watching = FRAMES
        if request.op == "exit":
            self._is_closed = True
        return text_reply.render_reply(request.op, ok, is_watched=request.watch)

    # Reading

    def _next_frame(self, decoder: frames.FrameDecoder) -> Request | Close | None:
        try:
            frame = decoder.next_frame()
            return None if frame is None else messages.parse_request(*frame)
        except ProtocolError as error:
            fault = {"code": "bad-request", "message": error.message}
            return Close(error.message, messages.encode_event("fault", fault))

    def _next_line(self) -> Request | Answer | Close | None:
        try:
            raw = self._take_line()
        except ProtocolError as error:
            return Close(error.message, text_reply.encode(f"Error: {error.message}\n"))
        if raw is None or isinstance(raw, Answer):
            return raw
        # Telnet sends a carriage return alone with a NUL behind it.
        line = raw.replace(b"\r\0", b"\r").decode("utf-8", "surrogateescape").strip()
        is_first, self._is_first = self._is_first, False
        if text.looks_like_http(line):
            # One line and no more: a web page must not reach the kernel.
            return Close("the peer speaks HTTP", b"Error: this is no web server\n")
        if self._watching:
            if raw is _INTERRUPTED:
                return Request("watch-next", {"stop": True, "interrupted": True})
            is_stopped = self._watching == LINES or line.lower() == "q"
            return Request("watch-next", {"stop": is_stopped}, line=line)
        if is_first and line == FRAMES_LINE:
            return self._turn_to_frames()
        try:
            command = text.parse_line(line)
        except PapaError as error:
            return Answer(text_reply.render_error("", error))
        if command is None:
            return Answer(text_reply.PROMPT)
        if isinstance(command, text.Help):
            return Answer(text_reply.answer(command.text))
        if command.op == "quit":
            return Close("", b"ok\n")
        return command

    def _turn_to_frames(self) -> Answer:
        self._decoder = frames.FrameDecoder()
        self._decoder.feed(self._buffer[self._at :])
        self._buffer = bytearray()
        self._at = 0
        return Answer(_OPENING)

    def _take_line(self) -> bytes | Answer | None:
        """The next whole line without its end and without telnet's own bytes, or what must be said at once.

        Raises ProtocolError when a telnet negotiation is too long.
        """
        buffer = self._buffer
        while self._at < len(buffer):
            newline = buffer.find(b"\n", self._at)
            end = len(buffer) if newline < 0 else newline
            command = buffer.find(_IAC, self._at, end)
            if command >= 0:
                end = command
            piece = buffer[self._at : end]
            self._at = end
            if answer := self._add(piece):
                return answer
            if command >= 0:
                size = _telnet_size(buffer, command)
                if size is None:
                    return None
                self._at += size
                said = self._obey(buffer[command + 1 : command + size])
                if said is not None:
                    return said
            elif newline >= 0:
                self._at += 1
                line, self._line = bytes(self._line), bytearray()
                was_cut, self._is_cut = self._is_cut, False
                if not was_cut or self._watching:
                    return line
        return None

    def _add(self, piece: bytes | bytearray) -> Answer | None:
        """Adds to the line; one that is too long is answered at once, and what else comes of it is forgotten."""
        if self._is_cut:
            return None
        self._line += piece
        if len(self._line) <= MAX_LINE:
            return None
        self._line.clear()
        self._is_cut = True
        self._is_first = False
        if self._watching:
            # Any line acknowledges.
            return None
        error = PapaError(f"a line is longer than {MAX_LINE} bytes", hint="it was not read")
        return Answer(text_reply.render_error("", error))

    def _obey(self, command: bytes | bytearray) -> bytes | Answer | None:
        """What follows from a telnet command: an answer, a line that was typed with one key, or nothing."""
        code = command[0]
        if code == _IAC:
            return self._add(b"\xff")
        if code in _DECLINED:
            declined = bytes((_IAC, _DECLINED[code], command[1]))
            # What telnet was sent before this answer it has thrown away, the prompt after Ctrl-C too.
            is_awaited = command[1] == _TIMING_MARK and not self._watching
            return Answer(declined + (b"\n" + text_reply.PROMPT if is_awaited else b""))
        if code in (_BREAK, _INTERRUPT):
            self._line.clear()
            self._is_cut = False
            return _INTERRUPTED if self._watching else Answer(b"\n" + text_reply.PROMPT)
        if code == _THERE:
            return Answer(b"\nPapa is here.\n" + (b"" if self._watching else text_reply.PROMPT))
        return None


def _telnet_size(buffer: bytearray, at: int) -> int | None:
    """How many bytes the telnet command at this place takes; None when it is not complete."""
    if at + 1 >= len(buffer):
        return None
    code = buffer[at + 1]
    if _WILL <= code <= _DONT:
        return 3 if at + 2 < len(buffer) else None
    if code != _SB:
        return 2
    end = buffer.find(bytes((_IAC, _SE)), at + 2, at + MAX_TELNET)
    if end >= 0:
        return end + 2 - at
    if len(buffer) - at >= MAX_TELNET:
        raise ProtocolError(f"a telnet negotiation is longer than {MAX_TELNET} bytes")
    return None


class ClientSession:
    """A client's end of a connection in frames."""

    __slots__ = ("_decoder", "_greeting", "_last_id", "is_ready")

    def __init__(self) -> None:
        self._greeting = bytearray()
        self._decoder = frames.FrameDecoder()
        self._last_id = 0
        #: The kernel has agreed to speak frames. Requests may be sent before.
        self.is_ready = False

    def opening(self) -> bytes:
        """What to send first; requests may follow at once."""
        return _OPENING

    def request(self, op: str, args: Mapping[str, Any], *, body: bytes = b"") -> tuple[int, bytes]:
        """The number under which the reply will come, and the bytes to send."""
        self._last_id += 1
        return self._last_id, messages.encode_request(op, args, id=self._last_id, body=body)

    def post(self, op: str, args: Mapping[str, Any]) -> bytes:
        """The bytes of a request that gets no reply."""
        return messages.encode_request(op, args)

    def feed(self, data: bytes) -> None:
        """Raises ProtocolError when who answers is no kernel that speaks frames."""
        if self.is_ready:
            self._decoder.feed(data)
            return
        self._greeting += data
        expected = text_reply.GREETING + _OPENING
        if self._greeting.startswith(expected):
            self.is_ready = True
            self._decoder.feed(self._greeting[len(expected) :])
            self._greeting = bytearray()
        elif not expected.startswith(self._greeting):
            shown = bytes(self._greeting[:200]).decode("utf-8", "replace")
            raise ProtocolError(
                f"who answers does not speak frames: {shown!r}",
                code="unreachable",
                hint="another program, or a papa before 2.0, listens there",
            )

    def next(self) -> Reply | Event | None:
        """The next message, or None when more bytes are needed. Raises ProtocolError."""
        frame = self._decoder.next_frame()
        return None if frame is None else messages.parse_answer(*frame)
