from __future__ import annotations

import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import pytest
from tests.house import own_uid, wait_for

from papa import places
from papa.kernel import holder, system

SHELLS = {"dash": ["dash"], "bash": ["bash"], "busybox": ["busybox", "sh"]}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.needs(name)) for name in SHELLS])
def shell(request):
    return SHELLS[request.param]


@pytest.fixture
def place(tmp_path):
    return furnish(tmp_path)


def furnish(place):
    """A directory with a `sleep` that notes its argument and returns at once."""
    (place / "bin").mkdir()
    sleep = place / "bin/sleep"
    sleep.write_text(f'#!/bin/sh\necho "sleep $1" >>{place}/events\n')
    sleep.chmod(0o755)
    (place / "events").touch()
    return place


def hold(shell, place, kernel, *, standby="", **options):
    """A holder whose kernel is the shell script ``kernel``, with $1 the holder's pid."""
    return subprocess.Popen(
        [*shell, "-c", holder.SCRIPT, holder.NAME, str(place / "served"), standby, "/bin/sh", "-c", kernel, "kernel"],
        env={"PATH": f"{place}/bin:/usr/bin:/bin"},
        cwd=place,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **options,
    )


def events(place):
    return (place / "events").read_text().splitlines()


def test_a_predecessor_is_ended_only_if_it_still_is_that_one():
    predecessor = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    ticks = system.start_ticks(predecessor.pid)
    holder._end(predecessor.pid, ticks + 1)
    assert predecessor.communicate(b"")[0] is None
    assert predecessor.returncode == 0, "somebody else has its number"
    holder._end(predecessor.pid, ticks)
    predecessor = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    holder._end(predecessor.pid, system.start_ticks(predecessor.pid))
    predecessor.communicate(b"")
    assert predecessor.returncode == -signal.SIGKILL


def test_a_kernel_that_leaves_in_order_ends_its_holder(shell, place):
    process = hold(shell, place, "echo ran >>events")
    assert process.wait(30) == 0
    assert events(place) == ["ran"]


def test_a_kernel_is_told_its_holders_pid(shell, place):
    process = hold(shell, place, "echo $1 $PPID >>events")
    process.wait(30)
    assert events(place) == [f"{process.pid} {process.pid}"]


def test_a_kernel_that_never_served_is_given_up_after_a_few_attempts(shell, place):
    process = hold(shell, place, "echo ran >>events; exit 3")
    assert process.wait(30) == 1
    assert events(place) == ["ran", "ran", "sleep 0.1", "ran", "sleep 1", "ran"]


def test_a_kernel_that_served_is_started_again_for_ever_ever_more_slowly(shell, place):
    kernel = """
    echo ran >>events
    set -- $(grep -c ran events)
    [ $1 = 1 ] && echo 1 >served
    [ $1 = 8 ] && exit 0
    kill -9 $$
    """
    process = hold(shell, place, kernel, stderr=subprocess.DEVNULL)
    assert process.wait(30) == 0
    pauses = [event for event in events(place) if event != "ran"]
    # The eighth run leaves; between the first, which served, and the second there is no pause.
    assert pauses == ["sleep 0.1", "sleep 1", "sleep 10", "sleep 10", "sleep 10", "sleep 10"]
    assert events(place)[:4] == ["ran", "ran", "sleep 0.1", "ran"]


def test_a_kernel_that_served_begins_anew_with_its_attempts(shell, place):
    kernel = """
    echo ran >>events
    echo 1 >served
    [ $(grep -c ran events) = 6 ] && exit 0
    exit 1
    """
    assert hold(shell, place, kernel).wait(30) == 0
    assert events(place) == ["ran"] * 6
    # The last one left by itself, so nobody emptied its mark.
    assert (place / "served").read_text() == "1\n"


def test_the_holder_outlives_a_mark_that_cannot_be_emptied(shell, place):
    (place / "served").mkdir()
    process = hold(shell, place, "echo ran >>events; [ $(grep -c ran events) = 2 ] && exit 0; exit 1",
                   stderr=subprocess.DEVNULL)  # fmt: skip
    assert process.wait(30) == 0


