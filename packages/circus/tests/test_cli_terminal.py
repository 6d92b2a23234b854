"""What stands at standard output: told by the environment, by options, and by a real terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import termios

import pytest

from circus.cli import terminal


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def at_a_terminal(when: str = "auto") -> terminal.Terminal:
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb", buffering=0), os.fdopen(follower, "w") as stream:
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 132, 0, 0))
        return terminal.find(when, stream)


def test_a_terminal_has_its_columns_and_colours() -> None:
    found = at_a_terminal()
    assert (found.is_there, found.columns, found.has_colour) == (True, 132, True)


def test_a_pipe_has_neither_unless_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = terminal.find("auto", io.StringIO())
    assert (found.is_there, found.columns, found.has_colour) == (False, 80, False)
    monkeypatch.setenv("COLUMNS", "100")
    found = terminal.find("always", io.StringIO())
    assert (found.is_there, found.columns, found.has_colour) == (False, 100, True)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_the_environment_turns_colours_off_but_not_what_is_asked_for(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert not at_a_terminal().has_colour
    assert at_a_terminal("always").has_colour


def test_no_colours_where_none_are_wanted() -> None:
    assert not at_a_terminal("never").has_colour


def test_text_is_painted_where_there_is_colour() -> None:
    assert terminal.Terminal(has_colour=True).paint("up", "bold", "green") == "\x1b[1;32mup\x1b[0m"
    assert terminal.Terminal(has_colour=False).paint("up", "bold") == "up"


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert not terminal.is_terminal(stream)
