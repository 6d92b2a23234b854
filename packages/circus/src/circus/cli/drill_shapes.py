"""What `circusctl drill --json` prints, for `shapes`. Values only; what it is made of is `circus.drill.account`."""

from __future__ import annotations

from msgspec import Struct


class DrillManager(Struct, frozen=True):
    """``keeper``: who starts it again when it is killed, in words; empty: nobody."""

    name: str
    pid: int
    uid: int
    keeper: str


class DrillKernel(Struct, frozen=True):
    """As `papa status` has it."""

    pid: int
    tier: str
    holder: int | None
    not_covered: int


class DrillProcess(Struct, frozen=True):
    name: str
    pid: int


class DrillLog(Struct, frozen=True):
    """A log file, and how many streams run into it."""

    path: str
    streams: int


class DrillPlan(Struct, frozen=True):
    """What will be done. ``elsewhere``: streams that go into no log file, by where they go; ``refused``: why it will
    not be done, in words; ``patience_s``: how long each return is waited for."""

    circusd: DrillManager
    papa: DrillKernel
    processes: list[DrillProcess]
    others: int
    sockets: list[str]
    logs: list[DrillLog]
    elsewhere: dict[str, int]
    steps: list[str]
    cautions: list[str]
    refused: list[str]
    patience_s: float


class DrillGone(Struct, frozen=True):
    name: str
    pid: int
    why: str


class DrillFates(Struct, frozen=True):
    """``affected``: processes that the drill ended; ``ended``: that ended meanwhile for another reason."""

    total: int
    affected: list[DrillGone]
    ended: list[DrillGone]


class DrillConnections(Struct, frozen=True):
    """Of one socket: those that were ``held`` all the time, of which some were ``dropped``, or ``closed`` in good
    order by the server; and those that were ``tried`` meanwhile, of which some ``failed``, for these ``reasons``."""

    socket: str
    held: int
    dropped: int
    closed: int
    tried: int
    failed: int
    reasons: dict[str, int]


class DrillOutput(Struct, frozen=True):
    """Bytes of the streams of one log file, ``name``, or of those that go elsewhere. ``taken`` by papa meanwhile;
    ``dropped`` by papa; ``compared`` line by line; ``unseen``: only counted; ``said``: that are missing, by marks in
    the file. ``why`` they were not compared."""

    name: str
    streams: int
    taken: int
    compared: int
    lost: int
    doubled: int
    dropped: int
    unseen: int
    said: int
    why: str


class DrillRound(Struct, frozen=True):
    """One kill or upgrade. ``successor``: the next pid; null: none came in time. ``away_s``: nobody answered;
    ``held_s``: until every process was held again."""

    what: str
    pid: int
    by: str
    successor: int | None
    away_s: float | None
    held_s: float | None


class DrillResult(Struct, frozen=True):
    """``held``: the promise; else ``problems`` say what was not as promised. ``descendants`` of hosted processes."""

    held: bool
    problems: list[str]
    fates: DrillFates
    descendants: int
    descendants_gone: int
    connections: list[DrillConnections]
    outputs: list[DrillOutput]
    rounds: list[DrillRound]


class Drill(Struct, frozen=True, omit_defaults=True):
    """With --dry-run the plan alone."""

    plan: DrillPlan
    result: DrillResult | None = None