def test_on_a_disk_that_fails_a_kernel_that_served_is_never_given_up(shell, place):
    """Its mark is there and cannot be emptied: the pauses grow as for one that does not serve."""
    (place / "served").mkdir()
    kernel = "echo ran >>events; [ $(grep -c ran events) = 7 ] && exit 0; exit 75"
    assert hold(shell, place, kernel, stderr=subprocess.DEVNULL).wait(30) == 0
    pauses = [event for event in events(place) if event != "ran"]
    assert pauses == ["sleep 0.1", "sleep 1", "sleep 10", "sleep 10", "sleep 10"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_no_polite_signal_ends_the_holder(shell, place, number):
    process = hold(shell, place, "echo ran >>events; while [ ! -e go ]; do /bin/sleep 0.01; done")
    wait_for(lambda: events(place), "the kernel's start")
    process.send_signal(number)
    process.send_signal(number)
    (place / "go").touch()
    assert process.wait(30) == 0
    assert events(place) == ["ran"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can fill another user's quota of processes")
@pytest.mark.parametrize(
    "shell", [pytest.param(SHELLS[name], marks=pytest.mark.needs(name)) for name in ("dash", "busybox")]
)
def test_the_holder_outlives_a_fork_that_fails(shell, request):
    nobody = own_uid()
    place = furnish(pathlib.Path(tempfile.mkdtemp(prefix="papa-holder-")))
    request.addfinalizer(lambda: shutil.rmtree(place))
    place.chmod(0o777)
    (place / "events").chmod(0o666)
    (place / "served").write_text("1\n")
    (place / "served").chmod(0o666)

    def become_small():
        resource.setrlimit(resource.RLIMIT_NPROC, (10, 10))
        become_nobody()

    def become_nobody():
        os.setgroups([])
        os.setresuid(nobody, nobody, nobody)

    kernel = """
    [ -e again ] && exit 0
    touch again
    while [ ! -e go ]; do /bin/sleep 0.01; done
    exit 1
    """
    with (place / "log").open("w") as log:
        process = hold(shell, place, kernel, preexec_fn=become_small, stderr=log)
    fillers = []
    try:
        wait_for((place / "again").exists, "the kernel's start")
        for _ in range(12):
            pid = os.fork()
            if pid == 0:
                become_nobody()
                signal.pause()
            fillers.append(pid)
        (place / "go").touch()
        wait_for(lambda: "ork" in (place / "log").read_text(), "the complaint that it cannot fork")
    finally:
        for pid in fillers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert process.wait(30) == 0


@pytest.fixture
def standby(shell, place):
    """A replacement whose kernel notes which descriptors it has; and the writing end of its pipe."""
    reader, writer = os.pipe()
    started = []

    def start(kernel="echo ran >>events; [ -e /proc/self/fd/6 ] && echo 6 >>events; exit 0"):
        process = hold(shell, place, kernel, standby="standby", preexec_fn=lambda: os.dup2(reader, 6), pass_fds=[6])
        os.close(reader)
        started.append(process)
        return process, writer

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_replacement_waits_until_the_kernel_is_gone(standby, place):
    process, writer = standby()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    assert events(place) == []
    os.close(writer)
    assert process.wait(30) == 0
    assert events(place) == ["ran"]


def test_a_replacement_leaves_when_it_is_told_to(standby, place):
    process, writer = standby()
    os.write(writer, b"exit\n")
    os.close(writer)
    assert process.wait(30) == 0
    assert events(place) == []


def test_a_replacement_tries_for_ever_as_something_may_be_hosted(standby, place):
    process, writer = standby("echo ran >>events; [ $(grep -c ran events) = 8 ] && exit 0; exit 1")
    os.close(writer)
    assert process.wait(30) == 0


# --- the launcher --------------------------------------------------------------------------------------------

FAKE_KERNEL = """
import json, os, signal, sys
fds = {}
for n in os.listdir("/proc/self/fd"):
    try: fds[n] = os.readlink(f"/proc/self/fd/{n}")
    except OSError: pass
found = {"fds": sorted(int(n) for n in fds), "cwd": os.getcwd(), "umask": os.umask(0), "sid": os.getsid(0),
         "args": json.loads(sys.argv[1]), "parent": int(sys.argv[2]), "ppid": os.getppid(),
         "env": sorted(os.environ), "links": fds}
with open(found["args"]["directory"] + "/found.new", "w") as file: json.dump(found, file)
os.rename(file.name, file.name[:-4])
"""


def launch_fake(kernel, state, lock, how, pass_fds):
    """Starts the launcher on a kernel that is not papa's, but this code."""
    source = os.path.dirname(os.path.dirname(os.path.abspath(places.__file__)))
    code = (
        f"import sys; sys.path.insert(0, {source!r}); from papa.kernel import holder; from papa import places;"
        f"places.program = lambda module: [sys.executable, '-I', '-S', '-c', {kernel!r}]; holder.main()"
    )
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, json.dumps({"directory": str(state)}),
         json.dumps({"lock": lock, **how})],
        start_new_session=True, pass_fds=[lock, *pass_fds], env={"PATH": os.environ["PATH"]},
    )  # fmt: skip


