"""Going to the background: the starter waits until the daemon serves, and says if it does not.

Forks twice with a new session between, before any thread or event loop exists. A pipe carries one message from the
daemon to the starter: empty when it serves, else the error to print.
"""

from __future__ import annotations

import os
import sys

from circus.warden import ENDS

#: An error message; more is cut.
MAX_MESSAGE = 64 << 10


class Readiness:
    """The daemon's end of the pipe; for a circusd in the foreground there is none, and nothing is told.

    A warden listens until the end, a starter only until circusd is up.
    """

    def __init__(self, fd: int | None = None, *, is_heard_to_the_end: bool = False) -> None:
        self._fd = fd
        self._is_heard_to_the_end = is_heard_to_the_end

    def tell(self, error: str = "") -> None:
        """Tell the starter, once: up (no error), or what went wrong."""
        if self._fd is None:
            return
        try:
            os.write(self._fd, b"+" if not error else b"-" + error.encode(errors="replace")[:MAX_MESSAGE])
        except OSError:
            pass  # the starter is gone; the log has it too
        if error or not self._is_heard_to_the_end:
            os.close(self._fd)
            self._fd = None

    def tell_status(self, status: int) -> None:
        """Tell the warden with which exit status the container shall end."""
        if self._fd is not None:
            os.write(self._fd, ENDS + str(status).encode())


def detach() -> Readiness:
    """Fork into the background. Only the daemon returns; the starter exits with the daemon's success or failure."""
    reading, writing = os.pipe()
    if (child := os.fork()) > 0:
        os.close(writing)
        os.waitpid(child, 0)
        _wait_and_exit(reading)
    os.close(reading)
    os.setsid()
    if os.fork() > 0:
        os._exit(0)
    return Readiness(writing)


def close_terminal() -> None:
    """Standard streams to /dev/null, so that a closed terminal or pipe can never hurt the daemon."""
    null = os.open(os.devnull, os.O_RDWR)
    sys.stdout.flush()
    sys.stderr.flush()
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)


def _wait_and_exit(reading: int) -> None:
    message = b""
    while chunk := os.read(reading, MAX_MESSAGE):
        message += chunk
    if message == b"+":
        os._exit(0)
    text = message[1:].decode(errors="replace") or "circusd ended before it was up; its log says why"
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()
    os._exit(1)
