"""circus-top on a real terminal, in front of a real circusd that ends and comes again."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import House, opened, ticker, wait_for

#: A terminal as it was made, below whatever tests have around them.
COLUMNS, ROWS = 80, 24

CRASHING = """
[watcher:crash]
cmd = sh -c 'echo this is the end; exit 3'
copy_env = true
backoff.first = 300
backoff.max = 300
stdout_stream.class = FileStream
stdout_stream.filename = crash.log
"""


class Terminal:
    """A window of tmux with a server of its own."""

    def __init__(self, folder: Path, house: House) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self._environ = {**house.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm"}
        command = shlex.join([sys.executable, "-m", "circus.circustop"])
        size = ["-x", str(COLUMNS), "-y", str(ROWS)]
        # What it ended with stays to be read.
        self._run("new-session", "-d", *size, f"{command}; echo ended with $?; read wait")

    def _run(self, *words: str) -> str:
        argv = [*self._tmux, *words]
        done = subprocess.run(argv, env=self._environ, capture_output=True, text=True, timeout=50, check=True)
        return done.stdout

    def press(self, *keys: str) -> None:
        self._run("send-keys", *keys)

    def screen(self) -> str:
        return self._run("capture-pane", "-p")

    def sees(self, *texts: str) -> str:
        """Until all of them stand there."""
        seen = ""

        def is_there() -> bool:
            nonlocal seen
            seen = self.screen()
            return all(text in seen for text in texts)

        try:
            wait_for(is_there, " and ".join(texts), 60)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{seen}") from None
        return seen

    def program(self) -> int:
        """The pid of circus-top."""
        shell = int(self._run("list-panes", "-F", "#{pane_pid}"))
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text())

    def has_screen_of_its_own(self) -> bool:
        return self._run("list-panes", "-F", "#{alternate_on}").strip() == "1"

    def close(self) -> None:
        self._run("kill-server")


@pytest.fixture
def house(tmp_path: Path, runtime_root: Path) -> Iterator[House]:
    config = "[circus]\nuse_papa = true\n" + ticker("web", count=2, extra="use_papa = true") + CRASHING
    with opened(tmp_path / "house", config, PAPA_RUNTIME_DIR=str(runtime_root)) as house:
        yield house


@pytest.mark.needs("tmux")
def test_the_screen_stays_over_a_restart_of_circusd_and_its_orders_are_carried_out(
    house: House, tmp_path: Path
) -> None:
    house.launch()
    wait_for(lambda: house.status().get("web") == "active" and "backoff" in house.ctl("status", "-v").stdout, "up")
    terminal = Terminal(tmp_path, house)
    try:
        first = terminal.sees("1 in trouble", "backoff", "ended with status 3", "2/2")
        assert first.index("crash") < first.index("web  ")
        pids = house.pids("web")

        house.quit()
        away = terminal.sees("circusd is away since")
        assert "crash" in away and "2/2" in away
        house.launch()
        terminal.sees("1 in trouble", "2/2")
        assert house.pids("web") == pids

        terminal.press("End")
        terminal.sees(">web")
        terminal.press("c")
        terminal.sees("how many processes?", "circusctl numprocesses web 2")
        terminal.press("3")
        terminal.press("Enter")
        terminal.sees("circusctl numprocesses web 3", "y: do it")
        terminal.press("y")
        terminal.sees("circusctl numprocesses web 3: done", "3/3")
        assert len(house.pids("web")) == 3

        terminal.press("Home")
        terminal.sees(">crash")
        terminal.press("l")
        terminal.sees("log of crash: follows", "crash.1 this is the end")
        terminal.press("x")
        terminal.sees("crash 1 of", "crash.1 ended with status 3")
        terminal.press("q")
        terminal.sees(">crash")
        terminal.press("q")
        terminal.sees("ended with 0")
    finally:
        terminal.close()


@pytest.mark.needs("tmux")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP], ids=str)
def test_who_ends_it_by_a_signal_has_the_terminal_as_it_was(
    house: House, tmp_path: Path, signum: signal.Signals
) -> None:
    house.launch()
    wait_for(lambda: house.status().get("web") == "active", "up")
    terminal = Terminal(tmp_path, house)
    try:
        terminal.sees("2/2")
        assert terminal.has_screen_of_its_own()
        os.kill(terminal.program(), signum)
        terminal.sees(f"ended with {128 + signum}")
        assert not terminal.has_screen_of_its_own()
    finally:
        terminal.close()
