"""What an operator changes by hand while a house is running, over a kill of circusd and a restart."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.house import TICKER_COMMAND, House, opened, ticker, wait_for

#: Ignores TERM, and says when it does.
STUBBORN = """
[watcher:stubborn]
shell = true
cmd = trap '' TERM; : > stubborn.$$; exec /bin/sleep 1000
graceful_timeout = 60
use_papa = true
"""

#: The first has a child that lives on as long as it is not signalled.
PARENT = """
[watcher:parent]
shell = true
cmd = /bin/sleep 1000 & echo $! > child.tmp; mv child.tmp child; wait; /bin/sleep 1000
graceful_timeout = 5
stop_children = true
"""

CONFIG = ticker("web", extra="use_papa = true\n") + STUBBORN + PARENT + ticker("old", extra="colour = blue\n")


def status(house: House) -> dict[str, Any]:
    return dict(json.loads(house.asked("--json", "status")))


def refused(house: House, *words: str) -> str:
    done = house.ctl(*words)
    assert (done.returncode, done.stdout) == (3, "")
    return done.stderr


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def one(house: House, watcher: str) -> int:
    (pid,) = wait_for(lambda: house.pids(watcher), f"the process of {watcher}")
    return int(pid)


def test_what_is_ordered_by_hand_is_done_as_an_edit_would_be_and_kept(tmp_path: Path) -> None:
    with opened(tmp_path / "house", CONFIG) as house:
        house.start()
        _options_are_set(house)
        _stubborn_processes_are_killed(house)
        _one_child_is_signalled(house)
        _watchers_come_and_go(house)
        _all_is_kept_over_a_kill(house)
        _the_file_wins_where_it_changed(house)
        _the_daemons_tell_of_themselves(house)


def _options_are_set(house: House) -> None:
    web = one(house, "web")
    assert "web: graceful_timeout = 'soon' is not a number of seconds" in refused(
        house, "set", "web", "priority", "3", "graceful_timeout", "soon"
    )
    assert "did you mean stop_signal?" in refused(house, "set", "web", "stop_signall", "INT")
    assert house.asked("get", "web", "priority") == "priority: 0", "one bad key changes nothing"
    assert house.asked("set", "web", "graceful_timeout", "7", "colour", "red") == "ok"
    assert one(house, "web") == web
    assert house.asked("get", "web", "colour", "graceful_timeout") == "colour: red\ngraceful_timeout: 7.0"
    assert house.asked("set", "web", "env", "TICKER_INTERVAL_S=0.05", "stdout_stream.max_bytes", "9m") == "ok"
    new = one(house, "web")
    assert new != web and not is_alive(web)
    assert b"TICKER_INTERVAL_S=0.05" in Path(f"/proc/{new}/environ").read_bytes()
    assert house.asked("get", "web", "stdout_stream.class") == "stdout_stream.class: FileStream", "one key is one key"
    wait_for(lambda: f" {new} " in house.log("web.log"), "lines of the new process in the same file")


def _stubborn_processes_are_killed(house: House) -> None:
    first = one(house, "stubborn")
    wait_for(lambda: (house.folder / f"stubborn.{first}").exists(), "the trap")
    assert house.asked("kill", "stubborn", str(first), "--graceful_timeout", "0.1") == "ok"
    assert not is_alive(first)
    second = wait_for(lambda: house.pids("stubborn"), "another one").pop()
    wait_for(lambda: (house.folder / f"stubborn.{second}").exists(), "the trap")
    assert house.asked("kill", "stubborn", "--no-wait").endswith("\nok")
    assert is_alive(second)
    assert house.asked("kill", "stubborn", "--signum", "KILL") == "ok", "asked twice, and both are answered"
    assert not is_alive(second)
    third = wait_for(lambda: house.pids("stubborn"), "another one").pop()
    wait_for(lambda: (house.folder / f"stubborn.{third}").exists(), "the trap")
    assert house.asked("set", "stubborn", "graceful_timeout", "0.1") == "ok"
    assert house.asked("stop", "stubborn") == "ok", "and a stop after it is a stop"
    assert not is_alive(third)


def _one_child_is_signalled(house: House) -> None:
    wait_for(lambda: (house.folder / "child").exists(), "the child")
    parent, child = one(house, "parent"), int(house.log("child"))
    assert "no process 1 descends from it" in refused(house, "signal", "parent", "--childpid", "1", "KILL")
    assert house.asked("signal", "parent", str(parent), "--childpid", str(child), "KILL") == "ok"
    wait_for(lambda: not is_alive(child), "the end of the child")
    assert is_alive(parent)


def _watchers_come_and_go(house: House) -> None:
    options = ("use_papa=true", "copy_env=true", "stdout_stream.class=FileStream", "stdout_stream.filename=extra.log")
    words = [word for option in options for word in ("--option", option)]
    add = ("add", *words, "extra", *TICKER_COMMAND.split(), "extra")
    assert house.asked(*add, "--start") == "ok", "what is behind the command belongs to it"
    assert house.pids("extra") == set()
    assert house.asked("start", "extra") == "ok"
    extra = one(house, "extra")
    _ticks_on(house, extra)
    assert house.asked("rm", "extra", "--nostop") == "ok"
    assert f"foreign: circus.extra.1 pid {extra}" in house.asked("status", "-v")
    _ticks_on(house, extra)
    logged = house.log("extra.log")
    _ticks_on(house, extra)
    assert house.log("extra.log") == logged, "papa keeps it"
    assert house.asked(*add, "--start") == "ok"
    assert one(house, "extra") == extra, "taken over as it is"
    so_far = _ticks_on(house, extra)
    wait_for(lambda: house.log("extra.log").count("\n") >= so_far, "the lines of meanwhile")
    numbers = [int(line.split()[2]) for line in house.log("extra.log").splitlines(keepends=True) if line.endswith("\n")]
    assert numbers == list(range(1, len(numbers) + 1)), "each line once"
    old = one(house, "old")
    assert house.asked("rm", "old") == "ok"
    assert not is_alive(old)
    assert "`circusctl add old` brings it back" in refused(house, "start", "old")
    assert "foreign" not in house.asked("status", "-v")


def _ticks_on(house: House, pid: int) -> int:
    """Some more lines were written; how many in all."""

    def written() -> int:
        (counter,) = house.truth.glob(f"*.{pid}")
        return int.from_bytes(counter.read_bytes(), "little")

    wait_for(lambda: list(house.truth.glob(f"*.{pid}")), "the first line")
    before = written()
    return int(wait_for(lambda: (now := written()) > before + 10 and now, "lines"))


def _all_is_kept_over_a_kill(house: House) -> None:
    before = {name: one(house, name) for name in ("web", "extra", "parent")}
    house.kill()
    house.start()
    assert {name: one(house, name) for name in before} == before
    assert house.asked("reloadconfig").splitlines()[-1] == "ok"
    assert {name: one(house, name) for name in before} == before
    told = status(house)
    assert told["by_hand"] == {
        "extra": "added by hand",
        "old": "removed by hand",
        "stubborn": "set by hand: graceful_timeout; stopped by hand",
        "web": "set by hand: colour, env.TICKER_INTERVAL_S, graceful_timeout, stdout_stream.max_bytes",
    }
    assert told["drift"] == {}
    assert house.status()["stubborn"] == "stopped"
    assert "  added by hand" in house.asked("status", "-v")


def _the_file_wins_where_it_changed(house: House) -> None:
    text = house.config.read_text().replace("graceful_timeout = 5\n", "graceful_timeout = 4\n", 1)
    house.config.write_text(text.replace("colour = blue", "colour = green"))
    house.asked("reloadconfig")
    assert house.asked("get", "web", "graceful_timeout", "colour") == "colour: red\ngraceful_timeout: 4.0"
    wait_for(lambda: house.status().get("old") == "active", "the watcher whose section was edited")
    assert house.asked("rm", "extra") == "ok"
    assert set(status(house)["by_hand"]) == {"stubborn", "web"}


def _the_daemons_tell_of_themselves(house: House) -> None:
    lines = house.asked("dstats").splitlines()
    kernel = house.kernel()
    assert house.manager is not None and kernel is not None
    assert lines[0] == "Main Process:" and lines[1].split()[0] == str(house.manager.pid)
    assert lines[2] == "papa:" and lines[3].split()[0] == str(kernel["pid"])
    control = house.asked("globaloptions", "control").removeprefix("control: unix://")
    assert os.path.samefile(control, house.folder / "run" / "circus-default.sock")
