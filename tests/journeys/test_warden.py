"""A circusd in the background that crashes, stops or spins: its warden brings another one, and no service notices."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import BIN, ROOT, House, ticker, wait_for

sys.path.insert(0, str(ROOT / "examples"))
import tally

#: Called by `circusctl stats --extended`, once for each file of this folder.
HOOKS = """
import os, re, signal, threading, time

kept = []

def burn():
    while True:
        pass

def do(watcher, arbiter, hook_name, **kwargs):
    for what in ("spin", "grow", "burn", "die"):
        try:
            os.unlink(what)
        except FileNotFoundError:
            continue
        if what == "spin":
            re.match("(a+)+$", "a" * 60 + "b")
        if what == "grow":
            kept.append(b"x" * (200 << 20))
        if what == "burn":
            threading.Thread(target=burn, daemon=True).start()
        if what == "die":
            signal.pthread_kill(threading.get_ident(), signal.SIGSEGV)
    return True
"""


def line_of(text: str) -> int:
    return HOOKS[: HOOKS.index(text)].count("\n") + 1


class Daemon:
    """A circusd in the background with its warden; `web` counts what it writes."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.pids: set[int] = set()
        self.warden = 0

    def start(self, circus: str = "", *options: str) -> None:
        house = self.house
        (house.folder / "trouble.py").write_text(HOOKS)
        house.config.write_text(
            f"[circus]\nuse_papa = true\n{circus}\n" + ticker("web", count=2, extra="hooks.extended_stats = trouble.do")
        )
        command = ("--daemon", "--pidfile", "pid", "--log-output", "circusd.log", *options)
        done = house.run(BIN / "circusd", *command, house.config)
        assert (done.returncode, done.stderr) == (0, "")
        self.pids = wait_for(lambda: house.is_up() and len(found := self.web()) == 2 and found, "all up", 90)
        self.warden = int(Path(f"/proc/{self.pid()}/stat").read_text().rpartition(")")[2].split()[1])

    def pid(self) -> int:
        """Of circusd; 0 while there is none."""
        try:
            return int((self.house.folder / "pid").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def log(self) -> str:
        return self.house.log("circusd.log")

    def another(self, former: int) -> int:
        """The pid of the circusd after ``former``, once it takes orders."""
        wait_for(
            lambda: self.pid() not in (0, former) and self.house.is_up(), f"another circusd: {self.log()[-3000:]}", 90
        )
        return self.pid()

    def begin(self, what: str) -> None:
        """A circusd that begins anew in this moment answers nobody."""
        file = self.house.folder / what
        file.touch()

        def has_begun() -> bool:
            self.house.ctl("--timeout", "1", "stats", "--extended", "web")
            return not file.exists()

        wait_for(has_begun, what, 90)

    def web(self) -> set[int]:
        """Its pids; none while circusd does not answer."""
        done = self.house.ctl("list", "web")
        return {int(pid) for pid in done.stdout.split(",")} if done.returncode == 0 and done.stdout.strip() else set()

    def end(self) -> None:
        """Shut down; nothing was lost, and nobody started anew."""
        house = self.house
        wait_for(lambda: house.is_up() and self.web(), "an answer", 90)
        assert wait_for(self.web, "an answer", 90) == self.pids
        house.asked("shutdown")
        wait_for(lambda: house.kernel() is None and not self.pid(), "the end")
        wait_for(lambda: not Path(f"/proc/{self.warden}").exists(), "the end of the warden")
        counts = tally.compare(house.truth, [house.folder / "web.log"])
        assert len(counts) == 2
        assert all(count.written and not count.lost and not count.doubled for count in counts.values())


@pytest.fixture
def daemon(tmp_path: Path, runtime_root: Path) -> Iterator[Daemon]:
    house = House(tmp_path / "house", ticker("web"), PAPA_RUNTIME_DIR=str(runtime_root))
    daemon = Daemon(house)
    yield daemon
    for pid in (daemon.warden, daemon.pid()):
        if pid and Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)
    house.close()


def test_a_killed_circusd_is_replaced_and_the_log_and_the_status_say_so(daemon: Daemon) -> None:
    daemon.start()
    first = daemon.pid()
    os.kill(first, signal.SIGKILL)
    second = daemon.another(first)
    os.kill(second, signal.SIGKILL)
    third = daemon.another(second)
    assert f"(pid {second}) was killed by signal 9: it was replaced times=2" in daemon.log()
    said = daemon.house.asked("status", "-v").splitlines()[-1]
    why = f"replaced 2 times, last: (pid {second}) was killed by signal 9"
    assert said == f"circusd: pid {third} under its warden, pid {daemon.warden}; {why}"
    daemon.end()


def test_a_stopped_circusd_is_replaced_and_its_stacks_are_in_the_log(daemon: Daemon) -> None:
    daemon.start("watchdog = 3")
    first = daemon.pid()
    os.kill(first, signal.SIGSTOP)
    daemon.another(first)
    log = daemon.log()
    assert f"(pid {first}) said nothing for 3 s: it was replaced" in log
    assert "(most recent call first):" in log  # threads
    assert "Task Task-1 (most recent call first):" in log  # tasks
    assert "in wait\n" in log
    assert "life.py" in log
    daemon.end()


