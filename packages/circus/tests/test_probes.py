"""The ways of asking a process, each against the real thing: sockets, commands, the kernel's files."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.house import wait_for

from circus.config import checks
from circus.probes import MAX_MORE_S, MAX_TEXT, NotSo, Said, network, tidy, understand
from circus.probes.commands import AT_ONCE, Command, Commands
from circus.probes.lines import MAX_LINE, Lines
from circus.procfs import row
from papa.client.output import Overtaken, StreamFiles

PATIENT_S = 60.0


# What a process says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"READY=1", Said(is_ready=True)),
        (b"READY=1\nSTATUS=up\nMAINPID=1\n", Said(is_ready=True, text="up")),
        (b"READY=0\nready=1\nREADY=1 ", Said()),
        (b"WATCHDOG=1", Said(is_beat=True)),
        (b"WATCHDOG=trigger", Said(is_alarm=True)),
        (b"STATUS=a\x1b[31m\xff b", Said(text="a [31m\ufffd b")),
        (b"STATUS=", Said(text="")),
        (b"RELOADING=1\nMONOTONIC_USEC=1", Said(text="reloading")),
        (b"STOPPING=1", Said(text="stopping")),
        (b"EXTEND_TIMEOUT_USEC=1500000", Said(more_s=1.5)),
        (b"EXTEND_TIMEOUT_USEC=" + b"9" * 20, Said(more_s=MAX_MORE_S)),
        (b"EXTEND_TIMEOUT_USEC=" + b"9" * 5000, Said()),
        (b"EXTEND_TIMEOUT_USEC=-1", Said()),
        (b"", Said()),
    ],
)
def test_what_a_process_says_is_understood(data: bytes, said: Said) -> None:
    assert understand(data) == said


@given(st.binary(max_size=300))
def test_whatever_is_said_has_its_bounds(data: bytes) -> None:
    said = understand(data)
    assert said.text is None or (len(said.text) <= MAX_TEXT and said.text.isprintable())
    assert said.more_s is None or 0 <= said.more_s <= MAX_MORE_S


def test_a_long_text_is_cut() -> None:
    assert len(tidy("x" * 10_000)) == MAX_TEXT


# Network ----------------------------------------------------------------------------------------------------


def ask(text: str, timeout_s: float = PATIENT_S) -> str:
    """Why not; nothing when it is so."""
    try:
        asyncio.run(network.ask(checks.of(text), timeout_s))
    except NotSo as error:
        return str(error)
    return ""


def served(answer: bytes | None, text: str, timeout_s: float = PATIENT_S) -> tuple[str, bytes]:
    """What comes of asking a server that answers so, or not at all; and what it was asked."""
    heard: list[bytes] = []
    silent: list[asyncio.StreamWriter] = []  # newer Pythons close those that nobody holds

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.append(writer)
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is not None:
            writer.write(answer)
            writer.close()

    async def run() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            await network.ask(checks.of(text.replace("PORT", str(port))), timeout_s)
        except NotSo as error:
            return re.sub(r":\d+\)", ":PORT)", str(error))
        finally:
            server.close()
        return ""

    return asyncio.run(run()), b"".join(heard)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 302\r\nLocation: /elsewhere\r\n\r\n", ""),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "status 404 for /up (127.0.0.1:PORT)"),
        (b"HTTP/1.1 503 \r\n\r\n", "status 503 for /up (127.0.0.1:PORT)"),
        (b"+PONG\r\n", "the answer is no HTTP (127.0.0.1:PORT)"),
        (b"", "the answer is no HTTP (127.0.0.1:PORT)"),
        (b"H" * 100_000, "the answer is no HTTP (127.0.0.1:PORT)"),
    ],
)
def test_a_page_is_judged_by_its_status(answer: bytes, told: str) -> None:
    assert served(answer, "http http://127.0.0.1:PORT/up")[0] == told


def test_a_server_is_asked_politely_also_by_the_name_of_this_host() -> None:
    told, heard = served(b"HTTP/1.1 200 OK\r\n\r\n", "http http://localhost:PORT/up?x=1")
    assert told == ""
    assert heard.startswith(b"GET /up?x=1 HTTP/1.1\r\nHost: localhost:")


def test_a_server_that_does_not_answer_is_given_up() -> None:
    assert served(None, "http http://127.0.0.1:PORT/", 0.1)[0] == "no answer within 0.1 s (127.0.0.1:PORT)"


def test_a_name_server_that_does_not_answer_stops_lookups_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    may_answer, begun = threading.Event(), threading.Event()

    def look_up(*_: Any, **__: Any) -> Any:
        begun.set()
        may_answer.wait(PATIENT_S)
        raise OSError(0, "nobody knows")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    async def run() -> None:
        check = checks.of("tcp db.example:5432")
        try:
            asked = await asyncio.gather(*(network.ask(check, 0.05) for _ in range(64)), return_exceptions=True)
            assert {str(each) for each in asked} == {"no answer within 0.05 s (db.example:5432)"}
            assert begun.is_set()
            async with asyncio.timeout(PATIENT_S / 4):
                assert await asyncio.to_thread(int) == 0
        finally:
            may_answer.set()
        with pytest.raises(NotSo, match="nobody knows"):
            await network.ask(check, PATIENT_S)

    asyncio.run(run())


def test_a_name_may_have_several_addresses_of_which_one_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        async with server:
            await network.ask(checks.of(f"tcp db.example:{port}"), PATIENT_S)
            found.reverse()
            await network.ask(checks.of(f"tcp db.example:{port}"), PATIENT_S)
            found[:] = found[1:]
            with pytest.raises(NotSo, match="connection refused"):
                await network.ask(checks.of(f"tcp db.example:{port}"), PATIENT_S)

    asyncio.run(run())


def test_whoever_accepts_is_there(tmp_path: Path) -> None:
    path = tmp_path / "s"

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert ask(f"tcp unix:{path}") == ""
    assert ask(f"tcp unix:{path}") == f"connection refused ({path})"
    assert ask("tcp unix:/nowhere/at/all") == "no such file or directory (/nowhere/at/all)"
    assert ask("tcp 127.0.0.1:1") == "connection refused (127.0.0.1:1)"
    assert ask("http http://localhost:1") == "connection refused (localhost:1)"


def test_what_is_no_tls_is_told() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello, who are you?\r\n" * 10)

    async def run() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            await network.ask(checks.of(f"http https://127.0.0.1:{port}"), PATIENT_S)
        except NotSo as error:
            return str(error)
        finally:
            server.close()
        return ""

    assert asyncio.run(run()).startswith("tls failed:")


# Commands ---------------------------------------------------------------------------------------------------


def command(script: str, **fields: Any) -> Command:
    return Command(**{"argv": ["/bin/sh", "-c", script], "env": {}, "cwd": "/", "umask": 0o22, **fields})


def with_commands(work: Callable[[Commands], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        commands = Commands()
        try:
            return await work(commands)
        finally:
            commands.close()

    return asyncio.run(run())


def run(asked: Command, timeout_s: float = PATIENT_S) -> str:
    async def work(commands: Commands) -> str:
        try:
            await commands.ask(asked, timeout_s)
        except NotSo as error:
            return str(error)
        return ""

    told = with_commands(work)
    assert isinstance(told, str)
    return told


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 0", ""),
        ("echo fine", ""),
        ("exit 3", "sh: status 3"),
        ("echo one; echo two >&2; echo; exit 1", "two (sh: status 1)"),
        ("kill -9 $$", "sh: signal 9"),
        ("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo last; exit 1", "last (sh: status 1)"),
    ],
)
def test_a_command_answers_by_its_status_and_its_last_line(script: str, told: str) -> None:
    assert run(command(script, env={"PATH": "/usr/bin:/bin"})) == told


def test_a_command_has_the_environment_and_directory_it_is_given(tmp_path: Path) -> None:
    script = f'[ "$A-$(pwd)-$(umask)" = "b-{tmp_path}-0027" ]'
    assert run(command(script, env={"A": "b"}, cwd=str(tmp_path), umask=0o27)) == ""


def test_a_command_that_is_not_there_is_told() -> None:
    assert run(command("", argv=["/no/such"])) == "/no/such could not be started: No such file or directory"
    assert "could not be started" in run(command("exit 0", cwd="/no/such"))


def test_a_command_that_takes_too_long_is_killed_with_its_group(tmp_path: Path) -> None:
    script = f"sleep 1000 & echo $! $$ > {tmp_path}/pids; mv {tmp_path}/pids {tmp_path}/done; wait"
    assert run(command(script, env={"PATH": "/usr/bin:/bin"}), 1.0) == "no answer within 1 s (sh)"
    pids = (tmp_path / "done").read_text().split() if (tmp_path / "done").exists() else []
    deadline = time.monotonic() + PATIENT_S
    while any((found := row(int(pid))) is not None and found.state != "Z" for pid in pids):
        assert time.monotonic() < deadline


def test_what_a_command_leaves_behind_holds_nothing_up() -> None:
    assert run(command("sleep 1000 &", env={"PATH": "/usr/bin:/bin"})) == ""


def test_many_commands_take_turns_and_nobody_is_left_when_circusd_ends(tmp_path: Path) -> None:
    async def work(commands: Commands) -> int:
        script = f"touch {tmp_path}/$$; while :; do sleep 0.01; done"
        asks = [
            asyncio.create_task(commands.ask(command(script, env={"PATH": "/usr/bin:/bin"}), 10 * PATIENT_S))
            for _ in range(AT_ONCE + 2)
        ]
        while len(list(tmp_path.iterdir())) < AT_ONCE:
            await asyncio.sleep(0.01)
        started = len(list(tmp_path.iterdir()))
        asks[0].cancel()
        commands.close()
        async with asyncio.timeout(PATIENT_S):
            await asyncio.gather(*asks, return_exceptions=True)
        return started

    assert with_commands(work) == AT_ONCE
    for each in tmp_path.iterdir():
        wait_for(lambda pid=int(each.name): (found := row(pid)) is None or found.state == "Z", "the end of all")


# Lines ------------------------------------------------------------------------------------------------------


class Files:
    """Stands for the kernel's files of one process."""

    streams = ("out", "err")

    def __init__(self) -> None:
        self.content = {"out": b"", "err": b""}
        self.low = {"out": 0, "err": 0}
        self.is_closed = False

    def head(self, stream: str) -> int:
        return len(self.content[stream])

    def pread(self, stream: str, offset: int, size: int) -> bytes:
        if offset < self.low[stream]:
            raise Overtaken(stream, offset, self.low[stream])
        return self.content[stream][offset : offset + size]

    def close(self) -> None:
        self.is_closed = True


