"""What is told of why a watcher is as it is. Values only; as `schema`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from circus.control import rows
from circus.control.schema import CauseAnswer, SlotAnswer
from circus.control.told import OperationAnswer
from circus.control.views import LogLine

#: Ends that are remembered of a watcher.
MAX_EXITS = 50
#: Before each of them, and characters of each line.
MAX_LINES = 20
MAX_TEXT = 200


class WhyQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``wid``: of this process alone; so many ``exits``, the latest, and so many ``lines`` of output before each."""

    wid: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    exits: Annotated[int, Meta(ge=0, le=MAX_EXITS)] = 10
    lines: Annotated[int, Meta(ge=0, le=MAX_LINES)] = 3


class OrderAnswer(Struct, frozen=True):
    """``what`` was ordered, ``by`` whom and from where; both are empty for a signal to circusd, or a program that has
    circusd in it. ``along``: it was ordered for others, and this watcher was taken along."""

    what: str
    by: str
    origin: str
    at: float
    operation: str
    along: bool


class WantedAnswer(Struct, frozen=True):
    """``source``: order, file (at ``file`` and ``line``), circusd (for this ``reason``). ``order``: the last one to be
    up or down. ``count_order``: where ``numprocesses`` is not as ``in_file``."""

    up: bool
    numprocesses: int
    in_file: int
    source: str
    reason: str
    file: str
    line: int
    order: OrderAnswer | None
    count_order: OrderAnswer | None


class WaitAnswer(Struct, frozen=True):
    """``kind``: dependency, connection, time, hook, warm-up, reload, spawn, ready, backoff, order, end, proof. ``wid``
    null: the whole watcher. At ``until`` happens what ``then`` says."""

    kind: str
    what: str
    wid: int | None
    since: float | None
    until: float | None
    then: str


class NextAnswer(Struct, frozen=True):
    """The next attempt: when, if that is known, and what; empty where nothing is to be attempted."""

    at: float | None
    what: str


class EndAnswer(Struct, frozen=True):
    """``lines``: the last ones of its output, from its start to a second after its end, each cut to 200 characters."""

    exit: rows.Exit
    lines: list[LogLine]


class WhyAnswer(Struct, frozen=True):
    """``well``: it is as it is wanted. ``counts``: slots by their states. ``exits``: oldest first; ``lines_missing``:
    why there are no lines. ``ran_well``: when it was found that it runs well with the options that it has, or had then;
    null: never, as far as is remembered. ``changes``: in what the options of now differ from those, of file `by hand`
    where they were set. ``last_set``, ``last_reload``: the last orders to change options by hand, and to obey the
    file."""

    name: str
    well: bool
    state: str
    reason: str
    wanted: WantedAnswer
    counts: dict[str, int]
    slots: list[SlotAnswer]
    waits: list[WaitAnswer]
    operations: list[OperationAnswer]
    next: NextAnswer
    exits: list[EndAnswer]
    lines_missing: str
    ran_well: float | None
    changes: list[CauseAnswer]
    last_set: OrderAnswer | None
    last_reload: OrderAnswer | None
    drift: str
