"""Somebody is told of what goes wrong: by HTTP and by a command, in their own time."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.house import opened, wait_for

SLEEPER = "[watcher:a]\ncmd = sleep 600\ncopy_env = true\n"
LOOP = "[watcher:loop]\ncmd = false\ncopy_env = true\nbackoff.first = 0.1\nbackoff.factor = 1\nbackoff.attempts = -1\n"


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what it is told. ``status`` is its answer; while ``gate`` is not set it gives none."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook/hush"

    def told(self, watcher: str) -> list[dict[str, Any]]:
        return [each for each in self.heard if each["watcher"] == watcher]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.server.keys.append(self.headers["X-Key"])
        self.server.gate.wait(60)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


def counted(house: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(house.asked("notify", "list", "--json"))["notifiers"]
    return found


def test_a_crash_loop_is_one_message_and_reloadconfig_changes_whom_it_tells(tmp_path: Path, receiver: Receiver) -> None:
    ops = f"[notifier:ops]\nurl = {receiver.url}\nheader.X-Key = hush\nevents = backoff\nevery = 10m\n"
    with opened(tmp_path / "house", SLEEPER + LOOP) as house:
        house.start()
        assert house.asked("notify", "list") == "there is none"
        assert house.ctl("notify", "test", "ops").returncode == 3
        house.config.write_text(SLEEPER + LOOP + ops)
        plan = house.asked("reloadconfig", "--plan")
        assert "notifier ops" in plan and "hush" not in plan
        house.asked("reloadconfig")
        wait_for(lambda: (each := counted(house)["ops"])["sent"] and each["collapsed"] >= 3, "it fails again and again")
        (said,) = receiver.told("loop")
        assert (said["event"], said["circusd"], said["count"]) == ("backoff", "default", 1)
        assert receiver.keys == ["hush"]
        told = house.asked("notify", "list")
        assert told.startswith(f"ops: http://127.0.0.1:{receiver.server_port}/***: 1 sent, ")
        assert house.asked("notify", "test", "ops").startswith("sent in ")
        assert receiver.heard[-1]["event"] == "test"
        receiver.status = 403
        done = house.ctl("notify", "test", "ops")
        assert (done.returncode, done.stdout) == (1, "not sent: HTTP 403 Forbidden\n")
        house.config.write_text(SLEEPER + LOOP)
        house.asked("reloadconfig")
        assert house.asked("notify", "list") == "there is none"
        assert "hush" not in house.said() + house.log("circusd.out")


def test_a_notifier_is_as_its_options_say(tmp_path: Path, receiver: Receiver) -> None:
    loops = LOOP + LOOP.replace("loop", "other")
    command = "sh -c 'cat >> told; echo >> told; echo $CIRCUS_EVENT >> names; exit 1'"
    config = (
        f"{SLEEPER}{loops}[notifier:ops]\nurl = {receiver.url}\nheader.X-Key = hush\nevents = reap\nwatchers = lo*\n"
        "every = 0\nqueue = 2\ntimeout = 0.2\nretries = 1\nbackoff = 0.1\n"
        f"[notifier:mail]\ncmd = {command}\nevents = backoff\nwatchers = other\n"
        "retries = 4\nbackoff = 0.1\nevery = 1h\n"
    )
    receiver.gate.clear()
    with opened(tmp_path / "house", config) as house:
        house.start()
        wait_for(lambda: counted(house)["ops"]["failed"] >= 1, "it has given up a message")
        found = wait_for(lambda: (each := counted(house)["ops"])["dropped"] >= 1 and each, "the queue was full")
        assert found["waiting"] <= 3
        assert found["collapsed"] == 0, "every one has its own message"
        wait_for(lambda: counted(house)["mail"]["failed"] == 1, "the command was given up")
        assert (house.folder / "names").read_text() == "backoff\n" * 5, "so often it was tried"
        said = [json.loads(line) for line in (house.folder / "told").read_text().splitlines()]
        assert {(each["watcher"], each["id"]) for each in said} == {("other", said[0]["id"])}
        assert [each["attempt"] for each in said] == [1, 2, 3, 4, 5]
        wait_for(lambda: counted(house)["mail"]["collapsed"] >= 1, "it failed again, and had no message of its own")
        wait_for(lambda: {each["attempt"] for each in receiver.heard} == {1, 2}, "it was tried again by HTTP")
        assert {(each["watcher"], each["event"]) for each in receiver.heard} == {("loop", "reap")}
        assert set(receiver.keys) == {"hush"}
        assert "notifier ops" in house.ctl("status", "-v").stderr
        receiver.gate.set()
        wait_for(lambda: any(each["missed"] for each in receiver.heard), "it says what is missing")


def test_circusd_leaves_soon_with_messages_that_nobody_takes(tmp_path: Path, receiver: Receiver) -> None:
    config = f"{SLEEPER}{LOOP}[notifier:ops]\nurl = {receiver.url}\nevents = backoff\nevery = 0\ntimeout = 1h\n"
    receiver.gate.clear()
    with opened(tmp_path / "house", config) as house:
        house.start()
        wait_for(lambda: counted(house)["ops"]["waiting"] >= 3 and receiver.heard, "messages wait")
        house.quit()
        assert "notifier ops has not told" in house.said()
        assert len(receiver.heard) == 1, "nothing is tried while one is under way"
        receiver.gate.set()


def test_circusd_leaves_when_what_waits_is_told(tmp_path: Path, receiver: Receiver) -> None:
    config = f"{SLEEPER}{LOOP}[notifier:ops]\nurl = {receiver.url}\nevents = backoff, stop\nevery = 10m\n"
    with opened(tmp_path / "house", config) as house:
        house.start()
        wait_for(lambda: counted(house)["ops"]["collapsed"] >= 3, "it fails again and again")
        house.quit()
        first, last = (each for each in receiver.told("loop") if each["event"] == "backoff")
        assert (first["count"], last["count"] >= 3) == (1, True)
