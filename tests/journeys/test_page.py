"""What people were told of circus with papa, sentence by sentence: operation, setup, problems, and the design goal."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.house import BIN, ROOT, House, opened, ticker, wait_for

KEPT = "use_papa = true\n"

HOOKS = """
def note(watcher, hook_name, **_):
    with open("hooks.out", "a") as file:
        file.write(f"{watcher.name}:{hook_name}\\n")
    return True
"""

ALL_HOOKS = "".join(
    f"hooks.{name} = page_hooks.note\n" for name in ("before_start", "before_spawn", "after_spawn", "after_start")
)

WEB = f"{sys.executable} -S -u {ROOT}/examples/web.py"


def status(house: House) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(house.asked("--json", "status"))
    return answer


def slots(house: House, watcher: str) -> list[dict[str, Any]]:
    (found,) = (each for each in status(house)["watchers"] if each["name"] == watcher)
    return list(found["slots"])


def told_since(house: House, length: int) -> str:
    return house.log("circusd.out")[length:]


# Operation ------------------------------------------------------------------------------------------------


def test_quit_leaves_the_papa_processes_running_and_ends_the_others(tmp_path: Path) -> None:
    config = "[circus]\nuse_papa = true\n" + ticker("kept", count=2) + ticker("own", extra="use_papa = false\n")
    with opened(tmp_path / "house", config) as house:
        house.start()
        kept, own = house.pids("kept"), house.pids("own")
        house.quit()
        assert all(os.path.exists(f"/proc/{pid}") for pid in kept)
        wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in own), "the end of the others")
        assert "kept left running in papa" in house.log("circusd.out")
        assert "own left" not in house.log("circusd.out")


def test_when_circusd_is_back_the_processes_are_recovered_as_they_were(tmp_path: Path) -> None:
    config = ticker("kept", count=2, extra=KEPT + ALL_HOOKS)
    with opened(tmp_path / "house", config) as house:
        (house.folder / "page_hooks.py").write_text(HOOKS)
        house.start()
        before = slots(house, "kept")
        house.quit()
        (house.folder / "hooks.out").unlink()
        length = len(house.log("circusd.out"))
        house.start()
        after = slots(house, "kept")
        same = ("wid", "pid", "kernel_id", "started_at")
        assert [{key: slot[key] for key in same} for slot in after] == [
            {key: slot[key] for key in same} for slot in before
        ]
        said = told_since(house, length)
        assert "kept already running" in said
        assert said.count("kept spawn ") == 2
        # before_start and before_spawn are skipped.
        wait_for(lambda: len(house.log("hooks.out").split()) == 3, "all hooks")
        assert sorted(house.log("hooks.out").split()) == ["kept:after_spawn"] * 2 + ["kept:after_start"]
        # Status and stats, signals and counts work as ever.
        pids = [str(slot["pid"]) for slot in after]
        stats = json.loads(house.asked("--json", "stats", "kept"))["infos"]["kept"]
        assert sorted(stats) == sorted(pids)
        assert all(info["started"] in {slot["started_at"] for slot in before} for info in stats.values())
        house.asked("signal", "kept", pids[0], "KILL")
        wait_for(lambda: len(house.pids("kept") - {int(pids[0])}) == 2, "a successor")
        assert house.asked("decr", "kept") == "1"
        house.asked("stop", "kept")
        assert house.status() == {"kept": "stopped"}
        wait_for(lambda: not os.path.exists(f"/proc/{pids[1]}"), "its end")


def test_orders_mean_the_same_with_papa_and_without(tmp_path: Path) -> None:
    orders = "incr stop numprocesses start restart decr reload reload--sequential reload--terminate signal stats list"
    config = ticker("a", extra=KEPT) + ticker("b", extra="use_papa = false\n")
    with opened(tmp_path / "house", config) as house:
        house.start()
        for order in orders.split():
            verb, dashes, option = order.partition("--")
            words = [*([dashes + option] if option else []), "NAME", *(["CONT"] if verb == "signal" else [])]
            answers = [house.ctl(verb, *(word.replace("NAME", name) for word in words)) for name in ("a", "b")]
            assert [(done.returncode, done.stderr) for done in answers] == [(0, ""), (0, "")], order
            with_papa, without = (re.sub(r"\d+", "N", done.stdout).count("N") for done in answers)
            assert with_papa == without, order
            states = [(each["state"], each["numprocesses"], len(each["slots"])) for each in status(house)["watchers"]]
            assert states[0] == states[1], order


def test_sockets_are_served_while_circusd_is_away_whoever_uses_papa(tmp_path: Path) -> None:
    """One of the two is enough: a socket of a papa watcher lives as long as it, and a papa socket waits for its own."""
    config = f"""
