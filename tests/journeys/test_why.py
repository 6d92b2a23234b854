"""`circusctl why`, asked at a real circusd: orders, ends, cores, missing memory, what has changed; over a restart."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import house
from tests.house import House, wait_for

#: Waits at a gate, says a few words, and ends by what the gate says: a status, or a signal.
MORTAL = """\
import os, sys
with open(sys.argv[1]) as gate:
    how = int(gate.read())
print("one\\ntwo\\nthree\\nlast words", flush=True)
if how < 0:
    os.kill(os.getpid(), -how)
sys.exit(how)
"""

#: In the group that is said, takes memory until somebody ends it.
GREEDY = """\
import os, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as group:
    group.write(str(os.getpid()))
held = []
while True:
    held.append(b"x" * (1 << 20))
"""

#: One hierarchy or the other: what bounds the memory of a group, and how little.
BOUNDS = ("memory.max", "memory.limit_in_bytes")
BOUND = 24 << 20


def why(root: House, *words: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(root.ctl("--json", "why", *words).stdout)
    return told


def ends(root: House, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = why(root, name)["exits"]
    return found


def test_an_operator_finds_out_why_over_a_restart(tmp_path: Path, runtime_root: Path) -> None:
    config = f"""
[watcher:web]
cmd = {sys.executable} mortal.py gate
stdout_stream.class = FileStream
stdout_stream.filename = {tmp_path}/web.log
rlimit_core = -1
use_papa = true
flapping.attempts = 1
flapping.retry_in = 900
flapping.max_retry = 5
[watcher:rest]
cmd = /bin/sleep 1000
requires = web
"""
    with house.opened(tmp_path / "house", config) as root:
        (root.folder / "mortal.py").write_text(MORTAL)
        os.mkfifo(root.folder / "gate")
        root.launch()
        wait_for(lambda: root.status().get("rest") == "active" and why(root, "web")["well"], "all is up")
        done = root.ctl("why", "web")
        assert done.returncode == 0, done.stdout
        assert "web is as it is wanted" in done.stdout
        assert "autostart = true by default" in done.stdout
        (root.folder / "gate").write_text(str(-signal.SIGABRT))
        wait_for(lambda: [slot["state"] for slot in why(root, "web")["slots"]] == ["backoff"], "it pauses")
        (end,) = wait_for(lambda: ends(root, "web"), "the end is noted")
        told = why(root, "web")
        wait_for(lambda: len(ends(root, "web")[0]["lines"]) == 3, "its last words are in the log")
        assert [line["text"] for line in ends(root, "web")[0]["lines"]] == ["two", "three", "last words"]
        assert (end["exit"]["signal"], end["exit"]["ordered"]) == ("SIGABRT", False)
        # Whether there was a place for it is the system's: what was told to papa is what is told here.
        assert isinstance(end["exit"]["core"], bool)
        assert end["exit"]["usage"]["max_rss"] > 1 << 20
        assert told["next"]["what"] == "the next attempt (1 of 5 pauses for flapping)"
        assert not told["well"]
        done = root.ctl("why", "web.1", "-n", "1")
        assert done.returncode == 1
        assert "  | last words\n" in done.stdout
        root.asked("stop", "web")
        root.quit()
        root.config.write_text(config.replace("sleep 1000", "sleep 2000"))
        root.launch()
        wait_for(lambda: root.status().get("web") == "stopped", "the next circusd")
        told = why(root, "web")
        assert (told["wanted"]["up"], told["wanted"]["source"]) == (False, "order")
        assert told["wanted"]["order"]["by"] == f"uid {os.getuid()}"
        assert [each["exit"]["signal"] for each in told["exits"]] == ["SIGABRT"]
        assert why(root, "rest")["wanted"]["order"]["along"]
        assert root.ctl("why", "web").returncode == 0
        assert root.ctl("why", "nobody").returncode == 3


@contextlib.contextmanager
def group() -> Iterator[Path]:
    """A control group that may have little memory."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = [line.split() for line in file]
    places = [it[4] for it in mounts if it[it.index("-") + 1].startswith("cgroup")]
    place = next((Path(it) for mark in _MARKS for it in places if Path(it, mark).exists()), None)
    if place is None:
        pytest.skip("no control groups bound memory here")
    found = place / f"papa-test-{os.getpid()}"
    found.mkdir()
    try:
        bound = next((found / each for each in BOUNDS if (found / each).exists()), None)
        if bound is None:
            pytest.skip("no control groups bound memory here")
        bound.write_text(str(BOUND))
        yield found
    finally:
        wait_for(lambda: not (found / "cgroup.procs").read_text(), "nobody is in it")
        found.rmdir()


_MARKS = ("memory.limit_in_bytes", "cgroup.subtree_control")


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes control groups anywhere")
def test_one_that_the_system_ended_for_want_of_memory_is_told_with_the_evidence(
    tmp_path: Path, runtime_root: Path
) -> None:
    with group() as bounded:
        config = f"""
[watcher:greedy]
cmd = {sys.executable} greedy.py {bounded}
flapping.attempts = 1
flapping.max_retry = 0
"""
        with house.opened(tmp_path / "house", config) as root:
            (root.folder / "greedy.py").write_text(GREEDY)
            root.launch()
            wait_for(lambda: root.status().get("greedy") == "stopped", "it was ended")
            (end,) = wait_for(lambda: ends(root, "greedy"), "the end is noted")
            told = root.ctl("why", "greedy").stdout
            assert end["exit"]["signal"] == "SIGKILL"
            assert end["exit"]["perhaps"].startswith("out of memory: the system has ended ")
            assert "perhaps out of memory" in told.replace("\n", " ").replace("   ", " ")
            assert "it needs an order" in told
