"""Control groups: the real ones where this machine gives any, and files that look like some for what it does not."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.house import wait_for

from circus import cgroups
from circus.errors import CircusError

MOUNT = "41 31 0:38 {root} {place} rw,relatime - cgroup2 cgroup2 rw\n"


def _machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, *, root: str = "/", files: tuple[str, ...] = ()
) -> Path:
    """Papa runs in ``group``; the mount of ``root`` is a folder, in which the group has these ``files``."""
    place = tmp_path / "unified"
    base = place / os.path.relpath(group, root)
    base.mkdir(parents=True)
    for name in ("cgroup.procs", *files):
        (base / name).write_text("")
    mounts = tmp_path / "mountinfo"
    other = "40 31 0:37 / /sys/fs/cgroup/pids rw shared:1 - cgroup cgroup rw,pids\n"
    mounts.write_text(other + MOUNT.format(root=root, place=place))
    of = tmp_path / "7.group"
    of.write_text(f"8:pids:/\n0::{group}\n")
    monkeypatch.setattr(cgroups, "_MOUNTS", str(mounts))
    monkeypatch.setattr(cgroups, "_GROUP_OF", str(tmp_path / "{pid}.group"))
    return base


def test_the_base_is_papas_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = _machine(tmp_path, monkeypatch, "/system.slice/papa.service")
    assert cgroups.find_base(7) == str(base)


def test_the_base_is_found_below_a_mount_of_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = _machine(tmp_path, monkeypatch, "/box/papa", root="/box")
    assert cgroups.find_base(7) == str(base)


def test_a_papa_that_was_put_aside_has_the_base_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = _machine(tmp_path, monkeypatch, "/box")
    (tmp_path / "7.group").write_text(f"0::/box/{cgroups.MANAGER}\n")
    assert cgroups.find_base(7) == str(base)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("8:pids:/\n", "papa's group is not mounted here"),
        ("0::/../elsewhere\n", "papa's group is not mounted here"),
        ("0::/gone\n", "may not be written"),
    ],
)
def test_without_a_base_it_is_said_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, what: str) -> None:
    _machine(tmp_path, monkeypatch, "/box")
    (tmp_path / "7.group").write_text(line)
    with pytest.raises(CircusError, match=what) as caught:
        cgroups.find_base(7)
    assert "Delegate=yes" in caught.value.hint


def test_a_process_that_is_gone_has_no_base() -> None:
    with pytest.raises(CircusError, match="cannot be used"):
        cgroups.find_base(2**22 + 1)


def test_the_name_of_a_group_is_one_part_of_a_path() -> None:
    path = cgroups.directory_of("/base", "my/name", "plugin:we.b", 3, "12-ab-1")
    assert path == "/base/circus.my-name/plugin-we-b.3.12-ab-1"
    long = cgroups.directory_of("/base", "n", "w" * 300, 3, "t" * 300)
    assert len(os.path.basename(long)) < 255


def test_controllers_are_handed_down(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    cgroups.create(ours := str(tmp_path / "circus.it"))
    for place in (tmp_path, Path(ours)):
        (place / "cgroup.subtree_control").write_text("")
    cgroups.enable(str(tmp_path), "it", ["memory", "io"])
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    assert Path(ours, "cgroup.subtree_control").read_text() == "+memory"
    Path(ours, "cgroup.subtree_control").write_text("memory pids")  # as the system would say it
    (tmp_path / "cgroup.controllers").write_text("")
    assert cgroups.enable(str(tmp_path), "it", ["memory"]) == frozenset()


def test_a_base_with_processes_has_them_put_aside_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    (tmp_path / "cgroup.procs").write_text("11\n12\n")
    moved: list[tuple[str, int]] = []
    monkeypatch.setattr(cgroups, "add", lambda path, pid: moved.append((path, pid)) or True)

    def hand_down(path: str, controller: str) -> None:
        if path == str(tmp_path) and len(moved) < 2:
            raise OSError(errno.EBUSY, "busy")
        Path(path, "cgroup.subtree_control").write_text(controller)

    monkeypatch.setattr(cgroups, "_hand_down", hand_down)
    assert cgroups.enable(str(tmp_path), "it", ["memory"]) == {"memory"}
    assert moved == [(str(tmp_path / cgroups.MANAGER), 11), (str(tmp_path / cgroups.MANAGER), 12)]


def test_what_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(CircusError, match=r"memory\.max: No such file"):
        cgroups.set(str(tmp_path), "memory.max", "1")
    with pytest.raises(CircusError, match="Not a directory"):
        (tmp_path / "file").write_text("")
        cgroups.create(str(tmp_path / "file" / "group"))
    assert cgroups.read(str(tmp_path), "memory.max") is None
    assert cgroups.members(str(tmp_path / "gone")) == []
    assert not cgroups.kill(str(tmp_path))
    assert cgroups.remove(str(tmp_path / "gone"))


@pytest.fixture
def group() -> Iterator[str]:
    """A real one."""
    try:
        base = cgroups.find_base(os.getpid())
    except CircusError as error:
        pytest.skip(error.message)
    path = cgroups.directory_of(base, f"test{os.getpid()}", "web", 1, "a")
    cgroups.create(path)
    yield path
    cgroups.kill(path)
    wait_for(lambda: cgroups.remove(path), "an empty group")
    cgroups.leave(base, f"test{os.getpid()}")
    assert not os.path.exists(os.path.dirname(path))


def test_who_is_born_in_a_group_is_found_and_killed_there(group: str) -> None:
    code = "import os, sys; sys.stdin.readline(); os.fork() or os.setsid(); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        assert cgroups.add(group, child.pid)
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.stdout.readline() + child.stdout.readline() == b"\n\n"
        members = cgroups.members(group)
        assert child.pid in members
        assert len(members) == 2
        assert not cgroups.remove(group)
        assert cgroups.kill(group)
        assert child.wait(30) == -9
    wait_for(lambda: not cgroups.members(group), "all of them gone")
    assert cgroups.remove(group)


def test_a_process_that_is_gone_is_put_nowhere(group: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not cgroups.add(group, child.pid)