[socket:lent]
host = 127.0.0.1
port = 0
[socket:waiting]
host = 127.0.0.1
port = 0
use_papa = true
[watcher:kept]
cmd = {WEB} $(circus.sockets.lent)
use_papa = true
graceful_timeout = 5
[watcher:own]
cmd = {WEB} $(circus.sockets.waiting)
use_papa = false
graceful_timeout = 5
"""
    with opened(tmp_path / "house", config) as house:
        house.start()
        assert "circus.ini:2: socket lent: use_papa is taken as true" in house.log("circusd.out")
        rows = json.loads(house.asked("--json", "listsockets"))["sockets"]
        ports = {row["name"]: row["port"] for row in rows}
        (kept,), (own,) = house.pids("kept"), house.pids("own")
        assert fetched(ports["lent"]) == f"hello from {kept}\n"
        assert fetched(ports["waiting"]) == f"hello from {own}\n"
        house.quit()
        assert fetched(ports["lent"]) == f"hello from {kept}\n"
        with asking(ports["waiting"]) as early:  # connects, and is answered later
            house.start()
            assert answered(early) == "hello from {}\n".format(*house.pids("own"))
        assert house.pids("kept") == {kept}


def asking(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    return connection


def answered(connection: socket.socket) -> str:
    with connection.makefile("rb") as file:
        return file.read().partition(b"\r\n\r\n")[2].decode()


def fetched(port: int) -> str:
    with asking(port) as connection:
        return answered(connection)


# Design goal ----------------------------------------------------------------------------------------------


def test_papa_restarts_nothing_and_keeps_an_exit_until_circusd_is_back(tmp_path: Path) -> None:
    with opened(tmp_path / "house", ticker("kept", extra=KEPT)) as house:
        house.start()
        (pid,) = house.pids("kept")
        house.quit()
        os.kill(pid, signal.SIGKILL)

        def counts() -> tuple[int, int]:
            state = house.kernel()
            assert state is not None
            return state["processes"], state["running"]

        wait_for(lambda: counts()[1] == 0, "the end noticed")
        house.kill_kernel()
        assert counts() == (1, 0)
        house.start()
        (successor,) = house.pids("kept")
        assert successor != pid
        assert f"kept.1 pid={pid} ended while circusd was away" in house.log("circusd.out")
        wait_for(lambda: counts() == (1, 1), "the exit acknowledged")


def test_papa_cannot_stop_or_restart_a_process_and_tells_a_newer_client_what_it_does_not_know(tmp_path: Path) -> None:
    program = """
import asyncio
from papa.client.aio import AsyncPapa
from papa.errors import PapaError

async def main():
    papa = await AsyncPapa.connect(client="newer")
    for op in ("stop", "kill", "signal", "restart", "levitate"):
        try:
            await papa.request(op, id=1, name="circus.kept.1")
        except PapaError as error:
            print(error)
    print((await papa.request("list", what="processes", colour="red")).ok)
    await papa.close()

