"""A circusd without processes, for tests of doors and of scripts that steer circusd.

FakeEngine has the face that operations see and obeys every order at once; what it was told is in ``heard``.
FakeCircusd puts it behind a real control socket, in a thread. Real processes do not belong here.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from msgspec import structs

from circus.bus import Bus
from circus.config.plan import Plan
from circus.control.claim import claim
from circus.control.ops import Ops
from circus.control.routes import make_app
from circus.control.server import ControlServer
from circus.control.succession import Rehearsed
from circus.engine import tracking
from circus.engine.pictures import Picture
from circus.engine.samples import Samples, Use
from circus.engine.view import Warden
from circus.errors import CircusError
from circus.logbook.writing import Laid
from circus.supervise import events
from circus.supervise.actions import Finish
from circus.supervise.progress import Standing
from circus.supervise.states import SlotKey, SlotState, SlotView, WatcherState, WatcherView

#: A fake that does not come up or leave in this time is broken.
THREAD_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class FakeView:
    watchers: tuple[WatcherView, ...]
    sockets: tuple[Mapping[str, Any], ...] = ()
    kernel: Mapping[str, Any] = field(default_factory=dict)
    foreign: tuple[Any, ...] = ()
    drift: Mapping[str, Any] = field(default_factory=dict)
    said: Mapping[SlotKey, str] = field(default_factory=dict)
    by_hand: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[object, ...] = ()
    survivors: Mapping[str, list[dict[str, object]]] = field(default_factory=dict)
    jobs: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    warden: Warden = field(default_factory=Warden)


def make_watcher(name: str, count: int = 1, **changes: Any) -> WatcherView:
    """An active watcher with ``count`` running processes, whose pids follow from their names."""
    slots = tuple(make_slot(wid, pid=10_000 + sum(name.encode()) * 10 + wid) for wid in range(1, count + 1))
    view = WatcherView(
        name=name,
        state=WatcherState.ACTIVE,
        numprocesses=count,
        priority=0,
        wants_up=True,
        reason="",
        slots=slots,
    )
    return structs.replace(view, **changes)


def make_slot(wid: int, *, state: SlotState = SlotState.RUNNING, pid: int | None = None, **changes: Any) -> SlotView:
    view = SlotView(
        wid=wid,
        state=state,
        pid=pid,
        kernel_id=pid,
        started_at=None if pid is None else time.time(),
        incarnation=1,
        reason="",
        last_status=None,
    )
    return structs.replace(view, **changes)


class FakeFigures:
    """``uses`` are what the next looks find."""

    def __init__(self) -> None:
        self.samples = Samples()
        self.interval_s = 0.0
        self.uses: list[list[Use]] = []

    async def look(self) -> None:
        if self.uses:
            self.samples.add(time.time(), self.uses.pop(0))


class FakeSuccession:
    """Every program can take over, except those in which something is ``broken``; and nothing comes of it."""

    async def rehearse(self, to: str) -> Rehearsed:
        if "broken" in to:
            raise CircusError("conflict", f"{to}/bin/python cannot take over: no module named circus", "see the log")
        return Rehearsed("1.1.0", "3.13.1", f"{to or '/opt/papa'}/lib/python3.13/site-packages/circus", [])

    async def succeed(self, operation: str) -> None:
        """It has ended, as if the successor served."""


class FakeEngine:
    """``gate`` holds orders back until it is set; ``failure`` is raised; ``refusal`` is how orders end."""

    def __init__(self, *watchers: WatcherView, name: str = "default", **view: Any) -> None:
        self.name = name
        self.started_at = time.time()
        self.config_path = ""
        self.state_directory = ""
        self.environ: dict[str, str] = {}
        self.bus = Bus()
        self.figures = FakeFigures()
        self.watchers = {watcher.name: watcher for watcher in watchers}
        self.view = view
        self.heard: list[Any] = []
        self.gate: asyncio.Event | None = None
        self.failure: Exception | None = None
        self.refusal = ""
        self.standing: dict[int, list[Standing]] = {}  # how far orders are
        self.followers: list[Callable[[], None]] = []
        self.made = Plan("3f2a9c81d07e")
        self.set_warnings: list[str] = []
        self.add_error = ""  # why an added watcher does not start
        self.changed: dict[str, dict[str, str]] = {}  # options that were set
        self.ends: dict[str, list[Mapping[str, object]]] = {}
        self.whys: dict[str, dict[str, Any]] = {}  # watcher -> what differs from one that is as it is wanted
        self.ran: dict[str, list[Mapping[str, object]]] = {}  # jobs
        self.infos: dict[str, dict[Any, Any]] = {}
        self.counters: dict[str, dict[str, dict[str, float]]] = {}
        self.daemon_info: dict[str, object] = {"pid": 4, "cmdline": "circusd"}
        self.told_of: dict[str, dict[str, object]] = {}  # notifiers
        self.has_ended = False
        self.hear: Callable[[Laid], None] | None = None  # what is written is told to it
        self._op = 0

    def snapshot(self) -> FakeView:
        if self.failure is not None:
            raise self.failure
        return FakeView(tuple(self.watchers.values()), **self.view)

    def watcher_names(self) -> list[str]:
        return [watcher.name for watcher in self.snapshot().watchers]

    def watcher_view(self, name: str, /) -> WatcherView:
        return self.watchers[name]

    async def picture(self) -> Picture:
        if self.failure is not None:
            raise self.failure
        return Picture(self.started_at, tuple(self.watchers.values()))

    def hear_output(self, hear: Callable[[Laid], None] | None, /) -> None:
        self.hear = hear

    def output(self) -> dict[str, dict[str, dict[str, float]]]:
        return self.counters

    async def order(self, make: Callable[[int], events.Order], /) -> Finish:
        self._op += 1
        order = make(self._op)
        self.heard.append(order)
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tracking.begin(self._op, order, end)
        await self._pass_gate()
        end.set_result(None)
        if self.refusal:
            return Finish(self._op, ok=False, error=self.refusal)
        return Finish(self._op, ok=True, detail=self._obey(order))

    def standings(self, ops: Collection[int], /) -> list[Standing]:
        return [each for op in ops for each in self.standing.get(op, [])]

    def follow(self, follower: Callable[[], None], /) -> Callable[[], None]:
        self.followers.append(follower)
        return lambda: self.followers.remove(follower)

    async def signal(
        self,
        name: str,
        signum: int,
        /,
        *,
        pid: int | None = None,
        childpid: int | None = None,
        children: bool = False,
        recursive: bool = False,
    ) -> int:
        self.heard.append(("signal", name, signum, pid, childpid or children, recursive))
        return 1 if pid is not None else len(self.watchers[name].slots)

    async def stats(
        self, name: str | None = None, pid: int | None = None, extended: bool = False
    ) -> Mapping[str, Mapping[Any, Any]]:
        self.heard.append(("stats", name, pid, extended))
        found = {name: self.infos.get(name, {})} if name is not None else self.infos
        if pid is None or name is None:
            return found
        return {name: {key: info for key, info in found[name].items() if str(key) == str(pid)}}

    def options(self, name: str, /) -> Mapping[str, Any]:
        return {
            "cmd": "sleep 1",
            "numprocesses": self.watchers[name].numprocesses,
            "env": {"A": "1", "B": "2"},
            **self.changed.get(name, {}),
        }

    def global_options(self) -> Mapping[str, Any]:
        return {"name": self.name, "control": None, "endpoint": None, "check_delay": 5.0, "use_papa": False}

    async def daemon_stats(self) -> Mapping[str, Any]:
        return {"circusd": self.daemon_info, "papa": "No such process (stopped?)"}

    async def set_options(self, name: str, texts: Mapping[str, str], /, *, on_begun: Callable[[], None]) -> list[str]:
        self.heard.append(("set", name, dict(texts)))
        on_begun()
        await self._pass_gate()
        self.changed.setdefault(name, {}).update(texts)
        return self.set_warnings

    async def add_watcher(
        self, name: str, texts: Mapping[str, str], /, *, start: bool, on_begun: Callable[[], None]
    ) -> tuple[Finish | None, list[str]]:
        self.heard.append(("add", name, dict(texts), start))
        on_begun()
        await self._pass_gate()
        self.watchers[name] = make_watcher(name)
        self.changed[name] = dict(texts)
        pids = self._set((name,), is_up=start)
        finish = Finish(0, ok=not self.add_error, detail={"started": pids, "kept": []}, error=self.add_error)
        return finish if start else None, self.set_warnings

    async def remove_watcher(self, name: str, /, *, nostop: bool) -> None:
        self.heard.append(("remove", name, nostop))
        await self._pass_gate()
        del self.watchers[name]

    async def exits(self, name: str, /) -> list[Mapping[str, object]]:
        return self.ends.get(name, [])

    async def why(self, name: str, /) -> Mapping[str, Any]:
        watcher = self.watchers[name]
        wanted = {"up": watcher.wants_up, "numprocesses": watcher.numprocesses, "in_file": watcher.numprocesses}
        place = {"source": "file", "reason": "autostart = true by default", "file": "", "line": 0}
        return {
            "well": True,
            "wanted": {**wanted, **place, "order": None, "count_order": None},
            "waits": [],
            "next": {"at": None, "what": ""},
            "ran_well": None,
            "changes": [],
            "last_set": None,
            "last_reload": None,
            **self.whys.get(name, {}),
        }

    async def run(self, name: str, /, *, wait: bool) -> Mapping[str, object]:
        self.heard.append(("run", name, wait))
        await self._pass_gate()
        return self.ran[name][-1]

    def runs(self, name: str, /) -> list[Mapping[str, object]]:
        return self.ran.get(name, [])

    def notifiers(self) -> Mapping[str, Mapping[str, object]]:
        return self.told_of

    async def test_notifier(self, name: str, /) -> tuple[str, float]:
        if name not in self.told_of:
            raise CircusError("not-found", f"notifier {name!r} not found")
        return str(self.told_of[name]["error"]), 0.5

    def known(self) -> list[str]:
        return list(self.watchers)

    async def forget(self, names: Iterable[str] | None, /, *, is_dry: bool) -> Mapping[str, list[str]]:
        meant = list(self.watchers) if names is None else list(names)
        self.heard.append(("forget", meant, is_dry))
        await self._pass_gate()
        told = {name: ["stopped by hand"] for name in meant if not self.watchers[name].wants_up}
        if told and not is_dry:
            self._set(tuple(told), is_up=True)
        return told

    async def plan(self) -> Plan:
        self.heard.append("plan")
        return self.made

    async def reloadconfig(self, expected: str | None = None, /, *, on_begun: Callable[[Plan], None]) -> Plan:
        self.heard.append("reloadconfig" if expected is None else ("reloadconfig", expected))
        if expected not in (None, self.made.id):
            raise CircusError("conflict", f"plan {expected} does not hold any more: web was stopped")
        on_begun(self.made)
        await self._pass_gate()
        return self.made

    async def quit(self) -> None:
        await self._end("quit")

    async def shutdown(self) -> None:
        await self._end("shutdown")

    async def _end(self, how: str) -> None:
        self.heard.append(how)
        await self._pass_gate()
        self.has_ended = True

    async def _pass_gate(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self.gate is not None:
            await self.gate.wait()

    def _obey(self, order: events.Order) -> dict[str, object]:
        match order:
            case events.SetCount(name=name, count=count, delta=delta):
                old = self.watchers[name]
                new = max(0, old.numprocesses + delta if count is None else count)
                new = min(new, 1) if old.singleton else new
                self.watchers[name] = make_watcher(name, new, singleton=old.singleton)
                return {"numprocesses": new}
            case events.Stop(names=names):
                return {"stopped": self._set(names, is_up=False)}
            case events.Start(names=names, among=among):
                chosen = names if among is None else tuple(among)
                return {"started": self._set(chosen, is_up=True), "kept": []}
            case _:
                return {}

    def _set(self, names: tuple[str, ...] | None, *, is_up: bool) -> list[int]:
        pids: list[int] = []
        for name in names if names is not None else tuple(self.watchers):
            up = make_watcher(name, self.watchers[name].numprocesses)
            pids += [slot.pid for slot in up.slots if slot.pid is not None]
            down = structs.replace(up, state=WatcherState.STOPPED, wants_up=False, slots=())
            self.watchers[name] = up if is_up else down
        return pids


class FakeCircusd:
    """``with FakeCircusd(engine, path):`` a control socket at ``path``, served in a thread until the end."""

    def __init__(self, engine: FakeEngine, path: str) -> None:
        self.engine = engine
        self.ops = Ops(engine)
        self.ops.upgrades.succession = FakeSuccession()
        self.path = path
        self._loop = asyncio.new_event_loop()
        self._leave = asyncio.Event()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake circusd", daemon=True)

    def __enter__(self) -> FakeCircusd:
        self._thread.start()
        if not self._is_up.wait(THREAD_TIMEOUT_S):
            raise RuntimeError(f"the fake circusd at {self.path} did not come up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.call(self._leave.set)
        self._thread.join(THREAD_TIMEOUT_S)

    def call(self, function: Callable[[], object]) -> None:
        """Run ``function`` on the loop of the fake."""
        self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        held = claim(self.path)
        server = ControlServer(make_app(self.ops), held)
        await server.start()
        self._is_up.set()
        await self._leave.wait()
        self.ops.close()
        await server.close()
        held.release()
