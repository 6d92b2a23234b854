"""Classes of circus 0.19 in programs of other people: clients, listeners, a plugin, circus-top."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
from pathlib import Path

import pytest

from tests import peers
from tests.house import ANSWER_S, House, wait_for

pytestmark = pytest.mark.needs(str(peers.PYTHON))

PLUGIN = """
from circus.plugins import CircusPlugin

class Mine(CircusPlugin):
    name = "mine"

    def handle_init(self):
        print("ready", self.config["word"], flush=True)

    def handle_recv(self, data):
        watcher, event, message = self.split_data(data)
        if (watcher, event) == ("web", "stop"):
            self.load_message(message)["time"]
            self.cast("start", name="web")
            print("heard", self.call("numprocesses", name="web")["numprocesses"], flush=True)
"""


def test_clients_and_listeners_get_what_they_expect(house: House, tmp_path: Path) -> None:
    del house
    program = [peers.PYTHON, Path(__file__).with_name("asking.py"), tmp_path]
    done = subprocess.run(program, env=peers.environ(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "call": 2,
        "send_message": ["data.base", "web"],
        "error": {"status": "error", "errno": 3, "reason": "program x not found"},
        "many": 200,
        "waited": True,
        "at once": True,
        "async": 2,
        "nobody": "Timed out.",
        "events": True,
        "stats": [[name, each] for name in ("circus", "data-base", "sockets", "web") for each in ("all", "each")],
    }


def test_a_plugin_hears_and_orders(house: House, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    addresses = ["--endpoint", f"ipc://{tmp_path}/orders", "--pubsub", f"ipc://{tmp_path}/events"]
    plugin = subprocess.Popen(
        [peers.BIN / "circus-plugin", *addresses, "--config", "word:please", "mine.Mine"],
        env=peers.environ(PYTHONPATH=str(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert plugin.stdout is not None
        assert plugin.stdout.readline() == "ready please\n"

        def has_heard() -> bool:
            house.asked("stop", "web")
            return bool(select.select([plugin.stdout], [], [], 0.5)[0])

        wait_for(has_heard, "the plugin hears", timeout_s=ANSWER_S)
        assert plugin.stdout.readline() == "heard 2\n"
        wait_for(lambda: house.status()["web"] == "active", "its order")
    finally:
        plugin.kill()
        plugin.communicate()


def test_circus_top_shows_who_runs(house: House, tmp_path: Path) -> None:
    del house
    pid, terminal = pty.fork()
    if pid == 0:
        environ = peers.environ(TERM="vt100", LINES="40", COLUMNS="100")
        os.execve(peers.BIN / "circus-top", ["circus-top", "--endpoint", f"ipc://{tmp_path}/stats"], environ)
    shown = b""

    def has_all() -> bool:
        nonlocal shown
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 65536)
        return all(each in shown for each in (b"Circus Top", b"(web)", b"data.base", b"(circusd)", b"(older)"))

    try:
        wait_for(has_all, "a whole page", timeout_s=ANSWER_S)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
