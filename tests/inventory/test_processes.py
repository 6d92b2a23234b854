"""What a process is given: each option that says it, seen from inside."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

from tests.house import opened, wait_for
from tests.inventory.people import FACTS, facts, telling

#: Only root may start a process as somebody else.
OTHER_USER = ("uid = nobody", "gid = 12") if os.geteuid() == 0 else ()


def test_a_process_is_as_its_options_say(tmp_path: Path) -> None:
    folder = tmp_path / "house"
    environment = folder / "environment"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to("/bin/sh")
    (folder / "work").mkdir()
    (folder / "secret.env").write_text("SECRET=file\n")
    (folder / "all.env").write_text("ALL=file\n")
    common = """
[circus]
umask = 027
env_file = all.env
[DEFAULT]
env.DEFAULTED = 1
[env]
COLOUR = red
SHELL_HOME = $HOME/x
[env:o*,x]
PATTERN = $(circus.env.COLOUR)dish
[socket:web]
host = 127.0.0.1
port = 0
"""
    config = (
        common
        + telling("one", "args = --more $(circus.sockets.web)", f"working_dir = {folder}/work", "rlimit_nofile = 777",
                  "copy_env = true", "copy_path = true", "env_file = secret.env", "env.OWN = own", "executable = "
                  + sys.executable, "numprocesses = 1", "priority = 7",
                  cmd=FACTS.replace(sys.executable, "shown") + " $(circus.wid) $(circus.env.COLOUR) $(circus.priority)")
        + telling("bare", "stdin_socket = web")
        + telling("venv", f"virtualenv = {environment}")
        + telling("quiet", "close_child_stdout = true", "close_child_stderr = true", cmd=f"{FACTS} quiet.log")
        + telling("user", "working_dir = /", *OTHER_USER, cmd="/bin/sh -c 'id -u; id -g; exec sleep 1000'")
        + telling("shell", "shell = true", "shell_args = zero one", "env.PATH = /bin",
                  cmd='echo "$0 $1" && exec sleep 1000')
    )  # fmt: skip
    with opened(folder, config, HOUSE="copied") as house:
        house.start()
        one, bare = facts(house, "one"), facts(house, "bare")
        (number,) = one["sockets"]
        assert one["argv"] == ["1", "red", "7", "--more", number]
        assert one["shown_as"] == "shown"
        assert one["cwd"] == str(folder / "work")
        assert bare["cwd"] == str(folder)
        assert (one["nofile"], one["umask"]) == (777, 0o27)

        env = one["env"]
        assert env["HOUSE"] == "copied"
        assert str(folder) in env["PYTHONPATH"].split(os.pathsep)
        assert any(path.endswith("/site-packages") for path in env["PYTHONPATH"].split(os.pathsep))
        assert {
            name: env[name] for name in ("COLOUR", "SHELL_HOME", "PATTERN", "SECRET", "OWN", "ALL", "DEFAULTED")
        } == {
            "COLOUR": "red",
            "SHELL_HOME": f"{house.environ['HOME']}/x",
            "PATTERN": "reddish",
            "SECRET": "file",
            "OWN": "own",
            "ALL": "file",
            "DEFAULTED": "1",
        }
        assert {*bare["env"], "LC_CTYPE"} == {"COLOUR", "SHELL_HOME", "ALL", "DEFAULTED", "LC_CTYPE"}

        venv = facts(house, "venv")["env"]
        assert venv["VIRTUAL_ENV"] == str(environment)
        assert venv["PATH"].split(os.pathsep)[0] == f"{environment}/bin"

        assert bare["fds"][0].startswith("socket:")
        assert one["fds"][0] == "/dev/null"
        assert facts(house, "quiet")["fds"][1:] == ["/dev/null", "/dev/null"]

        user = wait_for(lambda: len(found := house.log("user.log").split()) == 2 and found, "who it is")
        if os.geteuid() == 0:
            assert user == [str(pwd.getpwnam("nobody").pw_uid), "12"]
        wait_for(lambda: house.log("shell.log") == "zero one\n", "what the shell got")


def test_use_sockets_gives_all_to_a_process_that_names_none(tmp_path: Path) -> None:
    sockets = "[socket:a]\nhost = 127.0.0.1\nport = 0\n[socket:b]\nhost = 127.0.0.1\nport = 0\n"
    with opened(tmp_path / "house", telling("all", "use_sockets = true") + telling("none") + sockets) as house:
        house.start()
        assert (len(facts(house, "all")["sockets"]), len(facts(house, "none")["sockets"])) == (2, 0)


def test_listen_fds_gives_them_as_services_of_systemd_find_them(tmp_path: Path) -> None:
    sockets = "[socket:a]\nhost = 127.0.0.1\nport = 0\n[socket:b]\nhost = 127.0.0.1\nport = 0\n"
    watcher = telling("all", "use_sockets = true", "listen_fds = true", "use_papa = true")
    with opened(tmp_path / "house", watcher + sockets) as house:
        house.start()
        told = facts(house, "all")
        assert {"3", "4"} <= told["sockets"].keys()
        env = told["env"]
        assert (env["LISTEN_FDS"], env["LISTEN_FDNAMES"]) == ("2", "circus.a:circus.b")
        assert {int(env["LISTEN_PID"])} == house.pids("all")
