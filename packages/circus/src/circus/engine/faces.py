"""What a user's hook sees as ``watcher`` and ``arbiter``: the attributes that hooks of the ancestors rely on.

Read-only pictures of the moment at which the hook was called, because a hook runs in a thread of its own; only
``send_signal`` acts, through the descriptor that proves whose process it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

from circus.config.model import WatcherConfig
from circus.engine.hosted import Hosted
from circus.errors import CircusError


@dataclass(frozen=True, slots=True)
class ProcessFace:
    pid: int
    wid: int
    started: float  # wall clock
    name: str
    status: int = 0  # the ancestors' word for "runs"

    def age(self) -> float:
        """Seconds since its start."""
        return time.time() - self.started


@dataclass(frozen=True)
class WatcherFace:
    name: str
    numprocesses: int
    cmd: str
    args: str
    env: Mapping[str, str]
    working_dir: str | None
    processes: Mapping[int, ProcessFace]
    _options: Mapping[str, str]
    sockets: Mapping[str, SimpleNamespace]
    stop_signal: int
    graceful_timeout: float
    arbiter: ArbiterFace | None
    _send: Callable[[int, int], bool] = field(repr=False)

    def send_signal(self, pid: int, signum: int) -> None:
        """Signal one of this watcher's processes; a pid that is none of them is ignored."""
        self._send(pid, signum)


@dataclass(frozen=True)
class ArbiterFace:
    name: str
    _find: Callable[[str], WatcherFace] = field(repr=False)

    def get_watcher(self, name: str) -> WatcherFace:
        """Raises: KeyError, as the ancestors' did."""
        try:
            return self._find(name)
        except CircusError:
            raise KeyError(name) from None


def watcher_face(
    config: WatcherConfig,
    *,
    env: Mapping[str, str],
    count: int,
    hosted: list[Hosted],
    sockets: Mapping[str, Mapping[str, object]],
    arbiter: ArbiterFace | None,
) -> WatcherFace:
    by_pid = {process.pid: process for process in hosted}

    def send(pid: int, signum: int) -> bool:
        return pid in by_pid and by_pid[pid].send_signal(signum)

    return WatcherFace(
        name=config.name,
        numprocesses=count,
        cmd=config.cmd,
        args=config.args,
        env=env,
        working_dir=config.working_dir,
        processes={
            pid: ProcessFace(pid, process.slot.wid, process.started_at, config.name) for pid, process in by_pid.items()
        },
        _options=config.extra,
        sockets={name: SimpleNamespace(**row) for name, row in sockets.items()},
        stop_signal=config.stop_signal,
        graceful_timeout=config.graceful_timeout_s,
        arbiter=arbiter,
        _send=send,
    )
