"""The warden with a stand-in for circusd. That it is PID 1 changes nothing in it; tests/service has it as such."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.house import wait_for
from tests.kernels import state_of

from circus import warden

# As it is, but for the time that stacks take.
WARDEN = "import sys; from circus import warden; warden.STACKS_S = 0.3; sys.exit(warden.Warden(sys.argv[1:]).run())"

# Notes its life in a file; obeys a file of its own: what it does after it is up, and before.
CIRCUSD = """
import os, signal, sys, time
folder = sys.argv[1]
fd, pid, starter, count, reason = os.environ["CIRCUS_WARDEN"].split(" ", 4)
def note(word):
    with open(folder + "/lives", "a") as lives:
        lives.write(f"{os.getpid()} {word}\\n")
def say(line):
    os.write(int(fd), line.encode() + b"\\n")
def beat(seconds):
    say(f"beat {time.monotonic()} {seconds}")
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCONT):
    signal.signal(number, lambda number, frame: note(signal.Signals(number).name))
note("start")
exec(open(folder + "/before").read())
say("up")
note("up")
while True:
    time.sleep(0.005)
    try:
        exec(open(folder + "/then").read())
    except FileNotFoundError:
        pass
"""

Start = Callable[..., "Container"]


class Container:
    def __init__(self, folder: Path, before: str) -> None:
        self.folder = folder
        (folder / "before").write_text(before)
        self.warden = subprocess.Popen(
            [sys.executable, "-c", WARDEN, sys.executable, "-S", "-c", CIRCUSD, str(folder)],
            stderr=subprocess.PIPE,
            text=True,
        )

    def lives(self) -> list[list[str]]:
        path = self.folder / "lives"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def pids(self, word: str) -> list[int]:
        return [int(pid) for pid, said in self.lives() if said == word]

    def wait(self, word: str, count: int = 1) -> int:
        """Until so many lives have said it; the pid of the last."""
        wait_for(lambda: len(self.pids(word)) >= count, f"{count} x {word}: {self.lives()}")
        return self.pids(word)[-1]

    def kill(self, word: str, count: int = 1) -> int:
        """Whoever was so the last."""
        pid = self.wait(word, count)
        os.kill(pid, signal.SIGKILL)
        return pid

    def let(self, then: str) -> None:
        new = self.folder / "then.new"
        new.write_text(then)
        new.rename(self.folder / "then")

    def end(self) -> tuple[int, str]:
        _, said = self.warden.communicate(timeout=40)
        return self.warden.returncode, said

    def close(self) -> None:
        self.warden.kill()
        for pid in {int(pid) for pid, _ in self.lives()}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.warden.communicate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started = []

    def start(before: str = "") -> Container:
        started.append(Container(tmp_path, before))
        return started[-1]

    yield start
    for container in started:
        container.close()


def test_a_killed_circusd_is_started_again_and_the_container_goes_on(start: Start) -> None:
    container = start()
    killed = [container.kill("up", lives) for lives in range(1, 4)]
    container.wait("up", 4)
    assert container.warden.poll() is None
    container.let("os._exit(0)")
    status, said = container.end()
    assert status == 0
    assert said.splitlines() == [
        f"warden: circusd (pid {pid}) was killed by signal 9; it is started again after {pause} s"
        for pid, pause in zip(killed, ("0", "0.1", "1"), strict=True)
    ]


@pytest.mark.parametrize(("before", "status"), [("sys.exit(1)", 1), ("os.kill(os.getpid(), 9)", 137)])
def test_a_circusd_that_never_was_up_ends_the_container_with_its_status(start: Start, before: str, status: int) -> None:
    assert start(before).end() == (status, "")


def test_one_that_was_up_before_is_tried_again_and_again(start: Start) -> None:
    container = start("if os.path.exists(folder + '/broken'): sys.exit(1)")
    first = container.wait("up")
    (container.folder / "broken").touch()
    os.kill(first, signal.SIGKILL)
    container.wait("start", 3)
    (container.folder / "broken").unlink()
    container.wait("up", 2)
    container.let("os._exit(0)")
    status, said = container.end()
    assert status == 0
    assert "ended with status 1; it is started again after 0.1 s" in said


def test_signals_are_passed_on_and_the_status_is_circusds(start: Start) -> None:
    container = start()
    container.wait("up")
    container.warden.send_signal(signal.SIGHUP)
    container.wait("SIGHUP")
    container.warden.send_signal(signal.SIGTERM)
    container.wait("SIGTERM")
    container.let("os._exit(5)")
    assert container.end() == (5, "")


def test_a_signal_that_comes_too_early_waits_until_circusd_can_obey(start: Start) -> None:
    container = start("while not os.path.exists(folder + '/go'): time.sleep(0.005)")
    container.wait("start")
    for _ in range(3):
        container.warden.send_signal(signal.SIGTERM)
    (container.folder / "go").touch()
    container.wait("SIGTERM")
    container.let("os._exit(0)")
    assert container.end()[0] == 0
    assert sorted(word for _, word in container.lives()) == ["SIGTERM", "start", "up"]


def test_a_signal_to_end_between_two_lives_is_obeyed_by_the_next_one_at_once(start: Start) -> None:
    container = start("if len(open(folder + '/lives').readlines()) in range(3, 6): sys.exit(1)")
    os.kill(container.wait("up"), signal.SIGKILL)
    assert container.warden.stderr is not None
    while "after 10 s" not in container.warden.stderr.readline():
        pass
    container.warden.send_signal(signal.SIGTERM)
    container.wait("SIGTERM")
    container.let("os._exit(0)")
    assert container.end()[0] == 0


def test_once_it_shall_end_a_killed_circusd_is_not_started_again(start: Start) -> None:
    container = start()
    pid = container.wait("up")
    container.warden.send_signal(signal.SIGTERM)
    container.wait("SIGTERM")
    os.kill(pid, signal.SIGKILL)
    assert container.end() == (137, "")
    assert len(container.pids("start")) == 1


def test_a_circusd_that_cannot_be_executed_any_more_is_tried_again(tmp_path: Path) -> None:
    program = tmp_path / "circusd"
    program.write_text(f"#!{sys.executable} -S\n{CIRCUSD}")
    program.chmod(0o755)
    (tmp_path / "before").touch()
    running = subprocess.Popen(warden.command([str(program), str(tmp_path)]), stderr=subprocess.PIPE, text=True)
    lives = tmp_path / "lives"
    try:
        wait_for(lambda: lives.exists() and "up" in lives.read_text(), "up")
        program.rename(tmp_path / "aside")
        os.kill(int(lives.read_text().split()[0]), signal.SIGKILL)
        assert running.stderr is not None
        said = [running.stderr.readline() for _ in range(2)]
        assert "cannot be started: No such file or directory; it is started again after 0.1 s" in said[1]
        (tmp_path / "aside").rename(program)
        (tmp_path / "then").write_text("os._exit(0)")
        wait_for(lambda: running.poll() is not None, "the end")
        assert running.returncode == 0
    finally:
        running.kill()
        running.communicate()


def test_an_idle_warden_does_not_wake_up(start: Start) -> None:
    container = start()
    container.wait("up")

    def switches() -> str:
        return (
            (Path("/proc") / str(container.warden.pid) / "status").read_text().partition("voluntary_ctxt_switches:")[2]
        )

    def rests() -> str:
        """What it has, once it has slept for a while with nothing left to be done."""
        now, state = switches(), state_of(container.warden.pid)
        time.sleep(0.1)
        return now if (switches(), state_of(container.warden.pid), state) == (now, "S", "S") else ""

    before = wait_for(rests, "its rest")
    container.let("beat(1000); note('beat'); open(folder + '/then', 'w').close()")
    container.wait("beat")
    assert switches() == before
    container.let("os._exit(0)")
    container.end()


SAYS = "say('status 137')\n"


def test_the_container_ends_with_the_status_that_circusd_says(start: Start) -> None:
    container = start()
    container.wait("up")
    container.let(SAYS + "sys.exit(0)")
    assert container.end()[0] == 137


def test_a_circusd_that_fails_after_it_has_said_a_status_is_started_again(start: Start) -> None:
    container = start()
    container.wait("up")
    container.let("open(folder + '/then', 'w').close()\n" + SAYS + "sys.exit(1)")
    container.wait("up", 2)
    container.let("sys.exit(0)")
    assert container.end()[0] == 0


def test_a_silent_circusd_is_asked_for_its_stacks_killed_and_replaced(start: Start) -> None:
    container = start("if int(count) == 0: beat(0.1)")
    silent = container.wait("SIGUSR1")
    container.wait("up", 2)
    assert [word for pid, word in container.lives() if int(pid) == silent] == ["start", "up", "SIGUSR1", "SIGCONT"]
    container.let("os._exit(0)")
    status, said = container.end()
    assert status == 0
    assert f"circusd (pid {silent}) said nothing for 0.1 s; it is started again after 0 s" in said


def test_a_stopped_circusd_goes_on_for_its_stacks_alone(start: Start) -> None:
    container = start("if int(count) == 0: beat(0.1); os.kill(os.getpid(), signal.SIGSTOP)")
    container.wait("up", 2)
    first = container.pids("start")[0]
    assert "SIGUSR1" in [word for pid, word in container.lives() if int(pid) == first]
    container.let("os._exit(0)")
    assert container.end()[0] == 0


def test_a_circusd_that_hangs_before_its_first_beat_is_not_waited_for_for_ever(start: Start) -> None:
    container = start("beat(0.1); time.sleep(1000)")
    assert container.end() == (137, "")


def test_a_circusd_that_beats_or_has_said_that_it_will_be_silent_is_left_alone(start: Start) -> None:
    container = start("beat('inf')")
    container.wait("up")
    # Longer than the silence that is borne, and that is more than a busy machine makes.
    container.let("beat(3); time.sleep(0.1); note('beat')")
    container.wait("beat", 50)
    assert container.pids("SIGUSR1") == []
    container.let("beat(1000); os._exit(0)")
    assert container.end() == (0, "")


def test_a_warden_that_was_kept_from_running_gives_the_time_anew(start: Start) -> None:
    container = start("beat(3)")
    pid = container.wait("up")
    container.warden.send_signal(signal.SIGHUP)
    container.wait("SIGHUP")  # who passes signals on has heard the beat
    container.warden.send_signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGSTOP)
    until = time.monotonic() + 6
    wait_for(lambda: time.monotonic() > until, "a time in which nobody ran")
    container.let("beat('inf'); os._exit(0)")
    container.warden.send_signal(signal.SIGCONT)
    os.kill(pid, signal.SIGCONT)
    assert container.end() == (0, "")
    assert container.pids("SIGUSR1") == []


def test_one_that_leaves_is_not_replaced_and_may_hang_then(start: Start) -> None:
    container = start("say('leaving'); beat(0.1)")
    assert container.end() == (137, "")
    assert len(container.pids("start")) == 1


RENEWS = """
if not os.path.exists(folder + "/renewed"):
    open(folder + "/renewed", "w").close()
    say("renew used too much")
    os.set_inheritable(int(fd), True)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
