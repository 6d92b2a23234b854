"""How circusd comes up, and finds its way back after the kernel was away.

Coming up: the sockets, then what the kernel hosts for us is compared with the configuration (supervise/adopt), then
every process is held again, their log files are compared, and only then are orders given. So output flows into the
right place before anything new starts. Until everything is in hand nothing has happened, so that a kernel that goes
away in between costs nothing: all is asked anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from circus import clock
from circus.config.model import SocketConfig, WatcherConfig
from circus.engine import bound, byhand, leftovers, renewal
from circus.engine.lives import heads_of
from circus.engine.policy import policy_of
from circus.errors import CircusError
from circus.supervise import actions, adopt, events
from circus.supervise.fleet import Fleet
from circus.supervise.states import SlotKey, WatcherPolicy
from papa.client.reply import Reply
from papa.errors import PapaError

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")

#: Whoever starts circusd is told after this that there is no kernel; one that was killed is back much earlier.
PATIENCE_S = 30.0

#: A round trip for each of a thousand processes would be most of a start.
ATTACHED_TOGETHER = 100

#: What a circusd writes into the row of each process (spawning.build_spec), and the next one relies on.
_META = {"watcher": str, "wid": int, "digest": str, "config": str, "use_papa": bool, "stop_signal": int}


@dataclass(slots=True)
class Inherited:
    """What a predecessor in this process has told already: who came and who of them has ended, by kernel ids; and
    which watchers were active."""

    came: frozenset[int] = frozenset()
    ended: frozenset[int] = frozenset()
    active: set[str] = field(default_factory=set)

    def is_told(self, action: actions.Publish) -> bool:
        """Whether it is about the begin of what has begun under the predecessor; asked once for each."""
        if action.watcher not in self.active or action.event not in ("start", "stop"):
            return False
        self.active.discard(action.watcher)
        return action.event == "start"


@dataclass(slots=True)
class _Found:
    """All that the kernel was asked for."""

    stale: list[SocketConfig]
    rows: dict[int, dict[str, Any]]
    plan: adopt.AdoptionPlan
    replies: dict[int, Reply] = field(default_factory=dict)


async def start(engine: Engine) -> None:
    """Raises: CircusError, PapaError; nothing was started then."""
    await byhand.at_start(engine)
    engine.telling.configure()
    found = await _look_until_seen(engine)
    await _take_in(engine, found)
    while True:
        try:
            await engine.pump.start()
            await engine.sockets.close_forgotten()
            break
        except PapaError as error:
            if error.code != "lost":
                raise
            await _kernel_is_back(engine)
    await engine.lives.groups.tidy()
    _give_orders(engine, found)
    engine.figures.repeat(engine.config.stats_interval_s)


async def _look_until_seen(engine: Engine) -> _Found:
    while True:
        try:
            return await _look(engine)
        except PapaError as error:
            if error.code != "lost":
                raise
            log.info("papa went away while circusd was starting: begun anew")
            await _kernel_is_back(engine)


async def _kernel_is_back(engine: Engine) -> None:
    try:
        await asyncio.wait_for(engine.link.wait(), PATIENCE_S)
    except TimeoutError:
        raise CircusError(
            "unavailable",
            f"papa went away while circusd was starting, and is not back after {PATIENCE_S:g} s",
            "`papa status` shows whether a kernel runs; its directory has kernel.log",
        ) from None


async def _look(engine: Engine) -> _Found:
    config = engine.config
    stale = await engine.sockets.open(config.sockets)
    rows = {row["id"]: row for row in await our_rows(engine)}
    await engine.probing.recall(rows)
    survivors = [survivor for row in rows.values() if (survivor := survivor_of(row)) is not None]
    survivors = leftovers.set_apart(engine, survivors)
    plan = adopt.plan_adoption(
        {each.name: (each.digest, engine.memory.count(each.name, each.numprocesses)) for each in config.watchers},
        survivors,
        config_path=config.path,
    )
    survivors = [*plan.keep, *plan.drifted, *plan.surplus, *plan.vanished, *plan.ended]
    return _Found(stale, rows, plan, await _attach_all(engine, [each.kernel_id for each in survivors]))


async def _take_in(engine: Engine, found: _Found) -> None:
    config, plan = engine.config, found.plan
    for each in config.watchers:
        engine.add_config(each)
    engine.memory.reconcile({each.name: each.numprocesses for each in config.watchers})
    policies = [policy_of(each, engine.memory.count(each.name, each.numprocesses)) for each in config.watchers]
    policies += _leftover_policies(plan, found.rows)
    engine.fleet = Fleet(policies, warmup_delay_s=config.warmup_delay_s)
    engine.foreign = [found.rows[each.kernel_id] for each in plan.foreign]
    for survivor in plan.ended:
        if survivor.kernel_id in found.replies:
            engine.jobs.hear_ended(survivor.watcher, found.replies[survivor.kernel_id].ok)
    engine.remembering.take_up(plan, found.replies)
    for survivor in (*plan.keep, *plan.drifted, *plan.surplus, *plan.vanished):
        if survivor.kernel_id in found.replies:
            await adopt_process(engine, survivor, found.replies[survivor.kernel_id])
    for survivor in plan.ended:
        if survivor.kernel_id in found.replies:
            await settle_ended(engine, survivor, found.replies[survivor.kernel_id])
    engine.is_started = True
    engine.notices.look()
    for watcher, count in sorted(Counter(each.watcher for each in (*plan.keep, *plan.drifted)).items()):
        log.info("%s already running processes=%d", watcher, count)
    for survivor in plan.foreign:
        log.warning(
            "%s.%d pid=%d belongs to %s: left alone",
            survivor.watcher,
            survivor.wid,
            survivor.pid,
            survivor.config_path,
        )


def _give_orders(engine: Engine, found: _Found) -> None:
    plan = found.plan
    for name in dict.fromkeys(each.watcher for each in plan.vanished):
        engine.give(partial(events.RemoveWatcher, name=name))
    watchers = engine.config.watchers
    stopped = {each.name for each in watchers if engine.memory.is_stopped(each.name)}
    engine.jobs.open(stopped)
    given_up = engine.remembering.given_up()
    for name in sorted(given_up - stopped):
        log.warning("%s has given up before, and is not started: %s", name, engine.fleet.watchers[name].given_up)
    running = engine.jobs.running()  # which go to their ends, whatever is wanted of their schedules
    for name in sorted(stopped - running):
        engine.give(partial(events.Stop, names=(name,), alone=True))
    adopted = {each.watcher for each in (*plan.keep, *plan.drifted)}
    wanted = {each.name for each in watchers if _is_wanted(engine, each, adopted)} - stopped - given_up
    done = {name for name, watcher in engine.fleet.watchers.items() if watcher.is_done}
    wanted |= bound.needed_by(engine.configs.values(), wanted, without=stopped | given_up | done)
    drifted = {each.watcher for each in plan.drifted} - stopped - given_up - running
    users = renewal.users_of(engine, found.stale) & wanted
    if changed := sorted(drifted | users & adopted):
        log.info("changed in the file while circusd was away: %s", ", ".join(changed))
    if found.stale:
        engine.begin(renewal.renew_at_start(engine, found.stale, tuple(sorted(users))))
    rolls = (engine.rolls.recalled | {each.name for each in watchers if each.update == "roll"}) & drifted - users
    if rolls:
        engine.begin(engine.rolls.at_start(sorted(rolls)))
    if restarts := drifted - users - rolls:
        restarts |= bound.requirers_of(engine.configs.values(), restarts) & wanted & adopted - users - rolls
        engine.give(partial(events.Restart, names=tuple(sorted(restarts)), alone=True))
    engine.give(partial(events.Start, names=tuple(sorted(wanted - drifted - users - restarts)), resumes=True))
    asyncio.get_running_loop().call_soon(engine.jobs.ordered)  # behind the events that are posted by now


def _is_wanted(engine: Engine, config: WatcherConfig, adopted: set[str]) -> bool:
    if config.schedule is not None:
        return engine.jobs.is_wanted(config.name)
    return (config.autostart or config.name in adopted) and not engine.fleet.watchers[config.name].is_done


def survivor_of(row: dict[str, Any]) -> adopt.Survivor | None:
    """What the kernel's row says of an earlier life of ours; None for what no circusd started."""
    meta = row["meta"]
    if not all(isinstance(meta.get(key), kind) for key, kind in _META.items()):
        return None
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
            graceful_timeout_s=float(meta.get("graceful_timeout_s", WatcherPolicy("").graceful_timeout_s)),
            kill_mode=meta.get("kill_mode", "process"),
        )
    return list(leftovers.values())


