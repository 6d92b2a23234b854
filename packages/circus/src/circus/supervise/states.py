"""The words for what is observed, and the policies that the cores decide by. Values only."""

from __future__ import annotations

import enum
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from circus.config.model import BackoffPolicy, FlappingPolicy, HealthPolicy
from circus.supervise.graph import NOTHING, Needs


class SlotKey(NamedTuple):
    """A place of a watcher: the watcher's name as written in the configuration, and the wid, from 1."""

    watcher: str
    wid: int

    def __str__(self) -> str:
        return f"{self.watcher}.{self.wid}"


class SlotState(enum.Enum):
    STOPPED = "stopped"  # down, and wanted down
    STARTING = "starting"  # a spawn is under way
    RUNNING = "running"  # alive
    STOPPING = "stopping"  # told to end, not ended yet
    BACKOFF = "backoff"  # waits before the next attempt
    EXITED = "exited"  # ended by itself, and is not to be started again (respawn = false)
    FATAL = "fatal"  # gave up; the reason is kept


class WatcherState(enum.Enum):
    """The ancestors' words, shown on every door."""

    STOPPED = "stopped"
    STARTING = "starting"
    ACTIVE = "active"
    STOPPING = "stopping"


class Rollout(Struct, frozen=True):
    """How far a reload may go at a time: numbers of processes, or shares (`25%`). See the module ``rolling``."""

    max_surge: int | str | None = None  # None: as many as there are
    max_unavailable: int | str = 0
    soak_s: float = 0.0
    is_for_changes: bool = False  # new options come by a reload, too, and go back if it fails


class WatcherPolicy(Struct, frozen=True):
    """All that the cores need to know of a watcher's configuration."""

    name: str
    numprocesses: int = 1
    priority: int = 0
    autostart: bool = True
    respawn: bool = True
    essential: bool = False  # a container lives no longer than this watcher
    on_demand: bool = False  # start when somebody waits at a socket of its
    oneshot: bool = False  # a job: it has come up when it has ended well
    scheduled: bool = False  # a job that runs when its time has come
    singleton: bool = False
    warmup_delay_s: float = 0.0
    graceful_timeout_s: float = 30.0
    stop_signal: int = 15
    stop_children: bool = False
    kill_mode: str = "process"  # group or tree: a stop is done when nobody is left of it
    send_hup: bool = False
    max_age_s: float = 0.0  # a process that is older is renewed; 0: never
    max_age_spread_s: float = 30.0  # and up to so much later, so that not all are renewed at once
    max_retry: int = 5  # spawn attempts before the watcher stops; -1: for ever
    outlives_quit: bool = False  # use_papa
    flapping: FlappingPolicy | None = None
    backoff: BackoffPolicy | None = None  # in place of max_retry and flapping
    awaits_ready: bool = False  # a check says when a process is ready
    start_timeout_s: float = 60.0  # for which it is waited; inf: for ever
    health: HealthPolicy | None = None
    hooks: frozenset[str] = field(default_factory=frozenset)  # names of configured hooks
    needs: Needs = NOTHING
    rollout: Rollout | None = None
    is_former: bool = False  # processes are spawned by the configuration from before a reload

    @property
    def ends_trees(self) -> bool:
        return self.kill_mode != "process"

    @property
    def is_job(self) -> bool:
        """It has one slot, and ends."""
        return self.oneshot or self.scheduled


def as_job(policy: WatcherPolicy, *, is_scheduled: bool) -> WatcherPolicy:
    """Without what makes no sense for one process that ends."""
    return replace(
        policy,
        oneshot=not is_scheduled,
        scheduled=is_scheduled,
        numprocesses=1,
        respawn=policy.respawn and not is_scheduled,
        on_demand=False,
        max_age_s=0.0,
        awaits_ready=False,
        health=None,
        rollout=None,
    )


class SlotView(Struct, frozen=True):
    wid: int
    state: SlotState
    pid: int | None
    kernel_id: int | None
    started_at: float | None  # wall clock
    incarnation: int
    reason: str
    last_status: int | None
    is_ready: bool = False
    health: str = ""  # healthy or unhealthy; nothing where nobody asks


class WatcherView(Struct, frozen=True):
    """What a watcher is, and what is wanted of it. ``reason`` says why the two differ."""

    name: str
    state: WatcherState
    numprocesses: int
    priority: int
    wants_up: bool
    reason: str
    slots: tuple[SlotView, ...]
    singleton: bool = False
    needs: Needs = NOTHING
    waits_for: tuple[str, ...] = ()  # watchers that have to be ready before it starts
    reload: str = ""  # how far a reload with bounds is
