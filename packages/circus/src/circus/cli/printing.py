"""What circusctl writes, and where to: to streams that may be closed, full, or left by their reader."""

from __future__ import annotations

import io
import os
import sys

from circus.errors import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


def open_streams() -> None:
    """Both streams can be written to from here on, closed ones and those that do not know every letter too."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - to the end of the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(text: str) -> int:
    """What was asked for; returns the exit status."""
    error = write(sys.stdout, text)
    return 0 if error is None else lost(error)


def lost(error: OSError) -> int:
    """Says why standard output takes nothing; returns the exit status."""
    if not isinstance(error, BrokenPipeError):  # a reader that has left knows
        hint = "what was ordered is done; its answer is lost"
        write(sys.stderr, f"error: standard output cannot be written: {error.strerror}\n  hint: {hint}\n")
    return TABLE["failed"][1]


def write(stream: TextIO, text: str) -> OSError | None:
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        forsake(stream)
        return error
    return None


def forsake(stream: TextIO) -> None:
    """Nothing of it may be tried once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
