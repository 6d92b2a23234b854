"""Upgrades to what really is another code, or another Python, and refusals; with a real kernel and real children."""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.house import wait_for
from tests.kernels import Kernel, numbered, state_of

from papa import Papa, places
from papa.client.aio import AsyncPapa
from papa.client.blocking import Connection

RUN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from papa.cli import main; sys.exit(main())"


@pytest.fixture
def kernel(runtime_root):
    kernel = Kernel()
    yield kernel
    # Shown with a failure only.
    print(kernel.log())
    kernel.end()


@pytest.fixture
def copy(tmp_path):
    """Makes another papa: a copy of this one in which texts of some files are replaced."""

    def make(name, **changes):
        folder = tmp_path / name
        shutil.copytree(f"{places.source()}/papa", folder / "papa", ignore=shutil.ignore_patterns("__pycache__"))
        for module, (old, new) in changes.items():
            path = folder / "papa" / (module.replace("__", "/") + ".py" if module != "release" else "__init__.py")
            text = path.read_text()
            assert old in text
            path.write_text(text.replace(old, new))
        return str(folder)

    return make


def papa(*words, folder=None, python=sys.executable):
    """The command `papa` of that folder under that Python."""
    return subprocess.run(
        [python, "-I", "-c", RUN, folder or places.source(), *words], capture_output=True, text=True, timeout=60
    )


def upgraded(**where):
    done = papa("upgrade", "--json", **where)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def other_pythons():
    """One of each other minor version that papa runs on, oldest first."""
    found = {}
    for minor in range(11, 20):
        of_pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob(f"versions/3.{minor}.*/bin/python3")
        for path in [shutil.which(f"python3.{minor}"), *map(str, of_pyenv)]:
            if path is None or minor == sys.version_info[1]:
                continue
            ask = "import sys; print(sys.executable, sys.version_info[1])"
            asked = subprocess.run([path, "-c", ask], capture_output=True, text=True)
            if asked.returncode == 0 and asked.stdout.split()[1] == str(minor):
                found[minor] = asked.stdout.split()[0]
                break
    return list(found.values())


# --- to another one -------------------------------------------------------------------------------------------


def test_a_kernel_goes_on_under_every_python_that_asks_for_it_and_comes_back(kernel):
    pythons = other_pythons()
    before = kernel.start()
    row = kernel.writer("w", 4000, 0.002)
    for python in [*pythons, *reversed(pythons[:-1]), sys.executable]:
        assert papa("upgrade", "--check", python=python).returncode == 0
        assert upgraded(python=python)["pid"] == before["pid"]
        status = kernel.status()
        assert status["program"] == [python, places.source()]
        assert (status["holder"], status["not_covered"], status["faults"]) == (before["holder"], 0, 0)
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
    assert kernel.rows()[row["id"]]["exit"]["status"] == 42
    assert kernel.output(row) == numbered(4000)


@pytest.fixture(params=["full", "pidfd"])
def tier(request, monkeypatch):
    monkeypatch.setenv("PAPA_FORCE_TIER", request.param)


def test_another_release_takes_over_and_the_holder_starts_that_one_from_then_on(kernel, copy, tier):
    before = kernel.start()
    row = kernel.writer("w", 3000, 0.002)
    new = copy(
        "new", release=('__version__ = "', '__version__ = "9.'), kernel__status=('"papa": ', '"new": 1, "papa": ')
    )
    facts = upgraded(folder=new)
    assert (facts["pid"], facts["from"], facts["to"]) == (before["pid"], before["papa"], "9." + before["papa"])
    for _ in range(2):
        status = kernel.status()
        assert (status["new"], status["program"], status["holder"]) == (1, [sys.executable, new], before["holder"])
        kernel.kill()
    assert upgraded()["to"] == before["papa"]
    kernel.kill()
    assert kernel.status()["papa"] == before["papa"]
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
    assert kernel.rows()[row["id"]]["exit"]["status"] == 42
    assert kernel.output(row) == numbered(3000)


def test_a_kernel_that_is_killed_right_after_an_upgrade_comes_back(kernel, copy):
    kernel.start()
    new = copy("new", release=('__version__ = "', '__version__ = "9.'))
    row = kernel.writer("w", 3000, 0.002)
    for turn in range(6):
        started = kernel.status()["started_at"]
        executes = kernel.log().count("in its place")
        asker = subprocess.Popen([sys.executable, "-I", "-c", RUN, new if turn % 2 else places.source(), "upgrade"])
        wait_for(lambda executes=executes: kernel.log().count("in its place") > executes, "the exec")
        os.kill(int(kernel.log().rpartition(" pid=")[2].split()[0]), signal.SIGKILL)
        asker.wait(30)
        wait_for(lambda started=started: kernel.status()["started_at"] != started, "the next one")
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
    assert kernel.output(row) == numbered(3000)


