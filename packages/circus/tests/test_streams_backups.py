from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.backups import KEY, Killed, dying, found, lay

from circus.streams import backups
from circus.streams.backups import Backups


def test_numbers_move_up_in_whichever_form_they_are(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("now")
    lay(log, n1="one", z2="two", z3="three")
    backups.shift(str(log), KEY, 5)
    assert found(log) == {".1": "now", ".2": "one", ".3.gz": "two", ".4.gz": "three"}


def test_both_forms_of_one_backup_move_together(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("now")
    lay(log, n1="one", z1="one", n2="two")
    backups.shift(str(log), KEY, 2)
    assert found(log) == {".1": "now", ".2": "one", ".2.gz": "one"}


def test_the_oldest_goes_in_both_forms(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("now")
    lay(log, n1="one", z2="two")
    backups.shift(str(log), KEY, 2)
    assert found(log) == {".1": "now", ".2": "one"}
    log.write_text("later")
    lay(log, z1="now")
    os.unlink(f"{log}.1")
    backups.shift(str(log), KEY, 2)
    assert found(log) == {".1": "later", ".2.gz": "now"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    forms=st.dictionaries(st.integers(1, 4), st.sampled_from(["n", "z"]), max_size=4),
    count=st.integers(1, 4),
    killed_after=st.integers(0, 9),
)
def test_a_shift_that_was_killed_and_made_again_ends_the_same(
    forms: dict[int, str], count: int, killed_after: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def fresh() -> Path:
        path = tmp_path_factory.mktemp("logs") / "log"
        path.write_text("now")
        lay(path, **{f"{form}{number}": str(number) for number, each in forms.items() for form in each})
        return path

    at_once, again = fresh(), fresh()
    backups.shift(str(at_once), KEY, count)
    with pytest.MonkeyPatch.context() as patch:
        dying(patch, killed_after)
        try:
            backups.shift(str(again), KEY, count)
        except Killed:
            patch.undo()
            if again.exists():
                backups.shift(str(again), KEY, count)
    texts = {name.removesuffix(".gz"): text for name, text in found(again).items()}
    assert texts == {name.removesuffix(".gz"): text for name, text in found(at_once).items()}


def test_a_backup_is_found_again_where_it_has_moved(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("now")
    lay(log, n1="one", n2="two")
    shelf = Backups(str(log), KEY, 3)
    one = backups.identity_of(f"{log}.1")
    assert one is not None
    assert shelf.find(f"{log}.1", one) == f"{log}.1"
    backups.shift(str(log), KEY, 3)
    assert shelf.find(f"{log}.1", one) == f"{log}.2"
    os.unlink(f"{log}.2")
    assert shelf.find(f"{log}.1", one) is None


def test_backups_are_listed_oldest_first_and_nothing_else_is_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in (
        ".1",
        ".2.gz",
        ".10",
        ".11",
        ".01",
        ".gz.tmp",
        ".2.gz.old",
        ".20261122",
        ".20261121.2.gz",
        ".20261121",
    ):
        Path(f"{log}{name}").touch()
    names = [name.removeprefix(str(log)) for name in Backups(str(log), KEY, 10).forms()]
    assert names == [".10", ".2", ".1"]
    by_time = Backups(str(log), KEY, 0, 8).forms()
    assert [name.removeprefix(str(log)) for name in by_time] == [".20261121", ".20261121.2", ".20261122"]
    assert by_time[f"{log}.20261121.2"] == {".gz"}


def test_a_compressed_backup_takes_its_interval_s_name_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("now")
    Path(f"{log}.20261122.gz").write_bytes(gzip.compress(b"before"))
    backups.set_aside(str(log), KEY, "20261122", 0)
    assert found(log) == {".20261122.2": "now", ".20261122.gz": "before"}
    log.write_text("then")
    backups.set_aside(str(log), KEY, "20261123", 2)
    assert found(log) == {".20261122.2": "now", ".20261123": "then"}


def test_what_a_killed_circusd_left_half_made_is_removed_unless_one_is_at_work(tmp_path: Path) -> None:
    log = tmp_path / "log"
    half = Path(backups.half_made(str(log)))
    with backups.at_work(str(log), KEY):
        half.touch()
        backups.tidy(str(log), KEY)
        assert half.exists()
    assert not half.exists()
    half.touch()
    backups.tidy(str(log), KEY)
    assert not half.exists()
