"""The engine on a fake kernel: what is ordered and what happens become processes, exits and memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workbench import DB, KEPT, TWO, WEB, Bench, opened, story

from circus.errors import CircusError
from circus.supervise import events
from papa.errors import PapaError
from papa.testing import FakePapa


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


def test_every_watcher_is_started(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + TWO + DB) as engine:
            await bench.until_active(engine)
            names = {row["name"] for row in bench.papa.rows()}
            assert names == {"circus.web.1", "circus.web.2", "circus.db.1"}
            assert bench.papa.row("circus.web.1")["meta"]["watcher"] == "web"

    story(run)


def test_an_exit_is_followed_at_once_and_acknowledged_after_its_output(bench: Bench) -> None:
    async def run() -> None:
        log = "stdout_stream.class = FileStream\nstdout_stream.filename = " + str(bench.folder / "web.log") + "\n"
        async with bench.engine(WEB + log) as engine:
            await bench.until_active(engine)
            first = bench.papa.row("circus.web.1")
            bench.papa.write(first["id"], "out", b"last words\n")
            bench.papa.end(first["id"], 3)
            await bench.until_replaced(first)
            await bench.until(lambda: first["id"] not in {row["id"] for row in bench.papa.rows()})
            assert (bench.folder / "web.log").read_bytes() == b"last words\n"

    story(run)


def test_a_spawn_that_fails_is_said_and_strands_nobody(bench: Bench) -> None:
    async def run() -> None:
        for _ in range(3):
            bench.papa.fail_next_spawn(PapaError("web: no such file (stage exec)", code="spawn-failed"))
        async with bench.engine(WEB + "priority = 9\nmax_retry = 2\n" + DB) as engine:
            await bench.until(
                lambda: {view.state.value for view in engine.snapshot().watchers} == {"stopped", "active"}
            )
            (web,) = [view for view in engine.snapshot().watchers if view.name == "web"]
            assert "stage exec" in web.reason + "".join(slot.reason for slot in web.slots)

    story(run)


def test_quit_leaves_what_outlives_it_and_the_next_one_takes_over(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + KEPT + DB) as engine:
            await bench.until_active(engine)
            kept = bench.papa.row("circus.web.1")["pid"]
            await engine.quit()
            await engine.may_leave.wait()
            assert bench.running() == {kept}
        spawned = len(bench.papa.kernel.spawns)
        bench.crash()
        async with bench.engine(WEB + KEPT + DB) as engine:
            await bench.until_active(engine)
            assert bench.papa.row("circus.web.1")["pid"] == kept
            assert len(bench.papa.kernel.spawns) == spawned + 1

    story(run)


def test_a_crash_leaves_both_kinds_to_the_next_one(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + KEPT + DB + TWO) as engine:
            await bench.until_active(engine)
            before = bench.running()
            bench.crash()
        async with bench.engine(WEB + KEPT + DB + TWO) as engine:
            await bench.until_active(engine)
            assert bench.running() == before

    story(run)


def test_one_that_ended_while_nobody_was_there_is_settled_and_followed(bench: Bench) -> None:
    async def run() -> None:
        log = "stdout_stream.class = FileStream\nstdout_stream.filename = " + str(bench.folder / "web.log") + "\n"
        async with bench.engine(WEB + log) as engine:
            await bench.until_active(engine)
            bench.crash()
        first = bench.papa.row("circus.web.1")
        bench.papa.write(first["id"], "out", b"nobody listens\n")
        bench.papa.end(first["id"], 1)
        async with bench.engine(WEB + log) as engine:
            await bench.until_active(engine)
            await bench.until(lambda: first["id"] not in {row["id"] for row in bench.papa.rows()})
            assert len(bench.running()) == 1
            assert (bench.folder / "web.log").read_bytes() == b"nobody listens\n"

    story(run)


def test_one_that_ended_does_not_hide_its_successor(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            first = bench.papa.row("circus.web.1")
            bench.papa.end(first["id"], 1, keep_open=True)
            await bench.until_replaced(first)
            bench.crash()
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            second = bench.papa.row("circus.web.1")["pid"]
            await engine.order(lambda op: events.Stop(op, ("web",)))
            assert bench.signals == [(second, 15)]

    story(run)


def test_what_was_changed_in_the_file_meanwhile_is_applied(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await bench.until_active(engine)
            web, db = (bench.papa.row(f"circus.{name}.1")["pid"] for name in ("web", "db"))
            bench.crash()
        async with bench.engine(WEB.replace("60", "99") + DB) as engine:
            await bench.until(lambda: web not in bench.running() and len(bench.running()) == 2)
            assert bench.papa.row("circus.db.1")["pid"] == db
            await bench.until(lambda: engine.snapshot().drift == {})

    story(run)


def test_a_watcher_that_the_file_lost_is_stopped_with_its_own_signal(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + "stop_signal = INT\n" + DB) as engine:
            await bench.until_active(engine)
            pid = bench.papa.row("circus.web.1")["pid"]
            bench.crash()
        async with bench.engine(DB) as engine:
            await bench.until(lambda: pid not in bench.running())
            assert bench.signals == [(pid, 2)]
            await bench.until(lambda: [view.name for view in engine.snapshot().watchers] == ["db"])

    story(run)


def test_processes_of_another_file_are_listed_and_never_touched(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB, "other.ini") as engine:
            await bench.until_active(engine)
            pid = bench.papa.row("circus.web.1")["pid"]
            bench.crash()
        async with bench.engine(DB) as engine:
            await bench.until_active(engine)
            assert [row["pid"] for row in engine.snapshot().foreign] == [pid]
            await engine.shutdown()
            assert bench.running() == {pid}

    story(run)


def test_a_count_ordered_by_hand_is_remembered(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            finish = await engine.order(lambda op: events.SetCount(op, "web", delta=2))
            assert finish.detail["numprocesses"] == 3
            await bench.until(lambda: len(bench.running()) == 3)
            before = bench.running()
            bench.crash()
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            assert bench.running() == before

    story(run)


def test_a_watcher_stopped_by_hand_is_not_started_again(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await bench.until_active(engine)
            await engine.order(lambda op: events.Stop(op, ("web",)))
            bench.crash()
        async with bench.engine(WEB + DB) as engine:
            await bench.until(lambda: engine.snapshot().watchers[0].state.value == "active")
            assert {view.name: view.state.value for view in engine.snapshot().watchers} == {
                "db": "active",
                "web": "stopped",
            }

    story(run)


def test_a_lost_connection_is_noticed_by_nobody(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + TWO) as engine:
            await bench.until_active(engine)
            first, second = (bench.papa.row(f"circus.web.{wid}") for wid in (1, 2))
            bench.papa.lose()
            assert "papa" in " ".join(engine.snapshot().warnings)
            bench.papa.end(first["id"], 1)
            bench.papa.come_back()
            await bench.until_replaced(first)
            await bench.until_active(engine)
            assert bench.papa.row("circus.web.2")["pid"] == second["pid"]
            assert engine.snapshot().warnings == ()

    story(run)


def test_a_process_that_the_kernel_lost_is_started_anew(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            first = bench.papa.row("circus.web.1")
            bench.papa.lose()
            other = FakePapa(bench.papa.kernel, client="somebody")
            await other.remove("processes", ids=[first["id"]])
            bench.papa.end(first["id"], 0)
            await other.close()
            bench.papa.come_back()
            await bench.until(
                lambda: (
                    [row["id"] for row in bench.papa.rows() if row["name"] == "circus.web.1"] not in ([], [first["id"]])
                )
            )

    story(run)


def test_a_process_that_ignores_its_signal_is_killed_when_the_grace_is_over(bench: Bench) -> None:
    async def run() -> None:
        bench.obeys = False
        async with bench.engine(WEB.replace("timeout = 5", "timeout = 0.05")) as engine:
            await bench.until_active(engine)
            pid = bench.papa.row("circus.web.1")["pid"]
            finish = await engine.order(lambda op: events.Stop(op, ("web",)))
            assert finish.ok
            assert bench.signals == [(pid, 15), (pid, 9)]

    story(run)


def test_reloadconfig_touches_only_what_changed(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await bench.until_active(engine)
            web, db = (bench.papa.row(f"circus.{name}.1")["pid"] for name in ("web", "db"))
            new = "[watcher:new]\ncmd = /bin/sleep 62\n"
            (bench.folder / "circus.ini").write_text(WEB + TWO + new)
            changes = (await engine.reloadconfig()).changes
            assert (changes.add, changes.remove) == (("new",), ("db",))
            await bench.until_active(engine)
            assert web in bench.running()
            assert db not in bench.running()
            assert len(bench.running()) == 3

    story(run)


def test_a_wrong_file_changes_nothing(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            before = bench.running()
            (bench.folder / "circus.ini").write_text("[watcher:web]\ncmd = /no/such/program\n")
            with pytest.raises(CircusError, match="/no/such/program"):
                await engine.reloadconfig()
            assert bench.running() == before
            assert engine.options("web")["cmd"] == "/bin/sleep 60"

    story(run)


def test_a_vetoed_signal_is_not_sent_but_the_kill_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.folder / "veto_hooks.py").write_text("def veto(**_):\n    return False\n")
    monkeypatch.syspath_prepend(str(bench.folder))

    async def run() -> None:
        hook = "hooks.before_signal = veto_hooks.veto\n"
        async with bench.engine(WEB.replace("timeout = 5", "timeout = 0.05") + hook) as engine:
            await bench.until_active(engine)
            pid = bench.papa.row("circus.web.1")["pid"]
            await engine.order(lambda op: events.Stop(op, ("web",)))
            assert bench.signals == [(pid, 9)]

    story(run)


def test_a_refused_process_is_stopped_with_its_watcher(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.folder / "refusing_hooks.py").write_text("def refuse(pid, **_):\n    return False\n")
    monkeypatch.syspath_prepend(str(bench.folder))

    async def run() -> None:
        async with bench.engine(WEB + "hooks.after_spawn = refusing_hooks.refuse\n") as engine:
            await bench.until(lambda: bench.signals)
            await bench.until(lambda: engine.snapshot().watchers[0].state.value == "stopped")
            assert bench.running() == set()

    story(run)


def test_sockets_are_named_in_the_kernel_and_in_the_command(bench: Bench) -> None:
    async def run() -> None:
        socket = "[socket:Hello]\nhost = 127.0.0.1\nport = 0\n"
        async with bench.engine(WEB.replace("60", "60 $(circus.sockets.hello)") + socket) as engine:
            await bench.until_active(engine)
            assert [row["name"] for row in engine.snapshot().sockets] == ["circus.hello"]
            assert bench.papa.kernel.spawns[0]["argv"] == ["/bin/sleep", "60", "$(socket.circus.hello.fileno)"]

    story(run)


def test_stats_of_an_unknown_pid_is_an_error(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            with pytest.raises(CircusError, match="no watcher has a process 1"):
                await engine.stats(pid=1)
            assert list(await engine.stats()) == ["web"]

    story(run)


def test_at_the_end_nothing_of_ours_stays_in_an_empty_kernel(bench: Bench) -> None:
    async def run() -> None:
        socket = "[socket:hello]\nhost = 127.0.0.1\nport = 0\n"
        async with bench.engine(WEB + socket) as engine:
            await bench.until_active(engine)
            await engine.shutdown()
            await engine.close()
        assert bench.papa.rows() == []

    story(run)


def test_a_wish_is_remembered_before_it_has_come_true(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await bench.until_active(engine)
            bench.obeys = False
            stop = asyncio.ensure_future(engine.order(lambda op: events.Stop(op, ("web",))))
            await bench.until(lambda: engine.memory.is_stopped("web"))
            assert not stop.done()
            stop.cancel()
            bench.crash()

    story(run)


def test_a_wish_is_remembered_although_a_process_could_not_be_started(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + "max_retry = 1\n") as engine:
            await bench.until_active(engine)
            bench.papa.fail_next_spawn(PapaError("no memory (stage fork)", code="spawn-failed"))
            finish = await engine.order(lambda op: events.SetCount(op, "web", delta=1))
            assert not finish.ok
            assert engine.memory.count("web", 1) == 2
            await engine.order(lambda op: events.Stop(op, ("web",)))
            bench.papa.fail_next_spawn(PapaError("no memory (stage fork)", code="spawn-failed"))
            finish = await engine.order(lambda op: events.Start(op, ("web",)))
            assert not finish.ok
            assert not engine.memory.is_stopped("web")

    story(run)


def test_an_order_that_is_refused_is_not_remembered(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            assert not (await engine.order(lambda op: events.Stop(op, ("web", "none")))).ok
            await engine.quit()
            assert not (await engine.order(lambda op: events.SetCount(op, "web", delta=1))).ok
            assert not engine.memory.path.exists()

    story(run)
