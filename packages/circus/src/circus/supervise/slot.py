"""One place of a watcher, as a table of states and events without an empty cell.

A slot has a *wish* (``wants_up``) and a *state*; orders change the wish, facts change the state, actions
close the gap. At most one process belongs to a slot. This is its specification.

**Which news counts.** Facts carry the incarnation they are about, timers their generation. What is about
another incarnation or an older timer is dropped before the table is asked, in every state. A slot has at most
one timer.

**stopped** (down, and wanted down). ``Up`` spawns a new incarnation. ``Adopted`` takes a process of an
earlier manager as running: it was not spawned here, so it counts as ready, and after_spawn is run for it.

**starting** (a spawn is under way and will be answered). Nothing can be called back, so ``Down`` and ``Up``
change the wish only. ``Spawned``: running, or, if it is not wanted any more, told to end at once.
``SpawnFailed``: another attempt after a pause (backoff) as long as the budget lasts, then fatal; stopped if
it is not wanted any more. The hook before_spawn refused: stopped, and not wanted any more. An ``Exited`` that
overtakes its ``Spawned`` is kept, and counts as soon as the spawn is answered.

**running** (alive). It is *ready* at once, or, if the watcher has the hook after_spawn, when that agrees, and, if it
has the option ``ready``, when that check has passed; if the hook
refuses, the process is told to end and is not wanted any more. ``Down`` tells it to end: the stop signal,
and a timer for the grace. ``Exited``: it ended by itself: exited if the watcher does not respawn (or starts on
demand, and this was a good end), else the budget says: at once, after a pause (backoff), or never (fatal).
With a ``max_age_s`` the timer says when it is too old: then it is told to end and is wanted still, so that a
new incarnation follows. ``Aging`` sets that timer anew. What is said of its readiness and health: module readiness.

**stopping** (told to end). When the grace is over: SIGKILL, and again every few seconds as long as the
process does not go (it may be stuck in the system). Only ``Exited`` leaves this state: to stopped, or, if the
wish has turned, to a new incarnation. This death was ordered, it costs nothing of the budget.
With a ``kill_mode`` of group or tree the slot is held here after ``Exited``, after one that nobody ordered too, until
``RestSeen`` says that nobody is left of the tree: see the module ``rest``.

``Kill`` ends a running process by a signal and a grace of its own and leaves the wish as it is: what follows is what
follows on an end by itself, without the budget. One that is stopping gets the signal once more; the grace that it has
counts, unless another one is given. ``Exceeded`` ends a running process that uses too much in its usual way, and
leaves the wish as it is, too. No failure is counted; but if it came soon after the one before, the next life begins
after a pause.

**backoff** (waits for its timer). The timer spawns; ``Up`` does not wait for it and forgives the past;
``Down`` ends it.

**What an earlier manager knew** comes with ``Resume`` into a slot that is stopped: it goes on with the budget that is
given, after the rest of the pause that it was in, or stays fatal. With ``Done`` it has ended well, and is exited.

**A oneshot** is ready when it has ended with status 0: then it is *exited*. With another one it has failed, as a
spawn does that fails: another attempt after a pause where the watcher respawns, else fatal.

**exited** and **fatal** (ended for good; the reason is kept). Wanted still, but only ``Up`` begins anew, with
a new budget; ``Down`` makes it stopped.

Does not belong here: the cells (table), how many slots there are, in what order they start, watchers' hooks.
"""

from __future__ import annotations

import enum

from msgspec import Struct

from circus.supervise.budget import UNTOUCHED, Budget, Verdict
from circus.supervise.events import (
    Adopted,
    Exceeded,
    Exited,
    Healthy,
    HookAnswered,
    NotReady,
    Ready,
    RestSeen,
    Spawned,
    SpawnFailed,
    TimerFired,
    Unhealthy,
)
from circus.supervise.states import SlotKey, SlotState


class Up(Struct, frozen=True):
    """The wish: this slot shall live."""


class Down(Struct, frozen=True):
    """The wish: this slot shall be empty."""


