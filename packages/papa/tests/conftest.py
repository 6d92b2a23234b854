"""A real host in a child process, in a directory of its own, without holder and doors; and a plain client.

``hosted()`` starts one. The test process plays the holder: it keeps the vault, it is the sub-reaper of what a
killed kernel leaves behind, and it starts the next incarnation.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import papa
from papa import fdpass
from papa.errors import PapaError
from papa.kernel import system
from papa.kernel.vault import open_pair
from papa.wire.messages import Event
from papa.wire.session import ClientSession

SOURCES = os.path.dirname(os.path.dirname(papa.__file__))
BOUND_S = 30.0

_MAIN = """
import sys
sys.path.insert(0, sys.argv[1])
import os, resource, socket
from papa import places
from papa.kernel import system
from papa.kernel.host import Host
from papa.kernel.server import Outcome
from papa.kernel.vault import NoVault, Vault

directory, tier, has_vault = sys.argv[2], sys.argv[3], sys.argv[4] == "vault"
vault = NoVault()
if has_vault:
    ends = [socket.socket(fileno=fd) for fd in (3, 4)]
    for end in ends:
        end.set_inheritable(False)
    vault = Vault(*ends)
listener = socket.socket(socket.AF_UNIX)
path = directory + "/control.sock"
if os.path.exists(path):
    os.unlink(path)
with places.unix_address(path) as address:
    listener.bind(address)
listener.listen(64)
host = Host(directory, "test", vault, tier=tier, nofile=resource.getrlimit(resource.RLIMIT_NOFILE))
host.recover()
host.serve([listener])

def upgrade(target, asker, request):
    asker.finish(request, Outcome({}))
    asker.after_sent(replace)

def replace():
    os.unlink(path)
    for fd in (3, 4):
        os.set_inheritable(fd, True)
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", *sys.orig_argv[4:]])

host.on_upgrade_check = lambda target, done: done(None)
host.on_upgrade_go = upgrade
try:
    os.write(1, b"ready\\n")
except BrokenPipeError:
    pass  # after an upgrade nobody waits for it
status = host.run()
host.close()
sys.exit(status)
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Left out, not skipped: a skip is a failure in the gate."""
    if os.environ.get("PAPA_FORCE_TIER") == "portable":
        without = [item for item in items if item.get_closest_marker("vault")]
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]


class Peer:
    """A blocking client that speaks frames."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(BOUND_S)
        self.sock.connect(path)
        self.session = ClientSession()
        self.sock.sendall(self.session.opening())
        self.events: list[Event] = []
        self.fds: list[int] = []

    def request(self, op: str, **args: Any) -> dict[str, Any]:
        return self.ask(op, **args).ok

    def ask(self, op: str, **args: Any) -> Any:
        number, data = self.session.request(op, args)
        self.sock.sendall(data)
        while True:
            message = self._message()
            if isinstance(message, Event):
                self.events.append(message)
            elif message.id == number:
                if message.error is not None:
                    raise message.error
                return message

    def post(self, op: str, **args: Any) -> None:
        self.sock.sendall(self.session.post(op, args))

    def take_fds(self, names: tuple[str, ...]) -> dict[str, int]:
        taken, self.fds = self.fds[: len(names)], self.fds[len(names) :]
        return dict(zip(names, taken, strict=True))

    def event(self, name: str, fits: Callable[[dict[str, Any]], bool] = lambda _fields: True) -> dict[str, Any]:
        """The next event of that name; others wait for their turn."""
        while True:
            for at, event in enumerate(self.events):
                if event.name == name and fits(event.fields):
                    return self.events.pop(at).fields
            message = self._message()
            assert isinstance(message, Event), message
            self.events.append(message)

    def _message(self) -> Any:
        while True:
            message = self.session.next()
            if message is not None:
                return message
            data, fds, _ = fdpass.recv_with_fds(self.sock, 1 << 16, 16)
            self.fds += fds
            if not data:
                raise PapaError("the host closed the connection", code="lost")
            self.session.feed(data)

    def read_all(self, number: int, stream: str, upto: int | None = None) -> bytes:
        """What a stream holds once it has come to ``upto``, or to its end."""
        deadline = time.monotonic() + BOUND_S
        while True:
            row = next(r for r in self.request("list", what="processes")["items"] if r["id"] == number)
            facts = row["streams"][stream]
            if facts["head"] >= upto if upto is not None else not facts["open"]:
                break
            assert time.monotonic() < deadline, row
            time.sleep(0.002)
        body, at = b"", facts["low"]
        while at < facts["head"]:
            reply = self.ask("read", id=number, stream=stream, offset=at, limit=1 << 20)
            body += reply.body
            at = reply.ok["offset"] + len(reply.body)
        return body

    def close(self) -> None:
        self.sock.close()
        fdpass.close_all(self.fds)


