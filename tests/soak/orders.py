"""What is ordered of the house, one after the other, and proven each time: the new processes are others, and as many as
were wanted. A seed chooses.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Callable

from tests.house import BIN, wait_for
from tests.soak.world import EDITED, QUIET, RESTARTED, START_S, World

#: Step -> how often, relative to the others. What replaces processes is most of it.
STEADY = {
    "restart": 60,
    "reload": 10,
    "reload_hard": 5,
    "kill_worker": 8,
    "count": 8,
    "stop_and_start": 4,
    "reloadconfig": 3,
    "set_option": 3,
    "add_and_remove": 2,
}
#: What happens to the daemons themselves from time to time, one after the other.
ROUGH = ("kill_kernel", "upgrade_manager", "kill_manager", "upgrade_kernel")

MOST_PROCESSES = 4
#: A house with so many faults is not soaked any longer: each further order would be one more.
MOST_FAULTS = 20


class Orders:
    """``counts``: steps done; ``restarts``: processes that were replaced; ``faults``: what was not as ordered."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.dice = random.Random(seed)
        self.wanted = dict(RESTARTED)
        self.counts: Counter[str] = Counter()
        self.restarts = 0
        self.faults: list[str] = []

    def step(self) -> None:
        self.carry_out(self.dice.choices(list(STEADY), list(STEADY.values()))[0])

    def carry_out(self, what: str) -> None:
        """The step of this name; what goes wrong is a fault."""
        try:
            getattr(self, f"_{what}")()
        except Exception as error:
            self.faults.append(f"{what}: {type(error).__name__}: {error}")
        self.counts[what] += 1

    @property
    def is_hopeless(self) -> bool:
        return len(self.faults) >= MOST_FAULTS

    def reset_counts(self) -> None:
        for watcher, count in RESTARTED.items():
            self.world.client.post(f"/v1/watchers/{watcher}/count", {"count": count})
            self.wanted[watcher] = count

    def check_counts(self) -> list[str]:
        """No drift: as many processes as all the orders together want."""
        return [
            f"{watcher}: {running} processes, {count} are wanted"
            for watcher, count in self.wanted.items()
            if (running := self.world.running(watcher)) != count
        ]

    def _replace(self, order: Callable[[str], object]) -> None:
        watcher = self.dice.choice(list(self.wanted))
        before = self.world.pids_of(watcher)
        order(watcher)
        count = self.wanted[watcher]

        def are_new() -> bool:
            return len(self.world.pids_of(watcher)) == count

        wait_for(are_new, f"{count} processes of {watcher}", START_S)
        if kept := before & self.world.pids_of(watcher):
            self.faults.append(f"{watcher}: {sorted(kept)} were to be replaced")
        self.restarts += count

    def _restart(self) -> None:
        self._replace(lambda watcher: self.world.client.post(f"/v1/watchers/{watcher}/restart", {}))

    def _reload(self) -> None:
        self._replace(lambda watcher: self.world.client.post(f"/v1/watchers/{watcher}/reload", {}))

    def _reload_hard(self) -> None:
        self._replace(lambda watcher: self.world.client.post(f"/v1/watchers/{watcher}/reload", {"graceful": False}))

    def _stop_and_start(self) -> None:
        def order(watcher: str) -> None:
            self.world.client.post(f"/v1/watchers/{watcher}/stop", {})
            if self.world.running(watcher):
                self.faults.append(f"{watcher} was stopped, and runs")
            self.world.client.post(f"/v1/watchers/{watcher}/start", {})

        self._replace(order)

    def _kill_worker(self) -> None:
        watcher = self.dice.choice(list(self.wanted))
        victim = self.dice.choice(sorted(self.world.pids_of(watcher)))
        os.kill(victim, signal.SIGKILL)
        count = self.wanted[watcher]

        def is_replaced() -> bool:
            pids = self.world.pids_of(watcher)
            return victim not in pids and len(pids) == count

        wait_for(is_replaced, f"a successor of {watcher} {victim}", START_S)
        self.restarts += 1

    def _count(self) -> None:
        watcher = self.dice.choice(list(self.wanted))
        count = self.wanted[watcher] + self.dice.choice((-1, 1))
        count = min(max(count, 1), MOST_PROCESSES)
        self.world.client.post(f"/v1/watchers/{watcher}/count", {"delta": count - self.wanted[watcher]})
        self.wanted[watcher] = count
        wait_for(lambda: self.world.running(watcher) == count, f"{count} processes of {watcher}", START_S)

    def _reloadconfig(self) -> None:
        before = self.world.pids_of(EDITED)
        self.world.edit()
        self.world.client.post("/v1/reloadconfig", {})
        wait_for(lambda: (now := self.world.pids_of(EDITED)) and not now & before, "what was edited", START_S)
        self.restarts += 1

    def _set_option(self) -> None:
        options = {"graceful_timeout": self.dice.randrange(5, 50)}
        self.world.client.post(f"/v1/watchers/{self.dice.choice(QUIET)}/set", {"options": options})

    def _add_and_remove(self) -> None:
        self.world.client.post("/v1/watchers/extra/add", {"cmd": "sleep 1000", "start": True})
        wait_for(lambda: self.world.running("extra") == 1, "the watcher that was added", START_S)
        self.world.client.post("/v1/watchers/extra/remove", {})

    def _kill_manager(self) -> None:
        self.world.kill_manager()

    def _kill_kernel(self) -> None:
        self.world.kill_kernel()

    def _upgrade_manager(self) -> None:
        self.world.asked("upgrade")

    def _upgrade_kernel(self) -> None:
        done = self.world.run(BIN / "papa", "upgrade")
        if done.returncode:
            self.faults.append(f"papa upgrade: {done.stderr}")
