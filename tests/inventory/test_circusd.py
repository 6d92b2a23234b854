"""What circusd itself is told in [circus]."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from tests.house import BIN, opened, wait_for
from tests.inventory.table import NOT_THERE_YET

SLEEPER = "[watcher:{}]\ncmd = /bin/sleep 1000\n"


def test_a_circusd_is_as_its_section_says(tmp_path: Path) -> None:
    folder = tmp_path / "house"
    (folder / "more").mkdir(parents=True)
    (folder / "one.ini").write_text(SLEEPER.format("one"))
    (folder / "more" / "two.ini").write_text(SLEEPER.format("two"))
    control = f"unix://{folder}/c.sock"
    config = f"""
[circus]
control = {control}
papa_endpoint = unix://{folder}/p.sock
pidfile = circusd.pid
loglevel = debug
logoutput = circusd.log
warmup_delay = 0.2
include = o*.ini
include_dir = more
use_papa = true
"""
    with opened(folder, config, CIRCUSCTL_ENDPOINT=control) as house:
        house.start()
        wait_for(lambda: house.status() == {"one": "active", "two": "active"}, "what both files say")
        assert (folder / "p.sock").exists()
        assert (folder / "circusd.pid").read_text() == f"{house.manager.pid}\n"  # type: ignore[union-attr]
        wait_for(lambda: house.log("circusd.log").count(" start\n") == 2, "both starts in its log")
        assert "Arbiter now waiting for commands" in house.log("circusd.log")
        assert "[DEBUG]" in house.log("circusd.log")
        kept = house.pids("one")
        assert kept
        house.quit()
        assert all(os.path.exists(f"/proc/{pid}") for pid in kept)
        house.start()
        wait_for(lambda: house.pids("one") == kept, "that it was kept")
        done = house.ctl("shutdown")
        assert done.returncode == 0
        house.gone()


def test_the_starts_of_watchers_are_apart(tmp_path: Path) -> None:
    config = "[circus]\nwarmup_delay = 0.5\n" + SLEEPER.format("a") + SLEEPER.format("b")
    with opened(tmp_path / "house", config) as house:
        house.start()
        (one,), (two,) = (wait_for(lambda: house.pids(name), f"the process of {name}") for name in "ab")  # noqa: B023
        assert abs(began_at(one) - began_at(two)) > 0.4


def began_at(pid: int) -> float:
    """Seconds since the boot."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return int(ticks) / os.sysconf("SC_CLK_TCK")


def test_a_name_is_found_by_it(tmp_path: Path) -> None:
    with opened(
        tmp_path / "house", "[circus]\nname = shop\n" + SLEEPER.format("a"), CIRCUSCTL_ENDPOINT="shop"
    ) as house:
        house.start()
        assert "(name shop," in house.asked("version")


def test_an_endpoint_names_a_circusd(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/c.zmq"
    with opened(
        tmp_path / "house", f"[circus]\nendpoint = {address}\n" + SLEEPER.format("a"), CIRCUSCTL_ENDPOINT=address
    ) as house:
        house.start()
        wait_for(lambda: house.status() == {"a": "active"}, "its watcher")


def test_a_logging_configuration_is_obeyed(tmp_path: Path) -> None:
    config = "[circus]\nloggerconfig = logging.json\n" + SLEEPER.format("a")
    with opened(tmp_path / "house", config) as house:
        (house.folder / "logging.json").write_text(
            '{"version": 1, "root": {"level": "INFO", "handlers": ["file"]},'
            ' "handlers": {"file": {"class": "logging.FileHandler", "filename": "own.log"}}}'
        )
        house.start()
        wait_for(lambda: "Arbiter now waiting for commands" in house.log("own.log"), "its own log")


def test_what_is_not_there_yet_is_said_at_the_start(tmp_path: Path) -> None:
    lines = [f"{key} = {value}" for key, value in NOT_THERE_YET["circus"].items()]
    watcher = [f"{key} = {value}" for key, value in NOT_THERE_YET["watcher"].items()]
    config = "\n".join(["[circus]", *lines, SLEEPER.format("a"), "stdout_stream.filename = a.log", *watcher, ""])
    config += "[socket:s]\nport = 0\n" + "".join(f"{key} = {value}\n" for key, value in NOT_THERE_YET["socket"].items())
    with opened(tmp_path / "house", config) as house:
        done = house.run(BIN / "circusctl", "config", "check", house.config)
        house.start()
        said = house.log("circusd.out")
    for key in (key for section in NOT_THERE_YET.values() for key in section):
        number = next(n for n, line in enumerate(config.splitlines(), 1) if line.startswith(f"{key} = "))
        for told in (done.stdout, said):
            assert re.search(rf"circus\.ini:{number}: ", told), key


def test_what_goes_into_no_file_is_kept_as_long_as_is_said(tmp_path: Path) -> None:
    writer = "[watcher:a]\ncmd = seq 1 2000\nmax_retry = 0\nrespawn = false\ncopy_env = true\n"
    config = "[circus]\nstore_size = 16k\nstore_age = 1h\n" + writer + SLEEPER.format("b")
    with opened(tmp_path / "house", config) as house:
        house.start()
        wait_for(lambda: house.ctl("logs", "a", "-n", "1").stdout == "2000\n", "its last line")
        kept = house.asked("logs", "a", "-n", "all")
        assert 1000 < len(kept) < 8 << 10
        folder = tmp_path / "house" / "run" / "state" / "circus" / "default" / "logs" / "copies"
        parts = sorted(folder.glob("*/stdout.*"))
        assert parts
        house.asked("stop", "a")  # and it stays so: what is old is not pushed out by what is new
        old_at = time.time() - 7200
        os.utime(parts[-1], (old_at, old_at))
        house.quit()
        house.start()
        wait_for(lambda: not parts[-1].exists(), "that what is old goes")
