"""Changes of the configuration on their way: decided one at a time, carried out side by side.

A change *holds* what it is about to change: watchers, by the names of their processes in the kernel, and sockets. One
that needs what an earlier one holds waits for that, in the order in which they came; all others go on at once, however
long the earlier one takes. What an order to the watcher has been given for is held no longer, unless the watcher is on
its way out or to options that may go back: then it is held to the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from circus.config import expand
from circus.config.amend import Edits
from circus.config.diff import ConfigPlan
from circus.config.model import CircusConfig
from circus.engine import tracking

if TYPE_CHECKING:
    from circus.engine.engine import Engine


def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Decided:
    """What leads to ``new``, which has ``edits`` in it.

    ``before`` is done when its turn has come; ``begun`` when nothing can be refused any more, and nothing of it was
    carried out."""

    new: CircusConfig
    plan: ConfigPlan
    edits: Edits
    keys: tuple[str, ...] = ()  # options that somebody has set
    nostop: bool = False
    before: Callable[[], None] = _nothing
    begun: Callable[[], None] = _nothing


class Change:
    def __init__(self, holds: Iterable[str], track: tracking.Track | None) -> None:
        self.holds = frozenset(holds)
        self.track = track
        self.removes: frozenset[str] = frozenset()
        self.work: asyncio.Task[None] | None = None  # when it is decided


class Changes:
    """``deciding`` is held while the configuration in force is read and replaced, and never for long."""

    def __init__(self, engine: Engine) -> None:
        self.deciding = asyncio.Lock()
        self._engine = engine
        self._queue: list[Change] = []  # in the order in which they came
        self._waiting: list[asyncio.Future[None]] = []

    async def begin(
        self,
        holds: Iterable[str],
        decide: Callable[[], Awaitable[Decided]],
        carry_out: Callable[..., Awaitable[asyncio.Task[None]]],
    ) -> asyncio.Task[None]:
        """Decide it as soon as nobody holds any of ``holds``, nor what it turns out to need, and let it go on.

        ``decide`` may be asked more than once, and changes nothing.

        Raises: what ``decide`` and ``carry_out`` raise: nothing was changed.
        """
        change = Change(holds, tracking.current())
        self._queue.append(change)
        try:
            while True:
                await self._turn_of(change)
                async with self.deciding:
                    decided = await decide()
                    change.holds = self._held_by(decided.plan)
                    if not self._before(change):
                        decided.before()
                        work = await carry_out(self._engine, decided, change)
                        change.work = work
                        change.removes = frozenset(self.key(name) for name in decided.plan.remove)
                        if change.track is not None:
                            change.track.watchers = dict.fromkeys(watchers_in(decided.plan))
                        decided.begun()
                        break
        except BaseException:
            self._leave(change)
            raise
        work.add_done_callback(lambda _: self._leave(change))
        return work

    def key(self, watcher: str) -> str:
        return self._engine.names.process(watcher, 1)

    def release(self, change: Change, watcher: str) -> None:
        """The order to it is given: later ones come behind."""
        change.holds -= {self.key(watcher)}
        self._tell()

    def removing(self, watcher: str) -> asyncio.Task[None] | None:
        """The change that is about to remove it."""
        key = self.key(watcher)
        return next((each.work for each in self._queue if key in each.removes), None)

    def _held_by(self, plan: ConfigPlan) -> frozenset[str]:
        """Watchers that are changed or use a changed socket, and those sockets."""
        engine, names = self._engine, set(watchers_in(plan))
        sockets = {*plan.sockets_add, *plan.sockets_remove, *plan.sockets_change}
        if sockets:
            known = engine.sockets.configs.values()
            users = ((name, expand.sockets_used(config, known)) for name, config in engine.configs.items())
            names |= {name for name, used in users if sockets.intersection(used)}
        return frozenset([*map(self.key, names), *(f"socket {name}" for name in sockets)])

    def _before(self, change: Change) -> list[Change]:
        """Earlier ones that hold what it needs."""
        earlier = self._queue[: self._queue.index(change)]
        return [each for each in earlier if each.holds & change.holds]

    async def _turn_of(self, change: Change) -> None:
        try:
            while earlier := self._before(change):
                if change.track is not None:
                    change.track.behind = tuple(each.track.id for each in earlier if each.track is not None)
                moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(moved)
                await moved
        finally:
            if change.track is not None:
                change.track.behind = ()

    def _leave(self, change: Change) -> None:
        self._queue.remove(change)
        self._tell()

    def _tell(self) -> None:
        for each in self._waiting:
            if not each.done():
                each.set_result(None)
        self._waiting.clear()


def watchers_in(plan: ConfigPlan) -> list[str]:
    """Those that it concerns."""
    return [*plan.remove, *(each.new.name for each in plan.change), *plan.add]
