"""The ancestors' subscriber to statistics: what each process, each watcher and circusd itself use, once a second."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

from circus.control import endpoints
from circus.errors import AWAY, CircusError
from circus.legacy import zmq_client, zmq_feed
from circus.legacy.exc import CallError
from circus.legacy.util import DEFAULT_ENDPOINT_STATS
from circus.legacy.ways import Way

#: From look to look, as the ancestors did.
PERIOD_S = 1.0

Stat = tuple[str, str | None, dict[str, Any]]


class StatsClient:
    """Iterates over (watcher in lower case, pid as text or None for all of them, figures), for ever.

    ``endpoint`` is what circusctl takes, or the ``stats_endpoint`` of a circusd; the ancestors' default means the
    default circusd. circusd is asked while somebody takes what comes, and a restart of it is waited for.
    """

    def __init__(
        self, endpoint: str = DEFAULT_ENDPOINT_STATS, ssh_server: str | None = None, context: object = None
    ) -> None:
        del context
        if ssh_server is not None:
            raise CallError("there is no tunnel in the client: run it on that host, as `ssh HOST circusctl ...`")
        self.endpoint = endpoint
        self._subscription: zmq_feed.Subscription | None = None
        asked = "" if endpoint == DEFAULT_ENDPOINT_STATS else endpoint
        try:
            self._path = endpoints.resolve(asked)
            self._way = Way(self._path, timeout_s=zmq_client.DEFAULT_TIMEOUT_S)
            if zmq_feed.is_wanted(endpoint, self._path):
                self._subscription = zmq_feed.Subscription(endpoint, ["stat."])
        except CircusError as error:
            raise CallError(str(error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __iter__(self) -> Iterator[Stat]:
        return self.iter_messages()

    def iter_messages(self) -> Iterator[Stat]:
        if self._subscription is not None:
            for topic, text in self._subscription.read_while_wanted(self.endpoint, self._path):
                if (stat := parse(topic, text)) is not None:
                    yield stat
        while True:
            due = time.monotonic() + PERIOD_S
            yield from self._look()
            time.sleep(max(0.0, due - time.monotonic()))

    def stop(self) -> None:
        if self._subscription is not None:
            self._subscription.close()

    def _look(self) -> list[Stat]:
        """Nothing while there is no circusd."""
        try:
            all_of_them = self._way.ask({"command": "stats"})
            own = self._way.ask({"command": "dstats"})
        except CircusError as error:
            if error.code in AWAY:
                return []
            raise CallError(str(error)) from None
        found: list[Stat] = []
        for watcher, infos in all_of_them.get("infos", {}).items():
            found += _of_watcher(watcher.lower(), infos)
        daemon = own.get("info", {})
        if isinstance(daemon, Mapping) and "pid" in daemon:
            found += _of_watcher("circus", {str(daemon["pid"]): {**daemon, "name": "circusd"}})
        return found


def parse(topic: bytes, text: bytes) -> Stat | None:
    """``stat.WATCHER.PID`` or ``stat.WATCHER``, where the watcher's name may have dots; None for what is neither."""
    try:
        figures = json.loads(text)
        rest = topic.decode().removeprefix("stat.")
    except ValueError:
        return None
    if not isinstance(figures, dict):
        return None
    subtopic = str(figures["subtopic"]) if "subtopic" in figures else None
    if subtopic is None or not rest.endswith(f".{subtopic}"):
        return rest, None, figures
    return rest.removesuffix(f".{subtopic}"), subtopic, figures


def _of_watcher(watcher: str, infos: Mapping[str, Any]) -> list[Stat]:
    """Of each process, then of all of them; one that has just gone has no figures."""
    living = {pid: info for pid, info in infos.items() if isinstance(info, Mapping)}
    found: list[Stat] = [
        (watcher, pid, {"name": watcher, **info, "subtopic": int(pid)}) for pid, info in living.items()
    ]
    cpu, mem, age = (_numbers(living, key) for key in ("cpu", "mem", "age"))
    together = {
        "name": watcher,
        "pid": [int(pid) for pid in living],
        "cpu": "N/A" if cpu is None else sum(cpu) / len(cpu) if cpu else 0.0,
        "mem": "N/A" if mem is None else sum(mem),
        "age": "N/A" if age is None else max(age, default=0),
    }
    return [*found, (watcher, None, together)]


def _numbers(infos: Mapping[str, Mapping[str, Any]], key: str) -> list[float] | None:
    """None where one of them is not known."""
    values = [info.get(key) for info in infos.values()]
    numbers = [value for value in values if isinstance(value, int | float)]
    return numbers if len(numbers) == len(values) else None
