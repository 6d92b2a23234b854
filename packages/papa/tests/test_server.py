"""Connections to a real host: both languages, and peers that behave badly."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import socket
import threading
import time

import pytest
from tests.house import wait_for

from papa.errors import PapaError
from papa.kernel import server as server_module
from papa.kernel.loop import Loop
from papa.kernel.server import MAX_CONNECTIONS, Outcome, Server
from papa.wire.session import ClientSession
from papa.wire.text_reply import GREETING


@pytest.fixture
def host(hosted):
    return hosted()


class Terminal:
    """A person's connection."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(path)

    def send(self, text: str) -> None:
        self.sock.sendall(text.encode())

    def until(self, end: bytes) -> str:
        data = b""
        while not data.endswith(end):
            more = self.sock.recv(1)
            assert more, data
            data += more
        return data.decode()

    def say(self, text: str) -> str:
        self.send(text + "\n")
        return self.until(b"> ").removesuffix("> ")

    def rest(self) -> bytes:
        data = b""
        while more := self.sock.recv(4096):
            data += more
        return data


@pytest.fixture
def terminal(host):
    terminal = Terminal(host.path)
    assert terminal.until(b"> ").encode() == GREETING
    yield terminal
    terminal.sock.close()


def test_a_person_makes_lists_and_removes(terminal):
    assert "help" in terminal.say("help")
    assert re.fullmatch(
        r"front family=inet type=stream backlog=5 host=127\.0\.0\.1 port=\d+ fileno=200\n", terminal.say("m s front")
    )
    made = terminal.say('m p sleeper env.PATH="/usr/bin:/bin" sleep 1000')
    assert re.fullmatch(r"sleeper pid=\d+ running=True started=[\d.]+ args=sleep 1000\n", made)
    assert terminal.say("list processes") == made
    assert terminal.say("set a 1 2 3") == "\n"
    assert terminal.say("get a") == "1 2 3\n"
    assert terminal.say("exit-if-idle") == "not idle\n"
    assert terminal.say("r p nosuch").startswith("Error: nosuch not found")
    assert terminal.say("dance").startswith('Error: Unknown command "dance"')
    assert terminal.say("r s *") == terminal.say("r p *") == terminal.say("set a") == "\n"
    assert terminal.say("l s") == "\n"
    terminal.send("quit\n")
    assert terminal.rest() == b"ok\n"


def test_a_person_watches_acknowledges_and_learns_the_end(terminal, host, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = f"echo one; echo two >&2; read x < {gate}; echo three; exit 4"
    host.connect().request("spawn", name="job", argv=["/bin/sh", "-c", script], env={})
    terminal.send("w p job\n")
    assert terminal.until(b"\n") == "Watching 1\n"
    seen = terminal.until(b"] ")
    while "two" not in seen:
        terminal.send("\n")
        seen += terminal.until(b"] ")
    assert re.search(r"out:job:[\d.]+:4\none\n\n", seen)
    assert re.search(r"err:job:[\d.]+:4\ntwo\n\n", seen)
    terminal.send("\n")
    gate.write_text("go\n")
    seen = terminal.until(b"] ")
    while "closed" not in seen:
        terminal.send("\n")
        seen += terminal.until(b"] ")
    assert re.search(r"out:job:[\d.]+:6\nthree\n\n", seen)
    assert re.search(r"closed:job:[\d.]+:4\n", seen)
    assert terminal.say("") == "Nothing left to watch\n"
    wait_for(lambda: terminal.say("l p") == "\n", "the end of the job")


def test_a_watch_can_be_stopped_and_what_was_not_acknowledged_is_shown_again(terminal):
    terminal.send("m p job watch=1 /bin/echo hello\n")
    assert terminal.until(b"\n").startswith("job pid=")
    seen = terminal.until(b"] ")
    assert "hello" in seen
    terminal.sock.close()


def test_what_a_person_did_not_acknowledge_is_shown_to_the_next(host):
    first = Terminal(host.path)
    first.until(b"> ")
    first.send("m p job watch=1 /bin/echo hello\n")
    assert "hello" in first.until(b"] ")
    first.sock.close()
    second = Terminal(host.path)
    second.until(b"> ")
    second.send("w p job\n")
    assert "hello" in second.until(b"] ")
    second.send("q\n")
    assert "Stopped watching" in second.until(b"> ")
    second.sock.close()


def test_a_person_sees_what_a_manager_owns_and_takes_nothing_of_it(host, terminal):
    owner = host.connect()
    number = owner.request("spawn", name="job", argv=["/bin/echo", "hello"], env={}, owner="manager")["id"]
    owner.event("exit")
    terminal.send("w p job\n")
    assert "hello" in terminal.until(b"] ")
    terminal.say("q")
    assert owner.request("attach", id=number)["streams"]["out"]["acked"] == 0


def test_a_web_page_does_nothing_and_is_told_one_line(host, terminal):
    terminal.send("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nset a 1\r\n")
    assert terminal.rest() == b"Error: this is no web server\n"
    assert host.connect().request("list", what="values")["items"] == []


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 100, b"\0" * 8, b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{}", b"\xff\xff\xff\x7f\0\0\0\0"],
)
def test_bytes_that_no_client_sends_end_that_connection_only(host, garbage):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(host.path)
        sock.sendall(b"frames 1\n" + garbage)
        data = b""
        while more := sock.recv(4096):
            data += more
    assert data.startswith(GREETING + b"frames 1\n")
    assert b'"fault"' in data
    assert host.connect().request("status")["faults"] == 0


