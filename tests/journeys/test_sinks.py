"""Disks that fail under a real circusd: each holds its own logs only, and heals byte for byte."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from circus import procfs
from tests.house import ROOT, House, opened, ticker, wait_for

sys.path.insert(0, str(ROOT / "examples"))
import tally

pytestmark = [
    pytest.mark.needs("mount", "umount", "mkfs.ext4", "fsfreeze", "setpriv"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system"),
]

#: A frozen disk thaws after this by itself, whatever becomes of the test.
THAW_S = 45

FAILURE_S = 20.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with (tmp_path / "image").open("wb") as image:
        image.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", tmp_path / "image"], check=True, timeout=60)
    subprocess.run(["mount", "-o", "loop", tmp_path / "image", folder], check=True, timeout=60)
    yield folder
    wait_for(lambda: subprocess.run(["umount", folder], stderr=subprocess.DEVNULL).returncode == 0, "the end of it")


def check_lines(house: House, log: Path) -> None:
    """Every line of its watcher stands there once."""
    watcher = log.name.removesuffix(".log")
    house.asked("stop", watcher)

    def found() -> dict[str, tally.Tally]:
        tallies = tally.compare(house.truth, [log])
        return {f"{name} {pid}": each for (name, pid), each in tallies.items() if name.startswith(f"{watcher}-")}

    wait_for(lambda: not any(each.lost for each in found().values()), f"the last lines of {watcher}{house.said()}")
    assert found()
    for key, each in found().items():
        assert (each.lost, each.doubled, each.disordered) == (0, 0, 0), (key, each)


def size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def wait_for_growth(log: Path) -> None:
    before = size(log)
    wait_for(lambda: size(log) > before, f"lines in {log}")


def fails(house: House, log: Path, reason: str) -> bool:
    return f"{log} cannot be written: {reason}" in house.ctl("status", "-v").stderr


def wait_for_failure(house: House, log: Path, reason: str) -> None:
    wait_for(lambda: fails(house, log, reason), f"{log}: {reason}", FAILURE_S)


def test_a_full_disk_a_directory_that_is_gone_and_one_without_permission(tmp_path: Path, disk: Path) -> None:
    places = {name: disk / name for name in ("full", "gone", "closed")}
    for place in places.values():
        place.mkdir()
    logs = {name: place / f"{name}.log" for name, place in places.items()}
    sound = tmp_path / "house" / "sound.log"
    config = "".join(ticker(name, log=str(log)) for name, log in logs.items()) + ticker("sound")
    with opened(tmp_path / "house", config) as house:
        # Root, but bound by permissions as everybody else.
        house.runner = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
        house.start()
        for log in logs.values():
            wait_for_growth(log)
        places["gone"].rename(disk / "elsewhere")
        places["closed"].chmod(0)
        wait_for_failure(house, logs["gone"], "No such file or directory")
        wait_for_failure(house, logs["closed"], "Permission denied")
        with (disk / "filler").open("wb", buffering=0) as filler:
            for piece in (1 << 16, 1 << 10, 1):
                try:
                    while filler.write(bytes(piece)):
                        pass
                except OSError:
                    continue
        wait_for_failure(house, logs["full"], "No space left on device")
        wait_for_growth(sound)
        (disk / "filler").unlink()
        (disk / "elsewhere").rename(places["gone"])
        places["closed"].chmod(0o755)
        for log in (*logs.values(), sound):
            check_lines(house, log)
        wait_for(lambda: house.said().count("sink_recovered") == 3, "the end of all failures")


class Frozen:
    """A disk that does not answer; `thaw` ends that, and so does a process of its own, after THAW_S."""

    def __init__(self, disk: Path) -> None:
        self._disk = disk
        self._timer = subprocess.Popen(["sh", "-c", f"sleep {THAW_S}; fsfreeze -u '{disk}'"], start_new_session=True)
        subprocess.run(["fsfreeze", "-f", disk], check=True, timeout=20)

    def thaw(self) -> None:
        os.killpg(self._timer.pid, signal.SIGKILL)
        self._timer.wait()
        subprocess.run(["fsfreeze", "-u", self._disk], stderr=subprocess.DEVNULL, timeout=20)


@pytest.mark.parametrize("end", ["kill", "quit"])
def test_a_disk_that_hangs_over_the_end_of_circusd(tmp_path: Path, disk: Path, end: str) -> None:
    hung, other = disk / "hung.log", disk / "other.log"
    sound = tmp_path / "house" / "sound.log"
    rotated = "use_papa = true\nstdout_stream.max_bytes = 100000\nstdout_stream.backup_count = 3\n"
    config = ticker("hung", log=str(hung)) + ticker("other", log=str(other), extra=rotated) + ticker("sound")
    with opened(tmp_path / "house", config) as house:
        house.start()
        for log in (hung, other, sound):
            wait_for_growth(log)
        frozen = Frozen(disk)
        try:
            wait_for_failure(house, hung, "has not answered for 5 s")
            wait_for_failure(house, other, "has not answered for 5 s")
            wait_for_growth(sound)
            house.asked("restart", "hung")
            manager, house.manager = house.manager, None
            assert manager is not None
            if end == "kill":
                manager.kill()
            else:
                house.asked("quit")
            wait_for(lambda: procfs.has_ended(manager.pid), "the end of circusd", FAILURE_S)
            assert manager.poll() is None, "a thread of it is in the disk"
            assert house.ctl("status").returncode == 1
            house.start()
            wait_for_growth(sound)
            wait_for_failure(house, hung, f"has not answered since circusd {manager.pid}, which is dead")
        finally:
            frozen.thaw()
        manager.wait(20)
        for log in (hung, other, sound):
            check_lines(house, log)


#: Waits until it may, writes numbered lines, and says when it has.
WRITER = """
import os, sys, time
while not os.path.exists("go"): time.sleep(0.01)
for number in range(20000): os.write(1, b"%019d\\n" % number)
open("done." + sys.argv[1], "w").close()
time.sleep(1000)
"""

WRITTEN = 20000 * 20


def writer(name: str, options: str) -> str:
    return f"""
