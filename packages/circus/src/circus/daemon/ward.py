"""circusd as the ward of its warden: what it is told when it is started, and what it says while it lives.

One without a warden is a ward, too, of nobody: nothing is said then, but that it has executed itself anew is known by
the same variables of its environment. Those are taken out of it before anything copies it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from circus import warden

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger("circus")

NOBODY = "-1 0 -1 0 "


class Ward:
    """``replaced``: how often circusd was replaced, ``reason``: why last. ``kept``: what the one before has left.

    ``pid`` is the warden's, 0 where there is none, 1 in a container.
    """

    def __init__(self, told: str = NOBODY, kept: str = "") -> None:
        fd, pid, starter, replaced, self.reason = told.split(" ", 4)
        self._fd = int(fd)
        self.pid = int(pid)
        self.starter = None if int(starter) < 0 else int(starter)
        self.replaced = int(replaced)
        self.kept: dict[str, Any] = _read(kept)
        for each in (self._fd, int(starter)):
            if each >= 0:
                os.set_inheritable(each, False)
        if self._fd >= 0:
            os.set_blocking(self._fd, False)  # a warden that is stopped holds nobody up

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> Ward:
        return cls(environ.pop(warden.VARIABLE, NOBODY), environ.pop(warden.KEPT, ""))

    @property
    def is_contained(self) -> bool:
        """In a container nothing outlives circusd."""
        return self.pid == 1

    @property
    def has_warden(self) -> bool:
        return self._fd >= 0 and os.getppid() == self.pid

    def up(self) -> None:
        self._say("up")

    def beat(self, patience_s: float) -> None:
        """circusd lives; the next word comes within ``patience_s``."""
        self._say(f"beat {time.monotonic()} {patience_s}")

    def end_with(self, status: int) -> None:
        """The container shall end with that."""
        self._say(f"status {status}")

    def leaving(self) -> None:
        """What follows is circusd's end, and shall be the warden's."""
        self._say("leaving")

    def keep(self, **what: object) -> None:
        """For the next circusd, beside what was kept before."""
        self.kept |= what
        self._say(f"keep {json.dumps(self.kept)}")

    def dismiss(self) -> None:
        """No warden is wanted; it ends."""
        self._say("alone")
        self._forget()

    def renew(self, reason: str = "") -> dict[str, str]:
        """Before circusd executes itself: what the environment of the next one needs.

        The warden holds back signals and waits for it as for any start. A ``reason`` counts as a replacement.
        """
        self._say(f"renew {reason}".rstrip())
        if self._fd >= 0:
            os.set_inheritable(self._fd, True)
        count = self.replaced + bool(reason)
        told = f"{self._fd} {self.pid} -1 {count} {reason or self.reason}"
        return {warden.VARIABLE: told, warden.KEPT: json.dumps(self.kept)}

    def on_loss(self, loop: asyncio.AbstractEventLoop, tell: Callable[[], None]) -> None:
        """Call it when the warden is gone: the other end of a pipe is closed then, which wakes who listens."""
        if self._fd < 0:
            return

        def lost() -> None:
            loop.remove_reader(self._fd)
            self._forget()
            tell()

        loop.add_reader(self._fd, lost)

    def ignore_loss(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._fd >= 0:
            loop.remove_reader(self._fd)

    def _say(self, line: str) -> None:
        if self._fd < 0:
            return
        try:
            os.write(self._fd, line.encode(errors="replace")[: warden.MAX_LINE - 1] + b"\n")
        except OSError:
            pass  # it is gone, or has not listened for long

    def _forget(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd, self.pid = -1, 0


def _read(kept: str) -> dict[str, Any]:
    try:
        found = json.loads(kept or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
