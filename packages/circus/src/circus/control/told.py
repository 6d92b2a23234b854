"""What is told of operations: values only, as in `schema`, which promises the same of them."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from circus.control.schema import ErrorBody

#: A day; who waits longer asks again.
MAX_WAIT_S = 86_400


class StandingAnswer(Struct, frozen=True):
    """``done`` of ``of`` processes of the watcher are ``what`` (ready, replaced, ended); ``why`` not all."""

    watcher: str
    done: int
    of: int
    what: str
    why: str


class ProgressAnswer(Struct, frozen=True):
    """``processes`` are those of the watchers that are on their way. ``waits_for``: the first watchers that have not
    arrived. ``behind``: operations that it waits for before it begins."""

    watchers: int
    watchers_done: int
    processes: int
    processes_done: int
    waits_for: list[StandingAnswer]
    behind: list[str]


class OperationAnswer(Struct, frozen=True):
    """An order: ``what`` was ordered (the right that it needs), ``by`` whom and from where.

    ``watchers`` null: all, or circusd itself. ``state``: running, done, failed. ``result`` is what was answered, or
    would have been, where one operation is asked for; ``progress`` is there while it runs.
    """

    id: str
    what: str
    watchers: list[str] | None
    by: str
    origin: str
    state: str
    begun_at: float
    ended_at: float | None
    error: ErrorBody | None
    result: dict[str, Any] | None
    progress: ProgressAnswer | None


class OperationsAnswer(Struct, frozen=True):
    """Those that have ended, then those that run; each in the order in which they were given."""

    operations: list[OperationAnswer]


class OperationQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``wait``: answer when it has ended, at the latest after so many seconds."""

    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT_S)] = 0.0
