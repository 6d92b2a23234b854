"""What survives what: a real kernel, real children, real signals."""

from __future__ import annotations

import compileall
import json
import os
import signal
import sys
import time

import pytest
from tests.house import wait_for
from tests.kernels import Kernel, links_of, numbered, papa, state_of, take_away

from papa import places
from papa.client import launch
from papa.client.blocking import Connection
from papa.errors import PapaError
from papa.kernel import system


@pytest.fixture
def kernel(runtime_root):
    kernel = Kernel()
    yield kernel
    # Shown with a failure only.
    print(kernel.log())
    kernel.end()


# --- starting ------------------------------------------------------------------------------------------------


def test_twenty_clients_at_once_start_one_kernel(kernel):
    gate, opened = os.pipe()
    answers, answer = os.pipe()
    clients = []
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            try:
                os.close(opened)
                os.read(gate, 1)
                with Connection(client="one of twenty") as connection:
                    os.write(answer, b"%d\n" % connection.hello["pid"])
            except BaseException as error:
                os.write(answer, repr(error).encode() + b"\n")
            finally:
                os._exit(0)
        clients.append(pid)
    for fd in (gate, answer, opened):
        os.close(fd)
    for pid in clients:
        os.waitpid(pid, 0)
    with open(answers) as file:
        lines = file.read().split("\n")[:-1]
    assert len(lines) == 20
    assert set(lines) == {str(kernel.status()["pid"])}
    assert kernel.log().count(" serves ") == 1


def test_nothing_of_the_caller_reaches_the_kernel(kernel, monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET", "do not pass on")
    monkeypatch.chdir(tmp_path)
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    ours = os.readlink(f"/proc/self/fd/{writer}")
    try:
        status = kernel.start()
    finally:
        os.close(reader)
        os.close(writer)
    for pid in (status["pid"], status["holder"]):
        with open(f"/proc/{pid}/environ") as file:
            names = {line.partition("=")[0] for line in file.read().split("\0") if line}
        # A shell adds what it made itself, and passes that on.
        assert {name for name in names if not name.startswith("PAPA_")} <= {
            "PATH",
            "LC_ALL",
            "PWD",
            "OLDPWD",
            "SHLVL",
            "_",
        }
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert ours not in links_of(pid)
        with open(f"/proc/{pid}/stat") as file:
            ppid, _, session, terminal = file.read().rpartition(")")[2].split()[1:5]
        assert terminal == "0"
        assert int(session) != os.getsid(0)
    assert os.getpid() not in (int(ppid), status["holder"])


def test_an_idle_kernel_is_small_and_sleeps(kernel):
    # A kernel that has to compile itself is larger by the compiler's left-overs.
    is_compiled = compileall.compile_dir(os.path.dirname(places.__file__), quiet=2)
    pid = kernel.start()["pid"]

    def facts():
        with open(f"/proc/{pid}/status") as file:
            return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}

    def sleeps_for(seconds):
        before = facts()["voluntary_ctxt_switches"]
        time.sleep(seconds)
        return facts()["voluntary_ctxt_switches"] == before

    # Not at once: it may be late with its farewell to the last client.
    wait_for(lambda: sleeps_for(1.1), "a time in which it sleeps")
    if sys.version_info < (3, 12):
        # A tenth above what is promised, for other builds of Python.
        assert int(facts()["VmRSS"].split()[0]) <= (13.2 if is_compiled else 15) * 1024


