"""A state directory on a real file system that is full, that cannot be written any more, or that is very small."""

from __future__ import annotations

import os
import subprocess

import pytest
from tests.house import wait_for
from tests.kernels import Kernel, numbered, papa, state_of

from papa.errors import PapaError

pytestmark = [
    pytest.mark.needs("mount", "umount"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system"),
]

MIB = 1 << 20


def is_gone(root):
    return subprocess.run(["umount", root], check=False, stderr=subprocess.DEVNULL).returncode == 0


@pytest.fixture
def disk(runtime_root, request):
    """Mounts a tmpfs of a size on the runtime root."""

    def mount(options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "papa-test", runtime_root], check=True)
        request.addfinalizer(lambda: wait_for(lambda: is_gone(runtime_root), "the end of who uses it"))
        return runtime_root

    return mount


@pytest.fixture
def kernels(disk, request):
    def start(options):
        root = disk(options)
        kernel = Kernel()
        # Ended before its disk goes.
        request.addfinalizer(kernel.end)
        kernel.start()
        return kernel, root

    return start


def fill(root):
    """Leaves not a byte."""
    with open(root / "stranger", "ab", buffering=0) as file:
        size = MIB
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2


def heads(kernel):
    return {row["name"]: row["streams"]["out"]["head"] for row in kernel.rows().values()}


def test_a_full_disk_costs_nothing_but_time_and_heals(kernels, tmp_path):
    """What does not fit stays in the pipe, even over the death of its writer and of the kernel."""
    kernel, root = kernels("size=8m")
    row = kernel.writer("w", 1, 0, tmp_path / "gate")
    fill(root)
    (tmp_path / "gate").touch()
    wait_for(lambda: state_of(row["pid"]) in "ZX", "its end")
    for _ in range(2):
        # The kernel answers, and what must be written is refused in one line.
        with pytest.raises(PapaError) as caught:
            kernel.ask("set", name="a", value="x" * 100_000)
        assert caught.value.code == "limit"
        assert "No space left" in caught.value.message
        assert "\n" not in str(caught.value)
        assert kernel.status()["file_system"]["free_bytes"] == 0
        assert heads(kernel) == {"w": 0}
        kernel.kill()
    os.unlink(root / "stranger")
    wait_for(lambda: heads(kernel) == {"w": 16}, "its line")
    assert kernel.rows()[row["id"]]["exit"]["status"] == 42
    assert kernel.output(row) == numbered(1)
    assert kernel.status()["dropped_bytes"] == 0
    assert kernel.ask("set", name="a", value="x") is not None
    assert kernel.writer("another", 10, 0)["pid"]


def test_on_a_full_disk_old_output_makes_room_for_new_and_it_is_said(kernels, tmp_path):
    kernel, root = kernels("size=8m")
    old = kernel.writer("old", 110_000, 0)
    wait_for(lambda: kernel.rows()[old["id"]]["exit"], "its exit")
    late = kernel.writer("late", 1000, 0, tmp_path / "gate")
    wait_for(lambda: heads(kernel)["late"] == 999 * 16, "all but its last line")
    fill(root)
    (tmp_path / "gate").touch()
    kernel.ask("set", name="a", value="x" * 10_000)
    wait_for(lambda: heads(kernel)["late"] == 16_000, "its last line")
    assert kernel.output(late) == numbered(1000)
    stream = kernel.rows()[old["id"]]["streams"]["out"]
    assert 0 < stream["low"] < stream["head"] == 110_000 * 16
    assert kernel.status()["dropped_bytes"] == stream["low"]
    assert f"{papa('status').stdout}".count("dropped") == 1


def test_fifty_writers_share_the_budget_of_a_small_disk(kernels):
    """The largest holder loses first, and what is lost is known to the byte."""
    kernel, _ = kernels("size=16m")
    assert kernel.status()["budget_bytes"] == 4 * MIB
    small = [kernel.writer(f"small{number}", 100, 0) for number in range(48)]
    large = [kernel.writer(f"large{number}", 200_000, 0) for number in range(2)]
    ids = {row["id"] for row in (*small, *large)}
    wait_for(lambda: all(kernel.rows()[number]["exit"] for number in ids), "the end of all", timeout_s=50)
    status = kernel.status()
    rows = kernel.rows()
    assert status["held_bytes"] <= status["budget_bytes"]
    for row in small:
        assert kernel.output(row) == numbered(100)
    dropped = 0
    for row in large:
        stream = rows[row["id"]]["streams"]["out"]
        assert stream["head"] == 200_000 * 16
        dropped += stream["low"]
    assert dropped > 0
    assert status["dropped_bytes"] == dropped


def test_a_disk_that_takes_no_new_file_refuses_new_processes_and_keeps_the_others(kernels, tmp_path):
    kernel, _ = kernels("size=8m,nr_inodes=40")
    row = kernel.writer("w", 3, 0, tmp_path / "gate")
    others = []
    with pytest.raises(PapaError) as caught:
        while len(others) < 40:
            others.append(kernel.writer(f"other{len(others)}", 1, 0))
    assert caught.value.code in ("limit", "spawn-failed")
    assert "No space left" in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "gate").touch()
    wait_for(lambda: all(row["exit"] for row in kernel.rows().values()), "all exits")
    assert kernel.output(row) == numbered(3)
    assert len(kernel.rows()) == 1 + len(others)
    assert kernel.status()["running"] == 0
