"""Clients that are connected while the kernel is killed get on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from packages.papa.tests.instants import tracing, world
from packages.papa.tests.instants.world import Child, World

import papa
from papa.client.aio import AsyncPapa
from papa.errors import PapaError

pytestmark = [pytest.mark.needs("strace"), pytest.mark.timeout(300)]

#: Calls of a kernel that takes output in, tells of it, and is told how far it was read.
WHILE_IT_FLOWS = [
    ("epoll_wait", 2), ("pwrite64", 1), ("splice", 1), ("splice", 2), ("sendto", 1), ("recvfrom", 1), ("pwrite64", 2),
    ("sendto", 2), ("pwrite64", 4), ("fallocate", 1), ("ioctl", 1), ("recvfrom", 3), ("sendto", 3),
]  # fmt: skip

PIECE = 40_000


class Follower:
    """An asyncio client that reads one process's output, wherever the kernel was killed."""

    def __init__(self, client: AsyncPapa, child: Child) -> None:
        self.client = client
        self.child = child
        self.data = b""
        self.losses = 0
        self._file = -1
        self._news = asyncio.Event()
        client.on_event = lambda _name, _fields: self._news.set()
        client.on_back = self._on_back

    async def read(self, size: int) -> None:
        """Until so much was read and acknowledged."""
        acked = 0
        while acked < size:
            self._news.clear()
            try:
                if self._file < 0:
                    reply = await self.client.attach(self.child.id, owner="follower", fds=True)
                    self._file = reply.fds.pop("out")
                    reply.close_fds()
                # A file's size is what there is, and it begins at the offset that we have come to.
                while chunk := os.pread(self._file, 7_000, len(self.data)):
                    self.data += chunk
                seen = [(self.child.id, len(self.data), None)]
                await self.client.commit(acks=[(self.child.id, "out", len(self.data))], seen=seen)
                acked = len(self.data)
                if acked >= size:
                    return
            except PapaError as error:
                assert error.code == "lost"
                if self.client.is_connected:
                    continue
            await asyncio.wait_for(self._news.wait(), world.PATIENCE_S)

    def _on_back(self) -> None:
        """To the new kernel this is nobody's owner: it must attach again to be told of anything."""
        self.losses += 1
        self.close()
        self._news.set()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def test_an_asyncio_client_goes_on_where_it_was(place: World) -> None:
    child = place.child()
    place.spawn(child)

    async def follow() -> None:
        client = await AsyncPapa.connect(client="follower", autostart=False)
        follower = Follower(client, child)
        await follower.read(0)
        for instant in WHILE_IT_FLOWS:
            tracer = tracing.Tracer(client.hello["pid"], instant, place.folder.parent / "strace")
            child.write("out", PIECE)
            await follower.read(child.written["out"])
            tracer.detach()
        follower.close()
        assert follower.data == world.numbered(0, child.written["out"])
        assert follower.losses > 0
        await client.close()

    asyncio.run(follow())
    place.come_back()
    place.check()
    assert place.streams_of(child)["out"]["acked"] == child.written["out"]
    place.forget(child)
    place.check_leaks()


def test_a_blocking_client_goes_on_with_its_next_call(place: World) -> None:
    with papa.Papa() as client:
        for number, instant in enumerate([("recvfrom", 1), ("pwrite64", 1), ("sendto", 1)]):
            client.set("mine", f"{number} before")
            pid = place.connection.hello["pid"]
            tracer = tracing.Tracer(pid, instant, place.folder.parent / "strace")
            with pytest.raises(papa.Error, match="Lost connection"):
                client.set("mine", f"{number} after")
            world.wait_for(lambda pid=pid: tracing.is_dead(pid), "the death of the kernel")
            tracer.detach()
            # Set was it, or not; what is asked next is answered.
            is_set = instant[0] == "sendto"
            assert client.get("mine") == f"{number} {'after' if is_set else 'before'}"
            assert set(client.list_processes()) == {child.name for child in place.told.values()}
            place.come_back()
    place.ask("set", name="mine", value=None)
    place.check()
    place.check_leaks()


def test_a_watcher_misses_nothing_and_doubles_only_what_it_never_acknowledged(place: World) -> None:
    child = place.child(stderr="null")
    place.spawn(child)
    seen = acknowledged = 0
    for instant in WHILE_IT_FLOWS:
        tracer = tracing.Tracer(place.pid, instant, place.folder.parent / "strace")
        child.write("out", PIECE)
        while acknowledged < child.written["out"]:
            try:
                with papa.Papa() as client:
                    watcher = client.watch_processes(child.name)
            except papa.Error as error:
                assert "Lost connection" in str(error)
                continue
            at = None
            try:
                while acknowledged < child.written["out"]:
                    out, err, closed = watcher.read()
                    data = b"".join(piece.data for piece in out)
                    if at is None and data:
                        # The one before was killed over its acknowledgement, or lost it.
                        at = acknowledged if data == world.numbered(acknowledged, acknowledged + len(data)) else seen
                    if data:
                        assert data == world.numbered(at, at + len(data))
                        at = seen = at + len(data)
                    assert not err and not closed
                    watcher.acknowledge()
                    acknowledged = seen
            except papa.Error as error:
                assert "Lost connection" in str(error)
            finally:
                watcher.close()
            if place_acked(place, child) == seen:
                acknowledged = seen
        tracer.detach()
    place.check()
    place.forget(child)
    place.check_leaks()


def place_acked(place: World, child: Child) -> int:
    place.come_back()
    return int(place.streams_of(child)["out"]["acked"])


def test_ends_are_told_once_and_right(place: World, tmp_path: Path) -> None:
    for instant in [("waitid", 1), ("renameat", 1), ("recvfrom", 1), ("unlinkat", 1), ("sendto", 2), ("pwrite64", 2)]:
        child = place.child()
        place.spawn(child)
        child.write("out", 1_600)
        world.wait_for(lambda child=child: place.has_taken_all(child), "its output")
        tracer = tracing.Tracer(place.pid, instant, place.folder.parent / "strace")
        child.hang_up()
        ends: list[int] = []
        while True:
            try:
                with papa.Papa() as client, client.watch_processes(child.name) as watcher:
                    _, _, closed = watcher.read()
                    while not closed:
                        _, _, closed = watcher.read()
                    watcher.acknowledge()
                    ends += [end.data for end in closed]
                    break
            except papa.Error as error:
                if "not found" in str(error):
                    # Its acknowledgement counted, though nobody was told so any more.
                    ends += [end.data for end in closed]
                    break
                assert "Lost connection" in str(error)
        tracer.detach()
        assert ends == [42]
        place.told.pop(child.id)
        place.bury(child)
        place.come_back()
        place.check()
    place.check_leaks()
