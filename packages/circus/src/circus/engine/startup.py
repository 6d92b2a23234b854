"""How circusd comes up, finds its way back after the kernel was away, and leaves.

Coming up: the sockets, then what the kernel hosts for us is compared with the configuration (supervise/adopt), then
every process is held again, their log files are compared, and only then are orders given. So output flows into the
right place before anything new starts.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from circus.config import expand
from circus.engine.policy import policy_of
from circus.supervise import adopt, events
from circus.supervise.fleet import Fleet
from circus.supervise.states import SlotKey, WatcherPolicy
from papa.errors import PapaError

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")


async def start(engine: Engine) -> None:
    config = engine.config
    changed_sockets = await engine.sockets.open(config.sockets)
    rows = {row["id"]: row for row in await our_rows(engine)}
    survivors = [survivor for row in rows.values() if (survivor := survivor_of(row)) is not None]
    counts = {each.name: engine.memory.count(each.name, each.numprocesses) for each in config.watchers}
    plan = adopt.plan_adoption(
        {each.name: (each.digest, counts[each.name]) for each in config.watchers},
        survivors,
        config_path=config.path,
    )
    for each in config.watchers:
        engine.add_config(each)
    policies = [policy_of(each, counts[each.name]) for each in config.watchers]
    policies += _leftover_policies(plan, rows)
    engine.fleet = Fleet(policies, warmup_delay_s=config.warmup_delay_s)
    engine.foreign = [rows[each.kernel_id] for each in plan.foreign]

    for survivor in (*plan.keep, *plan.drifted, *plan.surplus, *plan.vanished):
        await _adopt(engine, survivor)
    for survivor in plan.ended:
        await _settle_ended(engine, survivor)
    await engine.pump.start()

    if plan.keep or plan.drifted:
        log.info("adopted %d processes", len(plan.keep) + len(plan.drifted))
    for survivor in plan.foreign:
        log.warning("%s pid=%d belongs to %s: left alone", survivor.name, survivor.pid, survivor.config_path)
    for name in dict.fromkeys(each.watcher for each in plan.vanished):
        engine.give(partial(events.RemoveWatcher, name=name))
    stopped = {each.name for each in config.watchers if engine.memory.is_stopped(each.name)}
    for name in sorted(stopped):
        engine.give(partial(events.Stop, names=(name,)))
    drifted = {each.watcher for each in plan.drifted} | _users_of(engine, changed_sockets)
    if restarts := tuple(sorted(drifted - stopped)):
        log.info("changed in the file while circusd was away: %s", ", ".join(restarts))
        engine.give(partial(events.Restart, names=restarts))
    wanted = tuple(
        each.name
        for each in config.watchers
        if each.name not in stopped and each.name not in drifted and each.autostart
    )
    engine.give(partial(events.Start, names=wanted))


def survivor_of(row: dict[str, Any]) -> adopt.Survivor | None:
    """What the kernel's row says of an earlier life of ours; None for what no circusd started."""
    meta = row["meta"]
    try:
        return adopt.Survivor(
            kernel_id=row["id"],
            name=row["name"] or "",
            watcher=meta["watcher"],
            wid=meta["wid"],
            pid=row["pid"],
            running=row["running"],
            digest=meta["digest"],
            config_path=meta["config"],
            started_at=row["started_at"],
            use_papa=meta["use_papa"],
        )
    except KeyError:
        return None


def _leftover_policies(plan: adopt.AdoptionPlan, rows: dict[int, dict[str, Any]]) -> list[WatcherPolicy]:
    """Watchers that the file does not have any more, made up once more to be stopped as they wished."""
    leftovers: dict[str, WatcherPolicy] = {}
    for survivor in plan.vanished:
        meta = rows[survivor.kernel_id]["meta"]
        leftovers[survivor.watcher] = WatcherPolicy(
            name=survivor.watcher,
            numprocesses=0,
            autostart=False,
            stop_signal=meta["stop_signal"],
            graceful_timeout_s=meta["graceful_timeout_s"],
        )
    return list(leftovers.values())


