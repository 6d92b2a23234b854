from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from circus.errors import CircusError
from circus.legacy import zmq_client

#: Within this one that listens has answered, however busy the machine is.
LONG_S = 50.0

Answer = Callable[[dict[str, Any]], list[Any]]


@contextmanager
def answering(answer: Answer, address: str = "tcp://127.0.0.1:*") -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A ROUTER as an ancestor's circusd has, in a thread: its endpoint, and what it heard."""
    heard: list[dict[str, Any]] = []
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router, context.socket(zmq.PULL) as end:
        router.bind(address)
        end.bind("inproc://end")

        def serve() -> None:
            poller = zmq.Poller()
            poller.register(router, zmq.POLLIN)
            poller.register(end, zmq.POLLIN)
            while True:
                ready = dict(poller.poll())
                if router in ready:
                    peer, frame = router.recv_multipart()
                    heard.append(json.loads(frame))
                    for reply in answer(heard[-1]):
                        text = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                        router.send_multipart([peer, text])
                elif end in ready:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield router.get_string(zmq.LAST_ENDPOINT), heard
        finally:
            with context.socket(zmq.PUSH) as ending:
                ending.connect("inproc://end")
                ending.send(b"")
            thread.join()


def ask(endpoint: str, message: dict[str, Any], *, is_async: bool, timeout_s: float = LONG_S) -> Any:
    if is_async:
        return asyncio.run(zmq_client.exchange_async(endpoint, message, timeout_s=timeout_s))
    return zmq_client.exchange(endpoint, message, timeout_s=timeout_s)


each_way = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@each_way
def test_the_reply_is_the_one_that_has_our_id(is_async: bool) -> None:
    def answer(message: dict[str, Any]) -> list[Any]:
        return [{"id": "another's", "status": "error"}, {"id": message["id"], "status": "ok"}]

    with answering(answer) as (endpoint, heard):
        assert ask(endpoint, {"command": "list", "properties": {}}, is_async=is_async)["status"] == "ok"
        assert ask(endpoint, {"id": "7", "command": "x"}, is_async=is_async) == {"id": "7", "status": "ok"}
    assert [message["command"] for message in heard] == ["list", "x"]


@each_way
def test_an_error_about_what_could_not_be_read_has_no_id_and_is_ours_too(is_async: bool) -> None:
    with answering(lambda _message: [{"status": "error"}]) as (endpoint, _):
        assert ask(endpoint, {"command": "x"}, is_async=is_async) == {"status": "error"}


@each_way
def test_a_cast_is_brought_and_has_no_reply(is_async: bool) -> None:
    with answering(lambda message: [{"id": message["id"]}]) as (endpoint, heard):
        assert ask(endpoint, {"command": "stop", "msg_type": "cast"}, is_async=is_async) is None
        assert ask(endpoint, {"command": "list"}, is_async=is_async)
    assert sorted(message["command"] for message in heard) == ["list", "stop"]


@each_way
def test_an_endpoint_may_be_a_file(is_async: bool, tmp_path: Path) -> None:
    with answering(lambda message: [{"id": message["id"]}], f"ipc://{tmp_path}/c") as (endpoint, _):
        assert ask(endpoint, {"id": "1"}, is_async=is_async) == {"id": "1"}


@each_way
def test_silence_has_an_end(is_async: bool) -> None:
    with answering(lambda _message: []) as (endpoint, _):
        for timeout_s in (0.25, 1.0, 4.0, LONG_S):
            with pytest.raises(CircusError) as raised:
                ask(endpoint, {"command": "list"}, is_async=is_async, timeout_s=timeout_s)
            if raised.value.code == "timeout":
                break  # else it had not even been greeted by then
    assert "Timed out." in raised.value.message


@each_way
def test_who_does_not_listen_or_speaks_otherwise_is_told_of_at_once(is_async: bool, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        where = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(CircusError, match="did not speak ZMQ within"):
            ask(where, {"command": "list"}, is_async=is_async, timeout_s=0.2)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        for endpoint in (f"tcp://127.0.0.1:{bound.getsockname()[1]}", f"ipc://{tmp_path}/none"):
            with pytest.raises(CircusError, match="no circusd answers at") as raised:
                ask(endpoint, {"command": "list"}, is_async=is_async)
            assert raised.value.code == "unreachable"
    with answering(lambda _message: [b"[]"]) as (endpoint, _), pytest.raises(CircusError, match="is no circusd"):
        ask(endpoint, {"command": "list"}, is_async=is_async)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1", "tcp://:1", "tcp://h:99999", "tcp://h:x", "udp://h:1"])
def test_what_is_no_endpoint_is_a_usage_error(endpoint: str) -> None:
    with pytest.raises(CircusError, match="is no endpoint") as raised:
        zmq_client.exchange(endpoint, {"command": "list"})
    assert raised.value.code == "usage"


def test_a_message_must_be_json() -> None:
    with pytest.raises(CircusError, match="cannot be written as JSON"):
        zmq_client.exchange("tcp://127.0.0.1:1", {"command": {1}})


@each_way
def test_without_pyzmq_one_line_says_so(is_async: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zmq", None)
    with pytest.raises(CircusError, match="pyzmq is not there") as raised:
        ask("tcp://127.0.0.1:1", {"command": "list"}, is_async=is_async)
    assert "pip install" in raised.value.hint
