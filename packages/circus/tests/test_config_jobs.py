"""Watchers that are jobs: from the file to the model, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from circus.config.build import Builder
from circus.config.model import JobOptions, WatcherConfig
from circus.config.read import read
from circus.engine.policy import policy_of

SCHEDULE = "schedule = 30 3 * * *\n"


def build(folder: Path, options: str, name: str = "watcher:job") -> tuple[WatcherConfig, list[str]]:
    """The watcher, and what is wrong with it."""
    path = folder / "c.ini"
    path.write_text(f"[{name}]\ncmd = run\n{options}")
    draft = Builder(read(str(path), {}), {}).build()
    return draft.config.watchers[0], [str(each).removeprefix(f"{folder}/") for each in draft.findings]


def test_a_schedule_makes_a_oneshot(tmp_path: Path) -> None:
    job, told = build(tmp_path, SCHEDULE)
    assert (job.type, job.schedule, job.job, job.respawn, told) == ("oneshot", "30 3 * * *", JobOptions(), False, [])
    assert build(tmp_path, "schedule = @Daily\n")[0].schedule == "0 0 * * *"
    policy = policy_of(job, 1)
    assert policy.scheduled and not policy.oneshot


def test_a_oneshot_is_tried_again_only_where_that_is_written(tmp_path: Path) -> None:
    assert not build(tmp_path, "type = oneshot\n")[0].respawn
    assert build(tmp_path, "type = oneshot\nrespawn = true\n")[0].respawn
    assert policy_of(build(tmp_path, "type = oneshot\n")[0], 1).oneshot


def test_a_watcher_is_no_job_by_itself(tmp_path: Path) -> None:
    web, told = build(tmp_path, "type = simple\n")
    assert (web.type, web.schedule, web.job, web.respawn, told) == ("simple", None, None, True, [])


def test_the_options_of_a_job(tmp_path: Path) -> None:
    written = (
        "job.timezone = Europe/Berlin\njob.overlap = Queue\njob.missed = all\njob.time_limit = 2h\njob.history = 7\n"
    )
    job, told = build(tmp_path, SCHEDULE + written)
    assert (job.job, told) == (JobOptions("Europe/Berlin", "queue", "all", 7200.0, 7), [])


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        ("schedule = 99 * * * *\n", "c.ini:3: job: schedule = '99 * * * *' is no schedule: bad minute"),
        ("type = often\n", "c.ini:3: job: type = 'often' is no type of watcher (write simple or oneshot)"),
        (f"{SCHEDULE}type = simple\n", "c.ini:4: job: type = simple and schedule contradict each other"),
        (f"{SCHEDULE}numprocesses = 2\n", "c.ini:4: job: a job has one process, and numprocesses is 2"),
        ("type = oneshot\nnumprocesses = 0\n", "c.ini:4: job: a job has one process, and numprocesses is 0"),
        (f"{SCHEDULE}on_demand = true\n", "c.ini:4: job: on_demand makes no sense for a job, which ends"),
        (f"{SCHEDULE}max_age = 5\n", "c.ini:4: job: max_age makes no sense for a job, which ends"),
        (f"{SCHEDULE}respawn = true\n", "c.ini:4: job: respawn has no effect for a job with a schedule"),
        (f"{SCHEDULE}job.timezone = Mars\n", "c.ini:4: job: job.timezone = 'Mars' is no time zone"),
        (f"{SCHEDULE}job.overlap = wait\n", "c.ini:4: job: job.overlap = 'wait' is no answer to runs that overlap"),
        (f"{SCHEDULE}job.missed = some\n", "c.ini:4: job: job.missed = 'some' is no answer to runs that were missed"),
        (f"{SCHEDULE}job.history = 0\n", "c.ini:4: job: job.history = '0' is out of range"),
        (f"{SCHEDULE}job.histry = 5\n", "c.ini:4: job: unknown option job.histry (did you mean job.history?)"),
        ("job.missed = all\n", "c.ini:3: job: job.missed has no effect without schedule"),
        ("type = oneshot\njob.overlap = queue\n", "c.ini:4: job: job.overlap has no effect without schedule"),
        ("job.time_limit = 5\n", "c.ini:3: job: job.time_limit has no effect without schedule or type = oneshot"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_line(tmp_path: Path, options: str, finding: str) -> None:
    told = build(tmp_path, options)[1]
    assert len(told) == 1 and told[0].startswith(finding), told


@pytest.mark.parametrize("options", ["on_demand = false\n", "max_age = 0\n", "respawn = false\n", "numprocesses = 1\n"])
def test_what_is_written_as_it_is_anyway_is_no_fault(tmp_path: Path, options: str) -> None:
    assert build(tmp_path, SCHEDULE + options)[1] == []


def test_options_of_a_plugin_with_these_names_are_its_own(tmp_path: Path) -> None:
    plugin, told = build(tmp_path, "use = a.B\ntype = fast\nschedule = never\njob.name = x\n", "plugin:p")
    assert (plugin.type, plugin.schedule, told) == ("simple", None, [])
    assert (plugin.extra["type"], plugin.extra["schedule"], plugin.extra["job.name"]) == ("fast", "never", "x")
