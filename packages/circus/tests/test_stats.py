from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any, cast

import psutil
import pytest
from tests.house import wait_for

from circus import procfs, stats


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (100, "100B"), (1023, "1023B"), (1024, "1.00K"), (1593836, "1.52M"), (1 << 40, "1.00T")],
)
def test_sizes_are_rendered_as_the_ancestors_did(size: int, text: str) -> None:
    assert stats.render_bytes(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00.00"), (61.5, "1:01.50"), (7200, "120:00.00")])
def test_cpu_time_is_rendered_as_the_ancestors_did(seconds: float, text: str) -> None:
    assert stats.render_cpu_time(seconds) == text


def test_a_living_process_has_all_fields() -> None:
    info = stats.read(os.getpid())
    assert isinstance(info, dict)
    assert set(info) >= {
        "mem_info1", "mem_info2", "cpu", "mem", "ctime", "pid", "username", "nice", "create_time", "age",
        "cmdline", "children",
    }  # fmt: skip
    assert info["pid"] == os.getpid()


def test_a_process_that_is_gone_is_a_sentence() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert stats.read(child.pid) == "No such process (stopped?)"
    assert stats.read(child.pid, with_children=False) == "No such process (stopped?)"


def test_the_facts_are_those_that_another_reader_finds() -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
        known = psutil.Process(child.pid)
        wait_for(lambda: known.cmdline() == ["/bin/cat"], "it has become its program")
        info = stats.read(child.pid)
        assert isinstance(info, dict)
        _compare(info, known)


def _compare(info: dict[str, object], known: psutil.Process) -> None:
    assert abs(float(str(info["create_time"])) - known.create_time()) < 1.5  # both know the boot to a second
    assert 0 <= float(str(info["age"])) < time.time() - known.create_time() + 1.5
    assert info["username"] == known.username()
    assert info["nice"] == known.nice()
    assert info["cmdline"] == os.path.basename(known.cmdline()[0])
    assert abs(float(str(info["mem"])) - known.memory_percent()) < 1


def test_children_are_told_of_with_their_own_children() -> None:
    child = subprocess.Popen(["/bin/sh", "-c", "sleep 60 & wait"])
    try:
        below_it = lambda: [procfs.command(each.pid) for each in procfs.descendants(child.pid)]  # noqa: E731
        wait_for(lambda: below_it() == [["sleep", "60"]], "sleep runs")
        infos: Any = stats.read_many([os.getpid(), child.pid])
        (told,) = [each for each in infos[os.getpid()]["children"] if each["pid"] == child.pid]
        (below,) = told["children"]
        assert below["cmdline"] == "sleep"
        assert [each["pid"] for each in infos[child.pid]["children"]] == [below["pid"]]
        assert "children" not in cast("dict[str, object]", stats.read(child.pid, with_children=False))
        os.kill(below["pid"], signal.SIGKILL)
        child.wait(30)
    finally:
        child.kill()
        child.wait()


def test_the_first_look_has_no_percentage_and_the_next_one_has_the_mean_since(monkeypatch: pytest.MonkeyPatch) -> None:
    row = procfs.row(os.getpid())
    assert row is not None
    moment = 100.0
    monkeypatch.setattr(stats, "_known", {})
    monkeypatch.setattr(stats.time, "monotonic", lambda: moment)
    assert stats._cpu_percent(row) == 0.0
    moment += 2.0
    assert stats._cpu_percent(replace(row, cpu_ticks=row.cpu_ticks + procfs.TICKS_S)) == 50.0
    moment += 1.0
    assert stats._cpu_percent(replace(row, cpu_ticks=row.cpu_ticks + 3 * procfs.TICKS_S)) == 200.0
    # Another process of the same number is another one.
    assert stats._cpu_percent(replace(row, start_ticks=row.start_ticks + 1)) == 0.0


def test_what_may_not_be_read_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_pid: int) -> Any:
        raise PermissionError

    monkeypatch.setattr(procfs, "owner", denied)
    monkeypatch.setattr(procfs, "command", denied)
    info = stats.read(os.getpid())
    assert isinstance(info, dict)
    assert (info["username"], info["cmdline"]) == ("N/A", "N/A")


def test_a_user_without_a_name_is_a_number() -> None:
    assert stats._name_of(4_000_000_123) == "4000000123"


def test_a_thousand_processes_are_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    rows = procfs.rows
    monkeypatch.setattr(procfs, "rows", lambda: looks.append(1) or rows())
    stats.read_many([os.getpid(), os.getppid(), 1])
    assert len(looks) == 1