asyncio.run(main())
"""
    with opened(tmp_path / "house", ticker("kept", extra=KEPT)) as house:
        house.start()
        before = house.pids("kept")
        done = house.run(sys.executable, "-c", program)
        *unknown, tolerated = done.stdout.splitlines()
        assert [line.partition(" (there are ")[0] for line in unknown] == [
            f"there is no operation {op!r}" for op in ("stop", "kill", "signal", "restart", "levitate")
        ]
        assert "'circus.kept.1'" in tolerated
        assert house.pids("kept") == before


# Setup ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_setproctitle", [True, False])
def test_setproctitle_is_used_if_it_is_there_and_not_needed(tmp_path: Path, has_setproctitle: bool) -> None:
    with opened(tmp_path / "house", ticker("kept", extra=KEPT)) as house:
        if not has_setproctitle:
            (house.folder / "sitecustomize.py").write_text(
                "import importlib.util, sys\nsys.modules['setproctitle'] = None\n"
                "find = importlib.util.find_spec\n"
                "importlib.util.find_spec = lambda name, *rest: None if name == 'setproctitle' else find(name, *rest)\n"
            )
        house.start()
        state = house.kernel()
        assert state is not None
        assert house.manager is not None
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") for pid in (state["pid"], house.manager.pid)]
        assert (lines == [b"papa daemon from circusd", b"circusd"]) is has_setproctitle, lines


# Problems -------------------------------------------------------------------------------------------------


def test_counts_and_stops_by_hand_are_not_reset_when_circusd_is_restarted(tmp_path: Path) -> None:
    names = ("more", "none", "down", "many")
    config = "".join(ticker(name, extra=KEPT if name in ("more", "down") else "") for name in names)

    def counts(house: House) -> dict[str, tuple[str, int]]:
        return {each["name"]: (each["state"], each["numprocesses"]) for each in status(house)["watchers"]}

    with opened(tmp_path / "house", config) as house:
        house.start()
        assert house.asked("incr", "more") == "2"
        assert house.asked("decr", "none") == "0"
        house.asked("stop", "down")
        assert house.asked("incr", "down") == "2"
        house.asked("numprocesses", "many", "3")
        as_ordered = {"more": ("active", 2), "none": ("active", 0), "down": ("stopped", 2), "many": ("active", 3)}
        wait_for(lambda: counts(house) == as_ordered and len(house.pids("more")) == 2, "all as ordered")
        more = house.pids("more")
        house.kill()
        house.start()
        assert counts(house) == as_ordered
        assert house.pids("more") == more
        assert (len(house.pids("none")), len(house.pids("down")), len(house.pids("many"))) == (0, 0, 3)
        # A count that is edited in the file wins over an order from before, and for good.
        text = house.config.read_text()
        house.quit()
        house.config.write_text(edited(text, "many", 2))
        house.start()
        assert counts(house) == {**as_ordered, "many": ("active", 2)}
        house.config.write_text(text)
        house.asked("reloadconfig")
        assert counts(house) == {**as_ordered, "many": ("active", 1)}
        assert house.pids("more") == more
        house.asked("start", "down")
        assert len(house.pids("down")) == 2


def edited(text: str, watcher: str, count: int) -> str:
    head, title, rest = text.partition(f"[watcher:{watcher}]")
    return head + title + rest.replace("numprocesses = 1", f"numprocesses = {count}", 1)


APP = """
import json, os, signal, sys
import page_dependency
facts = {"python": sys.executable, "module": page_dependency.__file__, "env": dict(os.environ), "args": sys.argv[2:]}
with open(sys.argv[1] + ".new", "w") as file:
    json.dump(facts, file)
os.rename(sys.argv[1] + ".new", sys.argv[1] + ".json")
signal.pause()
"""


def make_environment(folder: Path) -> Path:
    """A virtual environment with a module and a program of its own; where the module lies."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (packages / "page_dependency.py").touch()
    program = folder / "bin" / "page-app"
    program.write_text(f"#!{folder}/bin/python\n{APP}")
    program.chmod(0o755)
    return packages / "page_dependency.py"


