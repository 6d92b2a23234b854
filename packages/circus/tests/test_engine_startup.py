"""What an earlier circusd left, compared with the file as it is now."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import DB, KEPT, TWO, WEB, Bench, opened, story

from circus.engine import startup
from circus.errors import CircusError
from circus.supervise import events
from papa.client.reply import Reply
from papa.testing import FakePapa

SOCKET = "[socket:front]\nhost = 127.0.0.1\nport = {port}\nbacklog = {backlog}\n"
#: out, err and index; the fake kernel has no pidfds.
STREAM_FILES = 3

SERVES = "[watcher:web]\ncmd = /bin/sleep $(circus.sockets.front)\ncopy_env = true\ngraceful_timeout = 5\n"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


def open_stream_files(bench: Bench) -> int:
    """Of this test's processes; those before may have left some."""
    directory = bench.papa.kernel._directory
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{fd}").startswith(directory)
    return count


async def left_by(bench: Bench, text: str) -> set[int]:
    """The processes that a crashed circusd of that file leaves."""
    async with bench.engine(text) as engine:
        await bench.until_active(engine)
        bench.crash()
    return bench.running()


async def until_running(bench: Bench, count: int) -> None:
    await bench.until(lambda: len(bench.running()) == count)


def test_a_watcher_may_change_the_case_of_its_name(bench: Bench) -> None:
    async def run() -> None:
        before = await left_by(bench, WEB)
        async with bench.engine(WEB.replace("watcher:web", "watcher:Web")) as engine:
            await bench.until_active(engine)
            assert [view.name for view in engine.snapshot().watchers] == ["Web"]
            assert engine.snapshot().drift == {}
            assert bench.running() == before

    story(run)


@pytest.mark.parametrize(("was", "is_now"), [(1, 3), (3, 1)])
def test_a_count_that_changed_in_the_file_is_reached_with_the_processes_there_are(
    bench: Bench, was: int, is_now: int
) -> None:
    async def run() -> None:
        before = await left_by(bench, WEB + f"numprocesses = {was}\n")
        async with bench.engine(WEB + f"numprocesses = {is_now}\n"):
            await bench.until(lambda: len(bench.running()) == is_now)
            assert len(before & bench.running()) == min(was, is_now)

    story(run)


