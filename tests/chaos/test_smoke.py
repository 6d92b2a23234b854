"""A short shake in every test run; `make chaos` is the long one."""

from __future__ import annotations

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
def test_no_byte_exit_or_process_is_lost_whatever_happens_to_the_kernel(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    assert run.run(tmp_path / "world", 5, steps=100, world_name="kernel", size=20, kills=20, counts=counts) == []
    # What was promised was also put to the test.
    assert counts["kills"] >= 20 and counts["processes"] > 20
