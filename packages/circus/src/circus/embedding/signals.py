"""Signals of a program whose main thread an arbiter has: TERM, INT and QUIT end the arbiter, HUP reloads it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


class Signals:
    """Taken from the program until ``give_back``; the first one to end gives them back, so that a second one ends the
    program as ever."""

    def __init__(self, on_end: Callable[[], Any], on_reload: Callable[[], Any]) -> None:
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._before = {signum: signal.getsignal(signum) for signum in (*_ENDING, signal.SIGHUP)}
        for signum in _ENDING:
            self._loop.add_signal_handler(signum, self._end)
        self._loop.add_signal_handler(signal.SIGHUP, on_reload)

    def _end(self) -> None:
        self.give_back()
        self._on_end()

    def give_back(self) -> None:
        """Twice is once."""
        before, self._before = self._before, {}
        for signum, handler in before.items():
            self._loop.remove_signal_handler(signum)
            if handler is not None:
                signal.signal(signum, handler)