def test_a_count_of_the_file_overrules_an_older_wish_for_good(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await engine.order(lambda op: events.SetCount(op, "web", count=4))
            bench.crash()
        for count in (2, 1):
            async with bench.engine(WEB + f"numprocesses = {count}\n") as engine:
                await until_running(bench, count)
                await engine.keeper.kept()
                bench.crash()

    story(run)


def test_what_was_started_by_hand_is_kept_whole(bench: Bench) -> None:
    """Adopted, although it is not to be started by itself; what is missing of it is started."""

    async def run() -> None:
        text = WEB + TWO + "autostart = false\n"
        async with bench.engine(text) as engine:
            await engine.order(lambda op: events.Start(op, ("web",)))
            bench.crash()
        bench.papa.end("circus.web.1", 0)
        async with bench.engine(text) as engine:
            await bench.until(lambda: len(bench.running()) == 2)
            await bench.until_active(engine)

    story(run)


def test_a_reload_by_name_starts_a_stopped_watcher_for_good(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await bench.until_active(engine)
            await engine.order(lambda op: events.Stop(op, ("web", "db")))
            await engine.order(lambda op: events.Reload(op, ("web",)))
            await engine.order(lambda op: events.Reload(op, None))
            bench.crash()
        async with bench.engine(WEB + DB) as engine:
            await bench.until(
                lambda: {view.state.value for view in engine.snapshot().watchers} == {"active", "stopped"}
            )
            assert engine.memory.is_stopped("db")
            assert not engine.memory.is_stopped("web")

    story(run)


def test_rows_that_no_circusd_wrote_are_left_alone(bench: Bench) -> None:
    async def run() -> None:
        stranger = FakePapa(bench.papa.kernel, client="somebody")
        for number, meta in enumerate([{}, {"circusd": "default"}, {"circusd": "default", "watcher": 7, "wid": "x"}]):
            await stranger.spawn(name=f"strange.{number}", argv=["/bin/sleep", "1"], env={}, meta=meta)
        await stranger.close()
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            await engine.shutdown()
            assert len(bench.running()) == 3

    story(run)


def test_ended_processes_of_another_file_stay_for_their_own_circusd(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(DB, "other.ini") as engine:
            await bench.until_active(engine)
            bench.crash()
        other = bench.papa.row("circus.db.1")["id"]
        bench.papa.end(other, 5)
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            bench.go_away()
            await bench.until(lambda: not engine.link.trouble)
            await engine.shutdown()
            await engine.close()
            assert bench.ids() == {other}

    story(run)


def test_a_return_of_the_kernel_before_the_start_touches_nothing(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            engine.is_started = False
            await bench.until_active(engine)
            bench.trap = lambda _number, _op: None
            await startup.reattach(engine)
            assert bench.requests == []

    story(run)


def test_a_process_that_goes_while_all_are_attached_is_no_hindrance(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with bench.engine(WEB + TWO) as engine:
            await bench.until_active(engine)
            first = bench.papa.row("circus.web.1")
            attach = FakePapa.attach

            async def forgetful(papa: FakePapa, kernel_id: int, **args: Any) -> Reply:
                if kernel_id == first["id"] and first["id"] in bench.ids():
                    await papa.remove("processes", ids=[kernel_id])
                    bench.papa.end(kernel_id, 0)
                return await attach(papa, kernel_id, **args)

            monkeypatch.setattr(FakePapa, "attach", forgetful)
            bench.go_away()
            await bench.until(lambda: not engine.link.trouble)
            await bench.until(lambda: len(bench.running()) == 2)

    story(run)


def test_descriptors_of_a_start_that_is_begun_anew_are_closed(bench: Bench) -> None:
    async def run() -> None:
        await left_by(bench, WEB + TWO)
        bench.trap = lambda _number, op: (
            "unasked" if op == "attach" and bench.requests.count("attach") in (2, 4, 6) else None
        )
        async with bench.engine(WEB + TWO) as engine:
            await bench.until_active(engine)
            assert bench.requests.count("attach") == 8
            # Of each process one of the kernel and one of circusd; the one before may be closing its own.
            await bench.until(lambda: open_stream_files(bench) == 2 * 2 * STREAM_FILES)

    story(run)


def test_sockets_that_the_kernel_lost_are_opened_again(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(SOCKET.format(port=0, backlog=7) + SERVES) as engine:
            await bench.until_active(engine)
            bench.papa.lose()
            other = FakePapa(bench.papa.kernel, client="somebody")
            await other.remove("sockets", names=["circus.front"])
            bench.papa.come_back()
            await bench.until(lambda: not engine.link.trouble)
            assert [row["name"] for row in await other.list("sockets")] == ["circus.front"]
            await other.close()

    story(run)


def test_one_that_was_being_stopped_by_hand_is_not_restarted_by_a_change_of_the_file(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            engine.memory.remember_stopped({"web"}, stopped=True)
            await engine.keeper.kept()
            bench.crash()
        async with bench.engine(WEB.replace("60", "99")) as engine:
            await bench.until(lambda: not bench.running() and not engine.snapshot().watchers[0].wants_up)
            assert len(bench.papa.spawns) == 1

    story(run)


def test_a_kernel_that_does_not_come_back_ends_the_start(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "PATIENCE_S", 0.02)

    async def run() -> None:
        bench.papa.lose()
        with pytest.raises(CircusError, match=r"is not back after 0\.02 s"):
            async with bench.engine(WEB):
                pass

    story(run)


# Sockets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [0, 28123])
def test_a_socket_that_changed_is_made_anew_and_its_users_are_replaced(bench: Bench, port: int) -> None:
    async def run() -> None:
        before = await left_by(bench, SOCKET.format(port=port, backlog=7) + SERVES + DB)
        db = bench.papa.row("circus.db.1")["pid"]
        async with bench.engine(SOCKET.format(port=port, backlog=9) + SERVES + DB) as engine:
            await bench.until(lambda: len(bench.running() - before) == 1 and len(bench.running()) == 2)
            await bench.until_active(engine)
            assert db in bench.running()
            (row,) = await bench.papa.list("sockets")
            assert row["backlog"] == 9
            assert engine.snapshot().sockets[0]["backlog"] == 9

    story(run)


def test_users_of_a_changed_socket_that_ended_wait_for_the_new_one(bench: Bench) -> None:
    async def run() -> None:
        await left_by(bench, SOCKET.format(port=28127, backlog=7) + SERVES)
        bench.papa.end("circus.web.1", 0)
        async with bench.engine(SOCKET.format(port=28127, backlog=9) + SERVES) as engine:
            await bench.until_active(engine)
            assert len(bench.papa.spawns) == 2

    story(run)


def test_users_of_a_changed_socket_that_did_not_run_are_not_started(bench: Bench) -> None:
    async def run() -> None:
        serves = SERVES + "autostart = false\n"
        async with bench.engine(SOCKET.format(port=0, backlog=7) + serves + DB):
            bench.crash()
        async with bench.engine(SOCKET.format(port=0, backlog=9) + serves + DB):
            await bench.until(lambda: bench.named("circus.db.1"))
            while [row["backlog"] for row in await bench.papa.list("sockets")] != [9]:
                pass
            assert bench.named("circus.web.1") is None

    story(run)


def test_a_socket_of_another_configuration_is_left_alone(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(SOCKET.format(port=0, backlog=7) + DB, "other.ini"):
            bench.crash()
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            assert len(await bench.papa.list("sockets")) == 1

    story(run)


def test_a_port_that_both_share_need_not_be_free(bench: Bench) -> None:
    async def run() -> None:
        shared = SOCKET + "so_reuseport = true\n"
        async with bench.engine(shared.format(port=28128, backlog=7) + SERVES + DB) as engine:
            await bench.until_active(engine)
            (new,) = engine.config.sockets
            assert not engine.sockets.must_be_free(new)
            assert engine.sockets.must_be_free(replace(new, so_reuseport=False))
            assert not engine.sockets.must_be_free(replace(new, so_reuseport=False, port=0))

    story(run)


def test_a_socket_that_the_file_lost_is_closed(bench: Bench) -> None:
    async def run() -> None:
        await left_by(bench, SOCKET.format(port=0, backlog=7) + DB + KEPT)
        async with bench.engine(DB + KEPT) as engine:
            await bench.until_active(engine)
            assert await bench.papa.list("sockets") == []

    story(run)


def test_a_start_that_fails_leaves_no_socket_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(host: str, *_: object, **__: object) -> list[object]:
        if host == "nowhere":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", find)

    async def run() -> None:
        text = "[socket:one]\nport = 0\n[socket:two]\nhost = nowhere\nport = 0\n"
        with pytest.raises(CircusError, match="socket two: host 'nowhere' has no address: Name or service not known"):
            async with bench.engine(text + WEB):
                pass
        assert await bench.papa.list("sockets") == []

    story(run)


def test_a_watcher_that_became_a_singleton_has_one_process_whatever_was_ordered_before(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + KEPT) as engine:
            await bench.until_active(engine)
            await engine.order(lambda op: events.SetCount(op, "web", count=3))
            await bench.until(lambda: len(bench.running()) == 3)
            await engine.quit()
            bench.crash()
        async with bench.engine(WEB + KEPT + "singleton = true\n") as engine:
            await bench.until(lambda: len(bench.running()) == 1)
            assert [view.numprocesses for view in engine.snapshot().watchers] == [1]
            assert engine.options("web")["numprocesses"] == 1

    story(run)
