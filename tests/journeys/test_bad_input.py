"""What is wrong is said in one clear line, and nothing is half done."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import BIN, House, opened, ticker, wait_for


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path / "house", ticker("web") + ticker("db")) as house:
        yield house


def refused(house: House, *words: str) -> tuple[int, str]:
    done = house.ctl(*words)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def refused_start(house: House) -> str:
    done = house.run(BIN / "circusd", house.config)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert house.kernel() is None, "nothing is started when there is a problem"
    return done.stderr


def test_no_circusd_is_one_clear_line(house: House) -> None:
    status, said = refused(house, "status")
    assert status == 1
    assert "circus-default.sock" in said
    assert "circusd" in said


@pytest.mark.parametrize("words", [("stauts",), ("start", "web", "--no-such"), ("incr",), ("signal", "web")])
def test_wrong_usage_is_2(house: House, words: tuple[str, ...]) -> None:
    assert refused(house, *words)[0] == 2


def test_an_unknown_command_names_the_nearest(house: House) -> None:
    assert "restart" in refused(house, "restrat")[1]


def test_an_unknown_watcher_is_refused_with_the_nearest_name(house: House) -> None:
    house.start()
    before = house.pids("web")
    for command in ("status", "list", "start", "stop", "restart", "incr", "stats", "options"):
        status, said = refused(house, command, "wbe")
        assert status == 3, command
        assert "wbe" in said
        assert "web" in said
    status, said = refused(house, "signal", "web", "NOPE")
    assert (status, "NOPE" in said) == (3, True)
    assert house.pids("web") == before


def test_a_second_circusd_is_refused_and_the_first_goes_on(house: House) -> None:
    house.start()
    before = house.pids("web")
    done = house.run(BIN / "circusd", house.config)
    assert done.returncode == 1
    assert "a circusd runs already" in done.stderr
    assert house.pids("web") == before


def test_every_problem_of_a_file_is_listed_with_its_line(house: House) -> None:
    house.config.write_text(
        "[watcher:web]\n"
        "cmd = /no/such/program\n"
        "working_dir = /no/such/directory\n"
        "uid = no-such-user\n"
        "stop_signal = NOPE\n"
        "numprocesses = many\n"
        "[watcher:db]\n"
        "cmd = sleep 60 $(circus.sockets.missing)\n"
        "singleton = perhaps\n"
    )
    said = refused_start(house)
    for line, word in enumerate(
        ["/no/such/program", "/no/such/directory", "no-such-user", "NOPE", "many"],
        start=2,
    ):
        assert f"circus.ini:{line}: " in said
        assert word in said
    assert "circus.ini:8: " in said
    assert "circus.ini:9: " in said


def test_an_unknown_option_is_a_warning_with_the_nearest_name(house: House) -> None:
    house.config.write_text(ticker("web", extra="gracefull_timeout = 3\n"))
    house.start()
    assert "graceful_timeout" in house.log("circusd.out")


def test_a_missing_file_is_one_line(house: House) -> None:
    house.config.unlink()
    said = refused_start(house)
    assert "circus.ini" in said


def test_a_port_in_use_is_said_and_nothing_is_left(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        house.config.write_text(
            ticker("web") + f"[socket:one]\nport = 0\n[socket:two]\nhost = 127.0.0.1\nport = {port}\n"
        )
        done = house.run(BIN / "circusd", house.config)
    assert done.returncode == 1
    assert "two" in done.stderr
    assert f"127.0.0.1:{port}" in done.stderr
    assert "in use" in done.stderr
    wait_for(lambda: house.kernel() is None, "the kernel gone again")


def test_a_wrong_file_changes_nothing_at_reloadconfig(house: House) -> None:
    house.start()
    before = house.pids("web")
    house.config.write_text(house.config.read_text().replace("numprocesses = 1", "numprocesses = few"))
    status, said = refused(house, "reloadconfig")
    assert status == 3
    assert "few" in said
    assert house.pids("web") == before


def test_a_program_that_vanished_stops_its_watcher_and_no_other(house: House, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.symlink_to("/bin/sleep")
    extra = f"[watcher:brief]\ncmd = {program} 60\nmax_retry = 2\ncopy_env = true\n"
    house.config.write_text(ticker("web") + extra)
    house.start()
    program.unlink()
    (pid,) = house.pids("brief")
    os.kill(pid, 9)
    wait_for(lambda: house.status().get("brief") == "stopped", "the watcher stopped")
    assert house.status()["web"] == "active"
    assert str(program) in house.asked("status", "-v")