def test_a_holder_of_before_is_replaced_when_it_would_start_another_program(kernel, copy):
    old = copy(
        "old", places=("HANDED_VERSION = 2", "HANDED_VERSION = 1"), kernel__holder=('[ -r "$program" ]', "false")
    )
    assert papa("--daemonize", folder=old).returncode == 0
    before = kernel.status()
    row = kernel.writer("w", 3000, 0.002)
    assert upgraded()["pid"] == before["pid"]
    wait_for(lambda: kernel.status()["holder"] not in (None, before["holder"]), "another holder")
    shutil.rmtree(old)
    kernel.kill()
    assert kernel.status()["program"] == [sys.executable, places.source()]
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
    assert kernel.output(row) == numbered(3000)


def test_who_starts_a_kernel_where_one_was_killed_with_its_holder_gets_the_own_one(kernel, copy):
    kernel.start()
    upgraded(folder=copy("new", release=('__version__ = "', '__version__ = "9.')))
    status = kernel.status()
    for pid in (status["holder"], status["pid"]):
        os.kill(pid, signal.SIGSTOP)
    for pid in (status["holder"], status["pid"]):
        os.kill(pid, signal.SIGKILL)
    wait_for(kernel.lock_is_free, "the end of both")
    assert os.path.exists(kernel.instance.program_path)
    assert kernel.start()["program"] == [sys.executable, places.source()]
    kernel.kill()
    assert kernel.status()["program"] == [sys.executable, places.source()]


# --- what is gone ---------------------------------------------------------------------------------------------


def test_a_kernel_needs_nothing_of_its_files_once_it_runs(kernel, copy):
    new = copy("new", release=('__version__ = "', '__version__ = "9.'))
    kernel.start()
    upgraded(folder=new)
    shutil.rmtree(new)
    pid = kernel.status()["pid"]
    row = kernel.writer("w", 500, 0)
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
    assert kernel.output(row) == numbered(500)
    kernel.ask("listen", name="s", host="127.0.0.1", port=0)
    kernel.ask("commit", acks=[[row["id"], "out", 160]], values={"a": "b"})
    shell = "watch lines *\\nlist processes\\nhelp\\nset x\\nquit\\n"
    said = subprocess.run(
        [sys.executable, "-m", "papa.cli", "shell"], input=shell, capture_output=True, text=True, timeout=30
    )
    assert said.returncode == 0
    status = kernel.status()
    assert (status["pid"], status["faults"]) == (pid, 0)
    assert "Traceback" not in kernel.log()
    # What cannot be imported any more gives way to what the holder was started with.
    kernel.kill()
    assert kernel.status()["program"] == [sys.executable, places.source()]
    assert kernel.ask("get", name="a") == {"value": "b"}
    with pytest.raises(AssertionError):
        # What was acknowledged does not come again.
        kernel.output(row)


def test_a_kernel_that_fails_behind_the_exec_gives_way_to_the_one_before(kernel, copy):
    broken = copy("broken", kernel__daemon=("        host = self._host\n", "        raise RuntimeError('not today')\n"))
    before = kernel.start()
    row = kernel.writer("w", 3000, 0.002)
    done = papa("upgrade", folder=broken)
    assert done.returncode == 1
    assert "went on as" in done.stderr
    after = kernel.status()
    assert after["pid"] != before["pid"]
    assert (after["program"], after["holder"]) == (before["program"], before["holder"])
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
    assert kernel.rows()[row["id"]]["exit"]["status"] == 42
    assert kernel.output(row) == numbered(3000)


# --- refusals -------------------------------------------------------------------------------------------------

BROKEN = {
    "syntax": ({"kernel__news": ("class News:", "class News")}, "news.py:"),
    "import": ({"kernel__news": ("class News:", "import no_such_module\nclass News:")}, "No module named 'no_such"),
    "record": ({"kernel__records": ("\nVERSION = 1", "\nVERSION = 0")}, "its format 1 is newer than 0"),
    "journal": ({"core__journal": ("\nVERSION = 1", "\nVERSION = 0")}, "journal: its format 1 is newer than 0"),
    "index": ({"core__index": ("papaidx1", "papaidx0")}, "index: it is of another format"),
    "holder": ({"places": ("HANDED_VERSION = 2", "HANDED_VERSION = 1")}, "newer than 1"),
    "memory": ({"kernel__news": ("class News:", "bytes(1 << 60)\nclass News:")}, "MemoryError"),
    "killed": ({"kernel__news": ("class News:", "import os; os.kill(os.getpid(), 9)\nclass News:")}, "by signal 9"),
    "status": ({"kernel__news": ("class News:", "import os; os._exit(7)\nclass News:")}, "status 7"),
}


