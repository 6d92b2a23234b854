"""A house of twenty writers into five rotating files, whose circusd lives for moments.

Three files have one stream each; the other two are shared by processes of several watchers, with both of their streams.
The world is drained before its files are compared. ``DISK`` is a file system of their own, small enough to be filled.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import files_checker, house_checker
from tests.chaos.files_checker import Life
from tests.chaos.scenario import Step
from tests.house import House, wait_for

SCRIBE = Path(__file__).with_name("scribe.py")

#: Mean time between two bursts of a writer: twenty of them make about 400 KB a second. Each rotation renames all
#: backups, of which there are hundreds, so a run with more would be held up by that alone.
PAUSE_S = 0.15

#: No backup is ever rotated away.
BACKUPS = 100_000

#: Room for the logs of one run.
DISK_BYTES = 512 << 20

#: watcher -> (processes, writes in one life or 0 for no end, file of out, file of err)
CAST = {
    "sole1": (1, 0, "sole1", "one"),
    "sole2": (1, 0, "sole2", "two"),
    "brief": (1, 200, "sole3", "two"),
    "crew": (5, 0, "one", "one"),
    "mixed": (6, 0, "one", "two"),
    "guests": (4, 100, "two", "one"),
    "others": (2, 0, "two", "two"),
}
#: What circusd may not say where nobody else touches its files, and nothing is wrong with it.
UNTRUE = ("file_changed", "output_doubt", "output_dropped", "Traceback")

FILES = ("sole1", "sole2", "sole3", "one", "two")
MAX_BYTES = {"sole1": 200_000, "sole2": 70_000, "sole3": 30_000, "one": 100_000, "two": 60_000}


#: What may be asked for beside or instead of a rotation by size, and the options of each stream that ask for it.
VARIANTS = {
    "plain": (),
    "stamped": (f"time_format = {files_checker.TIME_FORMAT}",),
    "json": ("format = json",),
    "compressed": ("compress = true",),
    "timed": ("class = TimedRotatingFileStream", "rotate_when = S", "rotate_interval = 2"),
}


def section(watcher: str, logs: Path, truth: Path, variants: Sequence[str]) -> str:
    count, writes, *files = CAST[watcher]
    text = f"""
[watcher:{watcher}]
cmd = {sys.executable} -I -S {SCRIBE} {watcher}-$(circus.wid) {truth} {PAUSE_S} {writes}
numprocesses = {count}
copy_env = true
use_papa = true
graceful_timeout = 20
"""
    for stream, name in zip(("stdout", "stderr"), files, strict=True):
        options = [f"filename = {logs / name}.log", *(each for variant in variants for each in VARIANTS[variant])]
        if "timed" not in variants:
            options += ["class = FileStream", f"max_bytes = {MAX_BYTES[name]}", f"backup_count = {BACKUPS}"]
        text += "".join(f"{stream}_stream.{option}\n" for option in options)
    return text


class FilesWorld(House):
    def __init__(self, folder: Path, *, variants: Sequence[str], has_disk: bool) -> None:
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True)
        self._has_disk = has_disk
        self._variants = variants
        sections = "".join(section(watcher, self._logs, folder / "truth", variants) for watcher in CAST)
        super().__init__(folder, "[circus]\n" + sections)
        self.counts: Counter[str] = Counter()
        self._filler = self._logs / "filler"
        if has_disk:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "chaos", self._logs], check=True)

    def start(self, *options: str) -> None:
        super().start(*options)
        wait_for(lambda: len(list(self.truth.iterdir())) >= sum(each[0] for each in CAST.values()), "all writers")

    def carry_out(self, step: Step) -> None:
        time.sleep(step.pause_s)
        getattr(self, f"_{step.what}")(step.number)
        self.counts[step.what] += 1

    def _kill_manager(self, number: int) -> None:
        self.kill()
        self.launch()
        self.counts["kills"] += 1

    def _kill_kernel(self, number: int) -> None:
        self.kill_kernel()

    def _fill_disk(self, number: int) -> None:
        """All of it but some KB: the next batch fails in its midst."""
        with self._filler.open("ab") as file:
            while (room := self._room_bytes() - number) > 0:
                # Somebody may have taken some of it meanwhile.
                with contextlib.suppress(OSError):
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), room)

    def _room_bytes(self) -> int:
        room = os.statvfs(self._logs)
        return room.f_bavail * room.f_bsize

    def _free_disk(self, number: int) -> None:
        self._filler.unlink(missing_ok=True)

    def check_living(self) -> list[str]:
        self._free_disk(0)
        wait_for(self.is_up, "all watchers active at the end")
        self.asked("stop")
        wait_for(lambda: set(self.status().values()) == {"stopped"}, "all writers ended")
        if "compressed" in self._variants:
            wait_for(lambda: not self._uncompressed(), "all backups compressed, and nothing else left")
        return []

    def _uncompressed(self) -> list[str]:
        logs = {f"{name}.log" for name in FILES}
        return [each.name for each in self._logs.iterdir() if each.suffix != ".gz" and each.name not in logs]

    def check_end(self) -> list[str]:
        lives = files_checker.read_truth(self.truth)
        broken = []
        for name in FILES:
            here = [life for life in lives if self._file_of(life) == name]
            files = files_checker.read_files(self._logs / f"{name}.log")
            check = files_checker.check_sole if name.startswith("sole") else files_checker.check_shared
            bare, faults = files_checker.undress(files, self._variants)
            broken += [f"{name}.log: {fault}" for fault in [*faults, *check(bare, here)]]
            self.counts["KB checked"] += sum(len(file.data) for file in files) >> 10
            self.counts["files"] += len(files)
        self.counts["lives"] += len(lives) // 2
        said = (self.folder / "circusd.out").read_text(errors="replace").splitlines()
        broken += [f"circusd said {line}" for line in said if any(word in line for word in UNTRUE)]
        if self._has_disk:
            if broken:
                shutil.copytree(self._logs, self.folder / "kept")
            subprocess.run(["umount", self._logs], check=True)
        return broken + house_checker.check_nothing_left(self.folder)

    @staticmethod
    def _file_of(life: Life) -> str:
        return CAST[life.key.partition("-")[0]][2 if life.stream == "out" else 3]
