"""The ancestors' classes towards a circusd of which there is no control socket here."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
from tests.house import process, wait_for

from circus import client, consumer, exc
from circus.bus import Event
from circus.control import endpoints
from circus.errors import CircusError
from circus.legacy import stats as legacy_stats
from circus.legacy import zmq_client
from circus.plugins import CircusPlugin
from circus.stats.client import StatsClient
from circus.supervise import events
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher

from .test_legacy_zmq_client import answering


@pytest.fixture(autouse=True)
def private_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir(mode=0o700)


@contextmanager
def publishing(*messages: tuple[bytes, bytes]) -> Iterator[str]:
    """A PUB as an ancestor's circusd has, which says all of this to each who subscribes."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as sock:
        port = sock.bind_to_random_port("tcp://127.0.0.1")

        def serve() -> None:
            while sock.recv()[:1] != b"\0":
                for message in messages:
                    sock.send_multipart(message)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{port}"
        thread.join()


def reply(message: dict[str, Any]) -> list[Any]:
    return [{"id": message["id"], "status": "ok", "command": message["command"]}]


def test_the_client_asks_by_zmq_where_there_is_no_control_socket() -> None:
    with answering(reply) as (endpoint, heard):
        asking = client.CircusClient(endpoint=endpoint)
        assert asking.send_message("list", name="x")["command"] == "list"
        assert asking.call(client.cast_message("stop"))["status"] == "ok"
        asking.stop()
        wait_for(lambda: len(heard) == 2, "the cast")
    assert [message["properties"] for message in heard] == [{"name": "x"}, {}]


def test_the_control_socket_of_that_name_comes_first() -> None:
    with answering(reply) as (endpoint, heard), FakeCircusd(FakeEngine(), endpoints.resolve(endpoint)):
        assert client.CircusClient(endpoint=endpoint).send_message("numwatchers")["numwatchers"] == 0
        assert heard == []


def test_the_asynchronous_client_has_many_calls_under_way(tmp_path: Path) -> None:
    engine, path = FakeEngine(make_watcher("web")), str(tmp_path / "c.sock")

    async def ask_both(asking: client.AsyncCircusClient) -> list[dict[str, Any]]:
        engine.gate = asyncio.Event()
        stop = asyncio.create_task(asking.send_message("stop", waiting=True))
        status = await asking.call(client.make_message("status"))
        circusd.call(engine.gate.set)
        await asking.stop()
        asking.stop()
        return [status, await stop]

    with FakeCircusd(engine, path) as circusd:
        told = asyncio.run(ask_both(client.AsyncCircusClient(endpoint=path)))
    assert [each["status"] for each in told] == ["ok", "ok"]
    assert told[0]["statuses"] == {"web": "active"}
    assert engine.heard == [events.Stop(1)]


def test_the_asynchronous_client_asks_by_zmq_too() -> None:
    async def ask(endpoint: str) -> dict[str, Any]:
        return await client.AsyncCircusClient(endpoint=endpoint).send_message("list")

    with answering(reply) as (endpoint, _):
        assert asyncio.run(ask(endpoint))["command"] == "list"
    with pytest.raises(exc.CallError, match="no circusd answers"):
        asyncio.run(ask(endpoint))
    with pytest.raises(DeprecationWarning):
        asyncio.run(client.AsyncCircusClient().call("list"))  # type: ignore[arg-type]


def test_who_stops_waiting_for_an_answer_is_let_go(tmp_path: Path) -> None:
    engine, path = FakeEngine(make_watcher("web")), str(tmp_path / "c.sock")

    async def give_up() -> None:
        engine.gate = asyncio.Event()
        asking = client.AsyncCircusClient(endpoint=path)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asking.send_message("stop", waiting=True), 0.1)

    with FakeCircusd(engine, path) as circusd:
        asyncio.run(give_up())
        assert engine.gate is not None
        circusd.call(engine.gate.set)
        left = [thread for thread in threading.enumerate() if thread.name == "circus-client"]
        for thread in left:
            thread.join()


def test_without_pyzmq_the_missing_control_socket_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zmq_client, "is_there", lambda: False)
    with pytest.raises(exc.CallError, match=r"no circusd answers at .*circus-default\.sock(.|\n)*reached with pyzmq"):
        client.CircusClient().send_message("list")


def test_the_consumer_hears_by_zmq_until_there_is_a_control_socket() -> None:
    said = (b"watcher.web.spawn", b'{"process_pid": 7}')
    with publishing(said) as endpoint, consumer.CircusConsumer(["watcher."], endpoint=endpoint) as listening:
        messages = iter(listening)
        assert next(messages) == said
        engine = FakeEngine()
        with FakeCircusd(engine, endpoints.resolve(endpoint)) as circusd:
            threading.Thread(target=_publish_when_heard, args=(circusd,)).start()
            assert next(messages)[0] == b"watcher.db.stop"
            messages.close()  # type: ignore[attr-defined]


