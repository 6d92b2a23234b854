from __future__ import annotations

import json

import pytest

from papa import model
from papa.core.entries import Process, Socket
from papa.core.output import Bounds, Output
from papa.errors import PapaError
from papa.kernel import records


def a_process(**more):
    facts = {
        "argv": ["/bin/sh", "\udcff"],
        "digest": "abc",
        "pid": 7,
        "start_ticks": 99,
        "started_at": 1.5,
        "meta": {"wid": 1},
        "uid": 3,
        "gid": 4,
        "output": Output(("out", "err"), Bounds(1000, "drop-oldest", 2.5)),
        **more,
    }
    return Process(12, "web", **facts)


def through_json(record):
    return json.loads(json.dumps(record))


def test_a_process_comes_back_from_its_record():
    process = a_process()
    process.exit = -9, 12.5
    record = through_json(records.of_process(process, "boot", inodes=(5, 6)))
    again = records.to_process(12, record)
    for key in ("id", "name", "argv", "digest", "pid", "start_ticks", "started_at", "meta", "uid", "gid", "exit"):
        assert getattr(again, key) == getattr(process, key), key
    bounds = records.bounds_of(record)
    assert (bounds.bound, bounds.overflow, bounds.stall_s) == (1000, "drop-oldest", 2.5)
    assert (record["captured"], record["inodes"], record["boot"]) == (["out", "err"], [5, 6], "boot")
    assert not again.is_removed


def test_bounds_of_each_stream_come_back():
    each = {"out": [4096, "hold", 0.5], "err": [9, "drop-oldest", 1.0]}
    process = a_process(output=Output(("out", "err"), Bounds(1000, "block", 2.5).with_streams(each)))
    record = through_json(records.of_process(process, "boot"))
    bounds = records.bounds_of(record)
    assert (bounds.pack(), bounds.pack_streams()) == ([1000, "block", 2.5], each)
    assert record["bounds"] == [1000, "block", 2.5], "what an older papa goes by"


@pytest.mark.parametrize("each", [7, {"in": [1, "hold", 1.0]}, {"out": [1, "explode", 1.0]}, {"out": [1, "hold"]}])
def test_misshapen_bounds_of_each_stream_are_refused(each):
    record = through_json(records.of_process(a_process(), "boot"))
    with pytest.raises((TypeError, ValueError, PapaError)):
        records.bounds_of({**record, "each": each})


def test_a_removed_process_without_output_comes_back_as_one():
    process = a_process(output=None)
    process.is_removed = True
    process.name = None
    record = through_json(records.of_process(process, "boot"))
    again = records.to_process(12, record)
    assert again.is_removed and again.name is None and again.exit is None
    assert record["captured"] == []
    assert records.bounds_of(record).bound == model.DEFAULT_BOUND


def test_no_record_has_the_environment():
    spec = model.ProcessSpec.parse({"name": "web", "argv": ["x"], "env": {"PASSWORD": "hunter2"}})
    process = a_process(digest=spec.digest(b"key"))
    assert "hunter2" not in json.dumps(records.of_process(process, "boot"))


@pytest.mark.parametrize("file", [None, (1, 2)])
def test_a_socket_comes_back_from_its_record(file):
    spec = model.SocketSpec.parse({"name": "front", "host": "127.0.0.1", "meta": {"a": 1}})
    socket = Socket(3, spec, port=8080, fileno=200)
    again, its_file = records.to_socket(3, through_json(records.of_socket(socket, "boot", file)))
    assert again.row() == socket.row()
    assert again.spec.is_met_by(spec)
    assert its_file == file


def test_what_is_no_record_raises_what_recovery_expects():
    for record in ({}, {"name": 1}, {"exit": [1]}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            records.to_process(1, record)


ODD = [
    ("name", ["web"]), ("name", ""), ("name", "a b"), ("argv", "x"), ("argv", [1]), ("digest", 1), ("pid", -1),
    ("pid", 2**31), ("pid", True), ("ticks", "x"), ("started_at", float("nan")), ("started_at", float("inf")),
    ("meta", {"k": float("inf")}), ("meta", [1]), ("uid", "root"), ("gid", -1), ("exit", [1]), ("exit", ["x", 1.5]),
    ("exit", [None, None]), ("exit", "ab"), ("removed", 1),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), ODD, ids=str)
def test_a_field_that_no_papa_wrote_is_found_before_anything_is_done_with_it(key, value):
    record = through_json(records.of_process(a_process(), "boot"))
    with pytest.raises((KeyError, TypeError, ValueError, PapaError)):
        records.to_process(12, {**record, key: value})


@pytest.mark.parametrize("bounds", [["a", "block", 1.0], [0, "block", 1.0], [1, "x", 1.0], [1, "block", None], [1], {}])
def test_bounds_that_no_papa_wrote(bounds):
    with pytest.raises((TypeError, ValueError, PapaError)):
        records.bounds_of({"bounds": bounds})


@pytest.mark.parametrize(
    ("captured", "inodes"), [(["../x"], []), ("out", []), (["out"], [float("inf")]), (["out"], [-1]), (["out"], {})]
)
def test_streams_that_no_papa_wrote(captured, inodes):
    with pytest.raises((TypeError, ValueError, PapaError)):
        records.streams_of({"captured": captured, "inodes": inodes})


@pytest.mark.parametrize(
    ("key", "value"), [("spec", []), ("port", "80"), ("port", 65_536), ("fileno", None), ("file", [1]), ("file", "ab")]
)
def test_a_socket_that_no_papa_wrote(key, value):
    spec = model.SocketSpec.parse({"name": "front", "host": "127.0.0.1"})
    record = through_json(records.of_socket(Socket(3, spec, port=8080, fileno=200), "boot", None))
    with pytest.raises((TypeError, ValueError, PapaError)):
        records.to_socket(3, {**record, key: value})
