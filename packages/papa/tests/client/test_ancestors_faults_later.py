"""Known faults of papa 1.x, continued: what is written and read, who may come in, and where it runs."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
import tempfile
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.house import free_port, wait_for
from tests.kernels import links_of

import papa
from papa import places, utils
from papa.client.blocking import Connection

GREETING = b'Papa is home. Type "help" for commands.\n> '
PACKAGE = Path(papa.__file__).parent


def made(client: papa.Papa, name: str, *words: str, **options: Any) -> dict[str, Any]:
    process = client.make_process(name, None, words, **options)
    assert isinstance(process, dict)
    return process


def output(client: papa.Papa, name: str) -> bytes:
    """What a process that ends wrote to its standard output."""
    out = b""
    with client.watch_processes(name) as watcher:
        while watcher:
            out += b"".join(piece.data for piece in watcher.read()[0])
    return out


@pytest.fixture
def door(real_root: Path) -> Iterator[tuple[papa.Papa, int]]:
    """A client of a kernel with a text door on a port, and that port."""
    port = free_port()
    with papa.Papa(port) as client:
        yield client, port


def said(port: int, *lines: str) -> str:
    """What the text door answers to these lines and ``quit``, behind its greeting."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(30)
        connection.sendall("".join(line + "\n" for line in (*lines, "quit")).encode())
        answer = connection.makefile("rb").read()
    assert answer.startswith(GREETING)
    return answer[len(GREETING) :].decode()


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    """Be somebody else for a while, as far as the system is asked."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def heard(connection: socket.socket, data: bytes) -> bytes:
    """What comes back until the other end closes."""
    answer = b""
    with connection:
        connection.settimeout(30)
        try:
            connection.sendall(data)
            while piece := connection.recv(1000):
                answer += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
    return answer


# What is written and read


def test_fault_18_arguments_and_variables_arrive_byte_for_byte(client: papa.Papa, real_root: Path) -> None:
    """Line breaks became blanks, empty arguments vanished, a backslash at the end swallowed what followed."""
    words = ["a\nb", "", " blanks ", "back\\", "next", "tab\t", "key=value", "ü", "\udcff"]
    environ = {"A": "ends in a blank ", "B": "back\\", "C": "x=y\nz", "D": ""}
    # A program whose name looks like an option.
    program = real_root / "a=b"
    program.symlink_to(sys.executable)
    code = "import os, sys; print([os.fsencode(w) for w in sys.argv[1:]], [os.environ[k] for k in 'ABCD'])"
    made(client, "p", str(program), "-S", "-c", code, *words, env=environ)
    expected = f"{[os.fsencode(word) for word in words]} {[environ[key] for key in 'ABCD']}\n"
    assert output(client, "p").decode() == expected


def test_fault_19_a_value_that_begins_like_an_error_is_a_value(client: papa.Papa) -> None:
    """To read such a value was an error."""
    client.set("a", "Error: nobody is to blame")
    assert client.get("a") == "Error: nobody is to blame"


@pytest.mark.parametrize("name", ["a:b", "a b", "a\tb", "a\nb"])
def test_fault_20_a_name_that_would_break_the_answers_is_refused(door: tuple[papa.Papa, int], name: str) -> None:
    """Names with a colon broke the reading of output, those with a blank the reading of lists."""
    client, port = door
    with pytest.raises(papa.Error, match="must be printable, without white space and without ':'"):
        made(client, name, "/bin/true")
    assert client.list_processes() == {}
    if name == "a:b":
        assert "Error: name 'a:b'" in said(port, "make process a:b /bin/true")


def test_fault_21_arguments_never_become_keys(client: papa.Papa) -> None:
    """Arguments with an equals sign became keys of the description, and one like pid=x made it unreadable."""
    words = ["/bin/sh", "-c", "i=0; i=$((i+1)); exit $i", "pid=x", "running=no", "started=never"]
    info = made(client, "p", *words)
    assert set(info) == {"pid", "running", "started", "args"}
    assert info["args"] == " ".join(words)
    assert isinstance(info["pid"], int)
    assert isinstance(client.list_processes()["p"]["started"], float)


def test_fault_22_times_are_kept_on_clocks_that_never_step_too(client: papa.Papa) -> None:
    """When a process started and when output came was known by the wall clock only."""
    info = made(client, "p", "/bin/sh", "-c", "echo x; exec sleep 1000")
    with open(f"/proc/{info['pid']}/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    with Connection(client="test") as connection:
        (row,) = connection.request("list", what="processes").ok["items"]
        reply = wait_for(
            lambda: (r := connection.request("read", id=row["id"], stream="out", offset=0)).body and r, "output"
        )
    assert row["start_ticks"] == ticks
    ((_, wall_ns, boot_ns),) = reply.ok["stamps"]
    assert wall_ns / 1e9 >= info["started"] - 0.1
    assert 0 < boot_ns < wall_ns


# Who may come in


def test_fault_23_nobody_else_gets_in_by_the_port_and_no_web_page(door: tuple[papa.Papa, int], real_root: Path) -> None:
    """Any local user, and any page in a browser, could run commands as the daemon's user."""
    client, port = door
    page = b"POST /x HTTP/1.1\r\nHost: x\r\n\r\nmake process evil /bin/true\r\n"
    said = heard(socket.create_connection(("127.0.0.1", port)), page)
    assert said in (b"", GREETING, GREETING + b"Error: this is no web server\n")
    assert client.list_processes("evil") == {}
    if os.geteuid() == 0:
        with another_user():
            assert heard(socket.create_connection(("127.0.0.1", port)), b"make process evil /bin/true\n") == b""
    assert client.list_processes() == {}


