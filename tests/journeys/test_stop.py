"""A stop that is done when nobody is left: whole trees of real processes, and circusd killed in the midst."""

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

from circus import cgroups
from circus.errors import CircusError
from tests.house import House, opened, wait_for

#: Has relatives of every kind, and says who they are when all are there; ends at TERM, without a word to them.
FAMILY = r'''
import glob, json, os, signal, sys, time

def is_there(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False

if any(is_there(pid) for name in glob.glob("family.*[0-9]") for pid in json.load(open(name)).values()):
    open("overlap", "w").close()

IGNORES = signal.SIG_IGN if "stubborn" in sys.argv else signal.SIG_DFL
reader, writer = os.pipe()

def live(name, *, leave=lambda: None, orphan=False):
    """A relative that sleeps; an orphan is a grandchild whose parent has gone."""
    if os.fork():
        if orphan:
            os.wait()
        return
    if orphan and os.fork():
        os._exit(0)
    os.close(reader)
    leave()
    signal.signal(signal.SIGTERM, IGNORES)
    os.write(writer, f"{name} {os.getpid()}\n".encode())
    os.close(writer)
    while True:
        time.sleep(1000)

live("child")
live("grouped", leave=os.setpgrp)
live("session", leave=os.setsid)
live("orphan", orphan=True)
live("daemon", leave=os.setsid, orphan=True)
for number in range(int(sys.argv[1])):
    live(f"more{number}", orphan=number % 2)
os.close(writer)
seen = {}
with os.fdopen(reader) as lines:
    while len(seen) < 5 + int(sys.argv[1]):
        name, pid = lines.readline().split()
        seen[name] = int(pid)
seen["main"] = os.getpid()
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(f"family.{os.getpid()}.tmp", "w") as file:
    json.dump(seen, file)
os.rename(f"family.{os.getpid()}.tmp", f"family.{os.getpid()}")
if "crashes" in sys.argv:
    while not os.path.exists("crash"):
        time.sleep(0.01)
    os.unlink("crash")
    sys.exit(3)
time.sleep(1000)
'''


def family(*, kill_mode: str = "", count: int = 0, words: str = "", grace: float = 300.0, extra: str = "") -> str:
    mode = f"kill_mode = {kill_mode}\n" if kill_mode else ""
    return f"""
[watcher:family]
cmd = {sys.executable} -S family.py {count} {words}
graceful_timeout = {grace}
{mode}{extra}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In it nobody is left at the end, whatever became of the test."""
    folder = tmp_path / "house"
    folder.mkdir()
    (folder / "family.py").write_text(FAMILY)
    yield folder
    pids = [pid for file in folder.glob("family.*[0-9]") for pid in json.loads(file.read_text()).values()]
    pids += [int(file.read_text()) for file in folder.glob("hidden")]
    for pid in pids:
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/cwd") == str(folder):
                os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def members(house: House, pid: int | None = None) -> dict[str, int]:
    """By name, all of the family whose main process this is, or the one that runs."""
    if pid is None:
        (pid,) = wait_for(lambda: house.pids("family"), "the main process")
    file = house.folder / f"family.{pid}"
    return dict(wait_for(lambda: file.exists() and json.loads(file.read_text()), "all of the family" + house.said()))


def alive(seen: dict[str, int]) -> set[str]:
    return {name for name, pid in seen.items() if is_alive(pid)}


def assert_successor(house: House, seen: dict[str, int]) -> None:
    """Another family is there, which has met none of the one before."""
    assert alive(seen) == set()
    assert len(alive(members(house))) == 6
    assert not (house.folder / "overlap").exists()


def status(house: House) -> dict[str, Any]:
    return dict(json.loads(house.asked("--json", "status")))


def test_every_process_leads_a_session_and_a_group_of_its_own(folder: Path) -> None:
    with opened(folder, family()) as house:
        house.start()
        seen = members(house)
        assert os.getsid(seen["main"]) == os.getpgid(seen["main"]) == seen["main"]


def test_a_stop_of_a_tree_is_done_when_nobody_is_left(folder: Path) -> None:
    with opened(folder, family(kill_mode="tree", count=200)) as house:
        house.start()
        seen = members(house)
        assert len(alive(seen)) == 206
        house.asked("stop", "family")
        assert alive(seen) == set()
        assert status(house)["survivors"] == {}


def test_whoever_ignores_the_stop_signal_is_killed_when_the_grace_is_over(folder: Path) -> None:
    with opened(folder, family(kill_mode="tree", words="stubborn", grace=0.5)) as house:
        house.start()
        seen = members(house)
        house.asked("restart", "family")
        assert_successor(house, seen)


def test_a_stop_of_a_group_is_done_when_the_group_is_gone_and_the_others_are_named(folder: Path) -> None:
    with opened(folder, family(kill_mode="group")) as house:
        house.start()
        seen = members(house)
        done = house.ctl("stop", "family")
        assert done.returncode == 0
        assert alive(seen) == {"grouped", "session", "daemon"}
        assert f"pid {seen['grouped']} (" in done.stderr
        told = {each["pid"]: each for each in status(house)["survivors"]["family"]}
        assert told[seen["grouped"]]["why"] == "session"
        assert told[seen["session"]]["why"] == "parent"


