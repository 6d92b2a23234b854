"""A real kernel whose file system fails under it: as a whole, or for one kind of file; and is whole again later.

The kernel goes on and answers; what must be written first is refused in one line; the rest waits in pipes and in
arrears, and `papa status` names it. strace lets the kernel's calls fail: what a disk does, without such a disk.
"""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
from packages.papa.tests.instants import tracing
from tests.house import wait_for
from tests.kernels import Kernel, numbered, papa, state_of

from papa.errors import PapaError

pytestmark = pytest.mark.needs("strace")

#: Whatever changes a file or a directory.
WRITES = "write,pwrite64,splice,ftruncate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat"


@pytest.fixture
def kernel(runtime_root):
    kernel = Kernel()
    kernel.start()
    yield kernel
    kernel.end()


@pytest.fixture
def fail(kernel, tmp_path):
    """Lets the kernel's calls fail until the value is called, or the test ends."""
    with contextlib.ExitStack() as stack:

        def begin(calls, error, *paths):
            saboteur = tracing.Saboteur(kernel.status()["pid"], calls, error, tmp_path / "strace", paths=paths)
            healing = stack.enter_context(contextlib.ExitStack())
            healing.callback(saboteur.detach)
            return saboteur, healing.close

        yield begin


def places_of(kernel):
    """The directory and the files of its first processes, as strace shall know them: pipes and /dev/null never fail."""
    directory = kernel.instance.directory
    names = ["journal", "journal.new", "kernel.log"]
    for number in range(1, 12):
        names += [f"processes/{number}.json.new", f"output/{number}/out", f"output/{number}/index"]
    return [directory, *(f"{directory}/{name}" for name in names)]


def problems(kernel):
    return kernel.status()["file_system"]["problems"]


def ended(kernel, row):
    return wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")


def assert_refused(kernel, op, text, **args):
    with pytest.raises(PapaError) as caught:
        kernel.ask(op, **args)
    assert text in caught.value.message
    assert "\n" not in f"{caught.value.message}{caught.value.hint}"


def assert_whole(kernel, *rows, count=1000):
    """Every byte and status is there, nothing of what was removed, new things can be begun; after a kill too."""
    wait_for(lambda: not problems(kernel), "no problems")
    for _ in range(2):
        for row in rows:
            wait_for(lambda row=row: not kernel.rows()[row["id"]]["streams"]["out"]["open"], "the end of its output")
            assert kernel.output(row) == numbered(count)
            assert kernel.rows()[row["id"]]["exit"]["status"] == 42
        new = kernel.writer("new", 1, 0)
        ended(kernel, new)
        kernel.ask("set", name="a", value="x")
        kernel.ask("remove", what="processes", ids=[new["id"]])
        assert kernel.rows().keys() == {row["id"] for row in rows}
        records = {f"{row['id']}.json" for row in rows}
        assert set(os.listdir(f"{kernel.instance.directory}/processes")) == records
        assert set(os.listdir(f"{kernel.instance.directory}/output")) == {str(row["id"]) for row in rows}
        status = kernel.status()
        assert (status["dropped_bytes"], status["faults"], status["lost"]) == (0, 0, 0)
        kernel.kill()


