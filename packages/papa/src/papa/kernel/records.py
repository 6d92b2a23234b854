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


_NUMBERS = (int, float)
_TYPES: dict[str, type | tuple[type, ...]] = {
    "argv": list, "digest": str, "pid": int, "started_at": _NUMBERS, "meta": dict, "captured": list, "inodes": list,
}  # fmt: skip


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
        "bounds": None if output is None else [output.bounds.bound, output.bounds.overflow, output.bounds.stall_s],
        "inodes": list(inodes),
    }


def to_process(number: int, record: dict[str, Any]) -> Process:
    """Without its output, which its files know better. Raises: KeyError, TypeError, ValueError, PapaError."""
    check(record)
    for key, kind in _TYPES.items():
        if not isinstance(record[key], kind):
            raise TypeError(f"its {key} is {record[key]!r}")
    process = Process(
        number,
        record["name"],
        argv=record["argv"],
        digest=record["digest"],
        pid=record["pid"],
        start_ticks=record["ticks"],
        started_at=record["started_at"],
        meta=record["meta"],
        uid=record["uid"],
        gid=record["gid"],
    )
    if record["exit"] is not None:
        status, at = record["exit"]
        process.exit = status, at
    process.is_removed = record["removed"]
    return process


def bounds_of(record: dict[str, Any]) -> Bounds:
    bounds = record["bounds"]
    return Bounds() if bounds is None else Bounds(*bounds)


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
    spec = model.SocketSpec.parse(record["spec"])
    socket = Socket(number, spec, port=record["port"], fileno=record["fileno"])
    file = record["file"]
    return socket, None if file is None else (file[0], file[1])
