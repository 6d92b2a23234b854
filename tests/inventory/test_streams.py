"""Where output goes: each option of a stream, seen in the files."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.house import BIN, opened, wait_for

TALK = "/bin/sh -c 'for n in 1 2 3 4 5 6 7 8 9; do echo $n--------; echo $n======== >&2; done; exec sleep 1000'"

BOUNDS = "{0}.filename = {0}.log\n{0}.max_bytes = 60\n{0}.backup_count = 2\n{0}.time_format = (%Y)\n"


def test_a_stream_is_written_as_its_options_say(tmp_path: Path) -> None:
    config = f"[watcher:talk]\ncmd = {TALK}\nenv.PATH = /bin\n"
    config += BOUNDS.format("stdout_stream") + BOUNDS.format("stderr_stream")
    with opened(tmp_path / "house", config) as house:
        house.start()
        for stream, sign in (("stdout_stream", "-"), ("stderr_stream", "=")):
            wait_for(lambda: "9" in re.sub(r"\(.*\| ", "", house.log(f"{stream}.log")), f"all of {stream}")  # noqa: B023
            kept = sorted(path.name for path in house.folder.glob(f"{stream}.log*"))
            assert kept == [f"{stream}.log", f"{stream}.log.1", f"{stream}.log.2"]
            lines = [line for name in kept for line in house.log(name).splitlines()]
            assert all(re.fullmatch(rf"\(\d{{4}}\) \[\d+\] \| \d{sign}{{8}}", line) for line in lines)
            assert all(len(house.log(name)) <= 60 for name in kept)


TICK = "/bin/sh -c 'while :; do echo $(date +%s)-; echo $(date +%s)- >&2; sleep 0.2; done'"

BY_TIME = """{0}.class = TimedRotatingFileStream
{0}.filename = {0}.log
{0}.rotate_when = s
{0}.rotate_interval = 2
{0}.utc = true
"""


def test_a_file_is_rotated_by_time(tmp_path: Path) -> None:
    """Where the time zone is a day away from UTC, and at every other second."""
    config = f"[watcher:tick]\ncmd = {TICK}\nenv.PATH = /bin:/usr/bin\n"
    config += BY_TIME.format("stdout_stream") + BY_TIME.format("stderr_stream")
    with opened(tmp_path / "house", config, TZ="EAST-14") as house:
        house.start()
        for stream in ("stdout_stream", "stderr_stream"):
            wait_for(lambda: len(list(house.folder.glob(f"{stream}.log.*"))) > 2, f"backups of {stream}")  # noqa: B023
            first, second = sorted(path.name for path in house.folder.glob(f"{stream}.log.*"))[1:3]
            start, end = (
                datetime.strptime(name.rpartition(".")[2], "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
                for name in (first, second)
            )
            assert (start % 2, end - start) == (0, 2)
            # The line is a moment older than its time of writing.
            assert all(start - 1 <= int(line[:-1]) < end for line in house.log(first).splitlines())


def test_rotated_files_are_compressed(tmp_path: Path) -> None:
    config = f"[watcher:talk]\ncmd = {TALK}\nenv.PATH = /bin\n"
    for stream in ("stdout_stream", "stderr_stream"):
        config += f"{stream}.filename = {stream}.log\n{stream}.max_bytes = 30\n{stream}.backup_count = 9\n"
        config += f"{stream}.compress = true\n"
    with opened(tmp_path / "house", config) as house:
        house.start()
        for stream, sign in (("stdout_stream", "-"), ("stderr_stream", "=")):
            wait_for(lambda: f"9{sign * 8}" in house.log(f"{stream}.log"), f"all of {stream}")  # noqa: B023
            names = [f"{stream}.log.{number}.gz" for number in (4, 3, 2, 1)]
            wait_for(
                lambda: sorted(path.name for path in house.folder.glob(f"{stream}.log.*")) == sorted(names),  # noqa: B023
                f"{stream} compressed",
            )
            text = b"".join(gzip.decompress((house.folder / name).read_bytes()) for name in names).decode()
            text += house.log(f"{stream}.log")
            assert text.splitlines() == [f"{number}{sign * 8}" for number in range(1, 10)]


def test_lines_are_objects(tmp_path: Path) -> None:
    config = f"[watcher:talk]\ncmd = {TALK}\nenv.PATH = /bin\nstdout_stream.filename = out.log\n"
    config += "stdout_stream.format = json\nstderr_stream.class = StdoutStream\nstderr_stream.format = json\n"
    with opened(tmp_path / "house", config) as house:
        house.start()
        (pid,) = house.pids("talk")
        for file, stream, sign in (("out.log", "stdout", "-"), ("circusd.out", "stderr", "=")):
            wait_for(lambda: f"9{sign * 8}" in house.log(file), f"all of {stream}")  # noqa: B023
            found = [json.loads(line) for line in house.log(file).splitlines() if line.startswith("{")]
            assert [each["line"] for each in found] == [f"{number}{sign * 8}" for number in range(1, 10)]
            whose = {(each["watcher"], each["wid"], each["pid"], each["stream"]) for each in found}
            assert whose == {("talk", 1, pid, stream)}
            assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", each["time"]) for each in found)


def test_a_class_is_obeyed(tmp_path: Path) -> None:
    config = f"[watcher:talk]\ncmd = {TALK}\nenv.PATH = /bin\n"
    config += "stdout_stream.class = StdoutStream\nstdout_stream.filename = never\n"
    config += "stderr_stream.class = StdoutStream\nstderr_stream.filename = never\n"
    with opened(tmp_path / "house", config) as house:
        house.start()
        wait_for(lambda: all(f"9{sign * 8}" in house.log("circusd.out") for sign in "-="), "both of them")
        assert not (house.folder / "never").exists()


KEPT = "{0}.class = StdoutStream\n{0}.buffer = {1}k\n{0}.overflow = drop-oldest\n{0}.stall = {1}\n"


def kept(size: int) -> dict[str, object]:
    return {"bound": size << 10, "overflow": "drop-oldest", "stall_s": float(size)}


def test_papa_keeps_as_much_of_a_stream_as_it_says(tmp_path: Path) -> None:
    """From the start of the process, and by an order while it runs."""
    config = "[watcher:talk]\ncmd = sleep 1000\nenv.PATH = /bin\n"
    config += KEPT.format("stdout_stream", 80) + KEPT.format("stderr_stream", 96)
    with opened(tmp_path / "house", config) as house:

        def bounds() -> Any:
            (row,) = house.rows().values()
            return row["bounds"]

        house.start()
        assert bounds() == {"out": kept(80), "err": kept(96)}
        (pid,) = house.pids("talk")
        house.asked("set", "talk", "stdout_stream.buffer", "320k", "stdout_stream.overflow", "block")
        wait_for(
            lambda: bounds() == {"out": {**kept(80), "bound": 320 << 10, "overflow": "block"}, "err": kept(96)}, "it"
        )
        house.asked("set", "talk", "stdout_stream.stall", "forever")
        wait_for(lambda: bounds()["out"]["overflow"] == "hold", "the last one")
        assert house.pids("talk") == {pid}


def test_fancy_lines_have_their_colour(tmp_path: Path) -> None:
    config = f"[watcher:talk]\ncmd = {TALK}\nenv.PATH = /bin\n"
    config += "stdout_stream.class = FancyStdoutStream\nstdout_stream.color = green\n"
    config += "stderr_stream.class = FancyStdoutStream\nstderr_stream.color = white\n"
    with opened(tmp_path / "house", config) as house:
        house.start()
        for color, sign in ((2, "-"), (7, "=")):
            line = rf"^\033\[0;3{color};40m\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d \[\d+\] \| 9{sign}{{8}}\033\[0m$"
            wait_for(lambda: re.search(line, house.log("circusd.out"), re.MULTILINE), f"colour {color}")  # noqa: B023


def test_lines_are_sent_as_the_options_say(tmp_path: Path) -> None:
    config = f"[watcher:talk]\ncmd = {TALK}\nenv.PATH = /bin\n"
    for stream, level in (("stdout_stream", "notice"), ("stderr_stream", "crit")):
        config += f"{stream}.class = SyslogStream\n{stream}.address = {tmp_path}/{stream}\n"
        config += f"{stream}.facility = local3\n{stream}.level = {level}\n{stream}.tag = my-{stream}\n"
    with contextlib.ExitStack() as stack:
        receivers = {}
        for stream in ("stdout_stream", "stderr_stream"):
            receivers[stream] = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            receivers[stream].bind(f"{tmp_path}/{stream}")
            receivers[stream].settimeout(30)
        house = stack.enter_context(opened(tmp_path / "house", config))
        house.start()
        for stream, number in (("stdout_stream", 19 * 8 + 5), ("stderr_stream", 19 * 8 + 2)):
            line = receivers[stream].recv(9999).decode()
            assert re.match(rf"<{number}>\w{{3}} [ \d]\d \d\d:\d\d:\d\d my-{stream}\[\d+\]: ", line), line


CLASS_OF_ONES_OWN = """
import json

