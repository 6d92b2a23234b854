"""The ancestors' door of a real circusd: what is open, for whom, and that an order on an event is carried out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.house import ANSWER_S, House, opened, own_uid, ticker, wait_for

OPEN = re.compile(r"(\w+) is open at (\S+) for programs")


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as context:
        yield context
        context.destroy(0)


def places(house: House) -> dict[str, str]:
    """What the log says is open."""
    return dict(OPEN.findall(house.log("circusd.out")))


def all_are_open(house: House) -> None:
    """circusd answers at its control socket before its other doors are open."""
    doors = ["endpoint", "pubsub_endpoint", "stats_endpoint"]
    wait_for(lambda: sorted(places(house)) == doors, "the doors are open")


def connected(context: Any, kind: int, place: str) -> Any:
    sock = context.socket(kind)
    sock.set(zmq.RCVTIMEO, ANSWER_S * 1000)
    sock.connect(place)
    return sock


def ask(sock: Any, command: str, **properties: object) -> dict[str, Any]:
    sock.send(json.dumps({"id": command, "command": command, "properties": properties}).encode())
    reply: dict[str, Any] = json.loads(sock.recv())
    assert reply["id"] == command
    return reply


def test_what_is_named_is_open_and_nothing_else(tmp_path: Path, context: Any) -> None:
    owner = own_uid() if os.geteuid() == 0 else os.geteuid()
    config = f"""
[circus]
endpoint = tcp://127.0.0.1:*
pubsub_endpoint = ipc://{tmp_path}/events
stats_endpoint = ipc://{tmp_path}/stats
endpoint_owner = {owner}
{ticker("web", count=2)}
"""
    with opened(tmp_path / "house", config, CIRCUSCTL_ENDPOINT="tcp://127.0.0.1:*") as house:
        house.start()
        all_are_open(house)
        for name in ("events", "stats"):
            status = (tmp_path / name).lstat()
            assert (status.st_mode & 0o777, status.st_uid) == (0o600, owner)
        peer = connected(context, zmq.DEALER, places(house)["endpoint"])
        events = connected(context, zmq.SUB, f"ipc://{tmp_path}/events")
        events.subscribe("watcher.web.")
        stats = connected(context, zmq.SUB, f"ipc://{tmp_path}/stats")
        stats.subscribe("stat.web.")
        topic, figures = stats.recv_multipart()
        pids = set(ask(peer, "list", name="web")["pids"])
        assert int(topic.decode().rpartition(".")[2]) in pids
        assert json.loads(figures)["name"] == "web"
        wait_for(lambda: ask(peer, "reload", name="web") and events.poll(500), "the subscription counts")
        _on_each_reap_another(peer, events)
        assert ask(peer, "quit", waiting=True)["status"] == "ok"
        assert house.gone() == 0
        assert not (tmp_path / "events").exists()
        (house.folder / "circusd.out").unlink()
        house.start()  # and again: nothing is left that would be in the way
        all_are_open(house)
        assert "is closed" not in house.log("circusd.out")


def _on_each_reap_another(peer: Any, events: Any) -> None:
    """What the ancestors always refused."""
    assert ask(peer, "reload", name="web", waiting=True)["status"] == "ok"
    pid = ask(peer, "list", name="web")["pids"][0]
    assert ask(peer, "kill", name="web", pid=pid, signum="KILL")["status"] == "ok"
    while True:
        topic, payload = events.recv_multipart()
        if topic == b"watcher.web.reap" and json.loads(payload)["process_pid"] == pid:
            break
    assert json.loads(payload)["exit_code"] == -9
    reply = ask(peer, "incr", name="web", waiting=True)
    assert (reply["status"], reply["numprocesses"]) == ("ok", 3)


def test_the_network_gets_in_only_where_that_is_meant(tmp_path: Path, context: Any) -> None:
    config = "[circus]\nname = n\nendpoint = tcp://0.0.0.0:*\n{}\n[watcher:a]\ncmd = sleep 1000\n"
    with opened(tmp_path / "house", config.format(""), CIRCUSCTL_ENDPOINT="n") as house:
        house.start()
        assert places(house) == {}
        assert "circus.ini:3: [circus]: endpoint = 'tcp://0.0.0.0:*' is not opened" in house.ctl("status", "-v").stderr
        house.quit()
        house.config.write_text(config.format("zmq.open_to_network = true"))
        house.start()
        place = wait_for(lambda: places(house).get("endpoint"), "the door")
        peer = connected(context, zmq.DEALER, place.replace("0.0.0.0", "127.0.0.1"))
        assert ask(peer, "numwatchers")["numwatchers"] == 1


def test_without_an_address_nothing_of_the_door_is_imported() -> None:
    code = (
        "import sys, circus.daemon.main; "
        "print([each for each in sys.modules if each.startswith(('zmq', 'circus.legacy.door.'))])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