async def _adopt(engine: Engine, survivor: adopt.Survivor) -> None:
    reply = await engine.kernel.attach(survivor.kernel_id, owner=engine.names.prefix, fds=True)
    slot = SlotKey(survivor.watcher, survivor.wid)
    row = reply.ok
    adopted = events.Adopted(slot, row["id"], row["pid"], row["started_at"])
    for action in engine.fleet.step(adopted, asyncio.get_running_loop().time()):
        engine.executor.carry_out(action)
    incarnation = engine.fleet.watchers[slot.watcher].slots[slot.wid].incarnation
    hosted = await engine.executor.take_over(slot, incarnation, row, reply.fds)
    if row["exit"] is not None:
        engine.executor.on_exit(hosted, row["exit"]["status"], heads_of(row))


async def _settle_ended(engine: Engine, survivor: adopt.Survivor) -> None:
    """It ended while nobody was there: its last output goes where it belongs, then the kernel may forget it."""
    reply = await engine.kernel.attach(survivor.kernel_id, owner=engine.names.prefix, fds=True)
    slot = SlotKey(survivor.watcher, survivor.wid)
    row = reply.ok
    hosted = await engine.executor.take_over(slot, 0, row, reply.fds, has_exited=True)
    engine.pump.on_exit(row["id"], heads_of(row))
    if row["exit"] is not None:
        hosted.exit_status = row["exit"]["status"]
    log.info("%s pid=%d ended while circusd was away", slot, row["pid"])
    engine.executor.settle_ended(hosted)


def heads_of(row: dict[str, Any]) -> dict[str, int]:
    return {name: stream["head"] for name, stream in row["streams"].items()}


def _users_of(engine: Engine, sockets: set[str]) -> set[str]:
    """The watchers whose commands name one of ``sockets``, or that inherit all."""
    if not sockets:
        return set()
    return {
        config.name
        for config in engine.config.watchers
        if sockets.intersection(expand.sockets_used(config, engine.sockets.configs))
    }


async def our_rows(engine: Engine) -> list[dict[str, Any]]:
    """What the kernel hosts for a circusd of our name; ended ones that gave their name to a successor too."""
    rows = await engine.kernel.list("processes")
    return [row for row in rows if row["meta"].get("circusd") == engine.name]


async def reattach(engine: Engine) -> None:
    """The kernel answers again: own every process anew; what it does not know any more is gone."""
    await engine.sockets.open_again()
    rows = {row["id"]: row for row in await our_rows(engine)}
    for hosted in engine.executor.hosted:
        if rows.pop(hosted.kernel_id, None) is None:
            engine.pump.forget(hosted.kernel_id)
            engine.executor.on_vanished(hosted)
            continue
        reply = await engine.kernel.attach(hosted.kernel_id, owner=engine.names.prefix, fds=True)
        await engine.executor.resume(hosted, reply.ok, reply.fds)
    for row in rows.values():
        survivor = survivor_of(row)
        if survivor is not None and not row["running"]:
            await _settle_ended(engine, survivor)


async def tidy(engine: Engine) -> None:
    """Give back what nobody needs: our sockets and values when nothing of ours is left, then the kernel itself.

    A process that ended but whose output is not yet where it belongs is kept for the next circusd.
    """
    rows = await our_rows(engine)
    sockets = engine.sockets
    if any(row["running"] for row in rows):
        await sockets.close([name for name, config in sockets.configs.items() if not config.use_papa])
        return
    await sockets.close(list(sockets.configs))
    if rows:
        held = sum(stream["head"] - stream["acked"] for row in rows for stream in row["streams"].values())
        log.warning("papa keeps %d bytes of output of %d ended processes for the next circusd", held, len(rows))
        return
    values = await engine.kernel.list("values", engine.names.pattern)
    if values:
        await engine.kernel.commit(values={row["name"]: None for row in values})
    try:
        await engine.kernel.request("exit")
    except PapaError as error:
        if error.code not in ("busy", "lost"):
            raise
