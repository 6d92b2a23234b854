"""A control group for a life, where there may be any; the files here only look like some."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import WEB, Bench, opened, story

from circus import cgroups
from circus.errors import CircusError
from circus.supervise import events
from papa.client.reply import Reply
from papa.errors import PapaError
from papa.testing import FakePapa

GROUPED = WEB + "cgroup = true\n"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(cgroups, "find_base", lambda _pid: str(tmp_path / "base"))
    yield from opened(tmp_path, monkeypatch)


def groups(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "base").glob("circus.*/*"))


def test_a_life_has_a_group_from_before_its_start_to_its_end(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: list[tuple[str, int]] = []
    monkeypatch.setattr(cgroups, "add", lambda path, pid: filled.append((path, pid)) or True)

    async def run() -> None:
        async with bench.engine(GROUPED) as engine:
            await bench.until_active(engine)
            (row,) = bench.papa.rows()
            assert filled == [(row["meta"]["cgroup"], row["pid"])]
            assert groups(tmp_path) == [Path(filled[0][0]).name]
            await engine.order(lambda op: events.Stop(op, ("web",)))
            await bench.until(lambda: not groups(tmp_path))
            await engine.close()

    story(run)
    assert not list((tmp_path / "base").iterdir())


def test_one_that_has_ended_is_put_into_no_group_as_its_pid_may_be_unknown_or_of_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: list[int] = []
    monkeypatch.setattr(cgroups, "add", lambda _path, pid: filled.append(pid) or True)
    spawn = FakePapa.spawn

    async def spawn_late(papa: FakePapa, **spec: Any) -> Reply:
        monkeypatch.setattr(FakePapa, "spawn", spawn)
        reply = await spawn(papa, **spec)
        papa.end(reply.ok["id"], None)
        # As by a kernel that was killed between a fork and its record.
        reply.ok.update(pid=0, start_ticks=None, running=False, exit={"status": None, "at": reply.ok["started_at"]})
        return reply

    monkeypatch.setattr(FakePapa, "spawn", spawn_late)

    async def run() -> None:
        async with bench.engine(GROUPED) as engine:
            await bench.until(lambda: filled)
            assert 0 not in filled
            await bench.until_active(engine)  # its descriptors are taken, and closed with it

    story(run)


def test_a_spawn_that_fails_leaves_no_group(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    async def fail(_papa: FakePapa, **_spec: object) -> None:
        seen.append(groups(tmp_path))
        raise PapaError("spawn-failed", "no such program")

    monkeypatch.setattr(FakePapa, "spawn", fail)

    async def run() -> None:
        async with bench.engine(GROUPED):
            await bench.until(lambda: seen)
            await bench.until(lambda: not groups(tmp_path))

    story(run)
    assert len(seen[0]) == 1


def test_without_a_group_the_watcher_runs_and_it_is_said_why(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int) -> str:
        raise CircusError("unavailable", "control groups cannot be used: it is no good", "do something")

    monkeypatch.setattr(cgroups, "find_base", refuse)

    async def run() -> None:
        async with bench.engine(GROUPED) as engine:
            await bench.until_active(engine)
            (row,) = bench.papa.rows()
            assert "cgroup" not in row["meta"]
            said = "control groups cannot be used: it is no good: web runs without (do something)"
            assert said in engine.snapshot().warnings

    story(run)


def test_what_a_circusd_that_is_gone_has_left_empty_is_removed_at_a_start(bench: Bench, tmp_path: Path) -> None:
    async def run() -> None:
        async with bench.engine(GROUPED) as engine:
            place = tmp_path / "base" / f"circus.{engine.name}"
        mine, others, full = (
            place / "web.1.1-ab-7",
            place / f"web.1.{2**22 + 1}-ab-7",
            place / f"web.2.{2**22 + 1}-ab-8",
        )
        for path in (mine, others, full / "below"):
            path.mkdir(parents=True)
        (full / "below" / "cgroup.procs").write_text("7\n")
        bench.crash()
        async with bench.engine(GROUPED):
            await bench.until(lambda: not others.exists())
            assert mine.exists()
            assert full.exists()

    story(run)
