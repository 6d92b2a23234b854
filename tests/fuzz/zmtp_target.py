"""The ancestors' wire and its messages: heard the same however they are cut, within bounds; each has one reply, or none
if it is a cast."""

from __future__ import annotations

import json
import re
from typing import Any

from circus.legacy.commands import Commands
from circus.legacy.door import zmtp
from circus.legacy.door.zmtp import GREETING, Message, NotSpoken, Parser, TooLarge
from tests.fuzz import house

ROOMS = ("circus.legacy.door.zmtp", "circus.legacy.commands", "circus.legacy.messages")
BOUNDS = ((zmtp, "MAX_MESSAGE", 400), (zmtp, "MAX_FRAMES", 3), (zmtp, "MAX_COMMAND", 100), (zmtp, "_PIECE", 64))
_COMMANDS = (
    '{"command": "list"}', '{"command": "list", "properties": {"name": "a"}, "id": 7, "msg_type": "cast"}',
    '{"command": "status", "id": [1]}', '{"command": "status", "properties": {"name": "a"}}',
    '{"command": "stats", "properties": {"name": "a", "process": 3, "extended": true}}', '{"command": "stats"}',
    '{"command": "get", "properties": {"name": "a", "keys": ["cmd"]}}', '{"command": "options", "properties": {}}',
    '{"command": "set", "properties": {"name": "a", "options": {"cmd": "x"}, "waiting": true}}',
    '{"command": "add", "properties": {"name": "a", "cmd": "x", "args": [], "options": {}, "start": true}}',
    '{"command": "rm", "properties": {"name": "a", "nostop": "yes"}}', '{"command": "listen"}',
    '{"command": "kill", "properties": {"name": "a", "pid": "3", "signum": 9, "graceful_timeout": 1.5}}',
    '{"command": "signal", "properties": {"name": "a", "signum": "hup", "child_pid": 3, "recursive": "on"}}',
    '{"command": "stop", "properties": {"name": "a*", "match": "regex"}}', '{"command": "listsockets"}',
    '{"command": "reload", "properties": {"graceful": false, "sequential": 1}}', '{"command": "dstats"}',
    '{"command": "incr", "properties": {"name": "a", "nb": "2"}}', '{"command": "NumProcesses", "properties": null}',
    '{"command": "globaloptions", "properties": {"option": "endpoint"}}', '{"command": "quit"}',
)  # fmt: skip
WORDS = [
    *(command.encode() for command in _COMMANDS), GREETING, zmtp.ready("REQ"), zmtp.message((b"", b"{}")),
    b"\x04\x0b\x04PING\0\0test", b"\x04\x0a\x09SUBSCRIBE", b"\x02\0\0\0\0\0\0\1\0", b"\xff" * 8, b'"\\ud800"', b"1e999",
    b"[" * 200, b'"properties": ', b'"waiting": true', b"null",
]  # fmt: skip

_WATCHER = {"name": "a", "state": "active", "numprocesses": 1}
_ANSWERS = (
    (r"/v1/watchers", {"watchers": ["a", "b c"]}),
    (r"/v1/watchers/[^/]+", {"pids": [1]}),
    (r"/v1/status", {"watchers": [_WATCHER]}),
    (r"/v1/status/.+", _WATCHER),
    (r"(.*/)?options(\?.*)?", {"options": {"cmd": "x", "endpoint": None}}),
    (r"/v1/sockets", {"sockets": [{"name": "s", "fileno": 3, "path": "/x"}]}),
    (r"/v1/stats(\?.*)?", {"infos": {"a": {"3": {}}}}),
    (r".*", {"info": {}, "started": [], "stopped": [], "kept": [], "numprocesses": None}),
)


class _Circusd:
    """Answers whatever is asked, if it can be sent."""

    def get(self, target: str) -> dict[str, Any]:
        target.encode("ascii")
        return next(dict(answer) for form, answer in _ANSWERS if re.fullmatch(form, target))

    def post(self, target: str, body: dict[str, object]) -> dict[str, Any]:
        json.dumps(body)
        return self.get(target)


_commands = Commands(_Circusd())


def seeds() -> list[bytes]:
    hello = GREETING + zmtp.ready("DEALER")
    said = [zmtp.message((command.encode(),)) for command in _COMMANDS]
    return [
        house.whole(hello, *said[:2]),
        *(house.whole(b"", each) for each in said),
        house.whole(b"\xff", b"".join(said)),
        house.whole(b"", zmtp.message((b"e", b"", _COMMANDS[0].encode()))),
        house.whole(b"", zmtp.message((b"\1watcher.",)) + b"\x04\x0b\x04PING\0\0test"),
        house.whole(b"", zmtp.message((b"x" * 401,)) + zmtp.message((b"x",) * 5) + said[0]),
    ]


def check(data: bytes) -> None:
    pieces = house.cut(data)
    for beginning in (b"", GREETING + zmtp.ready("DEALER")):
        told, refused = _heard([beginning, *pieces])
        whole, refused_whole = _heard([beginning + b"".join(pieces)])
        assert refused == refused_whole
        assert refused or told == whole
        for said in told:
            if isinstance(said, TooLarge):
                assert len(said.frames) <= zmtp.MAX_FRAMES
            elif isinstance(said, Message):
                assert sum(map(len, said.frames)) <= zmtp.MAX_MESSAGE
                again, _ = _heard([GREETING + zmtp.ready("DEALER") + zmtp.message(said.frames)])
                assert again[-1] == said
                _check_reply(said.frames[-1])


def _heard(pieces: list[bytes]) -> tuple[list[zmtp.Said], str]:
    """And why it is refused, if it is."""
    parser, told = Parser(), []
    for piece in pieces:
        try:
            told += parser.feed(piece)
        except NotSpoken as reason:
            return told, str(reason)
        assert len(parser._pending) < max(zmtp.MAX_MESSAGE, zmtp.MAX_COMMAND, zmtp._PIECE)
    return told, ""


def _check_reply(text: bytes) -> None:
    reply = _commands.answer_bytes(text)
    if reply is None:
        assert b"cast" in text or b"\\u" in text
        return
    fields = json.loads(reply)
    assert isinstance(fields["time"], float) and "id" in fields and isinstance(fields["status"], str)
    assert fields["status"] != "error" or (fields["errno"] in range(1, 7) and fields["reason"])
