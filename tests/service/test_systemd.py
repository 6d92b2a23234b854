"""The shipped units under a real systemd: what its stops, restarts, kills and its own end do to programs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import BIN, ROOT, House, ticker, wait_for
from tests.service.systemd import Systemd

sys.path.insert(0, str(ROOT / "examples"))
import tally

INSTALLED = "%h/.local/papa/bin"


def config(folder: Path) -> str:
    # A service has another working directory.
    return f"[circus]\nuse_papa = true\nlogoutput = {folder}/circusd.log\n" + ticker(
        "web", count=2, log=f"{folder}/web.log"
    )


@pytest.fixture
def house(tmp_path: Path, runtime_root: Path) -> House:
    house = House(tmp_path / "house", config(tmp_path / "house"))
    house.environ["PAPA_RUNTIME_DIR"] = str(runtime_root)
    return house


@pytest.fixture
def systemd(tmp_path: Path, house: House) -> Iterator[Systemd]:
    systemd = Systemd(tmp_path / "home")
    for name in ("papa.service", "circus.service"):
        text = (ROOT / "share/systemd/user" / name).read_text()
        text = text.replace(INSTALLED, str(BIN)).replace("%E/circus/circus.ini", str(house.config))
        kept = ("PAPA_RUNTIME_DIR", "TICKER_TRUTH", "PYTHONPATH")
        environ = "".join(f'Environment="{key}={house.environ[key]}"\n' for key in kept)
        (systemd.units / name).write_text(text.replace("[Service]\n", f"[Service]\n{environ}"))
    yield systemd
    systemd.close()


def only_circus(systemd: Systemd) -> None:
    """Where papa.service is not installed."""
    (systemd.units / "papa.service").unlink()


def start(systemd: Systemd, house: House) -> None:
    systemd.boot()
    systemd.done("start", "circus.service")
    # Type=notify: circusd can be asked when `start` comes back.
    assert house.status()
    wait_for(lambda: house.is_up() and len(house.pids("web")) == 2, "all up")


def test_a_restart_and_a_kill_of_the_service_leave_kernel_and_programs_alone(systemd: Systemd, house: House) -> None:
    only_circus(systemd)
    start(systemd, house)
    assert systemd.show("circus.service", "StatusText") == f"default: 1 watchers, configured by {house.config}"
    web, kernel = house.pids("web"), house.kernel()
    assert kernel is not None
    assert len(web) == 2
    assert len(systemd.pids_in("circus.service")) == 1
    # The holder, the kernel, two programs.
    assert len(systemd.pids_in("papa-default-*.scope")) == 4
    (scope,) = [word for word in systemd.done("list-units", "--plain").split() if word.startswith("papa-default-")]
    assert systemd.show(scope, "KillMode") == "process"

    systemd.done("restart", "circus.service")
    assert house.pids("web") == web

    # Everything in the cgroup of the service at once.
    systemd.done("kill", "--signal=KILL", "circus.service")
    wait_for(lambda: systemd.show("circus.service", "NRestarts") == "1" and house.is_up(), "another circusd")
    assert house.pids("web") == web
    after = house.kernel()
    assert after is not None
    assert after["pid"] == kernel["pid"]

    # Even of its scope: it has no main process that a stop would end.
    systemd.done("stop", scope)
    assert house.pids("web") == web
    house.asked("shutdown")


def test_reload_reads_the_configuration_and_stop_means_quit(systemd: Systemd, house: House) -> None:
    only_circus(systemd)
    start(systemd, house)
    web = house.pids("web")
    house.config.write_text(house.config.read_text().replace("numprocesses = 2", "numprocesses = 3"))
    systemd.done("reload", "circus.service")
    assert house.pids("web") > web
    systemd.done("stop", "circus.service")
    assert systemd.show("circus.service", "Result") == "success"
    assert "got signal SIGTERM: quit" in house.log("circusd.log")
    kernel = house.kernel()
    assert kernel is not None
    assert kernel["running"] == 3


def test_the_end_of_the_host_stops_everything_in_order(systemd: Systemd, house: House) -> None:
    only_circus(systemd)
    start(systemd, house)
    systemd.exit()
    log = house.log("circusd.log")
    assert "got signal" not in log  # circusctl shutdown, and no TERM that would cut it short
    assert "web stop" in log
    assert "circusd leaves" in log
    assert house.kernel() is None
    counts = tally.compare(house.truth, [house.folder / "web.log"])
    assert len(counts) == 2
    assert all(count.written and not count.lost and not count.doubled for count in counts.values())


def test_a_stopped_circusd_is_replaced_and_leaves_its_stacks(systemd: Systemd, house: House) -> None:
    only_circus(systemd)
    unit = systemd.units / "circus.service"
    text = unit.read_text()
    assert "WatchdogSec=30\n" in text
    unit.write_text(text.replace("WatchdogSec=30\n", "WatchdogSec=3\n"))
    start(systemd, house)
    web = house.pids("web")
    (circusd,) = systemd.pids_in("circus.service")
    os.kill(circusd, signal.SIGSTOP)
    wait_for(lambda: systemd.show("circus.service", "NRestarts") == "1" and house.is_up(), "another circusd", 60)
    assert house.pids("web") == web
    log = house.log("circusd.log")
    assert "the circusd before has left its stacks" in log
    assert "Fatal Python error: Aborted" in log
    assert "warden" not in house.asked("status", "-v")
    house.asked("shutdown")


def test_with_a_unit_of_its_own_the_kernel_is_there_first_and_cannot_be_stopped(systemd: Systemd, house: House) -> None:
    start(systemd, house)
    assert systemd.show("papa.service", "ActiveState") == "active"
    assert len(systemd.pids_in("papa.service")) == 4
    assert "inside" not in house.ctl("status").stderr
    web = house.pids("web")
    assert systemd.ctl("stop", "papa.service").returncode != 0
    assert systemd.ctl("restart", "papa.service").returncode != 0
    systemd.done("restart", "circus.service")
    assert house.pids("web") == web
    systemd.exit()
    assert "web stop" in house.log("circusd.log")


def test_a_kernel_that_cannot_leave_the_service_is_said_and_spared_by_the_unit(systemd: Systemd, house: House) -> None:
    only_circus(systemd)
    unit = systemd.units / "circus.service"
    unit.write_text(unit.read_text().replace("[Service]\n", "[Service]\nEnvironment=PATH=/does/not/exist\n"))
    start(systemd, house)
    assert len(systemd.pids_in("circus.service")) == 5
    said = "is inside circus.service, whose stop ends all programs unless it has KillMode=process"
    assert said in house.ctl("status").stderr + house.ctl("status").stdout
    assert said in house.log("circusd.log")
    web = house.pids("web")
    systemd.done("restart", "circus.service")
    assert house.pids("web") == web


def test_killing_the_cgroup_of_the_starter_leaves_the_kernel_alive(systemd: Systemd, house: House) -> None:
    only_circus(systemd)
    start(systemd, house)
    web = house.pids("web")
    (circusd,) = systemd.pids_in("circus.service")
    (group,) = systemd.groups_of("circus.service")
    (group / "cgroup.kill").write_text("1")
    wait_for(lambda: not Path(f"/proc/{circusd}").exists(), "circusd killed")
    wait_for(house.is_up, "another circusd")
    assert house.pids("web") == web
