"""The driver as a whole: what it started is ended, whoever stops it; and what it says to somebody who asks wrongly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from bench import machine
from bench.report import page

from tests.house import ROOT

#: A manager that was told to start has started, and a driver that was told to end has ended.
PATIENCE_S = 90.0

DRIVER = [sys.executable, "-m", "bench"]


def said(*words: str) -> tuple[int, str]:
    done = subprocess.run([*DRIVER, *words], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    return done.returncode, done.stdout + done.stderr


def test_who_ends_the_driver_ends_all_that_it_started(tmp_path: Path) -> None:
    # Whatever it starts has this, and is found by it.
    environ = {**os.environ, "BENCH_TEST": str(tmp_path)}
    words = ["idle", "--peers", "circus", "--children", "2", "--seconds", "1000", "--repeat", "1"]

    def workers() -> list[str]:
        return [command for command in machine.marked(str(tmp_path)).values() if "worker sleep" in command]

    with subprocess.Popen([*DRIVER, *words], cwd=ROOT, env=environ, stdout=subprocess.DEVNULL) as driver:
        try:
            machine.wait_for(lambda: len(workers()) == 2, PATIENCE_S)
            folder = Path(workers()[0].split()[2])
            assert folder.is_dir()
            driver.send_signal(signal.SIGTERM)
            assert driver.wait(PATIENCE_S) == 128 + signal.SIGTERM
            assert machine.marked(str(tmp_path)) == {}
            assert not folder.exists()
        finally:
            driver.kill()
            machine.end(str(tmp_path))


def test_the_plan_can_be_read_before_it_is_carried_out() -> None:
    status, text = said("all", "--list")
    assert status == 0
    assert text.endswith("minutes on two quiet processors, 25 at most\n")


def test_a_step_that_is_not_there_is_named(tmp_path: Path) -> None:
    status, text = said("all", "--only", "floot", "--out", str(tmp_path))
    assert status == 1
    assert text.startswith("bench: no such step: floot; there are flood, ")


def test_a_report_of_no_rows_is_refused(tmp_path: Path) -> None:
    assert said("report", "--out", str(tmp_path)) == (
        1,
        f"bench: there is no {tmp_path}/rows.jsonl: `python -m bench all` makes one\n",
    )
    assert not (tmp_path / page.NAME).exists()


def test_rows_of_another_machine_are_not_continued(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"plan": "full", "machine": {"cores": 4096}}\n')
    status, text = said("all", "--resume", "--out", str(tmp_path))
    assert status == 1
    assert (
        text == f"bench: {tmp_path}/rows.jsonl is of another plan or machine: run it whole, or choose another --out\n"
    )
