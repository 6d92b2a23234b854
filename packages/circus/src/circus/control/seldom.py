"""Lines of a log that somebody else causes, as often as he likes: told at most once in a while, with their number."""

from __future__ import annotations

import logging

from circus import clock

#: So many lines at once, and one more for each of so many seconds.
BURST = 5
PAUSE_S = 10.0


class Seldom:
    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._left = float(BURST)
        self._at = 0.0
        self._untold = 0

    def tell(self, line: str, *args: object) -> None:
        now = clock.monotonic()
        self._left = min(BURST, self._left + (now - self._at) / PAUSE_S)
        self._at = now
        if self._left < 1:
            self._untold += 1
            return
        self._left -= 1
        if self._untold:
            line, args = f"{line} (and %d more like it before)", (*args, self._untold)
            self._untold = 0
        self._log.warning(line, *args)