def _publish_when_heard(circusd: FakeCircusd) -> None:
    wait_for(lambda: circusd.ops.listeners, "the consumer")
    circusd.call(lambda: circusd.engine.bus.publish(Event(1.0, "db", "stop", {})))


PLUGIN = """
from circus.plugins import CircusPlugin

class Telling(CircusPlugin):
    def handle_init(self):
        print(self.call("numwatchers")["numwatchers"], flush=True)
    def handle_recv(self, data):
        print(self.split_data(data)[0], flush=True)
"""


def test_a_plugin_that_waits_for_a_circusd_takes_the_control_socket_when_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "telling.py").write_text(PLUGIN)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        endpoint = f"tcp://127.0.0.1:{bound.getsockname()[1]}"
        words = [sys.executable, "-m", "circus.plugins", "--endpoint", endpoint, "telling.Telling"]
        with process(*words, PYTHONPATH=str(tmp_path)) as running:
            assert running.stderr is not None
            assert running.stdout is not None
            assert "no circusd answers at tcp://" in running.stderr.readline()
            with FakeCircusd(FakeEngine(make_watcher("web")), endpoints.resolve(endpoint)) as circusd:
                assert running.stdout.readline() == "1\n"
                circusd.call(lambda: circusd.engine.bus.publish(Event(1e12, "db", "stop", {})))
                assert running.stdout.readline() == "db\n"
                running.terminate()
                assert running.wait() == 0


def test_a_plugin_says_why_no_events_can_come(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("circus.plugins.wire.HANDSHAKE_S", 0.01)
    with answering(reply) as (endpoint, _), socket.socket() as bound:
        for place in ("tcp://127.0.0.1:port", "udp://127.0.0.1:1"):
            with pytest.raises(CircusError, match="is no endpoint of a circusd"):
                CircusPlugin(endpoint, place, 5.0).start()
        bound.bind(("127.0.0.1", 0))  # and does not listen
        deaf = f"tcp://127.0.0.1:{bound.getsockname()[1]}"
        for place, why in ((deaf, f"no circusd answers at {deaf}"), (endpoint, f"at {endpoint} publishes nothing")):
            plugin, pool = CircusPlugin(endpoint, place, 5.0), ThreadPoolExecutor(1)
            told = pool.submit(_stop_when, plugin, lambda why=why: why in caplog.text)
            plugin.start()
            told.result()
            pool.shutdown()


def _stop_when(plugin: CircusPlugin, fact: Callable[[], bool]) -> None:
    try:
        wait_for(fact, "the reason in the log")
    finally:
        plugin.stop()


def test_statistics_come_by_zmq_under_the_names_that_the_ancestors_gave_them() -> None:
    one, all_of_them = {"subtopic": 7, "cpu": 1.0, "name": "my.web"}, {"pid": [7], "cpu": 1.0}
    said = (
        (b"stat.my.web.7", json.dumps(one).encode()),
        (b"stat.my.web", json.dumps(all_of_them).encode()),
        (b"stat.x", b"no json"),
        (b"stat.x", b"[]"),
        (b"stat.sockets", b"{}"),
    )
    with publishing(*said) as endpoint, StatsClient(endpoint) as feed:
        stats = iter(feed)
        assert [next(stats) for _ in range(3)] == [
            ("my.web", "7", one),
            ("my.web", None, all_of_them),
            ("sockets", None, {}),
        ]


def test_statistics_of_a_circusd_here_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legacy_stats, "PERIOD_S", 0.0)
    engine, path = FakeEngine(make_watcher("Web", 2)), str(tmp_path / "c.sock")
    pids = [slot.pid for slot in engine.watchers["Web"].slots]
    infos = [{"cpu": 1.0, "mem": 2.0, "age": 3.0}, {"cpu": 2.0, "mem": 0.5, "age": 9.0}]
    engine.infos = {"Web": dict(zip(pids, infos, strict=True))}
    with FakeCircusd(engine, path), StatsClient(path) as feed:
        stats = iter(feed)
        got = [next(stats) for _ in range(5)]
        engine.infos["Web"][pids[0]]["cpu"] = "N/A"
        assert [next(stats) for _ in range(3)][2][2]["cpu"] == "N/A"
    assert [(watcher, subtopic) for watcher, subtopic, _ in got] == [
        ("web", str(pids[0])),
        ("web", str(pids[1])),
        ("web", None),
        ("circus", "4"),
        ("circus", None),
    ]
    assert got[2][2] == {"name": "web", "pid": pids, "cpu": 1.5, "mem": 2.5, "age": 9.0}
    assert got[0][2]["subtopic"] == pids[0]


def test_statistics_of_whom_there_is_not_are_none() -> None:
    for endpoint, why in (("a b", "is no endpoint"), ("tcp://:x", "is no endpoint")):
        with pytest.raises(exc.CallError, match=why):
            StatsClient(endpoint)
    with pytest.raises(exc.CallError, match="ssh HOST circusctl"):
        StatsClient(ssh_server="h")
