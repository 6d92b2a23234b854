"""`circusctl drill` on a real house: what it says when all goes well, and when a promise does not hold."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.house import ROOT, House, opened, ticker

KEPT = "use_papa = true\n"
WEB = f"""
[watcher:web]
cmd = {sys.executable} -u {ROOT / "examples" / "web.py"} $(circus.sockets.web)
use_sockets = true
copy_env = true
use_papa = true
graceful_timeout = 5
stdout_stream.class = FileStream
stdout_stream.filename = web.log
stderr_stream.class = FileStream
stderr_stream.filename = web.log

[socket:web]
host = 127.0.0.1
port = 0
use_papa = true
"""

#: Runs on while the first circusd does, which it finds by its pidfile; a zombie has no program.
BOUND_TO_CIRCUSD = "until [ -s circusd.pid ]; do sleep 0.05; done; read P < circusd.pid; "
BOUND_TO_CIRCUSD += "while [ -e /proc/$P/exe ]; do sleep 0.05; done; exit 3"


#: Imported by each circusd that starts, before it holds anything: it waits until a process that is named there is gone.
GATE = """
import os, time
deadline = time.monotonic() + 60
while os.path.exists("gate") and time.monotonic() < deadline and os.path.exists(f"/proc/{open('gate').read()}/exe"):
    time.sleep(0.01)
def pass_by(**_):
    return True
"""
HOOKED = "hooks.after_start = gate.pass_by\n"


@contextlib.contextmanager
def drilled(folder: Path, config: str, *options: str, **environ: str) -> Iterator[House]:
    """A house in which circusd runs, which will be killed and have a successor."""
    with opened(folder / "house", config, **environ) as house:
        (house.folder / "gate.py").write_text(GATE)
        house.start(*options)
        try:
            yield house
        finally:
            if house.manager is not None and house.manager.poll() is not None:
                house.gone()


def drill(house: House, *words: str, status: int = 0) -> dict[str, Any]:
    """What a drill says as JSON; it ends with ``status``."""
    done = house.ctl("drill", "--json", *words, timeout_s=300)
    assert done.returncode == status, f"{done.stdout} {done.stderr} {house.said()}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def totals(result: dict[str, Any], what: str) -> int:
    return sum(each[what] for each in result["outputs"])


def test_a_hundred_processes_under_load_do_not_notice_that_both_are_killed(tmp_path: Path) -> None:
    stamps = "stdout_stream.time_format = %H:%M:%S.%f\n"
    config = WEB + ticker("plain", count=66, extra=KEPT) + ticker("dated", count=33, extra=KEPT + stamps)
    with drilled(tmp_path, config, TICKER_INTERVAL_S="0.2") as house:
        before = {row["pid"] for row in house.rows().values()}
        assert len(before) == 100
        answer = drill(house, "--yes", "--kernel", "--connections", "4")
        result = answer["result"]
        assert result["held"] and result["problems"] == []
        assert result["fates"] == {"total": 100, "affected": [], "ended": []}
        assert [turn["what"] for turn in result["rounds"]] == ["circusd", "papa", "papa upgrade"]
        circusd, papa, upgrade = result["rounds"]
        assert circusd["by"] == "the drill" and circusd["successor"] != circusd["pid"]
        assert papa["successor"] != papa["pid"] and upgrade["successor"] == upgrade["pid"] == papa["successor"]
        (web,) = result["connections"]
        assert (web["held"], web["dropped"], web["failed"]) == (4, 0, 0) and web["tried"] > 0
        assert (totals(result, "lost"), totals(result, "doubled")) == (0, 0)
        logs = {os.path.basename(each["name"]): each for each in result["outputs"]}
        assert logs["plain.log"]["compared"] > 0 and logs["dated.log"]["compared"] > 0
        assert (logs["plain.log"]["why"], logs["dated.log"]["why"]) == ("", "")
        assert {row["pid"] for row in house.rows().values()} == before
        assert house.is_up()


def test_who_ends_because_circusd_did_is_told(tmp_path: Path) -> None:
    bound = f"[watcher:bound]\ncmd = /bin/sh -c '{BOUND_TO_CIRCUSD}'\n{KEPT}{HOOKED}"
    with drilled(
        tmp_path, bound + ticker("kept", extra=KEPT), "--pidfile", str(tmp_path / "house/circusd.pid")
    ) as house:
        (pid,) = house.pids("bound")
        (house.folder / "gate").write_text(str(pid))
        answer = drill(house, "--yes", status=1)
        (gone,) = answer["result"]["fates"]["affected"]
        assert (gone["name"], gone["pid"]) == ("circus.bound.1", pid)
        assert gone["why"] == "ended with status 3"
        assert answer["result"]["fates"]["total"] == 2
        assert not answer["result"]["held"]
        assert answer["result"]["problems"] == [f"circus.bound.1 (pid {pid}) ended with status 3"]
