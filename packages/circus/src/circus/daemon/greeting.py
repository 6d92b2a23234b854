"""What a circusd in the foreground says when it is up: which one it is, what it found, and what to do next.

For people, on standard error, beside the log: its lines are facts with times and may go elsewhere. Told twice: when
commands are taken, and once more when all has come up that shall, or has not within a bound.
"""

from __future__ import annotations

import asyncio
import math
import os
import shlex
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from circus import __version__, clock, procfs
from circus.control import endpoints
from circus.supervise.states import SlotState, WatcherState, WatcherView

if TYPE_CHECKING:
    from circus.control.ops import Ops
    from circus.engine.engine import Engine
    from circus.engine.view import EngineView

#: Names in a line; who has more looks at the status.
MAX_NAMES = 8

#: What is still on its way then is said to be.
PATIENCE_S = 10.0
LOOK_S = 0.1

_FAILING = (SlotState.BACKOFF, SlotState.FATAL)


def greet(engine: Engine, ops: Ops, control: str) -> None:
    """``control``: the path of its control socket. Nothing, where standard error is nobody's."""
    if _is_heard():
        _say(first_lines(engine.snapshot(), control, ops.doors.addresses(), is_new=_is_younger(engine)))
        _Coming(engine, control).look()


class _Coming:
    """Looks until everything has come up. No task: whoever leaves need not wait for it."""

    def __init__(self, engine: Engine, control: str) -> None:
        self._engine, self._control = engine, control
        self._began_at = clock.monotonic()

    def look(self) -> None:
        engine = self._engine
        if engine.may_leave.is_set():
            return
        took_s = clock.monotonic() - self._began_at
        if took_s > PATIENCE_S or (not engine.mailbox_depth and engine.fleet.is_settled):
            _say(last_lines(engine.snapshot(), self._control, took_s))
        else:
            asyncio.get_running_loop().call_later(LOOK_S, self.look)


# Lines -------------------------------------------------------------------------------------------------------


def first_lines(view: EngineView, control: str, addresses: Iterable[str], *, is_new: bool) -> list[str]:
    """``is_new``: the kernel was started for this circusd."""
    rows = [
        ("configuration", view.config),
        ("control", control),
        *(("listening", address) for address in addresses),
        ("papa", f"{'started' if is_new else 'found'}, pid {view.kernel['pid']}"),
        ("adopted", _counted({each.name: len(_lives(each, until=view.started_at)) for each in view.watchers})),
        ("foreign", _foreign(view)),
        *(("warning", warning) for warning in view.warnings),
        ("next", f"circusctl{_endpoint(control)} status -v"),
    ]
    return [f"circusd {__version__} takes commands: {view.name}, pid {view.pid}", *_table(rows)]


def last_lines(view: EngineView, control: str, took_s: float) -> list[str]:
    """How it went; ``took_s`` since it takes commands."""
    failed = {each.name: reason for each in view.watchers if (reason := _failure(each, since=view.started_at))}
    late = [each.name for each in view.watchers if _is_late(each) and each.name not in failed]
    left = [each.name for each in view.watchers if not each.wants_up and each.name not in failed]
    names = [*failed, *late]
    endpoint = _endpoint(control)
    rows = [
        ("started", _counted({each.name: len(_lives(each, since=view.started_at)) for each in view.watchers})),
        *(("failed", f"{name}: {failed[name]}") for name in list(failed)[:MAX_NAMES]),
        ("on the way", _named(late)),
        ("stopped", _named(left)),
        ("next", f"circusctl{endpoint} status -v; circusctl{endpoint} logs {shlex.quote(names[0])}" if names else ""),
    ]
    return [f"circusd: {'not all is well' if names else 'all is up'} after {took_s:.1f} s", *_table(rows)]


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f"  {what:<13}  {text}" for what, text in rows if text]


def _failure(watcher: WatcherView, *, since: float) -> str:
    """Why one of its places waits before the next attempt, or how the attempt before this one ended."""
    for slot in watcher.slots:
        if slot.state in _FAILING:
            return slot.reason
        if slot.last_status and (slot.started_at is None or slot.started_at >= since):
            return f"ended with status {slot.last_status}"
    return ""


def _is_late(watcher: WatcherView) -> bool:
    """A watcher with a reason waits for something that no start brings about: its time, a connection."""
    return watcher.wants_up and not watcher.reason and watcher.state is not WatcherState.ACTIVE


def _lives(watcher: WatcherView, *, since: float = 0.0, until: float = math.inf) -> list[float]:
    """When its processes were started that were so in this time."""
    started = [slot.started_at for slot in watcher.slots if slot.pid is not None and slot.started_at is not None]
    return [at for at in started if since <= at < until]


def _counted(processes: dict[str, int]) -> str:
    """``3 processes: web (2), db (1)``."""
    some = {name: count for name, count in processes.items() if count > 0}
    total = sum(some.values())
    if not some:
        return ""
    return f"{total} {'process' if total == 1 else 'processes'}: {_named([f'{name} ({some[name]})' for name in some])}"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def _foreign(view: EngineView) -> str:
    if not view.foreign:
        return ""
    return (
        f"{len(view.foreign)} of other configurations, left alone: {_named([str(row['name']) for row in view.foreign])}"
    )


def _endpoint(control: str) -> str:
    """What circusctl has to be told, if anything."""
    if control == endpoints.resolve(None):
        return ""
    return f" --endpoint {endpoints.name_of_socket(control) or control}"


# The edge ----------------------------------------------------------------------------------------------------


def _is_heard() -> bool:
    """Not in the background, where it is /dev/null."""
    try:
        return os.fstat(sys.stderr.fileno()).st_rdev != os.stat(os.devnull).st_rdev
    except (OSError, ValueError, AttributeError):
        return False


def _say(lines: list[str]) -> None:
    try:
        print(
            *(line if line.isprintable() else ascii(line)[1:-1] for line in lines),
            sep="\n",
            file=sys.stderr,
            flush=True,
        )
    except OSError:
        pass  # whoever read it has gone; the log has what counts


def _is_younger(engine: Engine) -> bool:
    """Whether papa was started behind this process, which is then why."""
    papa, own = procfs.row(int(engine.kernel.hello["pid"])), procfs.row(os.getpid())
    return papa is not None and own is not None and papa.start_ticks >= own.start_ticks