class Aging(Struct, frozen=True):
    """The policy's ``max_age_s`` is another one."""


class Kill(Struct, frozen=True):
    """This process shall end, now; None is what the policy has."""

    signum: int | None = None
    grace_s: float | None = None


class Resume(Struct, frozen=True):
    """The wish: this slot shall live, as an earlier manager has left it. ``pause_s`` is left of its pause."""

    budget: Budget
    reason: str = ""
    pause_s: float = 0.0
    is_fatal: bool = False


class Done(Struct, frozen=True):
    """The wish: this slot shall live; but it has ended well, under an earlier manager."""


Order = Up | Resume | Done | Down | Aging | Kill
Told = Ready | NotReady | Unhealthy | Healthy | Exceeded
SlotEvent = Order | Adopted | Spawned | SpawnFailed | Exited | RestSeen | TimerFired | HookAnswered | Told


class Fault(enum.Enum):
    """Why a process was told to end though it is wanted, or ended before it could be."""

    NONE = ""
    NOT_READY = "not ready"
    UNHEALTHY = "unhealthy"
    EXCESS = "excess"


class Rest(Struct, frozen=True):
    """Of a tree whose main process has ended, as ``exit`` says; ``verdict``: what was judged of an own end."""

    exit: Exited
    verdict: Verdict | None
    is_own: bool  # it ended by itself, and nobody has ordered anything since
    reason: str  # of the slot before
    kill_mode: str


class Slot(Struct, frozen=True):
    """``incarnation`` and ``generation`` begin above those of earlier slots of the same key."""

    key: SlotKey
    state: SlotState = SlotState.STOPPED
    wants_up: bool = False
    incarnation: int = 0
    generation: int = 0  # of the latest timer
    kernel_id: int | None = None
    pid: int | None = None
    started_at: float | None = None  # wall clock
    up_since: float = 0.0  # monotonic
    is_ready: bool = False
    awaits_check: bool = False  # of readiness
    awaits_hook: bool = False  # after_spawn will be answered for this incarnation
    is_aging: bool = False  # its timer says when it is too old
    is_timing_start: bool = False  # its timer says when it should have been ready
    doubt: str = ""  # why it is not ready yet, or not healthy
    fault: Fault = Fault.NONE
    early_exit: Exited | None = None  # news that came before Spawned
    kills: int = 0  # SIGKILLs sent to this incarnation
    is_killed: bool = False  # by an order that leaves the wish as it is
    stopping_since: float = 0.0  # monotonic
    rest: Rest | None = None  # the main process has ended, its tree may live
    budget: Budget = UNTOUCHED
    pause_ends: float = 0.0  # monotonic; in backoff
    pause_s: float = 0.0  # the whole of it
    reason: str = ""
    last_status: int | None = None  # of the incarnation that ended last

    @property
    def is_alive(self) -> bool:
        """A process is known to be there, its own or one of its tree."""
        return self.state in (SlotState.RUNNING, SlotState.STOPPING)

    @property
    def shown_state(self) -> SlotState:
        """For people it runs when it is ready."""
        is_starting = self.state is SlotState.RUNNING and self.awaits_check
        return SlotState.STARTING if is_starting else self.state

    @property
    def is_coming_up(self) -> bool:
        """Waits for the answer to a spawn, for what makes it ready, for the end of one that did not become it, or for
        the room that an end leaves."""
        if self.state is SlotState.STOPPING:
            is_judged = self.rest is not None and self.rest.is_own
            return self.wants_up and (is_judged or self.awaits_check)
        return self.state is SlotState.STARTING or (self.state is SlotState.RUNNING and not self.is_ready)

    @property
    def has_never_come_up(self) -> bool:
        """The latest attempt has not led to a process that was ready."""
        return self.budget.failures > 0 or self.fault is Fault.NOT_READY

    @property
    def is_busy(self) -> bool:
        """Cannot be forgotten: a process is about to come or about to go."""
        return self.state in (SlotState.STARTING, SlotState.STOPPING)

    @property
    def is_spent(self) -> bool:
        return self.state in (SlotState.EXITED, SlotState.FATAL)
