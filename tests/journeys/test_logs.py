"""Who wrote what and when, as `circusctl logs` says it, while circusd comes, goes and is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.house import BIN, House, opened, ticker, wait_for

KEPT = "use_papa = true\n"
ROTATED = "stdout_stream.max_bytes = 4000\nstdout_stream.backup_count = 200\nstdout_stream.compress = true\n"
STAMPED = "stdout_stream.time_format = %Y-%m-%d %H:%M:%S\n"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    config = (
        ticker("web", count=3, log="shared.log", extra=KEPT + ROTATED)
        + ticker("db", log="shared.log", extra=KEPT + ROTATED)
        + ticker("stamped", count=2, extra=KEPT + STAMPED)
        + ticker("objects", count=2, extra=KEPT + "stdout_stream.format = json\n")
    )
    with opened(tmp_path / "house", config) as house:
        yield house


def rows_of(house: House, *words: str) -> list[dict[str, Any]]:
    done = house.ctl("logs", "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(rows: list[dict[str, Any]], *, is_followed: bool = False) -> None:
    """Each line says of itself who wrote it: `NAME-WID PID NUMBER`, one number after the other. One that was followed
    may have been shown before the index knew of it."""
    numbers: dict[tuple[str, int], int] = {}
    for row in rows:
        name, pid, number = row["line"].split()
        if row["watcher"] is not None or not is_followed:
            assert (name, int(pid)) == (f"{row['watcher']}-{row['wid']}", row["pid"]), row
            assert row["stream"] == "stdout"
            assert row["time"] is not None
        before = numbers.get((name, int(pid)), 0)
        assert int(number) == before + 1, row
        numbers[name, int(pid)] = int(number)


def test_processes_in_one_file_are_told_apart_whatever_becomes_of_circusd(house: House) -> None:
    dice = random.Random(7)
    house.start()
    for _ in range(6):
        time.sleep(dice.uniform(0, 0.3))  # a moment of the writers' time at which it is killed
        house.kill()
        house.start()
    house.kill()
    written = len(rows_of(house, "*", "-n", "all"))
    assert written
    house.start()
    wait_for(lambda: len(rows_of(house, "*", "-n", "all")) > written + 50, "what was written meanwhile")
    wait_for(lambda: len(list(house.folder.glob("shared.log.*.gz"))) > 2, "three compressed backups")
    house.kill_kernel()
    house.quit()  # what comes now waits in papa; the files stand still
    rows = rows_of(house, "*", "-n", "all")
    check(rows)
    assert {row["watcher"] for row in rows} == {"web", "db", "stamped", "objects"}
    only = rows_of(house, "WEB", "--instance", "2", "-n", "all")
    assert [row["line"] for row in only] == [row["line"] for row in rows if (row["watcher"], row["wid"]) == ("web", 2)]
    middle = rows[len(rows) // 2]
    assert rows_of(house, "*", "--cursor", middle["cursor"]) == rows[len(rows) // 2 + 1 :]
    late = rows_of(house, "*", "--since", middle["time"])
    assert [row["line"] for row in late] == [row["line"] for row in rows if row["time"] >= middle["time"]]
    check_index_is_complete(house)


def check_index_is_complete(house: House) -> None:
    """Nothing stands in a file of which nobody knows who wrote it; what is looked for is found by it."""
    assert rows_of(house, "web", "--grep", "^web-3 [0-9]+ 1$")[0]["wid"] == 3
    assert not [row for row in rows_of(house, "*", "-n", "all") if row["watcher"] is None]


def test_a_follower_sees_each_line_once_over_rotation_restart_and_new_processes(house: House) -> None:
    house.start()
    wait_for(lambda: house.ctl("logs", "web").stdout, "a log to follow")
    out = house.folder / "followed"
    with out.open("wb") as file:
        follower = subprocess.Popen(
            [BIN / "circusctl", "logs", "-f", "--json", "-n", "all", "web"], env=house.environ, stdout=file
        )
    try:
        before = house.pids("web")
        time.sleep(0.2)  # of the writers
        house.kill()
        house.start()
        house.asked("restart", "web")
        after = house.pids("web")
        assert after.isdisjoint(before)

        def seen() -> set[int]:
            whole = out.read_bytes().rpartition(b"\n")[0]
            return {json.loads(line)["pid"] for line in whole.splitlines()}

        wait_for(lambda: seen() >= before | after, "lines of the old and the new processes")
        house.asked("stop", "web")
        count = len(rows_of(house, "web", "-n", "all"))
        wait_for(lambda: out.read_bytes().count(b"\n") >= count, "the last lines")
    finally:
        follower.send_signal(signal.SIGINT)
        follower.wait(20)
    rows = [json.loads(line) for line in out.read_bytes().splitlines()]
    check(rows, is_followed=True)
    assert len(rows) == count


def test_around_an_exit_are_the_last_words_of_a_process(tmp_path: Path) -> None:
    program = tmp_path / "program.sh"
    program.write_text("echo begin $$\necho the last word of $$ >&2\nexec sleep 1000\n")
    config = f"""
[watcher:frail]
cmd = /bin/sh {program}
stdout_stream.class = FileStream
stdout_stream.filename = out.log
stderr_stream.class = FileStream
stderr_stream.filename = err.log
"""
    with opened(tmp_path / "house", config) as house:
        house.start()
        (pid,) = house.pids("frail")
        wait_for(lambda: f"the last word of {pid}" in house.log("err.log"), "its last word")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: house.pids("frail") - {pid}, "the next one")
        shown = wait_for(lambda: house.ctl("logs", "frail", "--around-exit", "1").stdout, "its end")
        assert shown.startswith(f"begin {pid}\nthe last word of {pid}\n")
        rows = rows_of(house, "frail", "--stream", "stderr", "--around-exit", "1", "-n", "all")
        assert (rows[0]["pid"], rows[0]["line"]) == (pid, f"the last word of {pid}")


def test_what_goes_into_no_file_is_kept_for_logs(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "mine.py").write_text("def make():\n    return lambda call: None\n")
    config = f"""
[watcher:plain]
cmd = /bin/sh -c 'echo out; echo err >&2; exec sleep 1000'
numprocesses = 2
[watcher:called]
cmd = /bin/sh -c 'echo to nowhere; exec sleep 1000'
stdout_stream.class = mine.make
[watcher:device]
cmd = /bin/sh -c 'echo also nowhere; exec sleep 1000'
stdout_stream.class = FileStream
stdout_stream.filename = /dev/null
{ticker("fancy")}
"""
    config = config.replace(
        "stdout_stream.class = FileStream\nstdout_stream.filename = fancy.log",
        "stdout_stream.class = FancyStdoutStream",
    )
    with opened(tmp_path / "house", config) as house:
        house.start()
        wait_for(lambda: len(house.ctl("logs", "plain", "-n", "all").stdout.splitlines()) == 4, "their lines")
        rows = rows_of(house, "plain", "-n", "all")
        assert sorted((row["line"], row["stream"], row["wid"]) for row in rows) == [
            ("err", "stderr", 1),
            ("err", "stderr", 2),
            ("out", "stdout", 1),
            ("out", "stdout", 2),
        ]
        assert {row["pid"] for row in rows} == house.pids("plain")
        wait_for(lambda: house.ctl("logs", "called").stdout == "to nowhere\n", "what the class was called with")
        wait_for(lambda: house.ctl("logs", "device").stdout == "also nowhere\n", "what /dev/null got")
        wait_for(lambda: len(rows_of(house, "fancy", "-n", "all")) > 20, "lines without colours")
        house.kill()
        check(rows_of(house, "fancy", "-n", "all"))