def test_a_line_of_ten_megabytes_costs_nothing_and_is_answered_with_one_error(host, terminal):
    peer = host.connect()
    before = peer.request("status")["rss_bytes"]
    for _ in range(160):
        terminal.sock.sendall(b"x" * 65536)
    terminal.send("\n")
    assert terminal.until(b"> ") == "Error: a line is longer than 65536 bytes (it was not read)\n> "
    assert terminal.say("get a") == "\n"
    assert peer.request("status")["rss_bytes"] < before + 2_000_000


def test_a_request_that_nobody_reads_the_answer_to_does_not_grow_the_kernel(host):
    peer = host.connect()
    peer.request("set", name="big", value="x" * 900_000)
    before = peer.request("status")["rss_bytes"]
    deaf = host.connect()
    deaf.sock.settimeout(0.3)
    sent = 0
    try:
        for _ in range(2000):
            deaf.post("ping")
            deaf.sock.sendall(deaf.session.request("get", {"name": "big"})[1])
            sent += 1
    except TimeoutError:
        pass
    assert peer.request("status")["rss_bytes"] - before < 20 << 20
    # Once it listens again it gets every answer to what it sent.
    deaf.sock.settimeout(30)
    assert sent > 3
    for _ in range(min(sent, 20)):
        assert len(deaf._message().ok["value"]) == 900_000


def test_a_peer_that_reads_none_of_many_tiny_answers_does_not_grow_the_kernel(host):
    peer = host.connect()
    before = peer.request("status")["rss_bytes"]
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.settimeout(0.3)
        deaf.connect(host.path)
        with pytest.raises(TimeoutError):
            deaf.sendall(b"\n" * (16 << 20))
        assert peer.request("status")["rss_bytes"] - before < 8 << 20
        # Once it listens again it gets every answer.
        deaf.settimeout(30)
        deaf.shutdown(socket.SHUT_WR)
        answers = len(GREETING) + 2 * 1024
        while answers > 0:
            answers -= len(deaf.recv(1 << 16))


def test_a_peer_that_sends_faster_than_it_is_served_does_not_grow_the_kernel(host):
    peer = host.connect()
    before = peer.request("status")["rss_bytes"]
    with socket.socket(socket.AF_UNIX) as hasty:
        hasty.settimeout(30)
        hasty.connect(host.path)

        def send():
            with contextlib.suppress(OSError):
                hasty.sendall(b"\n" * (16 << 20))

        sender = threading.Thread(target=send)
        sender.start()
        answered = 0
        while answered < 1 << 20:
            answered += len(hasty.recv(1 << 16))
        assert peer.request("status")["rss_bytes"] - before < 8 << 20
        hasty.shutdown(socket.SHUT_RDWR)
        sender.join()


def test_requests_in_one_piece_are_answered_in_order(host):
    peer = host.connect()
    data = b"".join(peer.session.request("set", {"name": "a", "value": str(i)})[1] for i in range(300))
    peer.sock.sendall(data)
    for _ in range(300):
        peer._message()
    assert peer.request("get", name="a") == {"value": "299"}


def test_a_request_without_an_id_is_carried_out_and_not_answered(host):
    peer = host.connect()
    peer.post("set", name="a", value="1")
    peer.post("dance")
    assert peer.request("get", name="a") == {"value": "1"}


def test_a_reply_larger_than_a_frame_is_an_error_and_not_the_end(host):
    peer = host.connect()
    for number in range(6):
        peer.request("set", name=f"v{number}", value="\x01" * 150_000)
    found, after = [], None
    while True:
        reply = peer.request("list", what="values", after=after)
        found += [item["name"] for item in reply["items"]]
        if not reply["more"]:
            break
        after = found[-1]
    assert found == [f"v{number}" for number in range(6)]


def test_one_connection_too_many_is_turned_away_and_the_others_go_on(host):
    peers = []
    for _ in range(MAX_CONNECTIONS):
        peers.append(host.connect())
        peers[-1].request("ping")
    with pytest.raises((PapaError, OSError)):
        host.connect().request("ping")
    peers.pop().close()
    wait_for(lambda: peers[0].request("status")["connections"] < MAX_CONNECTIONS, "room for one")
    assert host.connect().request("ping") == {}