async def _attach_all(engine: Engine, kernel_ids: list[int]) -> dict[int, Reply]:
    """Those that the kernel knows, many asked for at a time. Raises: PapaError; nothing is held then."""
    replies: dict[int, Reply] = {}
    try:
        for at in range(0, len(kernel_ids), ATTACHED_TOGETHER):
            asked = kernel_ids[at : at + ATTACHED_TOGETHER]
            outcomes = await asyncio.gather(*(attach(engine, each) for each in asked), return_exceptions=True)
            replies |= {each: reply for each, reply in zip(asked, outcomes, strict=True) if isinstance(reply, Reply)}
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
    except BaseException:
        for reply in replies.values():
            reply.close_fds()
        raise
    return replies


async def attach(engine: Engine, kernel_id: int) -> Reply | None:
    """None when the kernel does not know it any more."""
    try:
        return await engine.kernel.attach(kernel_id, owner=engine.names.prefix, fds=True)
    except PapaError as error:
        if error.code == "not-found":
            return None
        raise


async def adopt_process(engine: Engine, survivor: adopt.Survivor, reply: Reply) -> None:
    slot = SlotKey(survivor.watcher, survivor.wid)
    row = reply.ok
    adopted = events.Adopted(
        slot,
        row["id"],
        row["pid"],
        row["started_at"],
        max(0.0, clock.wall() - row["started_at"]),
        is_ready=engine.probing.was_ready(row),
    )
    is_told = row["id"] in engine.inherited.came
    for action in engine.fleet.step(adopted, clock.monotonic()):
        if not (is_told and isinstance(action, actions.Publish)):
            engine.executor.carry_out(action)
    incarnation = engine.fleet.watchers[slot.watcher].slots[slot.wid].incarnation
    hosted = await engine.lives.take_over(slot, incarnation, row, reply.fds)
    if row["exit"] is not None:
        engine.lives.on_exit(hosted, row["exit"], heads_of(row))


