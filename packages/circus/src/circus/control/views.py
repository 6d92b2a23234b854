"""What travels when somebody looks closer: histories, logs, slots, the configuration. Values only; as `schema`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from circus.control import rows
from circus.control.schema import Name, SlotAnswer

#: Samples of one slot in one answer.
MAX_SAMPLES = 1000

#: Seconds since 1970: far in the future, near enough that they can be counted in nanoseconds.
Moment = Annotated[float, Meta(ge=0, le=2**32)]


class StatsHistoryQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``name``: of this watcher alone; ``since``: seconds since 1970; ``limit``: at most so many of each slot, the
    latest; ``look``: take a sample before, as a question for statistics does."""

    name: Name | None = None
    since: Moment = 0.0
    limit: Annotated[int, Meta(ge=1, le=MAX_SAMPLES)] = 100
    look: bool = False


class SampleAnswer(Struct, frozen=True):
    """``cpu``: percent of one processor since the sample before it of the same process, null for its first; ``memory``:
    resident bytes."""

    at: float
    pid: int
    cpu: float | None
    memory: int


class StatsHistoryAnswer(Struct, frozen=True):
    """Watcher -> wid -> samples, oldest first. They are taken when somebody asks for statistics, and every ``interval``
    seconds if the option `stats_interval` says so (0: it does not)."""

    interval: float
    samples: dict[str, dict[str, list[SampleAnswer]]]


#: Lines in one answer, and characters of a text that is looked for, and of a cursor.
MAX_LINES = 1000
MAX_CONTAINS = 256
MAX_CURSOR = 16 * 1024


class LogsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``limit`` lines: the last ones; or, with ``since`` or ``cursor``, the first ones from there (``order``: from
    which end lines are taken). ``contains`` is a text, no pattern. ``around_exit`` N: those before the Nth last end of
    a process, and up to a second after it. ``follow``: lines as they are written, as server-sent events, after the last
    ``limit`` (10) ones, or those since ``since``, or behind ``cursor`` or the header Last-Event-ID."""

    follow: bool = False
    since: Moment | None = None
    until: Moment | None = None
    contains: Annotated[str, Meta(min_length=1, max_length=MAX_CONTAINS)] | None = None
    stream: Literal["stdout", "stderr"] | None = None
    instance: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    limit: Annotated[int, Meta(ge=0, le=MAX_LINES)] | None = None
    cursor: Annotated[str, Meta(min_length=1, max_length=MAX_CURSOR)] | None = None
    order: Literal["oldest", "newest"] | None = None
    around_exit: Annotated[int, Meta(ge=1, le=1000)] | None = None


class LogLine(Struct, frozen=True, omit_defaults=True):
    """``at`` null: nobody knows. ``instance`` is the process's wid. Where ``text`` is not what was written, because
    that is no UTF-8, ``raw`` is, in base64. ``cut``: the line is longer. ``mark``: it was written by circusd, about
    output that is missing."""

    text: str
    at: float | None = None
    stream: str = ""
    instance: int | None = None
    pid: int | None = None
    raw: str = ""
    cut: bool = False
    mark: bool = False


class GapAnswer(Struct, frozen=True):
    """So many bytes of this file were gone before they were read."""

    path: str
    bytes: int


class LogPage(Struct, frozen=True):
    """``lines``, oldest first. ``cursor``: what to go on with, in the same order, if there is ``more``; ``latest``:
    where the logs ended, to go on with ``order`` oldest, or to follow."""

    name: str
    lines: list[LogLine]
    cursor: str
    latest: str
    more: bool
    gaps: list[GapAnswer]


class SlotsAnswer(Struct, frozen=True):
    name: str
    slots: list[SlotAnswer]


class SlotDetailAnswer(Struct, frozen=True):
    """``stats`` of its process, as in StatsAnswer; null: there is none. ``exits``: how those before it ended, as far as
    that is remembered, oldest first."""

    name: str
    slot: SlotAnswer
    stats: object
    exits: list[rows.Exit]


class ConfigQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``name``: of this watcher or socket alone, or `circus`; ``reveal``: with values of environments, and secrets."""

    name: Name | None = None
    reveal: bool = False


class ConfigVariable(Struct, frozen=True):
    name: str
    origin: str


class ConfigRow(Struct, frozen=True):
    """An option that counts, as a file writes it. ``origin``: `default`, or where it stands, in words. ``variables``:
    those that it refers to."""

    option: str
    value: str
    origin: str
    file: str
    line: int
    variables: list[ConfigVariable]


class ConfigSection(Struct, frozen=True):
    """``kind``: circus, socket, watcher."""

    kind: str
    name: str
    options: list[ConfigRow]


class ConfigAnswer(Struct, frozen=True):
    """What the file at ``path`` says now, which is what the next reloadconfig takes."""

    path: str
    sections: list[ConfigSection]