"""
ANEW = """
if os.path.exists(folder + "/renewed"):
    note("anew")
    while not os.path.exists(folder + "/go"): time.sleep(0.005)
    note("goes")
"""


def test_one_that_begins_anew_in_place_has_not_ended_and_signals_wait_for_it(start: Start) -> None:
    container = start(ANEW)
    pid = container.wait("up")
    container.let(RENEWS)
    container.wait("anew")
    container.warden.send_signal(signal.SIGTERM)
    (container.folder / "go").touch()
    container.wait("SIGTERM")
    container.let("os._exit(0)")
    status, said = container.end()
    assert (status, said) == (0, "warden: circusd used too much; it begins anew in place\n")
    words = [word for _, word in container.lives()]
    assert sorted(words) == ["SIGTERM", "anew", "goes", "start", "start", "up", "up"]
    assert words.index("SIGTERM") > words.index("goes")
    assert {int(each) for each, _ in container.lives()} == {pid}


def test_what_it_keeps_its_successor_is_told_with_the_count_and_the_reason(start: Start) -> None:
    container = start("note('_'.join([count, *reason.split(), os.environ.get('CIRCUS_WARDEN_KEPT', 'nothing')]))")
    container.wait("up")
    container.let("if count == '0': say('keep this'); os.kill(os.getpid(), 9)")
    pid = container.pids("up")[0]
    container.wait("up", 2)
    container.let("os._exit(0)")
    assert container.end()[0] == 0
    told = [word for _, word in container.lives() if "_" in word]
    assert told == ["0_nothing", f"1_(pid_{pid})_was_killed_by_signal_9_this"]


def test_a_circusd_that_wants_no_warden_is_alone(start: Start) -> None:
    container = start("say('alone'); say = lambda line: None")  # nobody listens any more
    assert container.warden.wait(40) == 0
    pid = container.wait("up")
    container.let("note('alive'); os._exit(0)")
    container.wait("alive")
    assert container.pids("start") == [pid]


def test_lines_that_say_nothing_change_nothing(start: Start) -> None:
    container = start("say('beat'); say('beat a b'); say('status x'); say('_start'); say(''); say('x' * 10000)")
    container.wait("up")
    container.let("os._exit(0)")
    assert container.end() == (0, "")
