"""Messages: what the heads of frames mean: requests, replies and events.

A request has an ``op``; with a number ``rq`` it is answered by exactly one reply, without one by none, not
even on error. A reply says ``re`` and either ``ok`` or ``error``. An event says ``ev`` and belongs to no
request. One class for each, the same at both ends; a server builds the last two, a client the first.

Not here: which operations there are and what their arguments must be; the kernel's commands say that.
"""

from __future__ import annotations

from papa.errors import PapaError, ProtocolError
from papa.wire import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

#: Numbers of requests are the client's business; the bound keeps them short and exact in any JSON library.
MAX_REQUEST_ID = 2**53 - 1
#: No operation's name is longer; an unknown one is repeated in the error.
MAX_OP = 64
#: An error repeats what was wrong, which may be as long as a frame.
MAX_ERROR_TEXT = 4096
#: Descriptors in one message; Linux takes 253 (SCM_MAX_FD), a process never has more than four.
MAX_FDS = 16


class Request:
    """What a client asks for. ``id`` is its number on this connection; None for a one-way request.

    From text come ``line`` (the command as typed) and ``watch`` (the process that this spawns is to be
    watched).
    """

    __slots__ = ("args", "body", "id", "line", "op", "watch")

    def __init__(
        self,
        op: str,
        args: dict[str, Any],
        *,
        id: int | None = None,
        body: bytes = b"",
        line: str | None = None,
        watch: bool = False,
    ) -> None:
        self.op = op
        self.args = args
        self.id = id
        self.body = body
        self.line = line
        self.watch = watch

    def __repr__(self) -> str:
        return f"<request {self.op} id={self.id}>"


class Reply:
    """The answer to request ``id``: ``ok``, unless ``error`` is set.

    ``fds`` names the descriptors in order.
    """

    __slots__ = ("body", "error", "fds", "id", "ok")

    def __init__(
        self,
        id: int,
        ok: dict[str, Any],
        *,
        error: PapaError | None = None,
        fds: Sequence[str] = (),
        body: bytes = b"",
    ) -> None:
        self.id = id
        self.ok = ok
        self.error = error
        self.fds = tuple(fds)
        self.body = body

    def __repr__(self) -> str:
        return f"<reply to {self.id}: {'ok' if self.error is None else self.error.code}>"


class Event:
    """Something that happened: ``exit``, ``output``, ``eof`` or ``fault``, with its fields."""

    __slots__ = ("body", "fields", "name")

    def __init__(self, name: str, fields: dict[str, Any], *, body: bytes = b"") -> None:
        self.name = name
        self.fields = fields
        self.body = body

    def __repr__(self) -> str:
        return f"<event {self.name}>"


def encode_request(op: str, args: Mapping[str, Any], *, id: int | None = None, body: bytes = b"") -> bytes:
    head: dict[str, Any] = {} if id is None else {"rq": id}
    head["op"] = op
    head.update(args)
    return frames.encode_frame(head, body)


def encode_reply(id: int, ok: Mapping[str, Any], *, fds: Sequence[str] = (), body: bytes = b"") -> bytes:
    head: dict[str, Any] = {"re": id, "ok": ok}
    if fds:
        head["fds"] = list(fds)
    return frames.encode_frame(head, body)


def encode_error(id: int, error: PapaError) -> bytes:
    """The error, whatever is in it: text is cut to MAX_ERROR_TEXT, details that fit no frame are left out."""
    fields: dict[str, Any] = {
        "code": error.code,
        "message": error.message[:MAX_ERROR_TEXT],
        "hint": error.hint[:MAX_ERROR_TEXT],
        "details": error.details,
    }
    try:
        return frames.encode_frame({"re": id, "error": fields})
    except PapaError:
        fields["details"] = {}
        return frames.encode_frame({"re": id, "error": fields})


def encode_event(name: str, fields: Mapping[str, Any], *, body: bytes = b"") -> bytes:
    return frames.encode_frame({"ev": name, **fields}, body)


def parse_request(head: dict[str, Any], body: bytes = b"") -> Request:
    """A request from a frame. Raises ProtocolError when it is none; its arguments are not looked at."""
    op = head.pop("op", None)
    if not isinstance(op, str) or not 0 < len(op) <= MAX_OP:
        raise ProtocolError("a request has no op")
    id = head.pop("rq", None)
    return Request(op, head, id=None if id is None else _parse_id(id), body=body)


def parse_answer(head: dict[str, Any], body: bytes = b"") -> Reply | Event:
    """A reply or an event from a frame. Raises ProtocolError when it is neither."""
    if "ev" in head:
        name = head.pop("ev")
        if not isinstance(name, str):
            raise ProtocolError("an event has no name")
        return Event(name, head, body=body)
    id = _parse_id(head.get("re"))
    if "error" in head:
        return Reply(id, {}, error=_parse_error(head["error"]))
    ok = head.get("ok")
    fds = head.get("fds", [])
    if not isinstance(ok, dict):
        raise ProtocolError("a reply has neither ok nor error")
    if not isinstance(fds, list) or len(fds) > MAX_FDS or not all(isinstance(n, str) for n in fds):
        raise ProtocolError("a reply's descriptors have no proper names")
    return Reply(id, ok, fds=fds, body=body)


def _parse_error(fields: object) -> PapaError:
    if not isinstance(fields, dict):
        raise ProtocolError("a reply's error is no object")
    code, message = fields.get("code"), fields.get("message")
    hint, details = fields.get("hint", ""), fields.get("details") or {}
    if not (isinstance(code, str) and isinstance(message, str) and isinstance(hint, str) and isinstance(details, dict)):
        raise ProtocolError("a reply's error lacks its code or message")
    return PapaError(message, code=code, hint=hint, details=details)


def _parse_id(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_REQUEST_ID:
        raise ProtocolError("a message has no proper number of a request")
    return value
