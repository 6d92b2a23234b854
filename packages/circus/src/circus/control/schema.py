"""What travels over the control API: requests as they are accepted, answers as they are sent. Values only.

Programs rely on these shapes: a field may be added, none is renamed, removed or changed in meaning. Unknown
fields of a request are refused, so that a misspelt one is not silently without effect.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from circus.config.quantities import MAX_SECONDS
from circus.control.rows import Exit, Job, Notifier, ProcessInfo, Run, Socket, Survivor

#: Processes that a watcher may be told to have; far beyond any host, near enough that a slip does no harm.
MAX_COUNT = 10_000

#: Names in one request, and characters in a name.
MAX_NAMES = 1_000
MAX_NAME_LENGTH = 256
#: Enough for who orders, and for the number of his order.
MAX_TAG_LENGTH = 64

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
Names = Annotated[list[Name], Meta(min_length=1, max_length=MAX_NAMES)]
Tag = Annotated[str, Meta(max_length=MAX_TAG_LENGTH, pattern="^[A-Za-z0-9._-]*$")]
Options = Annotated[dict[Annotated[str, Meta(max_length=MAX_NAME_LENGTH)], Any], Meta(max_length=MAX_NAMES)]
Pid = Annotated[int, Meta(ge=1, le=2**22)]


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """``wait``: answer when the operation has ended, not when it has begun. ``tag``: under which name, besides its id,
    the operation is found meanwhile; one's own, that nobody else gives."""

    wait: bool = True
    tag: Tag = ""


class OrderRequest(Request, frozen=True):
    """Start, stop, restart. ``names`` None means all; ``match`` says whether they may be patterns."""

    names: Names | None = None
    match: Annotated[str, Meta(pattern="^(glob|simple)$")] = "glob"


class TestRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing to say."""


class ForgetRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """``names`` and ``match`` as in OrderRequest; with ``dry_run`` it is only said what would be forgotten."""

    names: Names | None = None
    match: Annotated[str, Meta(pattern="^(glob|simple)$")] = "glob"
    dry_run: bool = False


class ReloadRequest(OrderRequest, frozen=True):
    """``graceful`` False ends the old processes first; ``sequential`` replaces them one by one."""

    graceful: bool = True
    sequential: bool = False


class CountRequest(Request, frozen=True):
    """Exactly one of both."""

    count: Annotated[int, Meta(ge=0, le=MAX_COUNT)] | None = None
    delta: Annotated[int, Meta(ge=-MAX_COUNT, le=MAX_COUNT)] | None = None


class SignalRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """``children``: to their children and not to them; ``recursive``: to all that descend from them, too; ``childpid``:
    to this one of their descendants alone."""

    signum: int | Annotated[str, Meta(max_length=40)]
    pid: Pid | None = None
    childpid: Pid | None = None
    child_pid: Pid | None = None  # the same: the ancestors' documentation has this name
    children: bool = False
    recursive: bool = False


class AddRequest(Request, frozen=True):
    """``cmd`` and ``args`` as a file has them, or as lists of words; ``options`` as in SetRequest.

    Without any of them: the watcher of the file that was removed by hand.
    """

    cmd: str | list[str] = ""
    args: str | list[str] = ""
    options: Options = {}
    start: bool = False


class RemoveRequest(Request, frozen=True):
    """``nostop``: its processes are left alone, and belong to nobody."""

    nostop: bool = False


class KillRequest(Request, frozen=True):
    """``pid`` None: all processes; ``signum`` and ``graceful_timeout`` (seconds) None: as the watcher stops."""

    pid: Pid | None = None
    signum: int | Annotated[str, Meta(max_length=40)] | None = None
    graceful_timeout: Annotated[float, Meta(ge=0, le=MAX_SECONDS)] | None = None


class SetRequest(Request, frozen=True, kw_only=True):
    """``options`` under the names that a file has, as text or as numbers, flags and lists; those of a stream, of hooks
    and of the environment also as an object under `stdout_stream`, `hooks`, `env`."""

    options: Annotated[Options, Meta(min_length=1)]


class ReloadConfigRequest(Request, frozen=True):
    """``plan``: only say what would be done; ``apply``: do it, if what is to be done is still the plan of this id."""

    plan: bool = False
    apply: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH)] | None = None


class UpgradeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """``check``: only try whether the new program could take over. ``to``: another one than that which runs, as the
    path of a virtual environment or of a Python. ``patience``: seconds to wait for orders that are under way."""

    check: bool = False
    to: Annotated[str, Meta(max_length=4096)] = ""
    patience: Annotated[float, Meta(ge=0, le=MAX_SECONDS)] = 30.0


class EventsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``topic``: beginnings of topics, as `watcher.web.`; ``since``: what happened after it, seconds since 1970."""

    topic: list[str] = []
    since: float | None = None


class OptionsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``reveal``: with the values of the environment and of what may be secret, which needs the verb `reveal`."""

    reveal: bool = False


class StatsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``pid``: of one process of the watcher ``name``; ``extended``: with what its hook extended_stats adds."""

    name: Name | None = None
    pid: Pid | None = None
    extended: bool = False


class SlotAnswer(Struct, frozen=True):
    wid: int
    state: str
    pid: int | None
    kernel_id: int | None
    started_at: float | None  # wall clock, seconds since the epoch
    incarnation: int
    reason: str
    last_status: int | None  # how the life before ended; negative: signal
    ready: bool = False
    health: str = ""  # healthy or unhealthy; nothing where nobody asks
    said: str = ""  # by the process, of itself


class WatcherAnswer(Struct, frozen=True, omit_defaults=True):
    name: str
    state: str
    numprocesses: int
    priority: int
    wants_up: bool
    reason: str
    slots: list[SlotAnswer]
    job: Job | None = None
    reload: str = ""  # how far a reload with bounds is
    after: list[str] = []  # watchers, here and below
    requires: list[str] = []
    wants: list[str] = []
    waits_for: list[str] = []  # before it starts


class Warden(Struct, frozen=True):
    """Who starts circusd again when it crashes or hangs; ``pid`` 0: nobody of ours. ``replaced``: how often that was,
    since its first start; ``reason``: why last."""

    pid: int = 0
    replaced: int = 0
    reason: str = ""


class StatusAnswer(Struct, frozen=True):
    name: str  # of the circusd
    version: str
    pid: int
    started_at: float
    watchers: list[WatcherAnswer]
    kernel: dict[str, object]
    foreign: list[object]
    drift: dict[str, object]
    by_hand: dict[str, str]  # watchers that are not as the file has them, and in what
    warnings: list[str]
    output: dict[str, dict[str, dict[str, float]]]  # watcher -> stdout, stderr -> counters
    # watcher -> who is left of its processes that have ended
    survivors: dict[str, list[Survivor]] = {}
    notifiers: dict[str, Notifier] = {}
    warden: Warden = Warden()


class WatchersAnswer(Struct, frozen=True):
    watchers: list[str]


class PidsAnswer(Struct, frozen=True):
    name: str
    pids: list[int]


class OptionsAnswer(Struct, frozen=True):
    name: str
    options: dict[str, object]


class ExitsAnswer(Struct, frozen=True):
    """The ends of its processes that are remembered, oldest first."""

    name: str
    exits: list[Exit]


class RunAnswer(Struct, frozen=True):
    """A run that has begun, or, with ``wait``, has ended."""

    name: str
    run: Run
    operation: str = ""


class RunsAnswer(Struct, frozen=True):
    """The runs of a job that are kept, in the order in which they were decided."""

    name: str
    job: Job | None
    runs: list[Run]


class GlobalOptionsAnswer(Struct, frozen=True):
    options: dict[str, object]


class DaemonStatsAnswer(Struct, frozen=True):
    """``info`` is of circusd; both are as in StatsAnswer."""

    info: ProcessInfo | str
    papa: ProcessInfo | str


