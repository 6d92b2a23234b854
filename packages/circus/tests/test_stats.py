from __future__ import annotations

import os
import subprocess
import sys

import pytest

from circus import stats


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
    assert stats.descendants(child.pid) == []
    assert stats.children(child.pid) == []


def test_children_are_found_and_signalled() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        (found,) = [each for each in stats.children(os.getpid()) if each.pid == child.pid]
        info = stats.read(os.getpid())
        assert isinstance(info, dict)
        assert child.pid in [each["pid"] for each in info["children"]]  # type: ignore[attr-defined]
        stats.signal_process(found, 9)
        assert child.wait(30) == -9
        stats.signal_process(found, 9)
    finally:
        child.kill()
        child.wait()
