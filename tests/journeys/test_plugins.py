"""Plugins on a real kernel: they hear and order, the built-in ones do their work, and none of them harms anybody."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from circus.streams.logged import MAX_LINES, WINDOW_S
from tests.house import House, free_port, opened, wait_for

MINE = """
import time
from circus import logger
from circus.plugins import CircusPlugin

class Mine(CircusPlugin):
    name = "mine"

    def handle_init(self):
        logger.warning("mine begins: %s", self.config["text"])

    def handle_recv(self, data):
        watcher, event, message = self.split_data(data)
        print('EVENT', watcher, event, message.decode(), flush=True)
        if (watcher, event) == ("my_web", "start") and self.call("numprocesses", name="my web")["numprocesses"] == 1:
            self.cast("incr", name="my web")

class Crashing(CircusPlugin):
    def handle_init(self):
        raise RuntimeError("it crashes")

class Hanging(CircusPlugin):
    def handle_recv(self, data):
        time.sleep(1000)

class Flooding(CircusPlugin):
    def handle_init(self):
        while True:
            for _ in range(100):
                print("flood " * 20)
            self.call("list")
"""

# Large in its first life only.
HOG = """
import sys, time, os
size = 1 if os.path.exists("hog.seen") else 100
open("hog.seen", "w").close()
data = bytearray(size << 20)
time.sleep(1000)
"""

# Silent in its first life only.
CHATTER = """
import os, socket, sys, time
is_first = not os.path.exists("chatter.seen")
open("chatter.seen", "w").close()
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    if not is_first:
        sock.sendto(b"%d;%f" % (os.getpid(), time.time()), ("127.0.0.1", int(sys.argv[1])))
    time.sleep(0.05)
"""


def config_of(folder: Path, dog_port: int, statsd_port: int) -> str:
    python = f"{sys.executable} -S"
    return f"""
[circus]
logoutput = {folder}/circusd.log
use_papa = true

[watcher:my web]
cmd = /bin/sleep 1000

[watcher:hog]
cmd = {python} {folder}/hog.py
working_dir = {folder}

[watcher:chatter]
cmd = {python} {folder}/chatter.py {dog_port}
working_dir = {folder}

[plugin:mine]
use = mine.Mine
text = "a b" ::: 'c':d
use_papa = true
stdout_stream.filename = {folder}/mine.log

[plugin:resources]
use = circus.plugins.resource_watcher.ResourceWatcher
watcher = hog
loop_rate = 0.1
max_mem = 60M
max_count = 2

[plugin:dog]
use = circus.plugins.watchdog.WatchDog
watchers_regex = chat
loop_rate = 0.5
max_count = 4
port = {dog_port}
watchers_graceful_timeout = 2

[plugin:statsd]
use = circus.plugins.statsd.StatsdEmitter
application_name = house
host = 127.0.0.1
port = {statsd_port}

[plugin:crashing]
use = mine.Crashing

[plugin:hanging]
use = mine.Hanging
graceful_timeout = 0.5

