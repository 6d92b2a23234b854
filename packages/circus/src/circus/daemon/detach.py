"""Going to the background: the starter waits until the daemon serves, and says if it does not.

The starter makes a warden, in a session of its own, and that starts circusd. Through a pipe, which the warden passes on
to its first circusd, comes one message: that it serves, or the error to print. What circusd says before that (warnings,
mistakes in the configuration, help) it says itself: until then it has the starter's standard streams.
"""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn

from circus import warden

OPTION = "--daemon"

#: An error message; more is cut.
MAX_MESSAGE = 64 << 10

#: Names of a log that is standard error.
STREAMS = ("-", "stdout")

#: What circusd ends with when it has said why: it has printed a page, an error, or what is wrong with the command line.
TOLD = (0, 1, 2)


class Readiness:
    """The daemon's end of the pipe; a circusd whom nobody waits for has none, and nothing is told."""

    def __init__(self, fd: int | None = None) -> None:
        self._fd = fd

    def tell(self, error: str = "") -> None:
        """Tell the starter, once: up (no error), or what went wrong."""
        if self._fd is None:
            return
        try:
            os.write(self._fd, b"+" if not error else b"-" + error.encode(errors="replace")[:MAX_MESSAGE])
        except OSError:
            pass  # the starter is gone; the log has it too
        os.close(self._fd)
        self._fd = None


def is_wanted(words: list[str]) -> bool:
    """Whether the command line says so, shortened or not, as argparse reads it: that is not loaded here."""
    options = words[: words.index("--")] if "--" in words else words
    return any(len(word) > len("--") and OPTION.startswith(word) for word in options)


def start(argv: list[str]) -> NoReturn:
    """Start a warden, and by it the circusd of ``argv``, in the background; end with success or failure of that."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.set_inheritable(writing, True)
        command = warden.command(argv, writing)
        os.execv(command[0], command)  # noqa: S606 - the warden, in place of this fork
    os.close(writing)
    message = b""
    while chunk := os.read(reading, MAX_MESSAGE):
        message += chunk
    if message == b"+":
        os._exit(0)
    text = message[1:].decode(errors="replace")
    if not text:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status in TOLD:
            os._exit(status)
        text = "circusd ended before it was up; its log says why"
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()
    os._exit(1)


def complain_to_log(kept: str) -> None:
    """Until it is up, what a successor says to its standard error goes where the one before has logged, if to a file.

    ``kept`` is what that has left (ward).
    """
    try:
        _, output, config_file = json.loads(kept)["log"]
        if config_file or output in STREAMS or output.startswith("syslog://"):
            return
        log = os.open(output, os.O_WRONLY | os.O_APPEND)
    except (ValueError, KeyError, TypeError, OSError):
        return  # the first one; or there is no such log any more
    os.dup2(log, 2)
    os.close(log)


def close_terminal() -> None:
    """Standard streams to /dev/null, so that a closed terminal or pipe can never hurt the daemon."""
    null = os.open(os.devnull, os.O_RDWR)
    sys.stdout.flush()
    sys.stderr.flush()
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)
