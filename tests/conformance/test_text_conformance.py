"""The language of people, of the kernel and of the fake one, on both ways, for programs with a loop and without."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING

import pytest

from papa.client import launch
from papa.wire.session import MAX_LINE
from papa.wire.text_reply import GREETING

if TYPE_CHECKING:
    from world import World

PATIENCE_S = 30.0

SPEAKING = [
    f"{who}-{client}{way}" for who in ("fake", "kernel") for client in ("asyncio", "blocking") for way in ("", "-tcp")
]
in_text = pytest.mark.parametrize("world", SPEAKING, indirect=True)


class Terminal:
    """A program that writes lines and reads up to the next prompt."""

    def __init__(self) -> None:
        self._sock = launch.open_connection(None)
        self._sock.settimeout(PATIENCE_S)

    def receive(self) -> bytes:
        return self._sock.recv(65536)

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def close(self) -> None:
        self._sock.close()

    def until(self, end: bytes) -> str:
        data = b""
        while not data.endswith(end):
            more = self.receive()
            assert more, data
            data += more
        return data.decode()

    def say(self, line: str) -> str:
        self.send(line.encode() + b"\n")
        return self.until(b"\n> ").removesuffix("> ")

    def rest(self) -> bytes:
        data = b""
        while more := self.receive():
            data += more
        return data


class LoopTerminal(Terminal):
    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._reader, self._writer = self._run(asyncio.open_connection(sock=self._sock))

    def _run(self, what):
        return self._loop.run_until_complete(asyncio.wait_for(what, PATIENCE_S))

    def receive(self) -> bytes:
        return self._run(self._reader.read(65536))

    def send(self, data: bytes) -> None:
        self._writer.write(data)
        self._run(self._writer.drain())

    def close(self) -> None:
        self._writer.close()
        self._run(self._writer.wait_closed())
        self._loop.close()


@pytest.fixture
def terminal(world: World, request: pytest.FixtureRequest):
    terminal = LoopTerminal() if "asyncio" in request.node.callspec.params["world"] else Terminal()
    assert terminal._sock.family == (socket.AF_INET if world.is_tcp else socket.AF_UNIX)
    assert terminal.until(b"> ").encode() == GREETING
    yield terminal
    terminal.close()


@in_text
def test_what_is_held_is_made_listed_and_removed_in_text(world: World, terminal: Terminal) -> None:
    assert terminal.say("set a 1  2") == "\n"
    assert terminal.say("get a") == "1 2\n"
    made = terminal.say("make socket front backlog=7")
    assert re.fullmatch(r"front family=inet type=stream backlog=7 host=127\.0\.0\.1 port=\d+ fileno=\d+\n", made)
    assert terminal.say("m s front backlog=7") == made
    assert terminal.say("m s front backlog=8").startswith("Error: ")
    assert terminal.say("list sockets") == made
    driver = world.connect()
    row, _ = world.spawn(driver, "job")
    [shown] = terminal.say("l p").splitlines()
    assert shown.startswith(f"job pid={row['pid']} running=True started=")
    assert terminal.say("exit-if-idle") == "not idle\n"
    # Both languages are about the same things.
    assert [item["name"] for item in driver.call("list", what="sockets").ok["items"]] == ["front"]
    assert driver.call("get", name="a").ok == {"value": "1 2"}
    assert [terminal.say(line) for line in ("r s *", "r v a", "r p j*", "l s", "get a")] == ["\n"] * 5
    assert driver.call("list", what="processes").ok["items"][0]["name"] is None


@in_text
def test_what_makes_no_sense_is_an_error_and_the_next_line_counts(world: World, terminal: Terminal) -> None:
    assert terminal.say("dance") == 'Error: Unknown command "dance"\n'
    assert terminal.say("r p nosuch").startswith("Error: nosuch not found")
    assert terminal.say("set").startswith("Error: ")
    assert terminal.say("x" * (MAX_LINE + 1)).startswith(f"Error: a line is longer than {MAX_LINE} bytes")
    assert terminal.say("set a 1") == "\n"
    assert world.connect().call("get", name="a").ok == {"value": "1"}


@in_text
def test_quit_and_web_pages_end_a_connection(world: World, terminal: Terminal) -> None:
    terminal.send(b"quit\n")
    assert terminal.rest() == b"ok\n"
    other = Terminal()
    assert other.until(b"> ").encode() == GREETING
    other.send(b"GET / HTTP/1.1\r\nset evil 1\r\n")
    assert other.rest() == b"Error: this is no web server\n"
    other.close()
    assert world.connect().call("get", name="evil").ok == {"value": None}