def test_fault_23_without_a_port_there_is_no_port(client: papa.Papa) -> None:
    """The same: a kernel of a private root listens on unix sockets only."""
    pid = client._connected().hello["pid"]
    kernels = links_of(pid)
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{table}") as file:
            inodes = {line.split()[9] for line in file.readlines()[1:]}
        assert not {f"socket:[{inode}]" for inode in inodes} & kernels


def test_fault_24_a_unix_socket_is_for_its_owner_whatever_the_umask(real_root: Path) -> None:
    """Its mode was what the umask left, and nobody looked who came in."""
    with tempfile.TemporaryDirectory(prefix="papa-open-") as folder:
        path = Path(folder) / "door"
        before = os.umask(0)
        try:
            with papa.Papa(str(path)) as client:
                client.set("a", "1")
        finally:
            os.umask(before)
        for address in (path, Path(places.resolve(str(path)).control_path)):
            assert stat.S_IMODE(address.stat().st_mode) == 0o600
        if os.geteuid() == 0:
            # With the way and the door open to all, who comes in is looked at all the same.
            path.parent.chmod(0o755)
            path.chmod(0o666)
            with another_user(), socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                assert heard(connection, b"get a\n") == b""


def test_fault_25_nothing_is_removed_that_was_not_named(door: tuple[papa.Papa, int]) -> None:
    """To remove without names removed everything."""
    client, port = door
    client.make_socket("s")
    made(client, "p", "/bin/sleep", "1000")
    client.set("v", "1")
    for remove in (client.remove_sockets, client.remove_processes, client.remove_values):
        with pytest.raises(papa.Error):
            remove()
    answer = said(port, "remove sockets", "remove processes", "remove values", "r v a* *")
    assert answer.count("Error: ") == 4
    assert (len(client.list_sockets()), len(client.list_processes()), client.get("v")) == (1, 1, "1")


# Where it runs


def test_fault_26_nothing_that_python_gave_up_is_used(client: papa.Papa) -> None:
    """A module that is no more, code between fork and exec beside threads, escapes that are none, setup.py only."""
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text()
        assert "preexec_fn" not in source
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compile(source, str(path), "exec")
    project = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text())
    assert project["build-system"]["requires"] == ["flit_core>=3.9"]
    info = client.make_socket("s", interface="lo")
    assert (info["interface"], info["host"]) == ("lo", "0.0.0.0")
    with open(f"/proc/{client._connected().hello['pid']}/status") as file:
        assert "Threads:\t1\n" in file.read()


def test_fault_27_this_python_is_one_that_it_was_said_to_break_on(client: papa.Papa) -> None:
    """It was said to break on Python 3.10 and later: this whole suite runs on each that is there."""
    assert sys.version_info >= (3, 11)
    made(client, "p", sys.executable, "-c", "import sys; print(sys.version_info[:2])")
    assert output(client, "p").decode() == f"{sys.version_info[:2]}\n"


def test_fault_28_only_an_empty_socket_is_waited_for(client: papa.Papa) -> None:
    """Error 35, which says "try again" on other systems only, was taken for that; here it means a deadlock."""

    class Deadlocked:
        def recv(self, size: int) -> bytes:
            raise OSError(errno.EDEADLK, "Resource deadlock avoided")

        def send(self, data: bytes) -> int:
            raise OSError(errno.EDEADLK, "Resource deadlock avoided")

    assert errno.EDEADLK == 35
    for call in (utils.recv_with_retry, lambda sock: utils.send_with_retry(sock, b"x")):
        with pytest.raises(OSError, match="deadlock"):
            call(Deadlocked())  # type: ignore[arg-type]


def test_fault_29_a_socket_that_fails_leaves_umask_and_directory_as_they_were(client: papa.Papa) -> None:
    """Umask and directory were changed for all threads, and not put back when binding failed."""
    with pytest.raises(papa.Error, match="no/such"):
        client.make_socket("s", path="/no/such/s.sock", umask=0o777)
    with pytest.raises(papa.Error, match="/no/such"):
        made(client, "p", "/bin/pwd", working_dir="/no/such")
    made(client, "p", "/bin/sh", "-c", "umask; pwd")
    assert output(client, "p") == b"0022\n/\n"
    made(client, "q", "/bin/sh", "-c", "pwd", working_dir="/tmp")
    made(client, "r", "/bin/sh", "-c", "pwd")
    assert (output(client, "q"), output(client, "r")) == (b"/tmp\n", b"/\n")


def test_fault_30_a_umask_with_a_zero_in_front_is_octal(door: tuple[papa.Papa, int], real_root: Path) -> None:
    """A person who wrote umask=022 got 026."""
    client, port = door
    answer = said(port, f"make socket s path={real_root}/s umask=022", f"make socket t path={real_root}/t umask=18")
    assert answer.count("umask=18") == 2
    for name in ("s", "t"):
        assert stat.S_IMODE((real_root / name).stat().st_mode) == 0o755
    assert client.list_sockets()["s"]["umask"] == "18"
