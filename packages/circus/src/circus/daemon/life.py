"""A life of circusd: lock, connect, serve, leave; or begin anew in place."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
from collections.abc import Awaitable, Callable

from circus import __version__, serving
from circus.config.model import CircusConfig
from circus.control import access, endpoints
from circus.control.caller import Caller
from circus.control.claim import Claim, claim
from circus.control.entries import Entry
from circus.control.schema import DoneAnswer
from circus.daemon import greeting
from circus.daemon.beats import Beats
from circus.daemon.detach import Readiness
from circus.daemon.notify import Manager
from circus.daemon.pidfile import Pidfile
from circus.daemon.stacks import Stacks
from circus.daemon.ward import Ward
from circus.engine.engine import Engine
from circus.engine.view import Warden
from circus.errors import CircusError
from circus.upgrade.succession import Succession, keep_pending

log = logging.getLogger("circus")


class Life:
    """Of one circusd; and of the next one, when another program could not be executed in its place."""

    def __init__(
        self,
        config: CircusConfig,
        pidfile: Pidfile | None,
        readiness: Readiness,
        manager: Manager,
        ward: Ward,
        succession: Succession,
    ) -> None:
        self._config = config
        self._pidfile = pidfile
        self._readiness = readiness
        self._manager = manager
        self._ward = ward
        self._succession = succession
        self._stacks = Stacks("")

    def live(self) -> None:
        """With the name claimed and the pid written; both are given back in the end. Raises: CircusError, PapaError."""
        path = endpoints.resolve(self._config.control or self._config.name)
        try:
            mine = self._succession.claim() or claim(path, is_open=access.is_open(self._config))
        except CircusError as error:
            if error.code == "conflict":
                self._ward.leaving()  # another circusd has the name: there is nothing to try again
            raise
        try:
            if self._pidfile:
                self._pidfile.write()  # a predecessor that was still leaving has removed its own by now
            try:
                self._stacks = Stacks(f"{path}.stacks")
                self._stacks.open()
                asyncio.run(self._run(mine))
            finally:
                if self._pidfile:
                    self._pidfile.remove()
        finally:
            mine.release()

    async def _run(self, mine: Claim) -> None:
        config, ward = self._config, self._ward
        _set_title()
        log.info("circusd %s started pid=%d name=%s config=%s", __version__, os.getpid(), config.name, config.path)
        if ward.replaced:
            log.error("circusd %s: it was replaced times=%d", ward.reason, ward.replaced)
        beats = Beats(config, ward, self._manager, self._begin_anew)
        beats.start()
        while await self._serve(mine):
            log.info("circusd %s goes on pid=%d", __version__, os.getpid())

    async def _serve(self, mine: Claim) -> bool:
        """Whether to begin once more, because no other program could take this one's place."""
        config, ward, succession, loop = self._config, self._ward, self._succession, asyncio.get_running_loop()
        try:
            kernel = await serving.connect(config)
            _raise_descriptor_limit()
            circusd = serving.Serving(config, mine, kernel, started_at=succession.started_at)
        except Exception as error:
            succession.go_back(error)
            raise
        engine = circusd.engine
        engine.is_outlived = not ward.is_contained
        engine.warden = Warden(ward.pid, ward.replaced, ward.reason)
        ward.on_loss(loop, lambda: self._on_warden_lost(engine))
        ends = _Ends(circusd, succession)
        ends.install()
        try:
            await self._come_up(circusd, mine)
            ends.listen()
            ward.up()
            self._readiness.tell()
            self._manager.ready(f"{config.name}: {len(config.watchers)} watchers, configured by {config.path}")
            log.info("Arbiter now waiting for commands")
            greeting.greet(engine, circusd.ops, mine.path)
            # What lives now lives long; the collector need not look at it again.
            gc.collect()
            gc.freeze()
            gc.enable()
            await engine.may_leave.wait()
            ward.ignore_loss(loop)
            if succession.is_due:
                self._manager.reloading("another version takes its place")
                await succession.hand_over()
                return True
            ends.remove()
            self._manager.stopping("leaving")
            if engine.status is not None:
                ward.end_with(engine.status)
            ward.leaving()
            log.info("circusd leaves")
            return False
        finally:
            if not succession.is_due:
                await circusd.close()

    async def _come_up(self, circusd: serving.Serving, mine: Claim) -> None:
        try:
            self._succession.attach(circusd, mine)
            self._succession.release_signals()
            await circusd.start()
            self._succession.settle()
        except Exception as error:
            self._succession.go_back(error)
            raise

    def _on_warden_lost(self, engine: Engine) -> None:
        pid, engine.warden = engine.warden.pid, Warden(0, engine.warden.replaced, engine.warden.reason)
        trouble = f"the warden (pid {pid}) is gone: nobody replaces a circusd that crashes or hangs"
        engine.troubles["warden"] = f"{trouble}; circusctl quit and a start bring another one"
        log.error("%s", engine.troubles["warden"])

    def _begin_anew(self, excess: str) -> None:
        """What a crash would do, without anybody who would have to notice: the same process, from its beginning."""
        self._stacks.write()
        self._stacks.tell(f"circusd uses too much, {excess}, and begins anew")
        self._ward.keep(renewals=int(self._ward.kept.get("renewals", 0)) + 1)
        logging.shutdown()
        self._succession.begin_anew(f"(pid {os.getpid()}) used too much: {excess}")


