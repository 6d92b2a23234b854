"""Where a stream may send its lines: the words of syslog (RFC 5424, 6.2.1) and the addresses of receivers. Pure."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_OTHER_NAMES = {"emergency": "emerg", "critical": "crit", "error": "err", "warn": "warning", "informational": "info"}

DEV_LOG = "/dev/log"
JOURNAL = "/run/systemd/journal/socket"

#: Of syslog over UDP (RFC 5426) and over TCP as rsyslog has it.
PORT = 514


class Receiver(NamedTuple):
    """``kind`` is unix, udp or tcp; of a unix socket ``where`` is the path."""

    kind: str
    where: str
    port: int = 0


def parse_facility(text: str) -> str:
    folded = text.strip().lower()
    if folded not in FACILITIES:
        raise ValueError(f"is not a facility of syslog; write one of {', '.join(FACILITIES)}")
    return folded


def parse_severity(text: str) -> str:
    folded = text.strip().lower()
    folded = _OTHER_NAMES.get(folded, folded)
    if folded not in SEVERITIES:
        raise ValueError(f"is not a level of syslog; write one of {', '.join(SEVERITIES)}")
    return folded


def parse_address(text: str) -> str:
    """As written; it can be understood by `receiver_at`."""
    receiver_at(text)
    return text.strip()


def receiver_at(text: str) -> Receiver:
    """Raises: ValueError, what is wrong and what to write."""
    text = text.strip()
    if text.startswith("/"):
        return Receiver("unix", text)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    is_bare = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if parts.scheme not in ("udp", "tcp") or not host or not is_bare or port == 0:
        raise ValueError("is not an address; write the path of a unix socket, udp://HOST:PORT or tcp://HOST:PORT")
    return Receiver(parts.scheme, host, port or PORT)