class Keeper:
    def __init__(self, **keys):
        self._keys = keys

    def open(self):
        self._file = open(self._keys["where"], "a", buffering=1)

    def __call__(self, data):
        for line in data["data"].decode().splitlines():
            row = [self._keys["mood"], line, data["pid"], data["name"], data["timestamp"]]
            self._file.write(json.dumps(row) + "\\n")
"""


def test_a_class_of_ones_own_is_called(tmp_path: Path) -> None:
    (tmp_path / "keeping.py").write_text(CLASS_OF_ONES_OWN)
    kept = tmp_path / "kept"
    config = f"[watcher:talk]\ncmd = {TALK}\nnumprocesses = 2\nenv.PATH = /bin\nenv.PYTHONPATH = {tmp_path}\n"
    for stream in ("stdout_stream", "stderr_stream"):
        config += f"{stream}.class = keeping.Keeper\n{stream}.where = {kept}\n{stream}.mood = good\n"
    with opened(tmp_path / "house", config) as house:
        began = time.time()
        house.start()
        wait_for(
            lambda: kept.exists() and len(kept.read_text().splitlines()) == 36, "all lines of both, from both outputs"
        )
        rows = [json.loads(line) for line in kept.read_text().splitlines()]
        for pid in house.pids("talk"):
            for name, sign in (("stdout", "-"), ("stderr", "=")):
                lines = [row[1] for row in rows if row[2:4] == [pid, name]]
                assert lines == [f"{number}{sign * 8}" for number in range(1, 10)]
        assert {row[0] for row in rows} == {"good"}
        assert all(began - 1 < row[4] < time.time() + 1 for row in rows)
    missing = config.replace("keeping.Keeper", "keeping.Kept")
    with opened(tmp_path / "other", missing) as house:
        done = house.run(BIN / "circusctl", "config", "check", house.config)
    assert done.returncode == 1
    assert f"talk: stdout_stream.class = keeping.Kept cannot be found: {tmp_path}/keeping.py has no Kept" in done.stdout
