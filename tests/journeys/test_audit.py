"""Who ordered what is written down, whatever becomes of circusd."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from tests.house import opened, wait_for

SLEEPER = "[watcher:a]\ncmd = sleep 600\ncopy_env = true\n"


def entries_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_every_order_is_in_the_trail_also_the_last_one(tmp_path: Path) -> None:
    with opened(tmp_path / "house", SLEEPER + "[env]\nTOKEN = hush\n") as house:
        house.start()
        path = house.folder / "run" / "state" / "circus" / "default" / "audit.jsonl"
        house.asked("status")
        assert not path.exists(), "a query is no order"
        house.asked("set", "a", "env.TOKEN", "hush", "priority", "3")
        assert house.ctl("stop", "nope").returncode == 3
        wait_for(lambda: len(entries_of(path)) == 2, "both orders")
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert "hush" not in path.read_text()
        told = house.asked("audit")
        assert re.search(rf"uid {os.geteuid()} \(unix pid \d+\) watchers.set a \(env.TOKEN, priority\): ok", told)
        assert "stop nope: not-found" in told
        assert house.ctl("audit", "--since", "2030-01-01").stdout == "nothing is known\n"
        assert [each["result"] for each in json.loads(house.asked("audit", "--json"))["entries"]] == ["ok", "not-found"]
        assert house.manager is not None
        house.kill()
        house.start()
        house.quit()
        assert [each["operation"] for each in entries_of(path)] == ["watchers.set", "stop", "quit"]
        assert entries_of(path)[-1]["result"] == "ok"
        assert "quit" in house.asked("audit", "--file", str(path))


def test_the_trail_is_where_and_as_large_as_its_options_say(tmp_path: Path) -> None:
    config = "[circus]\naudit.file = trail/own.jsonl\naudit.max_bytes = 700\naudit.backup_count = 1\n" + SLEEPER
    with opened(tmp_path / "house", config) as house:
        house.start()
        for number in range(8):
            house.asked("set", "a", "priority", str(number))
        folder = house.folder / "trail"
        wait_for(lambda: (folder / "own.jsonl.1").exists(), "it is rotated")
        assert "watchers.set" in house.asked("audit")
        house.quit()
        names = sorted(each.name for each in folder.iterdir())
        assert names == ["own.jsonl", "own.jsonl.1"]
        assert all(each.stat().st_size <= 700 for each in folder.iterdir())


def test_without_a_trail_nothing_is_written(tmp_path: Path) -> None:
    with opened(tmp_path / "house", "[circus]\naudit.file = off\n" + SLEEPER) as house:
        house.start()
        house.asked("set", "a", "priority", "3")
        done = house.ctl("audit")
        assert (done.returncode, "has no audit trail" in done.stderr) == (3, True)
        house.quit()
        assert not list(house.folder.rglob("*audit*"))
