from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

from papa.client.output import Overtaken, StreamFiles
from papa.errors import PapaError
from papa.testing import FakeKernel, FakePapa
from papa.testing.kernel import NO_USE


@pytest.fixture
def papa() -> Iterator[FakePapa]:
    before = len(os.listdir("/proc/self/fd"))
    with FakePapa() as made:
        made.on_event = lambda name, fields: events(made).append((name, fields))
        yield made
    assert len(os.listdir("/proc/self/fd")) == before


def events(papa: FakePapa) -> list[tuple[str, dict[str, Any]]]:
    """What was told so far."""
    told: list[tuple[str, dict[str, Any]]] = papa.__dict__.setdefault("told", [])
    return told


async def spawn(papa: FakePapa, name: str = "web", **spec: Any) -> dict[str, Any]:
    reply = await papa.spawn(**{"name": name, "argv": ["server"], "env": {}, "owner": "me", **spec})
    reply.close_fds()
    return reply.ok


async def open_files(papa: FakePapa, kernel_id: int) -> StreamFiles:
    return StreamFiles((await papa.attach(kernel_id, fds=True)).fds)


def test_output_is_read_committed_and_gone(papa: FakePapa) -> None:
    async def main() -> None:
        row = await spawn(papa)
        with await open_files(papa, row["id"]) as files:
            assert papa.write("web", "out", b"hello\n") == 6
            await asyncio.sleep(0)
            assert events(papa) == [("output", {"items": [[row["id"], 6, 0]]})]
            assert files.pread("out", 0, 10) == b"hello\n"
            assert files.stamps("out", 0, 6) == [(0, papa.clock.wall_ns(), papa.clock.boot_ns())]
            await papa.commit(acks=[(row["id"], "out", 6)])
            assert files.low("out") == 6
            assert files.dropped("out") == 0
        assert papa.commits == [{"acks": [[row["id"], "out", 6]], "exits": [], "values": {}, "seen": []}]

    asyncio.run(main())


def test_an_end_is_told_after_the_output_and_its_entry_goes_when_all_is_acknowledged(papa: FakePapa) -> None:
    async def main() -> None:
        row = await spawn(papa)
        papa.write("web", "err", b"bye")
        papa.end("web", -15)
        await asyncio.sleep(0)
        assert [name for name, _ in events(papa)] == ["output", "eof", "eof", "exit"]
        assert events(papa)[-1][1] == {
            "id": row["id"], "status": -15, "at": papa.clock.wall(), "heads": {"out": 0, "err": 3}, **NO_USE,
        }  # fmt: skip
        await papa.commit(exits=[row["id"]])
        assert papa.row("web")["running"] is False
        await papa.commit(acks=[(row["id"], "err", 3)])
        assert papa.rows() == []

    asyncio.run(main())


def test_a_grandchild_keeps_streams_open(papa: FakePapa) -> None:
    async def main() -> None:
        row = await spawn(papa)
        papa.end("web", 1, keep_open=True)
        papa.write("web", "out", b"late")
        await papa.commit(exits=[row["id"]], acks=[(row["id"], "out", 4)])
        assert papa.row("web")["streams"]["out"]["open"] is True
        papa.eof("web", "err")
        papa.eof("web")
        assert papa.rows() == []

    asyncio.run(main())


def test_a_new_manager_finds_everything_where_the_old_one_left_it(papa: FakePapa) -> None:
    async def main() -> None:
        row = await spawn(papa)
        papa.write("web", "out", b"abc")
        await papa.commit(acks=[(row["id"], "out", 1)], values={"position": "1"})
        papa.end("web", 3)
        new = papa.restart_client()
        told: list[tuple[str, dict[str, Any]]] = []
        new.on_event = lambda name, fields: told.append((name, fields))
        with pytest.raises(PapaError) as caught:
            await papa.get("position")
        assert caught.value.code == "lost"
        assert await new.get("position") == "1"
        row = (await new.attach(row["id"], owner="me")).ok
        assert (row["exit"]["status"], row["streams"]["out"]["acked"]) == (3, 1)
        await asyncio.sleep(0)
        assert [name for name, _ in told] == ["exit", "output"]
        await new.close()

    asyncio.run(main())


