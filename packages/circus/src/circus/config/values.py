"""From the text of an option to its value: one parser for each type. Pure.

A parser raises ``ValueError`` with the end of a sentence that begins with the option and its text, as in
``warmup_delay = 'soon'`` *is not a number of seconds*; the hint says what may be written.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

from circus import nearest
from circus.config import checks, cron, doors, quantities, receivers, rollouts

#: Names of a circusd become part of file names and of names in the kernel.
MAX_NAME = 64

_TRUE = frozenset(("yes", "true", "on", "1"))
_FALSE = frozenset(("no", "false", "off", "0"))
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FAMILIES = {"inet": "inet", "inet6": "inet6", "unix": "unix"}
_SOCKTYPES = ("stream", "dgram", "seqpacket")
#: In the order of their numbers in ECMA-48, from 1.
COLORS = ("red", "green", "yellow", "blue", "magenta", "cyan", "white")

#: When a file is rotated by time.
ROTATIONS = ("S", "M", "H", "D", "MIDNIGHT", "W0", "W1", "W2", "W3", "W4", "W5", "W6")

#: As people write them.
SIGNALS = tuple(each.name.removeprefix("SIG") for each in signal.Signals)

_LEVELS = ("critical", "error", "warning", "info", "debug")


def _one_of(*words: str, kind: str) -> Callable[[str], str]:
    """A parser of one of ``words``, in any case; ``kind`` is what another text is not."""

    def parse(text: str) -> str:
        word = text.strip().lower()
        if word not in words:
            raise ValueError(f"is {kind}; write {', '.join(words[:-1])} or {words[-1]}")
        return word

    return parse


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


def parse_pattern(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"is not a regular expression: {error}; write one as Python has it") from None
    return text


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
            meant = nearest.hint(base[3:], SIGNALS, "write a name like TERM or SIGQUIT, or a number")
            raise ValueError(f"is not a signal; {meant}")
        number = int(found)
        if sign:
            number += int(offset) if sign == "+" else -int(offset)
    if not 1 <= number < signal.NSIG:
        raise ValueError(f"is not a signal; signals are from 1 to {signal.NSIG - 1}")
    return number


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


def parse_rotation(text: str) -> str:
    unit = text.strip().upper()
    if unit not in ROTATIONS:
        raise ValueError(
            "is not a time to rotate at; write S, M, H, D, MIDNIGHT or W0 to W6 (the end of Monday to Sunday)"
        )
    return unit


def parse_ready(text: str) -> str:
    return checks.parse(text, checks.READY, quantities.parse_seconds)


def parse_health_check(text: str) -> str:
    return checks.parse(text, checks.HEALTH, quantities.parse_seconds)


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
        quantities.parse_port(text)
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


PARSERS: dict[str, Callable[[str], object]] = {
    "text": parse_text,
    "words": parse_words,
    "list": doors.parse_list,
    "addresses": doors.parse_addresses,
    "flag": parse_flag,
    "integer": quantities.parse_integer,
    "count": quantities.parse_count,
    "positive": quantities.parse_positive,
    "processes": quantities.parse_processes,
    "retries": quantities.parse_retries,
    "port": quantities.parse_port,
    "period": quantities.parse_period,
    "seconds": quantities.parse_seconds,
    "size": quantities.parse_size,
    "interval": quantities.parse_interval,
    "pause": quantities.parse_pause,
    "factor": quantities.parse_factor,
    "attempts": quantities.parse_attempts,
    "limit_action": _one_of("restart", "reload", "report", kind="no such action"),
    "percent": quantities.parse_percent,
    "share": quantities.parse_share,
    "memory": quantities.parse_memory,
    "pattern": parse_pattern,
    "octal": quantities.parse_octal,
    "signal": parse_signal,
    "limit": quantities.parse_limit,
    "limit_size": quantities.parse_limit_size,
    "limit_seconds": quantities.parse_limit_seconds,
    "limit_microseconds": quantities.parse_limit_microseconds,
    "account": parse_account,
    "family": parse_family,
    "socktype": parse_socktype,
    "level": _one_of(*_LEVELS, kind="not a level of logging"),
    "color": _one_of(*COLORS, kind="not a colour"),
    "rotation": parse_rotation,
    "buffer": quantities.parse_buffer,
    "overflow": _one_of("drop-oldest", "block", kind="not known"),
    "ready": parse_ready,
    "health_check": parse_health_check,
    "health_action": _one_of("restart", "report", kind="no such action"),
    "stall": quantities.parse_stall,
    "bound": rollouts.parse_bound,
    "update": rollouts.parse_update,
    "kill_mode": _one_of("process", "group", "tree", kind="not known"),
    "line_format": _one_of("text", "json", kind="not a format of lines"),
    "facility": receivers.parse_facility,
    "severity": receivers.parse_severity,
    "receiver": receivers.parse_address,
    "name": parse_name,
    "control": parse_control,
    "papa": parse_papa,
    "watcher_type": _one_of("simple", "oneshot", kind="no type of watcher"),
    "cron": cron.parse_cron,
    "timezone": cron.parse_timezone,
    "overlap": _one_of("skip", "queue", "replace", kind="no answer to runs that overlap"),
    "missed": _one_of("skip", "once", "all", kind="no answer to runs that were missed"),
    "history": quantities.parse_history,
}
