"""A program at a terminal of its own, as a person has it in front of him."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

#: A program that says nothing for so long hangs, however busy the machine is.
ANSWER_S = 50.0

#: What terminals obey: colours, the cursor, titles, modes.
_OBEYED = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[=>()][A-Z0-9]?|[\x00\x07]")

#: The begin of such, whose rest has not come yet.
_PARTLY_OBEYED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07]*|[()])?\Z")


class Terminal:
    """``shown`` is all that the program has printed; the terminal echoes what is typed, if the program lets it."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self.process = process
        self._raw = b""
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str, *, after: int = 0) -> int:
        """Until ``text`` is shown behind the place ``after``; returns the place behind it."""
        assert self._shows(text, after, ANSWER_S), self.shown
        return self.shown.index(text, after) + len(text)

    def interrupt(self, text: str, *, after: int = 0) -> int:
        """Ctrl-C until ``text`` is shown: one that comes just before readline waits for keys is not noticed."""
        for _ in range(int(ANSWER_S)):
            self.type("\x03")
            if self._shows(text, after, 1.0):
                break
        return self.wait_for(text, after=after)

    def _shows(self, text: str, after: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.shown.find(text, after) < 0:
            if not select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return False
            assert self._read(), f"the program has ended:\n{self.shown}"
        return True

    def ended(self) -> int:
        """Its exit status, and all of ``shown``."""
        while self._read():
            pass
        return self.process.wait(ANSWER_S)

    def _read(self) -> bool:
        try:
            chunk = os.read(self._master, 1 << 16)
        except OSError:  # nobody has the other side any more
            return False
        self._raw += chunk
        whole = _PARTLY_OBEYED.sub("", self._raw.decode(errors="ignore"))
        self.shown = _OBEYED.sub("", whole).replace("\r", "")
        return bool(chunk)


@contextlib.contextmanager
def opened(*argv: str | Path, cwd: Path | None = None, columns: int = 200, **environ: str) -> Iterator[Terminal]:
    """``argv`` at a terminal; it does not outlive the test."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (50, columns))
    env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        ["setsid", "--ctty", *argv],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=cwd,
        env={**env, "TERM": "xterm", **environ},
    )
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        os.close(master)
        process.kill()
        process.wait()
