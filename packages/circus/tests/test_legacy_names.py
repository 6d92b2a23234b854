from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from tests.house import wait_for

from circus import client, consumer, exc, util
from circus.bus import Event
from circus.supervise import events
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher


def test_messages_have_the_ancestors_shape() -> None:
    assert client.make_message("list") == {"command": "list", "properties": {}}
    assert client.cast_message("stop", name="x") == {
        "command": "stop",
        "properties": {"name": "x"},
        "msg_type": "cast",
    }
    assert client.make_json("get", keys=["a"]) == '{"command": "get", "properties": {"keys": ["a"]}}'


def test_the_client_asks_a_circusd_and_answers_as_ever(tmp_path: Path) -> None:
    engine, path = FakeEngine(make_watcher("web")), str(tmp_path / "c.sock")
    with FakeCircusd(engine, path):
        asking = client.CircusClient(endpoint=path)
        assert asking.send_message("status")["statuses"] == {"web": "active"}
        assert asking.call(client.cast_message("stop"))["status"] == "ok"
        asking.send_message("list")  # it has begun by now
        assert engine.heard == [events.Stop(1)]
        with pytest.raises(DeprecationWarning):
            asking.call("list")  # type: ignore[arg-type]
        asking.stop()
    with pytest.raises(exc.CallError, match="no circusd answers"):
        asking.send_message("status")
    with pytest.raises(exc.CallError, match="ssh HOST circusctl"):
        client.CircusClient(ssh_server="host")
    with pytest.raises(exc.CallError, match="is no endpoint"):
        client.CircusClient(endpoint="a b")


def test_the_helpers_that_plugins_use_are_there() -> None:
    assert (util.to_bool("yes"), util.to_bool("0"), util.to_bool(True)) == (True, False, True)
    assert (util.to_signum("quit"), util.to_signum("9"), util.to_signum(15)) == (3, 9, 15)
    assert (util.bytes2human(100), util.bytes2human(1_593_836), util.bytes2human(3 << 90)) == (
        "100B",
        "1.52M",
        "3072.00Y",
    )
    assert (util.human2bytes("100B"), util.human2bytes("1.5k"), util.human2bytes(" 2G")) == (100, 1536, 2 << 30)
    assert util.resolve_name("os.path.join") is util.resolve_name("os.path:join")
    assert util.resolve_name("os").sep
    for function, wrong in (
        (util.to_bool, "x"),
        (util.to_signum, "x"),
        (util.human2bytes, "10"),
        (util.human2bytes, ""),
    ):
        with pytest.raises(ValueError, match=r"."):
            function(wrong)  # type: ignore[operator]
    info = util.get_info()
    assert (info["pid"], "children" in info, "children" in util.get_info(os.getpid(), with_childs=True)) == (
        os.getpid(),
        False,
        True,
    )
    with pytest.raises(ProcessLookupError):
        util.get_info(1 << 30)
    with pytest.raises(ImportError, match="has no nope"):
        util.resolve_name("os.nope")
    with pytest.raises(TypeError):
        util.bytes2human("7")  # type: ignore[arg-type]


def test_a_consumer_iterates_over_events_of_one_circusd_and_the_next(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    first, second = FakeEngine(), FakeEngine()
    second.started_at += 1
    event = Event(1.0, "web", "spawn", {"process_pid": 7})
    heard = (b"watcher.web.spawn", b'{"time": 1.0, "process_pid": 7}')
    with consumer.CircusConsumer(["watcher."], endpoint=path) as listening:
        messages = iter(listening)
        with FakeCircusd(first, path) as circusd:
            publishing = threading.Thread(target=_publish_when_heard, args=(circusd, event))
            publishing.start()
            assert next(messages) == heard
            publishing.join()
        second.bus.publish(event)
        with FakeCircusd(second, path):
            assert next(messages) == heard
            messages.close()  # type: ignore[attr-defined]
    with pytest.raises(exc.CallError, match="is no endpoint"):
        consumer.CircusConsumer([""], endpoint="a b")
    with pytest.raises(exc.CallError, match="ssh HOST circusctl"):
        consumer.CircusConsumer([""], ssh_server="host")


def _publish_when_heard(circusd: FakeCircusd, event: Event) -> None:
    wait_for(lambda: circusd.ops.listeners, "the consumer")
    circusd.call(lambda: circusd.engine.bus.publish(event))
