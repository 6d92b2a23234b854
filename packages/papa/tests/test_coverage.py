"""What finds no room in the vault runs all the same, is named, and gets its second chance."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from bench import machine
from packages.papa.tests.conftest import Peer
from tests.house import own_uid, wait_for
from tests.kernels import state_of

import papa
from papa.errors import PapaError
from papa.kernel import coverage
from papa.kernel.loop import Loop
from papa.kernel.vault import MESSAGES_A_PASS, Vault, open_pair

UID = own_uid()

#: The system's: root's own may lie where nobody else may look.
PYTHON = "/usr/bin/python3" if os.geteuid() == 0 else sys.executable


@pytest.fixture
def folder():
    """Where somebody else may read the program, and write below ``run``."""
    folder = Path(tempfile.mkdtemp(prefix="papa-coverage-", dir="/tmp"))
    folder.chmod(0o755)
    shutil.copytree(Path(papa.__file__).parent, folder / "papa", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "run").mkdir(mode=0o700)
    os.chown(folder / "run", UID, UID)
    yield folder
    try:
        wait_for(lambda: not machine.marked(str(folder)), "the end of all that was started")
    finally:
        machine.end(str(folder))
        shutil.rmtree(folder)


def become_ordinary():
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    os.setgroups([])
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)


#: Puts descriptors of its user in flight, until somebody closes its input.
FILLER = """
import array, socket, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
left = int(sys.argv[1])
while left:
    count = min(left, 200)
    ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * count))])
    left -= count
print("full", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def filler(folder):
    """Leaves room for some 96 descriptors of its user in flight, of the 896 that a kernel of 1024 takes."""
    with subprocess.Popen([PYTHON, "-c", FILLER, "800"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          preexec_fn=become_ordinary) as process:  # fmt: skip
        assert process.stdout.readline() == b"full\n"
        yield process
        process.kill()


class World:
    """The kernel of somebody else; root is let in."""

    def __init__(self, folder):
        self.peer = None
        self.rows = {}
        self.folder = folder
        self.gate = folder / "gate"
        os.mkfifo(self.gate)
        self.gate.chmod(0o666)
        self.opened = os.open(self.gate, os.O_RDWR)
        self.papa("serve", "--daemonize")
        self.connect()

    def papa(self, *words):
        environ = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(self.folder),
            "PAPA_RUNTIME_DIR": str(self.folder / "run"),
        }
        done = subprocess.run([PYTHON, "-m", "papa.cli", *words], env=environ, cwd=self.folder, capture_output=True,
                              text=True, preexec_fn=become_ordinary)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def connect(self):
        def found():
            with contextlib.suppress(OSError, PapaError):
                peer = Peer(str(self.folder / "run/kernel-default/control.sock"))
                self.pid = peer.request("status")["pid"]
                return peer

        self.peer = wait_for(found, "a kernel that serves")

    def start(self, *numbers):
        for number in numbers:
            script = f"echo begin; read x < {self.gate}; echo end; exit 42"
            row = self.peer.request("spawn", name=f"w{number}", argv=["/bin/sh", "-c", script], stderr="null",
                                    env={"PATH": "/usr/bin:/bin"})  # fmt: skip
            self.rows[row["name"]] = row
        for row in self.rows.values():
            self.peer.read_all(row["id"], "out", upto=6)

    def end(self, *names):
        for name in names:
            os.kill(self.rows.pop(name)["pid"], signal.SIGKILL)

    def kill(self):
        self.peer.close()
        before = self.pid
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: state_of(before) in "ZX", "its end")
        self.connect()

    def close(self):
        os.close(self.opened)
        for row in self.rows.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(row["pid"], signal.SIGKILL)
        if self.peer is not None:
            self.peer.close()
        self.papa("exit", "--force")
        wait_for(lambda: not machine.marked(str(self.folder / "run")), "the end of holder and kernel")


@pytest.mark.needs(PYTHON)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else, whose limits count")
def test_an_ordinary_users_limit_is_met_without_harm_and_said(folder, filler, request):
    world = World(folder)
    request.addfinalizer(world.close)
    world.start(*range(60))
    status = world.peer.request("status")
    names = status["not_covered_names"]
    assert 0 < status["not_covered"] == len(names) < 20
    assert f"{len(names)} would be lost" in (page := world.papa("status")) and names[0] in page
    # Room comes when others end.
    world.end(*[name for name in list(world.rows) if name not in names][:20])
    wait_for(lambda: not world.peer.request("status")["not_covered"], "a second chance")
    # Then there is too little again, and the kernel is killed.
    world.start(*range(60, 80))
    uncovered = set(world.peer.request("status")["not_covered_names"])
    assert uncovered and not uncovered.intersection(names)
    world.kill()
    status = world.peer.request("status")
    said = " ".join(status["losses"])
    lost = {name for name, row in world.rows.items() if f"process {row['id']} ({name}, pid {row['pid']})" in said}
    assert status["lost"] == len(lost)
    # One of them may have found room for its pipe, and none for its pidfd, which can be opened again.
    assert lost <= uncovered and len(uncovered - lost) <= 1
    # What they wrote meanwhile would be lost; they were quiet.
    os.write(world.opened, b"\n" * len(world.rows))
    for name, row in world.rows.items():
        assert world.peer.read_all(row["id"], "out") == b"begin\nend\n", name

    def statuses():
        items = world.peer.request("list", what="processes")["items"]
        return all(row["exit"] for row in items) and {row["name"]: row["exit"]["status"] for row in items}

    found = wait_for(statuses, "the end of all")
    assert {found[name] for name in world.rows} == {42}


def test_many_pushes_are_packed_in_turns_of_their_own(monkeypatch):
    monkeypatch.setattr(coverage, "PACK_AFTER_S", 0)
    loop, vault = Loop(), Vault(*open_pair())
    with open(os.devnull, "rb") as file:
        host = SimpleNamespace(loop=loop, vault=vault, listening=dict.fromkeys(range(200), (file.fileno(), None)))
        covered = coverage.Coverage(host)
        for number in range(200):
            assert covered.cover_socket(SimpleNamespace(id=number))
    assert vault.is_loose
    turns = 0
    while loop._sleep_s() is not None:
        loop.turn()
        turns += 1
    assert turns > 2
    assert vault._messages == -(-200 // MESSAGES_A_PASS)
    loop.close()
