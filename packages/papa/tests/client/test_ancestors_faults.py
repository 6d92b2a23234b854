"""Known faults of papa 1.x, each with the test that it does not come back. Here: the daemon and its output."""

from __future__ import annotations

import itertools
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import machine
from tests.house import free_port, wait_for
from tests.kernels import links_of

import papa
import papa.server
from papa import places
from papa.client import blocking
from papa.client.blocking import Connection
from papa.testing import FakeKernel, FakeServer


def made(client: papa.Papa, name: str, *words: str, **options: Any) -> dict[str, Any]:
    process = client.make_process(name, None, words, **options)
    assert isinstance(process, dict)
    return process


def shell(client: papa.Papa, name: str, script: str, **options: Any) -> dict[str, Any]:
    return made(client, name, "/bin/sh", "-c", script, env={"PATH": os.defpath}, **options)


def told(client: papa.Papa, name: str) -> tuple[bytes, bytes, int]:
    """All output of a process that ends, and how it ends."""
    out = err = b""
    with client.watch_processes(name) as watcher:
        while watcher:
            outs, errs, _ = watcher.read()
            out += b"".join(piece.data for piece in outs)
            err += b"".join(piece.data for piece in errs)
        return out, err, watcher.exit_code[name]


def status() -> dict[str, Any]:
    with Connection(client="test") as connection:
        facts: dict[str, Any] = connection.request("status").ok
    return facts


