"""logrotate itself at the files of a circusd: by a new file, and by copying and cutting; nothing is lost."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

from tests.house import House, opened, wait_for

#: A line for each tick of a file that the test makes longer.
TALK = """
import sys, time
said, path = 0, sys.argv[1]
while True:
    wanted = len(open(path).read())
    while said < wanted:
        print(f"line {said}", flush=True)
        said += 1
    time.sleep(0.01)
"""

CONFIG = """
[watcher:watched]
cmd = python3 talk.py watched.ticks
copy_env = true
use_papa = true
stdout_stream.class = WatchedFileStream
stdout_stream.filename = watched.log

[watcher:copied]
cmd = python3 talk.py copied.ticks
copy_env = true
use_papa = true
stdout_stream.filename = copied.log
stdout_stream.time_format = %H:%M:%S
"""

ROTATION = """
{0}/watched.log {{
    su root root
    rotate 9
    create 0640
    compress
    delaycompress
}}
{0}/copied.log {{
    su root root
    rotate 9
    copytruncate
}}
"""


def tick(house: House, count: int) -> None:
    for name in ("watched", "copied"):
        with (house.folder / f"{name}.ticks").open("a") as file:
            file.write("x" * count)


def wait_for_lines(house: House, last: int) -> None:
    for name in ("watched", "copied"):
        wait_for(lambda: f"line {last}\n" in house.log(f"{name}.log"), f"line {last} of {name}")  # noqa: B023


def rotate(house: House) -> None:
    rules = house.folder / "logrotate.conf"
    rules.write_text(ROTATION.format(house.folder))
    rules.chmod(0o644)
    subprocess.run(["logrotate", "-f", "-s", house.folder / "logrotate.state", rules], check=True, timeout=30)


def whole(house: House, name: str) -> list[str]:
    """The lines of all files, the oldest first."""
    texts = [house.log(f"{name}.log")]
    for number in range(1, 9):
        plain, packed = (house.folder / f"{name}.log.{number}{form}" for form in ("", ".gz"))
        if plain.exists():
            texts.append(plain.read_text())
        elif packed.exists():
            texts.append(gzip.decompress(packed.read_bytes()).decode())
    return re.findall(r"line (\d+)\n", "".join(reversed(texts)))


def test_logrotate_moves_copies_and_cuts_and_every_line_is_there_once(tmp_path: Path) -> None:
    with opened(tmp_path / "house", CONFIG) as house:
        (house.folder / "talk.py").write_text(TALK)
        tick(house, 5)
        house.start()
        wait_for_lines(house, 4)
        for turn in range(1, 4):
            rotate(house)
            tick(house, 5)
            wait_for_lines(house, 5 * turn + 4)
        # While nobody of us is there.
        house.quit()
        rotate(house)
        tick(house, 5)
        house.start()
        wait_for_lines(house, 24)
        for name in ("watched", "copied"):
            assert whole(house, name) == [str(number) for number in range(25)]
            assert b"\0" not in (house.folder / f"{name}.log").read_bytes()
        assert (house.folder / "watched.log").stat().st_mode & 0o777 == 0o640
        said = house.log("circusd.out")
        assert len(re.findall(r"file_changed path=\S+/watched\.log .*what=replaced", said)) == 4
        assert len(re.findall(r"file_changed path=\S+/copied\.log .*what=truncated", said)) == 4
        assert len(re.findall(r"file_changed .*was_away=True", said)) == 2
        assert "output_doubt" not in said
