"""Lines as messages of syslog: to the socket of this host, or to another one over UDP or TCP.

To a unix socket goes the form that every syslog takes there (RFC 3164, 4.1, without a host name), to others that of
RFC 5424, in a datagram (RFC 5426) or behind its length (RFC 6587, 3.4.1). Over UDP nobody learns of a loss, and what
TCP had taken when a connection broke may be lost: syslog acknowledges nothing.
"""

from __future__ import annotations

import errno
import re
import select
import socket
from datetime import UTC, datetime, tzinfo

from circus.config import receivers
from circus.config.model import StreamConfig
from circus.streams.sent import PATIENCE_S, Message

#: What may stand in a datagram; a longer line becomes several messages. Receivers cut at limits of their own (rsyslog
#: at 8 KiB, unless it is told otherwise).
MAX_TEXT = 60_000

#: RFC 5424, 6: the longest APP-NAME and HOSTNAME.
MAX_TAG = 48
MAX_HOST = 255

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

#: What ends a tag for one receiver or another.
_NOT_IN_TAG = re.compile(r"[^!-9;-Z\\^-~]")


def tag_of(name: str) -> str:
    return _NOT_IN_TAG.sub("_", name)[:MAX_TAG] or "circus"


def priority(facility: str, level: str) -> int:
    return receivers.FACILITIES.index(facility) * 8 + receivers.SEVERITIES.index(level)


def rfc3164(message: Message, facility: str, tag: str, zone: tzinfo | None = None) -> bytes:
    """In the time of ``zone``, the host's if there is none."""
    at = datetime.fromtimestamp(message.at_ns // 10**9, zone)
    time = f"{_MONTHS[at.month - 1]} {at.day:2} {at:%H:%M:%S}"
    return f"<{priority(facility, message.level)}>{time} {tag}[{message.pid}]: ".encode() + message.text


def rfc5424(message: Message, facility: str, tag: str, host: str) -> bytes:
    seconds, micros = divmod(message.at_ns // 1000, 1_000_000)
    time = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06}Z"
    head = f"<{priority(facility, message.level)}>1 {time} {host} {tag} {message.pid} {message.stream} - "
    return head.encode() + message.text


def framed(data: bytes) -> bytes:
    """For a stream: behind its length."""
    return b"%d %s" % (len(data), data)


def cut(text: bytes, limit: int = MAX_TEXT) -> list[bytes]:
    """Pieces of at most ``limit`` bytes; no character of UTF-8 is split."""
    pieces = []
    while len(text) > limit:
        end = limit
        while end > limit - 4 and text[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(text[:end])
        text = text[end:]
    return [*pieces, text]


class SyslogSender:
    def __init__(self, config: StreamConfig) -> None:
        self._receiver = receivers.receiver_at(config.address or receivers.DEV_LOG)
        self._facility = config.facility
        self._tag = tag_of(config.tag or "")
        self._host = _NOT_IN_TAG.sub("_", socket.gethostname())[:MAX_HOST] or "-"
        self._socket: socket.socket | None = None

    def open(self) -> None:
        kind, where, port = self._receiver
        if self._socket is not None:
            if kind == "tcp" and _has_left(self._socket):
                self.close()
            else:
                return
        try:
            if kind == "tcp":
                made = socket.create_connection((where, port), timeout=PATIENCE_S)
            elif kind == "udp":
                family, type_, proto, _, address = socket.getaddrinfo(where, port, type=socket.SOCK_DGRAM)[0]
                made = _connected(socket.socket(family, type_, proto), address)
            else:
                made = _connected(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), where)
        except UnicodeError as error:
            raise OSError(errno.EINVAL, f"no such host: {error}", where) from None
        self._socket = made

    def send(self, message: Message) -> None:
        assert self._socket is not None
        kind = self._receiver.kind
        for text in cut(message.text):
            piece = Message(text, *_rest_of(message))
            if kind == "unix":
                self._socket.sendall(rfc3164(piece, self._facility, self._tag))
                continue
            data = rfc5424(piece, self._facility, self._tag, self._host)
            self._socket.sendall(framed(data) if kind == "tcp" else data)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _rest_of(message: Message) -> tuple[int, str, str, int, int, str]:
    return message.at_ns, message.level, message.watcher, message.wid, message.pid, message.stream


def _connected(made: socket.socket, address: str | tuple[object, ...]) -> socket.socket:
    made.settimeout(PATIENCE_S)
    try:
        made.connect(address)
    except OSError:
        made.close()
        raise
    return made


def _has_left(connection: socket.socket) -> bool:
    """Whether the other side has closed: what is sent then is lost. A receiver of syslog never says anything."""
    poller = select.poll()
    poller.register(connection, select.POLLIN | select.POLLRDHUP)
    return bool(poller.poll(0))
