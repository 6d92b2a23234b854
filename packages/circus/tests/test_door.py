from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import json
import logging
import os
import selectors
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import zmq
from tests.fuzz import house, mutate, zmtp_target

from circus.bus import Event
from circus.control import keepalive
from circus.control.caller import Caller
from circus.legacy.door import news, orders, wire, zmtp
from circus.supervise import events
from circus.testing.circusd import FakeEngine, make_watcher

from .doors import ANSWER_S, Door, ended, wait_for


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(make_watcher("Web", 2), make_watcher("my db", 1))


# Orders -----------------------------------------------------------------------------------------------------


def test_commands_are_answered_under_their_ids_in_any_case(engine: FakeEngine, tmp_path: Path) -> None:
    with Door(engine, tmp_path) as door:
        peer = door.dealer()
        assert peer.ask("list", "a") == {"status": "ok", "watchers": ["my db", "web"], "id": "a"}
        assert peer.ask("STATUS", [1, {"x": None}])["id"] == [1, {"x": None}]
        assert peer.ask("list", None, name="WEB")["id"] is None
        peer.send(b'{"command": "numwatchers"}')
        assert peer.hear() == {"status": "ok", "numwatchers": 2, "id": None}
        peer.send(json.dumps({"command": "nope", "msg_type": "cast", "id": 1}).encode())
        peer.send(json.dumps({"command": "stop", "msg_type": "cast", "id": 2}).encode())
        assert peer.ask("status", 3)["id"] == 3
        wait_for(lambda: engine.heard == [events.Stop(1)], "the order")


def test_req_sockets_and_proxies_are_answered_behind_their_envelopes(engine: FakeEngine, tmp_path: Path) -> None:
    with Door(engine, tmp_path) as door:
        req = door.dealer(zmq.REQ)
        assert [req.ask("list", number)["id"] for number in (1, 2)] == [1, 2]
        proxy = door.dealer()
        proxy.send(b"one", b"two", b"", b'{"command": "list", "id": 3}')
        *envelope, text = proxy.sock.recv_multipart()
        assert (envelope, json.loads(text)["id"]) == ([b"one", b"two", b""], 3)


def test_the_owner_of_the_address_adds_what_runs_as_himself(engine: FakeEngine, tmp_path: Path) -> None:
    with Door(engine, tmp_path, endpoint_owner=str(os.geteuid())) as door:
        peer = door.dealer()
        for options in ({}, {"uid": "nobody-of-that-name"}, {"uid": os.geteuid() + 1}):
            reply = peer.ask("add", name="x", cmd="y", options=options)
            assert (reply["errno"], reply["reason"]) == (3, "uid does not match endpoint_owner")
        assert peer.ask("add", name="x", cmd="y", options={"uid": os.geteuid()}, waiting=True)["status"] == "ok"
        assert peer.ask("list", name="x")["status"] == "ok"
    with Door(engine, tmp_path, endpoint="tcp://127.0.0.1:*", endpoint_owner=str(os.geteuid())) as door:
        assert door.dealer().ask("add", name="z", cmd="y", waiting=True)["status"] == "ok"


BAD = [
    (b"", 1), (b"[]", 1), (b"7", 1), (b"{", 1), (b"\xff\xfe", 1), (b"[" * 200_000, 1), (b"1" * 10_000, 1),
    (b'{"id": "\\ud800"', 1), (b"{}", 3), (b'{"command": null}', 3), (b'{"command": 5}', 3), (b'{"command": []}', 3),
    (b'{"command": "list", "properties": []}', 0), (b'{"command": "list", "properties": [1]}', 3),
    (b'{"command": "list", "properties": 7}', 3), (b'{"command": "nope"}', 2), (b'{"command": "\\u0000"}', 2),
    (b'{"command": "list", "properties": {"name": {"a": [1]}}}', 3),
    (b'{"command": "list", "properties": {"name": "\\ud800"}}', 3),
    (b'{"command": "list", "properties": {"name": null}}', 3),
    (b'{"command": "stop", "properties": {"name": "(", "match": "regex"}}', 3),
    (b'{"command": "get", "properties": {"name": "web", "keys": [[]]}}', 3),
    (b'{"command": "get", "properties": {"name": "web", "keys": 5}}', 3),
    (b'{"command": "get", "properties": {"name": "web"}}', 3),
    (b'{"command": "add", "properties": {"name": "x", "cmd": {"a": 1}}}', 3),
    (b'{"command": "add", "properties": {"name": "x", "cmd": "y", "options": 7}}', 3),
    (b'{"command": "signal", "properties": {"name": "web", "signum": [9]}}', 3),
    (b'{"command": "signal", "properties": {"name": "web", "signum": 9, "pid": 1e999}}', 3),
    (b'{"command": "kill", "properties": {"name": "web", "graceful_timeout": NaN}}', 3),
    (b'{"command": "incr", "properties": {"name": "web", "nb": 99999999999999999999999}}', 3),
    (b'{"command": "stats", "properties": {"name": "web", "process": -1}}', 3),
    (b'{"command": "globaloptions", "properties": {"option": ["x"]}}', 3),
    (b'{"command": "listen"}', 3), (b'{"command": "ipython"}', 2),
]  # fmt: skip