def test_copy_env_and_virtualenv_work_together_and_apart(tmp_path: Path) -> None:
    """Also under a circusd that has a virtual environment of its own, with all that its variables say."""
    folder = tmp_path / "house"
    module = make_environment(folder / "env")
    make_environment(folder / "of-circusd")
    (folder / "app.py").write_text(APP)
    (folder / "lib").mkdir()
    (folder / "lib" / "page_dependency.py").touch()
    config = f"""
[env]
GREETING = hello $PAGE_NAME
[watcher:copied]
cmd = python app.py copied
copy_env = true
virtualenv = env
use_papa = true
[env:copied]
PATH = /page/first:$PATH:$page:${{PAGE_NAME}}
[watcher:apart]
cmd = page-app apart
virtualenv = {folder}/env
use_papa = true
[watcher:named]
cmd = {sys.executable} app.py named $(circus.env.PAGE_RELEASE)
copy_env = true
use_papa = true
"""
    theirs = {
        "VIRTUAL_ENV": str(folder / "of-circusd"),
        "PATH": f"{folder}/of-circusd/bin:{folder}/env/bin:{os.environ['PATH']}",
        "PYTHONPATH": f"{folder / 'lib'}",
        "PYTHONHOME": sys.base_prefix,
        "PAGE_NAME": "world",
        "PAGE_RELEASE": "1",
    }

    def facts(name: str) -> dict[str, Any]:
        wait_for((folder / f"{name}.json").exists, f"{name} has told")
        answer: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
        return answer

    with opened(folder, config, **theirs) as house:
        house.start()
        for name in ("copied", "apart"):
            told = facts(name)
            assert told["python"] == str(folder / "env" / "bin" / "python")
            assert told["module"] == str(module)
            env = told["env"]
            assert env["VIRTUAL_ENV"] == str(folder / "env")
            assert env["GREETING"] == "hello world"
            assert env["PATH"].split(":").count(f"{folder}/env/bin") == 1
            assert env["PATH"].startswith(f"{folder}/env/bin:")
            assert not {"PYTHONHOME", "PYTHONPATH"} & env.keys()
            assert ("HOME" in env) is (name == "copied")
        # $NAME is replaced in capitals only, from circusd's environment.
        others = theirs["PATH"].replace(f"{folder}/env/bin:", "")
        assert facts("copied")["env"]["PATH"] == f"{folder}/env/bin:/page/first:{others}:$page:${{PAGE_NAME}}"
        assert facts("apart")["env"]["PATH"] == f"{folder}/env/bin:/bin:/usr/bin"
        assert facts("named")["args"] == ["1"]
        assert facts("named")["module"] == str(folder / "lib" / "page_dependency.py")

        # Another shell changes nothing about what runs, and is no news.
        before = {name: house.pids(name) for name in ("copied", "apart", "named")}
        house.quit()
        house.environ |= {"PATH": "/usr/bin:/bin", "PAGE_NAME": "moon", "PAGE_MORE": "1"}
        del house.environ["VIRTUAL_ENV"], house.environ["PYTHONHOME"]
        length = len(house.log("circusd.out"))
        house.start()
        assert {name: house.pids(name) for name in before} == before
        assert status(house)["drift"] == {}
        assert status(house)["warnings"] == []
        said = told_since(house, length)
        assert "WARNING" not in said and "warning" not in said, said

        # A variable that the file names in an option is part of that option.
        house.quit()
        house.environ["PAGE_RELEASE"] = "2"
        (folder / "named.json").unlink()
        house.start()
        assert facts("named")["args"] == ["2"]
        assert [house.pids(name) == before[name] for name in before] == [True, True, False]


def test_a_virtual_environment_that_is_missing_is_one_clear_error(tmp_path: Path) -> None:
    house = House(tmp_path / "house", "[watcher:app]\ncmd = python app.py\nvirtualenv = env\n")
    done = house.run(BIN / "circusd", house.config)
    assert done.returncode == 1
    root = house.folder / "env"
    assert done.stderr.splitlines() == [
        "circusd: the configuration has 1 error:",
        f"{house.config}:3: app: virtual environment {root} does not exist "
        "(make it (python -m venv), or correct the path)",
    ]
