from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from circus.daemon.single import Lock, Pidfile
from circus.errors import CircusError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path


def test_a_second_circusd_of_a_name_is_refused_with_the_first_ones_pid() -> None:
    lock = Lock("default")
    lock.write_pid()
    with pytest.raises(CircusError, match=rf"'default' is already running \(pid {os.getpid()}\)") as raised:
        Lock("default")
    assert raised.value.code == "conflict"
    Lock("other").close()
    lock.close()
    Lock("default").close()


def test_a_lock_ends_with_its_process(root: Path) -> None:
    script = "from circus.daemon.single import Lock; Lock('default').write_pid(); import os; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", script], check=False, env={**os.environ})
    Lock("default").close()


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
    with pytest.raises(CircusError, match="is stale, current pid"):
        Pidfile(str(path))


@pytest.mark.parametrize("content", ["garbage", "", "999999999"])
def test_a_pidfile_without_a_living_process_is_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / "circusd.pid"
    path.write_text(content)
    Pidfile(str(path)).write()
    assert path.read_text() == f"{os.getpid()}\n"


def test_somebody_elses_pidfile_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "circusd.pid"
    pidfile = Pidfile(str(path))
    path.write_text("1\n")
    pidfile.remove()
    assert path.exists()


def test_a_missing_directory_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(CircusError, match="there is no directory"):
        Pidfile(str(tmp_path / "missing" / "circusd.pid"))
