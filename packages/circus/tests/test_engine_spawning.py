"""What the kernel is asked to start, of what the file says."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from circus.config import load
from circus.config.model import SocketConfig
from circus.engine import spawning
from circus.engine.looks import MARK
from circus.engine.names import Names
from circus.errors import CircusError

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/h"}


def spec(folder: Path, options: str, *, sockets: str = "", umask: int = 0o22, **more: Any) -> dict[str, Any]:
    path = folder / "circus.ini"
    path.write_text(f"{sockets}[watcher:web]\n{options}")
    (config,) = load.load(str(path), ENVIRON).watchers
    known = [SocketConfig(name=name) for name in more.pop("names", ())]
    return spawning.build_spec(
        config,
        wid=3,
        token="t",
        config_path=str(path),
        names=Names("default"),
        sockets=known,
        environ=ENVIRON,
        working_dir="/here",
        umask=umask,
    )


def test_the_smallest_watcher(tmp_path: Path) -> None:
    found = spec(tmp_path, "cmd = sleep 60\n")
    assert found["name"] == "circus.web.3"
    assert found["argv"] == ["sleep", "60"]
    assert found["cwd"] == "/here"
    assert (found["stdin"], found["stdout"], found["stderr"]) == ("null", "capture", "capture")
    assert found["umask"] == 0o22
    assert "HOME" not in found["env"]
    assert not found.keys() & {"uid", "gid", "groups", "rlimits", "executable"}


def test_the_row_tells_the_next_circusd_whose_it_is(tmp_path: Path) -> None:
    meta = spec(tmp_path, "cmd = sleep 60\nstop_signal = INT\ngraceful_timeout = 4\nuse_papa = true\n")["meta"]
    assert (meta["circusd"], meta["watcher"], meta["wid"], meta["token"]) == ("default", "web", 3, "t")
    assert (meta["stop_signal"], meta["graceful_timeout_s"], meta["use_papa"]) == (2, 4.0, True)
    assert meta["config"] == str(tmp_path / "circus.ini")
    assert len(meta["digest"]) == 64


def test_only_where_the_tree_has_to_go_its_processes_are_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRON, MARK, "that of a circusd which runs this one")
    for mode in ("process", "group", "tree"):
        found = spec(tmp_path, f"cmd = sleep 60\ncopy_env = true\nkill_mode = {mode}\n")
        assert found["meta"].get("kill_mode", "process") == mode
        assert found["env"].get(MARK) == ("t" if mode == "tree" else None)
        assert "PATH" in found["env"]
    (tmp_path / "own").mkdir()
    config = f"cmd = sleep 60\n[env]\n{MARK} = mine\n"
    assert spec(tmp_path / "own", config)["env"][MARK] == "mine"


def test_users_and_groups_are_looked_up_at_each_spawn(tmp_path: Path) -> None:
    me = pwd.getpwuid(os.getuid())
    by_name, by_number = spec(tmp_path, f"cmd = sleep 60\nuid = {me.pw_name}\n"), None
    assert (by_name["uid"], by_name["gid"]) == (me.pw_uid, me.pw_gid)
    if os.geteuid() == 0:
        assert by_name["groups"] == os.getgrouplist(me.pw_name, me.pw_gid)
    group = grp.getgrgid(me.pw_gid)
    by_number = spec(tmp_path, f"cmd = sleep 60\nuid = {me.pw_uid}\ngid = {group.gr_name}\n")
    assert (by_number["uid"], by_number["gid"]) == (me.pw_uid, group.gr_gid)
    only_group = spec(tmp_path, f"cmd = sleep 60\ngid = {group.gr_gid}\n")
    assert only_group["gid"] == group.gr_gid
    assert "uid" not in only_group


def test_a_user_that_is_gone_since_the_file_was_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    path = tmp_path / "circus.ini"
    path.write_text(f"[watcher:web]\ncmd = sleep 60\nuid = {me}\n")
    (config,) = load.load(str(path), ENVIRON).watchers

    def gone(_name: str) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwnam", gone)
    with pytest.raises(CircusError, match=f"web: there is no user '{me}'"):
        spawning._identity(config)


def test_limits_streams_and_sockets(tmp_path: Path) -> None:
    found = spec(
        tmp_path,
        "cmd = sleep $(circus.sockets.a)\nrlimit_nofile = 500\nclose_child_stderr = true\nstdin_socket = b\n",
        sockets="[socket:a]\nport = 0\n[socket:b]\nport = 0\n",
        names=("a", "b"),
    )
    assert found["rlimits"] == {"nofile": [500, 500]}
    assert found["stderr"] == "null"
    assert found["stdin"] == {"socket": "circus.b"}
    assert found["argv"] == ["sleep", "$(socket.circus.a.fileno)"]
    assert "circus.a" in found["sockets"]
    assert "listen_fds" not in found


def test_an_empty_limit_is_none(tmp_path: Path) -> None:
    found = spec(tmp_path, "cmd = sleep 60\nrlimit_core =\nrlimit_NOFILE =\nrlimit_nproc = 9\n")
    assert found["rlimits"] == {"core": [-1, -1], "nofile": [-1, -1], "nproc": [9, 9]}
