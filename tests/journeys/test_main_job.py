"""The main job, end to end: circusd comes and goes, the processes stay."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import ROOT, House, opened, ticker, wait_for

sys.path.insert(0, str(ROOT / "examples"))
import tally

KEPT = "use_papa = true\n"
STAMPS = "stdout_stream.time_format = %Y-%m-%d %H:%M:%S.%f\n"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    config = ticker("kept", count=2, extra=KEPT + STAMPS) + ticker("other")
    with opened(tmp_path / "house", config) as house:
        yield house


def lines_of(house: House, watcher: str) -> int:
    """How many its processes have written."""
    return sum(count for (name, _), count in tally.written(house.truth).items() if name.startswith(watcher))


def check_lines(house: House, watcher: str) -> None:
    house.asked("stop", watcher)

    def found() -> dict[tuple[str, int], tally.Tally]:
        tallies = tally.compare(house.truth, tally.rotated(house.folder / f"{watcher}.log"))
        return {key: each for key, each in tallies.items() if key[0].startswith(watcher)}

    wait_for(lambda: not any(each.lost for each in found().values()), f"the last lines of {watcher}")
    mine = found()
    assert mine
    for key, each in mine.items():
        assert (each.lost, each.doubled, each.disordered) == (0, 0, 0), (key, each)


def test_quit_and_start_keeps_the_processes_and_every_line(house: House) -> None:
    house.start()
    before, other = house.pids("kept"), house.pids("other")
    house.quit()
    assert all(os.path.exists(f"/proc/{pid}") for pid in before)
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in other), "the end of the others")
    written = lines_of(house, "kept")
    wait_for(lambda: lines_of(house, "kept") > written + 10, "lines of the time between")
    house.start()
    assert house.pids("kept") == before
    assert house.pids("other").isdisjoint(other)
    check_lines(house, "kept")


def test_a_killed_circusd_is_followed_by_one_that_takes_over_both_kinds(house: House) -> None:
    house.start()
    before = house.pids("kept") | house.pids("other")
    house.kill()
    house.start()
    assert house.pids("kept") | house.pids("other") == before
    check_lines(house, "kept")
    check_lines(house, "other")


def test_lines_have_the_time_at_which_they_were_written(house: House) -> None:
    house.start()
    house.quit()
    left_at = time.time()
    written = lines_of(house, "kept")
    wait_for(lambda: lines_of(house, "kept") > written + 100, "lines of the time between")
    came_back_at = time.time()
    house.start()
    wait_for(lambda: house.log("kept.log").count("\n") > written + 100, "them in the log")
    seconds = [
        time.mktime(time.strptime(found[1], "%Y-%m-%d %H:%M:%S")) + float(f"0.{found[2]}")
        for found in re.finditer(r"^([\d-]+ [\d:]+)\.(\d+) \[\d+\] \| ", house.log("kept.log"), re.MULTILINE)
    ]
    between = [each for each in seconds if left_at < each < came_back_at]
    assert len(between) > 30, "lines written while circusd was away bear the time of its return"


def test_the_count_of_incr_is_kept(house: House) -> None:
    house.start()
    assert house.asked("incr", "kept") == "3"
    before = wait_for(lambda: len(pids := house.pids("kept")) == 3 and pids, "three processes")
    house.quit()
    house.start()
    assert house.pids("kept") == before
    assert house.asked("numprocesses", "kept") == "3"


def test_a_watcher_stopped_by_hand_stays_stopped(house: House) -> None:
    house.start()
    house.asked("stop", "other")
    house.quit()
    house.start()
    assert house.status() == {"kept": "active", "other": "stopped"}
    house.asked("start", "other")
    assert house.status()["other"] == "active"


def test_adopted_processes_skip_the_hooks_of_a_start(tmp_path: Path) -> None:
    hooks = "hooks.before_start = hooks.note\nhooks.before_spawn = hooks.note\nhooks.after_spawn = hooks.note\n"
    with opened(tmp_path / "house", ticker("kept", extra=KEPT + hooks)) as house:
        (house.folder / "hooks.py").write_text(
            "def note(hook_name, **_):\n    open('hooks.out', 'a').write(hook_name + '\\n')\n    return True\n"
        )
        house.start()
        wait_for(lambda: len(house.log("hooks.out").split()) == 3, "all hooks")
        assert house.log("hooks.out").split() == ["before_start", "before_spawn", "after_spawn"]
        house.quit()
        house.start()
        assert "before" not in house.log("hooks.out")[len("before_start\nbefore_spawn\nafter_spawn\n") :]


def test_a_killed_kernel_is_not_noticed(house: House) -> None:
    house.start()
    before = house.pids("kept")
    house.kill_kernel()
    wait_for(lambda: house.pids("kept") == before, "the same processes")
    house.asked("restart", "other")
    check_lines(house, "kept")


def test_a_process_that_dies_is_followed_at_once(house: House) -> None:
    house.start()
    (before,) = house.pids("other")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: len(house.pids("other") - {before}) == 1, "a successor")


def test_a_stop_ends_in_sigkill_when_the_grace_is_over(tmp_path: Path) -> None:
    config = """
