"""The published client on a real kernel: what programs written for papa 1.x rely on, claim by claim."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import machine
from tests.house import free_port, wait_for

import papa
from papa import places
from papa.client import launch
from papa.client.blocking import Connection

#: Writes all that it is told about itself, then ends.
ABOUT = "import os, resource, sys; print(dict(os.environ), os.getcwd(), os.getsid(0) == os.getpid(), sys.stdin.read(), \
resource.getrlimit(resource.RLIMIT_NOFILE), os.getuid(), os.getgid())"


def made(client: papa.Papa, name: str, *words: str, **options: Any) -> dict[str, Any]:
    process = client.make_process(name, None, words, **options)
    assert isinstance(process, dict)
    return process


def told(client: papa.Papa, name: str) -> tuple[bytes, bytes, int]:
    """All output of a process that ends, and how it ends."""
    out = err = b""
    with client.watch_processes(name) as watcher:
        while watcher:
            outs, errs, _ = watcher.read()
            out += b"".join(piece.data for piece in outs)
            err += b"".join(piece.data for piece in errs)
        return out, err, watcher.exit_code[name]


def kernel_pid(client: papa.Papa) -> int:
    pid: int = client._connected().hello["pid"]
    return pid


# Connecting


@pytest.mark.parametrize("nothing", [None, 0, ""])
def test_nothing_names_the_default_kernel(client: papa.Papa, nothing: Any) -> None:
    client.set("a", "1")
    with papa.Papa(nothing) as other:
        assert other.get("a") == "1"


def test_a_path_names_a_kernel_of_its_own(client: papa.Papa, real_root: Path) -> None:
    client.set("a", "1")
    with papa.Papa(str(real_root / "other.sock")) as other:
        assert other.get("a") is None
        assert (real_root / "other.sock").is_socket()


def test_a_client_goes_on_with_the_kernel_that_replaced_a_killed_one(client: papa.Papa) -> None:
    client.set("a", "1")
    process = made(client, "p", "/bin/sleep", "1000")
    watcher = client.watch_processes("p")
    assert client.get("a") == "1"
    os.kill(kernel_pid(client), signal.SIGKILL)
    with pytest.raises(papa.Error, match="Lost connection"):
        client.get("a")
    with pytest.raises(papa.Error, match="Lost connection"):
        watcher.read()
    assert client.get("a") == "1"
    assert client.list_processes()["p"] == process


def test_a_client_goes_on_after_its_kernel_executed_new_code(client: papa.Papa) -> None:
    client.set("a", "1")
    pid = kernel_pid(client)
    with Connection(client="test") as connection:
        connection.request("upgrade")
    assert client.get("a") == "1"
    assert kernel_pid(client) == pid


def test_a_client_starts_as_many_kernels_as_it_takes(client: papa.Papa) -> None:
    pids = set()
    for _ in range(3):
        pid = kernel_pid(client)
        pids.add(pid)
        assert client.exit_if_idle()
        wait_for(lambda pid=pid: not machine.is_alive(pid), "its end: whoever comes before keeps it")
        client.set("a", "1")
        client.set("a")
    assert len(pids) == 3


def test_nobody_is_cut_off_by_another_client_that_lets_an_idle_kernel_go(client: papa.Papa) -> None:
    with papa.Papa() as other:
        pid = kernel_pid(client)
        assert other.exit_if_idle()
        client.set("a", "1")
        assert client.exit_if_idle() is False
        client.set("a")
        assert client.exit_if_idle()
    wait_for(lambda: not machine.is_alive(pid), "its end, when nobody is connected any more")


def test_each_thread_has_a_client_of_its_own(client: papa.Papa) -> None:
    seen: list[bytes] = []

    def work(number: int) -> None:
        with papa.Papa() as own:
            made(own, f"p{number}", "/bin/echo", str(number))
            seen.append(told(own, f"p{number}")[0])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(seen) == [b"%d\n" % number for number in range(8)]


@pytest.mark.parametrize("what", ["nothing", "a value", "a socket", "a process"])
def test_a_kernel_leaves_when_asked_and_idle_and_its_holder_with_it(client: papa.Papa, what: str) -> None:
    with Connection(client="test") as connection:
        facts = connection.request("status").ok
    hold: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "a value": lambda: client.set("a", "1"),
        "a socket": lambda: client.make_socket("a"),
        "a process": lambda: made(client, "a", "/bin/true"),
    }
    hold[what]()
    assert client.exit_if_idle() is (what == "nothing")
    if what != "nothing":
        client.set("a")
        client.remove_sockets("*")
        client.remove_processes("*")
        wait_for(client.exit_if_idle, "idleness")
    wait_for(lambda: not machine.is_alive(facts["pid"]) and not machine.is_alive(facts["holder"]), "both ends")
    assert not os.path.exists(places.resolve().directory)


def test_the_list_of_processes_says_whose_kernel_it_is(real_root: Path) -> None:
    program = real_root / "circusd"
    program.write_text("import papa; print(papa.Papa()._connected().hello['pid'])")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=30)
    pid = int(done.stdout)
    assert Path(f"/proc/{pid}/cmdline").read_bytes().strip(b"\0") == b"papa daemon from circusd"


# Values, names, patterns


@pytest.mark.parametrize(
    "value", ["Error: no error", "Error:", " two  blanks ", "line\nline", "ü€", "\\", "x" * 100_000]
)
def test_any_text_is_a_value(client: papa.Papa, value: str) -> None:
    assert client.set("a", value) is None  # type: ignore[func-returns-value]
    assert client.get("a") == value
    assert client.list_values() == {"a": value}


@pytest.mark.parametrize("nothing", [None, "", 0])
def test_what_is_false_clears_a_value(client: papa.Papa, nothing: Any) -> None:
    client.set("a", "1")
    client.set("a", nothing)
    assert client.get("a") is None
    assert client.list_values() == {}


@pytest.mark.parametrize("patterns", [(), ("*",), ("a*", "*")])
def test_all_values_at_once_are_never_removed(client: papa.Papa, patterns: tuple[str, ...]) -> None:
    client.set("a", "1")
    with pytest.raises(papa.Error, match="cannot remove all"):
        client.remove_values(*patterns)
    assert client.get("a") == "1"


def test_sockets_values_and_processes_have_names_of_their_own(client: papa.Papa) -> None:
    client.set("x", "1")
    client.make_socket("x")
    made(client, "x", "/bin/sleep", "1000")
    client.make_socket("X")
    assert (list(client.list_values()), sorted(client.list_sockets()), list(client.list_processes())) == (
        ["x"],
        ["X", "x"],
        ["x"],
    )


@pytest.mark.parametrize("name", ["a:b", "a b", "a\nb", "a*", "", "x" * 300])
def test_a_name_that_cannot_be_written_down_is_refused(client: papa.Papa, name: str) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: client.set(name, "1"),
        lambda: client.make_socket(name),
        lambda: made(client, name, "/bin/true"),
    ]
    for attempt in attempts:
        with pytest.raises(papa.Error, match="name"):
            attempt()
    assert client.list_processes() == {}


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ((), ["a.1", "a.2", "a*b", "b"]),
        (("*",), ["a.1", "a.2", "a*b", "b"]),
        (("a.*",), ["a.1", "a.2"]),
        (("a*b",), ["a*b"]),
        (("*b",), []),
        (("b", "a.2", "b"), ["a.2", "b"]),
        (("b", "nobody", "z*"), ["b"]),
        (("A*",), []),
    ],
)
def test_a_pattern_is_a_name_or_a_beginning(client: papa.Papa, patterns: tuple[str, ...], names: list[str]) -> None:
    for name in ("a.1", "a.2", "a*b", "b"):
        client.set(name, "1")
        client.make_socket(name)
        made(client, name, "/bin/sleep", "1000")
    for listed in (client.list_values, client.list_sockets, client.list_processes):
        assert sorted(listed(*patterns)) == sorted(names)


def test_removing_says_what_is_not_there_unless_it_is_a_pattern(client: papa.Papa) -> None:
    for remove in (client.remove_sockets, client.remove_processes):
        assert remove("z*") is True
        with pytest.raises(papa.Error, match="nobody not found"):
            remove("nobody")
        with pytest.raises(papa.Error, match="means all"):
            remove()
    assert client.remove_values("nobody", "z*") is True


# Sockets


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({}, {"family": "inet", "type": "stream", "backlog": 5, "host": "127.0.0.1", "fileno": 200}),
        ({"backlog": 9}, {"family": "inet", "type": "stream", "backlog": 9, "host": "127.0.0.1", "fileno": 200}),
        (
            {"family": socket.AF_INET6},
            {"family": "inet6", "type": "stream", "backlog": 5, "host": "::1", "fileno": 200},
        ),
        (
            {"socket_type": socket.SOCK_DGRAM},
            {"family": "inet", "type": "dgram", "backlog": 5, "host": "127.0.0.1", "fileno": 200},
        ),
        (
            {"interface": "lo"},
            {"family": "inet", "type": "stream", "backlog": 5, "host": "0.0.0.0", "interface": "lo", "fileno": 200},
        ),
        (
            {"reuseport": True},
            {"family": "inet", "type": "stream", "backlog": 5, "host": "127.0.0.1", "reuseport": "1"},
        ),
    ],
)
def test_a_socket_is_told_with_what_applies_to_it(
    client: papa.Papa, options: dict[str, Any], keys: dict[str, Any]
) -> None:
    info = client.make_socket("s", **options)
    port = info.pop("port")
    assert isinstance(port, int)
    assert port > 0
    assert info == keys
    assert client.make_socket("s", **options, port=port) == {**info, "port": port}
    assert client.list_sockets("s") == {"s": {**info, "port": port}}


def test_a_unix_socket_takes_its_path_with_its_umask_and_leaves_nothing(client: papa.Papa, real_root: Path) -> None:
    path = real_root / "s.sock"
    path.write_text("what is no socket is never removed")
    with pytest.raises(papa.Error, match="no socket"):
        client.make_socket("s", path=str(path))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    info = client.make_socket("s", path=str(path), umask=0o177)
    assert info.pop("fileno") == 200
    assert info == {"family": "unix", "type": "stream", "backlog": 5, "path": str(path), "umask": "127"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(papa.Error, match="already been created"):
        client.make_socket("other", path=str(path))
    client.remove_sockets("s")
    assert not path.exists()


def test_another_socket_of_that_name_is_refused_and_an_equal_one_is_found(client: papa.Papa) -> None:
    first = client.make_socket("s")
    assert client.make_socket("s") == first
    assert client.make_socket("s", port=first["port"]) == first
    for other in ({"backlog": 7}, {"family": socket.AF_INET6}, {"port": 1}, {"path": "/tmp/never"}):
        with pytest.raises(papa.Error, match="already been created"):
            client.make_socket("s", **other)  # type: ignore[arg-type]


def test_a_socket_serves_by_its_number_and_blocks(client: papa.Papa) -> None:
    info = client.make_socket("s")
    words = "$(socket.s.port)/$(socket.s.fileno)/$(socket.s.port)"
    server = "import os, socket, sys; word = sys.argv[1]; s = socket.socket(fileno=int(word.split('/')[1]));\
c, _ = s.accept(); c.sendall(f'{word} {os.get_blocking(s.fileno())}'.encode())"
    process = made(client, "p", sys.executable, "-S", "-c", server, words)
    assert process["args"].endswith(words), "arguments are shown as they were asked for"
    with socket.create_connection(("127.0.0.1", info["port"])) as connection:
        connection.settimeout(30)
        answer = connection.makefile().read()
    assert answer == f"{info['port']}/200/{info['port']} True"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("$(socket.nobody.fileno)", "nobody not found"),
        ("$(socket.s.fileno", r"\$\(socket\.s\.fileno"),
        ("$(socket.s.colour)", r"\$\(socket\.s\.colour\)"),
    ],
)
def test_a_wrong_reference_to_a_socket_starts_nothing(client: papa.Papa, word: str, message: str) -> None:
    client.make_socket("s")
    with pytest.raises(papa.Error, match=message):
        made(client, "p", "/bin/echo", word)
    assert client.list_processes() == {}


# Processes


def test_a_process_gets_what_was_said_and_nothing_else(client: papa.Papa) -> None:
    made(client, "plain", sys.executable, "-S", "-E", "-c", ABOUT)
    out, err, status = told(client, "plain")
    assert (err, status) == (b"", 0)
    environ, rest = out.decode().split("} ")
    assert not {*eval(environ + "}")} - {"LC_CTYPE"}, "the environment is empty but for what Python adds"
    assert rest.startswith("/ True  "), "in /, in a session of its own, without input"


def test_a_process_gets_directory_environment_and_limits(client: papa.Papa, real_root: Path) -> None:
    options: dict[str, Any] = {"env": {"A": "b c "}, "working_dir": str(real_root), "rlimits": {"NOFILE": 77}}
    made(client, "p", sys.executable, "-S", "-E", "-c", ABOUT, **options)
    out = told(client, "p")[0].decode()
    assert "'A': 'b c '" in out
    assert f"{real_root} True  (77, 77)" in out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run processes as others")
@pytest.mark.parametrize(("user", "group", "ids"), [("nobody", None, "65534 65534"), (1, "2", "1 2"), ("1", 3, "1 3")])
def test_a_process_runs_as_the_user_that_was_said(client: papa.Papa, user: Any, group: Any, ids: str) -> None:
    process = made(client, "p", "/bin/sh", "-c", "id -u; id -g", uid=user, gid=group, env={"PATH": os.defpath})
    uid, gid = ids.split()
    assert (process["uid"], process["gid"]) == (uid, gid)
    assert told(client, "p")[0].decode().split() == [uid, gid]


@pytest.mark.parametrize(
    ("options", "news"),
    [
        ({}, (b"one\n", b"two\n", 5)),
        ({"stdout": papa.PIPE, "stderr": papa.PIPE}, (b"one\n", b"two\n", 5)),
        ({"stdout": papa.DEVNULL}, (b"", b"two\n", 5)),
        ({"stderr": papa.DEVNULL}, (b"one\n", b"", 5)),
        ({"stderr": papa.STDOUT}, (b"one\ntwo\n", b"", 5)),
        ({"bufsize": 0}, (b"", b"", 5)),
        ({"bufsize": "1k"}, (b"one\n", b"two\n", 5)),
        ({"bufsize": 1048576}, (b"one\n", b"two\n", 5)),
    ],
)
def test_output_goes_where_it_was_said(
    client: papa.Papa, options: dict[str, Any], news: tuple[bytes, bytes, int]
) -> None:
    made(client, "p", "/bin/sh", "-c", "echo one; echo two >&2; exit 5", **options)
    assert told(client, "p") == news
    assert client.list_processes() == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executable": "/no/such/program"}, "/no/such/program"),
        ({"executable": "/etc/passwd"}, "/etc/passwd"),
        ({"executable": "/bin/true", "working_dir": "/no/such"}, "/no/such"),
        ({"executable": "/bin/true", "working_dir": "relative"}, "absolute"),
        ({"executable": "/bin/true", "bufsize": -1}, "bound"),
        ({"executable": "/bin/true", "env": {"a=b": "c"}}, "a=b"),
        ({}, "No command"),
        ({"args": []}, "No command"),
    ],
)
def test_what_cannot_be_started_says_why_and_leaves_nothing(
    client: papa.Papa, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(papa.Error, match=message):
        client.make_process("p", **options)
    assert client.list_processes() == {}


def test_a_removed_process_lives_and_is_forgotten_when_it_ends(client: papa.Papa) -> None:
    process = made(client, "p", "/bin/sh", "-c", "while read x; do echo $x; done; exec sleep 1000")
    assert client.remove_processes("p") is True
    assert client.list_processes() == {}
    assert machine.is_alive(process["pid"])
    assert client.exit_if_idle() is False
    os.kill(process["pid"], signal.SIGKILL)
    wait_for(client.exit_if_idle, "idleness")


def test_a_dead_process_is_found_by_who_makes_it_again_until_its_end_was_read(client: papa.Papa) -> None:
    first = made(client, "p", "/bin/sh", "-c", "echo last words; exit 4")
    wait_for(lambda: not client.list_processes()["p"]["running"], "its end")
    assert made(client, "p", "/bin/sh", "-c", "echo last words; exit 4") == {**first, "running": False}
    with pytest.raises(papa.Error, match="has ended, and nobody has read how"):
        made(client, "p", "/bin/true")
    assert told(client, "p") == (b"last words\n", b"", 4)
    assert made(client, "p", "/bin/true")["pid"] != first["pid"]


# Watching


def test_a_watcher_waits_acknowledges_and_ends(client: papa.Papa) -> None:
    made(client, "p", "/bin/sh", "-c", "echo one; read x <$0; kill -9 $$", str(fifo := fifo_in(client)))
    watcher = client.watch_processes("p")
    assert isinstance(watcher, papa.Watcher)
    assert (bool(watcher), len(watcher), watcher.exit_code) == (True, 1, {})
    assert select.select([watcher], [], [], 30)[0]
    assert watcher.ready
    assert [(piece.name, piece.data) for piece in watcher.read()[0]] == [("p", b"one\n")]
    assert not watcher.ready
    assert not select.select([watcher], [], [], 0)[0]
    watcher.acknowledge()
    fifo.write_text("\n")
    # What woke the reader may be the end of a stream only, which is no news.
    (closed,) = wait_for(lambda: watcher.read()[2], "its end")
    assert (closed.name, closed.data, watcher.exit_code) == ("p", -9, {"p": -9})
    assert isinstance(closed.timestamp, float)
    assert list(client.list_processes()) == ["p"], "its end was not acknowledged yet"
    watcher.close()
    watcher.close()
    assert client.list_processes() == {}
    assert (bool(watcher), len(watcher), watcher.read(), watcher.ready) == (False, 0, ([], [], []), False)
    with pytest.raises(AttributeError):
        watcher.fileno()


def fifo_in(client: papa.Papa) -> Path:
    """What holds a process back until it is written to."""
    path = Path(places.runtime_root()) / "fifo"
    os.mkfifo(path)
    return path


def test_a_watch_is_of_those_who_were_there_when_it_began(client: papa.Papa) -> None:
    made(client, "p1", "/bin/echo", "1")
    with client.watch_processes("p*") as watcher:
        made(client, "p2", "/bin/echo", "2")
        names = set()
        while watcher:
            names |= {piece.name for pieces in watcher.read() for piece in pieces}
    assert names == {"p1"}
    assert list(client.list_processes()) == ["p2"]


def test_a_watch_that_broke_off_leaves_all_to_the_next(client: papa.Papa) -> None:
    made(client, "p", "/bin/echo", "1")
    watcher = client.watch_processes("p")
    assert watcher.read()[0][0].data == b"1\n"
    with socket.socket(fileno=os.dup(watcher.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)
    assert told(client, "p") == (b"1\n", b"", 0)
    with pytest.raises(papa.Error):
        watcher.read()


def test_a_kernel_of_another_root_is_used_over_its_port(real_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    with papa.Papa(port) as near:
        near.make_process("p", "/bin/sh", ["-c", "echo out; echo err >&2; exit 3"])
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("PAPA_RUNTIME_DIR", str(real_root / "elsewhere"))
            with papa.Papa(port) as far, far.watch_processes("p") as watcher:
                with socket.socket(fileno=os.dup(watcher.fileno())) as same:
                    assert same.family == socket.AF_INET
                assert select.select([watcher], [], [], 30)[0]
                assert watcher.ready
                far.set("a", "1")
            with papa.Papa(port) as far:
                assert told(far, "p") == (b"out\n", b"err\n", 3)
        assert near.get("a") == "1"
        assert near.list_processes() == {}


def test_a_kernel_is_at_the_port_for_whoever_speaks_text(real_root: Path) -> None:
    port = free_port()
    with papa.Papa(port) as client:
        client.set("a", "1")
        with socket.create_connection(("127.0.0.1", port)) as connection:
            stream = connection.makefile("rwb")
            stream.write(b"make process s shell=1 echo\\ $((1+1))\nquit\n")
            stream.flush()
            line = stream.read().decode()
        assert "shell=True args=echo $((1+1))\n" in line
        info = client.list_processes()["s"]
        assert (info["shell"], info["args"]) == (True, "echo $((1+1))")
        assert told(client, "s")[0] == b"2\n"
    assert launch.try_lock(places.resolve(port), make=False) is None