class SocketsAnswer(Struct, frozen=True):
    sockets: list[Socket]


class StatsAnswer(Struct, frozen=True):
    """Watcher -> pid -> what is known of the process, or a sentence why nothing is."""

    infos: dict[str, dict[str, ProcessInfo | str]]


class LogsAnswer(Struct, frozen=True):
    """``directory`` is the state directory, whose `logs` says where the output of the watchers is."""

    directory: str
    watchers: list[str]


class VersionAnswer(Struct, frozen=True):
    """``config`` is the path of the main file; ``listening``: the addresses of the API over TCP; ``argv``: the command
    that this process was started by."""

    name: str
    version: str
    pid: int
    api: int
    config: str
    listening: list[str] = []
    argv: list[str] = []


class DoneAnswer(Struct, frozen=True):
    """An operation that has ended; with ``waited`` False it has only begun."""

    op: int | None = None
    waited: bool = True
    started: list[int] = []  # pids
    stopped: list[int] = []
    kept: list[int] = []
    numprocesses: int | None = None
    warnings: list[str] = []
    joined: dict[str, str] = {}  # watchers that were not named, and what was ordered for them: start, stop, restart
    operation: str = ""  # its id, here and in other answers


class ForgetAnswer(Struct, frozen=True):
    """Watcher -> what was ordered by hand, in words: it counts no more, unless this was a ``dry_run``."""

    watchers: dict[str, list[str]]
    dry_run: bool
    operation: str = ""


class NotifierAnswer(Struct, frozen=True):
    """A test message: whether it got through, what went wrong, and how long it took."""

    name: str
    sent: bool
    error: str
    took_s: float


class SignalAnswer(Struct, frozen=True):
    signum: int
    signalled: int  # processes that got it


class ChangeAnswer(Struct, frozen=True):
    name: str
    restart: bool
    reasons: list[str]


class CauseAnswer(Struct, frozen=True):
    """An option; null: it is not set. With ``hidden`` the values are not told, and empty where there are some.

    Where both are the same, a variable that they name is another one. ``file`` is empty where it is not written now.
    """

    option: str
    old: str | None
    new: str | None
    file: str
    line: int
    hidden: bool


class ItemAnswer(Struct, frozen=True):
    """``kind``: circus, socket, watcher, notifier; ``verb``: keep, live, restart, roll, start, add (not started), stop,
    remove (it has no processes), open, reopen, close, later (after a restart of circusd)."""

    kind: str
    name: str
    verb: str
    note: str
    file: str
    line: int
    causes: list[CauseAnswer]


class PlanAnswer(Struct, frozen=True):
    """What reloadconfig did, as names, or with `plan` what it would do; ``items`` are the whole of it, ``text`` is the
    same for people. ``by_hand``: watcher -> what of it is not the file's. ``warnings``: new ones, of the file."""

    waited: bool = True
    keep: list[str] = []
    add: list[str] = []
    remove: list[str] = []
    change: list[ChangeAnswer] = []
    sockets_add: list[str] = []
    sockets_remove: list[str] = []
    sockets_change: list[str] = []
    circus_changes: list[str] = []
    text: str = ""
    id: str = ""
    applied: bool = False
    items: list[ItemAnswer] = []
    by_hand: dict[str, list[str]] = {}
    warnings: list[str] = []
    operation: str = ""


class UpgradeAnswer(Struct, frozen=True):
    """From ``version`` to ``to_version``, whose code is at ``path`` and runs under ``python``. It has begun, unless
    this was a ``check``; how it ends is known by its ``operation``, and then also for how long clients waited
    (``blind_s``)."""

    version: str
    to_version: str
    python: str
    path: str
    check: bool = False
    waited: bool = False
    blind_s: float | None = None
    warnings: list[str] = []
    operation: str = ""


class ErrorBody(Struct, frozen=True):
    code: str
    message: str
    hint: str


class ErrorAnswer(Struct, frozen=True):
    error: ErrorBody