@pytest.mark.parametrize(("changes", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_take_over_is_refused_in_one_line_and_nothing_has_happened(kernel, copy, changes, reason):
    before = kernel.start()
    row = kernel.writer("w", 3, 0)
    folder = copy("broken", **changes)
    for word in ([], ["--check"]):
        done = ask_for(folder, *word)
        assert done.returncode == 3, (done.stdout, done.stderr)
        said = done.stderr.splitlines()
        assert said[0].startswith("papa: ") and reason in said[0], done.stderr
        assert len(said) == 2
    after = kernel.status()
    assert (after["pid"], after["started_at"]) == (before["pid"], before["started_at"])
    assert not os.path.exists(f"{kernel.instance.directory}/program.new")
    wait_for(lambda: kernel.rows()[row["id"]]["exit"], "its exit")
    assert kernel.output(row) == numbered(3)


def ask_for(folder, *words, python=sys.executable):
    """`papa upgrade` as the papa in that folder would say it, which may be too broken to say anything."""
    code = RUN.replace("from papa.cli", "from papa import places; places.source = lambda: FOLDER; from papa.cli")
    code = f"FOLDER = {folder!r}; " + code
    return subprocess.run(
        [sys.executable, "-I", "-c", code, places.source(), "upgrade", *words],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_python_that_is_too_old_or_not_there_is_refused(kernel):
    kernel.start()
    for python in ("/no/such/python", "/etc/hostname"):
        with pytest.raises(Exception, match="cannot be executed"):
            kernel.ask("upgrade", python=python, folder=places.source())
    with pytest.raises(Exception, match="status 1"):
        kernel.ask("upgrade", python="/bin/false", folder=places.source())
    for wrong in ({"python": "python3", "folder": "/"}, {"python": "/bin/false"}, {"python": 3, "folder": "/"}):
        with pytest.raises(Exception, match="python"):
            kernel.ask("upgrade", **wrong)


def test_a_second_upgrade_waits_for_nobody(kernel, copy, tmp_path):
    waiting = f"import time\nwhile not os.path.exists({str(tmp_path / 'gate')!r}): time.sleep(0.01)\nclass News:"
    slow = copy("slow", kernel__news=("class News:", f"import os\n{waiting}"))
    before = kernel.start()
    first = subprocess.Popen([sys.executable, "-I", "-c", RUN, slow, "upgrade"])
    wait_for(lambda: children(before["pid"]), "its child")
    done = papa("upgrade")
    (tmp_path / "gate").touch()
    assert (done.returncode, "under way" in done.stderr) == (3, True)
    assert first.wait(30) == 0
    wait_for(lambda: not children(before["pid"]), "the end of all children")
    wait_for(lambda: state_of(before["pid"]) == "S", "its rest")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


# --- who is connected -----------------------------------------------------------------------------------------


def ask_on(stop, ask, failures, counts):
    """Asks without a pause until told to stop."""
    count = 0
    try:
        while not stop.is_set():
            ask(count)
            count += 1
    except BaseException as error:
        failures.append(repr(error))
    counts.append(count)


@pytest.mark.timeout(300)
def test_clients_of_every_kind_go_on_over_twenty_upgrades(kernel, copy, tmp_path):
    pid = kernel.start()["pid"]
    other = copy("other", release=('__version__ = "', '__version__ = "9.'))
    kernel.writer("w", 20_000, 0.002, tmp_path / "gate")
    stop, failures, counts = threading.Event(), [], []
    blocking = Papa()
    text = socket.socket(socket.AF_UNIX)
    text.settimeout(20)
    text.connect(kernel.instance.control_path)
    words = text.makefile("rw", newline="\n")

    def ask_blocking(count):
        blocking.set("blocking", str(count))
        assert blocking.get("blocking") == str(count)

    def ask_in_text(count):
        words.write(f"set text {count}\nget text\n")
        words.flush()
        while f"{count}" not in (line := words.readline()):
            assert line

    def connect_anew(count):
        kernel.ask("set", name="anew", value=str(count))

    async def ask_asyncio():
        client = await AsyncPapa.connect(client="asyncio", autostart=False)
        client.on_lost = lambda: failures.append("lost")
        count = 0
        while not stop.is_set():
            await asyncio.gather(*(client.set(f"a{n}", str(count)) for n in range(3)), client.list("processes"))
            count += 1
        counts.append(count)
        await client.close()

    askers = [
        threading.Thread(target=ask_on, args=(stop, ask, failures, counts))
        for ask in (ask_blocking, ask_in_text, connect_anew)
    ]
    askers.append(threading.Thread(target=lambda: contained(failures, lambda: asyncio.run(ask_asyncio()))))
    watcher = Papa().watch_processes("w")
    seen = []
    askers.append(threading.Thread(target=lambda: contained(failures, lambda: watch(watcher, seen))))
    for asker in askers:
        asker.start()
    try:
        for turn in range(20):
            folder = places.source() if turn % 2 else other
            kernel.ask("upgrade", python=sys.executable, folder=folder)
            assert kernel.status()["program"] == [sys.executable, folder]
            assert not failures
    finally:
        stop.set()
        (tmp_path / "gate").touch()
        for asker in askers[:-1]:
            asker.join(30)
    assert kernel.status()["pid"] == pid
    askers[-1].join(120)
    text.close()
    words.close()
    blocking.close()
    assert failures == []
    assert len(counts) == 4 and min(counts) > 20
    assert b"".join(seen) == numbered(20_000)


def contained(failures, work):
    try:
        work()
    except BaseException as error:
        failures.append(repr(error))


def watch(watcher, seen):
    """In an event loop of the hardest kind: epoll knows the open file, and not its number."""
    with selectors.EpollSelector() as selector:
        selector.register(watcher.fileno(), selectors.EVENT_READ)
        while watcher:
            assert selector.select(120)
            out, _, closed = watcher.read()
            seen += [piece.data for piece in out]
            if closed:
                assert closed[0].data == 42
                watcher.close()


def test_an_owner_stays_one_and_is_told_of_each_thing_once(kernel, tmp_path):
    kernel.start()
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    hold = os.open(gate, os.O_RDWR)
    script = f"while read x; do [ $x = end ] && exit 3; echo $x; done <{gate}"
    with Connection(client="owner", autostart=False) as owner:
        spec = {"name": "w", "env": {}, "argv": ["/bin/sh", "-c", script], "stderr": "null"}
        number = owner.request("spawn", owner="me", **spec).ok["id"]
        upgraded()
        os.write(hold, b"one\n")
        wait_for(lambda: owner.wait(0.1) and owner.events, "a notice")
        assert [(event.name, event.fields["items"]) for event in owner.events] == [("output", [[number, 4, None]])]
        owner.events.clear()
        os.write(hold, b"two\n")
        upgraded()
        with pytest.raises(Exception, match="belongs to me"):
            kernel.ask("attach", id=number, owner="another")
        owner.request("ping")
        assert not owner.events, "it has not said that it saw the first"
        owner.post("more", seen=[[number, 4, None]])
        wait_for(lambda: owner.events or owner.wait(0.1), "the next notice")
        assert owner.events.popleft().fields["items"] == [[number, 8, None]]
        os.write(hold, b"end\n")
        upgraded()
        wait_for(lambda: len(owner.events) > 1 or (owner.wait(0.1) and len(owner.events) > 1), "its end")
        assert sorted(event.name for event in owner.events) == ["eof", "exit"]
        upgraded()
        owner.request("ping")
        assert len(owner.events) == 2
        owner.request("commit", acks=[[number, "out", 8]], exits=[number])
        assert owner.request("status").ok["clients"] == ["owner"]
    os.close(hold)


def test_a_person_who_watches_sees_all_of_it_once(kernel, tmp_path):
    kernel.start()
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    hold = os.open(gate, os.O_RDWR)
    script = f'printf begin; while read x; do printf "$x"; done <{gate}'
    kernel.pids.append(kernel.ask("spawn", name="w", env={"PATH": "/bin"}, argv=["/bin/sh", "-c", script])["pid"])
    viewer = socket.socket(socket.AF_UNIX)
    viewer.settimeout(20)
    viewer.connect(kernel.instance.control_path)
    viewer.sendall(b"watch lines w\n")
    heard = b""

    def hears(what):
        nonlocal heard
        while what not in heard:
            heard += viewer.recv(4096)
        before, heard = heard.split(what, 1)
        return before

    hears(b"out| begin")
    for word in (b"one", b"two"):
        upgraded()
        os.write(hold, word + b"\\n\n")
        hears(b"out+ " + word)
    viewer.sendall(b"\n")
    hears(b"\n")
    viewer.sendall(b"set a b\nget a\n")
    hears(b"b\n")
    viewer.close()
    os.close(hold)