def test_whatever_is_said_has_one_answer_and_the_door_stays_open(engine: FakeEngine, tmp_path: Path) -> None:
    with Door(engine, tmp_path) as door:
        peer = door.dealer()
        told = []
        for data, _ in BAD:
            peer.send(data)
            reply = peer.hear()
            assert reply["status"] == "ok" or (reply["reason"] and reply["tb"] is None)
            told.append((data, reply.get("errno", 0)))
        assert told == BAD
        for frames in ((b"{}", b'{"command": "list"}'), (b"x",) * 16):
            peer.send(*frames)
            assert peer.hear()["errno"] == 1
        peer.send(b"x" * (zmtp.MAX_MESSAGE + 1))
        assert peer.hear()["reason"] == "a message has at most 262144 bytes in 16 parts"
        peer.send(*[b"x"] * 1000)
        assert peer.hear()["errno"] == 3
        assert peer.ask("numwatchers")["numwatchers"] == 2


def test_a_pattern_that_takes_for_ever_is_not_tried(engine: FakeEngine, tmp_path: Path) -> None:
    with Door(engine, tmp_path) as door:
        peer = door.dealer()
        for name in ("(w+)+x", "(w|w)*x", "(w?){30}x", "w?w?w?w?w?x", "(we|we)(b|b.)(a|bc)(d|ef)(gh|i)x"):
            reply = peer.ask("stop", name=name, match="regex")
            assert (reply["errno"], reply["reason"][:-4].partition(" may take")[0]) == (3, repr(name))
        assert peer.ask("stop", name="*a" * 200)["reason"] == "a name or pattern has at most 256 characters"
        for name in ("web|my db", "(web|x)-?[0-9]*", "w.*", "(?:we)+b", r"\w{3}$"):
            assert peer.ask("stop", name=name, match="regex")["status"] == "ok"
        assert peer.ask("stop", name="(", match="regex")["errno"] == 3


