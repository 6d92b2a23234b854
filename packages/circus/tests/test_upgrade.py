"""What goes from one program to the next, who is turned away meanwhile, and what is tried before."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.workbench import story

import circus
from circus.bus import RING_LENGTH, Bus, Event
from circus.control import claim as claims
from circus.control.caller import OWNER, Caller
from circus.control.client import Client
from circus.control.entries import Entry
from circus.control.events import Feed
from circus.control.operations import Operations
from circus.control.ops import Ops
from circus.control.routes import make_app
from circus.control.schema import DoneAnswer, UpgradeRequest
from circus.control.server import ControlServer
from circus.control.succession import NoSuccession
from circus.engine.samples import Samples, Use
from circus.engine.startup import Inherited
from circus.engine.tallies import Reason, Tallies
from circus.errors import CircusError
from circus.serving import Left, Serving
from circus.streams.tally import Counter, Tally
from circus.supervise.actions import Publish
from circus.supervise.states import SlotKey
from circus.testing.circusd import FakeEngine, make_watcher
from circus.upgrade import carried, handover, program, rehearsal
from circus.upgrade.handover import Handover

ONE = SlotKey("web", 1)


def a_handover(**changes: Any) -> Handover:
    fields: dict[str, Any] = {
        "release": "1",
        "operation": "5-1",
        "began": 1.5,
        "started_at": 2.5,
        "control": "/c",
        "claim": [],
    }
    return Handover(**fields | changes)


# The file ----------------------------------------------------------------------------------------------------


def test_what_was_written_is_taken_once_and_closed() -> None:
    fd = handover.write(a_handover(sections={"a": {"b": [1]}}))
    environ = {handover.VARIABLE: str(fd), "LANG": "C"}
    left = handover.take(environ)
    assert left == a_handover(sections={"a": {"b": [1]}})
    assert environ == {"LANG": "C"}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert handover.take(environ) is None


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no memfd")
def test_nobody_can_change_it() -> None:
    fd = handover.write(a_handover())
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    os.close(fd)


@pytest.mark.parametrize("version", [0, 2])
def test_one_of_another_version_is_refused(version: int) -> None:
    fd = handover.write(a_handover(version=version))
    with pytest.raises(CircusError, match=f"is of version {version}, not 1"):
        handover.take({handover.VARIABLE: str(fd)})


def test_what_is_no_handover_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{")
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    with pytest.raises(CircusError, match="is not understood"):
        handover.take({handover.VARIABLE: str(fd)})


def test_what_cannot_be_executed_leaves_nothing_open_and_nothing_inheritable() -> None:
    before = set(os.listdir("/proc/self/fd"))
    left, right = socket.socketpair()
    with left, right:
        with pytest.raises(FileNotFoundError):
            handover.execute(["/nothing"], a_handover(claim=[left.fileno()]), {})
        assert not os.get_inheritable(left.fileno())
    assert set(os.listdir("/proc/self/fd")) == before


# The name ----------------------------------------------------------------------------------------------------


def test_a_claim_goes_on_with_the_clients_that_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path))
    path = str(tmp_path / "c.sock")
    first = claims.claim(path)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        second = claims.inherited(path, [os.dup(each) for each in first.descriptors()])
        for fd in first.descriptors():
            os.close(fd)
        first.sock.detach()
        second.sock.accept()[0].close()
        assert peer.recv(1) == b""
    with pytest.raises(CircusError, match="runs already"):
        claims.claim(path)
    second.release()
    assert not os.path.exists(path)


# What is told ------------------------------------------------------------------------------------------------


class World:
    """A circusd as far as something of it goes along."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.tally = Tally()
        self.samples = Samples()
        self.tallies = Tallies({"web": 1})
        self.bus.subscribe(self.tallies.published)
        self.ops = Ops(FakeEngine(make_watcher("web")))
        self.engine = SimpleNamespace(
            bus=self.bus,
            tallies=self.tallies,
            pump=SimpleNamespace(tally=self.tally),
            figures=SimpleNamespace(samples=self.samples),
            inherited=Inherited(),
        )

    @property
    def circusd(self) -> Serving:
        return cast("Serving", self)

    def told(self) -> Any:
        return (
            list(self.bus.recent), self.bus.published, self.tallies.lives, self.tallies.exits, self.tallies.events,
            self.tally.by_watcher(), self.samples.slots, list(self.samples.whole(ONE)), self.ops.requests.results,
            {name: (each.counts, each.sum) for name, each in self.ops.requests.durations.items()},
        )  # fmt: skip


def a_left(operations: dict[str, Any]) -> Left:
    return Left(1.5, operations, Inherited(frozenset((1, 2)), frozenset((2,)), {"web"}))