[watcher:{name}]
cmd = {sys.executable} -S writer.py {name}
use_papa = true
stdout_stream.filename = {name}.log
stdout_stream.buffer = 64k
{options}
"""


def test_what_is_lost_without_circusd_is_said_to_the_byte_and_what_may_not_be_lost_waits(tmp_path: Path) -> None:
    """Marks in the file, the kernel's count and circusd's are one number; a restart of circusd does not forget it."""
    losing = "stdout_stream.overflow = drop-oldest\n"
    config = writer("loses", losing) + writer("waits", "stdout_stream.stall = forever\n")
    with opened(tmp_path / "house", config) as house:
        (house.folder / "writer.py").write_text(WRITER)
        house.start()
        house.kill()
        (house.folder / "go").touch()
        wait_for(lambda: (house.folder / "done.loses").exists(), "all that is written")

        def held() -> dict[str, dict[str, int]]:
            return {name.split(".")[1]: row["streams"]["out"] for name, row in house.rows().items()}

        wait_for(lambda: held()["waits"]["head"] >= 64 << 10, "a full buffer")
        assert not (house.folder / "done.waits").exists()
        house.start()
        wait_for(lambda: all(house.log(f"{name}.log").endswith("19999\n") for name in ("loses", "waits")), "the rest")
        assert house.log("waits.log") == "".join(f"{number:019d}\n" for number in range(20000))
        marks = re.findall(
            r"^\[papa: (\d+) bytes of output were dropped here\]\n", house.log("loses.log"), re.MULTILINE
        )
        present = sum(len(line) for line in house.log("loses.log").splitlines(keepends=True) if line[0] != "[")
        assert sum(map(int, marks)) == held()["loses"]["dropped"] == WRITTEN - present > 0
        for _ in range(2):
            counters = json.loads(house.asked("status", "--json"))["output"]
            assert counters["loses"]["stdout"]["dropped"] == WRITTEN - present
            assert counters["waits"]["stdout"]["dropped"] == 0
            house.kill()
            house.start()
        assert f"  stdout: {WRITTEN - present} bytes were lost" in house.asked("status", "-v").splitlines()