@pytest.fixture
def launched(tmp_path):
    """Runs the launcher on a kernel that only writes down what it finds."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    lock = os.open(state, os.O_RDONLY)
    os.set_inheritable(lock, True)

    def launch(how, *, pass_fds=()):
        process = launch_fake(FAKE_KERNEL, state, lock, how, pass_fds)
        try:
            process.wait(30)
            wait_for((state / "found").exists, "what the kernel found")
            return process, json.loads((state / "found").read_text())
        finally:
            process.kill()
            process.wait()

    yield launch
    os.close(lock)


def test_the_launcher_arranges_everything_for_the_kernel(launched):
    process, found = launched({})
    assert process.returncode == 0
    assert found["fds"] == [0, 1, 2, 3, 4, 5]
    assert found["links"]["0"] == "/dev/null"
    assert found["links"]["1"] == found["links"]["2"] == found["args"]["directory"] + "/kernel.log"
    assert found["links"]["3"].startswith("socket:") and found["links"]["4"].startswith("socket:")
    assert found["links"]["5"] == found["args"]["directory"]
    assert found["cwd"] == "/"
    assert found["umask"] == 0o077
    assert found["sid"] == process.pid
    assert found["parent"] == found["ppid"] == process.pid


def test_a_detached_holder_is_nobodys_child(launched):
    process, found = launched({"detach": True})
    assert found["parent"] == found["ppid"] != process.pid


def test_a_vault_that_exists_is_passed_on(launched):
    rx, tx = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    links = [os.readlink(f"/proc/self/fd/{end.fileno()}") for end in (rx, tx)]
    _, found = launched({"rx": rx.fileno(), "tx": tx.fileno()}, pass_fds=[rx.fileno(), tx.fileno()])
    assert [found["links"]["3"], found["links"]["4"]] == links
    rx.close()
    tx.close()


def test_the_holder_reaps_the_orphans_of_its_kernel(tmp_path):
    """An orphan's pidfd hangs up at once, and not only when init finds the time."""
    state = tmp_path / "state"
    state.mkdir()
    lock = os.open(state, os.O_RDONLY)
    # The kernel leaves an orphan that writes its parent's name once it is adopted, then stays itself.
    kernel = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    pid = os.getpid()\n"
        "    if os.fork() == 0:\n"
        "        while os.getppid() == pid: time.sleep(0.001)\n"
        f"        open({str(state)!r} + '/parent.new', 'w').write(str(os.getppid()))\n"
        f"        os.rename({str(state)!r} + '/parent.new', {str(state)!r} + '/parent')\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        f"while not os.path.exists({str(state)!r} + '/parent'): time.sleep(0.001)\n"
    )
    process = launch_fake(kernel, state, lock, {}, ())
    os.close(lock)
    try:
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert int((state / "parent").read_text()) == process.pid
