"""The ancestors' Arbiter: circusd inside a program.

The program's watchers are a configuration as that of a file is. What circusd can do is done by the same rooms, and an
Arbiter gives its orders as a client does, without a socket in between. It lives once: `start`, then `stop`.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, Self

from circus import given
from circus.config import load
from circus.config.model import CircusConfig, WatcherConfig
from circus.control import access, endpoints
from circus.control.caller import OWNER
from circus.control.claim import claim
from circus.control.dispatch import dispatch
from circus.embedding import naming, texts
from circus.embedding.life import Callback, Life, Premises
from circus.embedding.outcome import Outcome
from circus.embedding.signals import Signals
from circus.embedding.sockets import CircusSocket
from circus.embedding.watcher import Watcher
from circus.engine import memory
from circus.engine.faces import WatcherFace
from circus.errors import CircusError
from circus.legacy.exc import AlreadyExist
from circus.legacy.messages import Refused, program_of
from circus.supervise.states import WatcherView


class Arbiter:
    """Without ``loop``, `start` runs one of its own until `stop`; with one (asyncio's, or a tornado IOLoop) it is a
    coroutine. ``circus`` is more of what a section [circus] may say.

    Raises: CircusError, ConfigInvalid, for what a configuration may not say.
    """

    def __init__(
        self,
        watchers: Iterable[Mapping[str, Any] | Watcher],
        endpoint: str | None = None,
        pubsub_endpoint: str | None = None,
        check_delay: float = 1.0,
        *,
        stats_endpoint: str | None = None,
        loop: Any = None,
        name: str | None = None,
        sockets: Iterable[CircusSocket | Mapping[str, Any]] | None = None,
        plugins: Iterable[Mapping[str, Any]] | None = None,
        circus: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        told = texts.circus(more)
        self._prepare(loop)
        self._program = naming.program_path()
        self._fixed_name = naming.fixed_name(name, endpoint)
        self._circus = {
            **told,
            "endpoint": endpoint,
            "pubsub_endpoint": pubsub_endpoint,
            "stats_endpoint": stats_endpoint,
            "check_delay": check_delay,
            **(circus or {}),
        }
        self._sockets = list(sockets or ())
        self._plugins = list(plugins or ())
        for each in watchers:
            self._take(each if isinstance(each, Watcher) else Watcher.load_from_config(self._named(each)))
        self._config = self._read()

    @classmethod
    def load_from_config(cls, config_file: str, loop: Any = None) -> Self:
        """The circusd of this file: with its name, and with what was ordered of it by hand.

        Raises: ConfigInvalid.
        """
        arbiter = cls.__new__(cls)
        arbiter._prepare(loop)
        arbiter._file = os.path.abspath(config_file)
        arbiter._config = arbiter._read()
        return arbiter

    def _prepare(self, loop: Any) -> None:
        self._loop_given: asyncio.AbstractEventLoop | None = getattr(loop, "asyncio_loop", loop)
        self._file: str | None = None
        self._told: dict[str, tuple[Watcher, dict[str, str]]] = {}  # by name in lower case
        self._on_started: Callable[[], object] = lambda: None
        self._holder = texts.Holder()
        weakref.finalize(self, given.release, self._holder.paths)
        self._life = Life(self._premises, partial(given.release, self._holder.paths))

    # What it is ---------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._life.up.is_set() and not self._life.gone.is_set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The one that it runs on."""
        return self._life.loop or self._loop_given

    @property
    def endpoint(self) -> str:
        """Where clients find it: as it was given, else the path of its control socket; empty before it has one."""
        return self._config.endpoint or self._life.path

    @property
    def pubsub_endpoint(self) -> str:
        """As it was given, else where its events are heard, too: at ``endpoint``."""
        return self._config.pubsub_endpoint or self.endpoint

    @property
    def stats_endpoint(self) -> str:
        return self._config.stats_endpoint or self.endpoint

    @property
    def name(self) -> str:
        """Of this circus; before the start of one that is called by its program: ``default``."""
        return self._config.name

    @property
    def check_delay(self) -> float:
        return self._config.check_delay_s

    @property
    def sockets(self) -> Mapping[str, Any]:
        """By name: those that are open, before the start as they are described."""
        circusd = self._life.circusd
        if circusd is None:
            return {each.name: each for each in self._config.sockets}
        rows = self._life.look(lambda: dict(circusd.engine.sockets.rows))
        return {name: SimpleNamespace(**row) for name, row in rows.items()}

    @property
    def watchers(self) -> list[Watcher]:
        return list(self.iter_watchers())

    def iter_watchers(self, reverse: bool = True) -> Iterator[Watcher]:
        """By priority, the highest first; else the lowest."""
        known = {each.name: each for each in self._known()}
        names = sorted(known, key=lambda name: (-known[name].priority, name.lower()))
        return iter([self.get_watcher(name) for name in (names if reverse else names[::-1])])

    def get_watcher(self, name: str) -> Watcher:
        """Raises: KeyError."""
        for each in self._known():
            if each.name.lower() == name.lower():
                told = self._told.get(name.lower())
                watcher = told[0] if told is not None else Watcher(each.name, each.cmd, each.args)
                watcher.belong(self)
                return watcher
        raise KeyError(name)

    def numwatchers(self) -> int:
        return len(self._known())

    def numprocesses(self) -> int:
        """How many run."""
        return sum(slot.pid is not None for view in self.views() for slot in view.slots)

    def statuses(self) -> dict[str, str]:
        """State by name: stopped, starting, active or stopping."""
        return {view.name: view.state.value for view in self.views()}

    def views(self) -> Sequence[WatcherView]:
        """Raises: CallError, when it does not run."""
        return self._life.look(lambda: self._life.engine.fleet.snapshot())

    def face_of(self, name: str) -> WatcherFace:
        """As hooks see it. Raises: CircusError; CallError, when the arbiter does not run."""
        return self._life.look(lambda: self._life.engine.face(name))

    def options_of(self, name: str) -> dict[str, Any]:
        return self._life.look(lambda: dict(self._life.engine.options(name)))

    def _known(self) -> Sequence[WatcherConfig]:
        return self._life.look(lambda: self._life.engine.config.watchers if self.running else self._config.watchers)

    # Start and end ------------------------------------------------------------------------------------------

    def start(self, cb: Callback | None = None) -> Coroutine[Any, Any, None] | None:
        """Open the sockets and start the watchers; ``cb`` is called when they have been started (with a finished
        future, if it takes an argument).

        On a loop of its own it returns after `stop`, or after a signal to end where this is the main thread; as a
        coroutine, when the watchers have been started.

        Raises: CircusError, PapaError.
        """
        if self._loop_given is not None:
            return self._start_on_given_loop(cb)
        if asyncio._get_running_loop() is not None:
            hint = "give it: get_arbiter(..., loop=asyncio.get_running_loop())"
            raise CircusError("usage", "a loop runs in this thread, and the arbiter was given none", hint)
        self._life.begin_once()
        asyncio.run(self._live(cb))
        return None

    def stop(self) -> Outcome[None]:
        """End what does not outlive it (`use_papa`), close the sockets, let go of the loop; from any thread, and
        also before all was started.
        """
        return self._life.stop()

    async def _live(self, cb: Callback | None) -> None:
        is_main = threading.current_thread() is threading.main_thread()
        signals = Signals(self.stop, self._reload_if_up) if is_main else None
        try:
            await self._life.open()
            starting = asyncio.create_task(self._started(cb))
            try:
                await self._life.ended()
            finally:
                starting.cancel()
                await asyncio.wait([starting])
        finally:
            if signals is not None:
                signals.give_back()

    def _reload_if_up(self) -> None:
        if self.running:
            self.reload()

    async def _started(self, cb: Callback | None) -> None:
        await self._life.started(cb)
        self._on_started()

    async def _start_on_given_loop(self, cb: Callback | None) -> None:
        self._life.begin_once()
        if asyncio.get_running_loop() is not self._loop_given:
            raise CircusError("usage", "the arbiter was given another loop than the one that runs", "give it this one")
        await self._life.open()
        await self._life.started(cb)

    # Orders -------------------------------------------------------------------------------------------------

    def send_message(self, command: str, **props: Any) -> Outcome[dict[str, Any]]:
        """What a client would send; the outcome is the reply's own fields, or CircusError."""
        return self._life.outcome(self._perform(command, props))

    def start_watchers(self) -> Outcome[dict[str, Any]]:
        return self.send_message("start", waiting=True)

    def stop_watchers(self) -> Outcome[dict[str, Any]]:
        return self.send_message("stop", waiting=True)

    def restart(self) -> Outcome[dict[str, Any]]:
        """Of all watchers."""
        return self.send_message("restart", waiting=True)

    def reload(self, graceful: bool = True, sequential: bool = False) -> Outcome[dict[str, Any]]:
        """Of all watchers."""
        return self.send_message("reload", graceful=graceful, sequential=sequential, waiting=True)

    def reload_from_config(self, config_file: str | None = None) -> Outcome[dict[str, Any]]:
        """What changed in the file is done; the file is the one that it was made of.

        Raises: CircusError usage.
        """
        if config_file is not None and os.path.abspath(config_file) != self._file:
            raise CircusError("usage", f"the arbiter was not made of {config_file}", "use Arbiter.load_from_config")
        return self.send_message("reloadconfig", waiting=True)

    def add_watcher(self, name: str, cmd: str, **options: Any) -> Watcher:
        """It is not started, unless the arbiter has not been started yet.

        On the arbiter's own loop what it returns may be awaited: then it is known, or what is wrong is raised.

        Raises: AlreadyExist; CircusError; CallError, while the arbiter starts.
        """
        self._life.check_not_coming()
        watcher = Watcher(name, cmd, options.pop("args", None), **options)
        if not self._life.up.is_set():
            self._take(watcher)
            try:
                self._config = self._read()
            except BaseException:
                del self._told[name.lower()]
                raise
            return watcher
        if any(each.name.lower() == name.lower() for each in self._known()):
            raise AlreadyExist(f"{name!r} already exist")
        name, written = texts.watcher(watcher.given(), self._holder.hold)
        added = self._life.outcome(self._add(watcher, name, written))
        watcher.belong(self, added)
        if not self._life.is_here:
            added.result()
        return watcher

    def rm_watcher(self, name: str, nostop: bool = False) -> Outcome[dict[str, Any]]:
        """Stop it, or leave what runs to itself, and know it no more. Raises: CallError, while the arbiter starts."""
        self._life.check_not_coming()
        if not self._life.up.is_set():
            if name.lower() not in self._told:
                raise KeyError(name)
            del self._told[name.lower()]
            self._config = self._read()
            return Outcome.done({})
        return self._life.outcome(self._remove(name, nostop=nostop))

    def set_option(self, name: str, key: str, value: Any) -> Outcome[dict[str, Any]]:
        """One option of a watcher, objects included."""
        _, written = texts.watcher({"name": name, "cmd": "-", key: value}, self._holder.hold)
        if key != "cmd":
            del written["cmd"]
        return self.send_message("set", name=name, options=written, waiting=True)

    async def _add(self, watcher: Watcher, name: str, written: Mapping[str, str]) -> None:
        rest = {key: text for key, text in written.items() if key != "cmd"}
        await self._perform("add", {"name": name, "cmd": written["cmd"], "options": rest, "waiting": True})
        self._told[name.lower()] = watcher, dict(written)

    async def _remove(self, name: str, *, nostop: bool) -> dict[str, Any]:
        done = await self._perform("rm", {"name": name, "nostop": nostop, "waiting": True})
        self._told.pop(name.lower(), None)
        return done

    async def _perform(self, command: str, props: dict[str, Any]) -> dict[str, Any]:
        """Raises: CircusError, in the words of the ancestors where they had some."""
        ops, message = self._life.running.ops, {"command": command, "properties": props}
        try:
            program = program_of(message)
            asked = next(program)
            while True:
                method = "GET" if asked.body is None else "POST"
                answer = await dispatch(ops, OWNER, method, asked.target, asked.body)
                assert isinstance(answer, Mapping)
                asked = program.send(answer)
        except StopIteration as end:
            fields: dict[str, Any] = end.value
            return fields
        except Refused as refused:
            raise CircusError("bad-request", refused.reason) from None

    # What the program tells ---------------------------------------------------------------------------------

    def _named(self, told: Mapping[str, Any]) -> dict[str, Any]:
        return {**told, "name": texts.name_of(told)}

    def _take(self, watcher: Watcher) -> dict[str, str]:
        """Raises: AlreadyExist; CircusError."""
        name, written = texts.watcher(watcher.given(), self._holder.hold)
        if name.lower() in self._told:
            raise AlreadyExist(f"{name!r} already exist")
        watcher.belong(self)
        self._told[name.lower()] = watcher, written
        return written

    def _premises(self) -> Premises:
        if self._file is not None:
            config = self._read()
            mine = claim(endpoints.resolve(config.control or config.name), is_open=access.is_open(config))
            return Premises(config, mine, memory.state_directory(config.name), self._read)
        name, mine = naming.claimed(
            self._fixed_name,
            self._program,
            control=self._config.control,
            is_open=access.is_open(self._config),
        )
        try:
            self._config = self._read(name)
            keeps = memory.state_directory(f"embedded/{name}")
            # What counts is what the program says now, not what was ordered when it ran before.
            (keeps / "memory.json").unlink(missing_ok=True)
        except BaseException:
            mine.release()
            raise
        return Premises(self._config, mine, keeps, partial(self._read, name))

    def _read(self, name: str | None = None) -> CircusConfig:
        """Raises: ConfigInvalid, CircusError."""
        if self._file is not None:
            return load.load(self._file, os.environ)
        told = list(self._told.values())
        document = texts.document(
            self._program,
            circus={**self._circus, "name": name or self._fixed_name},
            watchers=[(watcher.name, written) for watcher, written in told],
            sockets=self._sockets,
            plugins=self._plugins,
        )
        return load.of_document(document, os.environ)
