"""A house of both daemons and all kinds of writers; hands of three modules hurt it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import daemons, house_cast, house_checker, orders, weather
from tests.chaos.scenario import Step
from tests.house import ANSWER_S, House, wait_for

HANDS = {**daemons.HANDS, **orders.HANDS, **weather.HANDS}

#: Room for the logs of one run, where root gives them a file system of their own.
DISK_BYTES = 512 << 20


#: Of an inode, a pid, a backup: what differs between two descriptors of a kind.
DIGITS = re.compile(r"\d+")


#: How many processes there shall be, in the beginning, of those that orders and edits change.
WANTED = {"crew": 2, "guest": 2, "extra": 0, "held": 1}


@dataclass(slots=True)
class File:
    """What stands in the configuration, of what is edited."""

    guests: int = 2
    word: str = "w0"
    has_extra: bool = False


class HouseWorld(House):
    def __init__(self, folder: Path) -> None:
        self.file = File()
        super().__init__(folder, "", TICKER_INTERVAL_S="0.01")
        self.write_config()
        self.logs = folder / "logs"
        self.logs.mkdir()
        (folder / "holding.py").write_text(house_cast.HOLDING)
        self.environ |= weather.make_clock(folder)
        self.clock_s = 0
        self.clients: list[socket.socket] = []
        #: pids that somebody was ordered to end: those may be gone at the end, the others may not.
        self.ended: set[int] = set()
        self.wanted = dict(WANTED)
        self.counts: Counter[str] = Counter()
        self.has_disk = os.geteuid() == 0
        self._before: dict[str, set[int]] = {}
        self._fds: Counter[str] = Counter()
        if self.has_disk:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "chaos", self.logs], check=True)

    def write_config(self) -> None:
        file = self.file
        self.config.write_text(house_cast.config(guests=file.guests, word=file.word, has_extra=file.has_extra))

    # What there is ------------------------------------------------------------------------------------------

    def start(self, *options: str) -> None:
        super().start(*options)
        if not self._before:
            wait_for(lambda: len(self.pids("flood")) == 1, "the writers")
            self._before = {watcher: self.pids(watcher) for watcher in house_cast.QUIET}
            self._fds = self._descriptors()

    def is_up(self) -> bool:
        """What comes and goes of its own may just be starting."""
        states = self.status()
        return bool(states) and all(
            state in ("active", "stopped") or watcher == "brief" for watcher, state in states.items()
        )

    def manager_pid(self) -> int:
        assert self.manager is not None
        return self.manager.pid

    def kernel_pid(self) -> int:
        kernel = self.kernel()
        assert kernel is not None, "papa does not answer"
        return int(kernel["pid"])

    def _descriptors(self) -> Counter[str]:
        """Of both daemons, by what they are."""
        found: Counter[str] = Counter()
        for name, pid in (("circusd", self.manager_pid()), ("papa", self.kernel_pid())):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    what = os.readlink(f"/proc/{pid}/fd/{fd}").removeprefix(str(self.folder))
                    found[f"{name} {DIGITS.sub('N', what)}"] += 1
        return found

    # What is done -------------------------------------------------------------------------------------------

    def carry_out(self, step: Step) -> None:
        time.sleep(step.pause_s)
        if step.what == "fill_disk" and not self.has_disk:
            self.counts["fill_disk left out: only root can mount a file system"] += 1
            return
        HANDS[step.what](self, step.number)
        self.counts[step.what] += 1

    def end_one(self, number: int) -> None:
        watcher = house_cast.VICTIMS[number % len(house_cast.VICTIMS)]
        before = self.pids(watcher)
        victim = sorted(before)[number % len(before)]
        self.ended.add(victim)
        os.kill(victim, signal.SIGKILL)

    # The verdict --------------------------------------------------------------------------------------------

    def check_living(self) -> list[str]:
        for client in self.clients:
            client.close()
        wait_for(self.is_up, "all watchers active at the end", ANSWER_S)
        wanted = self.wanted | {watcher: len(pids) for watcher, pids in self._before.items()}

        def counts() -> dict[str, int]:
            states = self.status()
            return {watcher: len(self.pids(watcher)) if watcher in states else 0 for watcher in wanted}

        try:
            wait_for(lambda: counts() == wanted, "what is wanted", ANSWER_S)
        except AssertionError:
            return [f"wanted {wanted}, there is {counts()}"]
        broken = house_checker.check_living(
            {watcher: self.pids(watcher) for watcher in house_cast.QUIET}, self._before, self.ended
        )
        ends = house_checker.ended(self.truth)
        broken += house_checker.check_exits(ends, self._exits())
        return broken + self._check_fds()

    def _exits(self) -> dict[str, Counter[int]]:
        """watcher -> pid -> how often circusd tells its end."""
        return {
            watcher: house_checker.pids_of(self.asked("exits", "-n", str(house_checker.EXITS), "--json", watcher))
            for watcher in self.status()
        }

    def _check_fds(self) -> list[str]:
        """As many as in the beginning, when as many processes run: whoever has left leaves nothing open."""
        self.file = File()
        self.write_config()
        self.asked("reloadconfig")
        self.asked("numprocesses", "crew", str(WANTED["crew"]))

        def more() -> Counter[str]:
            return self._descriptors() - self._fds

        try:
            wait_for(lambda: more().total() <= house_checker.MORE_FDS, "no more descriptors than in the beginning")
        except AssertionError:
            return [f"descriptors that there were not in the beginning: {dict(more())}"]
        return []

    def check_end(self) -> list[str]:
        names = [*house_cast.QUIET, *house_cast.RESTLESS, "guest", "extra"]
        broken = house_checker.check_output(self.truth, [self.logs / f"{name}.log" for name in names])
        try:
            wait_for(lambda: not house_checker.check_nothing_left(self.folder), "everything gone")
        except AssertionError:
            broken += house_checker.check_nothing_left(self.folder)
        broken += house_checker.check_files_left(self.folder / "run")
        if self.has_disk:
            if broken:
                subprocess.run(["cp", "-r", self.logs, self.folder / "kept"], check=False)
            subprocess.run(["umount", self.logs], check=True)
        return broken