async def settle_ended(engine: Engine, survivor: adopt.Survivor, reply: Reply) -> None:
    """It ended while nobody was there: its last output goes where it belongs, then the kernel may forget it."""
    slot = SlotKey(survivor.watcher, survivor.wid)
    row = reply.ok
    hosted = await engine.lives.take_over(slot, 0, row, reply.fds, has_exited=True)
    engine.pump.on_exit(row["id"], heads_of(row))
    end = row["exit"] or {"status": None, "at": clock.wall()}
    hosted.exit_status = end["status"]
    log.info("%s pid=%d ended while circusd was away", slot, row["pid"])
    is_told = row["id"] in engine.inherited.ended
    if not is_told:
        reaped = {"process_pid": row["pid"], "exit_code": hosted.exit_status, "wid": slot.wid}
        engine.publish(slot.watcher, "reap", reaped)
    engine.lives.settle_ended(hosted, end, is_told=is_told)


async def our_rows(engine: Engine) -> list[dict[str, Any]]:
    """What the kernel hosts for a circusd of our name; ended ones that gave their name to a successor too."""
    rows = await engine.kernel.list("processes")
    return [row for row in rows if row["meta"].get("circusd") == engine.name]


async def reattach(engine: Engine) -> None:
    """The kernel answers again: own every process anew; what it does not know any more is gone.

    Raises: PapaError; the call may be made again, from wherever it stopped.
    """
    if not engine.is_started:
        return
    lives = engine.lives
    # A kernel that was killed together with its holder knows what that has cost, and the log is read here.
    for loss in (await engine.kernel.request("status")).ok.get("losses", ()):
        log.warning("papa has lost %s", loss)
    await engine.sockets.open_again()
    if engine.notices.is_open:
        await engine.probing.open_door()
    engine.demand.look_again()
    held = list(lives.hosted)
    rows = {row["id"]: row for row in await our_rows(engine)}
    for hosted in held:
        if lives.hosted.by_id(hosted.kernel_id) is not hosted:
            continue  # its end was settled meanwhile
        row = rows.get(hosted.kernel_id)
        is_known = row is not None and (row["pid"], row["started_at"]) == (hosted.pid, hosted.started_at)
        reply = await attach(engine, hosted.kernel_id) if is_known else None
        if reply is None:
            lives.on_vanished(hosted)
        else:
            await lives.resume(hosted, reply.ok, reply.fds)
    for row in rows.values():
        survivor = survivor_of(row)
        if survivor is None or row["running"] or survivor.config_path != engine.config.path:
            continue
        if lives.hosted.by_id(row["id"]) is None and row["meta"].get("token") not in lives.spawner.under_way:
            reply = await attach(engine, row["id"])
            if reply is not None:
                await settle_ended(engine, survivor, reply)
