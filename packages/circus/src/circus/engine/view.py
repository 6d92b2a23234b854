"""A picture of the whole manager at one moment, for the doors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from circus.supervise.fleet import WatcherView
from circus.supervise.states import SlotKey

#: What is said in ``by_hand`` of a watcher that only the file has.
REMOVED = "removed by hand"


@dataclass(frozen=True, slots=True)
class Warden:
    """``pid`` 0: there is none. ``replaced``: how often circusd was since its first start; ``reason``: why last."""

    pid: int = 0
    replaced: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EngineView:
    """``sockets`` are the kernel's rows; ``foreign`` are hosted processes of other configurations; ``drift`` says of
    watchers (by name) what about their running processes is not as configured."""

    name: str
    pid: int
    started_at: float  # wall clock
    config: str
    watchers: tuple[WatcherView, ...]
    sockets: tuple[dict[str, Any], ...]
    kernel: dict[str, Any]
    foreign: tuple[dict[str, Any], ...]
    drift: dict[str, str]
    by_hand: dict[str, str]  # watchers that are not as the file has them, and in what
    warnings: tuple[str, ...]
    survivors: dict[str, list[dict[str, object]]] = field(default_factory=dict)  # by watcher: left of stopped processes
    # Watchers that are jobs: when they run next, and how they did last.
    jobs: dict[str, dict[str, object]] = field(default_factory=dict)
    said: Mapping[SlotKey, str] = field(default_factory=dict)  # by processes, of themselves
    warden: Warden = field(default_factory=Warden)
