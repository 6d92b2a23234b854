"""How processes come and go, at the edges: news that overtakes, replies that are missing, names that are taken."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import DB, WEB, Bench, opened, story

from circus.engine import link, lives
from circus.engine.engine import Engine
from circus.supervise import events
from papa.client.reply import Reply
from papa.errors import PapaError
from papa.testing import FakePapa


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(link, "AGAIN_S", 0.01)
    yield from opened(tmp_path, monkeypatch)


def reasons(engine: Engine, watcher: str) -> str:
    (view,) = [view for view in engine.snapshot().watchers if view.name == watcher]
    return view.reason + " ".join(slot.reason for slot in view.slots)


def test_an_exit_that_overtakes_the_reply_to_its_spawn_counts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    spawn = FakePapa.spawn
    first: list[int] = []

    async def spawn_and_end(papa: FakePapa, **spec: Any) -> Reply:
        reply = await spawn(papa, **spec)
        if not first:
            first.append(reply.ok["id"])
            papa.write(reply.ok["id"], "out", b"brief\n")
            papa.end(reply.ok["id"], 3)
            papa.deliver()
        return reply

    monkeypatch.setattr(FakePapa, "spawn", spawn_and_end)

    async def run() -> None:
        async with bench.engine(WEB + bench.log_option("web.log")) as engine:
            await bench.until(lambda: first and len(bench.running()) == 1 and first[0] not in bench.ids())
            assert (bench.folder / "web.log").read_bytes() == b"brief\n"
            reaps = [event for event in engine.bus.recent if event.name == "reap"]
            assert [event.fields["exit_code"] for event in reaps] == [3]

    story(run)


@pytest.mark.parametrize("ends", [False, True])
def test_a_spawn_that_was_answered_too_late_is_found(bench: Bench, ends: bool) -> None:
    def trap(_number: int, op: str) -> str | None:
        return "late" if op == "spawn" and bench.requests.count("spawn") == 1 else None

    async def run() -> None:
        bench.trap = trap
        async with bench.engine(WEB) as engine:
            await bench.until(lambda: bench.papa.spawns)
            if ends:
                bench.papa.end("circus.web.1", 4)
            await bench.until(lambda: len(bench.papa.spawns) == 1 + ends)
            await bench.until_active(engine)
            assert len(bench.running()) == 1
            await engine.order(lambda op: events.Stop(op, ("web",)))
            assert bench.running() == set()
            await bench.until(lambda: not bench.papa.rows())

    story(run)


def test_a_process_is_looked_up_until_the_kernel_stays(bench: Bench) -> None:
    """Lost: the reply to the spawn, then the question what became of it, then the answer to the attachment."""
    ways = {("spawn", 1): "unanswered", ("list", 2): "unasked", ("attach", 1): "unanswered"}

    async def run() -> None:
        async with bench.engine(DB) as engine:
            await bench.until_active(engine)
            bench.trap = lambda _number, op: ways.pop((op, bench.requests.count(op)), None)
            bench.papa.end("circus.db.1", 0)
            await bench.until(lambda: not ways)
            await bench.until_active(engine)
            await bench.until(lambda: len(bench.papa.rows()) == 1 and len(engine.lives.hosted.of_watcher("db")) == 1)
            assert len(bench.papa.spawns) == 2
            assert reasons(engine, "db") == ""

    story(run)


def test_a_process_that_came_and_went_while_the_kernel_was_away_counts_once(bench: Bench) -> None:
    def trap(_number: int, op: str) -> str | None:
        return "unanswered" if op == "spawn" and bench.requests.count("spawn") == 1 else None

    async def run() -> None:
        bench.trap = trap
        bench.stays_away = True
        async with bench.engine(WEB + bench.log_option("web.log")) as engine:
            await bench.until(lambda: bench.papa.spawns and not bench.papa.is_connected)
            first = bench.papa.row("circus.web.1")
            bench.papa.write(first["id"], "out", b"unseen\n")
            bench.papa.end(first["id"], 6)
            bench.papa.come_back()
            await bench.until_replaced(first)
            await bench.until(lambda: first["id"] not in bench.ids())
            assert (bench.folder / "web.log").read_bytes() == b"unseen\n"
            reaps = [event for event in engine.bus.recent if event.name == "reap"]
            assert [event.fields["exit_code"] for event in reaps] == [6]

    story(run)


@pytest.mark.parametrize("how", ["late", "ignored"])
def test_an_acknowledgement_that_was_not_answered_is_made_again(bench: Bench, how: str) -> None:
    late: list[str] = []

    def trap(_number: int, op: str) -> str | None:
        if op != "commit" or late:
            return None
        late.append(op)
        return how

    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            bench.trap = trap
            first = bench.papa.row("circus.web.1")
            bench.papa.end(first["id"], 0)
            await bench.until(lambda: late and first["id"] not in bench.ids())
            await bench.until(lambda: engine.lives.hosted.by_id(first["id"]) is None)

    story(run)


def test_a_name_that_another_configuration_has_is_said_clearly(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB, "other.ini") as engine:
            await bench.until_active(engine)
            pid = bench.papa.row("circus.web.1")["pid"]
            bench.crash()
        for text in (WEB, WEB.replace("60", "99")):  # the very same program, and another one of that name
            async with bench.engine(text + "max_retry = 1\n" + DB) as engine:
                await bench.until(lambda: "already" in reasons(engine, "web"))
                said = reasons(engine, "web")
                assert f"circus.web.1 already: pid {pid}, started for {bench.folder / 'other.ini'}" in said
                assert "\n" not in said
                await bench.until(lambda: bench.named("circus.db.1"))
                assert pid in bench.running()
                bench.crash()

    story(run)


def test_a_name_that_somebody_else_has_is_said_clearly(bench: Bench) -> None:
    async def run() -> None:
        stranger = FakePapa(bench.papa.kernel, client="somebody")
        await stranger.spawn(name="circus.web.1", argv=["/bin/sleep", "1"], env={})
        async with bench.engine(WEB + "max_retry = 1\n") as engine:
            await bench.until(lambda: "not started by a circusd" in reasons(engine, "web"))
        await stranger.close()

    story(run)


def test_a_process_whose_circusd_died_before_the_reply_is_taken_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel reads the request after the next circusd has asked what there is."""

    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            pid = bench.papa.row("circus.web.1")["pid"]
            bench.crash()
        rows = FakePapa.list

        async def late_rows(papa: FakePapa, what: str, *patterns: str) -> list[dict[str, Any]]:
            return [] if what == "processes" else await rows(papa, what, *patterns)

        with monkeypatch.context() as patch:
            patch.setattr(FakePapa, "list", late_rows)
            async with bench.engine(WEB) as engine:
                await bench.until_active(engine)
                assert bench.running() == {pid}
                await engine.order(lambda op: events.Stop(op, ("web",)))
                assert bench.signals == [(pid, 15)]

    story(run)


