"""Frames in both directions: nothing but ProtocolErrors, however they are cut; what was heard can be said again."""

from __future__ import annotations

import json
from typing import Any

from papa.errors import PapaError, ProtocolError
from papa.wire import frames, messages, text_reply
from papa.wire.messages import Event, Reply, Request
from papa.wire.session import ClientSession
from tests.fuzz import house, shapes, talk

ROOMS = ("papa.wire.frames", "papa.wire.messages", "papa.wire.session", "papa.kernel.commands")
BOUNDS = ((frames, "MAX_HEAD", 3000), (frames, "MAX_BODY", 100))
WORDS = [
    b'"op":', b'"rq":', b'"re":', b'"ok":', b'"ev":', b'"error":', b'"fds":', b'"code":', b'"message":', b'"details":',
    b"1e999", b"NaN", b"-1", b"null", b"true", b"[[", b"{}", b'"\\ud800"', b"\0\0\0\0", b"9" * (house.DIGITS + 1),
]  # fmt: skip

_OPENED = text_reply.GREETING + b"frames 1\n"
_HEADS: list[dict[str, Any]] = [
    {"op": "list", "rq": 2, "what": "processes", "patterns": ["w*"]},
    {"op": "more", "seen": [[1, 2, None]]},
    {"re": 1, "ok": {"a": [1.5, None]}, "fds": ["out"]},
    {"re": 2, "error": {"code": "limit", "message": "m", "hint": "h", "details": {"a": 1}}},
    {"ev": "output", "items": [[1, 2, 3]]},
]


def seeds() -> list[bytes]:
    asked = [
        messages.encode_request("hello", {"client": "x"}, id=1),
        messages.encode_request("list", {"what": "processes", "patterns": ["w*"]}, id=2, body=b"body"),
        messages.encode_request("more", {"seen": [[1, 2, None]]}),
        messages.encode_request("spawn", {"name": "a", "argv": ["x"], "meta": {"a": 1.5}, "owner": "o"}, id=3),
    ]
    answered = [
        messages.encode_reply(1, {"a": [1.5, None, "é\udcff"]}, fds=["out"], body=b"body"),
        messages.encode_error(2, PapaError("m", code="limit", hint="h", details={"a": 1})),
        messages.encode_event("output", {"items": [[1, 2, 3]]}, body=b"b"),
    ]
    deep = b'{"op":"x","a":' + b"[" * 900 + b"]" * 900 + b"}"
    odd = [b"{}", b"[]", b"nonsense", b'{"op":"ping","rq":1e999}', b'{"re":1,"ok":{"a":1e999}}', b'{"op":"a","a":NaN}']
    return [
        *(house.whole(request[:5], request[5:] + request) for request in asked),
        *(house.whole(_OPENED[:7], _OPENED[7:] + answer[:9], answer[9:]) for answer in answered),
        *(house.whole(framed(head)) for head in (*odd, deep)),
        house.whole(b"".join(asked)),
        *shapes.seeds(_HEADS),
        house.whole(_OPENED + b"".join(answered)),
        house.whole(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ]


def framed(head: bytes) -> bytes:
    return len(head).to_bytes(4, "little") + bytes(4) + head


def check(data: bytes) -> None:
    if shapes.is_shape(data):
        text = json.dumps(shapes.shape(data, _HEADS)).encode()
        both, at = framed(text) + framed(b'{"op":"ping","rq":9}'), len(data) % 200
        data = house.whole(both[:at], both[at:])
    pieces = house.cut(data)
    whole = b"".join(pieces)
    heard = talk.talk([b"frames 1\n" + whole])
    assert talk.talk([b"frames 1\n", *pieces]) == heard
    assert talk.talk([b"frames 1\n", *pieces], hands_over=True) == heard
    _say_again(whole)
    told = _listen([whole])
    assert _listen(pieces) == told
    assert _listen([_OPENED, *pieces]) == _listen([_OPENED + whole])


def _say_again(data: bytes) -> None:
    """What is understood as requests, said again, means the same."""
    decoder = frames.FrameDecoder()
    decoder.feed(data)
    try:
        while (frame := decoder.next_frame()) is not None:
            assert _is_same(frame, _decoded(_encoded(frame[0], frame[1])))
            request = messages.parse_request(*frame)
            data = _encoded({"op": request.op, **({} if request.id is None else {"rq": request.id}), **request.args})
            again = messages.parse_request(*_decoded(data))
            assert isinstance(again, Request) and (again.op, again.id) == (request.op, request.id)
            assert again.args == request.args
    except ProtocolError:
        pass


def _encoded(head: dict[str, Any], body: bytes = b"") -> bytes:
    """Escapes make a head up to six times longer, and each number a little."""
    bound, frames.MAX_HEAD = frames.MAX_HEAD, 8 * frames.MAX_HEAD
    try:
        return frames.encode_frame(head, body)
    finally:
        frames.MAX_HEAD = bound


def _decoded(data: bytes) -> tuple[dict[str, Any], bytes]:
    bound, frames.MAX_HEAD = frames.MAX_HEAD, 8 * frames.MAX_HEAD
    try:
        decoder = frames.FrameDecoder()
        decoder.feed(data)
        frame = decoder.next_frame()
    finally:
        frames.MAX_HEAD = bound
    assert frame is not None and decoder.held == 0
    return frame


def _is_same(one: tuple[dict[str, Any], bytes], other: tuple[dict[str, Any], bytes]) -> bool:
    return one[0] == other[0] and one[1] == other[1]


def _listen(pieces: list[bytes]) -> list[object]:
    """What a client hears; what it raises is the last thing, and its text is cut where a piece was."""
    client = ClientSession()
    heard: list[object] = []
    try:
        for piece in pieces:
            client.feed(piece)
            while (message := client.next()) is not None:
                heard.append(_describe(message))
    except ProtocolError as error:
        heard.append(error.code)
    return heard


def _describe(message: Reply | Event) -> tuple[object, ...]:
    if isinstance(message, Event):
        return message.name, repr(message.fields), message.body
    error = message.error and (
        message.error.code,
        message.error.message,
        message.error.hint,
        repr(message.error.details),
    )
    return message.id, repr(message.ok), message.fds, message.body, error
