"""A real kernel of one's own for a test, seen from outside, and a child whose every byte is known."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys

from papa import places
from papa.client.blocking import Connection
from papa.errors import PapaError
from tests.house import wait_for

#: Writes lines of 16 bytes, numbered, in bursts; then ends with status 42. Waits for its gate (a file) before the
#: last line, if it has one.
WRITER = """
import os, sys, time
count, pause, gate = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
for number in range(count):
    if gate and number == count - 1:
        while not os.path.exists(gate[0]): time.sleep(0.002)
    line = b"%015d\\n" % number
    assert os.write(1, line) == len(line)
    if number % 7 == 0: time.sleep(pause)
os._exit(42)
"""


class Kernel:
    """The kernel of an endpoint, as its tests see it from outside."""

    def __init__(self, endpoint=None):
        self.instance = places.resolve(endpoint)
        self.endpoint = endpoint
        self.pids = []
        self.stopped = None

    def stop_holder(self, pid):
        self.stopped = pid
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: state_of(pid) == "T", "the holder's sleep")

    def ask(self, op, **args):
        with Connection(self.endpoint, client="test", autostart=False) as connection:
            return connection.request(op, **args).ok

    def start(self):
        Connection(self.endpoint, client="test").close()
        return self.status()

    def status(self):
        return self.ask("status")

    def writer(self, name, count, pause, *gate):
        row = self.ask(
            "spawn", name=name, stdin="null", stdout="capture", stderr="null", env={}, bound=64 << 20,
            argv=[sys.executable, "-I", "-S", "-c", WRITER, str(count), str(pause), *map(str, gate)],
        )  # fmt: skip
        self.pids.append(row["pid"])
        return row

    def rows(self):
        return {row["id"]: row for row in self.ask("list", what="processes")["items"]}

    def output(self, row, stream="out"):
        data = b""
        with Connection(self.endpoint, client="test", autostart=False) as connection:
            while True:
                reply = connection.request("read", id=row["id"], stream=stream, offset=len(data), limit=1 << 20)
                if not reply.body:
                    return data
                assert reply.ok["offset"] == len(data)
                data += reply.body

    def kill(self):
        """SIGKILL, and wait until another one serves."""
        before = self.status()["pid"]
        os.kill(before, signal.SIGKILL)

        def successor():
            try:
                now = self.status()["pid"]
            except PapaError as error:
                # The signal is on its way, and we met the dying one.
                assert error.code == "lost"
                return None
            return now if now != before else None

        return wait_for(successor, "a new kernel")

    def log(self):
        try:
            with open(self.instance.log_path) as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def is_gone(self):
        return not os.path.exists(self.instance.directory)

    def end(self):
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.stopped is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.stopped, signal.SIGCONT)
        with contextlib.suppress(PapaError):
            self.ask("exit", force=True)
        wait_for(self.lock_is_free, "the end of holder and kernel")

    def lock_is_free(self):
        try:
            fd = os.open(self.instance.directory, os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True


def numbered(count):
    return b"".join(b"%015d\n" % number for number in range(count))


def papa(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "papa.cli", *words], capture_output=True, text=True, timeout=30, **options
    )


def links_of(pid):
    """What its descriptors are of; one that is closed meanwhile is none."""
    links = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return links


def take_away(directory):
    """What `rm -r` does, from the start again as long as a kernel puts something there or takes it away itself."""
    while os.path.exists(directory):
        try:
            shutil.rmtree(directory)
            return
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise


def state_of(pid):
    """Its letter in /proc; X for one that is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
