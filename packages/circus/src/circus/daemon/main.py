"""The entry of circusd: load, lock, detach, connect, serve, leave."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from circus import __version__, hooks, serving, warden
from circus.config import load
from circus.config.model import CircusConfig
from circus.control import access, endpoints
from circus.control.claim import Claim, claim
from circus.daemon import arguments, detach, logs, notify
from circus.daemon.pidfile import Pidfile
from circus.engine.engine import Engine
from circus.errors import CircusError
from papa.errors import PapaError

log = logging.getLogger("circus")


def main(argv: list[str] | None = None) -> None:
    # Until circusd is up, what is made is kept: to look through it again and again is a tenth of a start.
    gc.disable()
    options = arguments.parse(sys.argv[1:] if argv is None else argv)
    # Taken out of the environment before anything copies it.
    manager = notify.Manager.of(os.environ)
    told = os.environ.pop(warden.VARIABLE, None)
    warden_fd = None if told is None else int(told)
    if warden_fd is not None:
        os.set_inheritable(warden_fd, False)
    if warden_fd is not None and options.daemon:
        print("warning: --daemon has no effect in a container, which lives as long as circusd", file=sys.stderr)
        options.daemon = False
    try:
        config = load.load(os.path.abspath(options.config), os.environ)
        for finding in config.warnings:
            print(f"warning: {finding}", file=sys.stderr)
        hooks.check(config.watchers)
        pidfile_path = options.pidfile or config.pidfile
        pidfile = Pidfile(pidfile_path) if pidfile_path else None
        logs.configure(
            options.log_level or config.loglevel,
            options.log_output or config.logoutput,
            options.logger_config or config.loggerconfig,
        )
    except CircusError as error:
        sys.exit(_explain(error))
    except OSError as error:
        sys.exit(f"circusd: {error}")
    if config.umask is not None:
        os.umask(config.umask)
    readiness = detach.Readiness(warden_fd, is_heard_to_the_end=True)
    if options.daemon:
        if logs.goes_to_terminal():
            print("warning: in the background the log goes nowhere; set logoutput or --log-output", file=sys.stderr)
        readiness = detach.detach()
        detach.close_terminal()
    try:
        _hold(config, pidfile, readiness, manager, is_contained=warden_fd is not None)
    except (CircusError, PapaError) as error:
        text = _explain(error)
        if options.daemon or not logs.goes_to_terminal():
            log.error("%s", text.replace("\n", " "))
        readiness.tell(text)
        sys.exit(1 if options.daemon else text)
    except Exception as error:
        log.exception("circusd failed")
        readiness.tell(f"circusd: {type(error).__name__}: {error}; its log has the traceback")
        sys.exit(1)


def _hold(
    config: CircusConfig,
    pidfile: Pidfile | None,
    readiness: detach.Readiness,
    manager: notify.Manager,
    *,
    is_contained: bool,
) -> None:
    """Run with the name claimed and the pid written; both are given back in the end."""
    mine = claim(endpoints.resolve(config.control or config.name), is_open=access.is_open(config))
    try:
        if pidfile:
            pidfile.write()  # a predecessor that was still leaving has removed its own by now
        try:
            asyncio.run(_run(config, mine, readiness, manager, is_contained=is_contained))
        finally:
            if pidfile:
                pidfile.remove()
    finally:
        mine.release()


def _explain(error: CircusError | PapaError) -> str:
    return f"circusd: {error}"


async def _run(
    config: CircusConfig, mine: Claim, readiness: detach.Readiness, manager: notify.Manager, *, is_contained: bool
) -> None:
    _set_title()
    log.info("circusd %s started pid=%d name=%s config=%s", __version__, os.getpid(), config.name, config.path)
    kernel = await serving.connect(config)
    _raise_descriptor_limit()
    circusd = serving.Serving(config, mine, kernel)
    engine = circusd.engine
    engine.is_outlived = not is_contained
    ends = _Ends(engine)
    ends.install()
    try:
        await circusd.start()
        ends.listen()
        readiness.tell()
        manager.ready(f"{config.name}: {len(config.watchers)} watchers, configured by {config.path}")
        log.info("Arbiter now waiting for commands")
        # What lives now lives long; the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.enable()
        await engine.may_leave.wait()
        ends.remove()
        manager.stopping("leaving")
        if engine.status is not None:
            readiness.tell_status(engine.status)
        log.info("circusd leaves")
    finally:
        await circusd.close()


class _Ends:
    """Signals of circusd: TERM, INT and QUIT mean quit (in a container that is shutdown), HUP means reload all.

    One that comes while circusd starts waits until it is up: what it has adopted by then is ended in good order. A
    second one ends it at once.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_up = False
        self._early: list[signal.Signals] = []
        self._tasks: set[asyncio.Task[None]] = set()
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
        log.info("got signal %s: %s", signum.name, "quit" if self._engine.is_outlived else "shutdown")
        self._begin(self._engine.quit())

    def _on_hup(self) -> None:
        if self._is_up:
            log.info("got signal SIGHUP: reload")
            self._begin(self._engine.reload_all())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


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
