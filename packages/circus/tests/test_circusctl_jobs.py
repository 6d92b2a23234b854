"""circusctl run and runs, and what the status says of jobs, against a circusd without processes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from circus.cli import jobs, render
from circus.cli.circusctl import main
from circus.supervise.states import WatcherState
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher

AT = 1_700_000_000.0
DONE: Mapping[str, object] = {
    "due": AT, "by_hand": False, "state": "done", "started_at": AT, "ended_at": AT + 75, "pid": 7, "status": 0,
    "signal": None, "reason": "ended with status 0", "count": 1,
}  # fmt: skip
FAILED = {**DONE, "state": "failed", "status": 4, "reason": "ended with status 4", "by_hand": True}
KILLED = {**DONE, "state": "failed", "status": -9, "signal": "SIGKILL", "reason": "ended by signal 9"}
SKIPPED = {**DONE, "state": "skipped", "started_at": None, "ended_at": None, "pid": None, "status": None, "count": 3}
JOB = {
    "schedule": "@daily", "timezone": None, "next_run": AT + 86400, "waiting": 0, "current": None, "last": DONE,
}  # fmt: skip


def moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


@pytest.fixture
def engine() -> FakeEngine:
    waiting = make_watcher("job", 0, state=WatcherState.STOPPED, reason="waits for its time")
    engine = FakeEngine(waiting, make_watcher("web", 1))
    engine.view["jobs"] = {"job": JOB}
    engine.ran["job"] = [DONE, {**SKIPPED, "reason": "missed"}, FAILED]
    return engine


@pytest.fixture
def ctl(engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCircusd]:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("CIRCUSCTL_ENDPOINT", raising=False)
    with FakeCircusd(engine, f"{tmp_path}/circus-default.sock") as circusd:
        yield circusd


def test_a_job_is_run_by_its_name_and_waited_for_where_that_is_said(
    ctl: FakeCircusd, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "JOB"]) == 4
    assert capsys.readouterr().out == "failed by hand pid 7 after 1m15s: ended with status 4\n"
    assert main(["run", "job", "--wait", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["run"] == FAILED
    assert ctl.engine.heard == [("run", "job", False), ("run", "job", True)]


@pytest.mark.parametrize(
    ("run", "status"),
    [
        (DONE, 0),
        ({**DONE, "state": "running", "status": None}, 0),
        (FAILED, 4),
        (KILLED, 137),
        ({**FAILED, "status": 0}, 1),
        ({**FAILED, "status": None}, 1),
        (SKIPPED, 1),
    ],
)
def test_circusctl_ends_as_the_job_did(run: dict[str, object], status: int) -> None:
    assert jobs.status_of_run({"run": run}) == status


def test_the_runs_of_a_job_are_listed_with_the_next_one(ctl: FakeCircusd, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "job"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{moment(AT)}  done pid 7 after 1m15s",
        f"{moment(AT)}  3 skipped: missed",
        f"{moment(AT)}  failed by hand pid 7 after 1m15s: ended with status 4",
        f"{moment(AT + 86400)}  next",
    ]
    assert main(["runs", "job", "-n", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["runs", "web"]) == 0
    assert capsys.readouterr().out == "web is no job\n"
    assert main(["runs", "job", "-n", "0"]) != 0


def test_the_status_says_when_a_job_runs_next(ctl: FakeCircusd, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert (
        f"job: stopped\n  next run {moment(AT + 86400)}; the last one of {moment(AT)} done pid 7 after 1m15s\n" in out
    )
    assert "waits for its time" not in out
    assert main(["status", "job", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["job"] == JOB
    assert main(["status", "web", "--json"]) == 0
    assert "job" not in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"current": DONE}, f"  at work for the run of {moment(AT)}; next run"),
        ({"waiting": 2}, "  2 runs wait; next run"),
        ({"next_run": None}, "  the schedule is stopped; the last one"),
        ({"next_run": None, "schedule": None}, "  the last one of"),
    ],
)
def test_what_a_job_does_is_told_in_one_line(more: dict[str, object], told: str) -> None:
    (line,) = render.job_lines({**JOB, **more})
    assert line.startswith(told)
    assert list(render.job_lines({**JOB, "next_run": None, "schedule": None, "last": None})) == []
