"""Reloads that may go back: what is spawned by meanwhile, what is undone if they fail, and what is told of that.

A change of options by a reload (``update = roll``) is decided like any other, so that all of circusd has the new
options at once; but what was before is kept here until the reload has come to its end. Until then, old processes that
end are replaced by it. If the reload has failed, everything that was decided is taken back: options, hooks, the places
of output, the number of processes and what was ordered by hand; a next reloadconfig tries again.

A circusd that is killed meanwhile, or after the file was refused, is followed by one that goes on with what was before
(``formers``), until the file says something else; processes of the new options that it finds are rolled back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from circus.config import amend, expand
from circus.config.amend import Edits
from circus.config.diff import ConfigPlan
from circus.config.model import CircusConfig, WatcherConfig
from circus.config.read import Document
from circus.engine import formers
from circus.engine.hosted import Hosted
from circus.hooks import HookSet
from circus.logbook import tail
from circus.supervise import events
from circus.supervise.actions import Finish, ReloadFailed
from circus.supervise.tickets import Failure

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")

#: The end of a process that was told to end is waited for so much longer than it may take.
SLACK_S = 10.0

#: Failures whose output nobody has asked for yet.
MAX_UNTOLD = 100


class Former(NamedTuple):
    """What was in force before a change."""

    config: WatcherConfig
    hooks: HookSet
    edits: Edits
    text: tuple[Document | None, Edits]  # what it was written as
    remembered: dict[str, str] | None  # what ran on in its place already
    refusal: str  # and why


class Rolls:
    def __init__(self, engine: Engine) -> None:
        self.refused: dict[str, str] = {}  # watcher -> why the file's options are not in force; for status
        self.texts: dict[str, tuple[Document | None, Edits]] = {}  # of those whose change was taken back
        self.recalled: frozenset[str] = frozenset()  # watchers that run on as an earlier circusd had them
        self._engine = engine
        self._former: dict[str, Former] = {}
        self._outputs: dict[tuple[str, int, int], asyncio.Task[list[str]]] = {}

    # Before and while ---------------------------------------------------------------------------------------

    def may_go_back(self, watcher: str) -> bool:
        """It is on its way to other options, and those of before are kept."""
        return watcher in self._former

    def recall(self, config: CircusConfig) -> CircusConfig:
        """``config``, as the file has it, with what an earlier circusd has not rolled out as it ran before."""
        memory = self._engine.memory
        recalled, why = formers.recall(config, memory.formers)
        known = {name.lower() for name in why}
        for name in [name for name in memory.formers if name not in known]:
            memory.remember_former(name, None)
        self.refused = {name: _refusal(name, each) for name, each in why.items()}
        self.recalled = frozenset(why)
        return recalled

    def begin(self, plan: ConfigPlan, path: str) -> None:
        """``plan`` is decided, and nothing of it was done."""
        engine, memory = self._engine, self._engine.memory
        for config, restart, _ in plan.change:
            if restart and config.update == "roll" and config.name in engine.configs:
                name = config.name
                text = self.texts.get(name) or (engine.config.document, engine.edits)
                before, remembered = engine.configs[name], memory.formers.get(name.lower())
                self._former[name] = Former(
                    before, engine.hooks_of(name), engine.edits, text, remembered, self.refused.get(name, "")
                )
                memory.remember_former(name, formers.encode(before, config, path))
        for name in (*plan.remove, *(change.new.name for change in plan.change)):
            self.refused.pop(name, None)
            self.texts.pop(name, None)

    def forget_refused(self) -> None:
        """The file was read anew: what it is refused by now is on its way, and told when it is."""
        self.refused.clear()
        self.texts.clear()
        memory, under_way = self._engine.memory, {name.lower() for name in self._former}
        for name in [name for name in memory.formers if name not in under_way]:
            memory.remember_former(name, None)

    def config_of(self, watcher: str, *, is_former: bool) -> WatcherConfig:
        """What a process is spawned by. Raises: CircusError not-found."""
        former = self._former.get(watcher) if is_former else None
        return self._engine.config_of(watcher) if former is None else former.config

    def config_for(self, hosted: Hosted) -> WatcherConfig | None:
        """What counts for a process: while its watcher is on its way to other options, those that it was spawned by."""
        former, now = self._former.get(hosted.slot.watcher), self._engine.configs.get(hosted.slot.watcher)
        if former is None or now is None or hosted.digest == now.digest:
            return now
        return former.config

    def hooks_of(self, watcher: str, *, is_former: bool) -> HookSet:
        former = self._former.get(watcher) if is_former else None
        return self._engine.hooks_of(watcher) if former is None else former.hooks

    # The end ------------------------------------------------------------------------------------------------

    def end(self, name: str, finish: Finish, *, is_by_hand: bool) -> None:
        """Keep the change, or take it back."""
        engine = self._engine
        former = self._former.pop(name, None)
        if former is None or name not in engine.configs:
            return
        if not (failed := _failures(finish)):
            if not engine.fleet.is_ending:  # the next circusd goes back from where this one stops
                engine.memory.remember_former(name, None)
            return
        refused, why = engine.configs[name], _told(failed)
        engine.add_config(former.config, former.hooks)
        watchers = {each.name: each for each in engine.config.watchers} | {name: former.config}
        engine.config = replace(engine.config, watchers=tuple(watchers.values()))
        self.texts[name] = former.text
        engine.memory.remember_edits(amend.as_in(engine.edits, former.edits, name), engine.config.path)
        count = engine.fleet.watchers[name].policy.numprocesses
        engine.memory.remember_count(name, count, former.config.numprocesses)
        engine.publish(name, "updated", {"numprocesses": count})
        remembered, refusal = former.remembered, former.refusal
        if not is_by_hand:
            remembered, refusal = formers.encode(former.config, refused, engine.config.path, why), _refusal(name, why)
        engine.memory.remember_former(name, remembered)
        if refusal:
            self.refused[name] = refusal
        log.warning("%s goes on with the options of before: %s", name, why)

    def keep_sockets(self, plan: ConfigPlan, before: CircusConfig) -> tuple[str, ...]:
        """Which sockets may be closed: those of ``plan``, but for what a change that was taken back still uses."""
        engine = self._engine
        gone = set(plan.sockets_remove)
        used: set[str] = set()
        for change in plan.change:
            config = engine.configs.get(change.new.name)
            if config is not None and config != change.new:
                used |= gone.intersection(expand.sockets_used(config, before.sockets))
        if used:
            kept = tuple(each for each in before.sockets if each.name in used)
            engine.config = replace(engine.config, sockets=(*engine.config.sockets, *kept))
        return tuple(name for name in plan.sockets_remove if name not in used)

    def as_they_are(self, config: CircusConfig, meant: Iterable[str]) -> CircusConfig:
        """``config`` with watchers whose options were refused as they run, unless they are meant."""
        names = self.refused.keys() - {self._engine.find(name) or name for name in meant}
        if not names:
            return config
        configs = self._engine.configs
        watchers = (configs.get(each.name, each) if each.name in names else each for each in config.watchers)
        return replace(config, watchers=tuple(watchers))

    async def at_start(self, names: Iterable[str]) -> None:
        """What runs was started with options of before: roll on to those of the file."""

        async def roll(name: str) -> None:
            finish = await self._engine.order(partial(events.Reload, names=(name,)), is_by_hand=False)
            if failed := _failures(finish):
                self.refused.setdefault(name, _refusal(name, _told(failed)))

        await asyncio.gather(*map(roll, names))

    # What is told -------------------------------------------------------------------------------------------

    def on_failed(self, action: ReloadFailed) -> None:
        slot, life = action.slot, (action.slot, action.incarnation)
        lives = (each for each in self._engine.lives.hosted if (each.slot, each.incarnation) == life)
        task = asyncio.get_running_loop().create_task(self._tell(action, next(lives, None)))
        self._outputs[slot.watcher, slot.wid, action.incarnation] = task
        while len(self._outputs) > MAX_UNTOLD:
            del self._outputs[next(iter(self._outputs))]

    async def _tell(self, action: ReloadFailed, hosted: Hosted | None) -> list[str]:
        slot = action.slot
        fields: dict[str, object] = {"wid": slot.wid, "reason": action.reason}
        lines: list[str] = []
        if hosted is not None:
            fields["process_pid"] = hosted.pid
            fields["output"] = lines = await self._output(hosted)
        self._engine.publish(slot.watcher, "reload_failed", fields)
        return lines

    async def _output(self, hosted: Hosted) -> list[str]:
        """Its last lines, when they are where they belong."""
        engine, slot = self._engine, hosted.slot
        _, grace_s = engine.way_to_stop(slot.watcher)
        try:
            async with asyncio.timeout(grace_s + SLACK_S):
                await hosted.reap_hooks_asked.wait()
                await engine.pump.drained(hosted.kernel_id)
            return await asyncio.to_thread(
                tail.last_lines, engine.state_directory, slot.watcher, slot.wid, hosted.pid, hosted.started_at
            )
        except (TimeoutError, OSError) as error:
            log.warning("%s pid=%d: its last output cannot be told: %s", slot, hosted.pid, error or "it has not ended")
            return []

    async def told(self, finish: Finish) -> Finish:
        """With the last output of the processes that have failed."""
        if not (failed := _failures(finish)):
            return finish
        told = finish.error
        for failure in failed:
            task = self._outputs.pop((failure.slot.watcher, failure.slot.wid, failure.incarnation), None)
            if task is not None and (lines := await task):
                told += "".join([f"\nlast output of {failure.slot}:", *(f"\n  {line}" for line in lines)])
        return structs.replace(finish, error=told)


def _failures(finish: Finish) -> list[Failure]:
    found = finish.detail.get("failed", ())
    assert isinstance(found, list | tuple)
    return list(found)


def _told(failed: Iterable[Failure]) -> str:
    return "; ".join(f"{each.slot}: {each.reason}" for each in failed)


def _refusal(name: str, why: str) -> str:
    return f"{name}: the file's configuration was refused: {why}; what ran before runs on"
