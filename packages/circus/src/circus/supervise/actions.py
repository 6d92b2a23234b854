"""What leaves the cores: each action is carried out by the executor, in order.

Spawn is answered by Spawned, SpawnFailed or HookAnswered(before_spawn, ok=False); EndRest by RestSeen;
StartTimer by TimerFired unless cancelled; RunHook by HookAnswered where it is awaited. The others are not answered.
"""

from __future__ import annotations

from msgspec import Struct, field

from circus.supervise.events import TimerKey
from circus.supervise.states import SlotKey


class Spawn(Struct, frozen=True):
    """Start a process. With ``awaits_hook`` Spawned is followed by HookAnswered(after_spawn), whatever the answer is,
    and also when the hook has gone meanwhile: the process does not count as ready before."""

    slot: SlotKey
    incarnation: int
    awaits_hook: bool = False
    is_former: bool = False  # by the configuration from before a reload that is under way, or went back


class Signal(Struct, frozen=True):
    """Send ``signum`` to the slot's process. ``is_kill``: the grace is over; no hook may veto, the tree gets it too.

    ``is_plain``: sent as it is, the hooks before_signal and after_signal are not asked (the SIGHUP of a reload).
    """

    slot: SlotKey
    incarnation: int
    signum: int
    is_kill: bool = False
    children: bool = False
    is_plain: bool = False
    kill_mode: str = "process"  # group: the process group gets it, too


class EndRest(Struct, frozen=True):
    """The slot's process has ended: each that is left of its tree gets ``signum`` once, also who is found later.

    Answered by RestSeen, whenever the number that is left has changed, the last time with 0.
    """

    slot: SlotKey
    incarnation: int
    signum: int
    kill_mode: str


class LeaveRest(Struct, frozen=True):
    """They do not go: name them, and let them be."""

    slot: SlotKey
    incarnation: int


class StartTimer(Struct, frozen=True):
    key: TimerKey
    delay_s: float
    spread_s: float = 0.0  # up to so much later, at random


class CancelTimer(Struct, frozen=True):
    key: TimerKey


class AwaitDemand(Struct, frozen=True):
    """Say when somebody waits at one of the watcher's sockets, by Demanded; or, not ``is_wanted``, no more.

    For a scheduled watcher: say when its time has come, by RunDue.
    """

    watcher: str
    is_wanted: bool


class RunOver(Struct, frozen=True):
    """A run of a scheduled watcher has come to its end, or has not begun; ``reason`` says why, if no process of it
    ended."""

    watcher: str
    reason: str


class RunHook(Struct, frozen=True):
    """A watcher's hook. ``is_awaited``: the core waits for HookAnswered; else the answer is not reported.

    With ``slot`` it is the hook after_spawn of an adopted process; the answer carries slot and incarnation again.
    """

    watcher: str
    hook: str  # before_start, after_start, before_stop, after_stop; after_spawn with a slot
    is_awaited: bool
    slot: SlotKey | None = None
    incarnation: int | None = None


class Probe(Struct, frozen=True):
    """Ask the slot's process from now on whether it is ``what``: "ready", until it is; or "health", as long as it
    lives. Asked anew, the watcher's options are others."""

    slot: SlotKey
    incarnation: int
    what: str


class Publish(Struct, frozen=True):
    """An event for people and programs: the ancestors' names (spawn, reap, kill, start, stop, reload, updated, add,
    remove) and our own (backoff, blocked, fatal, flapping, ready, not_ready, unhealthy, healthy)."""

    watcher: str
    event: str
    fields: dict[str, object] = field(default_factory=dict)


class ReloadFailed(Struct, frozen=True):
    """A new process of a reload is no good, so that the reload goes no further."""

    slot: SlotKey
    incarnation: int
    reason: str


class Finish(Struct, frozen=True):
    """The end of an operation. ``detail``: started, stopped, kept are lists of pids; numprocesses; failed."""

    op: int
    ok: bool
    detail: dict[str, object] = field(default_factory=dict)
    error: str = ""


class Joined(Struct, frozen=True):
    """The order ``op`` takes along a watcher that it does not name. ``verb``: what is ordered; ``why``: for people."""

    op: int
    watcher: str
    verb: str  # start, stop, restart
    why: str


class EssentialEnded(Struct, frozen=True):
    """A watcher without which the rest is of no use has come to its end, and nobody ordered that.

    ``status`` is that of a process of its, negative for a signal; None when no process ended, or nobody knows how.
    """

    watcher: str
    status: int | None


class Leave(Struct, frozen=True):
    """The last process that had to end has ended: circusd may leave (after Quit or Shutdown)."""


Action = (
    Spawn
    | Signal
    | EndRest
    | LeaveRest
    | StartTimer
    | CancelTimer
    | AwaitDemand
    | RunOver
    | RunHook
    | Probe
    | Publish
    | ReloadFailed
    | Finish
    | Joined
    | EssentialEnded
    | Leave
)
