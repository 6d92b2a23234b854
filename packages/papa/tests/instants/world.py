"""One kernel under a private root, what its client was told of it, and what must be true after each death.

The children are cats: what is written to a FIFO of theirs comes out of their standard output or error, and each
byte of it is known by its offset.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from packages.papa.tests.instants import tracing

from papa import places
from papa.client.blocking import Connection
from papa.client.reply import Reply
from papa.errors import PapaError

#: A successor serves after some 50 ms; the third of three killed ones pauses for a second.
PATIENCE_S = 30.0

STREAMS = ("out", "err")

#: A program whose out and err are what comes in at two FIFOs; at their end its status is 42.
CHILD = 'exec 8<"$1" 9<"$2"; cat <&9 >&2 & cat <&8; wait; exit 42'


class Broken(AssertionError):
    """Something is not as it must be."""


def wait_for(fact: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := fact()):
        if time.monotonic() > deadline:
            raise Broken(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.002)
    return value


def numbered(start: int, end: int) -> bytes:
    """The bytes that every stream has there: lines of 16 bytes, numbered from 0."""
    first, last = start // 16, -(-end // 16)
    return b"".join(b"%015d\n" % number for number in range(first, last))[start - 16 * first : end - 16 * first]


class Child:
    """A process that was asked for; ``row`` is what was told of it, None as long as the reply is owed."""

    def __init__(self, folder: Path, name: str, **more: Any) -> None:
        self.name = name
        self.row: dict[str, Any] | None = None
        self.token = f"{folder}/{name}.out"
        self.written = dict.fromkeys(STREAMS, 0)
        self._fifos: dict[str, int] = {}
        paths = [f"{folder}/{name}.{stream}" for stream in STREAMS]
        for stream, path in zip(STREAMS, paths, strict=True):
            with contextlib.suppress(FileExistsError):
                os.mkfifo(path)
            os.chmod(path, 0o666)
            self._fifos[stream] = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.fcntl(self._fifos[stream], fcntl.F_SETPIPE_SZ, 1 << 20)
        self.spec = {
            "name": name, "argv": ["/bin/sh", "-c", CHILD, "sh", *paths], "env": {"PATH": "/usr/bin:/bin"},
            "stdout": "capture", "stderr": "capture", "bound": 1 << 20, **more,
        }  # fmt: skip

    @property
    def captured(self) -> list[str]:
        return [stream for stream in STREAMS if self.spec[f"std{stream}"] == "capture"]

    @property
    def id(self) -> int:
        assert self.row is not None
        return int(self.row["id"])

    @property
    def pid(self) -> int:
        assert self.row is not None
        return int(self.row["pid"])

    def write(self, stream: str, size: int) -> None:
        start = self.written[stream]
        assert os.write(self._fifos[stream], numbered(start, start + size)) == size
        self.written[stream] += size

    def hang_up(self) -> None:
        """Lets it end by itself, with status 42."""
        for fd in self._fifos.values():
            os.close(fd)
        self._fifos.clear()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class World:
    """See the module. ``PAPA_RUNTIME_DIR`` says where; ``folder`` is for what the children need."""

    def __init__(self, folder: Path, *, base: int = 1) -> None:
        self.folder = folder
        self.instance = places.resolve(None)
        self.told: dict[int, Child] = {}
        self.values: dict[str, str] = {}
        self._made = 0
        self.connection = Connection(client="instants")
        status = self.status()
        self.pid: int = status["pid"]
        self.holder: int = status["holder"]
        # Nobody accepts: each look at whether they would leaves one in the queue.
        self.ask("listen", name="tcp", host="127.0.0.1", port=0, backlog=4096)
        self.ask("listen", name="unix", path=f"{folder}/listening", backlog=4096)
        self.sockets = {row["name"]: row for row in self.list("sockets")}
        self.set_value("kept", "as it was")
        for _ in range(base):
            child = self.child()
            self.spawn(child)
            child.write("out", 100)
        self.before = self.snapshot()

    # --- asking --------------------------------------------------------------------------------------------

    def ask(self, op: str, **args: Any) -> dict[str, Any]:
        return self.connection.request(op, **args).ok

    def try_to(self, op: str, **args: Any) -> Reply | None:
        """None: the kernel died before it answered."""
        try:
            return self.connection.request(op, **args)
        except PapaError as error:
            if error.code != "lost":
                raise
            return None

    def status(self) -> dict[str, Any]:
        return self.ask("status")

    def list(self, what: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            ok = self.ask("list", what=what, after=rows[-1]["id" if what != "values" else "name"] if rows else None)
            rows += ok["items"]
            if not ok["more"]:
                return rows

    def named(self, name: str) -> dict[str, Any] | None:
        rows = self.ask("list", what="processes", patterns=[name])["items"]
        assert len(rows) <= 1
        return rows[0] if rows else None

    def set_value(self, name: str, value: str) -> None:
        self.ask("set", name=name, value=value)
        self.values[name] = value

    def child(self, **more: Any) -> Child:
        self._made += 1
        return Child(self.folder, f"child{self._made}", **more)

    def spawn(self, child: Child) -> dict[str, Any]:
        child.row = self.ask("spawn", **child.spec)
        self.told[child.id] = child
        return child.row

    # --- after a death -------------------------------------------------------------------------------------

    def come_back(self) -> None:
        """Connects to whoever serves now."""
        self.connection.close()
        self.connection = Connection(client="instants", autostart=False, timeout_s=PATIENCE_S)
        self.pid = self.connection.hello["pid"]

    def reads(self, child: Child, stream: str) -> bytes:
        """All that is held of it; the kernel has no more than that."""
        data = b""
        start = None
        while True:
            reply = self.connection.request(
                "read", id=child.id, stream=stream, offset=0 if start is None else start + len(data), limit=1 << 20
            )
            if start is None:
                start = reply.ok["offset"]
            elif reply.body and reply.ok["offset"] != start + len(data):
                raise Broken(f"{child.name} {stream}: {reply.ok['offset']} follows {start + len(data)}")
            data += reply.body
            if not reply.body:
                break
        if data != numbered(start, start + len(data)):
            raise Broken(f"{child.name} {stream}: the bytes from {start} on are not those that were written")
        return data

    def streams_of(self, child: Child) -> dict[str, Any]:
        return self.ask("attach", id=child.id)["streams"]

    def has_taken_all(self, child: Child) -> bool:
        heads = {stream: facts["head"] for stream, facts in self.streams_of(child).items()}
        if any(head > child.written[stream] for stream, head in heads.items()):
            raise Broken(f"{child.name}: {heads} of {child.written}")
        return all(head == child.written[stream] for stream, head in heads.items())

    def check(self) -> None:
        """What is true at any moment."""
        status = self.status()
        self._that(status["holder"] == self.holder, f"the holder is {status['holder']} and was {self.holder}")
        self._that(status["faults"] == 0, f"the kernel counts {status['faults']} faults")
        self._that(status["not_covered"] == 0, f"{status['not_covered']} are not covered")
        rows = {row["id"]: row for row in self.list("processes")}
        for number, child in self.told.items():
            row = rows.pop(number, None)
            self._that(row is not None, f"{child.name} is not there any more")
            assert row is not None
            self._that(row["name"] == child.name, f"{child.name} is called {row['name']}")
            self._that(row["pid"] == child.pid, f"{child.name} has pid {row['pid']}, not {child.pid}")
            self._that(row["running"] and not tracing.is_dead(child.pid), f"{child.name} does not run")
        self._that(not rows, f"nobody was told of {rows}")
        sockets = {row["name"]: row for row in self.list("sockets")}
        self._that(sockets == self.sockets, f"sockets are {sockets} and were {self.sockets}")
        values = {row["name"]: row["value"] for row in self.list("values")}
        self._that(values == self.values, f"values are {values}, not {self.values}")
        for row in sockets.values():
            self._that(can_connect(row), f"socket {row['name']} does not accept")
        for child in self.told.values():
            wait_for(lambda child=child: self.has_taken_all(child), f"all output of {child.name}")
            for stream, kept in self.streams_of(child).items():
                data = self.reads(child, stream)
                self._that(
                    len(data) == kept["head"] - kept["low"], f"{child.name} {stream}: {len(data)} bytes held, {kept}"
                )

    def kernels(self) -> list[int]:
        """Who has taken the part of a kernel of this directory."""
        found = []
        for entry in os.listdir("/proc"):
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            # A holder has the kernel's words as well, behind its own.
            is_daemon = any(b"papa.kernel.daemon" in word for word in words) and words[0] != b"/bin/sh"
            mine = os.fsencode(f'"{self.instance.directory}"')
            if (
                entry.isdigit()
                and is_daemon
                and any(mine in word for word in words)
                and not tracing.is_dead(int(entry))
            ):
                found.append(int(entry))
        return found

    def snapshot(self) -> dict[str, Any]:
        """What would show a leak, for the same things hosted."""
        status = self.status()
        descriptors: collections.Counter[str] = collections.Counter()
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                link = os.readlink(f"/proc/{self.pid}/fd/{fd}")
                descriptors[re.sub(r":\[\d+\]|/proc/\d+", "", link)] += 1
        files = sorted(
            os.path.relpath(os.path.join(top, name), self.instance.directory)
            for top, folders, names in os.walk(self.instance.directory)
            for name in (*folders, *names)
        )
        return {
            "descriptors": descriptors,
            "files": files,
            "of the folder": sorted(os.listdir(self.folder)),
            "vault": status["vault"]["live"],
            "refused": status["vault"]["refused"],
            "of the holder": len(os.listdir(f"/proc/{self.holder}/fd")),
            "kernels": len(self.kernels()),
            "processes": status["processes"],
            "connections": status["connections"],
        }

    def check_leaks(self) -> None:
        """Everything is as it was at the beginning, within a moment."""
        deadline = time.monotonic() + PATIENCE_S
        while (now := self.snapshot()) != self.before:
            if time.monotonic() > deadline:
                different = {key: (self.before[key], now[key]) for key in now if now[key] != self.before[key]}
                raise Broken(f"something was left behind: {different}")
            time.sleep(0.005)

    def _that(self, fact: object, otherwise: str) -> None:
        if not fact:
            raise Broken(otherwise)

    # --- taking away ---------------------------------------------------------------------------------------

    def forget(self, child: Child) -> None:
        """Its end, acknowledged: it goes with all that was kept for it."""
        child.kill()
        wait_for(lambda: self.ask("attach", id=child.id)["exit"], f"the end of {child.name}")
        self.acknowledge(child)

    def acknowledge(self, child: Child) -> None:
        row = self.ask("attach", id=child.id, owner="instants")
        acks = [[child.id, stream, facts["head"]] for stream, facts in row["streams"].items()]
        self.ask("commit", acks=acks, exits=[child.id])
        self.told.pop(child.id, None)
        self.bury(child)
        wait_for(lambda: self.named(child.name) is None, f"{child.name} to be gone")

    def bury(self, child: Child) -> None:
        """What the test itself had for it."""
        child.hang_up()
        for stream in STREAMS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.folder}/{child.name}.{stream}")

    def close(self) -> None:
        """Ends everything, also what a fault has left."""
        self.connection.close()
        for pid in tracing.session_leaders(str(self.folder)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        for child in self.told.values():
            child.hang_up()
        with contextlib.suppress(PapaError), Connection(client="instants", autostart=False) as connection:
            connection.request("exit", force=True)
        with contextlib.suppress(Broken):
            wait_for(lambda: not os.path.exists(self.instance.directory), "the end of the kernel")

    def log(self) -> str:
        try:
            return Path(self.instance.log_path).read_text()
        except FileNotFoundError:
            return ""


def can_connect(row: dict[str, Any]) -> bool:
    family, address = (socket.AF_UNIX, row["path"]) if row.get("path") else (socket.AF_INET, ("127.0.0.1", row["port"]))
    with socket.socket(family) as sock:
        sock.settimeout(30)
        try:
            sock.connect(address)
        except OSError:
            return False
    return True


@contextlib.contextmanager
def opened(folder: Path, **more: Any) -> Iterator[World]:
    world = World(folder, **more)
    try:
        yield world
    finally:
        print(world.log()[-6000:])
        world.close()
