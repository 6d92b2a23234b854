"""From the text of an option to a number: counts, times, sizes, shares, limits. Pure.

A parser raises ``ValueError`` as those of the module ``values`` do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

#: More processes than this in one watcher is a slip of the keyboard, not a wish.
MAX_PROCESSES = 10_000
#: A year: no delay is longer, and timers stay far from the limits of the system.
MAX_SECONDS = 366 * 86400.0
#: Whoever looks more often than this does nothing else.
MIN_INTERVAL = 0.01
#: Whoever fails again and again for ever does not eat the host.
MIN_PAUSE = 0.1
#: Above it the second pause is the longest, whatever that is.
MAX_FACTOR = 1000
#: Of a size or a limit: what the system's calls can take.
MAX_LIMIT = 1 << 63
#: What the kernel can keep of one stream, at least the longest line (streams/lines.LINE_LIMIT), whose end circusd waits
#: for; and how long it can let a process wait.
MIN_BUFFER, MAX_BUFFER = 64 << 10, 1 << 30
MAX_STALL = 3600.0
#: Runs of a job that are kept: their file is read at each start.
MAX_RUNS = 1000

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-z]*)", re.IGNORECASE | re.ASCII)
_SIZES = {"": 1, "b": 1} | {
    letter + ending: 1 << 10 * power for power, letter in enumerate("kmgt", 1) for ending in ("", "b", "ib")
}
_TIMES = {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_MICROSECONDS = {"": 1, "us": 1, "ms": 1000, "s": 1_000_000}


def _integer(text: str, low: int, high: int | None, kind: str) -> int:
    try:
        value = int(text.strip())
    except ValueError:
        value = low - 1
        if not text.strip():
            raise ValueError(f"is empty; write {kind}, or leave the option out") from None
        raise ValueError(f"is not {kind}; write digits only") from None
    if value < low or (high is not None and value > high):
        span = f"from {low} to {high}" if high is not None else f"of {low} or more"
        raise ValueError(f"is out of range; write {kind} {span}")
    return value


def parse_integer(text: str) -> int:
    return _integer(text, -(1 << 31), (1 << 31) - 1, "a whole number")


def parse_count(text: str) -> int:
    return _integer(text, 0, None, "a whole number")


def parse_positive(text: str) -> int:
    return _integer(text, 1, (1 << 31) - 1, "a whole number")


def parse_processes(text: str) -> int:
    return _integer(text, 0, MAX_PROCESSES, "a number of processes")


def parse_retries(text: str) -> int:
    return _integer(text, -1, (1 << 31) - 1, "a number of attempts")


def parse_port(text: str) -> int:
    return _integer(text, 0, 65535, "a port")


def _quantity(text: str, units: Mapping[str, float]) -> float | None:
    """A number and one of ``units``, in any case; None if the text is no such thing."""
    match = _QUANTITY.fullmatch(text.strip())
    factor = units.get(match[2].lower()) if match else None
    if match is None or factor is None:
        return None
    # Large whole numbers are no floats without loss, and those of thousands of digits no int.
    is_whole = match[1].isdecimal() and len(match[1]) < 20
    return (int(match[1]) if is_whole else float(match[1])) * factor


def parse_period(text: str) -> float:
    """Seconds; negative means never."""
    value = _quantity(text, _TIMES)
    if value is None:
        raise ValueError("is not a number of seconds; write for example 5, 0.5, 250ms or 2h")
    if not -MAX_SECONDS <= value <= MAX_SECONDS:
        raise ValueError(f"is out of range; write at most {MAX_SECONDS:.0f} seconds")
    return float(value)


def parse_seconds(text: str) -> float:
    value = parse_period(text)
    if value < 0:
        raise ValueError("is negative; write 0 or more seconds")
    return value


def parse_size(text: str) -> int:
    value = _quantity(text, _SIZES)
    if value is None or not 0 <= value < MAX_LIMIT:
        raise ValueError("is not a size; write a number of bytes, or one with k, m or g, as in 10m")
    return int(value)


def parse_interval(text: str) -> float:
    """A period in which something is done again and again."""
    value = parse_seconds(text)
    if value < MIN_INTERVAL:
        raise ValueError(f"is too short; write at least {MIN_INTERVAL:g} seconds")
    return value


def parse_pause(text: str) -> float:
    """Between attempts of something that may fail for ever."""
    value = parse_seconds(text)
    if value < MIN_PAUSE:
        raise ValueError(f"is too short; write at least {MIN_PAUSE:g} seconds")
    return value


def parse_factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= MAX_FACTOR:
        raise ValueError(f"is not a factor; write a number from 1 to {MAX_FACTOR}")
    return value


def parse_attempts(text: str) -> int:
    value = _integer(text, -1, (1 << 31) - 1, "a number of attempts")
    if value == 0:
        raise ValueError("is none; write 1 or more, or -1 for no end")
    return value


def parse_percent(text: str) -> float | None:
    """``90``, ``90%``; empty: no limit. More than 100 is many processors."""
    if not text.strip():
        return None
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise ValueError("is not a percentage; write for example 90")
    return value


def parse_share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError("is not a share; write a number from 0 to 1")
    return value


def parse_memory(text: str) -> tuple[float, bool] | None:
    """(amount, whether it is in bytes): percent without a unit, else bytes; empty: no limit."""
    if not text.strip() or text.strip()[-1] in "0123456789.%":
        percent = parse_percent(text)
        return None if percent is None else (percent, False)
    return float(parse_size(text)), True


def parse_octal(text: str) -> int:
    """A umask, octal as everywhere else: ``22``, ``022`` and ``0o22`` are the same."""
    digits = text.strip().lower().removeprefix("0o")
    try:
        value = int(digits, 8)
    except ValueError:
        raise ValueError("is not an octal mask; write for example 022") from None
    if not 0 <= value <= 0o777:
        raise ValueError("is out of range; write an octal mask from 0 to 777")
    return value


def parse_limit(text: str) -> int | None:
    """A limit of a process; empty means infinite."""
    if _is_infinite(text):
        return None
    return _integer(text, 0, MAX_LIMIT - 1, "a limit")


def parse_limit_size(text: str) -> int | None:
    return None if _is_infinite(text) else parse_size(text)


def parse_limit_seconds(text: str) -> int | None:
    return None if _is_infinite(text) else int(parse_seconds(text))


def parse_limit_microseconds(text: str) -> int | None:
    if _is_infinite(text):
        return None
    value = _quantity(text, _MICROSECONDS)
    if value is None or not 0 <= value < MAX_LIMIT:
        raise ValueError("is not a number of microseconds; write for example 500000, or with us, ms or s: 500ms")
    return int(value)


def _is_infinite(text: str) -> bool:
    return text.strip().lower() in ("", "-1", "unlimited", "infinity")


def parse_buffer(text: str) -> int:
    size = parse_size(text)
    if not MIN_BUFFER <= size <= MAX_BUFFER:
        raise ValueError("is no size of a buffer; write 64k to 1g")
    return size


def parse_stall(text: str) -> float:
    """Seconds; infinite for ever."""
    if text.strip().lower() == "forever":
        return math.inf
    value = parse_seconds(text)
    if value > MAX_STALL:
        raise ValueError("is too long; write at most 1h, or forever")
    return value


def parse_history(text: str) -> int:
    return _integer(text, 1, MAX_RUNS, "a number of runs")
