"""Whoever starts a circusd for the first time reads what happened, and what to do next."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import terminal
from tests.house import BIN, House, opened, ticker, wait_for


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    text = f"[circus]\nlogoutput = {tmp_path}/house/circusd.log\n"
    with opened(tmp_path / "house", text + ticker("web", count=2, extra="use_papa = true") + ticker("db")) as house:
        yield house


def said(house: House) -> str:
    return " ".join(house.log("circusd.out").split())


def test_a_start_in_the_foreground_says_what_was_started_and_then_what_was_adopted(house: House) -> None:
    house.start()
    wait_for(lambda: "all is up" in said(house), "the end of the start")
    assert f"configuration {house.config} control {house.folder}/run/circus-default.sock papa started, pid " in said(
        house
    )
    assert "next circusctl status -v" in said(house)
    assert re.search(r"started 3 processes: (web \(2\), db \(1\)|db \(1\), web \(2\))", said(house))
    assert "adopted" not in said(house)
    house.quit()
    (house.folder / "circusd.out").unlink()
    house.start()
    wait_for(lambda: "all is up" in said(house), "the end of the start")
    assert "papa found, pid " in said(house)
    assert "adopted 2 processes: web (2)" in said(house)
    assert "started 1 process: db (1)" in said(house)


def test_it_is_the_same_at_a_terminal_and_ctrl_c_ends_circusd(house: House) -> None:
    environ = {key: value for key, value in house.environ.items() if key.startswith(("PAPA", "TICKER", "PYTHON"))}
    with terminal.opened(BIN / "circusd", house.config, cwd=house.folder, **environ) as circusd:
        circusd.wait_for("all is up")
        circusd.type("\x03")
        assert circusd.ended() == 0


def test_what_does_not_come_up_is_told_with_where_to_look(house: House) -> None:
    house.config.write_text(house.config.read_text() + "[watcher:odd]\ncmd = sh -c 'exit 3'\ncopy_env = true\n")
    house.launch()
    wait_for(lambda: "not all is well" in said(house), "the end of the start")
    assert "failed odd: ended with status 3" in said(house)
    assert "next circusctl status -v; circusctl logs odd" in said(house)


def test_in_the_background_nothing_is_said(house: House) -> None:
    done = house.run(BIN / "circusd", "--daemon", house.config)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wait_for(house.is_up, "circusd up")
    house.asked("shutdown")
    wait_for(lambda: house.kernel() is None, "the end")


def test_without_a_configuration_it_says_how_to_get_one(house: House) -> None:
    done = house.run(BIN / "circusd")
    assert (done.returncode, done.stderr) == (0, "")
    for step in ("circusctl init -- PROGRAM", "circusd circus.ini", "circusctl status -v"):
        assert step in done.stdout


# What goes wrong ----------------------------------------------------------------------------------------------

WATCHER = "[watcher:web]\ncmd = sleep 60\ncopy_env = true\n"


@pytest.mark.parametrize(
    ("text", "options", "what", "step"),
    [
        (None, [], "does not exist", "write one by `circusctl init`"),
        ("x", [], "'x' has no '='", "write key = value"),
        ("[watcher:web\ncmd = x\n", [], "this header is not closed", "write [name]"),
        (f"{WATCHER}uid = no-such-user\n", [], "there is no user no-such-user", "write the name of a user"),
        (f"{WATCHER}stop_signal = SIGTREM\n", [], "not a signal", "did you mean 'TERM'?"),
        ("[watcher:web]\ncmd = /no/such\n", [], "/no/such", "correct"),
        (
            f"[circus]\npidfile = /no/dir/x\n{WATCHER}",
            [],
            "there is no directory /no/dir",
            "make it, or correct pidfile",
        ),
        (WATCHER, ["--log-output", "/no/dir/x"], "log output /no/dir/x", "correct logoutput or --log-output"),
        (WATCHER, ["--logger-config", "none.ini"], "logging configuration none.ini", "correct it, or loggerconfig"),
        (f"[circus]\ncontrol = unix:///no/dir/x.sock\n{WATCHER}", [], "/no/dir/x.sock", "does /no/dir exist"),
    ],
)
def test_a_start_that_is_refused_names_the_next_step(
    text: str | None, options: list[str], what: str, step: str, house: House
) -> None:
    if text is None:
        house.config.unlink()
    else:
        house.config.write_text(text)
    done = house.run(BIN / "circusd", *options, house.config)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert what in done.stderr
    assert step in done.stderr


@pytest.mark.parametrize(
    ("words", "what", "step"),
    [
        (["--log-levl", "info", "x.ini"], "unrecognized arguments: --log-levl\n", "did you mean '--log-level'?"),
        (["--log-level", "inof", "x.ini"], "'inof' is none of critical, error", "did you mean 'info'?"),
        (["--log-level", "zzz", "x.ini"], "'zzz' is none of critical, error", "choose one of them"),
        (["x.ini", "y.ini"], "unrecognized arguments: y.ini\n", "`circusd --help`"),
        (["--pidfile"], "--pidfile", "`circusd --help`"),
    ],
)
def test_a_wrong_command_line_of_circusd_is_two_lines_and_usage(
    words: list[str], what: str, step: str, house: House
) -> None:
    done = house.run(BIN / "circusd", *words)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 2)
    assert what in done.stderr
    assert step in done.stderr


def test_a_second_one_is_told_whose_pid_has_the_name_and_how_to_have_another(house: House) -> None:
    house.start()
    assert house.manager is not None
    done = house.run(BIN / "circusd", house.config)
    assert done.returncode == 1
    assert f"a circusd runs already at {house.folder}/run/circus-default.sock (pid {house.manager.pid})" in done.stderr
    assert "circusctl quit" in done.stderr
    assert "[circus] name" in done.stderr


def test_a_port_that_is_taken_is_told_with_how_to_find_by_whom(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        house.config.write_text(f"{WATCHER}[socket:s]\nport = {taken.getsockname()[1]}\n")
        done = house.run(BIN / "circusd", house.config)
    assert done.returncode == 1
    assert "is in use" in done.stderr
    assert "`ss -lntup` names it, or choose another port" in done.stderr


def test_a_runtime_root_that_is_none_is_told_with_what_chooses_another(house: House) -> None:
    (house.folder / "file").touch()
    house.environ["PAPA_RUNTIME_DIR"] = f"{house.folder}/file"
    done = house.run(BIN / "circusd", house.config)
    house.environ["PAPA_RUNTIME_DIR"] = f"{house.folder}/run"
    assert done.returncode == 1
    assert "PAPA_RUNTIME_DIR chooses another place" in done.stderr