def test_one_that_spins_in_a_hook_is_replaced_and_the_hook_is_in_the_log(daemon: Daemon) -> None:
    daemon.start("watchdog = 3")
    first = daemon.pid()
    daemon.begin("spin")  # an expression that lets no other thread run
    daemon.another(first)
    log = daemon.log()
    assert "the circusd before has left its stacks" in log
    assert f'File "{daemon.house.folder}/trouble.py", line {line_of("re.match")} in do' in log
    daemon.end()


def test_a_crash_leaves_its_stacks(daemon: Daemon) -> None:
    daemon.start()
    first = daemon.pid()
    daemon.begin("die")
    daemon.another(first)
    assert "Fatal Python error: Segmentation fault" in daemon.log()
    assert f'File "{daemon.house.folder}/trouble.py", line {line_of("SIGSEGV")} in do' in daemon.log()
    daemon.end()


def begins_anew(daemon: Daemon, what: str, told: str) -> None:
    """In place: the same pid. A busy machine may have done it before, for what a start takes."""
    first = daemon.pid()
    daemon.begin(what)

    def is_another() -> bool:
        said = daemon.house.ctl("status", "-v").stdout
        return f"(pid {first}) used too much: {told}" in said and daemon.house.is_up()

    wait_for(is_another, f"too much {told}: {daemon.log()[-3000:]}", 90)
    assert f"circusd uses too much, {told} " in daemon.log()
    assert daemon.pid() == first


def test_one_that_uses_too_much_memory_begins_anew_in_place(daemon: Daemon) -> None:
    daemon.start("limits.memory = 150m\nlimits.grace = 2")
    begins_anew(daemon, "grow", "memory")
    daemon.end()


def test_one_that_uses_too_much_time_of_processors_begins_anew_in_place(daemon: Daemon) -> None:
    daemon.start("limits.cpu = 4\nlimits.grace = 2")
    begins_anew(daemon, "burn", "cpu")
    wait_for(lambda: "in burn" in daemon.log(), "its stacks", 90)
    daemon.end()


def test_without_its_warden_circusd_goes_on_and_says_so(daemon: Daemon) -> None:
    daemon.start()
    first = daemon.pid()
    os.kill(daemon.warden, signal.SIGKILL)
    lost = f"the warden (pid {daemon.warden}) is gone"
    wait_for(lambda: lost in daemon.log(), "the loss told")
    assert lost in daemon.house.ctl("status").stderr
    assert daemon.pid() == first
    daemon.house.asked("quit")
    wait_for(lambda: not daemon.pid(), "the end")
    daemon.start()
    assert Path(f"/proc/{daemon.warden}").exists()
    os.kill(daemon.pid(), signal.SIGKILL)
    daemon.another(daemon.pid())
    daemon.end()


def test_the_warden_passes_term_on_and_ends_with_circusd(daemon: Daemon) -> None:
    daemon.start()
    os.kill(daemon.warden, signal.SIGTERM)
    wait_for(lambda: not daemon.pid(), "the end of circusd")
    wait_for(lambda: not Path(f"/proc/{daemon.warden}").exists(), "the end of the warden")
    assert "got signal SIGTERM: quit" in daemon.log()
    kernel = daemon.house.kernel()
    assert kernel is not None
    assert kernel["running"] == 2


def test_a_configuration_that_was_broken_meanwhile_is_told_in_the_log_until_it_is_mended(daemon: Daemon) -> None:
    daemon.start()
    whole = daemon.house.config.read_text()
    daemon.house.config.write_text("[watcher:web]\nnumprocesses = 1\n")
    os.kill(first := daemon.pid(), signal.SIGKILL)
    wait_for(lambda: "cmd is missing" in daemon.log(), "what is wrong")
    daemon.house.config.write_text(whole)
    daemon.another(first)
    daemon.end()


def test_a_circusd_that_cannot_be_loaded_any_more_is_tried_until_it_can(daemon: Daemon) -> None:
    daemon.start()
    broken = daemon.house.folder / "msgspec.py"
    broken.write_text("raise ImportError('half an upgrade')\n")
    os.kill(first := daemon.pid(), signal.SIGKILL)
    wait_for(lambda: daemon.log().count("ImportError: half an upgrade") >= 2, "attempts")
    broken.unlink()
    daemon.another(first)
    assert "ended with status 1: it was replaced times=" in daemon.log()
    daemon.end()


def test_a_warden_whose_name_another_circusd_has_taken_gives_up(daemon: Daemon) -> None:
    daemon.start()
    os.kill(daemon.warden, signal.SIGSTOP)
    os.kill(daemon.pid(), signal.SIGKILL)
    daemon.house.start()
    os.kill(daemon.warden, signal.SIGCONT)
    wait_for(lambda: not Path(f"/proc/{daemon.warden}").exists(), "the end of the warden")
    assert "a circusd runs already at" in daemon.log()
    daemon.house.quit()


def test_whoever_wants_no_warden_has_none(daemon: Daemon) -> None:
    daemon.start("warden = false")
    assert json.loads(daemon.house.asked("status", "--json"))["warden"]["pid"] == 0
    parent = int(Path(f"/proc/{daemon.pid()}/stat").read_text().rpartition(")")[2].split()[1])
    assert b"warden.py" not in Path(f"/proc/{parent}/cmdline").read_bytes()
    daemon.warden = 0
    daemon.house.asked("shutdown")
    wait_for(lambda: daemon.house.kernel() is None and not daemon.pid(), "the end")
