"""Why a watcher is as it is: what is wanted and who says so, what it waits for, what has changed since it ran well.

All of it is found out when somebody asks; how its processes ended is `shown.exits`.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from circus import clock
from circus.config import causes, expand
from circus.config.causes import Cause
from circus.config.sheets import differences, sheet_of
from circus.supervise.ring import Phase
from circus.supervise.states import SlotState
from circus.supervise.waits import Wait, waits

if TYPE_CHECKING:
    from circus.config.model import WatcherConfig
    from circus.engine.annals import Order
    from circus.engine.engine import Engine
    from circus.supervise.watcher import Watcher

#: Who wants a watcher to be up, or down.
ORDER, FILE, CIRCUSD = "order", "file", "circusd"

NO_ATTEMPT = "none by itself: it needs an order"


async def why(engine: Engine, name: str) -> dict[str, Any]:
    """The rows are those of `control.reasons`. Raises: CircusError not-found."""
    config = engine.config_of(name)
    watcher = engine.fleet.watchers[config.name]
    waiting = waits(watcher)
    good = engine.annals.good(config.name)
    return {
        "well": is_as_wanted(watcher),
        "wanted": _wanted(engine, config, watcher),
        "waits": [_row(engine, config, each) for each in waiting],
        "next": _next(engine, config, watcher, waiting),
        "ran_well": None if good is None else good.at,
        "changes": await _changes(engine, config),
        "last_set": _order_row(engine.annals.order(config.name, "set")),
        "last_reload": _order_row(engine.annals.order(config.name, "reload")),
    }


def is_as_wanted(watcher: Watcher) -> bool:
    if not watcher.wants_up:
        is_gone = watcher.phase is Phase.DOWN and not any(slot.is_alive for slot in watcher.slots.values())
        return is_gone and all(slot.last_status == 0 for slot in watcher.slots.values() if slot.is_spent)
    if watcher.phase is Phase.WAITING or watcher.is_done:
        return True
    ready = [each for each in watcher.view().slots if each.state is SlotState.RUNNING and each.is_ready]
    is_ill = any(each.health == "unhealthy" for each in ready)
    is_moving = watcher.phase not in (Phase.UP, Phase.INHERITED)
    return not (is_ill or is_moving) and (watcher.policy.is_job or len(ready) == watcher.policy.numprocesses)


def _wanted(engine: Engine, config: WatcherConfig, watcher: Watcher) -> dict[str, Any]:
    order, count = engine.annals.order(config.name, "wish"), engine.annals.order(config.name, "count")
    in_file = config.numprocesses
    by_hand = engine.memory.count(config.name, in_file) != in_file
    told: dict[str, Any] = {
        "up": watcher.wants_up,
        "numprocesses": watcher.policy.numprocesses,
        "in_file": in_file,
        "source": FILE,
        "reason": "",
        "file": "",
        "line": 0,
        "order": _order_row(order),
        "count_order": _order_row(count) if by_hand else None,
    }
    if order is not None and watcher.wants_up is not (order.what == "stop"):
        return told | {"source": ORDER}
    if watcher.wants_up is config.autostart:
        entry = engine.proofs.source().entry(causes.title_of(config), "autostart")
        written = "by default" if entry is None else ""
        place = (config.file, config.line) if entry is None else (entry.file, entry.line)
        said = f"autostart = {'true' if config.autostart else 'false'}"
        return told | {"reason": f"{said} {written}".strip(), "file": place[0], "line": place[1]}
    if engine.memory.is_stopped(config.name):
        return told | {"source": ORDER, "reason": "stopped by hand"}
    return told | {"source": CIRCUSD, "reason": watcher.view().reason or _why_up(engine, config.name)}


def _why_up(engine: Engine, name: str) -> str:
    needs = {each.name: each.policy.needs for each in engine.fleet.watchers.values() if each.wants_up}
    needing = [other for other, each in needs.items() if name in (*each.requires, *each.wants)]
    return f"needed by {', '.join(sorted(needing))}" if needing else "it ran already when circusd started"


def _order_row(order: Order | None) -> dict[str, Any] | None:
    return None if order is None else asdict(order)


def _row(engine: Engine, config: WatcherConfig, wait: Wait) -> dict[str, Any]:
    wall = clock.wall() - clock.monotonic()
    what = wait.what
    if wait.kind == "connection":
        names = expand.sockets_used(config, engine.sockets.configs.values())
        what = f"{what} at {', '.join(sorted(names))}" if names else what
    elif wait.kind == "ready" and config.ready is not None:
        what = f"{config.ready}: {what}"
    return {
        "kind": wait.kind,
        "what": what,
        "wid": wait.wid,
        "since": None if wait.since is None else wall + wait.since,
        "until": _until(engine, wait),
        "then": wait.then,
    }


def _until(engine: Engine, wait: Wait) -> float | None:
    left_s = None if wait.timer is None else engine.executor.left_s(wait.timer)
    return None if left_s is None else clock.wall() + left_s


def _next(engine: Engine, config: WatcherConfig, watcher: Watcher, waiting: list[Wait]) -> dict[str, Any]:
    """The next attempt, and what it is; nothing where there is nothing to attempt."""
    job = engine.jobs.shown(config.name)
    if job is not None and job["next_run"] is not None:
        return {"at": job["next_run"], "what": "the next run"}
    timed = [(until, each.then) for each in waiting if each.kind == "backoff" and (until := _until(engine, each))]
    if timed:
        at, what = min(timed)
        return {"at": at, "what": what}
    if watcher.given_up or (any(each.kind == "order" for each in waiting) and not watcher.is_done):
        return {"at": None, "what": f"{NO_ATTEMPT} (`circusctl start {config.name}`)"}
    if watcher.phase is Phase.HELD:
        return {"at": None, "what": f"when {', '.join(watcher.waits_for)} can serve"}
    if watcher.phase is Phase.WAITING:
        return {"at": None, "what": "when somebody connects"}
    return {"at": None, "what": ""}


async def _changes(engine: Engine, config: WatcherConfig) -> list[Cause]:
    """Since it ran well, as far as that is remembered."""
    good, source = engine.annals.good(config.name), engine.proofs.source()

    def compare() -> list[Cause]:
        if good is None:
            return []
        return differences(good.options, sheet_of(config, source, engine.annals.digest), config, source)

    return await asyncio.to_thread(compare)
