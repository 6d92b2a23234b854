"""Runs circusctl in this process, at a terminal of a width or in pipes, and gives what came out of it as text."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from circus.circusctl import main

#: A command that takes longer hangs, and is interrupted.
PATIENCE_S = 60.0

LINES = 24

#: Of the variables that tell programs what the terminal is like.
_VARIABLES = ("NO_COLOR", "COLUMNS", "LINES", "COLORTERM", "FORCE_COLOR", "TERM")


@dataclass(frozen=True)
class Variant:
    """``columns`` 0: pipes."""

    name: str
    columns: int = 0
    has_colour: bool = False


VARIANTS = (
    Variant("pipe"),
    Variant("80", 80),
    Variant("80 colour", 80, True),
    Variant("120", 120),
    Variant("120 colour", 120, True),
)


@dataclass(frozen=True)
class Shown:
    """``told`` is what stands at standard error, where that is a pipe of its own."""

    status: int
    text: str
    told: str = ""


def run(words: list[str], variant: Variant, *, until: str = "", typed: str = "") -> Shown:
    """With ``until`` somebody presses Ctrl-C as soon as that stands there. ``typed``: lines of input, by semicolons."""
    with _environment(variant), contextlib.ExitStack() as stack:
        out, out_end = _open(variant)
        streams = [_Reader(out, until)]
        ends = [out_end, out_end]
        if not variant.columns:
            told, told_end = _open(variant)
            streams.append(_Reader(told, until))
            ends[1] = told_end
        stack.enter_context(_standard(_input(typed), *ends))
        watchdog = threading.Timer(PATIENCE_S, _press_ctrl_c)
        watchdog.start()
        try:
            status = _status(words)
        finally:
            watchdog.cancel()
    texts = [stream.ended() for stream in streams]
    return Shown(status, texts[0], "".join(texts[1:]))


def _status(words: list[str]) -> int:
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)


def _input(typed: str) -> int:
    reading, writing = os.pipe()
    os.write(writing, "".join(f"{line.strip()}\n" for line in typed.split("; ") if line).encode())
    os.close(writing)
    return reading


def _open(variant: Variant) -> tuple[int, int]:
    """Where it is read, and where it is written."""
    if not variant.columns:
        return os.pipe()
    leader, follower = pty.openpty()
    attributes = termios.tcgetattr(follower)
    attributes[1] &= ~termios.OPOST
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(follower, termios.TCSANOW, attributes)
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, variant.columns, 0, 0))
    return leader, follower


def _press_ctrl_c() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


class _Reader:
    def __init__(self, fd: int, until: str) -> None:
        self._fd, self._until = fd, until
        self._data = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        is_waited_for = bool(self._until)
        # A terminal that everybody has left answers with EIO.
        with contextlib.suppress(OSError):
            while chunk := os.read(self._fd, 65536):
                self._data += chunk
                if is_waited_for and self._until in self._data.decode(errors="replace"):
                    is_waited_for = False
                    _press_ctrl_c()
        os.close(self._fd)

    def ended(self) -> str:
        self._thread.join(PATIENCE_S)
        return self._data.decode(errors="backslashreplace")


@contextlib.contextmanager
def _environment(variant: Variant) -> Iterator[None]:
    kept = {name: os.environ.pop(name, None) for name in _VARIABLES}
    os.environ["TERM"] = "xterm" if variant.has_colour or not variant.columns else "dumb"
    try:
        yield
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextlib.contextmanager
def _standard(*ends: int) -> Iterator[None]:
    """Standard input, output and error are ``ends``, which are closed behind it."""
    kept_streams: tuple[Any, ...] = (sys.stdin, sys.stdout, sys.stderr)
    for stream in kept_streams[1:]:
        stream.flush()
    kept = [os.dup(fd) for fd in range(3)]
    try:
        for target, source in enumerate(ends):
            os.dup2(source, target)
        for fd in set(ends):
            os.close(fd)
        sys.stdin, sys.stdout, sys.stderr = (
            open(fd, "w" if fd else "r", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the end of this
            for fd in range(3)
        )
        yield
        for written in (sys.stdout, sys.stderr):
            written.flush()
    finally:
        sys.stdin, sys.stdout, sys.stderr = kept_streams
        for target, fd in enumerate(kept):
            os.dup2(fd, target)
            os.close(fd)


def readable(text: str) -> str:
    """Escape codes as `\\e[1m`, other control characters as `\\x07`; lines stay lines."""
    text = text.replace("\x1b", "\\e").replace("\r\n", "\n")
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)