def lines_of(files: Any, regex: str, at: dict[str, int] | None = None) -> Lines:
    taken: StreamFiles = files
    return Lines(taken, at or {}, regex)


def test_a_line_is_found_in_whatever_pieces_it_comes() -> None:
    files = Files()
    lines = lines_of(files, r"^listening on \d+$")
    for piece in (b"starting\nlis", b"tening o", b"n 80"):
        files.content["err"] += piece
        assert not lines.look()
    files.content["err"] += b"00\r\nmore"
    assert lines.look()


def test_looking_begins_where_it_shall() -> None:
    files = Files()
    files.content["out"] = b"ready\nnot yet\n"
    assert not lines_of(files, "ready", {"out": 6}).look()
    assert lines_of(files, "ready").look()


def test_of_a_long_line_only_the_beginning_counts() -> None:
    files = Files()
    lines = lines_of(files, "needle")
    files.content["out"] = b"x" * MAX_LINE + b"needle\n" + b"y" * 200_000
    assert not lines.look()
    files.content["out"] += b"\nneedle\n"
    assert lines.look()


def test_what_the_kernel_has_dropped_is_passed_over() -> None:
    files = Files()
    lines = lines_of(files, "^ready")
    files.content["out"] = b"half"
    assert not lines.look()
    files.content["out"] += b"x" * 100 + b"\nready\n"
    files.low["out"] = 50
    assert lines.look()


def test_other_files_follow_a_kernel_that_was_away() -> None:
    old, new = Files(), Files()
    lines = lines_of(old, "ready")
    old.content["out"] = b"one\nrea"
    assert not lines.look()
    new.content["out"] = b"one\nready\n"
    taken: Any = new
    lines.go_on_with(taken)
    assert old.is_closed
    assert lines.look()
