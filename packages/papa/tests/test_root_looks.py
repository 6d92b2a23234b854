"""Root looks at the kernel of another user: by the directory that it names, and starts or changes nothing there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from bench import machine
from tests.house import wait_for
from tests.kernels import papa

from papa.cli import status
from papa.client import launch
from papa.errors import PapaError

UID = 64994
PYTHON = "/usr/bin/python3"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def become_ordinary():
    os.setgroups([])
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)


@pytest.fixture
def theirs(monkeypatch):
    """The runtime root of another user, whose programs may be read by everybody; root names it."""
    folder = Path(tempfile.mkdtemp(prefix="papa-looks-", dir="/tmp"))
    folder.chmod(0o755)
    shutil.copytree(Path(launch.__file__).parents[1], folder / "papa", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "run").mkdir(mode=0o700)
    os.chown(folder / "run", UID, UID)
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(folder / "run"))
    yield folder / "run"
    left = machine.marked(str(folder))
    machine.end(str(folder))
    shutil.rmtree(folder)
    assert not left


@pytest.fixture
def kernel(theirs):
    """The pid of a kernel of theirs."""

    def say(*words):
        return subprocess.run(
            [PYTHON, "-m", "papa.cli", *words], preexec_fn=become_ordinary, cwd="/", text=True, capture_output=True,
            env={"PATH": os.defpath, "PYTHONPATH": str(theirs.parent), "PAPA_RUNTIME_DIR": str(theirs)}, check=True,
        ).stdout  # fmt: skip

    say("serve", "--daemonize")
    yield json.loads(say("status", "--json"))["pid"]
    if os.listdir(theirs):
        say("exit", "--force")
    wait_for(lambda: not machine.marked(str(theirs)), "the end of kernel and holder")


def test_root_sees_the_kernel_whose_directory_it_names(kernel, theirs):
    assert f"pid {kernel}, " in papa("status").stdout
    assert os.stat(theirs / "kernel-default").st_uid == UID


def test_root_may_end_it_too(kernel, theirs):
    done = papa("exit")
    assert (done.returncode, done.stdout) == (0, f"kernel {kernel} left\n")


def test_where_none_runs_root_is_told_so_and_starts_none(theirs):
    directory = theirs / "kernel-default"
    directory.mkdir(mode=0o755)
    os.chown(directory, UID, UID)
    os.mkfifo(directory / "kernel.log")
    done = papa("status")
    assert done.returncode == 1
    assert f"no papa kernel answers at {directory}/control.sock: none runs" in done.stderr
    done = papa("serve", "--daemonize")
    assert done.returncode == 3
    assert f"belongs to uid {UID}, not to uid 0" in done.stderr
    assert os.listdir(directory) == ["kernel.log"]
    assert directory.stat().st_mode & 0o777 == 0o755


LISTENER = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("listens", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("is_linked", [False, True])
def test_who_listens_in_a_directory_that_is_another_users_is_no_kernel(theirs, is_linked):
    """One that a link leads to is not the directory that root has named."""
    directory = theirs / "kernel-default"
    real = theirs / "elsewhere" if is_linked else directory
    real.mkdir()
    if is_linked:
        os.chown(real, UID + 1, UID + 1)
        directory.symlink_to(real)
        os.chown(directory, UID, UID, follow_symlinks=False)
    else:
        os.chown(real, UID, UID)
    with subprocess.Popen([sys.executable, "-c", LISTENER, real / "control.sock"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as squatter:  # fmt: skip
        assert squatter.stdout.readline() == b"listens\n"
        with pytest.raises(PapaError, match="symbolic link" if is_linked else "none runs") as caught:
            launch.open_connection(autostart=False, timeout_s=30)
        assert caught.value.code == "unreachable"
        squatter.stdin.close()


def test_what_a_strange_kernel_says_does_not_steer_the_terminal(kernel, theirs):
    facts = json.loads(papa("status", "--json").stdout)
    page = status.render({**facts, "warnings": ["\x1b[2J\r\nfaked"]})
    assert "?[2J??faked" in page
    assert all(line.isprintable() for line in page.split("\n"))
