"""circusctl without a command: lines from a person or from a pipe."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import terminal
from tests.house import BIN, wait_for
from tests.terminal import Terminal

import circus
from circus.cli import completer, editing
from circus.supervise import events
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher

PROMPT = "(circusctl) "


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv(completer.PATIENCE, "50")
    monkeypatch.delenv("CIRCUSCTL_ENDPOINT", raising=False)
    return tmp_path


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(make_watcher("web", 2), make_watcher("mail sender", 3))


@pytest.fixture(autouse=True)
def circusd(engine: FakeEngine, root: Path) -> Iterator[FakeCircusd]:
    with FakeCircusd(engine, f"{root}/circus-default.sock") as circusd:
        yield circusd


def piped(lines: str | bytes, *options: str) -> tuple[int, str, str]:
    given = lines.encode() if isinstance(lines, str) else lines
    done = subprocess.run(
        [BIN / "circusctl", "--timeout", "50", *options], input=given, capture_output=True, timeout=100
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


# From a pipe --------------------------------------------------------------------------------------------------


def test_lines_of_a_pipe_are_obeyed_one_after_the_other_without_a_prompt(engine: FakeEngine) -> None:
    lines = "# first\n\nincr web\n  circusctl numprocesses 'mail sender'\nnumprocesses mail\\ sender"
    assert piped(lines) == (0, "3\n3\n3\n", "")
    assert engine.heard == [events.SetCount(1, "web", delta=1)]


def test_every_line_of_a_pipe_is_obeyed_and_the_first_failure_is_the_exit_status(engine: FakeEngine) -> None:
    status, out, err = piped("numwatchers\nstatus nobody\nstauts\nnumwatchers\n")
    assert (status, out) == (3, "2\n2\n")
    assert "watcher 'nobody' not found" in err
    assert piped("stauts\nstatus nobody\n")[0] == 2


def test_exit_ends_a_script_too() -> None:
    assert piped("numwatchers\nexit\nnumwatchers\n") == (0, "2\n", "")


@pytest.mark.parametrize("lines", ["", "\n\n", "# nothing\n"])
def test_an_input_without_a_command_is_a_usage_error(lines: str) -> None:
    expected = "error: no command is given\n  hint: `circusctl --help` lists them\n"
    assert piped(lines) == (2, "", expected)


def test_no_input_at_all_is_one_without_a_command() -> None:
    done = subprocess.run(["sh", "-c", f"{BIN}/circusctl <&-"], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no command is given" in done.stderr


def test_what_is_unknown_is_said_with_what_was_meant() -> None:
    assert piped("stauts\n") == (2, "", "*** Unknown syntax: stauts\n  hint: did you mean `circusctl status`?\n")
    assert piped("status 'web\n") == (2, "", "*** Unknown syntax: status 'web\n  hint: a quote is not closed\n")
    assert piped("--json\n") == (2, "", "*** Unknown syntax: --json\n  hint: `help` lists the commands\n")
    status, _, err = piped("incr\n")
    assert (status, err.startswith("error: ")) == (2, True)


def test_options_of_the_shell_hold_for_every_line(root: Path) -> None:
    with FakeCircusd(FakeEngine(name="two"), f"{root}/circus-two.sock"):
        assert piped("numwatchers\nnumwatchers --json\n", "--endpoint", "two")[1] == '0\n{"numwatchers": 0}\n'
        assert piped("numwatchers\nnumwatchers --endpoint two\n", "--json")[1].count("numwatchers") == 2


def test_help_and_bytes_that_are_no_text_end_nothing() -> None:
    status, out, err = piped(b"list --help\nhelp incr\nstatus \xff\nnumwatchers\n")
    assert out.startswith("usage: circusctl list ")
    assert "usage: circusctl incr " in out
    assert out.endswith("\n2\n")
    assert (status, "not found" in err) == (3, True)


# At a terminal ------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(root: Path) -> Iterator[Terminal]:
    with terminal.opened(BIN / "circusctl", "--timeout", "50", cwd=root) as shell:
        shell.wait_for(PROMPT)
        yield shell


def ask(shell: Terminal, typed: str, shown: str) -> str:
    """What is shown from ``typed`` up to the next prompt, in which ``shown`` is."""
    begin = len(shell.shown)
    shell.type(typed)
    end = shell.wait_for(PROMPT, after=shell.wait_for(shown, after=begin))
    return shell.shown[begin:end]


def leave(shell: Terminal, typed: str = "exit\n") -> int:
    shell.type(typed)
    return shell.ended()


def test_it_begins_with_the_version_and_the_status(shell: Terminal) -> None:
    first, _, rest = shell.shown.partition("\n")
    assert first == f"circusctl {circus.__version__}"
    assert "web" in rest
    assert leave(shell) == 0


def test_an_error_ends_a_command_and_not_the_shell(shell: Terminal) -> None:
    assert "did you mean 'web'?" in ask(shell, "status wbe\n", "error: ")
    assert "did you mean `circusctl status`?" in ask(shell, "stauts\n", "*** Unknown syntax: stauts")
    ask(shell, "list --help\n", "usage: circusctl list")
    ask(shell, "help list\n", "usage: circusctl list")
    ask(shell, "circusctl numprocesses web\n", "\n2\n")
    assert leave(shell, "\x04") == 0


def test_it_begins_without_a_circusd_too(root: Path) -> None:
    with terminal.opened(BIN / "circusctl", "--endpoint", "nobody", cwd=root) as shell:
        shell.wait_for(PROMPT, after=shell.wait_for("no circusd answers"))
        ask(shell, "numwatchers --endpoint default\n", "\n2\n")
        assert leave(shell) == 0


def test_ctrl_c_ends_a_line_or_the_waiting_and_not_the_shell(
    shell: Terminal, circusd: FakeCircusd, engine: FakeEngine
) -> None:
    begin = len(shell.shown)
    shell.type("stop we")
    shell.wait_for(PROMPT, after=shell.interrupt("\n", after=shell.wait_for("stop we", after=begin)))
    assert engine.heard == []
    engine.gate = asyncio.Event()
    begin = len(shell.shown)
    shell.type("stop web\n")
    wait_for(lambda: engine.heard, "the order")
    shell.type("\x03")
    shell.wait_for(PROMPT, after=shell.wait_for("stop web goes on: `circusctl operations ", after=begin))
    circusd.call(engine.gate.set)
    ask(shell, "numwatchers\n", "\n2\n")
    assert leave(shell) == 0


def test_who_may_mean_the_shell_is_asked_before_circusd_ends(shell: Terminal, engine: FakeEngine) -> None:
    begin = len(shell.shown)
    shell.type("quit\n")
    shell.wait_for("End circusd? [y/N] ", after=begin)
    ask(shell, "\n", "\n")
    for line in ("circusctl quit", "quit --no-wait", "quit"):
        begin = len(shell.shown)
        shell.type(f"{line}\n")
        shell.wait_for("End circusd? [y/N] ", after=begin)
        if line != "quit":
            ask(shell, "\n", "\n")
    assert engine.heard == []
    ask(shell, "y\n", "ok")
    assert engine.heard == ["quit"]
    assert leave(shell) == 0


def test_tab_completes_words_names_and_files(shell: Terminal, root: Path) -> None:
    (root / "my file.ini").write_text("[watcher:web]\ncmd = sleep 1\ncopy_env = true\n")
    ask(shell, "numpro\tma\t\n", "\n3\n")
    ask(shell, 'numpro\t"mail s\t\n', "\n3\n")
    ask(shell, "numpro\tmail\\ se\t\n", "\n3\n")
    ask(shell, "config check my\t\n", "my file.ini: 1 watcher")
    assert leave(shell, "exi\t\n") == 0


def test_lines_are_remembered_by_the_next_shell_for_their_user_alone(shell: Terminal, root: Path) -> None:
    ask(shell, "numprocesses web\n", "\n2\n")
    ask(shell, " numprocesses 'mail sender'\n", "\n3\n")
    assert leave(shell) == 0
    history = Path(editing.history_path())
    assert history.is_relative_to(root)
    assert history.read_text().splitlines() == ["numprocesses web", "exit"]
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.parent.stat().st_mode) == 0o700
    history.chmod(0o644)
    with terminal.opened(BIN / "circusctl", cwd=root) as second:
        second.wait_for(PROMPT)
        assert stat.S_IMODE(history.stat().st_mode) == 0o600
        ask(second, "\x1b[A\x1b[A\n", "\n2\n")
        assert leave(second) == 0


def test_the_history_has_a_bound(root: Path) -> None:
    history = Path(editing.history_path())
    history.parent.mkdir(parents=True)
    history.write_text("".join(f"status w{number}\n" for number in range(editing.MAX_HISTORY)))
    history.chmod(0o644)
    with terminal.opened(BIN / "circusctl", cwd=root) as shell:
        shell.wait_for(PROMPT)
        ask(shell, "numwatchers\n", "\n2\n")
        assert leave(shell) == 0
    lines = history.read_text().splitlines()
    assert len(lines) == editing.MAX_HISTORY
    assert lines[-2:] == ["numwatchers", "exit"]
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_a_history_that_cannot_be_kept_hinders_nobody(root: Path) -> None:
    (root / "state").write_text("no directory")
    with terminal.opened(BIN / "circusctl", cwd=root) as shell:
        shell.wait_for(PROMPT)
        ask(shell, "numwatchers\n", "\n2\n")
        assert leave(shell) == 0


def test_the_place_of_the_history_is_that_of_the_users_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAPA_RUNTIME_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/ann/state")
    assert editing.history_path() == "/home/ann/state/circusctl/history"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/ann")
    assert editing.history_path() == "/home/ann/.local/state/circusctl/history"


@pytest.mark.parametrize(
    ("line", "start", "matches"),
    [
        ("sta", 0, ["status ", "start ", "stats "]),
        ("circusctl numw", 10, ["numwatchers "]),
        ("ex", 0, ["exits ", "exit "]),
        ("status 'mail se", 13, ["sender' "]),
        ("add x --option copy_env", 15, ["copy_env="]),
        ("status e\\xit", 7, []),
    ],
)
def test_only_what_is_not_typed_yet_is_offered(line: str, start: int, matches: list[str]) -> None:
    assert editing.Editor([], own=["exit"]).matches(line, start) == matches


def test_the_options_of_the_shell_say_whose_names_are_offered(root: Path) -> None:
    with FakeCircusd(FakeEngine(make_watcher("other")), f"{root}/circus-two.sock"):
        assert editing.Editor(["--endpoint", "two"], own=[]).matches("status ", 7) == ["other "]
    assert os.environ["PAPA_RUNTIME_DIR"] == str(root)
