"""Whole trees of processes: signals to all of one, and the proof that nobody is left of it.

Who belongs to a tree is decided by supervise/tree, what is done about it by the slot (supervise/rest); here they are
found, signalled, waited for and named. Each is signalled by a descriptor that proves whose it is, once for each
time that a signal is ordered. Nothing is polled: between two looks somebody is waited for who was seen.

A process that ended while no circusd was there has no slot any more: whoever is left of its tree is ended here
(``clear``), before its place gets another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from msgspec import structs

from circus import cgroups, clock, procfs
from circus.bus import Event
from circus.engine import departures
from circus.engine.lives import send_signal
from circus.engine.looks import Looks
from circus.engine.survivors import MAX_NAMED, Survivor, name_all, tell
from circus.engine.tasks import Tasks
from circus.supervise import events, tree
from circus.supervise.actions import Finish, Signal
from circus.supervise.moves import KILL_AGAIN_S, SIGKILL
from circus.supervise.rest import GIVE_UP_KILLS
from circus.supervise.states import SlotKey

if TYPE_CHECKING:
    from circus.engine.engine import Engine
    from circus.engine.hosted import Hosted

log = logging.getLogger("circus.engine")

#: Ends that nobody waits for are looked after together; and who is left then has so long to go before it is named.
SOON_S = 0.25

#: What is told to orders that end about now.
MAX_TOLD = 200


@dataclass(eq=False, slots=True)
class _Sweep:
    """Of a process that has ended."""

    hosted: Hosted
    mode: str
    signum: int
    is_late: bool
    is_wanted: Callable[[], bool]
    report: Callable[[int, str], None]
    told: set[tuple[tree.Key, int]] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def signal(self, signum: int) -> None:
        """To all, also to those who had it already."""
        self.signum = signum
        self.told = {each for each in self.told if each[1] != signum}
        self.changed.set()


class Trees:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.looks = Looks(engine)
        self._tasks = Tasks()
        self._sweeps: dict[tuple[SlotKey, int], _Sweep] = {}
        self._clearing: dict[SlotKey, set[asyncio.Task[None]]] = {}
        self._waiting: list[tuple[Hosted, asyncio.Future[None]]] = []
        self._ended: list[tuple[Hosted, bool]] = []  # to be looked after, and whether late
        self._looking_after: asyncio.Task[None] | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._left: dict[str, list[Survivor]] = {}
        self._told: deque[tuple[int, str, str]] = deque(maxlen=MAX_TOLD)
        self._number = 0

    def close(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
        if self._looking_after is not None:
            self._looking_after.cancel()
        self._tasks.cancel()
        self.looks.close()

    # A process that lives ------------------------------------------------------------------------------------

    async def signal(self, hosted: Hosted, action: Signal) -> None:
        """To the main process, then to all that get it as well.

        Who is below it is known from here on, wherever it goes. Raises: CircusError, as send_signal.
        """
        try:
            rows, _ = await self._look(hosted, mode="tree", is_late=False)
        except OSError as error:
            log.warning("%s pid=%d: its tree cannot be looked at: %s", hosted.slot, hosted.pid, error)
            rows = {}
        others = [
            row
            for pid, row in rows.items()
            if action.is_kill
            or (action.kill_mode == "group" and row.group == hosted.pid)
            or (action.children and row.parent == hosted.pid)
        ]
        try:
            await send_signal(hosted, action.signum)
        finally:
            cgroup = hosted.cgroup if action.kill_mode == "tree" else ""
            await asyncio.to_thread(_signal_all, others, action.signum, cgroup)

    async def _look(self, hosted: Hosted, *, mode: str, is_late: bool) -> tuple[dict[int, procfs.Row], dict[int, str]]:
        look = await self.looks.look(hosted.start_ticks if hosted.mark else None)
        trunk = tree.Trunk(hosted.pid, hosted.start_ticks, hosted.mark, is_late)
        grouped: list[int] = []
        if hosted.cgroup:
            look, grouped = await asyncio.to_thread(_with_group, look, hosted.cgroup)
        found = tree.belonging(look, trunk, known=hosted.known, grouped=grouped)
        rows = {pid: row for pid in found if isinstance(row := look.rows[pid], procfs.Row)}
        hosted.known = {(pid, rows[pid].start_ticks): why for pid, why in found.items()}  # nobody else is left
        if mode == "group":
            found = {pid: why for pid, why in found.items() if rows[pid].group == hosted.pid}
        return rows, found

    # One that has ended --------------------------------------------------------------------------------------

    def end_rest(self, slot: SlotKey, incarnation: int, signum: int, mode: str) -> None:
        life = slot, incarnation
        if (sweep := self._sweeps.get(life)) is not None:
            sweep.signal(signum)
            return
        hosted = self._engine.lives.hosted.in_slot(slot, incarnation)
        if hosted is None:
            self._engine.post(events.RestSeen(slot, incarnation, 0))
            return

        def report(left: int, told: str) -> None:
            self._engine.post(events.RestSeen(slot, incarnation, left, told))

        self._sweeps[life] = sweep = _Sweep(
            hosted, mode, signum, is_late=False, is_wanted=lambda: self._is_held(hosted), report=report
        )
        self._tasks.begin(self._sweep_slot(life, sweep))

    def leave_rest(self, slot: SlotKey, incarnation: int) -> None:
        if (sweep := self._sweeps.get((slot, incarnation))) is not None:
            sweep.changed.set()  # it is not wanted any more
            self.look_after(sweep.hosted)

    async def _sweep_slot(self, life: tuple[SlotKey, int], sweep: _Sweep) -> None:
        try:
            await self._sweep(sweep)
        except OSError as error:
            log.warning("%s pid=%d: what is left of it cannot be looked at: %s", life[0], sweep.hosted.pid, error)
            sweep.report(0, "")
            self.look_after(sweep.hosted)
        finally:
            del self._sweeps[life]
        if sweep.mode == "group":
            self.look_after(sweep.hosted)  # whoever has left the group

    async def _sweep(self, sweep: _Sweep) -> None:
        """Until nobody is left, or it is not wanted any more. Raises: OSError."""
        hosted, left, is_sure = sweep.hosted, 0, False
        while sweep.is_wanted():
            sweep.changed.clear()
            signum = sweep.signum
            rows, found = await self._look(hosted, mode=sweep.mode, is_late=sweep.is_late)
            if not found and (is_sure or not left):
                sweep.report(0, "")
                return
            # Who was born while it was read may have been missed, once nobody was left to bear any more it is not.
            is_sure = not found
            keys = {pid: (pid, rows[pid].start_ticks) for pid in found}
            fresh = [rows[pid] for pid, key in keys.items() if (key, signum) not in sweep.told]
            still = set(keys.values())
            sweep.told = {each for each in sweep.told if each[0] in still} | {(keys[row.pid], signum) for row in fresh}
            if fresh:
                log.info(
                    "%s pid=%d has ended; signal %d to %d of its tree", hosted.slot, hosted.pid, signum, len(fresh)
                )
                await asyncio.to_thread(_signal_all, fresh, signum, hosted.cgroup if sweep.mode == "tree" else "")
            if found and len(found) != left:
                named = await self._name_all(rows, found)
                sweep.report(len(found), tell(named, len(found)))
                if not left:
                    self._publish("rest", hosted, signum=signum, left=len(found), survivors=named)
            left = len(found) or left
            if found and not (fresh and signum == SIGKILL):
                await departures.wait([rows[pid] for pid in found], sweep.changed)

    # What the slot makes of it --------------------------------------------------------------------------------

    def _is_held(self, hosted: Hosted) -> bool:
        watcher = self._engine.fleet.watchers.get(hosted.slot.watcher)
        slot = watcher.slots.get(hosted.slot.wid) if watcher is not None else None
        if slot is None or slot.incarnation != hosted.incarnation:
            return False
        return slot.rest is not None or slot.early_exit is not None

    def wake(self) -> None:
        """Slots may be otherwise by now."""
        for sweep in self._sweeps.values():
            if not sweep.is_wanted():
                sweep.changed.set()
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for hosted, future in waiting:
                if not self._is_held(hosted) and not future.done():
                    future.set_result(None)
                else:
                    self._waiting.append((hosted, future))

    async def released(self, hosted: Hosted) -> bool:
        """The slot does not wait for the tree of the process, which has ended; False: the next circusd shall.

        Until then the kernel keeps the end of the process, by which a circusd that comes finds its tree.
        """
        if self._is_held(hosted):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((hosted, future))
            await future
            return True
        watcher = self._engine.fleet.watchers.get(hosted.slot.watcher)
        return watcher is None or not (watcher.is_left_alone and watcher.policy.ends_trees)

    def has_to_go(self, hosted: Hosted) -> bool:
        watcher = self._engine.fleet.watchers.get(hosted.slot.watcher)
        return watcher is not None and watcher.policy.ends_trees

    # Of an earlier circusd ------------------------------------------------------------------------------------

    async def clear(self, hosted: Hosted) -> None:
        """Nobody is left of a process that ended while no circusd was there, or who is left is named."""
        watcher = self._engine.fleet.watchers.get(hosted.slot.watcher)
        mode = hosted.kill_mode if watcher is None else watcher.policy.kill_mode
        if mode == "process":
            self.look_after(hosted, is_late=True)
            return
        signum, grace_s = self._engine.way_to_stop(hosted.slot.watcher)
        is_wanted = [True]
        sweep = _Sweep(hosted, mode, signum, is_late=True, is_wanted=lambda: is_wanted[0], report=lambda *_: None)
        task = asyncio.create_task(self._sweep(sweep))
        self._clearing.setdefault(hosted.slot, set()).add(task)
        try:
            _, todo = await asyncio.wait({task}, timeout=grace_s)
            if todo:
                sweep.signal(SIGKILL)
                _, todo = await asyncio.wait({task}, timeout=GIVE_UP_KILLS * KILL_AGAIN_S)
            if todo:
                is_wanted[0] = False
                sweep.changed.set()
            await task
        except OSError as error:
            log.warning("%s pid=%d: what is left of it cannot be looked at: %s", hosted.slot, hosted.pid, error)
        finally:
            task.cancel()
            self._clearing[hosted.slot].discard(task)
        if todo or mode == "group":
            self.look_after(hosted, is_late=True)

    async def cleared(self, slots: Callable[[SlotKey], bool]) -> None:
        """Nothing of earlier lives is being ended in these slots any more."""
        while tasks := [each for slot, found in self._clearing.items() if slots(slot) for each in found]:
            await asyncio.wait(tasks)
            await asyncio.sleep(0)

    # Survivors ------------------------------------------------------------------------------------------------

    def look_after(self, hosted: Hosted, *, is_late: bool = False) -> None:
        """Name whoever is left of it, soon."""
        self._ended.append((hosted, is_late))
        if self._looking_after is None and self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON_S, self._begin_naming)

    def _begin_naming(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if self._ended and self._looking_after is None:
            self._looking_after = asyncio.create_task(self._name_survivors())

    async def _name_survivors(self) -> None:
        ended, self._ended = self._ended, []
        try:
            for hosted, rows, found in await asyncio.gather(*(self._left_of(*each) for each in ended)):
                if found:
                    self._name(hosted, await self._name_all(rows, found), len(found))
        except OSError as error:
            log.warning("who is left of ended processes cannot be looked at: %s", error)
        finally:
            self._looking_after = None
        self._begin_naming()  # those that have ended meanwhile

    async def _left_of(self, hosted: Hosted, is_late: bool) -> tuple[Hosted, dict[int, procfs.Row], dict[int, str]]:
        """Who goes together with it, as children that got the signal, too, is not left."""
        rows, found = await self._look(hosted, mode="tree", is_late=is_late)
        if found:
            going = departures.wait([rows[pid] for pid in found], asyncio.Event(), SOON_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(going, SOON_S)
            rows, found = await self._look(hosted, mode="tree", is_late=is_late)
        return hosted, rows, found

    async def _name_all(self, rows: dict[int, procfs.Row], found: dict[int, str]) -> list[Survivor]:
        few = dict(list(found.items())[:MAX_NAMED])
        named = await self.looks.asking.ask(partial(name_all, rows, few))
        return name_all(rows, few, are_asked=False) if named is None else named

    def _name(self, hosted: Hosted, named: list[Survivor], count: int) -> None:
        watcher = hosted.slot.watcher
        text = f"{hosted.slot}: pid {hosted.pid} has ended, {count} of its tree left: {tell(named, count)}"
        log.warning("%s", text)
        self._publish("survivors", hosted, left=count, survivors=named)
        self._number += 1
        self._told.append((self._number, watcher, text))
        before = [each for each in self._left.get(watcher, []) if each.is_alive()]
        self._left[watcher] = [*before, *named][-MAX_NAMED:]

    def _publish(self, name: str, hosted: Hosted, *, survivors: Iterable[Survivor], **fields: object) -> None:
        told = {"process_pid": hosted.pid, "wid": hosted.slot.wid, **fields}
        told["survivors"] = [each.to_json() for each in survivors]
        self._engine.bus.publish(Event(clock.wall(), hosted.slot.watcher, name, told))

    def mark(self) -> int:
        """To be given to ``with_survivors``."""
        return self._number

    async def with_survivors(self, finish: Finish, order: events.Order, since: int) -> Finish:
        """Who was left since then of the watchers that the order names; who has just ended is looked after first."""
        names = getattr(order, "names", None)
        meant = {getattr(order, "name", "")} if names is None and hasattr(order, "name") else names
        await self.cleared(lambda slot: meant is None or slot.watcher in meant)
        self._begin_naming()
        for _ in range(2):  # who had ended by now is in the second round at the latest
            if (task := self._looking_after) is not None:
                await asyncio.wait({task})
        told = [text for number, name, text in self._told if number > since and (meant is None or name in meant)]
        return structs.replace(finish, detail={**finish.detail, "warnings": told}) if told else finish

    def survivors(self) -> dict[str, list[Survivor]]:
        """By watcher, those that live still."""
        self._left = {
            watcher: alive
            for watcher, found in self._left.items()
            if (alive := [each for each in found if each.is_alive()])
        }
        return self._left


def _with_group(look: tree.Look, cgroup: str) -> tuple[tree.Look, list[int]]:
    """The look with all that are in the control group, of whom some may have been missed, and who these are."""
    grouped = cgroups.members(cgroup)
    missed = {pid: row for pid in grouped if pid not in look.rows and (row := procfs.row(pid)) is not None}
    if missed:
        look = tree.Look({**look.rows, **missed}, look.marks, look.apart, look.roots)
    return look, grouped


def _signal_all(rows: list[procfs.Row], signum: int, cgroup: str) -> None:
    for row in rows:
        procfs.send_signal(row, signum)
    if cgroup and signum == SIGKILL:
        cgroups.kill(cgroup)
