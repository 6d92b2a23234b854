"""Hands that order, edit and kill what the house manages."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from tests.chaos import house_cast
from tests.house import ANSWER_S, wait_for

if TYPE_CHECKING:
    from tests.chaos.house_world import HouseWorld


def kill_writer(world: HouseWorld, number: int) -> None:
    world.end_one(number)


def stop_writer(world: HouseWorld, number: int) -> None:
    """A program that is stopped is nobody's to replace."""
    watcher = house_cast.VICTIMS[number % len(house_cast.VICTIMS)]
    pid = min(world.pids(watcher))
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.2)
    os.kill(pid, signal.SIGCONT)


def order(world: HouseWorld, number: int) -> None:
    wanted = world.wanted["crew"]
    choices = {
        0: ("incr", "crew", "1"),
        1: ("decr", "crew", "1"),
        2: ("restart", "crew"),
        3: ("reload", "crew"),
        4: ("stop", "crew"),
        5: ("numprocesses", "crew", str(1 + number % 5)),
        6: ("restart", "plain"),
        7: ("reload", "--sequential", "turning"),
    }
    words = choices[number % len(choices)]
    if "crew" not in words:
        world.ended |= world.pids(words[-1])
    world.asked(*words)
    if words[0] == "incr":
        world.wanted["crew"] = wanted + 1
    elif words[0] == "decr":
        world.wanted["crew"] = max(0, wanted - 1)
    elif words[0] == "numprocesses":
        world.wanted["crew"] = int(words[2])
    elif words[0] == "stop":
        # Where nobody runs is told at once; what is wanted is kept over whatever happens to the daemons.
        if number % 3:
            world.kill()
            world.launch()
            wait_for(lambda: world.status().get("crew") == "stopped", "crew stays stopped", ANSWER_S)
        world.asked("start", "crew")


def edit(world: HouseWorld, number: int) -> None:
    """The file is changed, and read again by an order or by the next circusd."""
    file = world.file
    kind = number % 5
    if kind == 0:
        file.has_extra = not file.has_extra
    elif kind == 1:
        file.word = f"w{number}"
    elif kind == 2:
        file.guests = 1 + number % 4
    if kind < 3:
        world.write_config()
        world.wanted["guest"] = file.guests
        world.wanted["extra"] = 1 if file.has_extra else 0
        if number // 5 % 3:
            world.asked("reloadconfig")
        else:
            world.kill()
            world.start()
    elif kind == 3:
        _refused(world)
    else:
        _refused_at_start(world)


def _refused(world: HouseWorld) -> None:
    world.config.write_text(world.config.read_text() + "\n[watcher:broken]\ncmd = true\nnumprocesses = lots\n")
    done = world.ctl("reloadconfig")
    assert done.returncode != 0 and "lots" in done.stderr, f"a broken file was taken: {done}"
    world.write_config()


def _refused_at_start(world: HouseWorld) -> None:
    """Nobody is touched by a circusd that cannot read its file."""
    world.kill()
    world.config.write_text(world.config.read_text() + "\n[watcher:broken]\nnumprocesses = 1\n")
    assert world.launch().wait(ANSWER_S) != 0, "circusd starts with a broken file"
    world.manager = None
    world.write_config()
    world.start()


HANDS = {hand.__name__: hand for hand in (kill_writer, stop_writer, order, edit)}
