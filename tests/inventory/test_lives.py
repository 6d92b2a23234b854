"""How processes begin and end: each option that says it, seen in what lives."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.house import BIN, opened, wait_for

HOOKS = """
def note(watcher, hook_name, **_):
    with open("hooks.seen", "a") as file:
        file.write(f"{hook_name} {watcher._options['own']}\\n")
    return True

def fails(**_):
    raise ValueError
"""

NAMES = (
    "before_start", "after_start", "before_spawn", "after_spawn", "before_stop", "after_stop", "before_signal",
    "after_signal", "before_reap", "after_reap", "extended_stats",
)  # fmt: skip


def test_every_hook_is_called_and_sees_options_of_ones_own(tmp_path: Path) -> None:
    config = "[watcher:web]\ncmd = /bin/sleep 1000\nown = mine\n"
    config += "".join(f"hooks.{name} = house_hooks.note\n" for name in NAMES)
    with opened(tmp_path / "house", config) as house:
        (house.folder / "house_hooks.py").write_text(HOOKS)
        house.start()
        house.asked("stats", "web", "--extended")
        house.asked("stop", "web")
        wait_for(lambda: set(house.log("hooks.seen").splitlines()) == {f"{name} mine" for name in NAMES}, "all hooks")


def test_the_error_of_a_hook_is_ignored_where_it_is_said(tmp_path: Path) -> None:
    config = "[watcher:lenient]\ncmd = /bin/sleep 1000\nhooks.before_start = house_hooks.fails,true\n"
    with opened(tmp_path / "house", config) as house:
        (house.folder / "house_hooks.py").write_text(HOOKS)
        house.start()
        wait_for(lambda: house.status() == {"lenient": "active"}, "its start")
        assert "hook before_start failed ignored=True" in house.log("circusd.out")


def test_starts_and_ends_are_as_their_options_say(tmp_path: Path) -> None:
    folder = tmp_path / "house"
    folder.mkdir()
    broken = folder / "broken"
    broken.write_bytes(b"\0")
    broken.chmod(0o755)
    parent = f"/bin/sh -c 'sleep 25 & echo $! > {folder}/child.pid; wait'"
    config = f"""
[watcher:waits]
cmd = /bin/sleep 1000
autostart = false
[watcher:once]
cmd = /bin/true
respawn = false
[watcher:broken]
cmd = {broken}
max_retry = 2
[watcher:family]
cmd = {parent}
env.PATH = /bin
stop_children = true
[watcher:stubborn]
cmd = /bin/sh -c 'trap "" TERM; while :; do sleep 1; done'
env.PATH = /bin
graceful_timeout = 0.3
[watcher:sound]
cmd = /bin/sleep 1000
"""
    with opened(folder, config) as house:
        house.launch()
        wait_for(lambda: house.ctl("status").returncode == 0, "circusd answers")
        wait_for(lambda: house.status()["sound"] == "active", "the sound one")
        wait_for(lambda: house.status() == EXPECTED, "what shall be")
        assert house.log("circusd.out").count("] once spawn") == 1
        assert "2 attempts" in house.asked("status", "-v")
        child = int(wait_for(lambda: house.log("child.pid"), "the child"))
        house.asked("stop", "family")
        wait_for(lambda: not os.path.exists(f"/proc/{child}"), "its end", 10)
        assert house.run(BIN / "circusctl", "--timeout", "15", "stop", "stubborn").returncode == 0


EXPECTED = {
    "waits": "stopped",
    "once": "stopped",
    "broken": "stopped",
    "family": "active",
    "stubborn": "active",
    "sound": "active",
}


def test_flapping_is_what_the_watcher_says(tmp_path: Path) -> None:
    options = "flapping.attempts = 3\nflapping.window = 50\nflapping.retry_in = 600\n"
    config = "[watcher:paused]\ncmd = /bin/false\n" + options
    config += (
        "[watcher:final]\ncmd = /bin/false\nflapping.retry_in = 0.1\nflapping.window = 50\nflapping.attempts = 2\n"
        "flapping.max_retry = 1\n"
    )
    config += "[watcher:never]\ncmd = /bin/false\nflapping.active = false\n"
    config += "[watcher:plugins]\ncmd = /bin/false\n"
    config += "[plugin:flapping]\nattempts = 4\nwindow = 40\nretry_in = 500\n"
    with opened(tmp_path / "house", config) as house:
        house.launch()
        wait_for(lambda: house.ctl("status").returncode == 0, "circusd answers")
        for said in (
            "flapping: 3 deaths within 50 s; last: ended with status 1; next attempt after 600 s",
            "flapping: 4 deaths within 40 s; last: ended with status 1; next attempt after 500 s",
        ):
            wait_for(lambda: said in house.asked("status", "-v"), "a pause")  # noqa: B023
        wait_for(lambda: "flapping: 2 deaths within 50 s, after 1 pauses" in house.asked("status", "-v"), "the end")
        wait_for(lambda: len(re.findall(r"\] never spawn", house.log("circusd.out"))) >= 4, "four lives")
        assert "never flapping" not in house.log("circusd.out")
