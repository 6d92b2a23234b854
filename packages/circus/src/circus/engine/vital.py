"""What is known of a process that is waited for or watched, and the value by which the next circusd knows it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from circus import clock
from circus.config.model import WatcherConfig
from circus.engine.hosted import Hosted
from circus.probes.lines import Lines
from papa.client.output import StreamFiles

#: Of the value that says that a process was ready.
FORMAT = 1


@dataclass(slots=True)
class Vital:
    """``is_told``: its environment names the socket for sd_notify. ``is_noted``: the kernel knows that it is ready."""

    hosted: Hosted
    is_told: bool
    is_awaited: bool
    is_ready: bool = False
    is_noted: bool = False
    lines: Lines | None = None
    has_matched: bool = False  # a line of it
    asked: str = ""  # by the cores: ready, health
    task: asyncio.Task[None] | None = None
    doubt: str = ""
    ready_at: float = 0.0  # monotonic, as are the others
    beat_at: float | None = None  # None: it was silent so far, and need not speak yet
    is_alarmed: bool = False  # by itself
    is_listened_to: bool = False  # the next beat is news
    news: asyncio.Event = field(default_factory=asyncio.Event)
    text: str = ""  # what it says of itself


def speaks(config: WatcherConfig) -> bool:
    """Whether its processes are to know where they can say something."""
    return config.ready == "notify" or (config.health is not None and config.health.check.startswith("watchdog "))


def value_of(hosted: Hosted) -> str:
    return json.dumps({"format": FORMAT, "pid": hosted.pid, "started_at": hosted.started_at, "at": clock.wall()})


def read_value(text: str, row: Mapping[str, Any] | None) -> float | None:
    """Since when the process in ``row`` is ready; None if it says nothing of this one."""
    try:
        value = json.loads(text)
        if row is not None and (value["pid"], value["started_at"]) == (row["pid"], row["started_at"]):
            return float(value["at"])
    except (ValueError, KeyError, TypeError):
        pass
    return None


def own_files(fds: Mapping[str, int]) -> StreamFiles:
    names = [name for name in fds if name in ("out", "err", "index")]
    return StreamFiles({name: os.dup(fds[name]) for name in names})


def stop(vital: Vital) -> None:
    if vital.task is not None:
        vital.task.cancel()
        vital.task = None


def close_lines(vital: Vital) -> None:
    if vital.lines is not None:
        vital.lines.close()
        vital.lines = None
