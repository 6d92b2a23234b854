"""The way from the order to the end of the old program, and from the begin of the new one to its first answer.

Old: rehearsed, a quiet moment found (`control.upgrades`), doors paused, output committed, everything written down,
executed. New: what was left is taken, and once it serves the order has ended. Whatever fails on the way, one of the two
serves: an old one that cannot execute the new one starts again in its place, and a new one that does not come up
executes the old one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple, Self

from msgspec import structs

import circus
from circus import clock, procfs
from circus.control.claim import Claim, inherited
from circus.control.schema import UpgradeAnswer
from circus.control.succession import Rehearsed
from circus.errors import CircusError
from circus.serving import Serving
from circus.upgrade import carried, handover, program, trial
from circus.upgrade.handover import Handover

log = logging.getLogger("circus.upgrade")

#: They wait from the old program's last moment to the new one's first.
HELD_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


def keep_pending(signum: int, _frame: object = None) -> None:
    """For the successor: this thread, which executes it, blocks the signal."""
    signal.pthread_kill(threading.get_ident(), signum)


class Origin(NamedTuple):
    """What this process was started with, which the next program shall find: its environment, its umask, its limits of
    open files. ``own``: what of the environment is for circusd alone, and not for one that only tries. ``renew``
    prepares the warden for the next program, with a reason if it counts as a replacement, and says what stands in the
    environment for it."""

    environ: Mapping[str, str]
    own: frozenset[str]
    umask: int
    nofile: tuple[int, int]
    renew: Callable[[str], Mapping[str, str]]

    @classmethod
    def of(cls, as_started: Mapping[str, str], renew: Callable[[str], Mapping[str, str]]) -> Self:
        """Before anything was changed, but with what is for circusd alone taken out of the environment."""
        own = frozenset(as_started.keys() - os.environ.keys())
        return cls(as_started, own, procfs.own_umask(), resource.getrlimit(resource.RLIMIT_NOFILE), renew)

    def next(self, reason: str = "") -> dict[str, str]:
        """The environment of the next program."""
        environ = {**self.environ, **self.renew(reason)}
        environ.pop(handover.VARIABLE, None)  # that of our own predecessor
        return environ


class Succession:
    """Of one process. ``left``: what a predecessor has left to this program."""

    def __init__(self, origin: Origin, left: Handover | None) -> None:
        self.left = left
        self._origin = origin
        self._circusd: Serving | None = None
        self._mine: Claim | None = None
        self._program = program.present()
        self._operation = ""  # of the order that is being obeyed

    # The new program ----------------------------------------------------------------------------------------

    def claim(self) -> Claim | None:
        """What was left is taken up."""
        return None if self.left is None else inherited(self.left.control, self.left.claim)

    @property
    def started_at(self) -> float | None:
        return None if self.left is None else self.left.started_at

    def attach(self, circusd: Serving, mine: Claim) -> None:
        """Before it is started: it gets what was left to it, and can be replaced."""
        self._circusd, self._mine, self._operation = circusd, mine, ""
        circusd.ops.upgrades.succession = self
        if self.left is not None:
            carried.take(circusd, self.left.sections, self.left.operation)

    def release_signals(self) -> None:
        """They can be obeyed."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)

    def settle(self) -> None:
        """It serves: the order has ended."""
        left, self.left = self.left, None
        if left is None:
            return
        assert self._circusd is not None
        blind_s = clock.monotonic() - left.began
        if left.error:
            log.error("not upgraded: %s; clients waited %.2f s", left.error, blind_s)
            hint = "what ran before serves again; the log has all of it"
            self._circusd.ops.register.settle(left.operation, CircusError("failed", left.error, hint))
            return
        log.info("upgraded from %s to %s, clients waited %.2f s", left.release, circus.__version__, blind_s)
        present = program.present()
        answer = UpgradeAnswer(
            version=left.release,
            to_version=circus.__version__,
            python=present.argv[0],
            path=os.path.dirname(circus.__file__),
            waited=True,
            blind_s=blind_s,
            operation=left.operation,
        )
        self._circusd.ops.register.settle(left.operation, answer)

    def go_back(self, error: BaseException) -> None:
        """This program cannot come up: the one before it is executed, if it was another. Returns if it cannot be."""
        left = self.left
        if left is None or left.error or not left.former or left.former == program.present().argv:
            return
        why = f"{type(error).__name__}: {error}" if not isinstance(error, CircusError) else error.message
        log.error("version %s cannot come up: back to %s (%s)", circus.__version__, left.former[0], why)
        back = f"version {circus.__version__} did not come up: {why}"
        self._execute(left.former, structs.replace(left, error=back, former=[]))

    # The old one --------------------------------------------------------------------------------------------

    async def rehearse(self, to: str) -> Rehearsed:
        assert self._circusd is not None
        assert self._mine is not None
        self._program = program.find(to)
        environ = {key: text for key, text in self._origin.environ.items() if key not in self._origin.own}
        return await trial.rehearse(self._circusd, self._program, environ, self._mine.path)

    async def succeed(self, operation: str) -> None:
        assert self._circusd is not None
        may_leave = self._circusd.engine.may_leave
        if may_leave.is_set() or self._circusd.engine.status is not None:
            raise CircusError("conflict", "circusd leaves already", "start the new one when it has gone")
        self._operation = operation
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
        for signum in HELD_SIGNALS:  # other threads do not block them
            signal.signal(signum, keep_pending)
        may_leave.set()
        await asyncio.get_running_loop().create_future()

    @property
    def is_due(self) -> bool:
        """circusd leaves its place to another program, and does not end."""
        return bool(self._operation)

    async def hand_over(self) -> None:
        """Execute it. Returns when that failed: ``left`` has it for the next circusd in this program."""
        circusd, mine = self._circusd, self._mine
        assert circusd is not None
        assert mine is not None
        began, sections = clock.monotonic(), {}
        log.info("gives its place to %s", self._program)
        try:
            left = await circusd.hand_over()
            began, sections = left.began, carried.pack(circusd, left)
        except Exception:
            log.exception("not all was handed over: the next one begins as after a crash")
        self.left = Handover(
            release=circus.__version__,
            operation=self._operation,
            began=began,
            started_at=circusd.engine.started_at,
            control=mine.path,
            claim=mine.descriptors(),
            former=program.present().argv,
            sections=sections,
        )
        error = self._execute(self._program.argv, self.left)
        self.left.error = f"{self._program} cannot be executed: {error.strerror or error}"

    def begin_anew(self, reason: str) -> None:
        """As after a crash: the same program from its beginning, with nothing in its hands. Raises: OSError."""
        argv = program.present().argv
        os.execve(argv[0], argv, self._origin.next(reason))  # noqa: S606 - itself

    def _execute(self, argv: list[str], left: Handover) -> OSError:
        """Only if it fails it returns."""
        origin, umask = self._origin, os.umask(self._origin.umask)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, origin.nofile)
            handover.execute(argv, left, origin.next())
        except OSError as error:
            log.error("%s cannot be executed: %s", argv[0], error.strerror or error)
            os.umask(umask)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            return error
        raise AssertionError("a program that was executed has returned")
