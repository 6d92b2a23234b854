"""Every error of circus: a stable code, a sentence, a hint; and the one table that maps codes to the doors.

HTTP status and exit status of the command line derive from the code here and nowhere else.
"""

from __future__ import annotations

#: code -> (HTTP status, exit status of circusctl). Exit status: 1 failed, unreachable or timed out; 2 usage;
#: 3 refused by the daemon.
TABLE: dict[str, tuple[int, int]] = {
    "bad-request": (400, 3),
    "config-invalid": (422, 3),
    "not-found": (404, 3),
    "unauthorized": (401, 3),
    "forbidden": (403, 3),
    "conflict": (409, 3),
    "limit": (429, 3),
    "operation-failed": (409, 3),
    "unavailable": (503, 3),
    "timeout": (504, 1),
    "unreachable": (503, 1),
    "failed": (500, 1),
    "usage": (400, 2),
    "internal": (500, 1),
}

#: Nobody answers just now: who waits for the next circusd asks again.
AWAY = ("unreachable", "timeout", "unavailable")


class CircusError(Exception):
    """What circus raises: ``code`` is a key of TABLE, ``hint`` says what to do next."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    @property
    def http_status(self) -> int:
        return TABLE[self.code][0]

    @property
    def exit_status(self) -> int:
        return TABLE[self.code][1]