[watcher:stubborn]
cmd = /bin/sh -c "trap '' TERM; while :; do sleep 1; done"
copy_env = true
graceful_timeout = 0.3
use_papa = true
"""
    with opened(tmp_path / "house", config) as house:
        house.start()
        (pid,) = house.pids("stubborn")
        house.asked("stop", "stubborn")
        wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "its end")


def test_a_socket_is_served_while_circusd_is_away(tmp_path: Path) -> None:
    config = f"""
[socket:hello]
host = 127.0.0.1
port = 0
use_papa = true
[watcher:web]
cmd = {sys.executable} -u {ROOT}/examples/web.py $(circus.sockets.hello)
copy_env = true
use_papa = true
graceful_timeout = 5
"""
    import urllib.request

    with opened(tmp_path / "house", config) as house:
        house.start()
        found = re.search(r"127\.0\.0\.1:(\d+)", house.asked("listsockets"))
        assert found
        url = f"http://127.0.0.1:{found[1]}/"
        first = urllib.request.urlopen(url, timeout=30).read()
        house.quit()
        assert urllib.request.urlopen(url, timeout=30).read() == first
        house.start()
        assert urllib.request.urlopen(url, timeout=30).read() == first
        assert found[0] in house.asked("listsockets")


def test_an_edited_file_restarts_what_changed_and_nothing_else(house: House) -> None:
    house.start()
    kept, other = house.pids("kept"), house.pids("other")
    text = house.config.read_text()
    house.config.write_text(text.replace("other-$(circus.wid)", "other-$(circus.wid)-new"))
    house.asked("reloadconfig")
    assert house.pids("kept") == kept
    assert house.pids("other").isdisjoint(other)
    house.config.write_text(text)
    house.kill()
    house.start()
    wait_for(lambda: "new" not in _command_of(house, "other"), "the old command again")
    assert house.pids("kept") == kept


def _command_of(house: House, watcher: str) -> str:
    pids = house.pids(watcher)
    return "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids) if pids else "new"


def test_shutdown_leaves_nothing(house: House) -> None:
    house.start()
    house.asked("shutdown")
    assert house.gone() == 0
    wait_for(lambda: house.kernel() is None, "the kernel gone")


def test_term_means_quit(house: House) -> None:
    house.start()
    before = house.pids("kept")
    assert house.manager is not None
    house.manager.terminate()
    assert house.gone() == 0
    assert all(os.path.exists(f"/proc/{pid}") for pid in before)


def test_a_daemon_reports_its_start(house: House) -> None:
    pidfile = house.folder / "circusd.pid"
    done = house.run(Path(sys.executable).parent / "circusd", "--daemon", "--pidfile", pidfile, house.config)
    assert (done.returncode, done.stdout) == (0, "")
    wait_for(house.is_up, "all up")
    assert int(pidfile.read_text()) > 0
    house.asked("shutdown")
    wait_for(lambda: not pidfile.exists(), "the pidfile removed")
