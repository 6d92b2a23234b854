"""Kills processes that do not say over UDP, often enough, that they live."""

from __future__ import annotations

import logging
import re
import socket
import time
from typing import Any

from circus.config import plugins as known
from circus.errors import CircusError
from circus.plugins import settings
from circus.plugins.base import CircusPlugin
from circus.plugins.loop import PeriodicCallback
from circus.plugins.silence import Silence

log = logging.getLogger("circus.plugins")

#: Of UDP over IP.
MAX_DATAGRAM = 65_535

#: Datagrams that are read at once; then others have their turn.
BATCH = 200

#: Before anybody is killed all that waits is read; far more than a socket keeps, and an end where somebody floods it.
ALL = 100_000


class WatchDog(CircusPlugin):
    name = "watchdog"

    def __init__(self, *args: Any, **config: Any) -> None:
        super().__init__(*args, **config)
        self.options = settings.read(known.WATCHDOG, config)
        self.loop_rate = self.options["loop_rate"]
        self._watchers = re.compile(self.options["watchers_regex"], re.IGNORECASE)
        self._message = re.compile(self.options["msg_regex"])
        if "pid" not in self._message.groupindex:
            raise CircusError("config-invalid", "watchdog: msg_regex has no group (?P<pid>...)", "name the part so")
        self._silence = Silence(self.loop_rate * self.options["max_count"])
        self._names: dict[str, str] = {}  # as topics have them -> as watchers are called
        self._period = PeriodicCallback(self.look_after, self.loop_rate * 1000, self.loop)
        self._sock: socket.socket | None = None

    def handle_init(self) -> None:
        address = self.options["ip"], self.options["port"]
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._sock = socket.socket(family, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        try:
            self._sock.bind(address)
        except OSError as error:
            raise CircusError(
                "failed",
                f"watchdog: cannot listen at {address[0]}:{address[1]}: {error.strerror}",
                "choose ip and port",
            ) from None
        self.loop.add_handler(self._sock, self._on_datagram, self.loop.READ)
        self.discover()
        self._period.start()

    def handle_stop(self) -> None:
        self._period.stop()
        if self._sock is not None:
            self.loop.remove_handler(self._sock)
            self._sock.close()

    def handle_gap(self, _missed: int | None) -> None:
        self.discover()

    def handle_recv(self, data: tuple[bytes, bytes]) -> Any:
        topic_name, event, text = self.split_data(data)
        if event not in ("spawn", "reap"):
            return
        pid = self.load_message(text)["process_pid"]
        if event == "reap":
            self._silence.remove(pid)
            return
        if topic_name not in self._names:
            self._learn_names()
        name = self._names.get(topic_name)
        if name is not None and self._is_meant(name):
            self._silence.add(pid, name, time.monotonic())

    def discover(self) -> None:
        """What runs already has from now on to say something."""
        found: set[int] = set()
        for name in self._learn_names():
            if self._is_meant(name):
                for pid in self.call("list", name=name).get("pids", ()):
                    self._silence.add(pid, name, time.monotonic())
                    found.add(pid)
        self._silence.keep(found)

    def look_after(self) -> None:
        # This process may have been held up itself, for longer than it has patience with others.
        self._read(ALL)
        for pid, name in self._silence.take_silent(time.monotonic()):
            log.warning("%s: process %d has been silent for too long, and is killed", name, pid)
            props: dict[str, Any] = {"name": name, "pid": pid}
            if self.options["watchers_stop_signal"] is not None:
                props["signum"] = self.options["watchers_stop_signal"]
            if self.options["watchers_graceful_timeout"] is not None:
                props["graceful_timeout"] = self.options["watchers_graceful_timeout"]
            self.cast("kill", **props)

    def _learn_names(self) -> list[str]:
        names: list[str] = self.call("list").get("watchers", [])
        self._names = {name.lower().replace(" ", "_"): name for name in names}
        return names

    def _is_meant(self, name: str) -> bool:
        return not name.startswith("plugin:") and self._watchers.match(name) is not None

    def _on_datagram(self, _sock: socket.socket, _events: int) -> None:
        self._read(BATCH)

    def _read(self, count: int) -> None:
        assert self._sock is not None
        for _ in range(count):
            try:
                data = self._sock.recv(MAX_DATAGRAM)
            except BlockingIOError:
                return
            pid = self.pid_in(data)
            if pid is None or not self._silence.hear(pid, time.monotonic()):
                log.debug("a datagram of nobody: %r", data[:100])

    def pid_in(self, data: bytes) -> int | None:
        match = self._message.match(data.decode("utf-8", "replace"))
        text = (match["pid"] or "").strip() if match else ""
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
