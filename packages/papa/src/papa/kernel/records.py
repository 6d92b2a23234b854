"""The records of processes and sockets: what a next incarnation must know, as JSON and back.

The one idea: a record is written with everything that adoption needs and nothing that only a restart would
need, so the environment, which may hold secrets, is in none; its keyed digest says whether two are equal.

A record of another boot is void: its processes are gone, and its numbers may mean others by now.

The fields ``version``, ``boot`` and ``name`` are in every format there will be. Fields that a reader does not know
are passed over; the version rises only when that would be a mistake, and then older readers leave the record alone.
"""

from __future__ import annotations

from papa import model
from papa.core.entries import Process, Socket
from papa.core.output import Bounds
from papa.errors import PapaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

VERSION = 1


#: Ticks, devices and inodes are unsigned 64 bits.
_MAX_UNSIGNED = 2**64 - 1
#: Of the wall clock, in seconds: whole numbers are exact up to here.
_MAX_TIME = 2**53


def check(record: dict[str, Any]) -> None:
    """Raises: KeyError, TypeError; PapaError internal for a record of a format that came after this one."""
    if record["version"] > VERSION:
        raise PapaError(
            f"its format {record['version']} is newer than {VERSION}, the newest that this papa knows", code="internal"
        )


def of_process(process: Process, boot_id: str, *, inodes: Sequence[int] = ()) -> dict[str, Any]:
    """With ``inodes`` of its pipes, by the order of its streams: they find it, or them, after a crash.

    0 is for one that has ended. Whoever wrote none finds none again.
    """
    output = process.output
    return {
        "version": VERSION,
        "boot": boot_id,
        "name": process.name,
        "argv": process.argv,
        "digest": process.digest,
        "pid": process.pid,
        "ticks": process.start_ticks,
        "started_at": process.started_at,
        "meta": process.meta,
        "uid": process.uid,
        "gid": process.gid,
        "exit": process.exit,
        "removed": process.is_removed,
        "captured": [] if output is None else list(output.streams),
        "bounds": None if output is None else output.bounds.pack(),
        "inodes": list(inodes),
        # Who does not know it goes by "bounds".
        **({} if output is None or output.bounds.by_stream is None else {"each": output.bounds.pack_streams()}),
    }


def to_process(number: int, record: dict[str, Any]) -> Process:
    """Without its output, which its files know better; nobody behind has to look at its fields again.

    Raises: KeyError, TypeError, ValueError, PapaError.
    """
    check(record)
    argv = _list(record, "argv")
    if not all(isinstance(word, str) for word in argv) or not isinstance(record["digest"], str):
        raise TypeError("its argv and digest are not made of strings")
    if not isinstance(record["removed"], bool):
        raise TypeError(f"its removed is {record['removed']!r}")
    name = record["name"]
    process = Process(
        number,
        None if name is None else model.check_name(name),
        argv=argv,
        digest=record["digest"],
        pid=_whole(record["pid"], "pid", model.MAX_PID),
        start_ticks=_whole_or_none(record["ticks"], "ticks", _MAX_UNSIGNED),
        started_at=_time(record["started_at"]),
        meta=model.check_meta(record["meta"]),
        uid=_whole_or_none(record["uid"], "uid", model.MAX_ID),
        gid=_whole_or_none(record["gid"], "gid", model.MAX_ID),
    )
    if record["exit"] is not None:
        status, at = _list(record, "exit")
        if status is not None:
            model.check_integer(status, "status", -model.MAX_PID, model.MAX_PID)
        process.exit = status, _time(at)
    process.is_removed = record["removed"]
    return process


def bounds_of(record: dict[str, Any]) -> Bounds:
    """Raises: as to_process()."""
    if record["bounds"] is None:
        return Bounds()
    each = record.get("each")
    if not isinstance(each, (dict, type(None))):
        raise TypeError("its each is no object")
    by_stream = None if each is None else {model.check_stream(key): _bounds(each, key) for key in each}
    return Bounds(*_bounds(record, "bounds", (model.BLOCK, model.DROP_OLDEST))).with_streams(by_stream)


def _bounds(
    record: dict[str, Any], key: str, overflows: Sequence[str] = (model.BLOCK, model.DROP_OLDEST, model.HOLD)
) -> tuple[int, str, float]:
    bound, overflow, stall_s = _list(record, key)
    if overflow not in overflows:
        raise ValueError(f"its overflow is {overflow!r}")
    return model.check_integer(bound, "bound", 1, model.MAX_BOUND), str(overflow), _time(stall_s)


def streams_of(record: dict[str, Any]) -> tuple[tuple[str, ...], list[int]]:
    """What is captured, and the inodes of its pipes. Raises: as to_process()."""
    captured = tuple(dict.fromkeys(map(model.check_stream, _list(record, "captured"))))
    return captured, [_whole(inode, "inode", _MAX_UNSIGNED) for inode in _list(record, "inodes")]


def _list(record: dict[str, Any], key: str) -> list[Any]:
    value = record[key]
    if not isinstance(value, list):
        raise TypeError(f"its {key} is no list")
    return value


def _whole(value: object, what: str, most: int) -> int:
    return model.check_integer(value, what, 0, most)


def _whole_or_none(value: object, what: str, most: int) -> int | None:
    return None if value is None else _whole(value, what, most)


def _time(value: Any) -> float:
    """Seconds. The comparison leaves out what is no number, too."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MAX_TIME:
        raise TypeError("one of its times is none")
    return value


def of_socket(socket: Socket, boot_id: str, file: tuple[int, int] | None) -> dict[str, Any]:
    """``file`` is device and inode of a unix socket's file."""
    return {
        "version": VERSION,
        "boot": boot_id,
        "spec": socket.spec.to_json(),
        "port": socket.port,
        "fileno": socket.fileno,
        "file": file,
    }


def to_socket(number: int, record: dict[str, Any]) -> tuple[Socket, tuple[int, int] | None]:
    """Raises: KeyError, TypeError, ValueError, PapaError."""
    check(record)
    if not isinstance(record["spec"], dict):
        raise TypeError("its spec is no object")
    spec = model.SocketSpec.parse(record["spec"])
    port = _whole_or_none(record["port"], "port", model.MAX_PORT)
    socket = Socket(number, spec, port=port, fileno=_whole(record["fileno"], "fileno", model.MAX_PID))
    if record["file"] is None:
        return socket, None
    device, inode = (_whole(part, "file", _MAX_UNSIGNED) for part in _list(record, "file"))
    return socket, (device, inode)
