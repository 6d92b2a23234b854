"""Our clients, listeners and plugins towards a circusd of 0.19: it has no control socket, and speaks ZMQ."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from circus.client import AsyncCircusClient, CircusClient, cast_message
from circus.consumer import CircusConsumer
from circus.exc import CallError
from tests import peers
from tests.house import ANSWER_S, BIN, process, wait_for

from .test_towards_circusd import folder  # noqa: F401

pytestmark = pytest.mark.needs(str(peers.PYTHON))

PLUGIN = """
import json
from circus.plugins import CircusPlugin

class Telling(CircusPlugin):
    def handle_init(self):
        print(json.dumps(self.call("list")["watchers"]), flush=True)
    def handle_recv(self, data):
        watcher, event, message = self.split_data(data)
        if event == "stop":
            print(json.dumps([watcher, sorted(self.load_message(message))]), flush=True)
"""


@pytest.fixture(autouse=True)
def private_root(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(folder / "run"))


def test_clients_ask_and_order(folder: Path) -> None:  # noqa: F811
    endpoint = f"ipc://{folder}/orders"
    client = CircusClient(endpoint=endpoint, timeout=ANSWER_S)
    assert client.send_message("status")["statuses"] == {"db": "active", "web": "active"}
    assert client.send_message("incr", name="web", waiting=True)["numprocesses"] == 3
    assert client.send_message("status", name="nobody")["errno"] == 3
    assert client.call(cast_message("stop", name="db"))["status"] == "ok"
    wait_for(lambda: client.send_message("status", name="db")["status"] == "stopped", "the cast")
    with pytest.raises(CallError, match="no circusd answers"):
        CircusClient(endpoint=f"ipc://{folder}/nobody").send_message("list")

    async def ask() -> list[dict[str, Any]]:
        asking = AsyncCircusClient(endpoint=endpoint, timeout=ANSWER_S)
        return await asyncio.gather(*(asking.send_message("numwatchers") for _ in range(20)))

    assert [reply["numwatchers"] for reply in asyncio.run(ask())] == [2] * 20


def test_events_are_heard(folder: Path) -> None:  # noqa: F811
    client = CircusClient(endpoint=f"ipc://{folder}/orders", timeout=ANSWER_S)
    heard: list[tuple[bytes, bytes]] = []

    def listen() -> None:
        with CircusConsumer(["watcher.db.start"], endpoint=f"ipc://{folder}/events") as consumer:
            heard.append(next(iter(consumer)))

    thread = threading.Thread(target=listen)
    thread.start()
    while not heard:  # what was published before he had come is lost
        client.send_message("restart", name="db", waiting=True)
    thread.join()
    assert heard[0][0] == b"watcher.db.start"
    assert "time" in json.loads(heard[0][1])


def test_a_plugin_hears_and_asks(folder: Path) -> None:  # noqa: F811
    (folder / "telling.py").write_text(PLUGIN)
    client = CircusClient(endpoint=f"ipc://{folder}/orders", timeout=ANSWER_S)
    words = [BIN / "circus-plugin", "--endpoint", f"ipc://{folder}/orders", "telling.Telling"]
    with process(*words, PYTHONPATH=str(folder)) as running:
        assert running.stdout is not None
        assert json.loads(running.stdout.readline()) == ["db", "web"]
        told: list[str] = []
        reading = threading.Thread(target=lambda: told.append(running.stdout.readline()))  # type: ignore[union-attr]
        reading.start()
        while not told:  # what was published before he had come is lost
            client.send_message("restart", name="db", waiting=True)
        reading.join()
        assert json.loads(told[0]) == ["db", ["time"]]
        running.send_signal(signal.SIGTERM)
        assert running.wait(ANSWER_S) == 0
