"""The options that the page's sample file shows, each with what it is for."""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tests.house import House, opened, wait_for

#: Notes each signal, and ends by QUIT or INT only.
NOTER = """
import signal, sys
signals = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
name = sys.argv[1]
while True:
    open(f"{name}.ready", "w").close()
    got = signal.sigwait(signals)
    with open(f"{name}.signals", "a") as file:
        file.write(signal.Signals(got).name + "\\n")
    if got in (signal.SIGINT, signal.SIGQUIT):
        break
"""

PLUGIN = "[plugin:flapping]\nuse = circus.plugins.flapping.Flapping\nwindow = 10\npriority = 1000\n"


def noter(name: str, *options: str) -> str:
    lines = (f"[watcher:{name}]", f"cmd = {sys.executable} -S noter.py {name}", "graceful_timeout = 10", *options)
    return "\n".join(lines) + "\n"


def watcher(house: House, name: str) -> dict[str, Any]:
    watchers = json.loads(house.asked("--json", "status"))["watchers"]
    (found,) = (each for each in watchers if each["name"] == name)
    return dict(found)


def signals(house: House, name: str) -> list[str]:
    return house.log(f"{name}.signals").split()


def test_the_options_of_the_page_do_what_they_say(tmp_path: Path) -> None:
    config = (
        noter("nginx", "warmup_delay = 1", "max_retry = 5", "singleton = true", "send_hup = true", "stop_signal = QUIT")
        + "active = true\nuse_papa = true\n"
        + noter("logger", "singleton = true", "stop_signal = INT", "priority = 50", "use_papa = true")
        + noter("web_app", "numprocesses = 2", "warmup_delay = 0.5", "stop_signal = QUIT", "priority = 40")
        + PLUGIN
    )
    with opened(tmp_path / "house", config) as house:
        (house.folder / "noter.py").write_text(NOTER)
        house.start()
        assert "warning" not in house.log("circusd.out").lower()
        wait_for(lambda: all((house.folder / f"{name}.ready").exists() for name in ("nginx", "logger")), "all ready")

        # priority: the higher starts first; a flapping plugin is no process, whatever its own.
        said = house.log("circusd.out")
        assert re.findall(r"(\w+) start$", said, re.MULTILINE) == ["logger", "web_app", "nginx"]
        # warmup_delay: seconds between two processes, and before the next watcher.
        first, second = (slot["started_at"] for slot in watcher(house, "web_app")["slots"])
        assert second - first > 0.4
        assert watcher(house, "nginx")["slots"][0]["started_at"] - second > 0.4

        # active: kept for whoever asks, as ever; it is an option of the plugin, and does nothing here.
        assert "active: true" in house.asked("options", "nginx")

        # singleton: no second process, and one line that says so.
        for order in (("incr", "nginx"), ("numprocesses", "nginx", "2")):
            done = house.ctl(*order)
            assert (done.returncode, done.stdout) == (0, "1\n")
            assert done.stderr == "warning: nginx is a singleton: it has at most one process\n"
        (nginx,) = house.pids("nginx")

        # send_hup: a reload is a signal; without it there is a new process.
        (logger,) = house.pids("logger")
        house.asked("reload", "nginx")
        wait_for(lambda: signals(house, "nginx") == ["SIGHUP"], "the signal has come")
        assert house.pids("nginx") == {nginx}
        house.asked("reload", "logger")
        assert house.pids("logger").isdisjoint({logger})

        # stop_signal.
        assert signals(house, "logger") == ["SIGINT"]
        house.asked("stop", "nginx")
        assert signals(house, "nginx") == ["SIGHUP", "SIGQUIT"]
        assert "killed" not in house.log("circusd.out")


def test_a_flapping_watcher_is_stopped_tried_again_and_given_up_also_with_papa(tmp_path: Path) -> None:
    config = PLUGIN + "attempts = 2\nretry_in = 0.3\nmax_retry = 1\n[watcher:sound]\ncmd = /bin/sleep 1000\n"
    for name, kept in (("kept", "true"), ("own", "false")):
        config += f"[watcher:{name}]\ncmd = /bin/false\nuse_papa = {kept}\n"
        config += f"[watcher:{name}-paused]\ncmd = /bin/false\nuse_papa = {kept}\nflapping.retry_in = 600\n"
    flapping = "flapping: 2 deaths within 10 s"
    with opened(tmp_path / "house", config) as house:
        house.launch()
        wait_for(lambda: house.ctl("status").returncode == 0, "circusd answers")
        for name in ("kept", "own"):
            paused = f"{flapping}; last: ended with status 1; next attempt after 600 s"
            wait_for(partial(says, house, f"{name}-paused", paused), "paused")
            assert house.pids(f"{name}-paused") == set()
            given_up = f"{flapping}, after 1 pauses; last: ended with status 1"
            wait_for(partial(says, house, name, given_up), "given up")
            wait_for(partial(is_stopped, house, name), "stopped")
            # Two lives and a pause, twice; the second pause is the last.
            events = re.findall(rf"\] {name} (\w+)", house.log("circusd.out"))
            assert (events.count("spawn"), events.count("reap"), events.count("flapping")) == (4, 4, 2)
            assert house.log("circusd.out").count(f"[WARNING] {name} flapping reason={flapping}") == 2
            assert house.log("circusd.out").count(f"] {name} backoff reason={flapping}") == 1
            assert f"[WARNING] {name} fatal" in house.log("circusd.out")
        assert house.status()["sound"] == "active"
        # A person may try again.
        house.ctl("start", "kept")
        wait_for(lambda: house.log("circusd.out").count("kept flapping") == 3, "it is tried again")


def says(house: House, name: str, what: str) -> bool:
    """Of the watcher, or of one of its processes."""
    found = watcher(house, name)
    return any(each["reason"] == what for each in (found, *found["slots"]))


def is_stopped(house: House, name: str) -> bool:
    return bool(watcher(house, name)["state"] == "stopped")
