"""A short shake in every test run; `make chaos` is the long one."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos import run, scenario
from tests.chaos.house_world import HANDS
from tests.chaos.scenario import Scenario

SEEDS = sorted(Path(__file__).with_name("seeds").glob("*.txt"))


def test_a_seed_always_chooses_the_same_steps() -> None:
    for world in scenario.WEIGHTS:
        assert Scenario.of(7, 50, world=world) == Scenario.of(7, 50, world=world)


def test_what_happened_can_be_written_down_and_happens_again(tmp_path: Path) -> None:
    chosen = Scenario.of(7, 50, world="files+disk", variants=("timed", "json"))
    (tmp_path / "scenario.txt").write_text(f"# what it found\n{chosen}")
    found = scenario.read(tmp_path / "scenario.txt")
    assert found == chosen
    assert found.about == ("what it found",)


def test_what_nobody_knows_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "scenario.txt"
    path.write_text("world house\n0.1 kill_manager 3\n0.1 bribe_manager 3\n")
    with pytest.raises(ValueError, match=r"scenario.txt:3: 0.1 bribe_manager 3: .*house knows no bribe_manager"):
        scenario.read(path)


def test_every_step_of_the_house_has_a_hand() -> None:
    assert HANDS.keys() == scenario.WEIGHTS["house"].keys()


@pytest.mark.needs("cc")
@pytest.mark.timeout(300)
def test_no_line_is_lost_or_doubled_whatever_happens_to_the_daemons(tmp_path: Path) -> None:
    assert run.run(tmp_path / "world", Scenario.of(1, 8)) == []


@pytest.mark.needs("cc")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_what_once_broke_does_not_break_again(tmp_path: Path, path: Path) -> None:
    assert run.run(tmp_path / "world", scenario.read(path)) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("world", "variants"),
    [
        ("files", ("plain",)),
        ("files", ("timed", "json")),
        ("files+kernel", ("stamped", "compressed")),
        ("files+disk", ("plain",)),
    ],
    ids=str,
)
def test_files_are_byte_for_byte_what_was_written_whenever_circusd_is_killed(
    tmp_path: Path, world: str, variants: tuple[str, ...]
) -> None:
    if world == "files+disk" and os.geteuid():
        pytest.skip("only root can mount a file system")
    counts: Counter[str] = Counter()
    chosen = Scenario.of(3, 18, world=world, variants=variants)
    assert run.run(tmp_path / "world", chosen, kills=6, counts=counts) == []
    assert counts["kills"] >= 5 and counts["files"] > 5


@pytest.mark.timeout(300)
def test_no_byte_exit_or_process_is_lost_whatever_happens_to_the_kernel(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    chosen = Scenario.of(5, 100, world="kernel", size=20)
    assert run.run(tmp_path / "world", chosen, kills=20, counts=counts) == []
    # What was promised was also put to the test.
    assert counts["kills"] >= 20 and counts["processes"] > 20
