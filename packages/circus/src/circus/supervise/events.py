"""What enters the cores: orders change the wish, facts change the state.

Every order carries ``op``, the number of its operation: the core answers it with exactly one ``Finish`` action,
at once or when the last process it concerns has got there. Facts name the slot and the incarnation they are
about, so that news of an old life is recognised.
"""

from __future__ import annotations

from msgspec import Struct

from circus.supervise.budget import Recollection
from circus.supervise.states import SlotKey, WatcherPolicy

# Orders -----------------------------------------------------------------------------------------------------


class Start(Struct, frozen=True):
    """Start the named watchers (None: all with autostart), in order of priority, and what they require and want.

    ``resumes``: these alone, and as an earlier manager has left them; else what they have done is forgiven. ``among``,
    here and below, where no names are given: all of these.
    """

    op: int
    names: tuple[str, ...] | None = None
    resumes: bool = False
    among: frozenset[str] | None = None


class Stop(Struct, frozen=True):
    """Stop the named watchers (None: all), in reverse order of start; and those that require them, unless ``alone``."""

    op: int
    names: tuple[str, ...] | None = None
    alone: bool = False


class Restart(Struct, frozen=True):
    """Stop, then start each of the named watchers (None: all).

    Unless ``alone``, also those that require them and are up; and what they need is started.
    """

    op: int
    names: tuple[str, ...] | None = None
    alone: bool = False
    among: frozenset[str] | None = None


class Reload(Struct, frozen=True):
    """send_hup: SIGHUP to each process; else new ones beside the old ones, or one for one if sequential."""

    op: int
    names: tuple[str, ...] | None = None
    graceful: bool = True
    sequential: bool = False
    among: frozenset[str] | None = None


class SetCount(Struct, frozen=True):
    """Set the number of processes, or change it by ``delta``; the floor is 0, singletons stay at most 1."""

    op: int
    name: str
    count: int | None = None
    delta: int = 0


class Kill(Struct, frozen=True):
    """End the watcher's processes, or the one with ``pid``, and let follow what follows on an end by itself.

    ``signum`` and ``grace_s`` stand for the watcher's own way to stop.
    """

    op: int
    name: str
    pid: int | None = None
    signum: int | None = None
    grace_s: float | None = None


class AddWatcher(Struct, frozen=True):
    op: int
    policy: WatcherPolicy
    start: bool = True


class RemoveWatcher(Struct, frozen=True):
    """Stop the watcher and forget it; with ``nostop`` its processes are left alone (and become foreign)."""

    op: int
    name: str
    nostop: bool = False


class ChangeWatcher(Struct, frozen=True):
    """New policy for a known watcher; ``restart`` when running processes must be replaced to obey it.

    ``graceful``: by a reload, where the watcher bears two generations at once. ``keys`` are the options that changed.
    """

    op: int
    policy: WatcherPolicy
    restart: bool
    graceful: bool = False
    keys: tuple[str, ...] = ()


class Quit(Struct, frozen=True):
    """End of the manager: watchers that outlive it are left running, the others are stopped in reverse order."""

    op: int


class Shutdown(Struct, frozen=True):
    """End of everything: all watchers are stopped in reverse order."""

    op: int


Order = Start | Stop | Restart | Reload | SetCount | Kill | AddWatcher | RemoveWatcher | ChangeWatcher | Quit | Shutdown

# Facts ------------------------------------------------------------------------------------------------------


class Adopted(Struct, frozen=True):
    """A process of an earlier circusd runs in this slot. Comes before any order."""

    slot: SlotKey
    kernel_id: int
    pid: int
    started_at: float  # wall clock
    age_s: float = 0.0
    is_ready: bool = True  # or its check has not passed yet


class Recalled(Struct, frozen=True):
    """What an earlier circusd knew of the watcher. Comes before Adopted and any order, and is forgiven by an order.

    ``given_up`` says why it had given up, if it had; ``is_done``: a job that need not run any more.
    """

    watcher: str
    slots: tuple[Recollection, ...]
    given_up: str = ""
    is_done: bool = False


class Spawned(Struct, frozen=True):
    slot: SlotKey
    incarnation: int
    kernel_id: int
    pid: int
    started_at: float  # wall clock


class SpawnFailed(Struct, frozen=True):
    """The kernel could not start it. ``reason`` is a sentence for people."""

    slot: SlotKey
    incarnation: int
    reason: str


class Exited(Struct, frozen=True):
    slot: SlotKey
    incarnation: int
    status: int | None  # negative: signal; None: nobody knows


class RestSeen(Struct, frozen=True):
    """So many are ``left`` of the tree of a process that has ended; ``told`` names some. The answer to EndRest."""

    slot: SlotKey
    incarnation: int
    left: int
    told: str = ""


class Exceeded(Struct, frozen=True):
    """The slot's processes use more than they may, for too long, and are to be replaced. ``reason`` says how much."""

    slot: SlotKey
    incarnation: int
    reason: str


class TimerFired(Struct, frozen=True):
    """``key`` is the key that the StartTimer action gave."""

    key: TimerKey


class HookAnswered(Struct, frozen=True):
    """The answer of a watcher's hook (before_start, after_start), or of a process's (before_spawn, after_spawn).

    For before_spawn a falsy answer comes instead of Spawned; for after_spawn it comes after Spawned.
    """

    watcher: str
    hook: str
    ok: bool
    slot: SlotKey | None = None
    incarnation: int | None = None


class Ready(Struct, frozen=True):
    """The check of the option ``ready`` has passed."""

    slot: SlotKey
    incarnation: int


class NotReady(Struct, frozen=True):
    """Not yet, for this ``reason`` (for people); with ``more_s`` the process asks for so much time from now on."""

    slot: SlotKey
    incarnation: int
    reason: str = ""
    more_s: float | None = None


class Unhealthy(Struct, frozen=True):
    """The check of its health has failed as often as the policy bears."""

    slot: SlotKey
    incarnation: int
    reason: str


class Healthy(Struct, frozen=True):
    """It has passed again."""

    slot: SlotKey
    incarnation: int


class Demanded(Struct, frozen=True):
    """Somebody waits at one of the watcher's sockets: the answer to AwaitDemand."""

    watcher: str


class RunDue(Struct, frozen=True):
    """A run of a scheduled watcher shall begin; by hand also where the schedule is stopped. RunOver is the answer."""

    watcher: str
    is_by_hand: bool = False


class TimerKey(Struct, frozen=True):
    """Which timer: its owner (``watcher``, and ``wid`` for a slot, else 0), its purpose, its generation."""

    watcher: str  # "" for the fleet's own
    wid: int
    purpose: str  # "kill", "warmup", "backoff", "start", ...
    generation: int


OfALife = Spawned | SpawnFailed | Exited | RestSeen | Ready | NotReady | Unhealthy | Healthy | Exceeded
Fact = Recalled | Adopted | OfALife | TimerFired | HookAnswered | Demanded | RunDue
Event = Order | Fact