def test_without_a_descriptor_left_nobody_spins_and_the_others_go_on(host):
    peer = host.connect()
    peer.request("ping")
    taken = {int(fd) for fd in os.listdir(f"/proc/{host.pid}/fd")}
    free = min(set(range(1000)) - taken)
    resource.prlimit(host.pid, resource.RLIMIT_NOFILE, (free + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with pytest.raises(PapaError) as caught:
        peer.request("spawn", name="web", argv=["/bin/true"], env={})
    assert caught.value.code == "limit"
    last = host.connect()
    last.request("ping")
    for _ in range(3):
        with pytest.raises((PapaError, OSError)):
            host.connect().request("ping")
    before = _cpu(host.pid)
    time.sleep(0.1)
    assert _cpu(host.pid) - before <= 2
    assert peer.request("status")["faults"] == 0
    last.close()
    wait_for(lambda: peer.request("status")["connections"] == 1, "its farewell")
    assert host.connect().request("ping") == {}


def _cpu(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_fault_in_an_operation_is_answered_contained_and_counted(tmp_path, capfd):
    """In this very process, with an operation that is broken."""

    class Broken:
        def perform(self, connection, request):
            raise ZeroDivisionError("on purpose")

        def on_gone(self, connection):
            pass

    loop = Loop()
    server = Server(loop, Broken())
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    server.listen([listener])
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(tmp_path / "s"))
    session = ClientSession()
    client.sendall(session.opening() + session.request("ping", {})[1] + session.request("ping", {})[1])
    client.setblocking(False)
    replies = []
    deadline = time.monotonic() + 30
    while len(replies) < 2:
        assert time.monotonic() < deadline, replies
        loop.call_at(time.monotonic() + 0.01, lambda: None)
        loop.turn()
        with contextlib.suppress(BlockingIOError):
            session.feed(client.recv(65536))
        while (reply := session.next()) is not None:
            replies.append(reply)
    assert [(reply.id, reply.error.code) for reply in replies] == [(1, "internal"), (2, "internal")]
    assert loop.faults == 2
    assert "ZeroDivisionError: on purpose" in capfd.readouterr().err
    client.close()
    server.close()
    loop.close()


def test_who_hangs_up_while_its_answer_is_being_made_is_let_go(tmp_path):
    class Slow:
        def perform(self, connection, request):
            return None

        def on_gone(self, connection):
            pass

    loop = Loop()
    server = Server(loop, Slow())
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    server.listen([listener])
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(tmp_path / "s"))
    session = ClientSession()
    client.sendall(session.opening() + session.request("upgrade", {})[1])
    loop.turn()
    loop.turn()
    assert server.count == 1
    # Its answer is still to be made, so nothing is read; that it is gone must be noticed all the same.
    client.sendall(session.request("ping", {})[1])
    client.close()
    loop.call_at(time.monotonic() + 5, lambda: None)
    loop.turn()
    assert server.count == 0
    server.close()
    loop.close()


def test_answers_and_events_of_one_turn_go_out_in_one_piece(tmp_path, monkeypatch):
    class Prompt:
        def perform(self, connection, request):
            connection.tell("exit", {"id": 1})
            return Outcome({})

        def on_gone(self, connection):
            pass

    loop = Loop()
    server = Server(loop, Prompt())
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    server.listen([listener])
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(tmp_path / "s"))
    session = ClientSession()
    client.sendall(session.opening() + b"".join(session.request("ping", {})[1] for _ in range(20)))
    loop.turn()
    flushes = []
    flush = server_module.Connection._flush
    monkeypatch.setattr(server_module.Connection, "_flush", lambda it: (flushes.append(len(it._queue)), flush(it)))
    loop.turn()
    assert [waiting for waiting in flushes if waiting] == [41], "twenty pairs, and the word that frames are spoken"
    for connection in server.connections():
        connection.tell("eof", {"id": 1})
        connection.tell("exit", {"id": 1})
    loop.turn()
    assert [waiting for waiting in flushes if waiting] == [41, 2]
    session.feed(client.recv(1 << 16))
    heard = [session.next() for _ in range(43)]
    assert [thing is not None for thing in heard] == [True] * 42 + [False]
    client.close()
    server.close()
    loop.close()


def test_many_requests_of_one_peer_are_carried_out_in_pieces_while_others_are_served(monkeypatch):
    """However long each takes: a turn is bounded in time, not only in number."""
    monkeypatch.setattr(server_module, "TURN_S", 0.0)
    asked = []

    class Performer:
        def perform(self, connection, request):
            asked.append(request.args["client"])
            return Outcome({})

        def on_gone(self, connection):
            pass

    loop = Loop()
    server = Server(loop, Performer())
    ends = []
    for client in "ab":
        near, far = socket.socketpair()
        session = ClientSession()
        near.sendall(session.opening() + b"".join(session.request("hello", {"client": client})[1] for _ in range(9)))
        server._admit(far)
        ends.append(near)
    while len(asked) < 18:
        loop.call_at(time.monotonic() + 5, lambda: None)
        loop.turn()
    assert set(asked[:4]) == set("ab"), asked
    for end in ends:
        end.close()
    server.close()
    loop.close()
