"""What circus has ever remembered it understands for ever; and it writes what the newest folder says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from circus.config import amend
from circus.config.amend import Edits
from circus.config.model import FlappingPolicy
from circus.engine import formers, history
from circus.engine.memory import Memory
from circus.engine.runbook import Known, Runbook
from circus.supervise import recall
from circus.supervise.states import WatcherPolicy
from tests.golden.circus import make

FORMATS = sorted((path for path in make.FOLDER.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))

#: What each folder holds besides counts and stops.
HAS_EDITS = 2
HAS_STANDINGS = 3
HAS_RULES = 4
HAS_RUNS = 5
HAS_FORMERS = 6

POLICY = WatcherPolicy("web", flapping=FlappingPolicy())


@pytest.fixture(params=FORMATS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(request.param, tmp_path / request.param.name))


def test_what_is_written_is_what_the_newest_folder_holds(tmp_path: Path) -> None:
    make.write(tmp_path)
    newest = FORMATS[-1]
    advice = f"what circus remembers has changed: python -m tests.golden.circus.make {int(newest.name) + 1}"
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in newest.iterdir()}, advice
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (newest / path.name).read_bytes(), f"{path.name}: {advice}"


def test_wishes(folder: Path) -> None:
    memory = Memory(folder)
    memory.use(make.FILE)
    assert memory.trouble == ""
    assert (memory.count("web", 2), memory.count("web", 3)) == (4, 3)
    assert memory.is_stopped("db") and memory.is_stopped("JOB") and not memory.is_stopped("web")
    number = int(folder.name)
    assert memory.edits(make.FILE) == (make.EDITS if number >= HAS_EDITS else amend.NOTHING)
    assert memory.edits("/another.ini") == (amend.NOTHING if number >= HAS_EDITS else Edits())
    assert memory.left == ({"orphans"} if number >= HAS_EDITS else set())


def test_what_runs_on_in_place_of_what_the_file_says(folder: Path) -> None:
    known = Memory(folder).formers
    assert known == ({"api": make.FORMER} if int(folder.name) >= HAS_FORMERS else {})
    for content in known.values():
        former = formers.config_of(content)
        assert (former.name, former.cmd, former.digest, former.numprocesses) == ("api", "serve --old", "ca11ed", 1)


def test_how_watchers_stand(folder: Path) -> None:
    content = Memory(folder).standing("web")
    if int(folder.name) < HAS_STANDINGS:
        assert content is None
        return
    assert content is not None
    assert recall.from_json(content, POLICY, now=make.NOW, wall=make.WALL) == make.STANDING
    ended = Memory(folder).standing("api")
    if int(folder.name) >= HAS_RULES:
        assert ended is not None
        assert recall.from_json(ended, POLICY, now=make.NOW, wall=make.WALL) == make.STANDING_OF_API


def test_how_processes_ended(folder: Path) -> None:
    number = int(folder.name)
    by_rule = [make.ENDED_BY_RULE] if number >= HAS_RULES else []
    assert history.read(folder) == ([*make.EXITS, *by_rule] if number >= HAS_STANDINGS else [])


def test_how_the_runs_of_jobs_went(folder: Path) -> None:
    book = Runbook(folder)
    assert book.trouble == ""
    if int(folder.name) < HAS_RUNS:
        assert book.known == {}
        return
    runs = {run.due: run for run in make.RUNS}
    assert book.known == {"backup": Known(runs, make.RUNS[-1].due, True, make.SCHEDULE)}
