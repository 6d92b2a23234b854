from __future__ import annotations

import json

from papa.core.entries import Process, Socket
from papa.core.output import Output
from papa.model import SocketSpec


def process(**changes: object) -> Process:
    facts = {"argv": ["prog"], "digest": "d", "pid": 12, "start_ticks": 99, "started_at": 1.5, **changes}
    return Process(3, "web", **facts)  # type: ignore[arg-type]


def test_a_row_shows_a_process():
    it = process(meta={"k": 1}, uid=0, gid=6, output=Output(("out",)), is_covered=True)
    it.owner = "me"
    assert it.row() == {
        "id": 3, "name": "web", "pid": 12, "running": True, "started_at": 1.5, "start_ticks": 99, "argv": ["prog"],
        "meta": {"k": 1}, "owner": "me", "exit": None, "covered": True, "uid": 0, "gid": 6,
        "streams": {"out": {"head": 0, "low": 0, "acked": 0, "dropped": 0, "open": True}},
    }  # fmt: skip
    it.exit = (-9, 2.5)
    it.output = None
    row = it.row()
    assert (row["running"], row["exit"], row["streams"]) == (False, {"status": -9, "at": 2.5}, {})
    assert "uid" not in process().row()


def test_an_entry_is_over_when_exit_and_output_are_acknowledged_to_the_end():
    output = Output(("out",))
    output.add("out", 5)
    it = process(output=output)
    it.is_exit_acked = True
    assert not it.is_over
    it.exit = (0, 1.0)
    assert not it.is_over
    output.ack("out", 5)
    assert not it.is_over
    output.close("out")
    assert it.is_over
    it.is_exit_acked = False
    assert not it.is_over


def test_a_removed_process_is_over_as_soon_as_it_ended():
    it = process(output=Output(("out",)))
    it.is_removed = True
    assert not it.is_over
    it.exit = (0, 1.0)
    assert it.is_over


def test_a_process_without_output_is_over_when_its_exit_is_acknowledged():
    it = process()
    it.exit = (0, 1.0)
    assert not it.is_over
    it.is_exit_acked = True
    assert it.is_over


def test_a_row_never_takes_more_than_its_weight():
    it = process(argv=["é" * 500, "x" * 100], meta={"k": "\0" * 100}, output=Output(("out", "err")))
    it.exit = (-9, 1e9)
    it.owner = "x" * 100
    assert len(json.dumps(it.row())) <= it.weight
    socket = Socket(1, SocketSpec.parse({"name": "s", "path": "/" + "é" * 900}), port=None, fileno=3)
    assert len(json.dumps(socket.row())) <= socket.weight


def test_a_row_shows_a_socket_with_its_real_port():
    socket = Socket(4, SocketSpec.parse({"name": "s", "meta": {"k": 1}}), port=4711, fileno=7, is_covered=True)
    assert socket.row() == {
        "id": 4, "name": "s", "family": "inet", "type": "stream", "host": "127.0.0.1", "port": 4711, "backlog": 128,
        "meta": {"k": 1}, "fileno": 7, "covered": True,
    }  # fmt: skip
    shared = Socket(4, SocketSpec.parse({"name": "s", "reuseport": True}), port=1, fileno=7)
    assert shared.row()["reuseport"] is True
    unix = Socket(5, SocketSpec.parse({"name": "u", "path": "/x", "umask": 7}), port=None, fileno=8)
    assert (unix.row()["path"], unix.row()["umask"], "port" in unix.row()) == ("/x", 7, False)


def test_entries_say_what_they_are():
    it = process()
    assert repr(it) == "<process 3 web pid=12 running>"
    it.exit = (0, 1.0)
    assert repr(it) == "<process 3 web pid=12 ended>"
    assert repr(Socket(4, SocketSpec.parse({"name": "s"}), port=1, fileno=7)) == "<socket 4 s>"