def test_a_kernel_that_cannot_start_is_given_up_with_its_reason(kernel, monkeypatch):
    monkeypatch.setenv("PAPA_FORCE_TIER", "nonsense")
    with pytest.raises(PapaError) as caught:
        launch.open_connection()
    assert caught.value.code == "unreachable"
    assert "gave up" in caught.value.message
    assert "nonsense" in caught.value.hint
    assert kernel.lock_is_free()
    monkeypatch.delenv("PAPA_FORCE_TIER")
    assert kernel.start()["tier"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(kernel):
    places.ensure_private_dir(kernel.instance.directory)
    os.chown(kernel.instance.directory, 65534, 65534)
    with pytest.raises(PapaError) as caught:
        launch.open_connection()
    assert caught.value.code == "refused"
    os.chown(kernel.instance.directory, 0, 0)


def test_a_directory_that_others_may_enter_is_closed_to_them(kernel):
    os.makedirs(kernel.instance.directory)
    os.chmod(kernel.instance.directory, 0o777)
    kernel.start()
    assert os.stat(kernel.instance.directory).st_mode & 0o777 == 0o700


# --- kill -9 -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["full", "pidfd"])
def tier(request, monkeypatch):
    monkeypatch.delenv("PAPA_FORCE_TIER", raising=False)
    if request.param == "full" and system.detect_tier() != "full":
        pytest.skip("needs Linux 6.15")
    monkeypatch.setenv("PAPA_FORCE_TIER", request.param)
    return request.param


def test_a_killed_kernel_loses_no_byte_and_no_status(kernel, tier):
    assert kernel.start()["tier"] == tier
    count = 3000
    started = [kernel.writer(f"w{number}", count, 0.002) for number in range(6)]
    pids = {kernel.status()["pid"]}
    for _ in range(4):
        pids.add(kernel.kill())
    assert len(pids) == 5
    rows = kernel.rows()
    assert {(row["id"], row["name"], row["pid"]) for row in rows.values()} == {
        (row["id"], row["name"], row["pid"]) for row in started
    }
    wait_for(lambda: all(row["exit"] for row in kernel.rows().values()), "the end of all writers")
    for row in kernel.rows().values():
        assert row["exit"]["status"] == 42
        assert kernel.output(row) == numbered(count)
    status = kernel.status()
    assert (status["not_covered"], status["dropped_bytes"]) == (0, 0)


def test_an_end_while_no_kernel_ran_is_known_to_the_next_one(kernel, tier, tmp_path):
    status = kernel.start()
    row = kernel.writer("w", 500, 0, tmp_path / "gate")
    kernel.stop_holder(status["holder"])
    os.kill(status["pid"], signal.SIGKILL)
    (tmp_path / "gate").touch()
    wait_for(lambda: state_of(row["pid"]) == "Z", "its end, which nobody sees")
    os.kill(status["holder"], signal.SIGCONT)
    known = wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
    assert known["status"] == 42
    assert kernel.output(row) == numbered(500)


def test_a_client_that_comes_while_the_kernel_is_dead_waits_for_it(kernel):
    status = kernel.start()
    kernel.stop_holder(status["holder"])
    os.kill(status["pid"], signal.SIGKILL)
    wait_for(lambda: state_of(status["pid"]) == "Z", "the kernel's end")
    for autostart in (True, False):
        with pytest.raises(PapaError, match="does not answer within"):
            launch.open_connection(autostart=autostart, timeout_s=0.1)
    os.kill(status["holder"], signal.SIGCONT)
    now = kernel.status()
    assert now["holder"] == status["holder"]
    assert now["pid"] != status["pid"]
    assert kernel.log().count(" serves ") == 2


# --- upgrade -------------------------------------------------------------------------------------------------


@pytest.mark.vault
def test_an_upgrade_keeps_the_pid_and_every_byte(kernel):
    before = kernel.start()
    row = kernel.writer("w", 3000, 0.002)
    for _ in range(3):
        done = papa("upgrade", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["pid"] == before["pid"]
    after = kernel.status()
    assert (after["pid"], after["holder"]) == (before["pid"], before["holder"])
    assert after["started_at"] > before["started_at"]
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
    assert kernel.rows()[row["id"]]["exit"]["status"] == 42
    assert kernel.output(row) == numbered(3000)


@pytest.mark.vault
def test_an_upgrade_that_could_not_recover_is_refused(kernel, tmp_path):
    before = kernel.start()
    row = kernel.writer("w", 1, 0, tmp_path / "gate")
    assert papa("upgrade", "--check").returncode == 0
    with open(f"{kernel.instance.directory}/processes/{row['id']}.json", "w") as file:
        file.write('{"version": 1}')
    done = papa("upgrade")
    assert done.returncode == 3
    assert f"processes/{row['id']}.json" in done.stderr
    assert kernel.status()["started_at"] == before["started_at"]


@pytest.mark.vault
def test_an_upgrade_passes_the_limits_on_that_the_kernel_was_started_with(kernel):
    before = kernel.start()

    def limits(pid):
        with open(f"/proc/{pid}/limits") as file:
            return next(line.split()[3:5] for line in file if line.startswith("Max open files"))

    of_holder = limits(before["holder"])
    raised = limits(before["pid"])
    assert papa("upgrade").returncode == 0
    assert limits(before["pid"]) == raised
    child = kernel.writer("w", 10, 1)
    assert limits(child["pid"]) == of_holder


# --- the holder ----------------------------------------------------------------------------------------------


def replaced(kernel, old):
    return wait_for(lambda: (now := kernel.status()["holder"]) not in (None, old) and now, "another holder")


@pytest.mark.vault
def test_a_killed_holder_is_replaced_and_its_successor_does_its_work(kernel):
    before = kernel.start()
    row = kernel.writer("w", 3000, 0.002)
    os.kill(before["holder"], signal.SIGKILL)
    second = replaced(kernel, before["holder"])
    assert kernel.status()["pid"] == before["pid"]
    # A replacement of the replacement, then a kernel that dies with it at work.
    os.kill(second, signal.SIGKILL)
    third = replaced(kernel, second)
    assert kernel.kill() != before["pid"]
    assert kernel.status()["holder"] == third
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
    assert kernel.output(row) == numbered(3000)


def test_an_upgraded_kernel_keeps_its_replaced_holder(kernel, tier):
    before = kernel.start()
    os.kill(before["holder"], signal.SIGKILL)
    holder = replaced(kernel, before["holder"])
    assert papa("upgrade").returncode == 0
    after = kernel.status()
    assert (after["pid"], after["holder"]) == (before["pid"], holder)
    os.kill(holder, signal.SIGKILL)
    replaced(kernel, holder)
    assert kernel.ask("exit") is not None
    wait_for(kernel.is_gone, "its end")


# --- the directory -------------------------------------------------------------------------------------------


def test_a_control_socket_that_was_removed_is_open_again(kernel):
    before = kernel.start()
    for _ in range(2):
        os.unlink(kernel.instance.control_path)
        wait_for(lambda: os.path.exists(kernel.instance.control_path), "the socket")
        after = kernel.status()
        assert after["pid"] == before["pid"]
        assert os.stat(kernel.instance.control_path).st_mode & 0o777 == 0o600


def test_an_idle_kernel_leaves_with_its_directory(kernel, runtime_root):
    status = kernel.start()
    take_away(kernel.instance.directory)
    for pid in (status["pid"], status["holder"]):
        wait_for(lambda pid=pid: state_of(pid) in "ZX", "the end of both")
    assert os.listdir(runtime_root) == []


@pytest.mark.vault
def test_a_kernel_that_comes_when_its_holder_and_its_directory_have_gone_leaves_at_once(kernel, runtime_root, tmp_path):
    """As one that was started just before another holder took over, and hung until that one's kernel had left."""
    status = kernel.start()
    gate = tmp_path / "gate"
    with open(kernel.instance.program_path, "r+") as program:
        line = program.read()
        program.seek(0)
        program.write(f"while [ ! -e {gate} ]; do sleep 0.01; done\n{line}")
    os.kill(status["pid"], signal.SIGKILL)

    def successor():
        with open(f"/proc/{status['holder']}/task/{status['holder']}/children") as file:
            return next((int(pid) for pid in file.read().split() if int(pid) != status["pid"]), None)

    late = wait_for(successor, "its successor")
    os.kill(status["holder"], signal.SIGKILL)
    wait_for(lambda: state_of(status["holder"]) in "ZX", "the holder's end")
    take_away(kernel.instance.directory)
    gate.touch()
    wait_for(lambda: state_of(late) in "ZX", "its end")
    assert os.listdir(runtime_root) == []


@pytest.mark.vault
def test_a_directory_that_was_removed_is_made_again_with_all_that_was_in_it(kernel, tmp_path):
    before = kernel.start()
    row = kernel.writer("w", 2000, 0.002)
    ended = kernel.writer("ended", 50, 0)
    socket_row = kernel.ask("listen", name="s", family="inet", type="stream", host="127.0.0.1", port=0)
    kernel.ask("set", name="a", value="b")
    wait_for(lambda: kernel.rows()[ended["id"]]["exit"], "one end")
    kernel.ask("commit", acks=[[ended["id"], "out", 160]])
    with Connection(client="an owner") as owner:
        take_away(kernel.instance.directory)
        with pytest.raises(PapaError):
            # It has descriptors of files that are gone, and must attach again.
            while True:
                owner.wait(5)
    after = kernel.status()
    assert (after["pid"], after["processes"], after["sockets"]) == (before["pid"], 2, 1)
    replaced(kernel, before["holder"])
    assert not kernel.lock_is_free()
    assert "it was made again" in kernel.log()
    kernel.kill()
    assert kernel.ask("get", name="a") == {"value": "b"}
    assert kernel.ask("list", what="sockets")["items"][0]["port"] == socket_row["port"]
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "the other end")
    assert kernel.output(row) == numbered(2000)
    assert kernel.rows()[ended["id"]]["streams"]["out"]["low"] == 160
    assert kernel.ask("read", id=ended["id"], stream="out", offset=160, limit=16)["offset"] == 160


# --- leaving -------------------------------------------------------------------------------------------------


def test_exit_ends_holder_and_kernel_and_leaves_an_empty_root(kernel, runtime_root):
    status = kernel.start()
    assert papa("exit").returncode == 0
    assert os.listdir(runtime_root) == []
    for pid in (status["pid"], status["holder"]):
        wait_for(lambda pid=pid: state_of(pid) in "ZX", "the end of both")


def test_a_busy_kernel_leaves_only_by_force_and_its_processes_live_on(kernel, runtime_root, tmp_path):
    kernel.start()
    row = kernel.writer("w", 1, 0, tmp_path / "gate")
    refused = papa("exit")
    assert refused.returncode == 3
    assert "processes" in refused.stderr
    done = papa("exit", "--force")
    assert done.returncode == 0
    assert "left alone" in done.stdout
    assert os.listdir(runtime_root) == []
    os.kill(row["pid"], 0)


def test_no_polite_signal_ends_a_kernel_that_hosts_something(kernel):
    status = kernel.start()
    row = kernel.writer("w", 2, 100)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        os.kill(status["pid"], number)
        wait_for(lambda number=number: f"{number.name} was ignored" in kernel.log(), "the log's line")
    assert kernel.status()["pid"] == status["pid"]
    os.kill(row["pid"], 0)


def test_term_ends_an_idle_kernel(kernel):
    status = kernel.start()
    os.kill(status["pid"], signal.SIGTERM)
    wait_for(kernel.lock_is_free, "its end")
    assert not os.path.exists(kernel.instance.control_path)
    assert kernel.start()["pid"] != status["pid"]


# --- tiers ---------------------------------------------------------------------------------------------------


def test_the_portable_tier_serves_and_says_what_it_does_not_cover(kernel, monkeypatch):
    monkeypatch.setenv("PAPA_FORCE_TIER", "portable")
    kernel.start()
    row = kernel.writer("w", 100, 0)
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
    assert kernel.rows()[row["id"]]["exit"]["status"] == 42
    assert kernel.status()["not_covered_reasons"]
    live = kernel.writer("live", 2, 100)
    assert kernel.status()["not_covered_names"] == ["live"]
    assert papa("upgrade").returncode == 3
    kernel.kill()
    status = kernel.status()
    assert status["tier"] == "portable"
    assert f"process {live['id']} (live, pid {live['pid']})" in status["losses"][0]