@pytest.mark.parametrize(("error", "words"), [("EROFS", "Read-only file system"), ("EIO", "Input/output error")])
def test_a_disk_that_takes_nothing_stops_nothing_and_costs_nothing(kernel, fail, tmp_path, error, words):
    old, late, gone, living = (kernel.writer(name, 1000, 0) for name in ("old", "late", "gone", "living"))
    del late, living
    for row in (old, gone):
        ended(kernel, row)
    late, living = (kernel.writer(f"{name}2", 1000, 0, tmp_path / name) for name in ("late", "living"))
    for row in (late, living):
        wait_for(
            lambda row=row: kernel.rows()[row["id"]]["streams"]["out"]["head"] == 999 * 16, "all but its last line"
        )
    kernel.ask("remove", what="processes", names=["late", "living"])
    saboteur, heal = fail(WRITES, error, *places_of(kernel))
    (tmp_path / "late").touch()
    # The process ends, which is known at once; its last line waits in its pipe.
    assert ended(kernel, late)["status"] == 42
    assert kernel.rows()[late["id"]]["streams"]["out"]["head"] == 999 * 16
    assert kernel.output(late) == numbered(999)
    assert_refused(kernel, "set", words, name="a", value="x")
    assert_refused(kernel, "commit", words, exits=[old["id"]])
    spawn = {"name": "web", "argv": ["/bin/true"], "env": {}, "stdin": "null", "stdout": "capture", "stderr": "null"}
    assert_refused(kernel, "spawn", words, **spawn)
    # What is removed is gone for everybody, and its writer is not held up.
    kernel.ask("remove", what="processes", ids=[gone["id"], living["id"]])
    (tmp_path / "living").touch()
    wait_for(lambda: state_of(living["pid"]) in "ZX", "the end of one that nobody wants")
    assert kernel.rows().keys() == {old["id"], late["id"]}
    said = "\n".join(problems(kernel))
    for what in ("the journal cannot be written", "cannot be brought up to date", f"process {late['id']} waits", "log"):
        assert what in said
    assert said.count(words) >= 4
    page = papa("status")
    assert (page.returncode, page.stdout.count(words)) == (0, said.count(words))
    assert saboteur.injected()
    heal()
    assert_whole(kernel, old, late)
    log = kernel.log()
    assert "lines are missing here" in log
    assert "everything is brought up to date" in log


def test_a_kernel_that_is_told_to_exit_does_although_nothing_can_be_taken_away(kernel, fail):
    row = kernel.writer("w", 1000, 0)
    ended(kernel, row)
    kernel.ask("listen", name="s", family="inet", host="127.0.0.1", port=0)
    _, heal = fail(WRITES, "EIO", *places_of(kernel))
    done = papa("exit", "--force")
    assert (done.returncode, done.stderr) == (0, "")
    heal()
    assert wait_for(kernel.lock_is_free, "the end of holder and kernel")
    # What could not be taken away is there for the next one.
    kernel.start()
    assert kernel.output(row) == numbered(1000)


#: Kind of file -> its path below the directory ("{}": the number of a process), the calls that write it, and what the
#: status says.
KINDS = {
    "a stream": ("output/{}/out", "splice,pwrite64", "output of process {} waits in its pipe: out: No space left"),
    "an index": ("output/{}/index", "pwrite64", "output of process {} waits in its pipe: out: No space left"),
    "a record": ("processes/{}.json.new", "write", "1 files cannot be brought up to date: No space left"),
    "the journal": ("journal", "pwrite64", "the journal cannot be written: No space left"),
    "the log": ("kernel.log", "write", "lines of kernel.log cannot be written: No space left"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_takes_nothing_costs_no_other_anything(kernel, fail, tmp_path, kind):
    """ENOSPC though the file system has room: nothing is dropped for it, as that would not help."""
    path, calls, words = KINDS[kind]
    victim, other = (kernel.writer(name, 1000, 0, tmp_path / "gate") for name in ("victim", "other"))
    for row in (victim, other):
        wait_for(
            lambda row=row: kernel.rows()[row["id"]]["streams"]["out"]["head"] == 999 * 16, "all but its last line"
        )
    saboteur, heal = fail(calls, "ENOSPC", f"{kernel.instance.directory}/{path.format(victim['id'])}")
    (tmp_path / "gate").touch()
    for row in (victim, other):
        assert ended(kernel, row)["status"] == 42
    if kind == "the journal":
        assert_refused(kernel, "set", "No space left", name="a", value="x")
    else:
        kernel.ask("set", name="a", value="x")
    if kind == "the log":
        os.kill(kernel.status()["pid"], signal.SIGHUP)
    wait_for(lambda: any(words.format(victim["id"]) in said for said in problems(kernel)), "the problem in the status")
    wait_for(lambda: not kernel.rows()[other["id"]]["streams"]["out"]["open"], "the end of the other's output")
    assert kernel.output(other) == numbered(1000)
    assert saboteur.injected()
    heal()
    if kind == "the log":
        os.kill(kernel.status()["pid"], signal.SIGHUP)
    assert_whole(kernel, victim, other)
