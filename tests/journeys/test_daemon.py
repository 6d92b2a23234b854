"""circusd in the background, and whatever can be wrong before it is there: said to the person who starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import BIN, House, opened, ticker, wait_for


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path / "house", ticker("web")) as house:
        yield house


def started(house: House, *options: str | Path) -> subprocess.CompletedProcess[str]:
    return house.run(BIN / "circusd", "--daemon", *options, house.config)


def refused(house: House, *options: str | Path) -> str:
    """What the starter says; one line and its hint, no daemon, no kernel, no traceback."""
    done = started(house, *options)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert len(said) <= 2, done.stderr
    assert said[0].startswith("circusd: ")
    wait_for(lambda: house.kernel() is None, "no kernel left")
    return "\n".join(said)


def test_a_port_in_use_is_said(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        house.config.write_text(house.config.read_text() + f"[socket:one]\nhost = 127.0.0.1\nport = {port}\n")
        said = refused(house)
    assert f"socket one: circus.one: cannot listen: port 127.0.0.1:{port}" in said
    assert "in use" in said


def test_a_control_socket_that_cannot_be_made_is_said(house: House, tmp_path: Path) -> None:
    house.config.write_text(f"[circus]\ncontrol = unix://{tmp_path}/none/c.sock\n" + house.config.read_text())
    assert f"{tmp_path}/none/c.sock" in refused(house)


def test_a_kernel_that_cannot_be_started_is_said(house: House) -> None:
    house.start()
    state = house.kernel()
    assert state is not None
    house.asked("shutdown")
    house.gone()
    in_the_way = Path(state["directory"])
    wait_for(lambda: not in_the_way.exists(), "no kernel left")
    in_the_way.touch()
    done = started(house)
    in_the_way.unlink()
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"circusd: {in_the_way}: " in done.stderr


@pytest.mark.parametrize(
    "options", [("--pidfile", "none/pid"), ("--log-output", "none/log"), ("--logger-config", "no")]
)
def test_a_file_that_cannot_be_written_or_read_is_said(house: House, options: tuple[str, str]) -> None:
    assert options[1] in refused(house, *options)


def test_a_pidfile_of_a_living_process_is_said_and_kept(house: House) -> None:
    pidfile = house.folder / "pid"
    pidfile.write_text(f"{os.getpid()}\n")
    assert f"current pid {os.getpid()}" in refused(house, "--pidfile", pidfile)
    assert pidfile.read_text() == f"{os.getpid()}\n"


def test_a_start_right_after_the_quit_waits_for_the_predecessor(house: House) -> None:
    pidfile = house.folder / "pid"
    for _ in range(3):
        assert started(house, "--pidfile", pidfile).returncode == 0
        wait_for(house.is_up, "all up")
        assert Path(f"/proc/{int(pidfile.read_text())}").exists()
        house.asked("quit")
    wait_for(lambda: not pidfile.exists(), "the pidfile removed")


def test_a_daemon_has_no_terminal_and_its_own_log(house: House) -> None:
    house.config.write_text("[circus]\numask = 027\n" + house.config.read_text())
    done = started(house, "--pidfile", "pid", "--log-output", "circusd.log", "--log-level", "debug")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wait_for(house.is_up, "all up")
    pid = int((house.folder / "pid").read_text())
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
    assert os.getsid(pid) != os.getsid(0)
    wait_for(lambda: "Arbiter now waiting for commands" in house.log("circusd.log"), "the end of the start")
    wait_for(lambda: (house.folder / "web.log").exists(), "a log file")
    assert (house.folder / "web.log").stat().st_mode & 0o777 == 0o640
    (house.folder / "circusd.log").rename(house.folder / "old.log")
    os.kill(pid, signal.SIGHUP)
    wait_for(lambda: "SIGHUP" in house.log("circusd.log"), "the log opened anew")
    house.asked("shutdown")
    wait_for(lambda: not (house.folder / "pid").exists(), "the pidfile removed")


def test_a_daemon_that_nobody_can_hear_warns_of_it(house: House) -> None:
    done = started(house)
    assert done.returncode == 0
    assert "--log-output" in done.stderr
    house.asked("shutdown")


def test_a_fault_of_ours_is_in_the_log_and_told_to_the_starter(house: House) -> None:
    (house.folder / "sitecustomize.py").write_text(
        "import circus.engine.memory as memory\ndef fail(name):\n    raise ZeroDivisionError\n"
        "memory.state_directory = fail\n"
    )
    done = started(house, "--log-output", "circusd.log", "--pidfile", "pid")
    assert done.returncode == 1
    assert done.stderr == "circusd: ZeroDivisionError: ; its log has the traceback\n"
    assert "Traceback" in house.log("circusd.log")
    assert not (house.folder / "pid").exists()
    (house.folder / "sitecustomize.py").unlink()


@pytest.mark.needs("unshare")
def test_as_pid_1_term_means_shutdown(house: House) -> None:
    house.config.write_text(ticker("web", extra="use_papa = true\n"))
    command = ["unshare", "--pid", "--fork", "--kill-child", str(BIN / "circusd"), str(house.config)]
    if subprocess.run([*command[:4], "true"], capture_output=True).returncode:
        pytest.skip("no namespaces of pids here")
    with (house.folder / "circusd.out").open("ab") as out:
        outer = subprocess.Popen(command, env=house.environ, cwd=house.folder, stdout=out, stderr=out)
    try:
        wait_for(house.is_up, "all up")
        inner = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0])
        os.kill(inner, signal.SIGTERM)
        assert outer.wait(30) == 0
        assert "got signal SIGTERM: shutdown" in house.said()
        assert "web stop" in house.said()
    finally:
        outer.kill()
        outer.wait()


def test_a_reader_of_help_and_version_needs_no_configuration() -> None:
    for options, says in ((["--version"], "."), ([], "usage: circusd"), (["--help"], "--pidfile")):
        done = subprocess.run([sys.executable, "-m", "circus.circusd", *options], capture_output=True, text=True)
        assert done.returncode == 0
        assert says in done.stdout
    done = subprocess.run([sys.executable, "-m", "circus.circusd", "--no-such"], capture_output=True, text=True)
    assert done.returncode == 2
