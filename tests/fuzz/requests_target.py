"""What requests ask for: each is done or refused with a PapaError, every answer can be sent, and a specification means
the same when it is read again."""

from __future__ import annotations

import json
from typing import Any

from papa import model
from papa.errors import PapaError, ProtocolError
from papa.wire import messages
from papa.wire.session import ClientSession, ServerSession
from tests.fuzz import house, shapes, stub
from tests.fuzz.frames_target import framed

ROOMS = ("papa.model", "papa.core.table", "papa.core.commit", "papa.core.entries", "papa.kernel.commands")
BOUNDS = ((model, "MAX_META", 300), (model, "MAX_VALUE", 100), (model, "MAX_ARGUMENTS_TOTAL", 500),
          (model, "MAX_VALUES", 4), (model, "MAX_PROCESSES", 5))  # fmt: skip
_FIELDS = ("op", "id", "ids", "name", "names", "what", "patterns", "after", "acks", "exits", "values", "value", "seen",
           "stream", "offset", "limit", "fds", "owner", "supersede", "finds_dead", "python", "folder", "setproctitle",
           "check", "force", "alone", "client", *model.ProcessSpec.__slots__, *model.SocketSpec.__slots__)  # fmt: skip
WORDS = [
    *(f'"{field}":'.encode() for field in dict.fromkeys(_FIELDS)), b"1e999", b"-1", b"null", b"true", b"[", b"{}",
    b'"\\ud800"', b'"\\udcff"', b'"*"', b'"out"', b"9" * house.DIGITS, b"1e308", b"[" * 1000, b"\n",
]  # fmt: skip

#: In one input; each makes a process at most.
MAX_REQUESTS = 20

_SPAWN = {
    "op": "spawn", "name": "a", "argv": ["/bin/x", "\udcff"], "executable": "/x", "env": {"A": "1"}, "cwd": "/",
    "uid": 1, "gid": 2, "groups": [3], "umask": 18, "rlimits": {"nofile": [1, None]}, "stdin": {"socket": "front"},
    "stdout": "null", "stderr": "stdout", "sockets": ["front"], "bound": 1000, "overflow": "block", "stall_s": 1.5,
    "meta": {"a": [1, {"b": 2.5}]}, "owner": "me", "supersede": True, "fds": True, "finds_dead": False,
}  # fmt: skip
_REQUESTS: list[dict[str, Any]] = [
    _SPAWN,
    {"op": "spawn", "name": "web", "argv": ["x"]},
    {"op": "listen", "name": "u", "path": "/a/b", "umask": 18, "replace": True, "type": "seqpacket"},
    {"op": "listen", "name": "i", "family": "inet6", "port": 80, "interface": "lo", "reuseport": True, "meta": {}},
    {"op": "commit", "acks": [[1, "out", 5], [1, "err", 0]], "exits": [2], "values": {"v": None, "w": "\ud800"}},
    {"op": "more", "seen": [[1, 2, None]]},
    {"op": "attach", "id": 1, "owner": "me", "fds": True},
    {"op": "list", "what": "processes", "patterns": ["w*"], "after": 1},
    {"op": "list", "what": "values", "after": "a"},
    {"op": "list", "what": "sockets"},
    {"op": "remove", "what": "processes", "names": ["web"], "ids": [2]},
    {"op": "remove", "what": "values", "names": ["*"]},
    {"op": "set", "name": "v", "value": "x"},
    {"op": "get", "name": "v"},
    {"op": "read", "id": 1, "stream": "out", "offset": 3, "limit": 10},
    {"op": "hello", "client": "circusd"},
    {"op": "upgrade", "python": "/p", "folder": "/f", "check": True},
    {"op": "exit", "force": True},
]


def seeds() -> list[bytes]:
    each = [json.dumps(request).encode() for request in _REQUESTS]
    return [
        *each,
        *shapes.seeds(_REQUESTS),
        b"\n".join(each),
        b"\n".join(reversed(each)),
        b'{"op":"spawn","name":"m","argv":["x"],"meta":{"a":1e999}}\n{"op":"list","what":"processes"}',
        b'{"op":"list","what":' + b"[" * 950 + b"]" * 950 + b"}",
    ]


def check(data: bytes) -> None:
    peer = stub.Peer()
    peer.session.feed(b"frames 1\n")
    peer.session.next()
    for line in data.split(b"\n")[:MAX_REQUESTS]:
        if shapes.is_shape(line):
            line = json.dumps(shapes.shape(line, _REQUESTS)).encode()
        peer.session.feed(framed(line))
        request = peer.session.next()
        if isinstance(request, messages.Request):
            request.id = 1
            _read_again(request)
            peer.perform(request)
        else:
            peer.session = ServerSession.unpack({"frames": ""})
    _hear(b"".join(peer.said))
    _see(peer.host)


def _read_again(request: messages.Request) -> None:
    """A specification that was understood is understood as the same when it is written down."""
    for op, kind in (("spawn", model.ProcessSpec), ("listen", model.SocketSpec)):
        if request.op != op:
            continue
        try:
            spec: Any = kind.parse(request.args)
        except PapaError:
            continue
        again: Any = kind.parse(json.loads(json.dumps(spec.to_json())))
        assert again.to_json() == spec.to_json()
        if op == "listen":
            assert again.is_met_by(spec) and spec.is_met_by(again)
        else:
            assert again.digest(b"k") == spec.digest(b"k")


def _hear(said: bytes) -> None:
    """A client understands every answer."""
    client = ClientSession()
    client.is_ready = True
    client.feed(said)
    while True:
        try:
            if client.next() is None:
                return
        except ProtocolError as error:
            raise AssertionError(f"the kernel's own words are not understood: {error}") from error


def _see(host: stub.Host) -> None:
    """What is in the kernel by now can be shown, in frames and in text."""
    rows = [entry.row() for entry in (*host.table.processes.values(), *host.table.sockets.values())]
    messages.encode_reply(1, {"items": rows})
    person = stub.Peer(host)
    person.session.feed(b"list processes\nlist sockets\nlist values\nget v\nget w\n")
    while (request := person.session.next()) is not None:
        if isinstance(request, messages.Request):
            person.perform(request)
    assert b"".join(person.said).count(b"> ") >= 5
