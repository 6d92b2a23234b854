"""A short shake in every test run; `make chaos` is the long one."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos import run, scenario


def test_a_seed_always_chooses_the_same_steps() -> None:
    for world in scenario.WEIGHTS:
        one, other = scenario.choose(7, world=world), scenario.choose(7, world=world)
        assert [next(one) for _ in range(50)] == [next(other) for _ in range(50)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
def test_no_line_is_lost_or_doubled_whatever_happens_to_the_daemons(tmp_path: Path, seed: int) -> None:
    assert run.run(tmp_path / "world", seed, steps=8) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("world", "variants"),
    [
        ("files", ["plain"]),
        ("files", ["timed", "json"]),
        ("files+kernel", ["stamped", "compressed"]),
        ("files+disk", ["plain"]),
    ],
    ids=str,
)
def test_files_are_byte_for_byte_what_was_written_whenever_circusd_is_killed(
    tmp_path: Path, world: str, variants: list[str]
) -> None:
    if world == "files+disk" and os.geteuid():
        pytest.skip("only root can mount a file system")
    counts: Counter[str] = Counter()
    given = {"world_name": world, "variants": variants, "kills": 10, "counts": counts}
    assert run.run(tmp_path / "world", 3, steps=30, **given) == []
    assert counts["kills"] >= 9 and counts["files"] > 10


@pytest.mark.timeout(300)
def test_no_byte_exit_or_process_is_lost_whatever_happens_to_the_kernel(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    assert run.run(tmp_path / "world", 5, steps=100, world_name="kernel", size=20, kills=20, counts=counts) == []
    # What was promised was also put to the test.
    assert counts["kills"] >= 20 and counts["processes"] > 20
