"""What people were told of logging with papa, sentence by sentence."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from datetime import datetime
from functools import partial
from pathlib import Path

from papa.client.blocking import Connection
from papa.core.output import STEP
from papa.kernel.widening import LARGE_PIPE_BYTES
from tests.house import House, opened, wait_for

#: Writes numbered lines when told: the file `orders` has a line `BYTES STREAMS` for each SIGUSR1 that comes.
TALKER = """
import os, signal, sys, time
signals = {signal.SIGUSR1, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
number = told = 0
open("ready", "w").close()
while signal.sigwait(signals) == signal.SIGUSR1:
    size, streams = open("orders").read().splitlines()[told].split()
    while size := max(0, int(size)):
        stream = streams[number % len(streams)]
        line = f"{stream}{number:07d} {time.time():.6f} {'x' * 60}\\n".encode()
        written = 0
        while written < len(line):
            written += os.write(int(stream), line[written:])
        number, size = number + 1, size - len(line)
    told += 1
    with open("done.new", "w") as file:
        file.write(f"{told} {number}")
    os.rename("done.new", "done")
"""

LINE_BYTES = len("10000000 1700000000.123456 " + "x" * 60) + 1

STORED_BYTES = 2 * 1024 * 1024

#: A drop makes room for one more step of the kernel, whose index is small beside it.
LEAST_STORED_BYTES = STORED_BYTES - STEP - STEP // 4
#: It may pass its bound by one step; and what it had not read yet of each stream when circusd came back, as much as a
#: large pipe holds, is not part of what it stored.
MOST_STORED_BYTES = STORED_BYTES + STEP + 2 * LARGE_PIPE_BYTES

MARK = re.compile(rb"^\[papa: (\d+) bytes of output were dropped here\]\n", re.MULTILINE)


def config_of(stdout: str, stderr: str) -> str:
    """The page's logger: both streams into one file, with bounds of their own."""
    text = f"[watcher:logger]\ncmd = {sys.executable} -S talker.py\nsingleton = true\nuse_papa = true\n"
    for name, options in (("stdout", stdout), ("stderr", stderr)):
        text += f"{name}_stream.class = FileStream\n{name}_stream.filename = logger.log\n"
        text += "".join(f"{name}_stream.{each}\n" for each in options.split("; "))
    return text


PAGE = config_of("max_bytes = 10000000; backup_count = 10", "max_bytes = 1000000; backup_count = 10")


class Talker:
    def __init__(self, house: House) -> None:
        self.house = house
        self.orders = 0
        (house.folder / "talker.py").write_text(TALKER)

    def write(self, byte_count: int, streams: str = "12") -> int:
        """Let it write about so many bytes, from line to line into another one of the streams; all lines by now."""
        (pid,) = self.pids
        with (self.house.folder / "orders").open("a") as file:
            file.write(f"{byte_count} {streams}\n")
        self.orders += 1
        os.kill(pid, signal.SIGUSR1)
        done = self.house.folder / "done"
        wait_for(lambda: done.exists() and done.read_text().split()[0] == str(self.orders), "all written")
        return int(done.read_text().split()[1])

    def start(self) -> None:
        self.house.start()
        wait_for((self.house.folder / "ready").exists, "the program is ready")
        self.pids = self.house.pids("logger")


def log_of(house: House, line_count: int) -> bytes:
    """The log, oldest first, when the last lines of both streams are there."""
    last = [b"%07d " % (line_count - back) for back in (1, 2)]

    def read() -> bytes:
        paths = sorted(house.folder.glob("logger.log*"), reverse=True)
        return b"".join(path.read_bytes() for path in paths)

    def is_complete() -> bool:
        try:
            log = read()
        except FileNotFoundError:
            return False  # rotated while we looked
        return all(each in log for each in last)

    wait_for(is_complete, "the last lines")
    return read()


def numbers(log: bytes) -> list[list[int]]:
    """Of the lines of each stream, as they stand in the log. The two meet as the kernel read them, not as written."""
    return [
        [int(found) for found in re.findall(rb"^%d(\d{7}) [\d.]+ x{60}$" % stream, log, re.MULTILINE)]
        for stream in (1, 2)
    ]


def each_once(line_count: int) -> list[list[int]]:
    """What ``numbers`` finds in a log without losses, if all was written in turns."""
    return [list(range(0, line_count, 2)), list(range(1, line_count, 2))]


def held_bytes(house: House) -> int:
    state = house.kernel()
    assert state is not None
    return int(state["held_bytes"])


def test_what_is_written_while_circusd_is_away_is_stored_up_to_2_mib_and_delivered_once_in_order(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "house", PAGE) as house:
        talker = Talker(house)
        talker.start()
        talker.write(50_000)
        house.quit()
        talker.write(STORED_BYTES - 200_000)  # whole lines, and none of the two streams above its part
        talker.start()
        count = talker.write(50_000)
        assert numbers(log_of(house, count)) == each_once(count)
        # It is acknowledged: the kernel keeps nothing that circusd has written.
        wait_for(lambda: held_bytes(house) == 0, "all acknowledged")

        house.kill()
        talker.write(300_000)
        talker.start()
        count = talker.write(50_000)
        assert numbers(log_of(house, count)) == each_once(count)

        house.quit()
        talker.write(200_000)
        house.kill_kernel()
        talker.write(200_000)
        talker.start()
        house.kill_kernel()
        count = talker.write(50_000)
        log = log_of(house, count)
        assert numbers(log) == each_once(count)
        assert log.count(b"\n") == count
        wait_for(lambda: held_bytes(house) == 0, "all acknowledged")
        assert "dropped" not in house.ctl("status", "-v").stderr + house.log("circusd.out")


def test_of_more_than_that_the_oldest_is_dropped_and_said_in_the_log_in_circusds_log_and_in_the_status(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "house", PAGE) as house:
        talker = Talker(house)
        talker.start()
        first = talker.write(1_000, "1")
        log_of(house, first)
        house.quit()
        count = talker.write(5_000_000)
        talker.start()
        log = log_of(house, count)
        marks = [int(each) for each in MARK.findall(log)]
        assert marks, log[:400]
        # Byte for byte: what was dropped and what is there are all that was written.
        assert sum(marks) + len(MARK.sub(b"", log)) == count * LINE_BYTES
        stored = len(log) - first * LINE_BYTES - 200
        assert LEAST_STORED_BYTES < stored <= MOST_STORED_BYTES
        # What is there is the newest of each stream, in order.
        for stream, kept in enumerate(numbers(log)):
            newest = kept[first if stream == 0 else 0 :]
            assert newest == list(range(newest[0], count, 2))
        assert numbers(log)[0][:first] == list(range(first))
        said = re.findall(r"logger output_dropped .* stream=(?:out|err) bytes=(\d+)", house.log("circusd.out"))
        assert sorted(map(int, said)) == sorted(marks)
        warnings = house.ctl("status").stderr
        assert warnings.startswith(f"warning: logger: {sum(marks)} bytes of its output were dropped"), warnings
        wait_for(lambda: held_bytes(house) == 0, "all acknowledged")


def has_taken(house: House, line_count: int) -> bool:
    """Whether the kernel has read all of these."""
    with Connection(str(house.folder / "run/kernel-default/control.sock"), client="test", autostart=False) as kernel:
        (row,) = kernel.request("list", what="processes").ok["items"]
    return sum(stream["head"] for stream in row["streams"].values()) == line_count * LINE_BYTES


def test_each_line_bears_the_time_at_which_it_was_written_though_nobody_took_it_then(tmp_path: Path) -> None:
    stamped = "time_format = %Y-%m-%dT%H:%M:%S.%f"
    with opened(tmp_path / "house", config_of(stamped, stamped)) as house:
        talker = Talker(house)
        talker.start()
        count = talker.write(5_000)
        returns: dict[int, float] = {}
        for end in (house.kill, house.quit):
            end()
            before = talker.write(5_000)
            wait_for(partial(has_taken, house, before), "the kernel has them")
            if end == house.quit:
                house.kill_kernel()
            returns |= dict.fromkeys(range(count, before), time.time())
            talker.start()
            count = talker.write(5_000)
            assert count > before
        log = log_of(house, count).decode()
        lines = re.findall(r"^(\S+) \[(\d+)\] \| [12](\d{7}) ([\d.]+) x{60}$", log, re.MULTILINE)
        assert sorted(int(number) for _, _, number, _ in lines) == list(range(count))
        assert log.count("\n") == count
        assert {int(pid) for _, pid, _, _ in lines} == talker.pids
        stamps = {int(number): datetime.fromisoformat(stamp).timestamp() for stamp, _, number, _ in lines}
        assert min(stamps[int(number)] - float(at) for _, _, number, at in lines) > -0.1
        assert all(stamps[number] < returned_at for number, returned_at in returns.items())


def test_streams_of_one_file_share_the_larger_bounds_and_a_warning_says_so_once(tmp_path: Path) -> None:
    config = config_of("max_bytes = 100000; backup_count = 3", "max_bytes = 20000; backup_count = 2")
    with opened(tmp_path / "house", config) as house:
        talker = Talker(house)
        talker.start()
        count = talker.write(1_000_000)
        log = log_of(house, count)
        logs = [house.folder / name for name in ("logger.log.3", "logger.log.2", "logger.log.1", "logger.log")]
        assert sorted(house.folder.glob("logger.log*")) == sorted(logs)
        sizes = [path.stat().st_size for path in logs]
        assert all(100_000 - 2 * LINE_BYTES < size < 100_000 for size in sizes[:3]), sizes
        for kept in numbers(log):
            assert kept == list(range(kept[0], count, 2))
        warnings = [line for line in house.log("circusd.out").splitlines() if line.startswith("warning: ")]
        place, told = f"warning: {house.config}", f"counts for {os.path.realpath(house.folder)}/logger.log"
        assert [line.partition(" (")[0] for line in warnings] == [
            f"{place}:11: logger: stderr_stream.max_bytes is 20000, but 100000 {told}",
            f"{place}:12: logger: stderr_stream.backup_count is 2, but 3 {told}",
        ]
