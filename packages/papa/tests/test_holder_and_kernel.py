"""Holder and kernel together, under each shell that a system may have: what a death of either or both costs."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import sys
import tempfile

import pytest
from tests.house import wait_for
from tests.kernels import Kernel, numbered, papa, state_of

from papa.errors import PapaError
from papa.kernel import system

SHELLS = {"dash": "dash", "bash": "bash", "busybox": "busybox sh"}


@pytest.fixture
def kernel(runtime_root):
    kernel = Kernel()
    yield kernel
    # Shown with a failure only.
    print(kernel.log())
    kernel.end()


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.needs(name)) for name in SHELLS])
def shell(request, monkeypatch):
    program, *rest = SHELLS[request.param].split()
    path = shutil.which(program)
    monkeypatch.setenv("PAPA_FORCE_SHELL", " ".join([path, *rest]))
    monkeypatch.delenv("PAPA_FORCE_TIER", raising=False)
    if system.detect_tier() != "full":
        pytest.skip("needs Linux 6.15: before, the holder is no shell")
    return os.path.realpath(path)


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return {int(word) for word in file.read().split()}


def kill_both(kernel, status=None):
    """Neither has the moment to replace the other."""
    status = status or kernel.status()
    os.kill(status["holder"], signal.SIGSTOP)
    os.kill(status["pid"], signal.SIGKILL)
    os.kill(status["holder"], signal.SIGKILL)
    wait_for(kernel.lock_is_free, "the end of both")


def pipe_bytes(pid, number):
    """How many lie in a pipe that a process writes to."""
    fd = os.open(f"/proc/{pid}/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        return system.readable_bytes(fd)
    finally:
        os.close(fd)


def test_a_holder_of_any_shell_outlives_its_kernel_and_is_outlived_by_it(kernel, shell):
    before = kernel.start()
    assert os.path.realpath(f"/proc/{before['holder']}/exe") == shell
    row = kernel.writer("w", 1500, 0.002)
    kernel.kill()
    assert kernel.status()["holder"] == before["holder"]
    os.kill(before["holder"], signal.SIGKILL)
    holder = wait_for(lambda: (now := kernel.status()["holder"]) not in (None, before["holder"]) and now, "another")
    wait_for(lambda: os.path.realpath(f"/proc/{holder}/exe") == shell, "a shell")
    kernel.kill()
    assert kernel.status()["holder"] == holder
    assert papa("upgrade").returncode == 0
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
    assert kernel.rows()[row["id"]]["exit"]["status"] == 42
    assert kernel.output(row) == numbered(1500)
    assert kernel.status()["lost"] == 0
    assert papa("exit", "--force").returncode == 0
    wait_for(lambda: state_of(holder) in "ZX", "the end of the holder")


@pytest.mark.vault
def test_a_replacement_can_start_a_kernel_before_it_has_become_a_shell(kernel):
    """It has vault, lock and the order to start one from the moment that it exists."""
    before = kernel.start()
    row = kernel.writer("w", 1500, 0.002)
    os.kill(before["holder"], signal.SIGKILL)
    pid = before["pid"]
    wait_for(lambda: children_of(pid) - {row["pid"]}, "a replacement")
    os.kill(pid, signal.SIGKILL)

    def another_serves():
        try:
            return kernel.status()["pid"] != pid
        except PapaError as error:
            # The signal is on its way, and we met the dying one.
            assert error.code == "lost"

    wait_for(another_serves, "another kernel")
    assert kernel.status()["lost"] == 0
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
    assert kernel.output(row) == numbered(1500)


@pytest.mark.vault
def test_what_is_lost_when_both_are_killed_is_said_and_the_rest_is_saved(kernel, tmp_path):
    kernel.start()
    done = kernel.writer("done", 100, 0)
    wait_for(lambda: kernel.rows()[done["id"]]["exit"], "its exit")
    cut = kernel.writer("cut", 100, 0, tmp_path / "gate")
    quiet = kernel.ask(
        "spawn", name="quiet", argv=[sys.executable, "-c", "import signal; signal.pause()"], env={}, stdin="null",
        stdout="null", stderr="null",
    )  # fmt: skip
    kernel.pids.append(quiet["pid"])
    unseen = kernel.writer("unseen", 1, 0, tmp_path / "gate-of-unseen")
    front = kernel.ask("listen", name="front", family="inet", type="stream", host="127.0.0.1", port=0)
    kernel.ask("set", name="a", value="b")
    wait_for(lambda: kernel.rows()[cut["id"]]["streams"]["out"]["head"] == 99 * 16, "all but the last line")
    kill_both(kernel)
    os.kill(unseen["pid"], signal.SIGKILL)
    wait_for(lambda: state_of(unseen["pid"]) == "X", "the end of one")
    after = kernel.start()
    rows = kernel.rows()
    assert kernel.output(done) == numbered(100)
    assert rows[done["id"]]["exit"]["status"] == 42
    assert kernel.output(cut) == numbered(99)
    assert rows[cut["id"]]["running"] and rows[cut["id"]]["streams"]["out"]["open"]
    assert rows[quiet["id"]]["running"]
    assert rows[unseen["id"]]["exit"]["status"] is None
    assert kernel.ask("get", name="a") == {"value": "b"}
    port = kernel.ask("list", what="sockets")["items"][0]["port"]
    assert after["not_covered"] == 0, "what is left of them is covered again"
    losses = "\n".join(after["losses"])
    assert f"perhaps some of the output of process {cut['id']} (cut, pid {cut['pid']})" in losses
    assert f"perhaps the end of the output of process {unseen['id']} (unseen, pid {unseen['pid']})" in losses
    assert f"how process {unseen['id']} (unseen, pid {unseen['pid']}) ended" in losses
    assert f"at socket {front['id']} (front)" in losses and f"opened again, at port {port}" in losses
    assert "quiet" not in losses and "(done" not in losses
    assert after["lost"] == len(after["losses"])
    for loss in after["losses"]:
        assert f"lost: {loss}" in kernel.log()
    page = papa("status").stdout
    assert f"{after['lost']} by the kill of an earlier kernel" in page
    assert "process" in page and "(cut" in page
    (tmp_path / "gate").touch()
    wait_for(lambda: kernel.rows()[cut["id"]]["exit"], "the exit of one that somebody else reaps")
    assert kernel.output(cut) == numbered(100)
    os.kill(quiet["pid"], signal.SIGKILL)
    wait_for(lambda: kernel.rows()[quiet["id"]]["exit"], "the exit of another")


#: As the usual writer, but minds no error and says it again, and writes until its gate is there; then notes how much.
RETRYING = """
import os, sys, time
number = 0
while not os.path.exists(sys.argv[1]):
    for number in range(number, number + 20):
        line = b"%015d\\n" % number
        while True:
            try:
                assert os.write(1, line) == len(line)
                break
            except BrokenPipeError:
                time.sleep(0.001)
    number += 1
    time.sleep(0.001)