[plugin:flooding]
use = mine.Flooding
autostart = false
graceful_timeout = 0.5
"""


@pytest.fixture
def statsd() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(30)
        yield sock


def start(house: House) -> None:
    """Until all are up but the one that crashes: it is for moments only, and whoever looks need not meet one."""
    house.launch()

    def is_up() -> bool:
        states = house.status()
        states.pop("plugin:crashing", None)
        return bool(states) and all(state in ("active", "stopped") for state in states.values())

    wait_for(is_up, "circusd up" + house.said())


def heard(house: House) -> list[tuple[str, str, dict[str, Any]]]:
    """By the plugin mine."""
    found = []
    for line in house.log("mine.log").splitlines(keepends=True):
        if line.startswith("EVENT ") and line.endswith("\n"):  # what is being written may be seen in part
            _, watcher, event, message = line.split(" ", 3)
            found.append((watcher, event, json.loads(message)))
    return found


def test_plugins_hear_order_and_harm_nobody(tmp_path: Path, statsd: socket.socket) -> None:
    folder = tmp_path / "house"
    folder.mkdir()
    for name, text in (("mine", MINE), ("hog", HOG), ("chatter", CHATTER)):
        (folder / f"{name}.py").write_text(text)
    with opened(folder, config_of(folder, free_port(), statsd.getsockname()[1])) as house:
        start(house)
        wait_for(lambda: house.pids("plugin:mine") and house.pids("plugin:dog"), "the plugins")
        first = {name: house.pids(name) for name in ("plugin:mine", "plugin:dog")}

        def told(watcher: str, event: str) -> list[dict[str, Any]]:
            return [each[2] for each in heard(house) if each[:2] == (watcher, event)]

        # One's own class hears, asks and orders; its values come as they were written.
        wait_for(lambda: len(house.pids("my web")) == 2, "the second process, which the plugin orders")
        begun = "plugin:mine: mine begins: \"a b\" ::: 'c':d"
        wait_for(lambda: begun in house.log("circusd.log"), "what the plugin logs, in circusd's log")
        wait_for(lambda: told("my_web", "updated"), "the event of its own order")

        # A memory hog is restarted; a silent process is killed, one that speaks is not.
        wait_for(lambda: told("hog", "reap"), "the end of the hog")
        wait_for(lambda: told("chatter", "reap"), "the end of the silent one")
        assert told("chatter", "reap")[0]["process_pid"] == told("chatter", "spawn")[0]["process_pid"]
        assert told("chatter", "reap")[0]["exit_code"] == -15

        # statsd counts.
        counted = set()
        while b"circus.house.watcher.chatter.reap:1|c|@1.0" not in counted:
            counted.add(statsd.recv(1000))

        # What crashes, hangs or floods harms nobody.
        wait_for(lambda: "it crashes" in house.log("circusd.log"), "the traceback of the one that crashes")
        began = time.monotonic()
        house.asked("start", "plugin:flooding")
        wait_for(lambda: "plugin:flooding: flood" in house.log("circusd.log"), "the flood")
        house.asked("restart", "my web")
        assert house.status()["my web"] == "active"
        house.asked("stop", "plugin:flooding")
        lines = house.log("circusd.log").count("plugin:flooding: flood")
        windows = 1 + (time.monotonic() - began) // WINDOW_S
        assert lines <= windows * MAX_LINES

        # A circusd that is killed is no reason to end, or to stop listening.
        hosted = {name: house.pids(name) for name in ("plugin:mine", "plugin:dog", "plugin:statsd")}
        house.kill()
        start(house)
        assert {name: house.pids(name) for name in hosted} == hosted
        before = len(heard(house))
        house.asked("restart", "my web")
        wait_for(lambda: ("my_web", "reap") in {each[:2] for each in heard(house)[before:]}, "an event of the next one")

        # An edit renews the plugin that it is about; a wrong one changes nothing, and says where it is.
        config = house.config.read_text()
        house.config.write_text(config.replace("circus.plugins.statsd.StatsdEmitter", "circus.plugins.statsd.Nothing"))
        refused = house.ctl("reloadconfig")
        assert refused.returncode == 3
        assert "plugin:statsd: use = circus.plugins.statsd.Nothing cannot be found" in refused.stderr
        house.config.write_text(config.replace("application_name = house", "application_name = cottage"))
        house.asked("reloadconfig")
        assert house.pids("plugin:statsd").isdisjoint(hosted["plugin:statsd"])
        assert {name: house.pids(name) for name in ("plugin:mine", "plugin:dog")}.items() <= hosted.items()
        house.asked("restart", "my web")
        while b"circus.cottage.watcher.my_web.start:1|c|@1.0" not in counted:
            counted.add(statsd.recv(1000))

        # A quit ends them but for the one that is to outlive it; that one goes on with the next circusd.
        house.quit()
        before = len(heard(house))
        start(house)
        assert house.pids("plugin:mine") == first["plugin:mine"]
        assert house.pids("plugin:dog").isdisjoint(first["plugin:dog"])
        house.asked("restart", "my web")
        wait_for(
            lambda: any(each[:2] == ("my_web", "reap") for each in heard(house)[before:]),
            "an event of the next circusd",
        )


def test_a_plugin_that_is_not_there_starts_nothing(tmp_path: Path) -> None:
    config = "[watcher:web]\ncmd = /bin/sleep 1000\n[plugin:mine]\nuse = nowhere.Mine\n"
    with opened(tmp_path / "house", config) as house:
        done = house.run(Path(sys.executable).parent / "circusd", house.config)
        assert done.returncode == 1
        assert (
            f"{house.config}:4: plugin:mine: use = nowhere.Mine cannot be found: there is no module nowhere"
            in done.stderr
        )
        assert house.kernel() is None
