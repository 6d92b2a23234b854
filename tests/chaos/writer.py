"""A program that writes numbered lines and keeps count of them in a file, so that what arrives can be proven.

Run alone, without site-packages: argv is the JSON of a `Part`. Each line has 32 bytes: a key, which tells writers
apart, and a number; so what must stand at any offset of a stream can be computed.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import time

LINE_BYTES = 32

#: In the file of truth: pid, and how many lines the writer and its child have written, each counted afterwards.
TRUTH = struct.Struct("<QQQ")
PID_AT, MINE_AT, CHILDS_AT = 0, 8, 16


def lines(key: int, first: int, count: int) -> bytes:
    return b"".join([b"%08x %022d\n" % (key, number) for number in range(first, first + count)])


def write(fd: int, key: int, truth: int, place: int, *, total: int, batch: int, pause_s: float) -> None:
    """``total`` lines, 0 for no end, ``batch`` at a time."""
    number = 0
    while not total or number < total:
        data = lines(key, number, batch)
        while data:
            data = data[os.write(fd, data) :]
        number += batch
        os.pwrite(truth, struct.pack("<Q", number), place)
        time.sleep(pause_s)


def main() -> None:
    part = json.loads(sys.argv[1])
    if part["ignores_term"]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Fails if the kernel starts one process twice.
    truth = os.open(part["truth"], os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.pwrite(truth, TRUTH.pack(os.getpid(), 0, 0), 0)
    pace = {"batch": part["batch"], "pause_s": part["pause_s"]}
    if part["child"] and os.fork() == 0:
        fd = 1 if part["child"] == "out" else 2
        write(fd, part["key"] + 1, truth, CHILDS_AT, total=2 * part["total"], **pace)
        os._exit(0)
    write(1, part["key"], truth, MINE_AT, total=part["total"], **pace)
    os._exit(part["status"])


if __name__ == "__main__":
    main()
