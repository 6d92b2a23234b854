"""Every error of papa: one class, a stable code for programs, a sentence for people.

The code travels on the wire and never changes its meaning; the message says what failed, on what and why; the
hint says what to do. ``Error`` is the name that clients of papa 1.x catch, so it stays a RuntimeError.
"""

from __future__ import annotations

#: Codes that may travel. A client may act on the code alone.
CODES = frozenset(
    {
        "bad-request",  # the request cannot be understood, or an argument is wrong
        "not-found",  # a named process, socket or value does not exist
        "exists",  # the name is taken by something else
        "owned",  # another connection is the owner of the process's output
        "overtaken",  # a commit lies below the low-water mark
        "limit",  # a bound of the kernel was reached
        "spawn-failed",  # the process could not be started; details has stage and errno
        "listen-failed",  # the socket could not be opened; details has stage and errno
        "refused",  # the peer may not do this
        "busy",  # not idle, or an upgrade or exit is under way
        "unreachable",  # no kernel answers, and none could be started
        "lost",  # the connection ended before the reply
        "timeout",  # no reply within the time allowed
        "internal",  # a fault of papa itself
    }
)


class PapaError(RuntimeError):
    """What papa raises.

    ``code`` is one of CODES, ``details`` a mapping of JSON values (for spawn-failed: ``stage`` and ``errno``).
    """

    def __init__(
        self, message: str, *, code: str = "bad-request", hint: str = "", details: dict[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details: dict[str, object] = details or {}

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ProtocolError(PapaError):
    """The peer sent bytes that no correct peer sends; the connection cannot go on."""


Error = PapaError
