"""What `papa status` says, held against what the system says; and the names under which programs find it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from tests.house import wait_for
from tests.kernels import Kernel, papa

import papa as package
from papa import places
from papa.client.blocking import Connection
from papa.core import index
from papa.kernel import pipes

#: Programs rely on these; more may come.
KEYS = {
    "papa", "python", "program", "pid", "holder", "instance", "directory", "tier", "uptime_s", "started_at",
    "rss_bytes", "processes", "running", "sockets", "values", "connections", "clients", "file_system", "held_bytes",
    "budget_bytes", "dropped_bytes", "journal_bytes", "vault", "faults", "not_covered", "not_covered_names",
    "not_covered_reasons", "lost", "losses", "left_aside", "warnings",
}  # fmt: skip


@pytest.fixture
def kernel(runtime_root):
    kernel = Kernel()
    yield kernel
    kernel.end()


def proc(pid, name):
    with open(f"/proc/{pid}/{name}") as file:
        return file.read()


def test_each_value_is_true(kernel, tmp_path):
    before = time.time()
    kernel.start()
    kernel.writer("runs", 500, 0, tmp_path / "gate")
    ended = kernel.writer("ended", 100, 0)
    noisy = [sys.executable, "-I", "-S", "-c", "print('x' * 300_000)"]
    loud = kernel.ask("spawn", name="loud", argv=noisy, env={}, stderr="null", bound=65536)
    kernel.ask("listen", name="s", host="127.0.0.1", port=0)
    kernel.ask("commit", values={"a": "b", "c": "d"}, acks=[])
    wait_for(lambda: all(kernel.rows()[row["id"]]["exit"] for row in (ended, loud)), "two ends")
    wait_for(lambda: not kernel.rows()[loud["id"]]["streams"]["out"]["open"], "its last byte")
    with Connection(client="one", autostart=False), Connection(client="two", autostart=False) as two:
        status = json.loads(papa("status", "--json").stdout)
        rss = int(proc(status["pid"], "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert set(status) == KEYS
        assert sorted(status["clients"]) == ["one", "papa status", "two"] and status["connections"] == 3
        assert two.request("ping").ok == {}
    directory = kernel.instance.directory
    assert (status["papa"], status["instance"], status["directory"]) == (package.__version__, "default", directory)
    assert status["program"] == [sys.executable, places.source()]
    assert status["python"] == sys.version.split()[0]
    assert os.readlink(f"/proc/{status['pid']}/exe") == os.path.realpath(sys.executable)
    assert int(proc(status["pid"], "stat").rpartition(")")[2].split()[1]) == status["holder"]
    assert before <= status["started_at"] <= time.time()
    assert abs(time.time() - status["started_at"] - status["uptime_s"]) < 5
    assert abs(status["rss_bytes"] - rss) < 1 << 20
    assert (status["processes"], status["running"], status["sockets"], status["values"]) == (3, 1, 1, 2)
    # A record for bytes that did not come is counted with the next ones.
    assert 0 <= held(kernel) - status["held_bytes"] <= 3 * index.RECORD_SIZE
    assert status["dropped_bytes"] == kernel.rows()[loud["id"]]["streams"]["out"]["dropped"] > 200_000
    assert status["journal_bytes"] == os.path.getsize(f"{directory}/journal")
    disk = os.statvfs(directory)
    assert status["file_system"]["size_bytes"] == disk.f_blocks * disk.f_frsize
    assert abs(status["file_system"]["free_bytes"] - disk.f_bavail * disk.f_frsize) < 1 << 30
    assert status["budget_bytes"] == min(pipes.MAX_BUDGET_BYTES, disk.f_blocks * disk.f_frsize // 4)
    # Output and pidfd of the one that runs, and the socket.
    assert (status["vault"]["live"], status["vault"]["refused"]) == (3, 0)
    assert [status[key] for key in ("faults", "not_covered", "lost", "left_aside", "warnings")] == [0, 0, 0, [], []]


def held(kernel):
    """Bytes of output that are there, and the index records that date them."""
    total = 0
    for row in kernel.rows().values():
        total += sum(stream["head"] - stream["low"] for stream in row["streams"].values())
        with open(f"{kernel.instance.directory}/output/{row['id']}/index", "rb") as file:
            data = file.read()
        total += len(data) - index.unpack_header(data).first
    return total


def test_the_page_says_it_to_people(kernel, tmp_path):
    status = kernel.start()
    row = kernel.writer("w", 5, 0, tmp_path / "gate")
    os.kill(status["pid"], 19)
    path = f"{kernel.instance.directory}/processes/{row['id']}.json"
    with open(path, "w") as file:
        file.write("damaged")
    os.kill(status["pid"], 18)
    kernel.kill()
    page = subprocess.run([sys.executable, "-m", "papa.cli", "status"], capture_output=True, text=True).stdout
    parts = [f"papa {package.__version__}, instance default, pid ", " free of ", f"python      {status['python']}, "]
    for part in (*parts, f"left aside  processes/{row['id']}.json: it cannot be read"):
        assert part in page, page