class _Ends:
    """Signals of circusd: TERM, INT and QUIT mean quit (in a container that is shutdown), HUP means reload all.

    One that comes while circusd starts waits until it is up: what it has adopted by then is ended in good order. A
    second one ends it at once. They are orders as all others: an upgrade waits for their end. One that comes while
    another program takes circusd's place is for that.
    """

    def __init__(self, circusd: serving.Serving, succession: Succession) -> None:
        self._engine = circusd.engine
        self._orders = circusd.ops.register
        self._succession = succession
        self._is_up = False
        self._early: list[signal.Signals] = []
        self._loop = asyncio.get_running_loop()

    def install(self) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
            self._loop.add_signal_handler(signum, self._on_end, signum)
        self._loop.add_signal_handler(signal.SIGHUP, self._on_hup)
        signal.signal(signal.SIGWINCH, signal.SIG_IGN)

    def listen(self) -> None:
        """circusd is up; what came before is done now."""
        self._is_up = True
        for signum in self._early:
            self._on_end(signum)

    def remove(self) -> None:
        """A second signal to end while circusd leaves ends it at once."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            self._loop.remove_signal_handler(signum)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_end(self, signum: signal.Signals) -> None:
        if not self._is_up:
            if self._early:
                self.remove()
                os.kill(os.getpid(), signum)
            self._early.append(signum)
            return
        if self._succession.is_due:
            keep_pending(signum)
            return
        what = "quit" if self._engine.is_outlived else "shutdown"
        log.info("got signal %s: %s", signum.name, what)
        self._begin(what, signum, self._engine.quit)

    def _on_hup(self) -> None:
        if self._succession.is_due:
            keep_pending(signal.SIGHUP)
        elif self._is_up:
            log.info("got signal SIGHUP: reload")
            self._begin("reload", signal.SIGHUP, self._engine.reload_all)

    def _begin(self, what: str, signum: signal.Signals, order: Callable[[], Awaitable[None]]) -> None:
        async def work(_entry: Entry) -> DoneAnswer:
            await order()
            return DoneAnswer()

        try:
            self._orders.begin(what, None, Caller(f"signal {signum.name}", "process"), work)
        except CircusError as error:
            log.error("signal %s was not obeyed: %s", signum.name, error)


def _raise_descriptor_limit() -> None:
    """Four descriptors for each process; only now, so that a kernel started by us gives programs the old limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            log.warning("the limit of open files stays at %d", soft)


def _set_title() -> None:
    try:
        from setproctitle import setproctitle  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return
    # The title takes the room of the arguments alone: how circusd was started can still be read in /proc/PID/environ.
    is_ours = "SPT_NOENV" not in os.environ
    os.environ["SPT_NOENV"] = "1"
    setproctitle("circusd")
    if is_ours:
        del os.environ["SPT_NOENV"]
