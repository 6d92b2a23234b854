"""circusd and papa as the first process of a container: who is reaped, what ends what, and with which status."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house import BIN, House, ticker, wait_for
from tests.service.container import READ_ONLY, Container

Run = Callable[..., Container]


@pytest.fixture
def house(tmp_path: Path, runtime_root: Path) -> House:
    house = House(tmp_path / "house", "[circus]\nuse_papa = true\n" + ticker("web", count=2))
    house.environ["PAPA_RUNTIME_DIR"] = str(runtime_root)
    return house


@pytest.fixture
def run(house: House) -> Iterator[Run]:
    containers = []

    def run(*argv: str | Path) -> Container:
        containers.append(Container(*argv, environ=house.environ, folder=house.folder))
        return containers[-1]

    yield run
    for container in containers:
        container.close()


def circusd(run: Run, house: House, *options: str) -> Container:
    container = run(BIN / "circusd", *options, house.config)
    try:
        wait_for(lambda: house.is_up() and len(house.pids("web")) == 2, "all up", timeout_s=40)
    except AssertionError as error:
        raise AssertionError(
            f"{error}: {house.status()} {house.ctl('list', 'web')} {container.out.read_text()}"
        ) from None
    return container


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_container_that_shall_end_shuts_down_in_order(run: Run, house: House, signum: signal.Signals) -> None:
    container = circusd(run, house)
    container.signal(signum)
    assert container.end() == 0
    said = container.out.read_text()
    assert f"got signal {signum.name}: shutdown" in said
    assert "web stop" in said
    assert "circusd leaves" in said
    assert house.kernel() is None


def test_quit_is_shutdown_where_nothing_outlives_circusd(run: Run, house: House) -> None:
    container = circusd(run, house)
    house.asked("quit")
    assert container.end() == 0
    assert "web stop" in container.out.read_text()


def test_a_killed_circusd_does_not_end_the_container_and_costs_no_program(run: Run, house: House) -> None:
    container = circusd(run, house)
    web, first = house.pids("web"), container.first
    manager = house.asked("status", "--json")
    # Its other child is the holder.
    (pid,) = [pid for pid in container.children(first) if Path(f"/proc/{pid}/comm").read_text() != "sh\n"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: house.is_up() and house.asked("status", "--json") != manager, "another circusd")
    assert container.first == first
    assert house.pids("web") == web
    container.signal()
    assert container.end() == 0


def test_strangers_are_reaped(run: Run, house: House) -> None:
    container = circusd(run, house)
    # Its starter is gone when it ends, and nobody of ours knows of it.
    done = container.inside("sh", "-c", "(sleep 0.05 & echo $!) &")
    stranger = int(done.stdout)
    wait_for(lambda: str(stranger) not in container.inside("ps", "-eo", "pid=").stdout.split(), "the stranger reaped")
    wait_for(lambda: "<defunct>" not in container.inside("ps", "-e").stdout, "no other zombie either")


def test_a_configuration_that_cannot_be_used_ends_the_container_with_1(run: Run, house: House) -> None:
    house.config.write_text("[watcher:web]\nnumprocesses = 1\n")
    container = run(BIN / "circusd", house.config)
    assert container.end() == 1
    assert "cmd is missing" in container.out.read_text()


@pytest.mark.parametrize(("ending", "status"), [("exit 7", 7), ("kill -9 $$", 137), ("exit 0", 0)])
def test_a_container_ends_with_what_is_essential_and_with_its_status(
    run: Run, house: House, ending: str, status: int
) -> None:
    go = house.folder / "go"
    house.config.write_text(
        "[circus]\nuse_papa = true\n" + ticker("web", count=2)
        + "[watcher:job]\ncopy_env = true\nrespawn = false\nessential = true\n"
        + f"cmd = sh -c 'while ! test -e {go}; do sleep 0.05; done; {ending}'\n"
    )  # fmt: skip
    container = circusd(run, house)
    go.touch()
    assert container.end() == status
    said = container.out.read_text()
    assert f"job was essential and has ended: so does everything, with status {status}" in said
    assert "web stop" in said


def test_a_killed_circusd_has_not_said_how_the_container_ends(run: Run, house: House) -> None:
    house.config.write_text(house.config.read_text() + "essential = true\n")
    container = circusd(run, house)
    (pid,) = [pid for pid in container.children(container.first) if Path(f"/proc/{pid}/comm").read_text() != "sh\n"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: house.is_up() and len(house.pids("web")) == 2, "another circusd")
    container.signal()
    assert container.end() == 0


def test_daemon_has_no_effect_in_a_container(run: Run, house: House) -> None:
    container = circusd(run, house, "--daemon")
    assert "--daemon has no effect in a container" in container.out.read_text()
    container.signal()
    assert container.end() == 0


def test_a_read_only_root_with_one_tmpfs_is_enough(run: Run, house: House) -> None:
    runtime = house.environ["PAPA_RUNTIME_DIR"]
    house.config.write_text(
        "[watcher:web]\ncmd = sh -c 'touch no 2>/dev/null || echo read-only; exec sleep 1000'\ncopy_env = true\n"
    )
    container = run("sh", "-c", READ_ONLY, "sh", runtime, BIN / "circusd", house.config)
    wait_for(lambda: "read-only" in container.out.read_text(), "the program's output on circusd's")
    asked = container.inside("env", f"PAPA_RUNTIME_DIR={runtime}", BIN / "circusctl", "status")
    assert asked.stdout == "web: active\n"
    container.signal()
    assert container.end() == 0


def test_what_docker_kills_after_ten_seconds_leaves_nothing(run: Run, house: House) -> None:
    stubborn = "sh -c 'trap \"\" TERM; while :; do sleep 1; done'"
    house.config.write_text(f"[watcher:web]\ncmd = {stubborn}\nnumprocesses = 2\ngraceful_timeout = 60\n")
    container = circusd(run, house)
    container.signal()
    wait_for(lambda: "shutdown" in container.out.read_text(), "shutdown begun")
    container.signal(signal.SIGKILL)
    assert container.end() != 0
    # The next container on the same volume begins anew.
    house.config.write_text("[circus]\nuse_papa = true\n" + ticker("web", count=2))
    again = circusd(run, house)
    again.signal()
    assert again.end() == 0


def papa(run: Run, house: House, *words: str) -> Container:
    container = run(BIN / "papa", *words)
    wait_for(lambda: house.kernel(), "the kernel")
    return container


@pytest.mark.parametrize("words", [("serve",), ("serve", "--daemonize"), ("serve", "--debug")])
def test_papa_itself_may_be_the_first_process(run: Run, house: House, words: tuple[str, ...]) -> None:
    container = papa(run, house, *words)
    stranger = int(container.inside("sh", "-c", "(sleep 0.05 & echo $!) &").stdout)
    wait_for(lambda: str(stranger) not in container.inside("ps", "-eo", "pid=").stdout.split(), "the stranger reaped")
    before = house.kernel()
    assert before is not None
    container.inside("kill", "-9", str(before["holder"]))
    wait_for(lambda: (now := house.kernel()) and now["holder"] not in (None, before["holder"]), "another holder")
    container.signal()
    assert container.end() == 0
    assert house.kernel() is None


def test_papa_as_the_first_process_ends_with_its_kernel(run: Run, house: House) -> None:
    container = papa(run, house, "serve")
    assert house.run(BIN / "papa", "exit").returncode == 0
    assert container.end() == 0
