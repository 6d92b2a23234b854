"""Lines as entries of systemd's journal, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).

An entry is one datagram of fields; one that is too large for that is handed over as a sealed file in memory. The
journal dates entries by itself: the time of writing is CIRCUS_TIME.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct
from datetime import UTC, datetime

from circus.config import receivers
from circus.config.model import StreamConfig
from circus.streams.sent import PATIENCE_S, Message

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def encode(message: Message, facility: str, tag: str) -> bytes:
    seconds, micros = divmod(message.at_ns // 1000, 1_000_000)
    fields = {
        "MESSAGE": message.text,
        "PRIORITY": str(receivers.SEVERITIES.index(message.level)).encode(),
        "SYSLOG_FACILITY": str(receivers.FACILITIES.index(facility)).encode(),
        "SYSLOG_IDENTIFIER": tag.encode("utf-8", "surrogateescape"),
        "OBJECT_PID": str(message.pid).encode(),
        "CIRCUS_WATCHER": message.watcher.encode("utf-8", "surrogateescape"),
        "CIRCUS_WID": str(message.wid).encode(),
        "CIRCUS_PID": str(message.pid).encode(),
        "CIRCUS_STREAM": message.stream.encode(),
        "CIRCUS_TIME": f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06}Z".encode(),
    }
    return b"".join(_field(name.encode(), value) for name, value in fields.items())


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" not in value:
        return b"%s=%s\n" % (name, value)
    return b"%s\n%s%s\n" % (name, struct.pack("<Q", len(value)), value)


class JournalSender:
    def __init__(self, config: StreamConfig) -> None:
        self._path = config.address or receivers.JOURNAL
        self._facility = config.facility
        self._tag = config.tag or "circus"
        self._socket: socket.socket | None = None

    def open(self) -> None:
        if self._socket is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            made.settimeout(PATIENCE_S)
            try:
                made.connect(self._path)
            except OSError:
                made.close()
                raise
            self._socket = made

    def send(self, message: Message) -> None:
        assert self._socket is not None
        data = encode(message, self._facility, self._tag)
        try:
            self._socket.send(data)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_file(data)

    def _send_file(self, data: bytes) -> None:
        assert self._socket is not None
        fd = os.memfd_create("circus-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
            self._socket.sendmsg([], [rights])
        finally:
            os.close(fd)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
