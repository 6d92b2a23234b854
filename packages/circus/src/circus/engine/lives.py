"""The lives of processes: how they come, are held over a loss of the kernel, and go.

A life begins when the kernel's answer is in hand and ends when the kernel has forgotten it, which is after its last
output is where it belongs. What the kernel reports about a process before its spawn was answered is kept until then.
Every spawn is answered to the cores, whatever happens.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from circus import clock, procfs
from circus.engine import oom, runbook
from circus.engine.groups import Groups
from circus.engine.history import Exit, usage_of
from circus.engine.hosted import Hosted, HostedTable
from circus.engine.link import UNANSWERED
from circus.engine.spawner import Spawner
from circus.engine.tasks import Tasks
from circus.errors import CircusError
from circus.streams.pump import Attached
from circus.supervise import events
from circus.supervise.states import SlotKey
from papa.client.output import StreamFiles
from papa.errors import PapaError

if TYPE_CHECKING:
    from circus.engine.engine import Engine

log = logging.getLogger("circus.engine")

#: Exits of processes whose spawn was not answered yet; more than a burst of spawns can cause.
MAX_EARLY = 10_000

#: A process that the kernel has lost is looked at this often while it is being ended, and this long after SIGKILL.
LOOK_S = 0.05
KILLED_S = 5.0


class Lives:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.hosted = HostedTable()
        self.groups = Groups(engine)
        self.spawner = Spawner(engine)
        self._tasks = Tasks()
        self._early: dict[int, dict[str, Any]] = {}
        self._spawning = 0
        self._shortages = oom.Shortages()

    async def settled(self, timeout_s: float) -> None:
        """What ended is acknowledged, as far as its output is where it belongs; at most ``timeout_s``."""
        await self._tasks.settled(timeout_s)

    def close(self) -> None:
        """Let go of everything that only this circusd needs; the processes go on."""
        self._tasks.cancel()
        for hosted in self.hosted:
            self.hosted.remove(hosted)

    @property
    def is_any_coming(self) -> bool:
        """The kernel is asked for a process."""
        return bool(self.spawner.under_way)

    # Coming -------------------------------------------------------------------------------------------------

    async def spawn(self, slot: SlotKey, incarnation: int, *, awaits_hook: bool, is_former: bool = False) -> None:
        self._spawning += 1
        hosted = None
        try:
            hosted = await self._spawn(slot, incarnation, is_former=is_former)
        except (CircusError, PapaError) as error:
            self._engine.post(events.SpawnFailed(slot, incarnation, error.message))
        except Exception:
            log.exception("%s could not be started", slot)
            self._engine.post(events.SpawnFailed(slot, incarnation, "internal error; circusd's log has the traceback"))
        finally:
            self._spawning -= 1
            self._deliver_early()
        if hosted is not None and awaits_hook:
            await self.ask_after_spawn(slot, incarnation, hosted.pid, is_former=is_former)

    async def _spawn(self, slot: SlotKey, incarnation: int, *, is_former: bool) -> Hosted | None:
        engine = self._engine
        await engine.trees.cleared(slot.__eq__)
        config = engine.rolls.config_of(slot.watcher, is_former=is_former)
        if not await engine.run_hook(slot.watcher, "before_spawn", is_former):
            engine.post(events.HookAnswered(slot.watcher, "before_spawn", False, slot, incarnation))
            return None
        await engine.probing.prepare(config)
        reply = await self.spawner.spawn(slot, config)
        row = reply.ok
        if row["exit"] is None:  # else the pid may be somebody else's, or, as 0, mean circusd itself
            await self.groups.fill(row["meta"].get("cgroup", ""), row["pid"])
        hosted = await self.take_over(slot, incarnation, row, reply.fds)
        engine.post(events.Spawned(slot, incarnation, row["id"], row["pid"], row["started_at"]))
        if row["exit"] is not None:
            self.on_exit(hosted, row["exit"], heads_of(row))
        return hosted

    async def ask_after_spawn(
        self, slot: SlotKey, incarnation: int, pid: int | None = None, *, is_former: bool = False
    ) -> None:
        """The answer is reported in any case, also when there is no such hook any more."""
        if pid is None and (hosted := self.hosted.in_slot(slot, incarnation)) is not None:
            pid = hosted.pid
        ok = await self._engine.run_hook(slot.watcher, "after_spawn", is_former, pid=pid)
        self._engine.post(events.HookAnswered(slot.watcher, "after_spawn", ok, slot, incarnation))

    async def take_over(
        self, slot: SlotKey, incarnation: int, row: dict[str, Any], fds: dict[str, int], *, has_exited: bool = False
    ) -> Hosted:
        """Hold what the kernel gave for the process in ``row``, and let its output flow.

        ``has_exited``: it ended while no circusd was there, and no core knows of it.
        """
        hosted = Hosted(
            slot=slot,
            incarnation=incarnation,
            kernel_id=row["id"],
            pid=row["pid"],
            pidfd=fds.pop("pid", None),
            start_ticks=row["start_ticks"],
            started_at=row["started_at"],
            digest=row["meta"].get("digest", ""),
            kill_mode=row["meta"].get("kill_mode", "process"),
            mark=row["meta"].get("token", "") if row["meta"].get("kill_mode") == "tree" else "",
            cgroup=row["meta"].get("cgroup", ""),
            has_exited=has_exited,
        )
        hosted.run = runbook.due_of(row)
        self.hosted.add(hosted)
        if not has_exited:
            if row["id"] not in self._engine.inherited.came:
                self._engine.tallies.came(slot)
            self._engine.jobs.on_hosted(hosted)
            self._engine.proofs.look_later(slot.watcher)
        self._engine.probing.hold(hosted, row, fds)
        # One that has ended may be known to the pump already: then its output goes on where it was.
        take = self._engine.pump.reattach if has_exited else self._engine.pump.add
        is_counted = row["id"] in self._engine.inherited.came
        await take(attached(slot, row, fds, is_counted=is_counted))
        await self.groups.limit(hosted)
        return hosted

    async def resume(self, hosted: Hosted, row: dict[str, Any], fds: dict[str, int]) -> None:
        """The kernel was away and is back: the same process, new descriptors, and perhaps its end."""
        hosted.close()
        hosted.pidfd = fds.pop("pid", None)
        self._engine.probing.go_on(hosted, fds)
        await self._engine.pump.reattach(attached(hosted.slot, row, fds))
        if row["exit"] is not None:
            self.on_exit(hosted, row["exit"], heads_of(row))

    # Facts from the kernel ----------------------------------------------------------------------------------

    def on_kernel_event(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "output":
            self._engine.probing.on_output(data["items"])
            self._engine.pump.on_output(data["items"])
        elif kind == "eof":
            self._engine.pump.on_eof(data["id"], data["stream"], data["head"])
        elif kind == "exit":
            if (hosted := self.hosted.by_id(data["id"])) is not None:
                self.on_exit(hosted, data, data["heads"])
            elif self._spawning and len(self._early) < MAX_EARLY:
                self._early[data["id"]] = data

    def _deliver_early(self) -> None:
        """Exits of processes whose spawn has been answered since."""
        for kernel_id in [each for each in self._early if self.hosted.by_id(each) is not None]:
            self.on_kernel_event("exit", self._early.pop(kernel_id))
        if not self._spawning:
            self._early.clear()

    # Going --------------------------------------------------------------------------------------------------

    def on_exit(self, hosted: Hosted, end: Mapping[str, Any], heads: dict[str, int]) -> None:
        """The process has ended: tell the core at once, and settle with the kernel when its output is safe.

        ``end`` has the kernel's ``status`` and ``at``, and what it knows besides.
        """
        if hosted.has_exited:
            return
        hosted.has_exited, hosted.exit_status = True, end["status"]
        self._engine.probing.forget(hosted)
        self._note_end(hosted, end, is_ordered=hosted.is_being_ended)
        self._engine.pump.on_exit(hosted.kernel_id, heads)
        self._engine.post(events.Exited(hosted.slot, hosted.incarnation, hosted.exit_status))
        if hosted.is_being_ended and not self._engine.trees.has_to_go(hosted):
            self._engine.trees.look_after(hosted, is_late=True)
        self._tasks.begin(self._settle(hosted))

    def settle_ended(self, hosted: Hosted, end: Mapping[str, Any], *, is_told: bool) -> None:
        """As on_exit, for a process that ended without a circusd: no core waits for it."""
        if not is_told:
            self._note_end(hosted, end, is_ordered=None)
        self._tasks.begin(self._settle_ended(hosted))

    def _note_end(self, hosted: Hosted, end: Mapping[str, Any], *, is_ordered: bool | None) -> None:
        slot, config = hosted.slot, self._engine.configs.get(hosted.slot.watcher)
        perhaps = ""
        if hosted.exit_status == -signal.SIGKILL and not is_ordered:
            hosted.why = oom.proof(hosted, None if config is None else config.limits)
            if not hosted.why and is_ordered is False:  # else nobody knows what the machine has counted before
                perhaps = self._shortages.perhaps()
        hosted.end = Exit(
            at=end["at"],
            watcher=slot.watcher,
            wid=slot.wid,
            pid=hosted.pid,
            started_at=hosted.started_at,
            status=hosted.exit_status,
            is_ordered=is_ordered,
            why=hosted.why,
            perhaps=perhaps,
            core=end.get("core"),
            usage=usage_of(end),
        )
        self._engine.keeper.note_exit(hosted.end)
        self._engine.tallies.ended(hosted.end)
        self._engine.proofs.on_end(hosted)
        self._engine.jobs.on_end(hosted, end["at"])

    async def _settle(self, hosted: Hosted) -> None:
        """Begun after the cores were told of the end, so that they wait already for its tree, if they do."""
        await self._ask_reap_hooks(hosted)
        hosted.reap_hooks_asked.set()
        if await self._engine.trees.released(hosted):
            await self._settle_with_kernel(hosted)

    async def _settle_ended(self, hosted: Hosted) -> None:
        hosted.reap_hooks_asked.set()
        await self._engine.trees.clear(hosted)
        await self._settle_with_kernel(hosted)

    async def _settle_with_kernel(self, hosted: Hosted) -> None:
        await self._engine.pump.drained(hosted.kernel_id)
        await self._engine.keeper.kept()  # whoever comes after a crash hears of it once more, until it is noted
        await self._acknowledge(hosted)
        await self.groups.remove(hosted.cgroup)
        self._engine.keeper.settled(hosted.end)
        self.hosted.remove(hosted)

    async def _ask_reap_hooks(self, hosted: Hosted) -> None:
        told = {"process_pid": hosted.pid, "time": clock.wall()}
        await self._engine.run_hook(hosted.slot.watcher, "before_reap", **told)
        # As the ancestors have it: 1 is a dead process, None one that circusd has ended.
        how = {"exit_code": hosted.exit_status, "process_status": None if hosted.is_being_ended else 1}
        await self._engine.run_hook(hosted.slot.watcher, "after_reap", **told, **how)

    async def reap_hooks_asked(self, watcher: str) -> None:
        """The hooks of all ends of its processes so far have answered."""
        for hosted in self.hosted:
            if hosted.slot.watcher == watcher and hosted.has_exited:
                await hosted.reap_hooks_asked.wait()

    async def _acknowledge(self, hosted: Hosted) -> None:
        while True:
            try:
                await self._engine.kernel.commit(
                    exits=[hosted.kernel_id], values={hosted.value: None} if hosted.value else None
                )
                return
            except PapaError as error:
                if error.code in UNANSWERED:
                    await self._engine.link.wait_to_ask_again(error)
                    continue
                if error.code != "not-found":
                    log.warning("%s pid=%d: exit not acknowledged: %s", hosted.slot, hosted.pid, error)
                return

    def on_vanished(self, hosted: Hosted) -> None:
        """The kernel does not know the process any more. If it lives, nobody takes its output or hears of its end."""
        self._engine.pump.forget(hosted.kernel_id)
        self._engine.probing.forget(hosted)
        if hosted.has_exited:
            self.hosted.remove(hosted)
        else:
            self._tasks.begin(self._end_vanished(hosted))

    async def _end_vanished(self, hosted: Hosted) -> None:
        if hosted.is_alive():
            await self._end_orphan(hosted)
        if not hosted.has_exited:
            hosted.has_exited = True
            self._note_end(hosted, {"at": clock.wall()}, is_ordered=hosted.is_being_ended)
            self._engine.post(events.Exited(hosted.slot, hosted.incarnation, None))
        self._tasks.begin(self._forget(hosted))

    async def _forget(self, hosted: Hosted) -> None:
        await self._engine.trees.released(hosted)
        self.hosted.remove(hosted)

    async def _end_orphan(self, hosted: Hosted) -> None:
        stop_signal, grace_s = self._engine.way_to_stop(hosted.slot.watcher)
        log.warning("%s pid=%d runs, but papa has lost it: ended, to be replaced", hosted.slot, hosted.pid)
        await send_signal(hosted, stop_signal)
        if not await _has_gone(hosted, grace_s):
            await send_signal(hosted, signal.SIGKILL, whole_tree=True)
            await _has_gone(hosted, KILLED_S)


async def _has_gone(hosted: Hosted, timeout_s: float) -> bool:
    deadline = clock.monotonic() + timeout_s
    while hosted.is_alive():
        if clock.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_S)
    return True


async def send_signal(hosted: Hosted, signum: int, *, children: bool = False, whole_tree: bool = False) -> bool:
    """Signal the process, and those below it where asked; they are looked up before it can leave them behind.

    Raises:
        CircusError: forbidden, when the process belongs to somebody else by now.
    """
    below: list[procfs.Row] = []
    try:
        if whole_tree or children:
            below = await asyncio.to_thread(procfs.descendants if whole_tree else procfs.children, hosted.pid)
    except OSError as error:
        log.warning("%s pid=%d: who is below it cannot be looked at: %s", hosted.slot, hosted.pid, error)
    try:
        return hosted.send_signal(signum)
    except PermissionError:
        raise CircusError(
            "forbidden",
            f"{hosted.slot}: process {hosted.pid} may not be signalled: it runs as another user",
            "run circusd as root, or end the process as its own user",
        ) from None
    finally:
        for process in below:
            procfs.send_signal(process, signum)


def heads_of(row: dict[str, Any]) -> dict[str, int]:
    return {name: stream["head"] for name, stream in row["streams"].items()}


def lost(stream: dict[str, Any]) -> int:
    """What was dropped behind the last acknowledgement is not told yet."""
    return max(0, int(stream["dropped"]) - max(0, int(stream["low"]) - int(stream["acked"])))


def attached(slot: SlotKey, row: dict[str, Any], fds: dict[str, int], *, is_counted: bool = False) -> Attached:
    """``is_counted``: what it has lost is known already."""
    return Attached(
        kernel_id=row["id"],
        watcher=slot.watcher,
        wid=slot.wid,
        pid=row["pid"],
        files=StreamFiles(fds),
        acked={name: stream["acked"] for name, stream in row["streams"].items()},
        ended=frozenset(name for name, stream in row["streams"].items() if not stream["open"]),
        lost={} if is_counted else {name: lost(stream) for name, stream in row["streams"].items()},
        bounds=row.get("bounds"),
    )