def test_a_fault_of_ours_fails_the_spawn_and_not_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with bench.engine(WEB + "max_retry = 0\n" + DB) as engine:
            await bench.until_active(engine)
            monkeypatch.setattr(engine, "spawn_spec", lambda *_: 1 / 0)
            bench.papa.end("circus.web.1", 1)
            await bench.until(lambda: "traceback" in reasons(engine, "web"))
            await engine.shutdown()
            assert engine.may_leave.is_set()

    story(run)


def test_an_older_kernel_that_knows_no_bounds_of_streams_starts_the_process_without(bench: Bench) -> None:
    async def run() -> None:
        bench.papa.kernel.spawn_errors.append(PapaError("has fields that nobody knows: bounds", code="bad-request"))
        text = WEB + "stdout_stream.class = StdoutStream\nstdout_stream.buffer = 80k\n"
        async with bench.engine(text) as engine:
            await bench.until_active(engine)
            assert "bounds" not in bench.papa.spawns[0]
            (warning,) = [each for each in engine.snapshot().warnings if "papa upgrade" in each]
            assert "does not know buffer, overflow and stall" in warning

    story(run)


def test_a_process_that_only_the_kernel_has_lost_is_ended_and_replaced(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + "stop_signal = INT\n") as engine:
            await bench.until_active(engine)
            pid = await lose_one(bench)
            await bench.until(lambda: bench.named("circus.web.1"))
            await bench.until_active(engine)
            assert bench.signals == [(pid, 2)]
            assert bench.orphans == set()
            # A thread that still looks at the files closes them when it has come back.
            directory = bench.papa.kernel._directory
            await bench.until(
                lambda: not [path for path in open_files() if path.startswith(directory) and "/out (deleted)" in path]
            )

    story(run)


def test_a_lost_process_that_ignores_its_signal_is_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "LOOK_S", 0.005)

    async def run() -> None:
        async with bench.engine(WEB.replace("timeout = 5", "timeout = 0.02")) as engine:
            await bench.until_active(engine)
            bench.obeys = False
            pid = await lose_one(bench)
            await bench.until(lambda: bench.named("circus.web.1"))
            assert bench.signals == [(pid, 15), (pid, 9)]

    story(run)


def open_files() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return found


def test_two_watchers_whose_names_are_one_in_the_kernel_do_not_share_a_process(bench: Bench) -> None:
    async def run() -> None:
        text = WEB.replace("web]", "a b]") + WEB.replace("web]", "a_b]") + "max_retry = 0\n"
        async with bench.engine(text) as engine:
            await bench.until(lambda: "circus.a_b.1 already" in reasons(engine, "a_b"))
            assert len(engine.lives.hosted.of_watcher("a b")) == 1

    story(run)


def test_a_number_that_a_new_kernel_gives_again_is_another_process(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            (hosted,) = engine.lives.hosted
            hosted.pid += 1  # as if the kernel that comes back had begun to count anew
            bench.orphans.add(hosted.pid)
            bench.papa.lose()
            bench.papa.come_back()
            await bench.until(lambda: not bench.orphans)
            assert bench.signals == [(hosted.pid, 15)]

    story(run)


async def lose_one(bench: Bench) -> int:
    """The kernel forgets web's process, which runs on."""
    row = bench.papa.row("circus.web.1")
    bench.orphans.add(row["pid"])
    bench.papa.lose()
    other = FakePapa(bench.papa.kernel, client="somebody")
    await other.remove("processes", ids=[row["id"]])
    bench.papa.end(row["id"], 0)
    await other.close()
    bench.papa.come_back()
    pid: int = row["pid"]
    return pid
