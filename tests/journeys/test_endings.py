"""What ends, by whom and how: circusd, the kernel, both; with everything under way that can be."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.house import ROOT, House, opened, ticker, wait_for

KEPT = "use_papa = true\n"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path / "house", ticker("kept", extra=KEPT) + ticker("other")) as house:
        yield house


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def holder_of(kernel: int) -> int:
    return int(Path(f"/proc/{kernel}/stat").read_text().rpartition(")")[2].split()[1])


def kill_kernel_and_holder(house: House) -> None:
    state = house.kernel()
    assert state is not None
    holder = holder_of(state["pid"])
    os.kill(state["pid"], signal.SIGSTOP)  # else it may have replaced its holder in between
    for pid in (holder, state["pid"]):
        os.kill(pid, signal.SIGKILL)


def test_a_kernel_killed_with_its_holder_is_replaced_and_everything_runs_again(house: House) -> None:
    house.start()
    before = house.pids("kept") | house.pids("other")
    kill_kernel_and_holder(house)

    def is_whole() -> bool:
        pids = [pid for watcher in ("kept", "other") for pid in house.pids(watcher)]
        return len(pids) == 2 and all(map(is_alive, pids)) and "papa" not in house.ctl("status").stdout

    wait_for(is_whole, "two watchers with a living process each" + house.said())
    now = house.pids("kept") | house.pids("other")
    wait_for(lambda: not any(is_alive(pid) for pid in before - now), "no process is left to nobody")
    house.asked("restart", "kept")
    house.asked("shutdown")
    assert house.gone() == 0


def test_a_process_that_runs_on_when_papa_and_its_holder_are_killed_is_named_and_heard_again(tmp_path: Path) -> None:
    stubborn = "import os, signal, time\nnumber = 0\n"
    stubborn += (
        "while True:\n try: os.write(1, b'%d\\n' % number); number += 1\n except OSError: pass\n time.sleep(0.02)\n"
    )
    config = f"[watcher:stubborn]\ncmd = {sys.executable} stubborn.py\nstdout_stream.filename = numbers.log\n{KEPT}"
    with opened(tmp_path / "house", config) as house:
        (house.folder / "stubborn.py").write_text(stubborn)
        house.start()
        [pid] = house.pids("stubborn")
        log = house.folder / "numbers.log"

        def numbers() -> list[int]:
            return [int(line) for line in log.read_text().split("\n")[:-1]]

        wait_for(lambda: log.exists() and numbers(), "its first lines")
        kill_kernel_and_holder(house)
        said = f"papa has lost perhaps some of the output of process 1 (circus.stubborn.1, pid {pid})"
        wait_for(lambda: said in house.log("circusd.out"), "the loss in the log")
        before = len(numbers())
        wait_for(lambda: len(numbers()) > before + 20, "lines that came later")
        # It said again what could not be written, so that nothing is missing.
        assert numbers() == list(range(len(numbers())))
        assert house.pids("stubborn") == {pid}


def test_circusd_leaves_when_the_kernel_is_stopped(house: House) -> None:
    """A kernel under SIGSTOP accepts connections, and answers nothing."""
    house.start()
    state = house.kernel()
    assert state is not None
    (kept,) = house.pids("kept")
    os.kill(state["pid"], signal.SIGSTOP)
    try:
        assert house.manager is not None
        house.manager.terminate()
        assert house.gone() == 0
    finally:
        os.kill(state["pid"], signal.SIGCONT)
    assert is_alive(kept)
    house.start()
    assert house.pids("kept") == {kept}


def test_two_signals_to_end_are_one(house: House) -> None:
    house.start()
    (kept,) = house.pids("kept")
    manager = house.manager
    assert manager is not None
    manager.send_signal(signal.SIGTERM)
    manager.send_signal(signal.SIGINT)
    manager.send_signal(signal.SIGHUP)
    house.gone()
    assert is_alive(kept)


def test_a_signal_during_the_start_is_obeyed_after_it(house: House) -> None:
    manager = house.launch()
    wait_for(lambda: "started pid" in house.said(), "the first line of the log")
    manager.terminate()
    assert house.gone() in (0, -signal.SIGTERM)
    house.start()
    assert len(house.pids("other")) == 1


def test_a_quit_while_a_process_ignores_its_signal_ends_with_its_grace(tmp_path: Path) -> None:
    config = """
