"""A whole conversation with a kernel without a system: bytes of a stranger in, what was understood and said out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from papa.wire import frames, session
from papa.wire.messages import Request
from papa.wire.session import Answer, Close, ServerSession
from tests.fuzz import stub

#: What is understood of a piece: each byte of it may be a line of its own, and no byte more than that.
_PER_BYTE = 1


def talk(pieces: Iterable[bytes], *, hands_over: bool = False) -> list[Any]:
    """What came of it, item by item; with ``hands_over`` an upgrade comes after each piece."""
    peer = stub.Peer()
    heard: list[Any] = []
    for piece in pieces:
        peer.session.feed(piece)
        left = _PER_BYTE * (len(piece) + _held(peer.session)) + 1
        while (item := peer.session.next()) is not None:
            left -= 1
            assert left >= 0, "more is understood than was said"
            heard.append(_describe(item))
            if isinstance(item, Request):
                peer.perform(item)
        if hands_over and not peer.session.is_closed:
            peer.session = ServerSession.unpack(json.loads(json.dumps(peer.session.pack())))
        assert peer.session.is_closed or _held(peer.session) <= _most_held(peer.session)
    return [heard, b"".join(peer.said), peer.session.is_closed, peer.session.is_framed]


def _describe(item: Request | Answer | Close) -> tuple[Any, ...]:
    if isinstance(item, Request):
        return "request", item.op, dict(item.args), item.id, item.body, item.line, item.watch
    if isinstance(item, Close):
        return "close", item.reason, item.data
    return "answer", item.data


def _held(of: ServerSession) -> int:
    packed = of.pack()
    return len(packed["frames"]) if "frames" in packed else len(packed["text"]) + len(packed["line"])


def _most_held(of: ServerSession) -> int:
    if of.is_framed:
        return frames.PREFIX + frames.MAX_HEAD + frames.MAX_BODY
    return session.MAX_LINE + session.MAX_TELNET