class Hosted:
    """One instance and its incarnations."""

    def __init__(self, tier: str, has_vault: bool) -> None:
        self.directory = tempfile.mkdtemp(prefix="papa-")
        self.path = self.directory + "/control.sock"
        self.tier = tier
        self.vault = open_pair() if has_vault else None
        self.peers: list[Peer] = []
        self.pid = 0
        self.strays: set[int] = set()
        self.start()

    def start(self) -> None:
        reader, writer = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, writer, 1)]
        if self.vault is not None:
            # Sources may lie where targets go.
            high = [os.dup(end.fileno()) for end in self.vault]
            high = [high[0] if high[0] > 4 else os.dup(high[0]), high[1] if high[1] > 4 else os.dup(high[1])]
            actions += [(os.POSIX_SPAWN_DUP2, high[0], 3), (os.POSIX_SPAWN_DUP2, high[1], 4)]
        argv = [
            sys.executable, "-I", "-S", "-c", _MAIN, SOURCES, self.directory, self.tier,
            "vault" if self.vault is not None else "none",
        ]  # fmt: skip
        self.pid = os.posix_spawn(sys.executable, argv, dict(os.environ), file_actions=actions)
        os.close(writer)
        if self.vault is not None:
            fdpass.close_all(high)
        ready, _, _ = select.select([reader], [], [], BOUND_S)
        assert ready and os.read(reader, 10) == b"ready\n", "the host did not start: see its errors above"
        os.close(reader)

    def connect(self) -> Peer:
        peer = Peer(self.path)
        self.peers.append(peer)
        return peer

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """The host's exit status."""
        deadline = time.monotonic() + BOUND_S
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, "the host does not end"
            time.sleep(0.002)

    def restart(self) -> None:
        self.kill()
        self.start()

    def end(self) -> None:
        lives = []
        if self.pid:
            try:
                with_peer = self.connect()
                lives = [r for r in with_peer.request("list", what="processes")["items"] if r["running"]]
            except (OSError, PapaError):
                pass
            for row in lives:
                if row["pid"]:
                    _kill_group(row["pid"])
            self.kill()
        for peer in self.peers:
            peer.close()
        if self.vault is not None:
            for end in self.vault:
                end.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _children() -> set[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return {int(pid) for pid in file.read().split()}


@pytest.fixture
def sub_reaper() -> Iterator[None]:
    """What a killed host leaves behind becomes a child of the tests."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    yield
    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)


@pytest.fixture
def hosted(sub_reaper: None) -> Iterator[Callable[..., Hosted]]:
    """Starts hosts; afterwards nothing of them is left: no process, no file."""
    started: list[Hosted] = []
    before = _children()

    def start(*, tier: str | None = None, vault: bool = False) -> Hosted:
        started.append(Hosted(tier or system.detect_tier(), vault))
        return started[-1]

    yield start
    for instance in started:
        instance.end()
    deadline = time.monotonic() + BOUND_S
    while left := _children() - before:
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)
        assert time.monotonic() < deadline, "processes are left behind"
        time.sleep(0.002)


@pytest.fixture
def reap() -> Callable[[int], None]:
    """Plays the holder: reaps what a killed kernel left behind, once it ended."""

    def reap_one(pid: int) -> None:
        deadline = time.monotonic() + BOUND_S
        try:
            while not os.waitpid(pid, os.WNOHANG)[0]:
                assert time.monotonic() < deadline, "it does not end"
                time.sleep(0.002)
        except ChildProcessError:
            # The kernel itself did it, before it was killed.
            pass

    return reap_one
