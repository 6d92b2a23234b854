"""A program that writes texts of all kinds to both of its streams, and keeps count of every byte.

Run alone, without site-packages: `scribe.py NAME FOLDER PAUSE_S WRITES`, 0 for no end. What it writes is a function of
its key and the stream (`text_lines`), so whoever knows how many bytes it wrote knows which. A write ends anywhere:
inside a line, inside a character. At TERM it ends where it is, so its last line mostly has no newline.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import sys
import time
from collections.abc import Iterator

#: In the file of truth: when it began (ns), and for out and err how many bytes it has written, and is writing.
TRUTH = struct.Struct("<QQQQQ")

WORDS = ("plain ", "Grüße ", "漢字 ", "🦉🦉 ", "e\u0301 ", "\x1b[1mbold\x1b[0m ", "\ufffd ")

#: Below the length at which a line of a shared file may be cut.
LONGEST = 40_000


def text_lines(key: str, stream: str) -> Iterator[bytes]:
    """The endless lines of one stream of one writer: ``KEY.STREAM NUMBER ...``."""
    dice = random.Random(f"{key}.{stream}")
    number = 0
    while True:
        kind = dice.random()
        size = 0 if kind < 0.1 else dice.randrange(120) if kind < 0.9 else dice.randrange(3000)
        if kind > 0.995:
            size = dice.randrange(LONGEST // 2, LONGEST)
        word = dice.choice(WORDS)
        text = word * (size // len(word.encode()))
        yield f"{key}.{stream} {number} {text}\n".encode()
        number += 1


def text(key: str, stream: str, size: int) -> bytes:
    """The first ``size`` bytes of it."""
    parts, have = [], 0
    for line in text_lines(key, stream):
        if have >= size:
            break
        parts.append(line)
        have += len(line)
    return b"".join(parts)[:size]


class Pen:
    """One stream: where it stands, and its place in the file of truth."""

    def __init__(self, fd: int, key: str, stream: str, truth: int, place: int) -> None:
        self._fd, self._truth, self._place = fd, truth, place
        self._lines = text_lines(key, stream)
        self._rest = b""
        self._count = 0

    def write(self, size: int) -> None:
        while len(self._rest) < size:
            self._rest += next(self._lines)
        self._note(self._count + size)
        while size:
            count = os.write(self._fd, self._rest[:size])
            self._rest, self._count, size = self._rest[count:], self._count + count, size - count
        self._note(self._count)

    def _note(self, going: int) -> None:
        os.pwrite(self._truth, struct.pack("<QQ", self._count, going), self._place)


def main() -> None:
    name, folder, pause_s, writes = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    has_to_end = False

    def end(*_: object) -> None:
        nonlocal has_to_end
        has_to_end = True

    signal.signal(signal.SIGTERM, end)
    key = f"{name}-{os.getpid()}"
    # Fails if one process is started twice.
    truth = os.open(os.path.join(folder, key), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    os.pwrite(truth, TRUTH.pack(time.monotonic_ns(), 0, 0, 0, 0), 0)
    pens = Pen(1, key, "out", truth, 8), Pen(2, key, "err", truth, 24)
    dice = random.Random()
    number = 0
    while not has_to_end and (not writes or number < writes):
        pen = pens[dice.random() < 0.4]
        pen.write(dice.choice((1, 7, 60, 300, 300, 1000, 5000)))
        number += 1
        if dice.random() < 0.3:
            time.sleep(dice.random() * 2 * pause_s)


if __name__ == "__main__":
    main()