def test_a_fault_of_ours_is_an_error_reply_and_stands_in_the_log(
    engine: FakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Door(engine, tmp_path) as door:
        peer = door.dealer()
        engine.failure = RuntimeError("it breaks")
        assert (peer.ask("status", 5)["errno"], peer.ask("status", 5)["id"]) == (5, 5)
        engine.failure = None
        assert peer.ask("status")["status"] == "ok"
    assert "a command failed" in caplog.text and "it breaks" in caplog.text


def test_who_waits_for_the_end_of_an_order_holds_nobody_up(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "MAX_WAITING", 3)
    monkeypatch.setattr(orders, "MAX_AT_ONCE", 1)
    with Door(engine, tmp_path) as door:
        engine.gate = door.call(asyncio.Event)
        peer = door.dealer()
        for number in range(3):
            peer.say("stop", number, waiting=True)
        refused = peer.ask("stop", 3, waiting=True)
        assert (refused["errno"], refused["id"]) == (5, 3)
        assert refused["reason"] == "3 commands wait already for the end of what they ordered"
        assert peer.ask("status", 4)["id"] == 4
        door.call(engine.gate.set)
        assert sorted(peer.hear()["id"] for _ in range(3)) == [0, 1, 2]
        assert peer.ask("stop", 5, waiting=True)["status"] == "ok"


def test_a_flood_is_answered_whole_and_others_meanwhile(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "MAX_AT_ONCE", 2)
    count = 3000
    with Door(engine, tmp_path) as door:
        flood, other = door.dealer(), door.dealer()
        said, numbers = 0, []
        while len(numbers) < count:
            ready = flood.sock.poll(ANSWER_S * 1000, zmq.POLLIN | (zmq.POLLOUT if said < count else 0))
            if ready & zmq.POLLOUT:
                flood.say("numwatchers", said)
                said += 1
                if said == count // 2:
                    assert other.ask("list")["status"] == "ok"
            else:
                numbers.append(flood.hear()["id"])
        assert sorted(numbers) == list(range(count))


def test_a_flood_waits_at_who_makes_it_and_all_have_their_turn(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "MAX_AT_ONCE", 1)
    turns: list[str | None] = []
    message = zmtp.message((b'{"command": "stats", "properties": {"name": "web"}}',))

    async def stats(name: str | None = None, pid: int | None = None, extended: bool = False) -> dict[str, Any]:
        turns.append(name)
        await gate.wait()
        return {"x": {}}

    with Door(engine, tmp_path) as door:
        gate = door.call(asyncio.Event)
        engine.stats = stats  # type: ignore[method-assign]
        flood, other = door.speaking(), door.dealer()
        flood.sendall(message * 500)
        wait_for(lambda: turns, "the first one")
        flood.setblocking(False)
        sent = 0

        def is_full() -> bool:
            nonlocal sent
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += flood.send(message[sent % len(message) :])
            return any("inbox" in peer._reasons for peer in door.listener().peers)

        wait_for(is_full, "the door reads no more of it")
        assert sum(map(len, door.call(door.gate._orders._inboxes.copy).values())) < 10_000
        other.say("stats", name="my db")
        wait_for(lambda: len(door.gate._orders._inboxes) == 2, "both wait")
        door.call(gate.set)
        assert other.hear()["status"] == "ok"
        assert turns.index("my db") <= 2
        flood.close()


def test_what_was_read_of_a_flood_is_answered_as_its_answers_are_taken(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_UNSENT", 20_000)
    count = 30_000
    with Door(engine, tmp_path) as door:
        for data in (zmtp.message((b"",)), zmtp.message((b'{"command":0}',))):
            sock, other = door.speaking(), door.dealer()
            flood = data * count
            sock.settimeout(None)  # it would count for all of the flood
            thread = threading.Thread(target=sock.sendall, args=(flood,))
            thread.start()
            wait_for(lambda: door.call(lambda: any(each.is_full for each in door.listener().peers)), "it is full")
            assert other.ask("numwatchers")["numwatchers"] == 2
            assert door.call(lambda: max(each.unsent for each in door.listener().peers)) < 60_000
            parser, heard = zmtp.Parser(), 0
            parser.feed(zmtp.GREETING + zmtp.ready("ROUTER"))
            while heard < count:
                heard += len(parser.feed(sock.recv(65536)))
            thread.join()
            sock.close()


def test_nothing_is_read_from_who_does_not_take_his_answers(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_UNSENT", 20_000)
    with Door(engine, tmp_path) as door:
        sock = door.speaking()
        message = zmtp.message((b'{"command": "options", "properties": {"name": "web"}}',))
        sock.setblocking(False)
        sent = 0

        def is_stuck() -> bool:
            nonlocal sent
            try:
                while True:
                    sent += sock.send(message[sent % len(message) :])
            except BlockingIOError:
                return "unsent" in door.call(lambda: door.listener().peers[0]._reasons)

        wait_for(is_stuck, "the door reads no more", timeout_s=60)
        assert door.call(lambda: door.listener().peers[0].unsent) < 500_000
        assert door.dealer().ask("numwatchers")["numwatchers"] == 2
        sock.settimeout(50)
        parser, heard = zmtp.Parser(), 0
        parser.feed(zmtp.GREETING + zmtp.ready("ROUTER"))
        while heard < sent // len(message):
            heard += len(parser.feed(sock.recv(65536)))
        sock.close()


def test_a_peer_that_has_gone_harms_nobody_and_its_order_is_done(engine: FakeEngine, tmp_path: Path) -> None:
    with Door(engine, tmp_path) as door:
        engine.gate = door.call(asyncio.Event)
        gone = door.dealer()
        gone.say("stop", waiting=True)
        wait_for(lambda: engine.heard, "the order")
        gone.sock.close(0)
        wait_for(lambda: not door.peers(), "the peer has gone")
        door.call(engine.gate.set)
        assert door.dealer().ask("status")["statuses"] == {"web": "stopped", "my db": "stopped"}


def test_who_waits_when_circusd_leaves_is_told(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "END_S", 0.05)
    with Door(engine, tmp_path) as door:
        engine.gate = door.call(asyncio.Event)
        peer = door.dealer()
        peer.say("stop", 7, waiting=True)
        wait_for(lambda: engine.heard, "the order")
        door.close()
        reply = peer.hear()
        assert (reply["errno"], reply["id"], reply["reason"]) == (5, 7, orders.LEAVING)


# News -------------------------------------------------------------------------------------------------------


def test_events_go_in_two_parts_to_those_who_have_asked_for_them(engine: FakeEngine, tmp_path: Path) -> None:
    with Door(engine, tmp_path) as door:
        subscribers = len(engine.bus._subscribers)
        everything, db = door.subscriber("pubsub_endpoint", ""), door.subscriber("pubsub_endpoint", "watcher.my_db.")
        wait_for(lambda: len(door.gate._news._subscribers) == 2, "both have subscribed")
        assert len(engine.bus._subscribers) == subscribers + 1
        for event in (
            Event(5.0, "Web", "spawn", {"process_pid": 7, "time": 4.0}),
            Event(6.0, "", "reloaded", {}),
            Event(7.0, "My DB", "reap", {"process_pid": 8, "exit_code": -9, "odd": {1}}),
        ):
            door.call(lambda event=event: engine.bus.publish(event))
        reap = [b"watcher.my_db.reap", b'{"time": 7.0, "process_pid": 8, "exit_code": -9, "odd": "{1}"}']
        assert db.recv_multipart() == reap
        assert everything.recv_multipart() == [b"watcher.web.spawn", b'{"time": 4.0, "process_pid": 7}']
        assert everything.recv_multipart() == reap
        everything.unsubscribe("")
        db.close(0)
        wait_for(lambda: len(engine.bus._subscribers) == subscribers, "nobody listens")


def test_a_subscriber_who_takes_nothing_misses_what_comes_and_holds_nobody_up(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(news, "MAX_UNSENT", 50_000)
    event = Event(5.0, "Web", "spawn", {"text": "x" * 10_000})
    with Door(engine, tmp_path) as door:
        slow = door.speaking("pubsub_endpoint", "SUB")
        slow.sendall(zmtp.message((b"\1",)))
        quick = door.subscriber("pubsub_endpoint", "")
        wait_for(lambda: len(door.gate._news._subscribers) == 2, "both have subscribed")
        for _ in range(200):
            door.call(lambda: engine.bus.publish(event))
            assert quick.recv_multipart()[0] == b"watcher.web.spawn"
        assert max(peer.unsent for peer in door.listener("pubsub_endpoint").peers) < 70_000
        assert "a subscriber takes nothing" in caplog.text
        slow.close()


def test_a_stranger_subscribes_to_so_much_and_no_more(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "MAX_SUBSCRIPTIONS", 3)
    with Door(engine, tmp_path) as door:
        for said in ([b"\1a", b"\1b", b"\1a", b"\1c", b"\1d"], [b"\1" + b"x" * 1000], [bytes(300_000)]):
            sock = door.speaking("pubsub_endpoint", "SUB")
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(b"".join(zmtp.message((each,)) for each in said))
            assert ended(sock)
        quiet = door.speaking("pubsub_endpoint", "XSUB")
        quiet.sendall(zmtp.message((b"hello",)) + zmtp.message((b"\0never",)) + zmtp.message((b"\1w",)))
        wait_for(lambda: door.gate._news.is_wanted, "a subscription")
        quiet.close()
        wait_for(lambda: not door.gate._news.is_wanted, "nobody listens")


# Statistics -------------------------------------------------------------------------------------------------


def test_statistics_come_while_somebody_listens(engine: FakeEngine, tmp_path: Path) -> None:
    engine.view = {"sockets": ({"name": "circus.s", "fileno": 9, "host": "127.0.0.1", "port": 80},)}
    infos: dict[str, dict[Any, Any]] = {
        "My.Web": {
            7: {"pid": 7, "cpu": 1.0, "mem": 2.0, "age": 3.0},
            8: {"pid": 8, "cpu": 2.0, "mem": 1.0, "age": 5.0},
        },
        "gone": {9: {"pid": 9, "cpu": "N/A", "mem": 0.5, "age": 1.0}, 10: "No such process (stopped?)"},
        "none": {},
    }
    engine.infos = infos
    with Door(engine, tmp_path) as door:
        assert engine.heard == []
        listener = door.subscriber("stats_endpoint", "stat.")
        heard = dict(listener.recv_multipart() for _ in range(8))  # type: ignore[misc]
        found = {topic.decode(): json.loads(data) for topic, data in heard.items()}
        assert found == {
            "stat.my-web.7": {"name": "my.web", "subtopic": 7, **infos["My.Web"][7]},
            "stat.my-web.8": {"name": "my.web", "subtopic": 8, **infos["My.Web"][8]},
            "stat.my-web": {"name": "my.web", "pid": [7, 8], "cpu": 1.5, "mem": 3.0, "age": 5.0},
            "stat.gone.9": {"name": "gone", "subtopic": 9, **infos["gone"][9]},
            "stat.gone": {"name": "gone", "pid": [9], "cpu": "N/A", "mem": 0.5, "age": 1.0},
            "stat.circus.4": {"pid": 4, "cmdline": "circusd", "name": "circusd", "subtopic": 4},
            "stat.circus": {"name": "circus", "pid": [4], "cpu": "N/A", "mem": "N/A", "age": "N/A"},
            "stat.sockets.9": {"fd": 9, "subtopic": 9, "reads": 0, "address": "127.0.0.1:80"},
        }
        assert json.loads(listener.recv_multipart()[1]) == {"addresses": ["127.0.0.1:80"], "reads": 0}
        assert listener.recv_multipart()[0] == b"stat.my-web.7"  # the next second
        listener.close(0)
        wait_for(lambda: door.gate._stats._task is None, "nobody listens")


def test_statistics_go_on_after_a_fault(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("circus.legacy.door.figures.PERIOD_S", 0.01)
    engine.failure = RuntimeError("it breaks")
    with Door(engine, tmp_path) as door:
        listener = door.subscriber("stats_endpoint", "stat.")
        wait_for(lambda: "no statistics" in caplog.text, "the fault is told")
        engine.failure = None
        assert listener.recv_multipart()[0] == b"stat.circus.4"
        assert caplog.text.count("no statistics") == 1


# Who gets in ------------------------------------------------------------------------------------------------


def test_nothing_wakes_up_while_nothing_is_said(engine: FakeEngine, tmp_path: Path) -> None:
    class Counting(selectors.DefaultSelector):
        turns = 0

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            Counting.turns += 1
            return super().select(timeout)

    door = Door(engine, tmp_path)
    door.loop.close()
    door.loop = asyncio.SelectorEventLoop(Counting())
    with door:
        peer, listener = door.dealer(), door.subscriber("pubsub_endpoint", "watcher.")
        assert peer.ask("list")["status"] == "ok"
        gone = door.subscriber("stats_endpoint", "stat.")
        gone.recv_multipart()
        gone.close(0)
        wait_for(lambda: not door.peers("stats_endpoint") and door.gate._news.is_wanted, "all is quiet")

        def is_quiet() -> bool:
            before = Counting.turns
            threading.Event().wait(1.5)  # longer than any period
            return Counting.turns == before

        wait_for(is_quiet, "nothing wakes up")
        listener.close(0)


@pytest.mark.parametrize(
    ("option", "said", "why"),
    [
        ("endpoint", b"GET / HTTP/1.1\r\n\r\n", "does not speak ZMTP"),
        ("endpoint", zmtp.GREETING + zmtp.ready("SUB"), "for DEALER or REQ or ROUTER"),
        ("pubsub_endpoint", zmtp.GREETING + zmtp.ready("DEALER"), "for SUB or XSUB"),
        ("endpoint", zmtp.GREETING + zmtp.ready("DEALER") + b"\xff\xff", "flags 0xff"),
    ],
)
def test_who_speaks_otherwise_is_refused_and_the_log_says_why(
    option: str, said: bytes, why: str, engine: FakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Door(engine, tmp_path) as door:
        sock = door.raw(option)
        sock.sendall(said)
        assert ended(sock)
        assert why in caplog.text
        for _ in range(wire.MAX_TOLD + 5):
            sock = door.raw(option)
            sock.sendall(said)
            assert ended(sock)
        assert len([each for each in caplog.records if "was refused" in each.message]) == wire.MAX_TOLD


def test_who_says_nothing_has_no_place_for_long(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "HANDSHAKE_S", 0.05)
    with Door(engine, tmp_path) as door:
        assert ended(door.raw())
        monkeypatch.setattr(wire, "HANDSHAKE_S", 50)
        slow = door.speaking()
        slow.sendall(b"\x04\x0b\x04PING\0\0test")
        assert slow.recv(100) == b"\x04\x09\x04PONGtest"
        slow.close()


def test_who_has_vanished_is_asked_for_by_the_system(engine: FakeEngine, tmp_path: Path) -> None:
    with Door(engine, tmp_path, endpoint="tcp://127.0.0.1:*") as door:
        assert door.dealer().ask("numwatchers")["numwatchers"] == 2
        (peer,) = door.listener().peers
        assert peer._transport is not None
        sock = peer._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == keepalive.IDLE_S


def test_so_many_are_let_in_and_no_more(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wire, "MAX_PEERS", 2)
    with Door(engine, tmp_path) as door:
        first, second = door.speaking(), door.speaking()
        assert ended(door.raw())
        assert "2 are connected already" in caplog.text
        first.close()
        wait_for(lambda: door.peers() == 1, "a free place")
        assert door.dealer().ask("numwatchers")["numwatchers"] == 2
        second.close()


def test_who_comes_while_there_are_no_descriptors_waits(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wire, "ACCEPT_AGAIN_S", 0.01)

    class Full:
        """The listening socket of a process that has no descriptors for a while."""

        def __init__(self, sock: socket.socket) -> None:
            self.fileno, self.close, self._sock, self._left = sock.fileno, sock.close, sock, 3

        def accept(self) -> Any:
            self._left -= 1
            if self._left > 0:
                raise OSError(errno.EMFILE, "Too many open files")
            return self._sock.accept()

    def fill() -> None:
        listener = door.listener()
        listener._sock = Full(listener._sock)  # type: ignore[assignment, arg-type]

    with Door(engine, tmp_path) as door:
        door.call(fill)
        assert door.dealer().ask("numwatchers")["numwatchers"] == 2
        assert caplog.text.count("nobody is let in") == 2


def test_who_asked_stands_in_the_audit_trail(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Caller] = []

    async def dispatched(_ops: object, caller: Caller, *_asked: object) -> dict[str, object]:
        asked.append(caller)
        return {"watchers": []}

    monkeypatch.setattr("circus.legacy.door.gate.dispatch", dispatched)
    for options in ({}, {"endpoint": "tcp://127.0.0.1:*"}):
        with Door(engine, tmp_path, **options) as door:
            assert door.dealer().ask("list")["status"] == "ok"
    assert [(each.name, each.origin) for each in asked] == [(f"uid {os.geteuid()}", "zmq"), ("anybody", "zmq")]


def test_an_ipc_socket_is_for_its_owner_and_goes_with_the_door(engine: FakeEngine, tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(f"{tmp_path}/endpoint")
    left.close()  # nobody listens there any more
    with Door(engine, tmp_path) as door:
        status = os.lstat(tmp_path / "endpoint")
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, os.geteuid())
        assert door.dealer().ask("numwatchers")["numwatchers"] == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == []


def test_what_lies_in_place_of_the_socket_is_not_given_away(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("mine")
    socket_at, identity_of = tmp_path / "endpoint", wire._identity

    def swapped(path: str) -> tuple[int, int] | None:
        found = identity_of(path)
        if path == str(socket_at) and not socket_at.is_symlink():
            socket_at.unlink()
            socket_at.symlink_to(tmp_path / "secret")
        return found

    given: list[object] = []
    monkeypatch.setattr(wire, "_identity", swapped)
    monkeypatch.setattr(os, "chown", lambda *args, **_: given.append(args))
    with Door(engine, tmp_path, endpoint_owner=str(os.geteuid() + 1)) as door:
        assert "endpoint is closed" in door.troubles["endpoint"]
    assert [each for each in given if str(each[0]) == str(socket_at)] == []
    assert socket_at.is_symlink()


def test_what_somebody_else_has_is_left_to_him_and_the_rest_is_opened(
    engine: FakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "stats_endpoint").write_text("mine")
    with socket.create_server(("127.0.0.1", 0)) as taken, Door(engine, tmp_path) as first:
        (tmp_path / "two").mkdir()
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with Door(engine, tmp_path, pubsub_endpoint=address) as second:
            assert second.troubles == {
                "endpoint": f"endpoint is closed: ipc://{tmp_path}/endpoint cannot be opened: somebody listens there "
                "already",
                "pubsub_endpoint": f"pubsub_endpoint is closed: {address} cannot be opened: Address already in use",
                "stats_endpoint": f"stats_endpoint is closed: ipc://{tmp_path}/stats_endpoint cannot be opened: what "
                "lies there is no socket",
            }
            for trouble in second.troubles.values():
                assert trouble in caplog.text
        assert first.dealer().ask("numwatchers")["numwatchers"] == 2
    assert (tmp_path / "stats_endpoint").read_text() == "mine"


def test_a_port_of_the_systems_choice_is_told(
    engine: FakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Door(engine, tmp_path, endpoint="tcp://127.0.0.1:*", stats_endpoint="ipc://@circus-test") as door:
        place = door.listener().place
        assert f"endpoint is open at {place} for programs" in caplog.text
        assert f"{place} knows no authentication: whoever reaches it gives orders" in caplog.text
        assert door.dealer().ask("numwatchers")["numwatchers"] == 2
        door.subscriber("stats_endpoint", "stat.").recv_multipart()


def test_the_end_does_not_wait_for_who_takes_nothing(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "FLUSH_S", 0.05)
    with Door(engine, tmp_path) as door:
        stuck = door.speaking("pubsub_endpoint", "SUB")
        stuck.sendall(zmtp.message((b"\1",)))
        wait_for(lambda: door.gate._news.is_wanted, "a subscription")
        door.call(lambda: engine.bus.publish(Event(1.0, "web", "spawn", {"text": "x" * 3_000_000})))
        silent = door.raw()
        door.close()
        assert ended(silent) and ended(stuck)


def test_no_garbage_harms_it(engine: FakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Bytes by hand, and messages by ZMQ; seeded."""
    inputs = mutate.inputs(zmtp_target.seeds(), zmtp_target.WORDS, seed=7, limit=4096)
    hello = zmtp.GREETING + zmtp.ready("DEALER")
    with Door(engine, tmp_path, endpoint="tcp://127.0.0.1:*") as door:
        places = [door.listener().place.removeprefix("tcp://127.0.0.1:"), tmp_path / "pubsub_endpoint"]
        peer = door.dealer()
        for number, data in enumerate(itertools.islice(inputs, 600)):
            with socket.socket(socket.AF_UNIX if number % 2 else socket.AF_INET) as sock:
                sock.connect(str(places[1]) if number % 2 else ("127.0.0.1", int(str(places[0]))))
                with contextlib.suppress(OSError):
                    sock.sendall(hello + data if number % 3 else data)
            peer.send(*house.cut(data[:-1]), data[-1:])
        peer.say("numwatchers", "the end")
        while peer.hear()["id"] != "the end":
            pass
        assert door.dealer().ask("numwatchers")["status"] == "ok"
        wait_for(lambda: door.peers() == 2 and not door.peers("pubsub_endpoint"), "all others have gone")
    assert "Traceback" not in caplog.text