[watcher:stubborn]
cmd = /bin/sh -c "trap '' TERM; while :; do sleep 1; done"
copy_env = true
graceful_timeout = 0.5
"""
    with opened(tmp_path / "house", config) as house:
        house.start()
        (pid,) = house.pids("stubborn")
        house.quit()
        assert not is_alive(pid)


def test_a_quit_with_a_log_file_that_cannot_be_written_ends_and_keeps_the_output(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with opened(tmp_path / "house", ticker("web", log="/dev/full")) as house:
        house.start()
        house.quit()
        house.config.write_text(ticker("web"))


def test_hup_reloads_every_active_watcher(house: House) -> None:
    house.start()
    before = house.pids("kept") | house.pids("other")
    assert house.manager is not None
    house.manager.send_signal(signal.SIGHUP)
    wait_for(lambda: before.isdisjoint(now := house.pids("kept") | house.pids("other")) and len(now) == 2, "new ones")


def test_a_start_while_the_kernel_restarts_waits_for_it(house: House) -> None:
    house.start()
    kept = house.pids("kept")
    house.kill()
    state = house.kernel()
    assert state is not None
    os.kill(state["pid"], signal.SIGKILL)
    house.start()
    assert house.pids("kept") == kept


def test_a_socket_whose_options_change_is_opened_anew_although_its_users_hold_it(tmp_path: Path) -> None:
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
    with opened(tmp_path / "house", config) as house:
        house.start()
        found = re.search(r"127\.0\.0\.1:(\d+)", house.asked("listsockets"))
        assert found
        fixed = config.replace("port = 0", f"port = {found[1]}")
        before = house.pids("web")
        house.config.write_text(fixed + "[socket:more]\nport = 0\n")
        house.asked("reloadconfig")
        house.config.write_text(fixed.replace("use_papa = true\n[watcher", "backlog = 9\nuse_papa = true\n[watcher"))
        house.asked("reloadconfig")
        wait_for(lambda: house.pids("web") and house.pids("web").isdisjoint(before), "another process")
        assert found[0] in house.asked("listsockets")
        second = house.pids("web")
        house.quit()
        house.config.write_text(house.config.read_text().replace("backlog = 9", "backlog = 11"))
        house.start()
        wait_for(lambda: house.pids("web") and house.pids("web").isdisjoint(second), "yet another process")
        assert '"backlog": 11' in house.ctl("--json", "listsockets").stdout.replace('":11', '": 11')


# Descriptors and wake-ups ----------------------------------------------------------------------------------


def test_a_circusd_that_rests_does_not_wake_up_and_leaks_no_descriptor(tmp_path: Path) -> None:
    config = "[watcher:brief]\ncmd = /bin/true\nnumprocesses = 4\nautostart = false\nrespawn = false\n"
    config += "stdout_stream.class = FileStream\nstdout_stream.filename = brief.log\n"
    with opened(tmp_path / "house", config) as house:
        house.start()
        assert house.manager is not None
        fds = Path(f"/proc/{house.manager.pid}/fd")

        def run_all() -> None:
            house.ctl("start", "brief")
            wait_for(lambda: house.status()["brief"] == "stopped", "all ended")

        run_all()
        wait_for(lambda: _papa_hosts_nothing(house), "all forgotten")
        before = len(list(fds.iterdir()))
        for _ in range(10):
            run_all()
        wait_for(lambda: _papa_hosts_nothing(house), "all forgotten")
        wait_for(lambda: len(list(fds.iterdir())) <= before, f"at most {before} descriptors")
        wait_for(partial(_rests_for, house.manager.pid, 1.5), "a time in which it rests")


def _papa_hosts_nothing(house: House) -> bool:
    state = house.kernel()
    return state is not None and not state["processes"]


def _rests_for(pid: int, seconds: float) -> bool:
    before = _switches(pid)
    time.sleep(seconds)
    return _switches(pid) == before


def _switches(pid: int) -> int:
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.MULTILINE)
        assert found
        total += int(found[1])
    return total


def test_a_shutdown_does_not_wait_for_ever_for_what_a_process_has_left_behind(tmp_path: Path) -> None:
    config = (
        "[watcher:shell]\ncmd = sh -c 'sleep 1000 & echo $! > left; exec cat /dev/zero > /dev/null'\ncopy_env = true\n"
    )
    with opened(tmp_path / "house", config) as house:
        house.start()
        left = int(wait_for(lambda: house.log("left").strip(), "the process that is left behind"))
        try:
            house.asked("shutdown")
            assert house.gone() == 0
            assert is_alive(left), "it proves nothing: circus ended the child as well"
            wait_for(lambda: house.kernel() is None, "papa gone")
        finally:
            os.kill(left, signal.SIGKILL)
