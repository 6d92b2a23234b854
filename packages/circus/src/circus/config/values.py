"""From the text of an option to its value: one parser for each type. Pure.

A parser raises ``ValueError`` with the end of a sentence that begins with the option and its text, as in
``warmup_delay = 'soon'`` *is not a number of seconds*; the hint says what may be written.
"""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Callable, Mapping

from circus.config import checks, cron, receivers, rollouts

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
OVERFLOWS = ("drop-oldest", "block")
KILL_MODES = ("process", "group", "tree")
#: Runs of a job that are kept: their file is read at each start.
MAX_RUNS = 1000
#: Names of a circusd become part of file names and of names in the kernel.
MAX_NAME = 64

_TRUE = frozenset(("yes", "true", "on", "1"))
_FALSE = frozenset(("no", "false", "off", "0"))
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-z]*)", re.IGNORECASE | re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SIZES = {"": 1, "b": 1} | {
    letter + ending: 1 << 10 * power for power, letter in enumerate("kmgt", 1) for ending in ("", "b", "ib")
}
_TIMES = {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_MICROSECONDS = {"": 1, "us": 1, "ms": 1000, "s": 1_000_000}
_FAMILIES = {"inet": "inet", "inet6": "inet6", "unix": "unix"}
_SOCKTYPES = ("stream", "dgram", "seqpacket")
#: In the order of their numbers in ECMA-48, from 1.
COLORS = ("red", "green", "yellow", "blue", "magenta", "cyan", "white")

#: What follows when a process uses too much.
LIMIT_ACTIONS = ("restart", "reload", "report")

LINE_FORMATS = ("text", "json")

#: When a file is rotated by time.
ROTATIONS = ("S", "M", "H", "D", "MIDNIGHT", "W0", "W1", "W2", "W3", "W4", "W5", "W6")

_LEVELS = ("critical", "error", "warning", "info", "debug")


def parse_text(text: str) -> str | None:
    """Empty means not set, for options whose default is None."""
    return text or None


def parse_words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def parse_flag(text: str) -> bool:
    folded = text.strip().lower()
    if folded in _TRUE:
        return True
    if folded in _FALSE:
        return False
    raise ValueError("is neither true nor false; write true or false (yes, no, on, off, 1, 0)")


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


def parse_limit_action(text: str) -> str:
    folded = text.strip().lower()
    if folded not in LIMIT_ACTIONS:
        raise ValueError(f"is not known; write {', '.join(LIMIT_ACTIONS[:-1])} or {LIMIT_ACTIONS[-1]}")
    return folded


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


def parse_pattern(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"is not a regular expression: {error}; write one as Python has it") from None
    return text


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


def parse_signal(text: str) -> int:
    """``15``, ``TERM``, ``SIGTERM``, ``quit``, ``SIGRTMIN+1``: in any case."""
    name = text.strip().upper()
    if name.isdecimal():
        number = int(name)
    else:
        base, sign, offset = name.partition("+") if "+" in name else name.partition("-")
        base = base.strip() if base.startswith("SIG") else f"SIG{base.strip()}"
        found = getattr(signal.Signals, base, None)
        if found is None or (sign and not offset.strip().isdecimal()):
            raise ValueError("is not a signal; write a name like TERM or SIGQUIT, or a number")
        number = int(found)
        if sign:
            number += int(offset) if sign == "+" else -int(offset)
    if not 1 <= number < signal.NSIG:
        raise ValueError(f"is not a signal; signals are from 1 to {signal.NSIG - 1}")
    return number


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


def parse_account(text: str) -> str | None:
    return text.strip() or None


def parse_family(text: str) -> str:
    found = _FAMILIES.get(text.strip().lower().removeprefix("af_"))
    if found is None:
        raise ValueError("is not a family of sockets; write AF_INET, AF_INET6 or AF_UNIX")
    return found


def parse_socktype(text: str) -> str:
    found = text.strip().lower().removeprefix("sock_")
    if found not in _SOCKTYPES:
        raise ValueError("is not a type of sockets; write SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET")
    return found


def parse_level(text: str) -> str:
    folded = text.strip().lower()
    if folded not in _LEVELS:
        raise ValueError(f"is not a level of logging; write one of {', '.join(_LEVELS)}")
    return folded


def parse_color(text: str) -> str:
    folded = text.strip().lower()
    if folded not in COLORS:
        raise ValueError(f"is not a colour; write one of {', '.join(COLORS)}")
    return folded


def parse_line_format(text: str) -> str:
    folded = text.strip().lower()
    if folded not in LINE_FORMATS:
        raise ValueError(f"is not a format of lines; write {' or '.join(LINE_FORMATS)}")
    return folded


def parse_rotation(text: str) -> str:
    unit = text.strip().upper()
    if unit not in ROTATIONS:
        raise ValueError(
            "is not a time to rotate at; write S, M, H, D, MIDNIGHT or W0 to W6 (the end of Monday to Sunday)"
        )
    return unit


def parse_buffer(text: str) -> int:
    size = parse_size(text)
    if not MIN_BUFFER <= size <= MAX_BUFFER:
        raise ValueError("is no size of a buffer; write 64k to 1g")
    return size


def parse_overflow(text: str) -> str:
    folded = text.strip().lower()
    if folded not in OVERFLOWS:
        raise ValueError(f"is not known; write {' or '.join(OVERFLOWS)}")
    return folded


def parse_kill_mode(text: str) -> str:
    folded = text.strip().lower()
    if folded not in KILL_MODES:
        raise ValueError(f"is not known; write {', '.join(KILL_MODES[:-1])} or {KILL_MODES[-1]}")
    return folded


def parse_stall(text: str) -> float:
    """Seconds; infinite for ever."""
    if text.strip().lower() == "forever":
        return math.inf
    value = parse_seconds(text)
    if value > MAX_STALL:
        raise ValueError("is too long; write at most 1h, or forever")
    return value


def parse_ready(text: str) -> str:
    return checks.parse(text, checks.READY, parse_seconds)


def parse_health_check(text: str) -> str:
    return checks.parse(text, checks.HEALTH, parse_seconds)


def parse_health_action(text: str) -> str:
    action = text.strip().lower()
    if action not in ("restart", "report"):
        raise ValueError("is no such action; write restart or report")
    return action


def parse_name(text: str) -> str:
    if len(text) > MAX_NAME or not _NAME.fullmatch(text):
        raise ValueError(f"cannot be a name; write at most {MAX_NAME} letters, digits, dots and dashes")
    return text


def parse_control(text: str) -> str:
    path = text.removeprefix("unix://")
    if path == text or not path.startswith("/") or path == "/":
        raise ValueError("is not an address; write unix:///absolute/path")
    return text


def parse_papa(text: str) -> str:
    """The address of a kernel, in one of the forms that the kernel's client knows."""
    if text.isdecimal():
        parse_port(text)
        return f"tcp://127.0.0.1:{int(text)}"
    scheme, colon, rest = text.partition(":")
    if text.startswith("/") and text != "/":
        return text
    if colon and scheme in ("ipc", "unix"):
        path = "/" + rest.lstrip("/")
        if rest.startswith("/") and path != "/":
            return f"{scheme}://{path}"
    if colon and scheme == "tcp":
        host, _, port = rest.removeprefix("//").rpartition(":")
        if host in ("127.0.0.1", "localhost") and port.isdecimal() and int(port) <= 65535:
            return f"tcp://127.0.0.1:{int(port)}"
    raise ValueError("is not a kernel's address; write a port, tcp://127.0.0.1:PORT or unix:///path")


def _word(text: str, words: tuple[str, ...], kind: str) -> str:
    word = text.strip().lower()
    if word not in words:
        raise ValueError(f"is {kind}; write {', '.join(words[:-1])} or {words[-1]}")
    return word


def parse_watcher_type(text: str) -> str:
    return _word(text, ("simple", "oneshot"), "no type of watcher")


def parse_overlap(text: str) -> str:
    return _word(text, ("skip", "queue", "replace"), "no answer to runs that overlap")


def parse_missed(text: str) -> str:
    return _word(text, ("skip", "once", "all"), "no answer to runs that were missed")


def parse_history(text: str) -> int:
    return _integer(text, 1, MAX_RUNS, "a number of runs")


PARSERS: dict[str, Callable[[str], object]] = {
    "text": parse_text,
    "words": parse_words,
    "flag": parse_flag,
    "integer": parse_integer,
    "count": parse_count,
    "positive": parse_positive,
    "processes": parse_processes,
    "retries": parse_retries,
    "port": parse_port,
    "period": parse_period,
    "seconds": parse_seconds,
    "size": parse_size,
    "interval": parse_interval,
    "pause": parse_pause,
    "factor": parse_factor,
    "attempts": parse_attempts,
    "limit_action": parse_limit_action,
    "percent": parse_percent,
    "share": parse_share,
    "memory": parse_memory,
    "pattern": parse_pattern,
    "octal": parse_octal,
    "signal": parse_signal,
    "limit": parse_limit,
    "limit_size": parse_limit_size,
    "limit_seconds": parse_limit_seconds,
    "limit_microseconds": parse_limit_microseconds,
    "account": parse_account,
    "family": parse_family,
    "socktype": parse_socktype,
    "level": parse_level,
    "color": parse_color,
    "rotation": parse_rotation,
    "buffer": parse_buffer,
    "overflow": parse_overflow,
    "ready": parse_ready,
    "health_check": parse_health_check,
    "health_action": parse_health_action,
    "stall": parse_stall,
    "bound": rollouts.parse_bound,
    "update": rollouts.parse_update,
    "kill_mode": parse_kill_mode,
    "line_format": parse_line_format,
    "facility": receivers.parse_facility,
    "severity": receivers.parse_severity,
    "receiver": receivers.parse_address,
    "name": parse_name,
    "control": parse_control,
    "papa": parse_papa,
    "watcher_type": parse_watcher_type,
    "cron": cron.parse_cron,
    "timezone": cron.parse_timezone,
    "overlap": parse_overlap,
    "missed": parse_missed,
    "history": parse_history,
}
