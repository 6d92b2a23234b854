"""Another version takes circusd's place, under load and again and again: nobody is refused, nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from circus.control.client import Client
from circus.control.listening import Listening
from circus.errors import CircusError
from tests.house import TICKER_COMMAND, House, free_port, opened, ticker, wait_for

UPGRADES = 5
PROCESSES = 100

SERVER = """
import os, socket, sys
door = socket.socket(fileno=int(sys.argv[1]))
door.setblocking(True)
while True:
    peer, _ = door.accept()
    peer.sendall(b"%d" % os.getpid())
    peer.close()
"""


def client(house: House) -> Client:
    return Client(str(house.folder / "run" / "circus-default.sock"), timeout_s=50)


def manager_pid(house: House) -> int:
    assert house.manager is not None
    return house.manager.pid


@contextlib.contextmanager
def repeated(*works: object) -> Iterator[list[str]]:
    """Each of ``works`` again and again in a thread of its own; yields what went wrong."""
    errors: list[str] = []
    has_ended = threading.Event()

    def run(work: object) -> None:
        assert callable(work)
        while not has_ended.is_set():
            try:
                work()
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error} {traceback.format_exc()}")

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        has_ended.set()
        for thread in threads:
            thread.join()


class Ear(threading.Thread):
    """Hears all events until it has heard one of the watcher ``last``, over every upgrade."""

    def __init__(self, client: Client, last: str) -> None:
        super().__init__(daemon=True)
        self.heard: list[dict[str, object]] = []
        self._client, self._last = client, last
        self._listening = Listening(client)

    def run(self) -> None:
        while True:
            try:
                self.heard += self._listening.read()
            except CircusError:
                self._listening.close()
                self._listening = Listening(self._client, last_id=self._listening.last_id)
            if any(each.get("watcher") == self._last for each in self.heard):
                self._listening.close()
                return


def test_under_load_nobody_is_refused_no_child_touched_no_byte_lost_and_no_event_missed(tmp_path: Path) -> None:
    port = free_port()
    config = f"""
