"""Signals as people write them: ``15``, ``TERM``, ``SIGTERM``, ``RTMIN+1``."""

from __future__ import annotations

import re
import signal

from circus.errors import CircusError

FORMS = "use a number (15), a name (TERM, SIGTERM) or a real-time signal (RTMIN+1, RTMAX-1)"

_REAL_TIME = re.compile(r"(RTMIN|RTMAX)(?:([+-])(\d{1,2}))?")


def parse_signal(written: int | str) -> int:
    """The number of the signal that ``written`` names, in any case, with or without SIG.

    Raises: CircusError bad-request when no signal is called so.
    """
    name = str(written).strip().upper()
    is_number = name.isascii() and name.isdigit()
    number = int(name[:4]) if is_number else _number_of(name.removeprefix("SIG"))
    if number not in signal.valid_signals():
        raise CircusError("bad-request", f"{str(written)[:40]!r} is no signal", FORMS)
    return number


def _number_of(name: str) -> int:
    """0, which is no signal, when nothing is called so."""
    if match := _REAL_TIME.fullmatch(name):
        base, sign, offset = match.groups()
        number = int(signal.SIGRTMIN if base == "RTMIN" else signal.SIGRTMAX)
        number += int(f"{sign}{offset}") if sign else 0
        return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else 0
    known = signal.Signals.__members__.get(f"SIG{name}")
    return int(known) if known else 0
