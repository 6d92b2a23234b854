from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import papa as published
from papa.client import blocking
from papa.client.sync import DEVNULL, PIPE, STDOUT, Papa, ProcessOutput, Watcher
from papa.errors import Error, PapaError
from papa.testing import FakeKernel, FakeServer


class World:
    """A fake kernel behind sockets, and what a test does to its processes."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.kernel = server.kernel

    def write(self, name: str | int, stream: str, data: bytes) -> None:
        self.server.call(lambda: self.kernel.write(name, stream, data))

    def end(self, name: str | int, status: int = 0, *, keep_open: bool = False) -> None:
        self.server.call(lambda: self.kernel.end(name, status, keep_open=keep_open))

    def row(self, name: str | int) -> dict[str, Any]:
        return self.server.call(lambda: self.kernel.row(name))

    def rows(self) -> list[dict[str, Any]]:
        return self.server.call(self.kernel.rows)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    before = len(os.listdir("/proc/self/fd"))
    kernel = FakeKernel()
    with FakeServer(kernel) as server:
        monkeypatch.setattr(blocking.launch, "open_connection", server.open_connection)
        yield World(server)
    kernel.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def papa(world: World) -> Iterator[Papa]:
    with Papa() as client:
        yield client


def is_readable(watcher: Watcher, timeout_s: float = 0.0) -> bool:
    return bool(select.select([watcher], [], [], timeout_s)[0])


def make(papa: Papa, name: str = "web", **options: Any) -> dict[str, Any]:
    made = papa.make_process(name, "/bin/server", **options)
    assert isinstance(made, dict)
    return made


# Sockets


def test_a_socket_has_the_published_keys(papa: Papa) -> None:
    info = papa.make_socket("s")
    assert info == {
        "family": "inet", "type": "stream", "backlog": 5, "host": "127.0.0.1", "port": info["port"],
        "fileno": info["fileno"],
    }  # fmt: skip
    assert info["port"] > 0
    assert papa.list_sockets() == {"s": info}
    assert papa.make_socket("s") == info


def test_socket_arguments_come_in_the_published_order(papa: Papa) -> None:
    info = papa.make_socket("s", "::1", 8000, socket.AF_INET6, socket.SOCK_DGRAM, 7, None, None, "lo", True)
    assert info == {
        "family": "inet6", "type": "dgram", "backlog": 7, "host": "::1", "port": 8000, "interface": "lo",
        "reuseport": "1",
    }  # fmt: skip


def test_a_unix_socket_has_a_path_and_its_umask_as_text(papa: Papa) -> None:
    info = papa.make_socket("u", path="/tmp/x.sock", umask=0o22)
    assert info == {
        "family": "unix", "type": "stream", "backlog": 5, "path": "/tmp/x.sock", "umask": "18",
        "fileno": info["fileno"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "requires a name"),
        ({"name": "s", "family": 999}, "Invalid socket family"),
        ({"name": "s", "socket_type": 999}, "Invalid socket type"),
        ({"name": "s", "port": "http"}, "Socket s: port: must be a number, not 'http'"),
        ({"name": "s", "backlog": "x"}, "Socket s: backlog: must be a number, not 'x'"),
        ({"name": "s", "path": "/tmp/x.sock", "umask": "rw"}, "Socket s: umask: must be a number, not 'rw'"),
        ({"name": "s", "path": "relative"}, "absolute"),
        ({"name": "s", "path": "/dir/"}, "name a file"),
        ({"name": "s", "path": "/x", "family": socket.AF_INET}, "AF_UNIX"),
    ],
)
def test_wrong_sockets_are_refused(papa: Papa, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(Error, match=message):
        papa.make_socket(**arguments)


def test_another_socket_of_the_same_name_is_refused(papa: Papa) -> None:
    papa.make_socket("s", port=1)
    with pytest.raises(Error, match="already been created"):
        papa.make_socket("s", port=2)


def test_sockets_are_removed_by_name_or_pattern_but_never_by_accident(papa: Papa) -> None:
    for name in ("a.1", "a.2", "b"):
        papa.make_socket(name)
    assert papa.remove_sockets("a.*") is True
    assert list(papa.list_sockets()) == ["b"]
    assert papa.list_sockets("a.1", "z*") == {}
    with pytest.raises(Error, match="nobody not found"):
        papa.remove_sockets("nobody")
    with pytest.raises(Error, match=r'"\*" means all'):
        papa.remove_sockets()
    papa.remove_sockets("*")
    assert papa.list_sockets() == {}


# Values


def test_values_are_kept_byte_for_byte(papa: Papa) -> None:
    papa.set("a.1", "Error: two\nlines \\ ")
    papa.set("a.2", "2")
    assert papa.get("a.1") == "Error: two\nlines \\ "
    assert papa.list_values() == {"a.1": "Error: two\nlines \\ ", "a.2": "2"}
    assert papa.list_values("a.2", "zz") == {"a.2": "2"}
    papa.set("a.1")
    papa.set("a.2", "")
    assert papa.get("a.1") is None
    assert papa.get("never") is None
    assert papa.list_values() == {}


def test_all_values_are_not_removed_at_once(papa: Papa) -> None:
    papa.set("a", "1")
    for patterns in [(), ("*",)]:
        with pytest.raises(Error, match="cannot remove all"):
            papa.remove_values(*patterns)
    assert papa.remove_values("a*") is True
    assert papa.list_values() == {}


def test_a_value_is_text(papa: Papa) -> None:
    with pytest.raises(Error, match="must be a str"):
        papa.set("a", 1)  # type: ignore[arg-type]


# Processes


def test_a_process_has_the_published_keys(papa: Papa, world: World) -> None:
    info = papa.make_process("web", "/bin/server", ["--port", "a b=c", ""], env={"A": "1 "}, working_dir="/tmp")
    assert info == {
        "pid": world.row("web")["pid"], "running": True, "started": world.row("web")["started_at"],
        "args": "/bin/server --port a b=c ",
    }  # fmt: skip
    assert papa.list_processes() == {"web": info}
    assert papa.list_processes("w*", "other") == {"web": info}
    spawned = world.kernel.spawns[0]
    assert spawned["argv"] == ["/bin/server", "--port", "a b=c", ""]
    assert (spawned["env"], spawned["cwd"]) == ({"A": "1 "}, "/tmp")


@pytest.mark.parametrize(
    ("executable", "args", "argv"),
    [
        ("/bin/x", None, ["/bin/x"]),
        ("/bin/x", "one argument", ["/bin/x", "one argument"]),
        ("/bin/x", 5, ["/bin/x", "5"]),
        (None, ("prog", "a"), ["prog", "a"]),
        (None, b"prog", ["prog"]),
    ],
)
def test_arguments_are_taken_as_published(
    papa: Papa, world: World, executable: str | None, args: Any, argv: list[str]
) -> None:
    papa.make_process("p", executable, args)
    assert world.kernel.spawns[0]["argv"] == argv
    assert world.kernel.spawns[0]["env"] == {}


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        ({}, {"stdout": "capture", "stderr": "capture"}),
        ({"stdout": PIPE, "stderr": STDOUT}, {"stdout": "capture", "stderr": "stdout"}),
        ({"stdout": DEVNULL, "stderr": DEVNULL}, {"stdout": "null", "stderr": "null"}),
        ({"bufsize": 0, "stdout": PIPE}, {"stdout": "null", "stderr": "null"}),
        ({"bufsize": "2k"}, {"stdout": "capture", "stderr": "capture", "bound": 2048}),
        ({"bufsize": 4096}, {"stdout": "capture", "stderr": "capture", "bound": 4096}),
        ({"rlimits": {"NOFILE": 64}}, {"rlimits": {"nofile": [64, 64]}}),
        ({"uid": 0, "gid": 0}, {"uid": 0, "gid": 0}),
        ({"uid": "root"}, {"uid": 0, "gid": 0}),
        ({"gid": "root"}, {"gid": 0}),
    ],
)
def test_options_are_translated(papa: Papa, world: World, options: dict[str, Any], spec: dict[str, Any]) -> None:
    make(papa, **options)
    spawned = world.kernel.spawns[0]
    assert {key: spawned[key] for key in spec} == spec


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "requires a name"),
        ({"executable": None}, "No command"),
        ({"stdout": 5}, "stdout must be"),
        ({"stderr": 5}, "stderr must be"),
        ({"bufsize": "lots"}, "bufsize"),
        ({"rlimits": {"cheese": 1}}, 'Unknown rlimit "cheese"'),
        ({"rlimits": {"nofile": "many"}}, "rlimit nofile: must be a number, not 'many'"),
        ({"uid": "no such user"}, "not a valid user name"),
        ({"uid": "²"}, "not a valid user name"),
        ({"uid": "root\0"}, "not a valid user name"),
        ({"uid": 4_000_000_000}, "not a valid user id"),
        ({"gid": "no such group"}, "No such group"),
    ],
)
def test_wrong_processes_are_refused(papa: Papa, options: dict[str, Any], message: str) -> None:
    with pytest.raises(Error, match=message):
        papa.make_process(**{"name": "p", "executable": "/bin/x", **options})


def test_making_is_idempotent_and_another_one_is_refused(papa: Papa) -> None:
    assert make(papa) == make(papa)
    with pytest.raises(Error, match="already been created"):
        make(papa, args=["other"])


def test_a_dead_process_is_listed_until_its_end_is_acknowledged(papa: Papa, world: World) -> None:
    make(papa)
    world.end("web", 3)
    assert papa.list_processes()["web"]["running"] is False
    with papa.watch_processes("web") as watcher:
        assert watcher.read()[2] == [ProcessOutput("web", world.kernel.clock.wall(), 3)]
        assert watcher.exit_code == {"web": 3}
    assert papa.list_processes() == {}


def test_processes_are_removed(papa: Papa, world: World) -> None:
    make(papa)
    assert papa.remove_processes("web") is True
    assert papa.list_processes() == {}
    with pytest.raises(Error, match="web not found"):
        papa.remove_processes("web")
    world.end(world.rows()[0]["id"])


# Watching


def test_output_comes_in_lists_with_its_times(papa: Papa, world: World) -> None:
    make(papa)
    watcher = papa.watch_processes("web")
    world.write("web", "out", b"one\n")
    world.server.call(lambda: world.kernel.clock.advance(1.5))
    world.write("web", "out", b"two\n")
    world.write("web", "err", b"oh\n")
    at = world.kernel.clock.wall()
    out, err, closed = watcher.read()
    assert out == [ProcessOutput("web", at - 1.5, b"one\n"), ProcessOutput("web", at, b"two\n")]
    assert err == [ProcessOutput("web", at, b"oh\n")]
    assert closed == []
    watcher.close()


def test_what_was_not_acknowledged_comes_again(papa: Papa, world: World) -> None:
    make(papa)
    world.write("web", "out", b"one")
    watcher = papa.watch_processes("web")
    assert [o.data for o in watcher.read()[0]] == [b"one"]
    assert world.row("web")["streams"]["out"]["acked"] == 0
    world.server.hang_up()
    watcher.close()
    watcher = papa.watch_processes("web")
    assert [o.data for o in watcher.read()[0]] == [b"one"]
    watcher.acknowledge()
    assert world.row("web")["streams"]["out"]["acked"] == 3
    world.write("web", "out", b"two")
    assert [o.data for o in watcher.read()[0]] == [b"two"]
    assert world.row("web")["streams"]["out"]["acked"] == 3
    watcher.close()
    assert world.row("web")["streams"]["out"]["acked"] == 6


def test_the_end_comes_after_all_output_and_then_nothing_is_left(papa: Papa, world: World) -> None:
    make(papa)
    watcher = papa.watch_processes("web")
    world.write("web", "out", b"last words")
    world.end("web", -9)
    out, _, closed = watcher.read()
    assert ([o.data for o in out], [c.data for c in closed]) == ([b"last words"], [-9])
    assert bool(watcher)
    assert watcher.read() == ([], [], [])
    assert not watcher
    assert len(watcher) == 0
    assert watcher.read() == ([], [], [])
    assert world.rows() == []


def test_the_readers_loop_of_the_published_examples_ends(papa: Papa, world: World) -> None:
    made = papa.make_process("web", "/bin/server", watch_immediately=True)
    assert isinstance(made, Watcher)
    seen: list[Any] = []
    threading.Timer(0.05, lambda: (world.write("web", "out", b"x"), world.end("web", 0))).start()
    while made:
        out, err, closed = made.read()
        seen += [o.data for o in (*out, *err, *closed)]
    assert seen == [b"x", 0]


def test_the_closed_come_even_while_a_grandchild_holds_the_output(papa: Papa, world: World) -> None:
    make(papa)
    watcher = papa.watch_processes("web")
    world.end("web", 1, keep_open=True)
    assert [c.data for c in watcher.read()[2]] == [1]
    watcher.close()
    world.write("web", "out", b"late")
    with papa.watch_processes("web") as again:
        assert [o.data for o in again.read()[0]] == [b"late"]


def test_the_descriptor_and_ready_tell_the_truth(papa: Papa, world: World) -> None:
    make(papa)
    watcher = papa.watch_processes("web")
    assert not watcher.ready
    assert not is_readable(watcher)
    world.write("web", "out", b"x")
    assert is_readable(watcher, 5)
    assert watcher.ready
    watcher.read()
    assert not watcher.ready
    assert not is_readable(watcher)
    watcher.acknowledge()
    assert not watcher.ready
    world.write("web", "out", b"y")
    assert is_readable(watcher, 5)
    watcher.read()
    world.end("web")
    assert is_readable(watcher, 5)
    assert watcher.ready
    watcher.read()
    watcher.acknowledge()
    assert is_readable(watcher, 5), "nothing is left to watch: read would return at once"
    assert watcher.read() == ([], [], [])
    assert not watcher.ready


def test_a_read_that_was_woken_by_no_news_does_not_block_an_event_loop(papa: Papa, world: World) -> None:
    make(papa)
    watcher = papa.watch_processes("web")
    world.server.call(lambda: world.kernel.eof("web", "err"))
    assert is_readable(watcher, 5)
    assert watcher.read() == ([], [], [])
    assert watcher
    assert not is_readable(watcher)
    world.write("web", "out", b"x")
    assert [o.data for o in watcher.read()[0]] == [b"x"]
    watcher.close()


def test_a_watch_that_begins_behind_acknowledged_output_is_quiet(papa: Papa, world: World) -> None:
    make(papa)
    world.write("web", "out", b"old")
    with papa.watch_processes("web") as watcher:
        watcher.read()
    watcher = papa.watch_processes("web")
    assert not is_readable(watcher)
    assert not watcher.ready
    watcher.close()


def test_news_from_before_the_watch_makes_the_descriptor_readable(papa: Papa, world: World) -> None:
    make(papa)
    world.end("web", 2)
    watcher = papa.watch_processes("web")
    assert is_readable(watcher, 5)
    assert watcher.ready
    assert watcher.read()[2][0].data == 2
    watcher.close()


def test_two_watchers_see_the_same_and_either_acknowledges(papa: Papa, world: World) -> None:
    make(papa)
    world.write("web", "out", b"x")
    one, two = papa.watch_processes("web"), papa.watch_processes("web")
    assert [o.data for o in one.read()[0]] == [b"x"]
    assert [o.data for o in two.read()[0]] == [b"x"]
    one.acknowledge()
    assert world.row("web")["streams"]["out"]["acked"] == 1
    two.acknowledge()
    one.close()
    world.write("web", "out", b"y")
    assert [o.data for o in two.read()[0]] == [b"y"]
    two.close()


def test_a_waiting_watcher_sees_what_another_one_was_told(
    papa: Papa, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("papa.client.watching.LOOK_AGAIN_S", 0.02)
    make(papa)
    one = papa.watch_processes("web")
    two = papa.watch_processes("web")
    world.write("web", "out", b"x")
    assert [o.data for o in one.read()[0]] == [b"x"]
    assert [o.data for o in two.read()[0]] == [b"x"]
    world.end("web")
    assert len(one.read()[2]) == 1
    one.close()
    assert two.read() in (([], [], []), ([], [], [ProcessOutput("web", world.kernel.clock.wall(), 0)]))
    two.close()


def test_dropped_bytes_are_counted_and_skipped(papa: Papa, world: World) -> None:
    make(papa)
    watcher = papa.watch_processes("web")
    world.write("web", "out", b"0123456789")
    world.server.call(lambda: world.kernel.drop_oldest("web", "out", 4))
    assert b"".join(o.data for o in watcher.read()[0]) == b"456789"
    assert watcher.dropped == {"web": 4}
    watcher.close()


def test_a_large_output_comes_in_portions(papa: Papa, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("papa.client.watching.MAX_READ", 1000)
    make(papa)
    watcher = papa.watch_processes("web")
    world.write("web", "out", b"x" * 2500)
    world.end("web", 0)
    sizes = []
    while watcher:
        out, _, closed = watcher.read()
        sizes.append((sum(len(o.data) for o in out), len(closed)))
        if watcher and not closed:
            assert is_readable(watcher, 5)
    assert sizes == [(1000, 0), (1000, 0), (500, 1), (0, 0)]


def test_watching_the_unknown_or_nothing_is_an_error(papa: Papa) -> None:
    with pytest.raises(Error, match="web not found"):
        papa.watch_processes("web")
    with pytest.raises(Error, match="Nothing to watch"):
        papa.watch_processes("w*")


def test_a_process_of_another_owner_is_not_watched(papa: Papa, world: World) -> None:
    make(papa)
    with blocking.Connection(client="circusd") as other:
        other.request("attach", id=world.row("web")["id"], owner="circusd")
        with pytest.raises(PapaError) as caught:
            papa.watch_processes("web")
        assert caught.value.code == "owned"
    assert papa.list_processes()["web"]["running"] is True


def test_a_process_removed_under_a_watch_ends_it(papa: Papa, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("papa.client.watching.LOOK_AGAIN_S", 0.02)
    make(papa)
    watcher = papa.watch_processes("web")
    papa.remove_processes("web")
    assert watcher.read() == ([], [], [])
    assert not watcher


def test_a_lost_kernel_ends_the_watch_with_an_error(papa: Papa, world: World) -> None:
    make(papa)
    watcher = papa.watch_processes("web")
    world.server.hang_up()
    with pytest.raises(Error, match="Lost connection"):
        watcher.read()
    assert not watcher
    with pytest.raises(AttributeError):
        watcher.fileno()
    watcher.close()


def test_watching_takes_the_connection_and_the_client_makes_a_new_one(papa: Papa) -> None:
    make(papa)
    fd = papa.fileno()
    watcher = papa.watch_processes("web")
    assert watcher.fileno() == fd
    assert papa.fileno() is None
    assert list(papa.list_processes()) == ["web"]
    watcher.close()
    watcher.close()


# The connection


def test_a_closed_client_connects_again(papa: Papa) -> None:
    papa.set("a", "1")
    assert isinstance(papa.fileno(), int)
    papa.close()
    papa.close()
    assert papa.fileno() is None
    assert papa.get("a") == "1"


def test_a_lost_connection_is_one_error_and_then_made_again(papa: Papa, world: World) -> None:
    papa.set("a", "1")
    world.server.hang_up()
    with pytest.raises(Error, match="Lost connection"):
        papa.get("a")
    assert papa.get("a") == "1"


def test_exit_if_idle_says_whether_it_did(papa: Papa) -> None:
    papa.set("a", "1")
    assert papa.exit_if_idle() is False
    papa.set("a", None)
    assert papa.exit_if_idle() is True


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(Error, match="absolute"):
        Papa("relative.sock")


def test_defaults_are_what_was_set_last(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, Any]] = []

    def open_connection(endpoint: Any = None, **options: Any) -> socket.socket:
        asked.append((endpoint, options["timeout_s"]))
        return world.server.open_connection()

    monkeypatch.setattr(blocking.launch, "open_connection", open_connection)
    monkeypatch.setattr(Papa, "_default_endpoint", None)
    monkeypatch.setattr(Papa, "_default_timeout_s", 10.0)
    steps: list[Callable[[], None]] = [
        lambda: published.set_default_port(30303),
        lambda: published.set_default_path("/tmp/p.sock"),
        lambda: published.set_default_connection_timeout(5),
    ]
    for step in [lambda: None, *steps]:
        step()
        Papa().close()
    Papa(7, 3).close()
    assert asked == [(None, 10.0), (30303, 10.0), ("/tmp/p.sock", 10.0), ("/tmp/p.sock", 5), (7, 3)]


def test_a_kernel_that_cannot_be_reached_is_said_in_the_published_words_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def open_connection(endpoint: Any = None, **options: Any) -> socket.socket:
        raise PapaError("nobody is there", code="unreachable", hint="look into the log")

    monkeypatch.setattr(blocking.launch, "open_connection", open_connection)
    with pytest.raises(Error, match=r"Could not connect to Papa in \S+ seconds: nobody is there") as caught:
        Papa()
    assert (caught.value.code, caught.value.hint) == ("unreachable", "look into the log")
    assert [(record.name, record.levelname) for record in caplog.records] == [("papa.client", "ERROR")]


def test_the_name_of_a_module_that_is_overwritten_by_mistake_breaks_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Papa, "_default_endpoint", None)
    monkeypatch.setattr(published, "set_default_port", "20202", raising=False)
    published.Papa().close()
    published.set_default_path("/tmp/p.sock")
    assert Papa._default_endpoint == "/tmp/p.sock"


def test_a_shells_command_is_shown_without_its_shell(papa: Papa) -> None:
    with blocking.Connection(client="text") as other:
        row = other.request("spawn", name="s", argv=["/bin/sh", "-c", "echo $HOME"], meta={"shell": True}).ok
    info = papa.list_processes()["s"]
    assert info == {
        "pid": row["pid"], "running": True, "started": row["started_at"], "args": "echo $HOME", "shell": True,
    }  # fmt: skip


def test_a_dead_process_whose_end_nobody_read_is_found_again_and_keeps_its_name(papa: Papa, world: World) -> None:
    first = make(papa)
    world.write("web", "out", b"last words")
    world.end("web", 3)
    again = make(papa)
    assert (again["pid"], again["running"]) == (first["pid"], False)
    with pytest.raises(Error, match="already been created"):
        make(papa, args=["other"])
    with papa.watch_processes("web") as watcher:
        out, _, closed = watcher.read()
        assert ([o.data for o in out], [c.data for c in closed]) == ([b"last words"], [3])
    assert make(papa)["running"] is True
    assert len(world.kernel.spawns) == 2