[circus]
stats_interval = 1
[socket:door]
host = 127.0.0.1
port = {port}
use_papa = true
[watcher:server]
cmd = {sys.executable} -S server.py $(circus.sockets.door)
use_sockets = true
use_papa = true
copy_env = true
[watcher:extra]
cmd = sleep 1000
[watcher:last]
cmd = sleep 1000
autostart = false
"""
    config += ticker("web", count=PROCESSES, extra="use_papa = true")
    with opened(tmp_path / "house", config, TICKER_INTERVAL_S="0.2") as house:
        (house.folder / "server.py").write_text(SERVER)
        house.start()
        wait_for(lambda: len(house.pids("web")) == PROCESSES, "all processes")
        before, manager = house.pids("web") | house.pids("server"), manager_pid(house)
        asked = client(house)
        ear = Ear(client(house), "last")
        ear.start()

        def visit() -> None:
            with socket.create_connection(("127.0.0.1", port), 30) as peer:
                assert int(peer.recv(100)) in before

        def change() -> None:
            asked.post("/v1/watchers/extra/count", {"delta": 1})
            asked.post("/v1/watchers/extra/count", {"delta": -1})

        with repeated(visit, change, lambda: asked.get("/v1/status")) as errors:
            for _ in range(UPGRADES):
                assert "upgraded from" in house.asked("upgrade")
        assert errors == [], "\n".join(map(repr, errors)) + house.said()
        assert manager_pid(house) == manager
        assert house.pids("web") | house.pids("server") == before
        asked.post("/v1/watchers/last/start", {})
        ear.join(30)
        numbers = [int(str(each["id"]).rpartition("-")[2]) for each in ear.heard if "topic" in each]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert not [each for each in ear.heard if "missed" in each]
        spawned = [each for each in ear.heard if each.get("topic") == "watcher.extra.spawn"]
        reaped = [each for each in ear.heard if each.get("topic") == "watcher.extra.reap"]
        assert len(spawned) == len(reaped) > 0
        assert not [each for each in ear.heard if str(each.get("topic", "")).startswith("watcher.web.")]
        metrics = house.asked("status", "--json")
        assert json.loads(metrics)["warnings"] == []
        done = [
            row for row in json.loads(house.asked("operations", "--json"))["operations"] if row["what"] == "upgrade"
        ]
        assert [row["state"] for row in done] == ["done"] * UPGRADES
        house.asked("stop", "web")
        truth = {each.name: int.from_bytes(each.read_bytes(), "little") for each in house.truth.iterdir()}
        assert len(truth) == PROCESSES
        wait_for(lambda: house.log("web.log").count("\n") >= sum(truth.values()), "all output in the log", 60)
        lines = defaultdict(list)
        for line in house.log("web.log").splitlines():
            name, pid, number = line.split()
            lines[f"{name}.{pid}"].append(int(number))
        assert lines == {name: list(range(1, count + 1)) for name, count in truth.items()}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    config = ticker("web", count=2, extra="use_papa = true")
    config += f"[watcher:slow]\ncmd = {TICKER_COMMAND} slow\nautostart = false\n"
    with opened(tmp_path / "house", config, TICKER_INTERVAL_S="0.2") as house:
        house.start()
        wait_for(lambda: len(house.pids("web")) == 2, "both")
        yield house


def refused(house: House, *words: str) -> str:
    """Why not; and what runs goes on."""
    before, pid = house.pids("web"), manager_pid(house)
    done = house.ctl("upgrade", *words)
    assert done.returncode == 3, done
    assert "Traceback" not in done.stderr
    assert house.status()["web"] == "active"
    assert (house.pids("web"), manager_pid(house)) == (before, pid)
    return done.stderr


def environment(house: House, name: str, text: str) -> str:
    """A directory like a virtual environment, whose python is a script."""
    python = house.folder / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{text}\n")
    python.chmod(0o755)
    return str(house.folder / name)


def test_what_is_broken_is_refused_before_anything_is_touched(house: House) -> None:
    assert "cannot take over" in refused(house, "--to", environment(house, "none", "echo no >&2; exit 1"))
    assert "it does not know of upgrades" in refused(house, "--to", environment(house, "old", "exit 0"))
    assert "is no program" in refused(house, "--to", str(house.folder / "nowhere"))
    house.environ["PYTHONPATH"] = ""  # of circusctl, from now on
    broken = house.folder / "circus"
    broken.mkdir()
    (broken / "__init__.py").write_text("def :\n")
    assert "SyntaxError: invalid syntax" in refused(house)
    assert "SyntaxError" in refused(house, "--check")
    assert "def :" in house.said()
    (broken / "__init__.py").unlink()
    broken.rmdir()
    assert "can be upgraded" in house.asked("upgrade", "--check")


def test_what_a_start_would_change_is_refused(house: House) -> None:
    written = house.config.read_text()
    house.config.write_text(written + "[watcher:more]\ncmd = sleep 1000\n")
    assert "was edited" in refused(house)
    house.config.write_text(written + "nonsense\n")
    assert "nonsense" in refused(house)
    house.config.write_text(written)
    house.asked("incr", "web")
    wait_for(lambda: len(house.pids("web")) == 3, "one more")
    memory = house.folder / "run" / "state" / "circus" / "default" / "memory.json"
    wait_for(memory.exists, "what was ordered by hand")
    newer = json.loads(memory.read_text()) | {"format": 99}
    memory.write_text(json.dumps(newer))
    assert "is of format 99" in refused(house)
    assert json.loads(memory.read_text()) == newer
    memory.unlink()


def test_what_cannot_be_executed_leaves_the_old_one_and_what_does_not_come_up_gives_way_to_it(house: House) -> None:
    before, pid = house.pids("web"), manager_pid(house)
    vanishing = f'"{sys.executable}" -m circus.circusd circus.ini; status=$?; rm -- "$0"; exit $status'
    done = house.ctl("upgrade", "--to", environment(house, "vanishing", vanishing))
    assert done.returncode == 1, done
    assert "cannot be executed: No such file" in done.stderr
    assert (house.pids("web"), manager_pid(house)) == (before, pid)

    (house.folder / "spoilt").mkdir()
    (house.folder / "spoilt" / "sitecustomize.py").write_text(
        "import os\n"
        f"os.environ['PYTHONPATH'] = {str(house.folder)!r}\n"
        "from circus.engine import startup\n"
        "async def start(engine):\n    raise RuntimeError('spoilt')\n"
        "startup.start = start\n"
    )
    spoilt = f'[ "$CIRCUS_REHEARSAL" ] || export PYTHONPATH={house.folder}/spoilt\nexec "{sys.executable}" "$@"'
    done = house.ctl("upgrade", "--to", environment(house, "spoiling", spoilt))
    assert done.returncode == 1, done
    assert "did not come up: RuntimeError: spoilt" in done.stderr
    assert (house.pids("web"), manager_pid(house)) == (before, pid)
    assert "upgraded from" in house.asked("upgrade")
    assert (house.pids("web"), manager_pid(house)) == (before, pid)


def test_orders_under_way_are_waited_for_and_named_where_they_take_too_long(house: House) -> None:
    program = house.folder / "stubborn.py"
    program.write_text("import signal\nsignal.signal(15, signal.SIG_IGN)\nprint(1, flush=True)\nsignal.pause()\n")
    options = {
        "graceful_timeout": 1000,
        "stdout_stream.class": "FileStream",
        "stdout_stream.filename": house.folder / "stubborn.log",
    }
    given = [word for key, text in options.items() for word in ("--option", f"{key}={text}")]
    house.asked("add", "--start", *given, "stubborn", sys.executable, "-S", "stubborn.py")
    wait_for(lambda: house.log("stubborn.log"), "it ignores TERM")
    (stubborn,) = house.pids("stubborn")
    house.asked("stop", "--no-wait", "stubborn")
    assert "still orders under way: stop (" in refused(house, "--patience", "0.1")
    killer = threading.Timer(0.5, os.kill, (stubborn, signal.SIGKILL))
    killer.start()
    assert "upgraded from" in house.asked("upgrade")
    killer.join()
    rows = json.loads(house.asked("operations", "--json"))["operations"]
    assert [(row["what"], row["state"]) for row in rows[-2:]] == [("stop", "done"), ("upgrade", "done")]


def facts_of(pid: int) -> list[str]:
    """Umask, signals that are blocked, ignored and caught, and the limit of descriptors."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    facts = [line for line in status if line.startswith(("Umask", "SigBlk", "SigIgn", "SigCgt"))]
    return facts + [line for line in limits if "open files" in line]


