"""A plan touches nothing, and is carried out only while the world is as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.house import House, opened, wait_for

HOOK = """\
import pathlib
def told(**_):
    with (pathlib.Path(__file__).parent / "hook.log").open("a") as file:
        file.write("called\\n")
    return True
"""

CONFIG = """\
[env]
TOKEN = hush-1
[socket:front]
host = 127.0.0.1
port = 0
[watcher:web]
cmd = /bin/sleep 61 $(circus.sockets.front)
hooks.before_start = told.told
[watcher:job]
cmd = /bin/sleep 62
[watcher:rest]
cmd = /bin/sleep 63
"""

EDITED = """\
[env]
TOKEN = hush-1
[socket:front]
host = 127.0.0.1
port = 0
backlog = 7
[socket:more]
host = 127.0.0.1
port = 0
[watcher:web]
cmd = /bin/sleep 61 $(circus.sockets.front)
hooks.before_start = told.told
[watcher:job]
cmd = /bin/sleep 62
env.COLOR = hush-2
graceful_timeout = 7
[watcher:new]
cmd = /bin/sleep 64
hooks.before_start = told.told
stdout_stream.filename = new.log
"""

PLAN = """\
open     socket more (circus.ini:7)
reopen   socket front
           backlog: 2048 -> 7 (circus.ini:6)
restart  web
           socket front (circus.ini:3)
restart  job
           env COLOR: new (circus.ini:15)
           graceful_timeout: 30 -> 7 (circus.ini:16)
start    new (circus.ini:17)
stop     rest"""


def state(house: House) -> tuple[Any, ...]:
    """All that a plan must leave as it is: processes, sockets, what hooks have written, what is remembered."""
    files = {path.name: path.read_bytes() for path in house.folder.glob("*.log")}
    files |= {path.name: path.read_bytes() for path in house.folder.rglob("memory.json")}
    sockets = json.loads(house.asked("listsockets", "--json"))["sockets"]
    rows = {name: (row["id"], row["pid"], row["running"]) for name, row in house.rows().items()}
    return house.status(), rows, [(row["name"], row["id"]) for row in sockets], files


def planned(house: House) -> tuple[str, str]:
    """What is said, and the id."""
    *lines, last = house.asked("reloadconfig", "--plan").splitlines()
    how, _, plan = last.rpartition(" ")
    assert how == "to do it: circusctl reloadconfig --apply"
    return "\n".join(lines), plan


def refused(house: House, plan: str) -> str:
    before = state(house)
    done = house.ctl("reloadconfig", "--apply", plan)
    assert (done.returncode, done.stdout, state(house)) == (3, "", before)
    return done.stderr


def test_a_plan_touches_nothing_and_is_done_only_if_the_world_has_not_moved(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    (tmp_path / "house/told.py").write_text(HOOK)
    with opened(tmp_path / "house", CONFIG) as house:
        house.start()
        before = state(house)
        house.config.write_text(EDITED)
        text, plan = planned(house)
        assert text == PLAN
        assert (state(house), planned(house)) == (before, (PLAN, plan)), "asked again, and nothing was touched"

        house.config.write_text(EDITED + "# more\n")
        assert f"plan {plan} does not hold any more: {house.config} was changed" in refused(house, plan)
        house.config.write_text(EDITED)
        house.asked("incr", "job")
        assert "numprocesses of job is 2, not 1" in refused(house, plan)
        house.asked("decr", "job")
        house.asked("stop", "web")
        assert "web was stopped" in refused(house, plan)
        house.asked("start", "web")
        house.asked("set", "job", "priority", "3")
        assert "other orders by hand about job" in refused(house, plan)
        house.asked("set", "job", "priority", "0")
        assert "other orders by hand about job" in refused(house, plan), "what the file does not say is an order"
        house.asked("forget", "job")

        old, rest = house.pids("job") | house.pids("web"), house.pids("rest")
        assert planned(house)[0] == PLAN
        done = house.asked("reloadconfig", "--apply", plan)
        assert done.splitlines()[-1] == "ok"
        assert done.startswith("opened       socket more (circus.ini:7)\nopened anew  socket front\n")
        wait_for(lambda: house.status() == dict.fromkeys(("web", "job", "new"), "active"), "what was planned")
        assert not (old | rest) & (house.pids("job") | house.pids("web"))
        assert house.asked("reloadconfig", "--plan") == "nothing changes"
        assert "hush" not in text + done + house.said()


def test_a_plan_of_a_wrong_file_says_all_that_is_wrong(tmp_path: Path) -> None:
    with opened(tmp_path / "house", CONFIG.replace("hooks.before_start = told.told\n", "")) as house:
        house.start()
        before = state(house)
        house.config.write_text(CONFIG.replace("port = 0", "port = many").replace("/bin/sleep 62", "/no/such"))
        done = house.ctl("reloadconfig", "--plan")
        assert (done.returncode, done.stdout) == (3, "")
        assert all(f"{house.config}:{line}: " in done.stderr for line in (5, 10))
        assert state(house) == before


def test_a_plan_is_a_document_for_programs_and_says_what_is_not_the_files(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    (tmp_path / "house/told.py").write_text(HOOK)
    with opened(tmp_path / "house", CONFIG) as house:
        house.start()
        house.asked("incr", "rest")
        house.asked("stop", "job")
        house.config.write_text(
            CONFIG.replace("sleep 62", "sleep 65").replace("sleep 63", "sleep 63\nnumprocesses = 3")
        )
        answer = json.loads(house.asked("reloadconfig", "--plan", "--json"))
        assert (answer["applied"], len(answer["id"])) == (False, 12)
        items = {item["name"]: item for item in answer["items"]}
        assert {name: item["verb"] for name, item in items.items()} == {
            "web": "keep", "job": "live", "rest": "live", "front": "keep",
        }  # fmt: skip
        assert items["job"]["note"] == "is stopped: obeyed from its next start on"
        cause = {"option": "cmd", "old": "/bin/sleep 62", "new": "/bin/sleep 65", "hidden": False}
        assert items["job"]["causes"] == [cause | {"file": str(house.config), "line": 10}]
        assert answer["by_hand"] == {
            "rest": ["numprocesses 2 by hand, overruled by the file: 3"], "job": ["stopped by hand"],
        }  # fmt: skip
        applied = json.loads(house.asked("reloadconfig", "--apply", answer["id"], "--json"))
        assert (applied["applied"], applied["items"]) == (True, answer["items"])
        wait_for(lambda: len(house.pids("rest")) == 3, "the count of the file")
        assert house.status()["job"] == "stopped"
