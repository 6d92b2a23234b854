"""Rows that stand in answers: what the engine tells as dictionaries, described for programs. Values only."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

#: Seconds since 1970.
Moment = Annotated[float, Meta(description="Seconds since 1970")]
Status = Annotated[int | None, Meta(description="Negative: the signal that ended it; null: nobody knows")]


class Usage(TypedDict):
    """What a process used, with those of its children that it waited for: seconds of processors, and at most so many
    bytes of memory at a time. ``major_faults``: pages that had to be read from a disk."""

    user_s: float
    system_s: float
    max_rss: int
    major_faults: int


class Exit(TypedDict):
    """How a process ended; ``ordered`` null: circusd was away; ``why``: what circusd, or the system, ended it for;
    ``perhaps``: what may be why, and what speaks for it. ``core`` (it left a core) and ``usage`` are told where papa
    was its parent all the time."""

    at: Moment
    watcher: str
    wid: int
    pid: int
    started_at: Moment
    ran_s: float
    status: Status
    signal: str | None
    ordered: bool | None
    reason: str
    why: NotRequired[str]
    perhaps: NotRequired[str]
    core: NotRequired[bool]
    usage: NotRequired[Usage]


class Run(TypedDict):
    """A run of a job: state is waiting, starting, running, done, failed or skipped; ``count``: so many that were
    skipped together, ``due`` is the last of them."""

    due: Moment
    by_hand: bool
    state: str
    started_at: Moment | None
    ended_at: Moment | None
    pid: int | None
    status: Status
    signal: str | None
    reason: str
    count: int


class Job(TypedDict):
    """A watcher that is a job: when it runs next, how many runs wait, and the present and the last one."""

    schedule: str
    timezone: str | None
    next_run: Moment | None
    waiting: int
    current: Run | None
    last: Run | None


class Survivor(TypedDict):
    """Who is left of processes that have ended. It is known as theirs by ``why``: session, group, parent, marker,
    cgroup."""

    pid: int
    parent: int
    command: str
    state: str
    why: str


class Notifier(TypedDict):
    """Messages of a notifier, since circusd started; ``target`` is where it leads to, without what may be secret;
    ``failed``: given up; ``dropped``: the queue was full; ``collapsed``: events that had no message of their own;
    ``error``: of the last attempt."""

    target: str
    sent: int
    failed: int
    dropped: int
    collapsed: int
    waiting: int
    error: str


class Socket(TypedDict):
    """What papa says of a socket; of a unix socket ``path`` instead of ``host`` and ``port``. ``meta``: whose it is;
    ``covered``: it outlives a SIGKILL of papa. The rest is as the configuration has it, where that is not the
    default."""

    name: str
    id: NotRequired[int]
    family: NotRequired[str]
    type: NotRequired[str]
    covered: NotRequired[bool]
    meta: NotRequired[dict[str, object]]
    interface: NotRequired[str]
    blocking: NotRequired[bool]
    reuseport: NotRequired[bool]
    replace: NotRequired[bool]
    umask: NotRequired[int]
    uid: NotRequired[int]
    gid: NotRequired[int]
    fileno: NotRequired[int]
    host: NotRequired[str]
    port: NotRequired[int]
    path: NotRequired[str | None]
    backlog: NotRequired[int]


class ProcessInfo(TypedDict):
    """What a process uses: ``cpu`` in percent of one processor since it was last asked, ``mem`` in percent of the
    machine's memory, sizes and times as people read them; N/A where the system does not tell."""

    pid: int
    mem_info1: str
    mem_info2: str
    cpu: float | str
    mem: float | str
    ctime: str
    username: str
    nice: int | str
    create_time: Moment
    age: float
    cmdline: str
    children: NotRequired[list[ProcessInfo]]
    started: NotRequired[Moment | None]
    wid: NotRequired[int]
