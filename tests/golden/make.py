"""Writes what outlives a kernel, as this code writes it, into files: ``python -m tests.golden.make FORMAT``.

The folder of a format is made once and never again: what papa has ever written it must understand for ever. When a
test says that the present format differs from the newest folder, a new number is due, and a version that rises where
an older papa would misunderstand it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from papa import model, places
from papa.client import launch
from papa.core import index, journal
from papa.core.entries import Process, Socket
from papa.core.output import Bounds, Output
from papa.kernel import recorder, records, reexec, vault

FOLDER = Path(__file__).parent

BOOT = "01234567-89ab-cdef-0123-456789abcdef"

_PROCESS: dict[str, Any] = {
    "number": 1001, "name": "web", "argv": ["/bin/sh", "-c", "echo \udcff"], "digest": "d1ge57", "pid": 4711,
    "ticks": 99_000, "started_at": 1_700_000_000.25, "meta": {"circus.watcher": "web", "wid": 1}, "uid": 33, "gid": 34,
    "exit": None, "removed": False, "captured": ["out", "err"], "bounds": [2_097_152, "block", 1.0], "inodes": [],
}  # fmt: skip

#: What the files must mean; a format's own is kept beside them.
FACTS: dict[str, Any] = {
    "processes": {
        "running": {**_PROCESS, "inodes": [501, 0]},
        "about-to-start": {**_PROCESS, "number": 1002, "pid": 0, "ticks": None, "inodes": [501, 502]},
        "bounded": {**_PROCESS, "number": 1007, "inodes": [503, 504],
                    "each": {"out": [4096, "hold", 1.0], "err": [65_536, "drop-oldest", 0.5]}},
        "ended": {**_PROCESS, "number": 1003, "exit": [-9, 1_700_000_100.5], "captured": ["out"]},
        "unknown": {**_PROCESS, "number": 1004, "name": None, "exit": [None, 1_700_000_100.5], "removed": True,
                    "captured": [], "uid": None, "gid": None, "bounds": [2_097_152, "block", 1.0]},
    },
    "sockets": {
        "tcp": {"number": 1005, "spec": {"name": "front", "host": "127.0.0.1", "port": 0}, "port": 40_404,
                "fileno": 100, "file": None},
        "unix": {"number": 1006, "spec": {"name": "back", "path": "/run/back.sock"}, "port": None, "fileno": 101,
                 "file": [64_768, 131]},
    },
    "journal": {"limit": 3001, "secret": "00112233445566778899aabbccddeeff", "values": {"circus.state": "{\"é\": 1}"},
                "acks": {"1001": {"out": 70, "err": 5}}, "exits": [1003]},
    "index": {"low": {"out": 10, "err": 0}, "dropped": {"out": 3, "err": 0}, "first": 96,
              "stamps": [[10, 1_700_000_000_000_000_000, 1000], [64, 1_700_000_001_000_000_000, 2000]]},
    "vault": [[["o1001", 2], ["p1001", 1]], [["s1005", 1]]],
    "reaped": [[4711, 99_000, 42], [4712, 99_001, -9]],
    "handed": {"instance": "default", "directory": "/run/papa/kernel-default", "port": 20_202, "socket_path": None,
               "title": "circusd", "setproctitle": None},
}  # fmt: skip


def write(folder: Path) -> None:
    """Every kind of record as this code writes it, and what it means."""
    for name, facts in FACTS["processes"].items():
        process = _process(facts)
        _put(folder / f"process-{name}.json", records.of_process(process, BOOT, inodes=facts["inodes"]))
    for name, facts in FACTS["sockets"].items():
        socket = Socket(
            facts["number"], model.SocketSpec.parse(facts["spec"]), port=facts["port"], fileno=facts["fileno"]
        )
        _put(folder / f"socket-{name}.json", records.of_socket(socket, BOOT, facts["file"] and tuple(facts["file"])))
    (folder / "journal").write_bytes(b"".join(map(journal.encode, _journal())))
    facts = FACTS["index"]
    stamps = [("out", 0, 0, 0), *(("out", *stamp) for stamp in facts["stamps"]), ("err", 0, 5, 5)]
    header = index.pack_header(facts["low"], facts["dropped"], facts["first"])
    (folder / "index").write_bytes(header + b"".join(index.pack_record(*stamp) for stamp in stamps))
    lines = [vault._render({key: [0] * count for key, count in message}) for message in FACTS["vault"]]
    (folder / "vault").write_bytes(b"".join(line + b"\n" for line in lines))
    (folder / "reaped").write_bytes(b"".join(recorder.line(*end) for end in FACTS["reaped"]))
    handed = FACTS["handed"]
    instance = places.Instance(handed["instance"], handed["directory"], port=handed["port"])
    described = launch.handed(instance, handed["title"], handed["setproctitle"])
    _put(folder / "handed.json", described)
    program = places.program("papa.kernel.daemon", "/opt/papa's/bin/python", "/opt/papa's/lib")
    (folder / "program").write_bytes(reexec.shell_line(program, described))
    _put(folder / "meaning.json", FACTS)


def _process(facts: dict[str, Any]) -> Process:
    captured = facts["captured"]
    process = Process(
        facts["number"],
        facts["name"],
        argv=facts["argv"],
        digest=facts["digest"],
        pid=facts["pid"],
        start_ticks=facts["ticks"],
        started_at=facts["started_at"],
        meta=facts["meta"],
        uid=facts["uid"],
        gid=facts["gid"],
        output=Output(captured, Bounds(*facts["bounds"]).with_streams(facts.get("each"))) if captured else None,
    )
    process.exit = facts["exit"] and tuple(facts["exit"])
    process.is_removed = facts["removed"]
    return process


def _journal() -> list[dict[str, Any]]:
    """A snapshot, then each kind of record once."""
    facts = FACTS["journal"]
    before = journal.Ledger([{"next": 1001, "secret": facts["secret"], "values": {"gone": "x"}}])
    return [
        {"boot": BOOT, **before.snapshot()},
        {"next": facts["limit"]},
        {"acks": [[1001, "out", 20]]},
        {"acks": [[int(id), *ack] for id, acks in facts["acks"].items() for ack in acks.items()]},
        {"exits": facts["exits"], "values": {"gone": None, **facts["values"]}},
    ]


def _put(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")


def main() -> None:
    folder = FOLDER / str(int(sys.argv[1]))
    folder.mkdir()
    write(folder)
    print(folder)


if __name__ == "__main__":
    main()
