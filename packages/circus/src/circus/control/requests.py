"""What was asked of circusd since it started: how often, how it ended, how long it took. Counts only.

Operations are those of the catalog and results those of the table of errors, so that there is no end of neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect

from circus import clock
from circus.engine.tallies import Histogram
from circus.errors import CircusError

#: In seconds: queries are in the first ones, orders that wait for processes in the last ones.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

OK = "ok"
LEFT = "left"  # the client went, or circusd did


class Requests:
    def __init__(self) -> None:
        self.results: dict[tuple[str, str], int] = {}  # by operation and result
        self.durations: dict[str, Histogram] = {}

    @contextmanager
    def counted(self, operation: str) -> Iterator[None]:
        """Of a stream it is the time to its beginning."""
        began, result = clock.monotonic(), "internal"
        try:
            yield
            result = OK
        except CircusError as error:
            result = error.code
            raise
        except (asyncio.CancelledError, ClientDisconnect):
            result = LEFT
            raise
        finally:
            key = operation, result
            self.results[key] = self.results.get(key, 0) + 1
            self.duration_of(operation).note(clock.monotonic() - began)

    def duration_of(self, operation: str) -> Histogram:
        if (duration := self.durations.get(operation)) is None:
            duration = self.durations[operation] = Histogram(BOUNDS)
        return duration
