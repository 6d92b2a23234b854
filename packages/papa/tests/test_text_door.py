"""What comes through the text door and is no conversation: none of it disturbs anybody else."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import select
import signal
import socket
import time

import pytest
from tests.house import free_port, wait_for

from papa.client.blocking import Connection
from papa.kernel import watch
from papa.wire.text_reply import GREETING

SEED = 20202
CASES = 300


@pytest.fixture
def host(hosted):
    return hosted()


def connect(host) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(host.path)
    assert read_until(sock, b"> ") == GREETING
    return sock


def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = bytearray()
    while not data.endswith(end):
        more = sock.recv(65536)
        if not more:
            break
        data += more
    return bytes(data)


def read_line(sock: socket.socket, end: bytes) -> bytes:
    """Up to and with the next line that ends so; what came with it stays to be read."""
    data = bytearray()
    while not data.endswith(end):
        more = sock.recv(65536, socket.MSG_PEEK)
        if not more:
            break
        data += sock.recv(more.find(b"\n") + 1 or len(more))
    return bytes(data)


class Gate:
    """Lines for a process whose standard input this is, as a file."""

    def __init__(self, path) -> None:
        os.mkfifo(path)
        self.path = path
        # For reading, too: so it opens at once, and stays open between two lines.
        self.fd = os.open(path, os.O_RDWR)

    def says(self, line: str) -> None:
        os.write(self.fd, line.encode() + b"\n")


@pytest.fixture
def gate(tmp_path):
    gate = Gate(tmp_path / "gate")
    yield gate
    os.close(gate.fd)


@pytest.fixture
def bystander(host, tmp_path):
    """Somebody who works meanwhile: a second connection, and a process whose output must come whole."""
    peer = host.connect()
    gate = Gate(tmp_path / "talker")
    script = f"while read x; do echo $x; done <{gate.path}"
    row = peer.request("spawn", name="talker", argv=["/bin/sh", "-c", script], env={}, owner="somebody")
    words = []

    def works():
        words.append(f"word{len(words)}")
        gate.says(words[-1])
        said = "".join(word + "\n" for word in words).encode()
        assert peer.read_all(row["id"], "out", len(said)) == said
        assert peer.request("status")["faults"] == 0

    works()
    yield works
    works()
    os.close(gate.fd)


# --- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"dance\n", b'Error: Unknown command "dance"\n> '),
        (b"\x01\x02\xfe\xfd\n", b'Error: Unknown command "\\x01\\x02\\udcfe\\udcfd"\n> '),
        (b"\x1b[2J\n", b'Error: Unknown command "\\x1b[2J"\n> '),
        (b"\0\0\0\0\n", b'Error: Unknown command "\\x00\\x00\\x00\\x00"\n> '),
        (b"make process\n", b"Error: Process requires a name\n> "),
        (b"set a\0b c\n", b"Error: name 'a\\x00b' must be printable, without white space and without ':'\n> "),
        (b"m p x a\0b\n", b"Error: argv[0] must not contain a NUL byte\n> "),
        (b"m p " + b"x" * 300 + b" true\n", b"Error: name '" + b"x" * 40 + b"'... is longer than 255 bytes\n> "),
        (b"frames 2\n", b'Error: "frames 1" must be the first line of a connection\n> '),
        (b"x" * 70_000 + b"\n", b"Error: a line is longer than 65536 bytes (it was not read)\n> "),
        (b"HEAD / HTTP/1.0\r\n\r\n", b"Error: this is no web server\n"),
        (b"DELETE /x HTTP/1.1\r\n", b"Error: this is no web server\n"),
        (b"OPTIONS * HTTP/1.1\r\n", b"Error: this is no web server\n"),
    ],
)
def test_what_makes_no_sense_is_answered_with_one_line(host, bystander, said, answer):
    with connect(host) as sock:
        sock.sendall(said)
        assert read_until(sock, b"> " if answer.endswith(b"> ") else b"\n") == answer


def test_half_a_line_and_a_close_do_nothing(host, bystander):
    with connect(host) as sock:
        sock.sendall(b"set a 1")
    bystander()
    with connect(host) as sock:
        sock.sendall(b"get a\n")
        assert read_until(sock, b"> ") == b"\n> "


def test_thousands_of_commands_at_once_are_answered_in_their_order_while_others_work(host, bystander):
    count = 5000
    with connect(host) as sock, connect(host) as other:
        sock.sendall(b"".join(b"set n %d\nget n\n" % number for number in range(count)))
        for _ in range(20):
            other.sendall(b"get nosuch\n")
            assert read_until(other, b"> ") == b"\n> "
        bystander()
        expected = b"".join(b"\n> %d\n> " % number for number in range(count))
        got = b""
        while len(got) < len(expected):
            got += sock.recv(1 << 20)
        assert got == expected
        sock.sendall(b"set n\n")
        read_until(sock, b"> ")


def test_who_never_reads_is_not_answered_any_more_and_costs_a_bounded_amount(host, bystander):
    peer = host.connect()
    peer.request("set", name="big", value="x" * 500_000)
    before = peer.request("status")["rss_bytes"]
    with connect(host) as sock:
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            for _ in range(10_000):
                sock.sendall(b"get big\n" * 100)
        bystander()
        assert peer.request("status")["rss_bytes"] < before + 4_000_000
    peer.request("set", name="big", value=None)


# --- watching lines ------------------------------------------------------------------------------------------


def sh(script: str, **more: object) -> dict[str, object]:
    return {"name": "job", "argv": ["/bin/sh", "-c", script], "env": {}, **more}


def shown_lines(data: bytes) -> list[str]:
    """What a watch of lines has shown, without times and names."""
    rows = data.decode().splitlines()
    return [row.split(" ", 1)[1].split(None, 1)[1] for row in rows if row[2:3] == ":"]


def test_lines_begin_with_what_is_held_and_take_nothing(host):
    peer = host.connect()
    number = peer.request("spawn", **sh("echo one; echo two >&2; exit 7"))["id"]
    peer.read_all(number, "err")
    for _ in range(2):
        with connect(host) as sock:
            sock.sendall(b"w l job\n")
            shown = shown_lines(read_until(sock, b"> "))
            assert sorted(shown) == ["err| two", "exited with 7", "out| one"]
            assert shown[-1] == "exited with 7"
    (row,) = peer.request("list", what="processes")["items"]
    assert (row["owner"], row["streams"]["out"]["acked"]) == (None, 0)


def test_lines_are_shown_to_a_person_while_a_manager_owns_and_acknowledges(host, gate):
    owner = host.connect()
    number = owner.request("spawn", **sh(f"while read x; do echo $x; done <{gate.path}", owner="manager"))["id"]
    with connect(host) as sock:
        sock.sendall(b"w l job\n")
        read_line(sock, b"stop.\n")
        for count, word in enumerate(("one", "two", "six"), start=1):
            gate.says(word)
            assert shown_lines(read_line(sock, f"{word}\n".encode())) == [f"out| {word}"]
            owner.request("commit", acks=[[number, "out", 4 * count]])
        os.kill(owner.request("attach", id=number)["pid"], 15)
        owner.event("exit")
        owner.request("commit", exits=[number])
        assert shown_lines(read_until(sock, b"> ")) == ["was killed by SIGTERM (15)"]


def test_a_line_without_an_end_is_shown_after_a_while(host):
    with connect(host) as sock:
        sock.sendall(b"m p job /bin/sh -c printf\\ password:;exec\\ sleep\\ 1000\n")
        read_until(sock, b"> ")
        sock.sendall(b"w l job\n")
        read_line(sock, b"out| password:\n")
        sock.sendall(b"\n")
        assert read_until(sock, b"> ") == b"Stopped watching\n> "


def test_dropped_bytes_have_a_line_of_their_own(host):
    peer = host.connect()
    script = "i=0; while [ $i -lt 4000 ]; do echo $i; i=$((i+1)); done"
    number = peer.request("spawn", **sh(script, bound=8192, stderr="null"))["id"]
    held = peer.read_all(number, "out")
    (row,) = peer.request("list", what="processes")["items"]
    dropped = row["streams"]["out"]["dropped"]
    assert dropped > 0
    with connect(host) as sock:
        sock.sendall(b"w l job\n")
        first, *shown, last = shown_lines(read_until(sock, b"> "))
    assert first == f"out- {dropped} bytes were dropped: nobody had acknowledged them in time"
    assert [line.removeprefix("out| ") for line in shown] == held.decode().splitlines()
    assert last == "exited with 0"


def test_a_process_that_is_removed_ends_its_watch(host):
    peer = host.connect()
    pid = peer.request("spawn", **sh("exec sleep 1000"))["pid"]
    with connect(host) as sock:
        sock.sendall(b"w l job\n")
        read_line(sock, b"stop.\n")
        peer.request("remove", what="processes", names=["job"])
        shown = read_until(sock, b"> ")
        assert shown_lines(shown) == ["is no longer hosted"]
        assert shown.endswith(b"Nothing left to watch\n> ")
    os.kill(pid, 9)


def test_every_byte_of_a_flood_is_shown_once_and_in_order(host):
    peer = host.connect()
    script = "i=0; while [ $i -lt 30000 ]; do echo line$i; i=$((i+1)); done"
    number = peer.request("spawn", **sh(script))["id"]
    with connect(host) as sock:
        sock.sendall(b"w l job\n")
        shown = shown_lines(read_until(sock, b"left to watch\n> "))
    assert shown == [*(f"out| line{number}" for number in range(30_000)), "exited with 0"]
    assert peer.request("list", what="processes")["items"][0]["id"] == number


def test_a_person_who_reads_slowly_slows_nobody_and_learns_what_went_by(host, bystander, gate):
    peer = host.connect()
    flood = "i=0; while [ $i -lt 60000 ]; do echo line$i of a flood that nobody reads; i=$((i+1)); done"
    script = f"read x <{gate.path}; {flood}"
    number = peer.request("spawn", **sh(script, bound=65536))["id"]
    with connect(host) as sock:
        sock.sendall(b"w l job\n")
        read_line(sock, b"stop.\n")
        before = peer.request("status")["rss_bytes"]
        gate.says("go")
        # It comes to its end though the person reads nothing.
        wait_for(lambda: not peer.request("attach", id=number)["streams"]["out"]["open"], "the flood does not end")
        bystander()
        assert peer.request("status")["rss_bytes"] < before + 20 * watch.PAGE_BYTES
        shown = shown_lines(read_until(sock, b"left to watch\n> "))
    gaps = [int(line.split()[1]) for line in shown if line.startswith("out- ")]
    lines = [line for line in shown if line.startswith(("out| ", "out+ "))]
    assert gaps and shown[-1] == "exited with 0"
    read = sum(len(line) - 5 for line in lines) + len(lines)
    head = peer.request("attach", id=number)["streams"]["out"]["head"]
    # A line that a gap cuts has no line break at its end, and was shown as if it had one.
    assert head - len(gaps) <= sum(gaps) + read <= head + len(gaps)


def test_short_lines_by_the_megabyte_cost_a_page_at_a_time(host):
    peer = host.connect()
    size = 300_000
    script = f"head -c {size} /dev/zero | tr '\\0' '\\n'"
    number = peer.request("spawn", **sh(script, bound=4_000_000))["id"]
    peer.read_all(number, "out")
    before = peer.request("status")["rss_bytes"]
    with connect(host) as sock:
        sock.sendall(b"w l job\n")
        # Somebody who reads nothing yet; the page is under way when others are answered again.
        read_line(sock, b"stop.\n")
        for _ in range(3):
            assert peer.request("status")["rss_bytes"] < before + 20 * watch.PAGE_BYTES
        shown = read_until(sock, b"left to watch\n> ")
    assert shown.count(b" out| \n") == size


def test_a_watch_that_its_person_left_leaves_nothing_behind(host):
    peer = host.connect()
    pid = peer.request("spawn", **sh("printf waiting; exec sleep 1000"))["pid"]
    for command in (b"w l job\n", b"w p job\n"):
        with connect(host) as sock:
            sock.sendall(command)
            read_line(sock, b"\n")
    wait_for(lambda: peer.request("status")["connections"] == 1, "the connections stay")
    assert peer.request("status")["faults"] == 0
    os.kill(pid, 9)


# --- telnet --------------------------------------------------------------------------------------------------


class Telnet:
    """The real program on a terminal, at a port that leads to the kernel."""

    def __init__(self, port: int) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "dumb"
            os.execvp("telnet", ["telnet", "127.0.0.1", str(port)])

    def types(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def shows(self, text: bytes) -> bytes:
        shown = b""
        deadline = time.monotonic() + 30
        while not shown.endswith(text):
            assert time.monotonic() < deadline, shown
            if select.select([self.fd], [], [], 0.1)[0]:
                shown += os.read(self.fd, 1)
        return shown

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def telnet(runtime_root):
    port = free_port()
    with Connection(port, client="test") as kernel:
        telnet = Telnet(port)
        yield telnet
        telnet.close()
        for row in kernel.request("list", what="processes").ok["items"]:
            if row["running"]:
                with contextlib.suppress(ProcessLookupError):  # it has ended since
                    os.kill(row["pid"], signal.SIGKILL)
        kernel.request("exit", force=True)
    wait_for(lambda: not os.listdir(runtime_root), "the kernel does not end")


@pytest.mark.needs("telnet")
def test_a_session_of_telnet(telnet):
    telnet.shows(b'Papa is home. Type "help" for commands.\r\n> ')
    telnet.types(b"help\n")
    assert b"watch lines NAME..." in telnet.shows(b"> ")
    telnet.types(b"help nonsense\n")
    assert b"There is no help for it; this is all:" in telnet.shows(b"> ")
    telnet.types(b"m p job /bin/sh -c echo\\ hi;exec\\ sleep\\ 1000\n")
    telnet.shows(b"sleep 1000\r\n> ")
    telnet.types(b"w l job\n")
    telnet.shows(b" job out| hi\r\n")
    telnet.types(b"\n")
    telnet.shows(b"Stopped watching\r\n> ")
    # Telnet throws away what comes until its timing mark is answered.
    telnet.types(b"w l job\n")
    telnet.shows(b" job out| hi\r\n")
    telnet.types(b"\x03")
    telnet.shows(b"\n> ")
    telnet.types(b"exit-if-idle\x03")
    telnet.shows(b"\n> ")
    telnet.types(b"l v\n")
    telnet.shows(b"\r\n\r\n> ")
    telnet.types(b"quit\n")
    telnet.shows(b"ok\r\n")


# --- at random -----------------------------------------------------------------------------------------------

LINES = [
    b"list processes", b"l v a*", b"set a some value", b"get a", b"m s front port=0", b"r s front", b"help make",
    b"m p job env.A=1 rlimit.nofile=100 /bin/echo a\\ b", b"w p job", b"w l job", b"q", b"", b"r p job", b"r v a",
    b"quit", b"exit-if-idle", b"\xff\xfd\x06", b"\xff\xfa\x01\x02\xff\xf0", b"\xff\xf4", b"GET / HTTP/1.0", b"m p",
]  # fmt: skip


def mutated(chance: random.Random) -> bytes:
    lines = []
    for _ in range(chance.randint(1, 4)):
        line = bytearray(chance.choice(LINES))
        for _ in range(chance.choice((0, 0, 1, 3))):
            at = chance.randint(0, len(line))
            line[at : at + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 3))
        lines.append(bytes(line))
    if chance.random() < 0.2:
        lines.append(chance.randbytes(chance.randint(1, 200)))
    return b"\n".join(lines) + b"\n"


def rest(sock: socket.socket) -> bytes:
    data = b""
    try:
        while more := sock.recv(65536):
            data += more
    except ConnectionResetError:
        # It was closed before it had read everything.
        pass
    return data


def test_whatever_is_sent_is_answered_and_hurts_nobody(host, bystander):
    chance = random.Random(SEED)
    for case in range(CASES):
        data = mutated(chance)
        with connect(host) as sock, connect(host) as other:
            # Whatever watch is on ends with an interrupt.
            sock.sendall(data + b"\n\xff\xf0\xff\xf4\n\xff\xf4quit\n")
            answer = rest(sock)
            assert answer.endswith((b"ok\n", b"> ", b"no web server\n", b"than 512 bytes\n")), (case, data, answer)
            other.sendall(b"get nosuch\n")
            assert read_until(other, b"> ") == b"\n> ", (case, data)
    bystander()
