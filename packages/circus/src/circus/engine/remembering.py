"""What the engine remembers of each event: what people ordered by hand, and how watchers stand with their budgets.

A wish counts from the moment at which it is taken. How a watcher stands is looked at after whatever touched it, and
kept when it has changed; the next circusd goes on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import structs

from circus import clock
from circus.engine import tracking
from circus.engine.annals import Order
from circus.engine.policy import policy_of
from circus.supervise import actions, adopt, events, recall
from circus.supervise.budget import UNTOUCHED, Recollection

if TYPE_CHECKING:
    from circus.config.model import WatcherConfig
    from circus.engine.engine import Engine
    from papa.client.reply import Reply

log = logging.getLogger("circus.memory")


def ordered(what: str, track: tracking.Track | None) -> Order:
    """Without a track it was a signal to circusd, or a program that has circusd in it."""
    if track is None:
        return Order(what, "", "", clock.wall())
    return Order(track.what or what, track.by, track.origin, clock.wall(), track.id)


class Remembering:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._standings: dict[str, recall.Standing] = {}  # as they are in the memory
        self._touched: set[str] = set()
        # By watcher and wid, the last process (number in the kernel, start) whose end the standing knows of: the kernel
        # may tell of it, and of those before it, once more.
        self._judged: dict[str, dict[int, tuple[int, float]]] = {}

    # What was ordered ---------------------------------------------------------------------------------------

    def note_order(self, event: events.Event, caused: Iterable[actions.Action], track: tracking.Track | None) -> None:
        """``event`` is an order by hand, of the operation ``track`` if a caller gave it."""
        engine, memory = self._engine, self._engine.memory
        # Only an order that makes no sense fails before anything was tried.
        op = getattr(event, "op", None)
        if any(isinstance(action, actions.Finish) and action.op == op and not action.ok for action in caused):
            return
        joined = {each.watcher for each in caused if isinstance(each, actions.Joined) and each.op == op}
        self._note_who(event, joined, track)
        match event:
            case events.SetCount(_, name):
                watcher = engine.fleet.watchers.get(engine.find(name) or "")
                if watcher is not None:
                    in_file = engine.configs[watcher.policy.name].numprocesses
                    memory.remember_count(watcher.policy.name, watcher.policy.numprocesses, in_file)
            case events.Stop(_, names):
                memory.remember_stopped(self._named(names) | joined, stopped=True)
            case events.Reload(_, None):
                pass  # starts nothing; one that is named is started if it was stopped
            case events.Start(_, None, among=among) | events.Restart(_, None, among=among):
                memory.remember_stopped(self._named(among) | joined, stopped=False)
            case events.Start(_, names) | events.Restart(_, names) | events.Reload(_, names):
                memory.remember_stopped(self._named(names) | joined, stopped=False)

    def _note_who(self, event: events.Event, joined: set[str], track: tracking.Track | None) -> None:
        """That it was ordered, of watchers whose wish is now what was ordered."""
        annals, watchers = self._engine.annals, self._engine.fleet.watchers
        order = ordered(type(event).__name__.lower(), track)
        match event:
            case events.SetCount(_, name):
                annals.note_order(self._named((self._engine.find(name) or name,)), "count", order)
                return
            case events.Stop(_, names):
                named, is_up = self._named(names), False
            case events.Start(_, names, among=among) | events.Restart(_, names, among=among):
                named, is_up = self._named(among if names is None else names), True
            case events.Reload(_, names):
                named, is_up = self._named(names), True
            case _:
                return
        met = {name for name in named | joined if name in watchers and watchers[name].wants_up is is_up}
        annals.note_order(met & named, "wish", order)
        annals.note_order(met - named, "wish", replace(order, along=True))

    def _named(self, names: Iterable[str] | None) -> set[str]:
        return set(self._engine.configs if names is None else names) & set(self._engine.configs)

    # How watchers stand -------------------------------------------------------------------------------------

    def touch(self, event: events.Event, caused: Iterable[actions.Action]) -> None:
        """Watchers that may stand otherwise since ``event``."""
        for each in (event, *caused):
            match each:
                case events.TimerFired(key) | actions.StartTimer(key) | actions.CancelTimer(key):
                    self._touched.add(key.watcher)
                case events.Exited(slot, incarnation):
                    self._touched.add(slot.watcher)
                    if (hosted := self._engine.lives.hosted.in_slot(slot, incarnation)) is not None:
                        self._judged.setdefault(slot.watcher, {})[slot.wid] = hosted.kernel_id, hosted.started_at
                case events.Spawned(slot) | events.SpawnFailed(slot) | actions.Spawn(slot):
                    self._touched.add(slot.watcher)
                    if isinstance(each, events.Spawned):
                        self._engine.proofs.look_later(slot.watcher)
                case events.Ready(slot):
                    self._engine.proofs.look_later(slot.watcher)
                case actions.Publish(watcher):
                    self._touched.add(watcher)

    def note_standings(self) -> None:
        """What a leaving circusd ends is no news of how a watcher stands."""
        engine, touched = self._engine, self._touched
        self._touched = set()
        if engine.fleet.is_ending:
            return
        for name in touched & engine.configs.keys() & engine.fleet.watchers.keys():
            standing = recall.standing_of(engine.fleet.watchers[name])
            ended = self._judged.pop(name, {})
            if known := {each.wid: ended[each.wid] for each in standing.slots if each.wid in ended}:
                self._judged[name] = known
            # After a start nothing is known here of what an earlier circusd has written.
            is_stale = standing == recall.NOTHING and engine.memory.standing(name) is not None
            if is_stale or standing != self._standings.get(name, recall.NOTHING):
                self._standings[name] = standing
                now = {"now": clock.monotonic(), "wall": clock.wall()}
                content = None if standing == recall.NOTHING else recall.to_json(standing, **now)
                for fields in content["slots"] if content is not None else ():
                    fields["ended"] = known.get(fields["wid"])
                engine.memory.remember_standing(name, engine.configs[name].digest, content)

    # At a start ---------------------------------------------------------------------------------------------

    def take_up(self, plan: adopt.AdoptionPlan, replies: dict[int, Reply]) -> None:
        """Tell the fleet how the watchers stood under the circusd before, with the deaths that nobody has seen."""
        engine = self._engine
        engine.annals.keep(each.name for each in engine.config.watchers)
        engine.memory.keep_standings({each.name: each.digest for each in engine.config.watchers})
        taken = {(each.watcher.lower(), each.wid) for each in (*plan.keep, *plan.drifted, *plan.surplus)}
        ended: dict[str, list[adopt.Survivor]] = {}
        for survivor in plan.ended:
            if (survivor.watcher.lower(), survivor.wid) not in taken:
                ended.setdefault(survivor.watcher.lower(), []).append(survivor)
        for config in engine.config.watchers:
            if config.essential and not engine.is_outlived:
                continue  # who starts a container anew wants it to live
            if (config.name.lower(), 1) not in taken and (job := engine.jobs.recalled(config)) is not None:
                for action in engine.fleet.step(job, clock.monotonic()):
                    engine.executor.carry_out(action)
                continue
            standing = self._standing_of(config)
            slots = {each.wid: each for each in standing.slots}
            slots |= self._died_since(config, slots, ended.get(config.name.lower(), []), replies)
            if slots or standing.given_up:
                told = events.Recalled(config.name, tuple(slots.values()), standing.given_up)
                for action in engine.fleet.step(told, clock.monotonic()):
                    engine.executor.carry_out(action)

    def given_up(self) -> set[str]:
        """Watchers that wait for an order by hand."""
        return {name for name, watcher in self._engine.fleet.watchers.items() if watcher.given_up}

    def _standing_of(self, config: WatcherConfig) -> recall.Standing:
        content = self._engine.memory.standing(config.name)
        if content is None:
            return recall.NOTHING
        try:
            standing = recall.from_json(
                content, policy_of(config, config.numprocesses), now=clock.monotonic(), wall=clock.wall()
            )
            for fields in content["slots"]:
                if fields.get("ended") is not None:
                    number, started_at = fields["ended"]
                    self._judged.setdefault(config.name, {})[int(fields["wid"])] = int(number), float(started_at)
            return standing
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            log.warning("%s: what is remembered of its failures is damaged, and forgotten (%s)", config.name, error)
            return recall.NOTHING

    def _died_since(
        self,
        config: WatcherConfig,
        slots: dict[int, Recollection],
        ended: Iterable[adopt.Survivor],
        replies: dict[int, Reply],
    ) -> dict[int, Recollection]:
        """``ended``: of this watcher's name, in slots that nobody lives in."""
        if self._engine.memory.is_stopped(config.name):
            return {}
        died: dict[int, Recollection] = {}
        for survivor in ended:
            reply = replies.get(survivor.kernel_id)
            if survivor.digest != config.digest or reply is None or reply.ok["exit"] is None:
                continue
            number, started_at = self._judged.get(config.name, {}).get(survivor.wid, (-1, 0.0))
            if survivor.kernel_id <= number and survivor.started_at <= started_at:
                continue  # the circusd before has seen it, and was killed before it could acknowledge it
            end, now = reply.ok["exit"], clock.monotonic()
            known = slots.get(survivor.wid, Recollection(survivor.wid, UNTOUCHED))
            died[survivor.wid] = recall.after_death(
                structs.replace(known, pause_ends=0.0, pause_s=0.0),
                end["status"],
                policy_of(config, config.numprocesses),
                lived_s=max(0.0, end["at"] - survivor.started_at),
                ended=now - max(0.0, clock.wall() - end["at"]),
            )
        return died