with open(sys.argv[1] + sys.argv[2], "w") as file: file.write(str(number))
os._exit(42)
"""


@pytest.mark.vault
def test_writers_that_mind_no_error_lose_nothing_when_both_are_killed(kernel, tmp_path):
    kernel.start()
    gate = tmp_path / "gate"
    rows = []
    for number in range(20):
        argv = [sys.executable, "-I", "-S", "-c", RETRYING, str(gate), str(number)]
        rows.append(kernel.ask("spawn", name=f"w{number}", argv=argv, env={}, stderr="null", bound=64 << 20))
        kernel.pids.append(rows[-1]["pid"])

    def heads():
        return [row["streams"]["out"]["head"] for row in kernel.rows().values()]

    for _ in range(2):
        before = heads()
        wait_for(lambda before=before: all(a > b for a, b in zip(heads(), before, strict=True)), "more of each")
        kill_both(kernel)
        kernel.start()
    gate.touch()
    wait_for(lambda: all(row["exit"] for row in kernel.rows().values()), "the end of all", 60)
    for number, row in enumerate(rows):
        assert kernel.output(row) == numbered(int((tmp_path / f"gate{number}").read_text())), row["name"]


@pytest.fixture
def everybodys():
    """A folder that any user may look into."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder)


@pytest.mark.parametrize("uid", [None, 65534])
def test_what_lies_in_the_pipes_when_both_are_killed_is_still_there(kernel, everybodys, uid):
    if uid is not None and os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    before = kernel.start()
    pid = before["pid"]
    user = {} if uid is None else {"uid": uid, "gid": uid}
    gate, last_gate = everybodys / "gate", everybodys / "last"
    wait = "until [ -e {} ]; do sleep 0.01; done; "
    script = f"{wait.format(gate)} echo out; echo err >&2; {wait.format(last_gate)} echo last; exit 42"
    row = kernel.ask("spawn", name="w", argv=["/bin/sh", "-c", script], env={}, stderr="capture", **user)
    kernel.pids.append(row["pid"])
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: state_of(pid) == "T", "a kernel that reads nothing")
    gate.touch()
    wait_for(lambda: pipe_bytes(row["pid"], 1) == 4 and pipe_bytes(row["pid"], 2) == 4, "both lines in their pipes")
    kill_both(kernel, before)
    status = kernel.start()
    assert status["lost"] == 1 and "they were opened again" in status["losses"][0]
    wait_for(lambda: kernel.output(row) == b"out\n" and kernel.output(row, "err") == b"err\n", "what lay in the pipes")
    last_gate.touch()
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
    assert kernel.output(row) == b"out\nlast\n"
    # From then on it is as covered as any other.
    if system.detect_tier() == "full":
        assert kernel.rows()[row["id"]]["exit"]["status"] == 42


def test_a_process_that_has_closed_its_output_loses_none_when_both_are_killed(kernel):
    kernel.start()
    row = kernel.ask(
        "spawn", name="w", argv=["/bin/sh", "-c", "exec >/dev/null; exec sleep 1000"], env={}, stderr="null"
    )
    kernel.pids.append(row["pid"])
    wait_for(lambda: not kernel.rows()[row["id"]]["streams"]["out"]["open"], "the end of its output")
    kill_both(kernel)
    status = kernel.start()
    assert kernel.rows()[row["id"]]["running"]
    assert status["losses"] == []
