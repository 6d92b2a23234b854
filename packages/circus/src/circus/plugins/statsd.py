"""Counters and gauges for statsd, over UDP: every event is counted, and what processes use is measured."""

from __future__ import annotations

import logging
import random
import re
import socket
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from circus.config import plugins as known
from circus.config.options import Option
from circus.legacy.util import human2bytes
from circus.plugins import settings
from circus.plugins.base import CircusPlugin
from circus.plugins.loop import PeriodicCallback

log = logging.getLogger("circus.plugins")

#: A host whose name is not known is looked up again after this.
LOOKUP_S = 30.0

#: What ends a bucket's name in a datagram, or makes several of one.
_SPECIAL = re.compile(r"[:|@\s]")


def render(bucket: str, value: float, kind: str, rate: float) -> bytes:
    """``bucket:value|kind``, and ``|@rate`` for counters."""
    tail = f"|@{rate}" if kind == "c" else ""
    return f"{_SPECIAL.sub('_', bucket)}:{value}|{kind}{tail}".encode()


class StatsdClient:
    """Sends and never waits: what cannot be sent is lost."""

    def __init__(
        self, host: str = "localhost", port: int = 8125, prefix: str | None = None, sample_rate: float = 1.0
    ) -> None:
        self.prefix = prefix
        self.sample_rate = sample_rate
        self._address = (host, int(port))
        self._sock: socket.socket | None = None
        self._next_lookup_at = 0.0

    def send(self, bucket: str, value: float, kind: str = "c", sample_rate: float | None = None) -> None:
        rate = self.sample_rate if sample_rate is None else sample_rate
        if kind == "c" and rate < 1 and random.random() >= rate:
            return
        if (sock := self._opened()) is not None:
            try:
                sock.send(render(f"{self.prefix}.{bucket}" if self.prefix else bucket, value, kind, rate))
            except OSError as error:
                log.debug("statsd does not listen: %s", error)

    def increment(self, bucket: str, delta: float = 1) -> None:
        self.send(bucket, delta)

    def decrement(self, bucket: str, delta: float = 1) -> None:
        self.send(bucket, -delta)

    def gauge(self, bucket: str, value: float) -> None:
        self.send(bucket, value, "g")

    def timed(self, bucket: str, milliseconds: float) -> None:
        self.send(bucket, milliseconds, "ms")

    def stop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _opened(self) -> socket.socket | None:
        if self._sock is None and time.monotonic() >= self._next_lookup_at:
            self._next_lookup_at = time.monotonic() + LOOKUP_S
            try:
                family, kind, proto, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]
                self._sock = socket.socket(family, kind, proto)
                self._sock.setblocking(False)
                self._sock.connect(address)
            except OSError as error:
                log.warning("statsd at %s:%d: %s; counts are lost", *self._address, error.strerror or error)
                self.stop()
        return self._sock


class StatsdEmitter(CircusPlugin):
    """Counts every event: ``circus.APPLICATION.watcher.NAME.EVENT``. ``options`` are its settings as values."""

    name = "statsd"
    table: ClassVar[Mapping[str, Option]] = known.STATSD
    default_app_name = "app"

    def __init__(self, *args: Any, **config: Any) -> None:
        super().__init__(*args, **config)
        self.options = settings.read(self.table, config)
        self.application_name = config.get("application_name", self.default_app_name)
        self.prefix = f"circus.{self.application_name}.watcher"
        self.statsd = StatsdClient(
            self.options["host"], self.options["port"], self.prefix, sample_rate=self.options["sample_rate"]
        )

    def handle_recv(self, data: tuple[bytes, bytes]) -> Any:
        watcher, event, _ = self.split_data(data)
        self.statsd.increment(f"{watcher}.{event}")

    def handle_stop(self) -> None:
        self.statsd.stop()


class BaseObserver(StatsdEmitter):
    """Calls ``look_after`` every ``loop_rate`` seconds; hears no events."""

    name = "observer"
    table = known.FULL_STATS
    default_app_name = "observer"

    def __init__(self, *args: Any, **config: Any) -> None:
        super().__init__(*args, **config)
        self.loop_rate = self.options["loop_rate"]
        self.period = PeriodicCallback(self.look_after, self.loop_rate * 1000, self.loop)

    def handle_init(self) -> None:
        self.period.start()

    def handle_stop(self) -> None:
        self.period.stop()
        super().handle_stop()

    def handle_recv(self, data: tuple[bytes, bytes]) -> Any:
        """Nothing."""

    def look_after(self) -> Any:
        raise NotImplementedError


def figures_of(processes: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a watcher from what its processes say; what is not known (`N/A`, gone) counts nowhere."""
    known_ones = [each for each in processes.values() if isinstance(each, dict)]
    figures: dict[str, float] = {"watchers_num": len(processes)}
    for name, values in (
        ("cpu", [each["cpu"] for each in known_ones if is_number(each.get("cpu"))]),
        ("mem_pct", [each["mem"] for each in known_ones if is_number(each.get("mem"))]),
        ("mem", [size for each in known_ones if (size := bytes_of(each)) is not None]),
    ):
        figures |= {f"{name}_max": max(values, default=0), f"{name}_sum": sum(values)}
    return figures


def is_number(value: object) -> bool:
    return isinstance(value, int | float)


def bytes_of(process: Mapping[str, Any]) -> int | None:
    """Resident memory, or None when it is not known."""
    try:
        return human2bytes(str(process.get("mem_info1")))
    except ValueError:
        return None


class FullStats(BaseObserver):
    """Gauges of every watcher: ``_stats.NAME.cpu_max``, ..."""

    name = "full_stats"
    default_app_name = "app"

    def look_after(self) -> None:
        reply = self.call("stats")
        if reply["status"] != "ok":
            log.warning("stats: %s", reply["reason"])
            return
        for watcher, processes in reply["infos"].items():
            if not watcher.startswith("plugin:"):
                for figure, value in figures_of(processes).items():
                    self.statsd.gauge(f"_stats.{watcher}.{figure}", value)
