"""Missing memory: a proof is told as one, a sign with what it is worth, and nothing where nothing speaks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.workbench import WEB, Bench, opened, story

from circus import cgroups, clock
from circus.engine import oom
from circus.engine.oom import TOGETHER_S, Shortages


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    file = tmp_path / "vmstat"
    monkeypatch.setattr(oom, "VMSTAT", str(file))

    def count(kills: int) -> None:
        file.write_text(f"nr_free_pages 1\noom_kill {kills}\n")

    count(3)
    return count


def test_a_count_that_rose_speaks_for_it(machine: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr(clock, "wall", lambda: now)
    seen = Shortages()
    assert seen.perhaps() == ""
    machine(4)
    assert seen.perhaps().startswith("out of memory: the system has ended a process for that since ")
    assert seen.perhaps(), "one shortage ends several"
    now += TOGETHER_S + 1
    assert seen.perhaps() == "", "that was of another time"
    machine(6)
    assert "2 processes" in seen.perhaps()


def test_a_system_that_does_not_count_speaks_for_nothing(
    machine: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "vmstat").write_text("nr_free_pages 1\n")
    seen = Shortages()
    machine(9)
    assert seen.perhaps() == ""
    monkeypatch.setattr(oom, "VMSTAT", str(tmp_path / "nowhere"))
    assert Shortages().perhaps() == seen.perhaps() == ""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


@pytest.mark.parametrize(("status", "is_told"), [(-9, True), (-15, False), (1, False)])
def test_only_a_kill_that_nobody_ordered_may_be_one(
    bench: Bench, machine: Callable[[int], None], status: int, is_told: bool
) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            machine(4)
            (row,) = bench.papa.rows()
            bench.papa.end(row["id"], status, facts={"core": True, "user_s": 0.25, "max_rss": 4096})
            await bench.until_replaced(row)
            await engine.keeper.kept()
            (ended, *_) = await engine.exits("web")
            assert ("perhaps" in ended) is is_told
            assert ("; perhaps out of memory: " in str(ended["reason"])) is is_told
            assert ", and left a core" in str(ended["reason"])
            assert (ended["core"], ended["usage"]) == (
                True,
                {"user_s": 0.25, "system_s": 0.0, "max_rss": 4096, "major_faults": 0},
            )

    story(run)


def test_a_group_of_its_own_proves_it_also_without_a_bound_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from circus.engine.hosted import Hosted
    from circus.supervise.states import SlotKey

    told = {"memory.events": "oom 1\noom_kill 1"}
    monkeypatch.setattr(cgroups, "read", lambda _path, name: told.get(name))
    hosted = Hosted(SlotKey("web", 1), 1, 1, 1, None, 0, 0.0, "", cgroup="/group")
    assert oom.proof(hosted, None) == "out of memory: the system has ended it in its control group"
    told.clear()
    assert oom.proof(hosted, None) == ""
    hosted.cgroup = ""
    assert oom.proof(hosted, None) == ""
