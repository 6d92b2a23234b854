"""Records of processes and sockets: refused with what recovery expects, or understood so that all that comes after
can be done with them: named, shown, listed and written again."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from papa import jsontext, model
from papa.core.entries import Process, Socket
from papa.core.output import Output
from papa.core.table import Table
from papa.errors import PapaError
from papa.kernel import records
from papa.wire import messages, text_reply
from tests.fuzz import house, shapes

ROOMS = ("papa.kernel.records", "papa.model")
BOUNDS = ((model, "MAX_META", 300),)
_FIELDS = ("version", "boot", "name", "argv", "digest", "pid", "ticks", "started_at", "meta", "uid", "gid", "exit",
           "removed", "captured", "bounds", "inodes", "spec", "port", "fileno", "file",
           *model.SocketSpec.__slots__)  # fmt: skip
WORDS = [
    *(f'"{field}":'.encode() for field in dict.fromkeys(_FIELDS)), b"null", b"true", b"false", b"1e999", b"NaN", b"-1",
    b"[]", b"{}", b'"x"', b'["out","err"]', b"1.5", b"9" * 40, b"9" * (house.DIGITS + 1), b'"\\ud800"', b'"a b"',
    b"[" * 1000,
]  # fmt: skip

#: What recovery answers by leaving the record aside.
_EXPECTED = (KeyError, TypeError, ValueError, PapaError)


@functools.cache
def _bases() -> list[Any]:
    newest = max((Path(__file__).parents[1] / "golden").glob("[0-9]*"), key=lambda path: int(path.name))
    return [
        json.loads(path.read_bytes()) for kind in ("process", "socket") for path in sorted(newest.glob(f"{kind}-*"))
    ]


def seeds() -> list[bytes]:
    folder = Path(__file__).parents[1] / "golden"
    golden = [path.read_bytes() for path in sorted([*folder.glob("*/process-*.json"), *folder.glob("*/socket-*.json")])]
    one = json.loads(golden[0])
    odd: list[tuple[str, Any]] = [
        ("name", ["web"]), ("name", 5), ("name", ""), ("pid", 2**70), ("pid", -1), ("inodes", [float("inf")]),
        ("started_at", float("nan")), ("argv", [1]), ("captured", ["../x"]), ("bounds", ["a", "b", "c"]), ("uid", "x"),
        ("exit", "ab"), ("meta", {"a": float("inf")}), ("removed", "no"), ("ticks", "x"), ("digest", "\ud800"),
        ("exit", [None, "x"]),
    ]  # fmt: skip
    return [*golden, *shapes.seeds(_bases()), *(json.dumps({**one, key: value}).encode() for key, value in odd)]


def check(data: bytes) -> None:
    try:
        record = shapes.shape(data, _bases()) if shapes.is_shape(data) else jsontext.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(record, dict):
        _process(record)
        _socket(record)


def _process(record: dict[str, Any]) -> None:
    try:
        process = records.to_process(7, record)
        bounds = records.bounds_of(record)
        captured, inodes = records.streams_of(record)
    except _EXPECTED:
        return
    if captured:
        output = Output(captured, bounds)
        output.next_step(1.0)
        process.output = output
        Output.recover(dict.fromkeys(captured, 5), 64, b"", {}, bounds)
    table = Table()
    table.add_process(process)
    _show(table, process)
    if process.is_running:
        table.end(process, 0, 1.5)
    written = records.of_process(process, "boot", inodes=inodes)
    same = json.loads(json.dumps(written))
    again = records.to_process(7, same)
    if captured:
        assert records.bounds_of(same).pack() == bounds.pack()
        assert records.bounds_of(same).pack_streams() == bounds.pack_streams()
    of_output = {"captured": [], "bounds": None, "each": None}
    assert {**records.of_process(again, "boot", inodes=inodes), **of_output} == {**written, **of_output}
    table.remove_process(process)


def _socket(record: dict[str, Any]) -> None:
    try:
        socket, file = records.to_socket(7, record)
    except _EXPECTED:
        return
    table = Table()
    table.add_socket(socket)
    _show(table, socket)
    written = records.of_socket(socket, "boot", file)
    again, same = records.to_socket(7, json.loads(json.dumps(written)))
    assert records.of_socket(again, "boot", same) == written


def _show(table: Table, entry: Process | Socket) -> None:
    what = "processes" if isinstance(entry, Process) else "sockets"
    rows, _ = table.rows(what, [], {})
    messages.encode_reply(1, {"items": rows})
    text_reply.render_reply("list", {"items": rows})
    if isinstance(entry, Process):
        # What finds it again, and its end.
        assert 0 <= entry.pid <= model.MAX_PID
        if entry.exit is not None:
            text_reply.render_closed(str(entry.name), *reversed(entry.exit))  # type: ignore[arg-type]
            int(entry.exit[1] * 1e9)
