"""How far each stream's sink is behind what papa has of it, for many streams at once.

The idea: where they stand is noted in the loop, and what papa has is looked up in a thread; the files stay open
meanwhile. For status, which asks about a stream in passing, see the module ``held``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from circus import clock
from circus.streams.tap import Source, Tap
from papa.errors import PapaError


@dataclass(frozen=True, slots=True)
class Position:
    """Of one stream of one process; ``stream`` is out or err."""

    watcher: str
    stream: str
    tap: Tap
    written: int
    committed: int
    is_failing: bool


@dataclass(slots=True)
class Lag:
    """Of one stream of a watcher, over all its processes."""

    held_bytes: int = 0  # that papa keeps
    unwritten_bytes: int = 0  # of which the sink has nothing
    seconds: float = 0.0  # since when the oldest of these has been there
    is_failing: bool = False


@dataclass(slots=True)
class Positions:
    """``let_go`` has to follow, in the loop."""

    of: list[Position] = field(default_factory=list)

    def let_go(self) -> None:
        for each in self.of:
            each.tap.release()
        self.of = []


def positions(sources: Iterable[Source], is_failing: Callable[[Source], bool]) -> Positions:
    found = Positions()
    for source in sources:
        if not source.is_finished:
            source.tap.acquire()
            stream = source.key.stream
            found.of.append(
                Position(source.watcher, stream, source.tap, source.written, source.committed, is_failing(source))
            )
    return found


def measure(of: Sequence[Position]) -> dict[tuple[str, str], Lag]:
    """By watcher and stream. Blocking: called in a worker thread."""
    now_ns, found = clock.boot_ns(), dict[tuple[str, str], Lag]()
    for each in of:
        lag = found.setdefault((each.watcher, each.stream), Lag())
        lag.is_failing = lag.is_failing or each.is_failing
        try:
            _add(lag, each, now_ns)
        except (OSError, PapaError):
            continue  # the kernel is about to forget it
    return found


def _add(lag: Lag, at: Position, now_ns: int) -> None:
    files, stream = at.tap.files, at.stream
    head = files.head(stream)
    if head <= at.committed:
        return
    low = files.low(stream)
    lag.held_bytes += max(0, head - max(at.committed, low))
    start = max(at.written, low)
    if head > start:
        lag.unwritten_bytes += head - start
        if stamps := at.tap.stamps(stream, start, start + 1):
            lag.seconds = max(lag.seconds, (now_ns - stamps[0][2]) / 1e9)