def program(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A program of its own that uses papa."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=40, **options)


# The daemon: its start and its end


def test_fault_01_a_daemon_that_leaves_runs_nothing_of_the_program_that_started_it(real_root: Path) -> None:
    """The daemon was a fork that returned into its client's code when it left, and became a second application."""
    done = program(
        "import atexit, os, papa\natexit.register(lambda: os.write(1, b'at exit\\n'))\n"
        "try:\n client = papa.Papa(); print(client._connected().hello['pid'], flush=True)\n"
        " assert client.exit_if_idle()\nfinally: os.write(1, b'finally\\n')"
    )
    pid, *rest = done.stdout.split("\n")
    wait_for(lambda: not machine.is_alive(int(pid)), "the end of the kernel")
    assert rest == ["finally", "at exit", ""]
    wait_for(lambda: not machine.marked(str(real_root)), "the end of the holder")


def test_fault_02_programs_that_start_it_at_once_get_one_and_a_second_start_steals_nothing(real_root: Path) -> None:
    """Two clients could start two daemons, and the second took the first one's address away."""
    path = str(real_root / "p.sock")
    pids: list[int] = []

    def connect() -> None:
        with papa.Papa(path) as client:
            pids.append(client._connected().hello["pid"])

    threads = [threading.Thread(target=connect) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(pids), len({*pids})) == (8, 1)
    with pytest.raises(papa.Error, match="lives in"):
        papa.server.daemonize_server(path)
    connect()
    assert pids[-1] == pids[0]


def test_fault_03_the_limit_of_descriptors_costs_no_time_and_none_is_inherited(real_root: Path) -> None:
    """Descriptors up to the limit were closed one by one, which took minutes; without a limit, none was."""
    code = (
        "import os, papa, resource\nhard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))\n"
        "fd = os.open('/etc/passwd', 0); os.dup2(fd, 1000); os.set_inheritable(1000, True)\n"
        "print(papa.Papa(connection_timeout=30)._connected().hello['pid'])"
    )
    done = program(code)
    assert done.returncode == 0, done.stderr
    assert "/etc/passwd" not in links_of(int(done.stdout))


def test_fault_04_the_daemon_is_nobodys_child_and_outlives_its_starter_with_all_its_group(real_root: Path) -> None:
    """The daemon stayed its client's child, in its cgroup, and went with it. (The scope: test_launch.)"""
    code = (
        "import os, papa, time; c = papa.Papa(); p = c.make_process('p', '/bin/sleep', '1000');"
        "print(c._connected().hello['pid'], p['pid'], flush=True); time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as starter:
        assert starter.stdout is not None
        kernel, child = map(int, starter.stdout.readline().split())
        assert starter.pid not in (os.getsid(kernel), os.getpgid(kernel), os.getsid(child))
        os.killpg(starter.pid, signal.SIGKILL)
    assert machine.is_alive(kernel)
    with papa.Papa() as client:
        assert client._connected().hello["pid"] == kernel
        assert client.list_processes()["p"]["pid"] == child


def test_fault_05_a_daemon_that_is_killed_loses_nothing(client: papa.Papa, real_root: Path) -> None:
    """With the daemon went everything; its processes were killed by their next write."""
    client.set("a", "1")
    info = client.make_socket("s")
    os.mkfifo(real_root / "gate")
    process = shell(client, "p", f"echo before; read x <{real_root}/gate; echo after")
    os.kill(status()["pid"], signal.SIGKILL)
    client.close()
    (real_root / "gate").write_text("\n")
    assert (client.get("a"), client.list_sockets()) == ("1", {"s": info})
    assert client.list_processes()["p"]["pid"] == process["pid"]
    assert told(client, "p") == (b"before\nafter\n", b"", 0)


# Output


def test_fault_06_the_end_of_one_pipe_does_not_end_the_other(client: papa.Papa, real_root: Path) -> None:
    """A process that closed standard output was killed when it wrote to standard error."""
    os.mkfifo(real_root / "gate")
    shell(client, "p", f"echo out; exec >&-; read x <{real_root}/gate; echo err >&2; echo more >&2")
    with client.watch_processes("p") as watcher:
        wait_for(lambda: any(piece.data == b"out\n" for piece in watcher.read()[0]), "the first line")

    def has_ended() -> bool:
        with Connection(client="test") as connection:
            (row,) = connection.request("list", what="processes").ok["items"]
        return not row["streams"]["out"]["open"]

    wait_for(has_ended, "the end of the first pipe")
    (real_root / "gate").write_text("\n")
    assert told(client, "p") == (b"", b"err\nmore\n", 0)


def test_fault_07_an_end_is_known_while_a_grandchild_keeps_the_pipes_open(client: papa.Papa, real_root: Path) -> None:
    """The end of a process was noticed only at the end of its pipes, and it stayed a zombie till then."""
    os.mkfifo(real_root / "gate")
    process = shell(client, "p", f"(read x <{real_root}/gate; echo late) & echo early; exit 3")
    wait_for(lambda: not client.list_processes()["p"]["running"], "its end")
    assert not os.path.exists(f"/proc/{process['pid']}"), "it is no zombie"
    with client.watch_processes("p") as watcher:
        (closed,) = wait_for(lambda: watcher.read()[2], "its end")
        assert closed.data == 3
    (real_root / "gate").write_text("\n")

    def late() -> bytes:
        with client.watch_processes("p") as again:
            return b"".join(piece.data for piece in again.read()[0])

    assert wait_for(late, "the late line") == b"late\n"


def test_fault_07_a_grandchild_that_lives_does_not_keep_the_name(client: papa.Papa, real_root: Path) -> None:
    """The same, for a manager that starts the next one: it must not find the dead one again and again."""
    os.mkfifo(real_root / "gate")
    gate = os.open(real_root / "gate", os.O_RDWR)  # held open: who comes late finds its line, too
    over = real_root / "over"
    script = f"(read x <{real_root}/gate; echo over >>{over}; echo late) & exit 3"
    first = shell(client, "p", script)
    with client.watch_processes("p") as watcher:
        wait_for(lambda: watcher.read()[2], "its end")
    second = shell(client, "p", script)
    assert second["pid"] != first["pid"]
    os.write(gate, b"\n\n")
    assert told(client, "p")[2] == 3
    client.remove_processes("*")
    wait_for(client.exit_if_idle, "nothing is left of either")
    wait_for(lambda: over.exists() and over.read_text() == "over\n" * 2, "both grandchildren have read their line")
    os.close(gate)


def test_fault_08_a_process_that_is_removed_goes_on_writing(client: papa.Papa, real_root: Path) -> None:
    """A process that was removed lost its pipes, and was killed by its next write."""
    os.mkfifo(real_root / "gate")
    script = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); printf '%01000d\\n' $i || exit 1; done"
    shell(client, "p", f"trap '' PIPE; read x <{real_root}/gate; {script}; echo whole >{real_root}/truth")
    client.remove_processes("p")
    (real_root / "gate").write_text("\n")
    wait_for((real_root / "truth").exists, "all of its 300 KB")
    assert wait_for((real_root / "truth").read_text, "its word") == "whole\n"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """A kernel whose clock a test may turn."""
    kernel = FakeKernel()
    with FakeServer(kernel) as server:
        monkeypatch.setattr(blocking.launch, "open_connection", server.open_connection)
        yield server
    kernel.close()


def test_fault_09_what_came_after_a_read_is_not_acknowledged_with_it(fake: FakeServer) -> None:
    """What counted for an acknowledgement was the time, so that a clock that stepped back lost output."""
    kernel = fake.kernel
    clock = itertools.count(2_000_000_000, -1000)
    kernel.clock.wall_ns = lambda: next(clock) * 10**9  # type: ignore[method-assign]
    with papa.Papa() as client:
        made(client, "p", "/bin/server")
        watcher = client.watch_processes("p")
        fake.call(lambda: kernel.write("p", "out", b"first"))
        pieces = watcher.read()[0]
        fake.call(lambda: kernel.clock.advance(1))
        fake.call(lambda: kernel.write("p", "out", b"second"))
        watcher.close()
        with client.watch_processes("p") as again:
            pieces += again.read()[0]
    assert [piece.data for piece in pieces] == [b"first", b"second"]
    assert pieces[0].timestamp > pieces[1].timestamp


def test_fault_10_more_than_1024_descriptors_are_no_limit(client: papa.Papa) -> None:
    """From 1024 descriptors on a process's output was no longer taken, and it froze at a full pipe."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    for number in range(220):
        made(client, f"idle{number}", "/bin/sleep", "1000")
    facts = status()
    assert len(os.listdir(f"/proc/{facts['pid']}/fd")) > 1024
    held = [os.dup(0) for _ in range(1100)]
    try:
        shell(client, "p", "i=0; while [ $i -lt 200 ]; do i=$((i+1)); printf '%01000d\\n' $i; done")
        with client.watch_processes("p") as watcher:
            assert max(watcher._connection.fileno(), *held) > 1024  # type: ignore[union-attr,type-var]
        out, _, code = told(client, "p")
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (len(out), code) == (200 * 1001, 0)


def test_fault_11_many_tiny_writes_cost_no_more_than_the_bound(client: papa.Papa) -> None:
    """The limit counted bytes only: many tiny writes took a multiple of it, and were copied for each frame."""
    writer = "import os\nfor i in range(50000): os.write(1, b'x')"
    before = status()["rss_bytes"]
    made(client, "p", sys.executable, "-S", "-c", writer, bufsize="32k")
    wait_for(lambda: not client.list_processes()["p"]["running"], "its end")
    facts = status()
    assert facts["held_bytes"] <= 32 * 1024
    assert facts["rss_bytes"] - before < 1024 * 1024
    with client.watch_processes("p") as watcher:
        out = wait_for(lambda: watcher.read()[0], "what is left")
        assert watcher.dropped["p"] + sum(len(piece.data) for piece in out) == 50_000


def test_fault_12_a_process_inherits_the_sockets_that_it_names_and_nothing_else(client: papa.Papa) -> None:
    """Every process inherited every socket of the daemon, and whatever else was open."""
    client.make_socket("a")
    client.make_socket("b")
    listing = "import os; fds = os.listdir('/proc/self/fd'); print(sorted(int(f) for f in fds)[:-1])"
    made(client, "none", sys.executable, "-S", "-c", listing)
    made(client, "one", sys.executable, "-S", "-c", "import sys; " + listing, "$(socket.b.fileno)")
    none, one = told(client, "none")[0], told(client, "one")[0]
    assert none in (b"[0, 1, 2]\n", b"[0, 1, 2, 3]\n")
    assert one in (b"[0, 1, 2, 3]\n", b"[0, 1, 2, 201]\n")


# Watching


def test_fault_13_delivery_does_not_wait_for_the_next_look(
    client: papa.Papa, real_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Output lay until the next look at the queue, up to a second; here nothing is looked at."""
    monkeypatch.setattr("papa.client.watching.LOOK_AGAIN_S", 1000.0)
    os.mkfifo(real_root / "gate")
    shell(client, "p", f"read x <{real_root}/gate; echo news; exec sleep 1000")
    with client.watch_processes("p") as watcher:
        before = machine.cost([status()["pid"]]).switches
        assert not select.select([watcher], [], [], 0.3)[0]
        assert machine.cost([status()["pid"]]).switches - before < 25, "nobody looks"
        (real_root / "gate").write_text("\n")
        assert select.select([watcher], [], [], 10)[0]
        assert wait_for(lambda: watcher.read()[0], "the news")[0].data == b"news\n"


def test_fault_14_a_watch_whose_client_went_away_is_over(real_root: Path) -> None:
    """On TCP the end of a client was not noticed while its process was silent."""
    port = free_port()
    with papa.Papa(port) as client:
        made(client, "p", "/bin/sleep", "1000")
        with socket.create_connection(("127.0.0.1", port)) as watcher:
            watcher.sendall(b"watch processes p\n")
            with watcher.makefile("rb") as said:
                assert any(line.endswith(b"Watching 1\n") for line in iter(said.readline, b""))
            assert client._request("status")["connections"] == 2
        wait_for(lambda: client._request("status")["connections"] == 1, "its end")


def test_fault_15_what_came_with_the_answer_makes_the_descriptor_readable(client: papa.Papa) -> None:
    """Output that came together with the answer to the watch lay in the client, and select waited for ever."""
    for number in range(25):
        made(client, f"p{number}", "/bin/echo", "x")
        with client.watch_processes(f"p{number}") as watcher:
            assert select.select([watcher], [], [], 10)[0]


def test_fault_16_ready_is_false_while_there_is_nothing(client: papa.Papa) -> None:
    """It was always true, so that whoever flushed what was ready waited for ever."""
    made(client, "p", "/bin/sleep", "1000")
    with client.watch_processes("p") as watcher:
        assert not watcher.ready
        assert not watcher.ready


def test_fault_17_a_daemon_that_does_not_answer_is_an_error_and_a_reader_that_stops_stops_nobody(
    client: papa.Papa, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing had a time limit: a daemon or a reader that stopped held everybody else."""
    facts = status()
    shell(client, "p", "yes | head -c 1000000; exec sleep 1000")
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.connect(places.resolve().control_path)
        stuck.sendall(b"watch processes p\n" + b"\n" * 100)
        client.set("a", "1")
        assert client.get("a") == "1"
    os.kill(facts["pid"], signal.SIGSTOP)
    try:
        with monkeypatch.context() as impatient, pytest.raises(papa.Error, match="did not answer get"):
            impatient.setitem(Connection.request.__kwdefaults__, "timeout_s", 0.2)
            client.get("a")
    finally:
        os.kill(facts["pid"], signal.SIGCONT)
    assert client.get("a") == "1"
