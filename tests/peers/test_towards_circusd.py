"""Our circusctl and our clients towards a circusd of 0.19, which has no control socket."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import machine

from tests import peers
from tests.house import ANSWER_S, BIN, wait_for

pytestmark = pytest.mark.needs(str(peers.PYTHON))

CONFIG = """
[circus]
# Its tick refuses what is ordered at the same time.
check_delay = 600
endpoint = ipc://{folder}/orders
pubsub_endpoint = ipc://{folder}/events

[watcher:web]
cmd = sleep 1000
numprocesses = 2

[watcher:db]
cmd = sleep 1000

[socket:front]
host = 127.0.0.1
port = 0
"""

#: Command line, exit status, and the whole of what is printed (of both streams) as a regular expression. In this order.
TABLE = [
    ("status", 0, r"db: active\nweb: active\n"),
    ("status db", 0, r"active\n"),
    ("status -v db", 0, r"active\n"),
    ("status nobody", 3, r"error: program nobody not found\n"),
    ("list", 0, r"db,web\n"),
    ("list web", 0, r"\d+,\d+\n"),
    ("numwatchers", 0, r"2\n"),
    ("numprocesses", 0, r"3\n"),
    ("numprocesses web", 0, r"2\n"),
    ("numprocesses web 3", 0, r"3\n"),
    ("decr web", 0, r"2\n"),
    ("incr db 2", 0, r"3\n"),
    ("get db cmd max_retry", 0, r"cmd: sleep 1000\nmax_retry: 5\n"),
    ("get db nothing", 3, r"error: db: 'nothing' option not found\n  hint: .*\n"),
    ("options db", 0, r"(?s).*\bcmd: sleep 1000\n.*"),
    ("globaloptions check_delay", 0, r"check_delay: 600\.0\n"),
    ("dstats", 0, r"Main Process:\n   \d+  \S+ .*\npapa:\n   not told by this circusd\n"),
    ("stats", 0, r"(?s).*db:\n(\d+: \d+  sleep .*\n)+.*"),
    ("stats db", 0, r"db:\n(\d+: \d+  sleep .*\n)+"),
    ("listsockets", 0, r"\d+:socket 'front' at 127\.0\.0\.1:\d+\n"),
    ("set db graceful_timeout 5 max_retry 3", 0, r"ok\n"),
    ("get db graceful_timeout", 0, r"graceful_timeout: 5(\.0)?\n"),
    ("set db zz 3", 3, r"error: unknown key 'zz'\n"),
    ("signal db HUP", 0, r"ok\n"),
    ("stop d*", 0, r"ok\n"),
    ("status db", 0, r"stopped\n"),
    ("start db", 0, r"ok\n"),
    ("restart db", 0, r"ok\n"),
    ("reload d* w*", 0, r"ok\n"),
    ("reload nobody*", 3, r"error: no watcher matches .*\n  hint: .*\n"),
    ("add --start --option numprocesses=2 --option copy_env=true more sleep 1000", 0, r"ok\n"),
    ("list more", 0, r"\d+,\d+\n"),
    ("rm more", 0, r"ok\n"),
    ("rm more", 3, r"error: program more not found\n"),
    ("reloadconfig", 0, r"ok\n"),
    ("runs db", 2, r"error: runs cannot be asked by ZMQ.*\n  hint: .*\n"),
    ("logs db", 2, r"error: .*\n  hint: .*\n"),
    ("incr db --no-wait", 0, r"ok\n"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "circus.ini").write_text(CONFIG.format(folder=tmp_path))
    with (tmp_path / "out").open("wb") as out:
        program = [peers.PYTHON, peers.BIN / "circusd", tmp_path / "circus.ini"]
        circusd = subprocess.Popen(program, env=peers.environ(), cwd=tmp_path, stdout=out, stderr=out)
    try:
        wait_for(lambda: circusctl(tmp_path, "status").stdout.count("active") == 2, "circusd 0.19", timeout_s=ANSWER_S)
        yield tmp_path
    finally:
        circusctl(tmp_path, "--timeout", "2", "quit")  # it may go without a word
        try:
            circusd.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            circusd.kill()
            circusd.wait()
        machine.end(str(tmp_path))


def circusctl(folder: Path, *words: str) -> Any:
    environ = {**os.environ, "PAPA_RUNTIME_DIR": str(folder / "run")}
    program = [BIN / "circusctl", "--endpoint", f"ipc://{folder}/orders", "--timeout", str(ANSWER_S), *words]
    return subprocess.run(program, env=environ, capture_output=True, text=True, timeout=2 * ANSWER_S)


def test_circusctl_speaks_as_a_circusd_of_old_understands(folder: Path) -> None:
    wrong = []
    for command, status, expected in TABLE:
        done = circusctl(folder, *command.split())
        said = done.stdout + done.stderr
        if done.returncode != status or not re.fullmatch(expected, said):
            wrong.append((command, done.returncode, said))
    assert wrong == [], wrong