def lived() -> World:
    world = World()
    for number in range(RING_LENGTH + 5):
        world.bus.publish(Event(float(number), "web", "spawn", {"number": number, "path": Path("/x")}))
    world.tallies.came(ONE)
    world.tallies.exits = {"web": {Reason("exit", "1", "false"): 3}}
    world.tally.take({"web": {"out": {"bytes": 7, "gaps": 1, "dropped": 2, "sink_errors": 0}}})
    world.samples.add(5.0, [Use(ONE, 12, 0.5, 1000)])
    with world.ops.requests.counted("status"):
        pass
    return world


def handed(world: World) -> Any:
    """As it comes out of the file."""
    fd = handover.write(a_handover(sections=carried.pack(world.circusd, a_left(world.ops.register.pack()))))
    left = handover.take({handover.VARIABLE: str(fd)})
    assert left is not None
    return left.sections


def test_events_counters_and_samples_go_on() -> None:
    async def run() -> None:
        old, new = lived(), World()
        start = old.ops.register.pack()["start"]
        sections = handed(old)
        sections["operations"]["start"] = new.ops.register.pack()["start"]
        assert start
        assert carried.take(new.circusd, sections, "") == []
        before, after = old.told(), new.told()
        assert after[1:] == before[1:]
        assert [event.fields["number"] for event in after[0]] == [event.fields["number"] for event in before[0]]
        assert new.engine.inherited == a_left({}).inherited

    story(run)


def test_a_section_that_is_not_understood_begins_anew_and_harms_no_other() -> None:
    async def run() -> None:
        old, new = lived(), World()
        sections = handed(old)
        sections["tallies"]["waits"]["bounds"] = [1.0]
        sections["samples"]["rings"] = [["web", 1, [1.0]]]
        sections["novelty"] = {}
        del sections["requests"]["results"]
        unknown = carried.take(new.circusd, sections, "")
        assert set(unknown) == {"tallies", "samples", "novelty", "requests", "operations"}
        assert new.bus.published == old.bus.published
        assert new.tallies.lives == {}
        assert new.tally.by_watcher() == {}

    story(run)


def test_who_comes_back_with_an_id_of_before_has_missed_nothing() -> None:
    async def run() -> None:
        bus = Bus()
        bus.published = 7
        feed = Feed(bus, 5.0)
        heard = feed.listen(last_id="5000-7")
        assert b"5000-7" in await anext(heard)
        bus.publish(Event(1.0, "web", "reap"))
        assert b"id: 5000-8" in await anext(heard)
        feed.close()

    story(run)


def test_the_beginning_of_what_has_begun_is_told_once() -> None:
    inherited = Inherited(active={"web", "db"})
    assert inherited.is_told(Publish("web", "start", {}))
    assert not inherited.is_told(Publish("web", "start", {}))
    assert not inherited.is_told(Publish("db", "reap", {}))
    assert not inherited.is_told(Publish("db", "stop", {}))
    assert not inherited.is_told(Publish("db", "start", {}))
    assert not inherited.is_told(Publish("other", "start", {}))


def test_counters_of_output_are_not_taken_from_what_is_none() -> None:
    tally = Tally()
    with pytest.raises(TypeError):
        tally.take({"web": {"out": {"novelty": 1}}})
    assert tally.by_watcher() == {}
    assert Counter() == Counter(0, 0, 0, 0)


# Orders ------------------------------------------------------------------------------------------------------


def test_operations_are_known_afterwards_and_the_upgrade_goes_on_until_it_is_settled() -> None:
    async def run() -> None:
        engine = FakeEngine()
        old, new = Operations(engine), Operations(engine)
        gate = asyncio.Event()

        async def work(_entry: Entry) -> DoneAnswer:
            await gate.wait()
            return DoneAnswer(started=[7])

        async def refuse(_entry: Entry) -> DoneAnswer:
            raise CircusError("conflict", "no", "why")

        done = old.begin("start", ("web",), Caller("uid 5", "unix"), work, tag="mine")
        failed = old.begin("stop", None, OWNER, refuse)
        failed.is_awaited = True
        gate.set()
        await asyncio.wait([each.task for each in (done, failed) if each.task is not None])
        gate.clear()
        upgrade, other = old.begin("upgrade", None, OWNER, work), old.begin("restart", None, OWNER, work)
        new.take(old.pack(), upgrade.id)
        before, after = old.listed(OWNER), new.listed(OWNER)
        assert [row.id for row in after] == [done.id, failed.id, other.id, upgrade.id]
        assert (after[0], after[1]) == (before[0], before[1])
        assert new.find("mine", Caller("uid 5", "unix")).id == done.id
        assert [row.state for row in after] == ["done", "failed", "failed", "running"]
        assert after[2].error is not None
        assert after[2].error.message == "circusd was upgraded before it has ended"
        new.settle(upgrade.id, DoneAnswer())
        assert new.tell(new.find(upgrade.id, OWNER), OWNER).state == "done"
        new.settle(upgrade.id, DoneAnswer())
        assert new.begin("start", None, OWNER, work).id.endswith("-5")
        await old.end()
        await new.end()

    story(run)


