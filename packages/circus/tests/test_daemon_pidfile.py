from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from circus.daemon.pidfile import Pidfile
from circus.errors import CircusError


def test_a_pidfile_is_written_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "circusd.pid"
    pidfile = Pidfile(str(path))
    pidfile.write()
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o644
    pidfile.remove()
    assert not path.exists()


def test_a_pidfile_of_a_living_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "circusd.pid"
    path.write_text(f"{os.getppid()}\n")
    pidfile = Pidfile(str(path))
    with pytest.raises(CircusError, match="is stale, current pid"):
        pidfile.write()
    pidfile.remove()
    assert path.read_text() == f"{os.getppid()}\n"


@pytest.mark.parametrize("content", ["garbage", "", "999999999"])
def test_a_pidfile_without_a_living_process_is_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / "circusd.pid"
    path.write_text(content)
    Pidfile(str(path)).write()
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_zombie_is_no_living_process(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    path = tmp_path / "circusd.pid"
    path.write_text(f"{child.pid}\n")
    Pidfile(str(path))
    child.wait()


def test_somebody_elses_pidfile_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "circusd.pid"
    pidfile = Pidfile(str(path))
    path.write_text("1\n")
    pidfile.remove()
    assert path.exists()


def test_a_missing_directory_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(CircusError, match="there is no directory"):
        Pidfile(str(tmp_path / "missing" / "circusd.pid"))
