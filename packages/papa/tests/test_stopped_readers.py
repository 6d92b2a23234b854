"""Readers that are stopped, by whomever, under a real kernel: what they have is right, and nobody waits for them."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest
from tests.house import wait_for
from tests.kernels import Kernel, state_of

from papa.client.blocking import Connection
from papa.client.output import Overtaken, StreamFiles

BOUND = 256 * 1024
STOPS = 6

#: Numbered lines of 16 bytes for ever, many in each write.
FLOOD = """
import os
number = 0
while True:
    data = b"".join(b"%015d\\n" % i for i in range(number, number + 512))
    while data: data = data[os.write(1, data):]
    number += 512
"""


def flood(start, end):
    """What it wrote between these offsets."""
    lines = b"".join(b"%015d\n" % number for number in range(start // 16, end // 16 + 1))
    return lines[start % 16 : start % 16 + end - start]


@pytest.fixture
def kernel(runtime_root):
    kernel = Kernel()
    kernel.start()
    yield kernel
    # Shown with a failure only.
    print(kernel.log())
    kernel.end()


def forked(act):
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os._exit(0)
        except BaseException as error:
            print("forked:", repr(error), flush=True)
        finally:
            os._exit(1)
    return pid


class StoppedFiles(StreamFiles):
    """Stops in the middle of some copies: before the bytes are taken, and behind them."""

    stops = 0

    def _take(self, stream, offset, view):
        turn = self.stops
        self.stops += 1
        if turn < STOPS and turn % 2 == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        count = os.preadv(self._fds[stream], [view], offset)
        if turn < STOPS and turn % 2 == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        self._check(stream, offset)
        return count


def copy_all(fds, target, gaps_path, upto):
    """Copies to ``target`` as far as ``upto`` says once it is there; what it could not have is in ``gaps_path``."""
    files = StoppedFiles(fds)
    out = os.open(target, os.O_WRONLY | os.O_CREAT)
    at, gaps = 0, []
    while not (os.path.exists(upto) and at >= int(upto.read_text())):
        try:
            at += files.copy_to("out", at, files.head("out"), out)
        except Overtaken as overtaken:
            gaps.append((at, overtaken.new_low))
            at = overtaken.new_low
    gaps_path.write_text(json.dumps(gaps))


def test_what_a_reader_that_was_stopped_in_a_copy_has_is_exact(kernel, tmp_path):
    target, gaps_path, upto = tmp_path / "log", tmp_path / "gaps", tmp_path / "upto"
    argv = [sys.executable, "-I", "-S", "-c", FLOOD]
    with Connection(client="test") as connection:
        row = connection.request("spawn", name="w", argv=argv, env={}, stderr="null", bound=BOUND).ok
        kernel.pids.append(row["pid"])
        fds = connection.request("attach", id=row["id"], fds=True).fds
        os.close(fds.pop("pid"))
        reader = forked(lambda: copy_all(fds, target, gaps_path, upto))
        for fd in fds.values():
            os.close(fd)

        def head():
            return kernel.rows()[row["id"]]["streams"]["out"]["head"]

        try:
            for _ in range(STOPS):
                wait_for(lambda: state_of(reader) == "T", "its stop")
                before = head()
                wait_for(lambda: head() > before + 3 * BOUND, "what overtakes it")  # noqa: B023
                os.kill(reader, signal.SIGCONT)
            os.kill(row["pid"], signal.SIGKILL)
            wait_for(lambda: kernel.rows()[row["id"]]["exit"], "the end of the flood")
            (tmp_path / "end").write_text(str(head()))
            os.rename(tmp_path / "end", upto)
            wait_for(lambda: gaps_path.exists() or state_of(reader) in "ZX", "the reader's account")
        finally:
            os.kill(reader, signal.SIGKILL)
            os.waitpid(reader, 0)
    gaps = [tuple(gap) for gap in json.loads(gaps_path.read_text())]
    assert len(gaps) >= STOPS // 2  # at least; a copy may have been taken up again behind a stop
    starts, ends = [0, *(end for _, end in gaps)], [*(start for start, _ in gaps), head()]
    assert target.read_bytes() == b"".join(flood(start, end) for start, end in zip(starts, ends, strict=True))


def own_and_stop(row_path, argv):
    with Connection(client="owner") as connection:
        row = connection.request("spawn", name="w", argv=argv, env={}, bound=BOUND, owner="manager", stall_s=0.3).ok
        row_path.write_text(json.dumps(row))
        os.kill(os.getpid(), signal.SIGSTOP)


def test_an_owner_that_is_stopped_holds_its_process_up_no_longer_than_the_stall(kernel, tmp_path):
    row_path = tmp_path / "row"
    size = 8 * BOUND
    owner = forked(lambda: own_and_stop(row_path, ["/usr/bin/head", "-c", str(size), "/dev/zero"]))
    try:
        wait_for(lambda: state_of(owner) == "T", "its stop")
        row = json.loads(row_path.read_text())
        ended = wait_for(lambda: kernel.rows()[row["id"]]["exit"], "the end of the process")
        assert ended["status"] == 0
        shown = kernel.rows()[row["id"]]
        assert shown["owner"] == "manager"  # it is still there
        assert shown["streams"]["out"]["head"] == size
        assert shown["streams"]["out"]["dropped"] > 0
    finally:
        os.kill(owner, signal.SIGKILL)
        os.waitpid(owner, 0)
