"""Small files of the state directory: whole or not at all, and never waited for without a bound."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

#: A start waits so long for a disk that hangs; then it goes on with nothing remembered.
READ_S = 5.0


def bounded(call: Callable[[], T], timeout_s: float = READ_S) -> T:
    """``call`` in a thread that is left behind when it takes longer.

    Raises: what ``call`` raises; TimeoutError, which is an OSError.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001 - raised again by who waits
            errors.append(error)

    thread = threading.Thread(target=work, name="circus-read", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(errno.ETIMEDOUT, f"the disk has not answered for {timeout_s:g} s")
    return results[0]


def set_aside(path: Path, suffix: str) -> str:
    """Make room for another file, and say where this one is now."""
    aside = path.with_suffix(f".{suffix}")
    try:
        path.replace(aside)
    except OSError as error:
        return f"{path} cannot be set aside: {error.strerror}"
    return f"set aside as {aside}"


def make_directory(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_whole(fd: int, data: bytes, size: int) -> None:
    """Append all of it to a file of ``size``, or nothing. Raises: OSError."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, size)
        raise


def replace_whole(path: Path, data: bytes) -> None:
    """A crash leaves the old content or the new one, which is for nobody else to read. Raises: OSError."""
    make_directory(path.parent)
    temporary = path.with_suffix(".new")
    with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        os.fchmod(file.fileno(), 0o600)  # one that a crash has left
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def take_lines(data: bytes, take: Callable[[dict[str, Any]], None], newest: int) -> int:
    """Give each line, an object in JSON, to ``take``; how many were damaged: those it cannot read are skipped.

    Raises: ValueError when a line with a ``format`` says that a newer circusd has written them.
    """
    damaged = 0
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            if "format" not in fields:
                take(fields)
                continue
            number = int(fields["format"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            damaged += 1
            continue
        if number > newest:
            raise ValueError(f"format {number} is newer than {newest}")
    return damaged