def test_one_inside_another_program_refuses() -> None:
    async def run() -> None:
        ops = Ops(FakeEngine())
        assert isinstance(ops.upgrades.succession, NoSuccession)
        for request in (UpgradeRequest(), UpgradeRequest(check=True)):
            with pytest.raises(CircusError, match="lives inside another program") as caught:
                await ops.upgrade(request)
            assert caught.value.code == "conflict"

    story(run)


def test_two_upgrades_at_once_are_refused_and_orders_are_let_in_again_after_one_that_fails() -> None:
    class Failing:
        def __init__(self) -> None:
            self.gate = asyncio.Event()

        async def rehearse(self, to: str) -> Any:
            await self.gate.wait()
            raise CircusError("conflict", f"{to} is broken")

        async def succeed(self, operation: str) -> None:
            raise AssertionError(operation)

    async def run() -> None:
        ops = Ops(FakeEngine())
        ops.upgrades.succession = failing = Failing()
        first = asyncio.ensure_future(ops.upgrade(UpgradeRequest(to="/x")))
        while not ops.register.under_way():
            await asyncio.sleep(0)
        with pytest.raises(CircusError, match="under way already"):
            await ops.upgrade(UpgradeRequest())
        failing.gate.set()
        with pytest.raises(CircusError, match="/x is broken"):
            await first
        async with ops.upgrades.admission.passed():
            assert ops.upgrades.admission.inside == 1

    story(run)


# Clients -----------------------------------------------------------------------------------------------------


def test_a_client_that_was_not_heard_asks_again_and_an_order_is_given_once(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    said = b'{"error":{"code":"unavailable","message":"","hint":""}}'
    away = b"HTTP/1.1 503 Unavailable\r\nretry-after: 0\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)
    fine = b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"op": 12}'
    heard: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        for number in range(6):
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(30)
                head = peer.recv(65536)
                if number % 3 != 2:
                    peer.sendall(away)
                    continue
                if head.startswith(b"POST"):
                    peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                    heard.append(peer.recv(65536))
                peer.sendall(fine)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        client = Client(path, timeout_s=30)
        assert client.get("/v1/version") == {"op": 12}
        assert client.post("/v1/stop", {}) == {"op": 12}
        thread.join(30)
    assert heard == [b"{}"]


def test_who_has_connected_and_said_nothing_is_told_to_ask_again_and_who_comes_then_waits(tmp_path: Path) -> None:
    async def run() -> None:
        held = claims.claim(str(tmp_path / "c.sock"))
        server = ControlServer(make_app(Ops(FakeEngine())), held)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(held.path)
        await server.pause()
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 0" in answer
        _, late = await asyncio.open_unix_connection(held.path)
        for each in (writer, late):
            each.close()
        held.release()

    story(run)


# Before ------------------------------------------------------------------------------------------------------


def test_everything_that_circusd_may_need_later_is_imported_by_a_rehearsal() -> None:
    names = rehearsal.import_all()
    late = ("control.openapi", "control.tcp", "control.tls", "legacy.door.gate", "notify.web", "streams.syslog")
    assert {f"circus.{each}" for each in late} <= set(names)
    assert not [name for name in names if name.startswith(("circus.cli", "circus.testing"))]


def test_a_module_of_ours_that_is_missing_is_no_missing_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circus, "__path__", [str(tmp_path)])
    (tmp_path / "upgrade_one.py").write_text("import no_such_library\n")
    rehearsal.import_all()
    (tmp_path / "upgrade_two.py").write_text("import circus.no_such_module\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        rehearsal.import_all()


def test_a_program_is_an_environment_or_a_python(tmp_path: Path) -> None:
    assert program.find("").argv[0] == sys.executable
    for wrong in ("relative", str(tmp_path), str(tmp_path / "none")):
        with pytest.raises(CircusError) as caught:
            program.find(wrong)
        assert caught.value.code == "bad-request"
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.touch(0o755)
    assert program.find(str(tmp_path)).argv[:3] == [str(python), "-m", "circus.circusd"]
    (tmp_path / "bin" / "circusd").touch()
    assert program.find(str(python)).argv[:2] == [str(python), str(tmp_path / "bin" / "circusd")]
