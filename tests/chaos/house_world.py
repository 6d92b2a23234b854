"""A house with writers, and hands to hurt it with."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

from tests.chaos import house_checker
from tests.chaos.scenario import Step
from tests.house import BIN, House, ticker, wait_for

COUNT = 3
ROTATION = "stdout_stream.max_bytes = 30000\nstdout_stream.backup_count = 1000\n"
STAMPS = "stdout_stream.time_format = %Y-%m-%d %H:%M:%S\n"
KEPT = "use_papa = true\n"

#: One file without rotation, one with, one with times; several processes share each.
SECTIONS = {
    "plain": ticker("plain", count=COUNT, extra=KEPT),
    "turning": ticker("turning", count=COUNT, extra=KEPT + ROTATION),
    "stamped": ticker("stamped", count=COUNT, extra=KEPT + STAMPS + ROTATION),
}
WATCHERS = tuple(SECTIONS)
CONFIG = "[circus]\nloglevel = info\n" + "".join(SECTIONS.values())


class HouseWorld(House):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, CONFIG, TICKER_INTERVAL_S="0.002")
        #: pids that somebody was ordered to end: those may be gone at the end, the others may not.
        self.ended: set[int] = set()
        self.counts: Counter[str] = Counter()
        self._before: dict[str, set[int]] = {}

    def start(self, *options: str) -> None:
        super().start(*options)
        if not self._before:
            self._before = {watcher: self.pids(watcher) for watcher in WATCHERS}

    def check_living(self) -> list[str]:
        wait_for(self.is_up, "all watchers active at the end")
        return house_checker.check_living(
            {watcher: self.pids(watcher) for watcher in WATCHERS}, self._before, self.ended
        )

    def check_end(self) -> list[str]:
        broken = house_checker.check_output(self.truth, [self.folder / f"{watcher}.log" for watcher in WATCHERS])
        try:
            wait_for(lambda: not house_checker.check_nothing_left(self.folder), "everything gone")
        except AssertionError:
            broken += house_checker.check_nothing_left(self.folder)
        return broken

    def carry_out(self, step: Step) -> None:
        time.sleep(step.pause_s)
        getattr(self, f"_{step.what}")(step.number)
        self.counts[step.what] += 1

    def _kill_manager(self, number: int) -> None:
        self.kill()
        time.sleep(number % 5 / 10)
        self.start()

    def _quit_manager(self, number: int) -> None:
        self.quit()
        time.sleep(number % 5 / 10)
        self.start()

    def _kill_kernel(self, number: int) -> None:
        self.kill_kernel()
        self.counts["kills"] += 1

    def _kill_writer(self, number: int) -> None:
        watcher = WATCHERS[number % len(WATCHERS)]
        before = self.pids(watcher)
        victim = sorted(before)[number % len(before)]
        self.ended.add(victim)
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: len(self.pids(watcher) - {victim}) == COUNT, f"a successor of {victim}")

    def _stop_manager_for_a_while(self, number: int) -> None:
        assert self.manager is not None
        self.manager.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        self.manager.send_signal(signal.SIGCONT)

    def _restart_watcher(self, number: int) -> None:
        watcher = WATCHERS[number % len(WATCHERS)]
        self.ended |= self.pids(watcher)
        self.asked("restart", watcher)

    def _upgrade_kernel(self, number: int) -> None:
        done = self.run(BIN / "papa", "upgrade")
        assert done.returncode == 0, done.stderr
        wait_for(self.kernel, "the kernel after its upgrade")
        self.counts["upgrades"] += 1
