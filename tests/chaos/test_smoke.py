"""A short shake in every test run; `make chaos` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import run, scenario


def test_a_seed_always_chooses_the_same_steps() -> None:
    one, other = scenario.choose(7), scenario.choose(7)
    assert [next(one) for _ in range(50)] == [next(other) for _ in range(50)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, 2])
def test_no_line_is_lost_or_doubled_whatever_happens_to_the_daemons(tmp_path: Path, seed: int) -> None:
    assert run.run(tmp_path / "world", seed, steps=8) == []
