"""circusd remembers what it was told and how programs failed: over a restart, and over a reboot of the host."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from circus.engine import history
from tests import house
from tests.house import House, ticker, wait_for

LOOP = """
[watcher:loop]
cmd = /bin/sh -c 'exit 7'
flapping.attempts = 2
flapping.window = 60
flapping.retry_in = {retry}
flapping.max_retry = {most}
"""


def state(root: House, run: str = "run") -> Path:
    return root.folder / run / "state" / "circus" / "default"


def reboot(root: House) -> None:
    """Processes, kernel and runtime are gone; the state directory is there."""
    root.close()
    kept = state(root)
    root.environ["PAPA_RUNTIME_DIR"] = str(root.folder / "run2")
    new = state(root, "run2")
    new.parent.mkdir(parents=True)
    shutil.move(kept, new)


def test_what_was_ordered_and_what_failed_is_there_after_a_crash_and_after_a_reboot(
    tmp_path: Path, runtime_root: Path
) -> None:
    config = ticker("web", extra="use_papa = true") + ticker("db") + LOOP.format(retry=900, most=0)
    config += LOOP.replace("loop", "slow").format(retry=900, most=5)
    with house.opened(tmp_path / "house", config) as root:
        root.launch()
        wait_for(lambda: root.status().get("loop") == "stopped", "loop gives up")
        root.asked("incr", "web")
        root.asked("set", "web", "priority", "3")
        root.asked("stop", "db")

        def told() -> dict[str, object]:
            if not (states := root.status()):
                return {}
            answer = json.loads(root.asked("--json", "status"))
            assert not answer["warnings"], answer["warnings"]
            slots = {watcher["name"]: watcher["slots"] for watcher in answer["watchers"]}
            return {
                "by hand": answer["by_hand"],
                "states": states,
                "slow": [slot["state"] for slot in slots["slow"]],
                "loop": [slot["reason"] for slot in slots["loop"]],
                "web": len(root.pids("web")),
            }

        wait_for(lambda: told()["slow"] == ["backoff"], "slow pauses")
        before = told()
        assert before["by hand"] == {
            "web": "set by hand: priority; numprocesses 2 by hand, 1 in the file",
            "db": "stopped by hand",
        }
        assert "flapping: 2 deaths" in str(before["loop"])
        ends = [each.status for each in history.read(state(root)) if each.watcher == "loop"]
        assert ends == [7, 7]
        root.kill()
        root.launch()
        wait_for(lambda: told() == before, "everything as before the crash")
        reboot(root)
        root.launch()
        wait_for(lambda: told() == before, "everything as before the reboot")
        assert [each.status for each in history.read(state(root, "run2")) if each.watcher == "loop"] == ends
        said = root.asked("forget", "--all")
        assert "forgotten: db: stopped by hand" in said
        wait_for(lambda: root.status().get("db") == "active", "db as the file has it")
        assert len(root.pids("web")) == 1
        wait_for(
            lambda: len([e for e in history.read(state(root, "run2")) if e.watcher == "loop"]) > 2, "loop tries anew"
        )