def test_all_of_a_group_are_told_at_once(folder: Path) -> None:
    with opened(folder, family(kill_mode="group", words="deaf")) as house:
        house.start()
        seen = members(house)
        house.asked("stop", "--no-wait", "family")
        wait_for(lambda: not alive(seen) & {"child", "orphan"}, "the end of the others")
        assert alive(seen) == {"main", "grouped", "session", "daemon"}
        os.kill(seen["main"], signal.SIGKILL)
        house.asked("stop", "family")


def test_by_default_the_main_process_alone_is_told_and_who_is_left_is_named(folder: Path) -> None:
    with opened(folder, family()) as house:
        house.start()
        seen = members(house)
        done = house.ctl("stop", "family")
        assert (done.returncode, alive(seen)) == (0, {"child", "grouped", "session", "orphan", "daemon"})
        line = f"pid {seen['child']} (python"
        assert line in done.stderr
        assert "of its session" in done.stderr
        assert line in house.ctl("status").stdout + house.ctl("status").stderr
        told = {each["pid"]: each for each in status(house)["survivors"]["family"]}
        assert set(told) == {seen["child"], seen["grouped"], seen["orphan"]}
        assert {key: told[seen["child"]][key] for key in ("state", "why")} == {"state": "sleeping", "why": "session"}
        for name in ("child", "grouped", "orphan"):
            os.kill(seen[name], signal.SIGKILL)
        wait_for(lambda: not status(house)["survivors"], "nobody is named who has gone")


def test_after_a_crash_the_next_one_comes_when_nobody_is_left(folder: Path) -> None:
    with opened(folder, family(kill_mode="tree", words="crashes")) as house:
        house.start()
        first = members(house)
        (house.folder / "crash").touch()
        wait_for(lambda: house.pids("family") - {first["main"]}, "the next one" + house.said())
        assert_successor(house, first)


def test_a_circusd_that_is_killed_in_the_midst_leaves_the_rest_to_the_next_one(folder: Path) -> None:
    other = "[watcher:other]\ncmd = /bin/sleep 1000\n"
    silent = "use_papa = true\nclose_child_stdout = true\nclose_child_stderr = true\n"  # else papa hears them still
    with opened(folder, family(kill_mode="tree", words="stubborn", extra=silent) + other) as house:
        house.start()
        seen = members(house)
        house.ctl("stop", "--no-wait", "family")
        wait_for(lambda: not is_alive(seen["main"]), "the end of the main process")
        assert alive(seen) == {"child", "grouped", "session", "orphan", "daemon"}
        house.asked("stop", "other")
        wait_for(lambda: "circus.other.1" not in house.rows(), "its end is settled with papa")
        house.kill()
        house.config.write_text(family(kill_mode="tree", words="stubborn", grace=0.5, extra=silent))
        house.start()
        house.asked("start", "family")
        assert_successor(house, seen)


def test_the_tree_of_one_that_was_adopted_is_ended_as_any(folder: Path) -> None:
    with opened(folder, family(kill_mode="tree", extra="use_papa = true")) as house:
        house.start()
        seen = members(house)
        house.kill()
        house.start()
        assert house.pids("family") == {seen["main"]}
        house.asked("stop", "family")
        assert alive(seen) == set()


#: When it is in a group of its own, somebody leaves it whom neither session, nor parent, nor environment tells.
HIDING = r"""
import os, sys, time
while b"/circus." not in open("/proc/self/cgroup", "rb").read():
    time.sleep(0.01)
if not os.fork():
    if os.fork():
        os._exit(0)
    os.setsid()
    with open("hidden.tmp", "w") as file:
        file.write(str(os.getpid()))
    os.rename("hidden.tmp", "hidden")
    os.execve("/bin/sleep", ["sleep", "1000"], {})
os.wait()
time.sleep(1000)
"""


def test_in_a_control_group_nobody_can_hide(folder: Path) -> None:
    """Where this machine gives none, that is said."""
    (folder / "hiding.py").write_text(HIDING)
    config = f"[watcher:hiding]\ncmd = {sys.executable} -S hiding.py\nkill_mode = tree\ncgroup = true\n"
    with opened(folder, config) as house:
        house.start()
        try:
            cgroups.find_base(os.getpid())
        except CircusError as error:
            assert error.message in "".join(status(house)["warnings"])
            return
        file = folder / "hidden"
        hidden = int(wait_for(lambda: file.exists() and file.read_text(), "who hides" + house.said()))
        house.kill()
        house.start()
        group = Path(house.rows()["circus.hiding.1"]["meta"]["cgroup"])
        assert str(hidden) in (group / "cgroup.procs").read_text().split()
        house.asked("stop", "hiding")
        assert not is_alive(hidden)
        wait_for(lambda: not group.exists(), "the end of the group")
