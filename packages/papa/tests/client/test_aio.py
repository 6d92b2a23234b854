from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from papa import fdpass
from papa.client import aio
from papa.client.aio import AsyncPapa
from papa.client.calls import Answer
from papa.errors import PapaError
from papa.wire import messages
from papa.wire.frames import FrameDecoder

GREETING = b'Papa is home. Type "help" for commands.\n> '
SWITCH = b"frames 1\n"


class Peer:
    """One accepted connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self._decoder = FrameDecoder()
        self._line = b""
        self._has_switched = False

    async def greet(self, *, hello: dict[str, Any] | None = None) -> None:
        """Everything up to the reply to hello."""
        await self.send(GREETING)
        await self.send(SWITCH)
        request = await self.request()
        assert request.op == "hello"
        await self.reply(request, {"papa": "2", "protocol": 1, "pid": 1, **(hello or {})})

    async def request(self) -> messages.Request:
        while True:
            if self._has_switched and (frame := self._decoder.next_frame()) is not None:
                return messages.parse_request(*frame)
            data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
            if not data:
                raise EOFError
            if not self._has_switched:
                self._line += data
                line, newline, data = self._line.partition(b"\n")
                if not newline:
                    continue
                assert line + newline == SWITCH
                self._has_switched = True
            self._decoder.feed(data)

    async def reply(self, request: messages.Request, ok: dict[str, Any], *, fds: dict[str, int] | None = None) -> None:
        assert request.id is not None
        await self.send(messages.encode_reply(request.id, ok, fds=list(fds or {})), list((fds or {}).values()))

    async def refuse(self, request: messages.Request, error: Any) -> None:
        assert request.id is not None
        await self.send(messages.encode_error(request.id, error))

    async def event(self, name: str, **fields: Any) -> None:
        await self.send(messages.encode_event(name, fields))

    async def send(self, data: bytes, fds: list[int] | None = None) -> None:
        if fds:
            sent = fdpass.send_with_fds(self.socket, data, fds)
            data = data[sent:]
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    def close(self) -> None:
        self.socket.close()


class Switchboard:
    """Stands in for papa.client.launch: each connection that a client opens appears here as a Peer."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.opened: list[dict[str, Any]] = []
        self.refusals: list[Exception] = []
        self.seen: list[Peer] = []

    def open_connection(self, endpoint: object = None, **options: Any) -> socket.socket:
        self.opened.append({"endpoint": endpoint, **options})
        if self.refusals:
            raise self.refusals.pop(0)
        ours, theirs = socket.socketpair()
        self.loop.call_soon_threadsafe(self.peers.put_nowait, Peer(theirs))
        return ours

    async def peer(self) -> Peer:
        peer = await asyncio.wait_for(self.peers.get(), 5)
        self.seen.append(peer)
        return peer

    def close(self) -> None:
        for peer in self.seen:
            peer.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Switchboard], Coroutine[Any, Any, None]]], None]:
    """Runs a test's coroutine in a loop whose kernel is the switchboard; no task and no descriptor may be left."""

    def run_it(test: Callable[[Switchboard], Coroutine[Any, Any, None]]) -> None:
        faults: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
            switchboard = Switchboard()
            monkeypatch.setattr(aio.launch, "open_connection", switchboard.open_connection)
            await asyncio.wait_for(test(switchboard), 50)
            switchboard.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not others, others

        before = set(os.listdir("/proc/self/fd"))
        asyncio.run(main())
        assert len(os.listdir("/proc/self/fd")) <= len(before)
        assert faults == []

    return run_it


Run = Callable[[Callable[[Switchboard], Awaitable[None]]], None]


async def connected(switchboard: Switchboard, **options: Any) -> tuple[AsyncPapa, Peer]:
    connecting = asyncio.create_task(AsyncPapa.connect(client="test", **options))
    peer = await switchboard.peer()
    await peer.greet()
    return await connecting, peer


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not claim():
            await asyncio.sleep(0.001)


