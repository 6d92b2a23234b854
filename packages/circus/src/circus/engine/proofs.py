"""With which options a watcher runs well: found out once after they came, and remembered (`annals`).

A watcher runs well when one of its processes, started with the options of now, is ready and has been there for
``GOOD_S``; a job, when a run has ended with status 0. It is looked at once that time after a process has come, and
never while nothing comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from circus import clock
from circus.config.causes import Source
from circus.config.model import CircusConfig, WatcherConfig
from circus.config.sheets import Sheet, sheet_of
from circus.engine.annals import Good
from circus.supervise.states import SlotKey, SlotState

if TYPE_CHECKING:
    from circus.engine.engine import Engine
    from circus.engine.hosted import Hosted

#: Most programs that cannot run have ended, and most that run serve.
GOOD_S = 10.0


class Proofs:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._unproven: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def look_later(self, watcher: str) -> None:
        """A process of it has come, or got ready."""
        self._unproven.add(watcher)
        self._arm(GOOD_S)

    def on_end(self, hosted: Hosted) -> None:
        config = self._engine.configs.get(hosted.slot.watcher)
        if config is None or hosted.digest != config.digest or hosted.exit_status != 0:
            return
        if config.type == "oneshot" or config.schedule is not None:
            self._engine.begin(self._note([config.name]))

    def close(self) -> None:
        self._unproven.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def source(self) -> Source:
        """Where the options of now are written."""
        return _source(self._engine, self._engine.config)

    def _arm(self, delay_s: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._look)

    def _look(self) -> None:
        self._timer = None
        left = {name: self._left_s(name) for name in self._unproven}
        self._unproven = {name for name, seconds in left.items() if seconds is not None and seconds > 0}
        if good := [name for name, seconds in left.items() if seconds is not None and seconds <= 0]:
            self._engine.begin(self._note(good))
        if self._unproven:
            self._arm(min(seconds for seconds in left.values() if seconds is not None and seconds > 0))

    def _left_s(self, name: str) -> float | None:
        """Until it is known to run well; None where nothing is there that could."""
        engine, now = self._engine, clock.monotonic()
        config, watcher = engine.configs.get(name), engine.fleet.watchers.get(name)
        if config is None or watcher is None:
            return None
        ages = [
            now - slot.up_since
            for slot in watcher.slots.values()
            if slot.state is SlotState.RUNNING and slot.is_ready and self._is_of_now(slot.key, slot.incarnation, config)
        ]
        return max(GOOD_S, config.warmup_delay_s) - max(ages) if ages else None

    def _is_of_now(self, slot: SlotKey, incarnation: int, config: WatcherConfig) -> bool:
        hosted = self._engine.lives.hosted.in_slot(slot, incarnation)
        return hosted is not None and hosted.digest == config.digest

    async def _note(self, names: Iterable[str]) -> None:
        engine = self._engine
        configs = [config for name in names if (config := engine.configs.get(name)) is not None]
        whole, found_at = engine.config, clock.wall()

        def sheets() -> list[Sheet]:
            source = _source(engine, whole)
            return [sheet_of(each, source, engine.annals.digest) for each in configs]

        for each, sheet in zip(configs, await asyncio.to_thread(sheets), strict=True):
            known = engine.annals.good(each.name)
            if known is None or known.options != sheet:
                engine.annals.note_good(each.name, Good(found_at, sheet))


def _source(engine: Engine, config: CircusConfig) -> Source:
    return Source(config.document, engine.edits, engine.environ)