def test_a_spawn_can_be_made_to_fail_once(papa: FakePapa) -> None:
    async def main() -> None:
        papa.fail_next_spawn(PapaError("web: no", code="spawn-failed", details={"stage": "exec", "errno": 2}))
        with pytest.raises(PapaError) as caught:
            await spawn(papa)
        assert caught.value.details == {"stage": "exec", "errno": 2}
        await spawn(papa)
        assert [spec["name"] for spec in papa.spawns] == ["web"]

    asyncio.run(main())


def test_a_forced_gap_overtakes_the_reader(papa: FakePapa) -> None:
    async def main() -> None:
        row = await spawn(papa)
        with await open_files(papa, row["id"]) as files:
            papa.write("web", "out", b"0123456789")
            papa.drop_oldest("web", "out", 4)
            with pytest.raises(Overtaken) as caught:
                files.pread("out", 0, 10)
            assert (caught.value.new_low, files.dropped("out")) == (4, 4)
            with pytest.raises(PapaError) as refused:
                await papa.commit(acks=[(row["id"], "out", 3)])
            assert refused.value.code == "overtaken"
            assert refused.value.details == {"streams": [[row["id"], "out", 4]]}

    asyncio.run(main())


def test_a_full_buffer_slows_a_process_down_until_its_reader_counts_as_none(papa: FakePapa) -> None:
    async def main() -> None:
        row = await spawn(papa, bound=100_000)
        papa.write("web", "out", b"x" * 300_000)
        head = papa.row("web")["streams"]["out"]["head"]
        assert head < 200_000
        papa.end("web", 0)
        assert papa.row("web")["running"], "its last output is still in the pipe"
        papa.clock.advance(1.0)
        stream = papa.row(row["id"])["streams"]["out"]
        assert stream["head"] == 300_000
        assert 0 < stream["dropped"] == stream["low"]
        assert not papa.row("web")["running"]

    asyncio.run(main())


def test_a_lost_connection_comes_back_as_nobodys_owner(papa: FakePapa) -> None:
    async def main() -> None:
        row = await spawn(papa)
        calls: list[str] = []
        papa.on_lost = lambda: calls.append("lost")
        papa.on_back = lambda: calls.append("back")
        papa.lose()
        assert not papa.is_connected
        with pytest.raises(PapaError) as caught:
            await papa.status()
        assert caught.value.code == "lost"
        papa.post("more", seen=[])
        papa.come_back()
        assert calls == ["lost", "back"]
        assert papa.row("web")["owner"] is None
        assert (await papa.attach(row["id"], owner="me")).ok["owner"] == "me"

    asyncio.run(main())


def test_notices_come_once_until_they_are_armed_again(papa: FakePapa) -> None:
    async def main() -> None:
        row = await spawn(papa)
        papa.write("web", "out", b"a")
        papa.write("web", "out", b"b")
        await asyncio.sleep(0)
        assert events(papa) == [("output", {"items": [[row["id"], 1, 0]]})]
        papa.post("more", seen=[[row["id"], 1, 0]])
        await asyncio.sleep(0)
        assert events(papa)[1:] == [("output", {"items": [[row["id"], 2, 0]]})]

    asyncio.run(main())


def test_pids_are_beyond_those_of_real_processes(papa: FakePapa) -> None:
    async def main() -> None:
        row = await spawn(papa)
        with pytest.raises(ProcessLookupError):
            os.kill(row["pid"], 0)

    asyncio.run(main())


def test_synchronous_tests_deliver_events_themselves(papa: FakePapa) -> None:
    asyncio.run(spawn(papa))
    papa.write("web", "out", b"a")
    assert events(papa) == []
    papa.deliver()
    assert [name for name, _ in events(papa)] == ["output"]


def test_two_faces_share_one_kernel() -> None:
    async def main() -> None:
        kernel = FakeKernel()
        one, two = FakePapa(kernel), FakePapa(kernel, client="two")
        row = await spawn(one)
        with pytest.raises(PapaError) as caught:
            await two.attach(row["id"], owner="somebody-else")
        assert caught.value.code == "owned"
        await one.close()
        await two.attach(row["id"], owner="somebody-else")
        kernel.close()

    asyncio.run(main())
