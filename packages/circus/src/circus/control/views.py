"""What travels when somebody looks closer: histories, logs, slots, the configuration. Values only; as `schema`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from circus.control.schema import Name

#: Samples of one slot in one answer.
MAX_SAMPLES = 1000

#: Seconds since 1970: far in the future, near enough that they can be counted in nanoseconds.
Moment = Annotated[float, Meta(ge=0, le=2**32)]


class StatsHistoryQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``name``: of this watcher alone; ``since``: seconds since 1970; ``limit``: at most so many of each slot, the
    latest."""

    name: Name | None = None
    since: Moment = 0.0
    limit: Annotated[int, Meta(ge=1, le=MAX_SAMPLES)] = 100


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
