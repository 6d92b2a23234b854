"""Telling the service manager how circusd is: sd_notify(3), datagrams to a unix socket that it names."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

from circus import clock

log = logging.getLogger("circus")

VARIABLE = "NOTIFY_SOCKET"
#: Within how many microseconds it wants to hear of us, and of which process.
WATCHDOG, WATCHDOG_PID = "WATCHDOG_USEC", "WATCHDOG_PID"

#: Until circusd is up it asks for so much more time with each beat: a start that hangs is ended, a long one is not.
MORE_US = 60_000_000


class Manager:
    """The service manager, or nobody. What it does not take is none of circusd's troubles.

    ``watchdog_s``: it ends circusd that is silent for so long; 0: it does not listen.
    """

    def __init__(self, path: str = "", watchdog_s: float = 0.0) -> None:
        # An abstract address is written with @ in front.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self.watchdog_s = watchdog_s if path else 0.0
        self._is_up = False

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> Manager:
        """The one that started us. It is taken out of the environment: programs must not speak for circusd."""
        path, interval, pid = (environ.pop(each, "") for each in (VARIABLE, WATCHDOG, WATCHDOG_PID))
        is_ours = interval.isdecimal() and pid in ("", str(os.getpid()))
        return cls(path, int(interval) / 1e6 if is_ours else 0.0)

    @property
    def is_there(self) -> bool:
        return bool(self._address)

    def beat(self) -> None:
        """circusd lives. Before it is up that says also: give it more time; one before it may have been up."""
        if self.watchdog_s:
            self.tell("WATCHDOG=1", *(() if self._is_up else (f"EXTEND_TIMEOUT_USEC={MORE_US}",)))

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
        self._is_up = True
        # With --daemon the process that was started is not the one that stays.
        self.tell("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def reloading(self, status: str) -> None:
        """Until it is ready once more; the time is that of sd_notify(3)."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={int(clock.monotonic() * 1e6)}", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        self.tell("STOPPING=1", f"STATUS={status}")
