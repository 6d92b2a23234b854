"""What can be asked of circusd without changing anything."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import circus
from circus.control import audit, endpoints, masking, names, schema
from circus.control.audit import Trail
from circus.control.caller import Caller
from circus.control.doors import Doors, NoDoors
from circus.control.face import EngineFace, ViewFace
from circus.engine.names import Names
from circus.engine.view import REMOVED
from circus.errors import CircusError
from circus.supervise.states import SlotKey, SlotView, WatcherView

API_VERSION = 1

_Told = TypeVar("_Told")


class Queries:
    doors: Doors = NoDoors()

    def __init__(self, engine: EngineFace, caller: Caller, trail: Trail) -> None:
        self._engine = engine
        self._caller = caller
        self._trail = trail

    async def status(self) -> schema.StatusAnswer:
        view = self._engine.snapshot()
        return schema.StatusAnswer(
            name=self._engine.name,
            version=circus.__version__,
            pid=os.getpid(),
            started_at=self._engine.started_at,
            watchers=[_watcher_answer(watcher, view) for watcher in self._seen_of(view.watchers)],
            kernel=dict(view.kernel),
            foreign=list(view.foreign) if self._caller.sees_all else [],
            drift=self._of_seen(view.drift),
            by_hand=self._of_seen(view.by_hand),
            output={
                watcher: {stream: dict(counter) for stream, counter in streams.items()}
                for watcher, streams in self._of_seen(self._engine.output()).items()
            },
            warnings=self._warnings(view) if self._caller.sees_all else [],
            survivors=self._of_seen(view.survivors),
            notifiers=dict(self._engine.notifiers()) if self._caller.sees_all else {},
            warden=schema.Warden(view.warden.pid, view.warden.replaced, view.warden.reason),
        )

    def _warnings(self, view: ViewFace) -> list[str]:
        return [*filter(None, [self._trail.trouble]), *map(str, view.warnings)]

    async def status_of(self, name: str) -> schema.WatcherAnswer:
        return _watcher_answer(self._find(name), self._engine.snapshot())

    async def watchers(self) -> schema.WatchersAnswer:
        return schema.WatchersAnswer(sorted(self._names()))

    async def pids(self, name: str) -> schema.PidsAnswer:
        watcher = self._find(name)
        return schema.PidsAnswer(watcher.name, _pids(watcher))

    async def options(self, name: str, *, reveal: bool = False) -> schema.OptionsAnswer:
        """Raises: CircusError forbidden, where he may not ``reveal``."""
        found = self._find(name).name
        if reveal:
            self._caller.check("reveal")
        shown = dict(self._engine.options(found))
        return schema.OptionsAnswer(found, shown if reveal else masking.mask_options(shown))

    async def exits(self, name: str) -> schema.ExitsAnswer:
        found = self._find(name).name
        return schema.ExitsAnswer(found, list(await self._engine.exits(found)))

    async def runs(self, name: str) -> schema.RunsAnswer:
        found = self._find(name).name
        return schema.RunsAnswer(found, self._engine.snapshot().jobs.get(found), list(self._engine.runs(found)))

    async def sockets(self) -> schema.SocketsAnswer:
        prefix = Names(self._engine.name).prefix
        rows: list[Any] = [dict(row) for row in self._engine.snapshot().sockets]
        for row in rows:
            row["name"] = str(row["name"]).removeprefix(prefix)
        return schema.SocketsAnswer(rows)

    async def stats(
        self, name: str | None = None, pid: int | None = None, extended: bool = False
    ) -> schema.StatsAnswer:
        """Raises: CircusError not-found for an unknown watcher, or a pid that is none of its processes."""
        if pid is not None and name is None:
            raise CircusError("bad-request", "a pid needs the watcher that it belongs to", "give name and pid")
        if name is not None:
            watcher = self._find(name)
            name = watcher.name
            if pid is not None:
                check_pid(watcher, pid)
        infos = self._of_seen(await self._engine.stats(name=name, pid=pid, extended=extended))
        return schema.StatsAnswer(
            {watcher: {str(pid): info for pid, info in by_pid.items()} for watcher, by_pid in infos.items()}
        )

    async def test_notifier(self, name: str) -> schema.NotifierAnswer:
        """Sends a message that says it is a test. Raises: CircusError not-found."""
        error, took_s = await self._engine.test_notifier(name)
        return schema.NotifierAnswer(name, not error, error, round(took_s, 3))

    async def global_options(self) -> schema.GlobalOptionsAnswer:
        options = {**self._engine.global_options(), "audit.file": self._trail.path or audit.OFF}
        control = endpoints.resolve(options.get("control") or self._engine.name)
        return schema.GlobalOptionsAnswer(masking.mask_options({**options, "control": f"unix://{control}"}))

    async def daemon_stats(self) -> schema.DaemonStatsAnswer:
        daemons = await self._engine.daemon_stats()
        return schema.DaemonStatsAnswer(info=daemons["circusd"], papa=daemons["papa"])

    async def version(self) -> schema.VersionAnswer:
        engine = self._engine
        return schema.VersionAnswer(
            engine.name,
            circus.__version__,
            os.getpid(),
            API_VERSION,
            engine.config_path,
            self.doors.addresses(),
            sys.orig_argv,
        )

    async def logs(self) -> schema.LogsAnswer:
        return schema.LogsAnswer(self._engine.state_directory, sorted(self._names()))

    # Who is meant -------------------------------------------------------------------------------------------

    def _seen_of(self, watchers: Sequence[WatcherView]) -> Sequence[WatcherView]:
        return watchers if self._caller.sees_all else [each for each in watchers if self._caller.sees(each.name)]

    def _names(self) -> list[str]:
        return self._seen(self._engine.watcher_names())

    def _seen(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if self._caller.sees(name)]

    def _of_seen(self, by_watcher: Mapping[str, _Told]) -> dict[str, _Told]:
        return {name: told for name, told in by_watcher.items() if self._caller.sees(name)}

    def _find(self, name: str) -> WatcherView:
        with self._telling_removed([name]):
            return self._engine.watcher_view(names.find_watcher(self._names(), name))

    @contextlib.contextmanager
    def _telling_removed(self, asked: Iterable[str]) -> Iterator[None]:
        """Who misses a watcher that somebody has removed is told how it comes back."""
        try:
            yield
        except CircusError as error:
            by_hand = self._engine.snapshot().by_hand
            removed = [name for name in self._seen(asked) if by_hand.get(name.lower()) == REMOVED]
            if error.code != "not-found" or not removed:
                raise
            hint = f"it was removed by hand; `circusctl add {removed[0]}` brings it back as the file has it"
            raise CircusError("not-found", error.message, hint) from None


def _watcher_answer(watcher: WatcherView, view: ViewFace) -> schema.WatcherAnswer:
    return schema.WatcherAnswer(
        name=watcher.name,
        state=watcher.state.value,
        numprocesses=watcher.numprocesses,
        priority=watcher.priority,
        wants_up=watcher.wants_up,
        reason=watcher.reason,
        slots=[
            _slot_answer(slot, view.said.get(SlotKey(watcher.name, slot.wid), ""))
            for slot in sorted(watcher.slots, key=lambda slot: slot.wid)
        ],
        job=view.jobs.get(watcher.name),
        reload=watcher.reload,
        after=list(watcher.needs.after),
        requires=list(watcher.needs.requires),
        wants=list(watcher.needs.wants),
        waits_for=list(watcher.waits_for),
    )


def _slot_answer(slot: SlotView, said: str) -> schema.SlotAnswer:
    return schema.SlotAnswer(
        wid=slot.wid,
        state=slot.state.value,
        pid=slot.pid,
        kernel_id=slot.kernel_id,
        started_at=slot.started_at,
        incarnation=slot.incarnation,
        reason=slot.reason,
        last_status=slot.last_status,
        ready=slot.is_ready,
        health=slot.health,
        said=said,
    )


def _pids(watcher: WatcherView) -> list[int]:
    return sorted(slot.pid for slot in watcher.slots if slot.pid is not None)


def check_pid(watcher: WatcherView, pid: int) -> None:
    pids = _pids(watcher)
    if pid not in pids:
        listed = ", ".join(map(str, pids[: names.MAX_NAMES_IN_HINT])) or "none"
        raise CircusError("not-found", f"{watcher.name}: {pid} is none of its processes", f"its pids: {listed}")
