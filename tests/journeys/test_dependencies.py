"""`after`, `requires`, `wants`: starts in order, ends against it, and what follows when one fails."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.house import House, opened, wait_for

#: Says when it can be ended, and that it was.
PROGRAM = """
import os, signal, sys
def end(*_):
    with open("ended", "a") as file:
        file.write(sys.argv[1] + "\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
open("up-%s-%d" % (sys.argv[1], os.getpid()), "w").close()
while True:
    signal.pause()
"""


def section(name: str, *options: str) -> str:
    command = f"cmd = {sys.executable} -I -S program.py {name}"
    return "\n".join([f"[watcher:{name}]", command, "copy_env = true", "use_papa = true", *options, ""])


CONFIG = (
    section("alpha", "after = omega socket:front")
    + section("omega")
    + section("web", "requires = db", "autostart = false")
    + section("fan", "wants = db", "autostart = false")
    + section("db", "autostart = false", "priority = -1")
    + "[socket:front]\nport = 0\n"
)


def until_up(house: House, *names: str) -> dict[str, int]:
    """The pids of those that can be ended by now."""
    pids = {name: next(iter(house.pids(name))) for name in names}
    for name, pid in pids.items():
        wait_for((house.folder / f"up-{name}-{pid}").exists, f"{name} is up")
    return pids


def ended(house: House) -> list[str]:
    path = house.folder / "ended"
    told = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return told


def test_starts_go_along_the_dependencies_and_ends_against_them(tmp_path: Path) -> None:
    with opened(tmp_path / "house", CONFIG) as house:
        (house.folder / "program.py").write_text(PROGRAM)
        house.start()
        wait_for(lambda: house.status()["alpha"] == "active", "all that starts by itself")
        rows = house.rows()
        assert rows["circus.alpha.1"]["id"] > rows["circus.omega.1"]["id"]
        assert house.asked("start", "fan") == "started, too: db\nok"
        assert house.asked("start", "web") == "ok"
        until_up(house, "web", "db", "fan")
        assert house.asked("stop", "db") == "stopped, too: web\nok"
        assert ended(house) == ["web", "db"]
        stopped = {"alpha": "active", "omega": "active", "fan": "active", "web": "stopped", "db": "stopped"}
        assert house.status() == stopped
        assert house.asked("start", "web") == "started, too: db\nok"
        until_up(house, "web", "db")
        assert house.asked("restart", "db") == "restarted, too: web\nok"
        assert ended(house) == ["web", "db"]
        before = until_up(house, "web", "db", "fan", "alpha", "omega")
        os.kill(before["db"], signal.SIGKILL)
        wait_for(lambda: house.pids("db") and house.pids("db") != {before["db"]}, "another db")
        assert house.pids("web") == {before["web"]}, "a crash is none of its concern"
        house.kill()
        os.kill(house.rows()["circus.db.1"]["pid"], signal.SIGKILL)
        house.start()
        wait_for(lambda: house.status()["db"] == "active", "all of it again")
        after = until_up(house, "web", "db", "fan", "alpha", "omega")
        assert {name for name in after if after[name] != before[name]} == {"db"}
        house.asked("shutdown")
        house.gone()
        told = ended(house)
        assert sorted(told) == ["alpha", "db", "fan", "omega", "web"]
        assert told.index("alpha") < told.index("omega")
        assert max(told.index("web"), told.index("fan")) < told.index("db")


def test_who_requires_what_fails_waits_for_it_with_its_reason(tmp_path: Path) -> None:
    folder = tmp_path / "house"
    folder.mkdir()
    program = folder / "frail"
    program.write_text("#!/bin/sh\nexec /bin/sleep 1000\n")
    program.chmod(0o755)
    config = (
        f"[watcher:frail]\ncmd = {program}\nmax_retry = 0\nautostart = false\n"
        "[watcher:web]\ncmd = /bin/sleep 1000\nrequires = frail\nautostart = false\n"
        "[watcher:job]\ncmd = /bin/sleep 1000\nwants = frail\nautostart = false\n"
    )
    with opened(folder, config) as house:
        house.start()
        program.rename(folder / "away")
        refused = house.ctl("start", "web")
        assert refused.returncode != 0
        assert "web: requires frail, which: frail.1: " in refused.stderr
        assert "requires frail, which: frail.1: " in house.asked("status")
        assert house.status()["web"] == "stopped"
        assert "frail: " in house.ctl("start", "job").stderr
        assert house.status()["job"] == "active"
        (folder / "away").rename(program)
        house.asked("start", "frail")
        wait_for(lambda: house.status()["web"] == "active", "it starts now that it can")


def test_who_requires_a_job_and_one_that_says_when_it_is_ready_waits_for_both(tmp_path: Path) -> None:
    folder = tmp_path / "house"
    wait = "while [ ! -e {} ]; do /bin/sleep 0.02; done"
    config = (
        f"[watcher:migrate]\ncmd = {wait.format('migrated')}\nshell = true\ntype = oneshot\n"
        f"[watcher:db]\ncmd = {wait.format('filled')}; echo serving; exec /bin/sleep 1000\nshell = true\n"
        "ready = line ^serving\ngraceful_timeout = 2\n"
        "[watcher:web]\ncmd = /bin/sleep 1000\nrequires = migrate db\n"
    )
    with opened(folder, config) as house:
        house.launch()
        wait_for(lambda: "waits for migrate, db" in house.ctl("status").stdout, "it waits for both")
        (folder / "migrated").touch()
        wait_for(lambda: "waits for db" in house.asked("status"), "it waits for the one that is left")
        assert house.status()["web"] == "starting"
        (folder / "filled").touch()
        wait_for(lambda: house.status()["web"] == "active", "both are ready")
        row = house.rows()["circus.web.1"]
        house.kill()
        house.start()
        wait_for(lambda: house.status() == dict.fromkeys(("db", "migrate", "web"), "active"), "all of it again")
        assert house.rows()["circus.web.1"]["id"] == row["id"]


def test_a_circle_is_told_with_its_line_before_anything_starts(tmp_path: Path) -> None:
    config = (
        "[watcher:web]\ncmd = /bin/sleep 1000\nrequires = db\n"
        "[watcher:db]\ncmd = /bin/sleep 1000\nafter = cache\n"
        "[watcher:cache]\ncmd = /bin/sleep 1000\nwants = web\n"
    )
    with opened(tmp_path / "house", config) as house:
        told = house.ctl("config", "check", str(house.config))
        assert told.returncode == 1
        assert (
            f"{house.config}:3: error: web: requires makes a circle, web -> db -> cache -> web"
            in told.stdout + told.stderr
        )