def test_connecting_says_hello_and_keeps_the_answer(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        connecting = asyncio.create_task(AsyncPapa.connect("tcp://127.0.0.1:1", client="me", autostart=False))
        peer = await switchboard.peer()
        await peer.greet(hello={"pid": 77})
        papa = await connecting
        assert papa.hello["pid"] == 77
        assert papa.is_connected
        assert switchboard.opened == [{"endpoint": "tcp://127.0.0.1:1", "autostart": False, "timeout_s": 10.0}]
        await papa.close()
        assert not papa.is_connected

    run(test)


def test_an_unreachable_kernel_is_the_callers_error_at_first(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        switchboard.refusals.append(PapaError("nobody there", code="unreachable"))
        with pytest.raises(PapaError) as caught:
            await AsyncPapa.connect(client="me")
        assert caught.value.code == "unreachable"

    run(test)


def test_a_kernel_that_leaves_while_it_is_greeted_is_looked_for_again(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        connecting = asyncio.create_task(AsyncPapa.connect(client="me"))
        peer = await switchboard.peer()
        await peer.send(GREETING)
        peer.close()
        peer = await switchboard.peer()
        await peer.greet()
        await (await connecting).close()
        assert len(switchboard.opened) == 2

    run(test)


def test_another_program_at_the_address_is_no_kernel(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        connecting = asyncio.create_task(AsyncPapa.connect(client="me"))
        peer = await switchboard.peer()
        await peer.send(b"220 mail.example ESMTP\r\n")
        with pytest.raises(PapaError, match="ESMTP") as caught:
            await connecting
        assert caught.value.code == "unreachable"

    run(test)


def test_replies_find_their_requests_in_any_order(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        papa, peer = await connected(switchboard)
        first = asyncio.create_task(papa.request("get", name="a"))
        second = asyncio.create_task(papa.request("get", name="b"))
        one, two = await peer.request(), await peer.request()
        assert (one.args, two.args) == ({"name": "a"}, {"name": "b"})
        await peer.reply(two, {"value": "2"})
        await peer.reply(one, {"value": "1"})
        assert ((await first).ok, (await second).ok) == ({"value": "1"}, {"value": "2"})
        await papa.close()

    run(test)


def test_a_refusal_keeps_code_hint_and_details(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        papa, peer = await connected(switchboard)
        asking = asyncio.create_task(papa.spawn(name="x"))
        request = await peer.request()
        await peer.refuse(request, PapaError("no", code="spawn-failed", hint="try", details={"stage": "exec"}))
        with pytest.raises(PapaError) as caught:
            await asking
        error = caught.value
        assert (error.code, error.hint, error.details) == ("spawn-failed", "try", {"stage": "exec"})
        await papa.close()

    run(test)


def test_descriptors_come_with_the_reply_that_names_them(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        papa, peer = await connected(switchboard)
        pipes = [os.pipe() for _ in range(3)]
        asking = [asyncio.create_task(papa.attach(number, fds=True)) for number in range(2)]
        requests = [await peer.request(), await peer.request()]
        await peer.reply(requests[0], {}, fds={"out": pipes[0][1], "index": pipes[1][1]})
        await peer.reply(requests[1], {}, fds={"pid": pipes[2][1]})
        first, second = [await asked for asked in asking]
        assert (list(first.fds), list(second.fds)) == (["out", "index"], ["pid"])
        for fd, (read_end, _) in zip([*first.fds.values(), *second.fds.values()], pipes, strict=True):
            assert not os.get_inheritable(fd)
            os.write(fd, b"x")
            assert os.read(read_end, 1) == b"x"
        first.close_fds()
        second.close_fds()
        for pair in pipes:
            os.close(pair[0])
            os.close(pair[1])
        await papa.close()

    run(test)


@pytest.mark.parametrize("how", ["cancel", "timeout", "cancel-too-late"])
def test_descriptors_that_nobody_waits_for_are_closed(run: Run, how: str) -> None:
    async def test(switchboard: Switchboard) -> None:
        papa, peer = await connected(switchboard)
        read_end, write_end = os.pipe()
        options = {"timeout_s": 0.01} if how == "timeout" else {}
        asking = asyncio.create_task(papa.request("attach", id=1, fds=True, **options))
        request = await peer.request()
        if how == "cancel":
            asking.cancel()
        if how == "timeout":
            with pytest.raises(PapaError) as caught:
                await asking
            assert caught.value.code == "timeout"
        if how == "cancel-too-late":
            resolve = papa._resolve

            def resolve_and_cancel(answer: Answer) -> None:
                resolve(answer)
                asking.cancel()

            papa._resolve = resolve_and_cancel  # type: ignore[method-assign]
        await peer.reply(request, {}, fds={"out": write_end})
        os.close(write_end)
        if how != "timeout":
            with pytest.raises(asyncio.CancelledError):
                await asking
        reading = asyncio.get_running_loop().run_in_executor(None, os.read, read_end, 1)
        assert await asyncio.wait_for(reading, 30) == b""
        os.close(read_end)
        await papa.close()

    run(test)


def test_events_are_told_in_order_and_a_fault_in_the_callback_harms_nothing(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        papa, peer = await connected(switchboard)
        told: list[tuple[str, dict[str, Any]]] = []
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))

        def on_event(name: str, fields: dict[str, Any]) -> None:
            told.append((name, fields))
            if name == "eof":
                raise ValueError("a bug of the caller")

        papa.on_event = on_event
        await peer.event("output", items=[[1, 5, None]])
        await peer.event("eof", id=1, stream="out", head=5)
        await peer.event("exit", id=1, status=-9, at=1.5, heads={"out": 5})
        await until(lambda: len(told) == 3)
        assert told == [
            ("output", {"items": [[1, 5, None]]}),
            ("eof", {"id": 1, "stream": "out", "head": 5}),
            ("exit", {"id": 1, "status": -9, "at": 1.5, "heads": {"out": 5}}),
        ]
        assert len(faults) == 1
        assert papa.is_connected
        await papa.close()

    run(test)


def test_a_lost_connection_fails_what_waits_and_comes_back_by_itself(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        papa, peer = await connected(switchboard)
        calls: list[str] = []
        papa.on_lost = lambda: calls.append("lost")
        papa.on_back = lambda: calls.append("back")
        asking = asyncio.create_task(papa.get("x"))
        await peer.request()
        switchboard.refusals += [PapaError("not yet", code="unreachable")] * 2
        peer.close()
        with pytest.raises(PapaError) as caught:
            await asking
        assert caught.value.code == "lost"
        assert calls == ["lost"]
        with pytest.raises(PapaError) as caught:
            await papa.get("y")
        assert caught.value.code == "lost"
        papa.post("more", seen=[])
        peer = await switchboard.peer()
        await peer.greet(hello={"pid": 2})
        await until(lambda: calls == ["lost", "back"])
        assert papa.hello["pid"] == 2
        asking = asyncio.create_task(papa.get("z"))
        await peer.reply(await peer.request(), {"value": None})
        assert await asking is None
        await papa.close()
        assert calls == ["lost", "back"]

    run(test)


def test_a_loss_while_coming_back_is_tried_again(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        papa, peer = await connected(switchboard)
        calls: list[str] = []
        papa.on_lost = lambda: calls.append("lost")
        papa.on_back = lambda: calls.append("back")
        peer.close()
        peer = await switchboard.peer()
        peer.close()
        peer = await switchboard.peer()
        await peer.greet()
        await until(lambda: calls == ["lost", "back"])
        await papa.close()

    run(test)


def test_garbage_ends_the_connection(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        papa, peer = await connected(switchboard)
        lost = asyncio.Event()
        papa.on_lost = lost.set
        await peer.send(b"\xff" * 8)
        await lost.wait()
        await papa.close()

    run(test)


def test_closing_while_it_reconnects_leaves_nothing_behind(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        papa, peer = await connected(switchboard)
        lost = asyncio.Event()
        papa.on_lost = lost.set
        peer.close()
        await lost.wait()
        await switchboard.peer()
        await papa.close()
        await papa.close()

    run(test)


def test_what_the_socket_does_not_take_at_once_is_sent_when_it_does(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        papa, peer = await connected(switchboard)
        big = "v" * 1_000_000
        asking = [asyncio.create_task(papa.set(str(number), big)) for number in range(3)]
        await asyncio.sleep(0)
        for number in range(3):
            request = await peer.request()
            assert request.args == {"name": str(number), "value": big}
            await peer.reply(request, {})
        await asyncio.gather(*asking)
        await papa.close()

    run(test)


def test_a_kernel_that_does_not_read_cannot_make_the_client_grow(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(switchboard: Switchboard) -> None:
        monkeypatch.setattr(aio, "MAX_UNSENT", 100_000)
        papa, _ = await connected(switchboard)
        with pytest.raises(PapaError) as caught:
            for _ in range(100):
                papa.post("set", name="x", value="v" * 50_000)
        assert caught.value.code == "limit"
        assert len(papa._unsent) <= 100_000
        await papa.close()

    run(test)


def test_an_idle_connection_wakes_nobody_up(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        papa, peer = await connected(switchboard)
        asking = asyncio.create_task(papa.set("x", "v" * 1_000_000))
        await peer.reply(await peer.request(), {})
        await asking
        loop = asyncio.get_running_loop()
        assert all(
            handle.cancelled() or handle._when > loop.time() + 1000
            for handle in loop._scheduled
            if "AsyncPapa" in repr(handle)
        )  # type: ignore[attr-defined]
        turns = 0
        run_once = loop._run_once  # type: ignore[attr-defined]

        def count() -> None:
            nonlocal turns
            turns += 1
            run_once()

        loop._run_once = count  # type: ignore[attr-defined]
        await asyncio.sleep(0.2)
        assert turns <= 3
        await papa.close()

    run(test)


def test_thin_methods_say_what_the_contract_says(run: Run) -> None:
    async def test(switchboard: Switchboard) -> None:
        papa, peer = await connected(switchboard)

        async def exchange(call: Coroutine[Any, Any, Any], ok: dict[str, Any]) -> tuple[str, dict[str, Any], Any]:
            calling = asyncio.create_task(call)
            request = await peer.request()
            await peer.reply(request, ok)
            return request.op, request.args, await calling

        assert await exchange(papa.list("processes", "a*"), {"items": [1], "more": False}) == (
            "list", {"what": "processes", "patterns": ["a*"]}, [1],
        )  # fmt: skip
        assert await exchange(papa.remove("sockets", names=["s"]), {"removed": 1}) == (
            "remove", {"what": "sockets", "names": ["s"], "ids": []}, 1,
        )  # fmt: skip
        assert await exchange(papa.listen(name="s"), {"fileno": 4}) == ("listen", {"name": "s"}, {"fileno": 4})
        assert await exchange(papa.commit(acks=[(1, "out", 5)], values={"v": None}, seen=[(1, 5, None)]), {}) == (
            "commit", {"acks": [[1, "out", 5]], "exits": [], "values": {"v": None}, "seen": [[1, 5, None]]}, None,
        )  # fmt: skip
        assert await exchange(papa.get("v"), {"value": "x"}) == ("get", {"name": "v"}, "x")
        assert await exchange(papa.set("v", None), {}) == ("set", {"name": "v", "value": None}, None)
        assert await exchange(papa.status(), {"pid": 1}) == ("status", {}, {"pid": 1})
        op, args, reply = await exchange(papa.attach(3, owner="me", fds=True), {"id": 3})
        assert (op, args, reply.ok) == ("attach", {"id": 3, "owner": "me", "fds": True}, {"id": 3})
        papa.post("more", seen=[[3, 1, 2]])
        request = await peer.request()
        assert (request.op, request.id, request.args) == ("more", None, {"seen": [[3, 1, 2]]})
        await papa.close()

    run(test)
