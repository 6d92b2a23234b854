"""Telling the service manager how circusd is: sd_notify(3), datagrams to a unix socket that it names."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

log = logging.getLogger("circus")

VARIABLE = "NOTIFY_SOCKET"


class Manager:
    """The service manager, or nobody. What it does not take is none of circusd's troubles."""

    def __init__(self, path: str = "") -> None:
        # An abstract address is written with @ in front.
        self._address = "\0" + path[1:] if path.startswith("@") else path

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> Manager:
        """The one that started us. It is taken out of the environment: programs must not speak for circusd."""
        return cls(environ.pop(VARIABLE, ""))

    def tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
                # A manager whose queue is full must not hold circusd up.
                door.setblocking(False)
                door.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.warning("the service manager was not told %s: %s", lines[0], error.strerror or error)

    def ready(self, status: str) -> None:
        # With --daemon the process that was started is not the one that stays.
        self.tell("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def stopping(self, status: str) -> None:
        self.tell("STOPPING=1", f"STATUS={status}")