def test_one_in_the_background_keeps_its_pid_its_files_and_its_limits(house: House) -> None:
    house.quit()
    started = house.run(
        Path(sys.executable).parent / "circusd", "--daemon", "--pidfile", "pid", "--log-output", "l", house.config
    )
    assert started.returncode == 0, started.stderr
    wait_for(house.is_up, "all up")
    wait_for(lambda: all(name in house.log("web.log") for name in ("web-1", "web-2")), "its files are open")
    pid = int((house.folder / "pid").read_text())
    facts = [facts_of(pid)]
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    upgrades = 3
    for _ in range(upgrades):
        assert "upgraded from" in house.asked("upgrade")
        facts.append(facts_of(pid))
    assert int((house.folder / "pid").read_text()) == pid
    assert all(each == facts[0] for each in facts)
    # Not all that it holds at rest need have been open at first; one that is left by each upgrade is more than that.
    wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) < descriptors + upgrades, "no descriptor left open")
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not (house.folder / "pid").exists(), "the pidfile removed")


def test_an_end_by_a_signal_is_an_order_that_is_not_lost_by_an_upgrade(house: House) -> None:
    program = house.folder / "stubborn.py"
    program.write_text("import signal\nsignal.signal(15, signal.SIG_IGN)\nprint(1, flush=True)\nsignal.pause()\n")
    log = ("--option", "stdout_stream.class=FileStream", "--option", f"stdout_stream.filename={house.folder}/s.log")
    house.asked("add", "--start", *log, "--option", "graceful_timeout=1000", "s", sys.executable, "-S", "stubborn.py")
    wait_for(lambda: house.log("s.log"), "it ignores TERM")
    (stubborn,) = house.pids("s")
    try:
        os.kill(manager_pid(house), signal.SIGTERM)
        wait_for(lambda: "got signal SIGTERM: quit" in house.said(), "the signal")
        assert "still orders under way: quit (" in house.ctl("upgrade", "--patience", "0.1").stderr
    finally:
        program.write_text("")  # the next one can be stopped
        os.kill(stubborn, signal.SIGKILL)
    assert house.gone() == 0


def test_a_signal_while_circusd_gives_its_place_away_is_for_its_successor(house: House) -> None:
    upgrade = threading.Thread(target=house.ctl, args=("upgrade",))
    upgrade.start()
    wait_for(lambda: "gives its place to" in house.said(), "the upgrade")
    os.kill(manager_pid(house), signal.SIGTERM)
    assert house.gone() == 0
    upgrade.join()
    assert "got signal SIGTERM: quit" in house.said()
