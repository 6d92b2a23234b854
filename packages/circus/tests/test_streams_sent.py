"""Lines as messages: one for each, with the time of writing, and none lost while the receiver is away."""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packages.circus.tests.test_streams_pump import World, run, world
from tests.house import wait_for

from circus.config import receivers
from circus.config.model import StreamConfig
from circus.config.receivers import Receiver
from circus.streams import health, journal, syslog
from circus.streams.sent import Message

__all__ = ["world"]

AT_NS = 1_700_000_000_123_456_789
LINE = Message(b"h\xc3\xa9llo", AT_NS, "info", "web", 2, 4711, "stdout")


# Encoding ---------------------------------------------------------------------------------------------------


def test_the_form_for_the_socket_of_the_host() -> None:
    assert syslog.rfc3164(LINE, "daemon", "web", UTC) == b"<30>Nov 14 22:13:20 web[4711]: h\xc3\xa9llo"
    early = Message(b"", 1_699_056_000 * 10**9, "err", "web", 2, 1, "stderr")
    assert syslog.rfc3164(early, "local7", "w", UTC) == b"<187>Nov  4 00:00:00 w[1]: "


def test_the_form_for_other_hosts_has_microseconds() -> None:
    sent = b"<30>1 2023-11-14T22:13:20.123456Z host web 4711 stdout - h\xc3\xa9llo"
    assert syslog.rfc5424(LINE, "daemon", "web", "host") == sent
    assert syslog.framed(b"abc") == b"3 abc"


def test_a_tag_is_a_word_for_every_receiver() -> None:
    assert syslog.tag_of("web") == "web"
    assert syslog.tag_of("my: job[1] é") == "my__job_1___"
    assert syslog.tag_of("") == "circus"
    assert len(syslog.tag_of("x" * 99)) == 48


@given(st.text(max_size=60), st.integers(4, 9))
def test_a_long_line_is_cut_between_characters(text: str, limit: int) -> None:
    pieces = syslog.cut(text.encode(), limit)
    assert b"".join(pieces) == text.encode()
    assert all(len(piece) <= limit for piece in pieces)
    assert "".join(piece.decode() for piece in pieces) == text


@given(st.binary(max_size=60))
def test_bytes_that_are_no_text_are_cut_somewhere(data: bytes) -> None:
    assert b"".join(syslog.cut(data, 7)) == data


def fields_of(data: bytes) -> dict[str, bytes]:
    """As the journal reads them."""
    fields = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, sign, value = line.partition(b"=")
        if not sign:
            (size,) = struct.unpack_from("<Q", rest)
            value, rest = rest[8 : 8 + size], rest[8 + size + 1 :]
        fields[name.decode()] = value
        data = rest
    return fields


@given(st.binary(max_size=40))
def test_an_entry_of_the_journal_holds_any_bytes(text: bytes) -> None:
    entry = fields_of(journal.encode(Message(text, AT_NS, "err", "web", 2, 4711, "stderr"), "daemon", "my web"))
    assert entry == {
        "MESSAGE": text, "PRIORITY": b"3", "SYSLOG_FACILITY": b"3", "SYSLOG_IDENTIFIER": b"my web",
        "OBJECT_PID": b"4711", "CIRCUS_WATCHER": b"web", "CIRCUS_WID": b"2", "CIRCUS_PID": b"4711",
        "CIRCUS_STREAM": b"stderr", "CIRCUS_TIME": b"2023-11-14T22:13:20.123456Z",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "receiver"),
    [
        (" /dev/log ", Receiver("unix", "/dev/log")),
        ("udp://logs.example", Receiver("udp", "logs.example", 514)),
        ("tcp://[::1]:6514", Receiver("tcp", "::1", 6514)),
    ],
)
def test_addresses_are_understood(text: str, receiver: Receiver) -> None:
    assert receivers.receiver_at(text) == receiver


@pytest.mark.parametrize(
    "text", ["", "log", "http://x", "udp://", "udp://x:0", "udp://x:port", "tcp://x/y", "tcp://[x"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address; write the path"):
        receivers.parse_address(text)


def test_words_of_syslog_are_known_by_their_other_names() -> None:
    assert receivers.parse_severity(" Error ") == "err"
    assert receivers.parse_facility("LOCAL3") == "local3"
    for parse in (receivers.parse_severity, receivers.parse_facility):
        with pytest.raises(ValueError, match="of syslog; write one of"):
            parse("loud")


# Sending ----------------------------------------------------------------------------------------------------


class Receiving:
    """A receiver of datagrams at a path; ``got`` are those that came, a sealed file by its content."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.got: list[bytes] = []
        self.files = 0
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._thread = threading.Thread(target=self._receive, args=[self._socket])
        self._thread.start()

    def _receive(self, bound: socket.socket) -> None:
        while True:
            data, fds, _, _ = socket.recv_fds(bound, 1 << 20, 1)
            for fd in fds:
                data = os.pread(fd, 1 << 24, 0)
                os.close(fd)
                self.files += 1
            if data == b"stop":
                return
            self.got.append(data)

    def stop(self) -> None:
        if self._socket is None or self._thread is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"stop", str(self.path))
        self._thread.join(20)
        self._socket.close()
        self._socket = None
        self.path.unlink()


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[Receiving]:
    receiving = Receiving(tmp_path / "log")
    yield receiving
    receiving.stop()


def config(kind: str, address: object, **keys: Any) -> StreamConfig:
    keys = {"level": "info", "tag": "web", "owner": "web.stdout_stream", **keys}
    return StreamConfig(class_name=kind, address=str(address), **keys)


def tell(world: World, stream: StreamConfig, story: Callable[[int], Any], *, other: StreamConfig | None = None) -> None:
    async def whole() -> None:
        world.pump.configure("web", {"out": stream, "err": other})
        one = await world.spawn("web.2")
        await world.pump.start()
        await story(one)

    run(world, whole())


TIME = rb"<30>\w{3} [ \d]\d \d\d:\d\d:\d\d "


def test_each_line_is_one_message_however_the_bytes_come(world: World, receiving: Receiving) -> None:
    receiving.start()

    async def story(one: int) -> None:
        pid = world.papa.row(one)["pid"]
        for piece in (b"fir", b"st\nsecond\n\nthi", b"rd\n"):
            world.papa.write(one, "out", piece)
        await world.until(lambda: world.acked(one) == 20 and len(receiving.got) == 4)
        texts = [re.sub(TIME + rb"web\[%d\]: " % pid, b"", data) for data in receiving.got]
        assert texts == [b"first", b"second", b"", b"third"]

    tell(world, config("SyslogStream", receiving.path), story)


def test_a_line_waits_for_its_end(world: World, receiving: Receiving) -> None:
    receiving.start()

    async def story(one: int) -> None:
        world.papa.write(one, "out", b"whole\nbeg")
        await world.until(lambda: world.acked(one) > 0 and len(receiving.got) > 0)
        assert world.acked(one) == 6
        world.papa.write(one, "out", b"un\n")
        await world.until(lambda: world.acked(one) == 12 and len(receiving.got) == 2)
        assert receiving.got[1].endswith(b": begun")

    tell(world, config("SyslogStream", receiving.path), story)


def test_what_is_no_whole_line_is_sent_at_the_end_of_its_process(world: World, receiving: Receiving) -> None:
    receiving.start()

    async def story(one: int) -> None:
        world.papa.write(one, "out", b"last words")
        world.papa.end(one, 0)
        await world.until(lambda: receiving.got != [])
        assert receiving.got[0].endswith(b": last words")

    tell(world, config("SyslogStream", receiving.path), story)


def test_nothing_is_lost_while_the_receiver_is_away_and_the_times_are_those_of_writing(
    world: World, receiving: Receiving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "RETRY_LAST_S", 0.01)

    async def story(one: int) -> None:
        world.papa.write(one, "out", b"a\n")
        await world.until(lambda: world.kinds() == ["sink_failed"])
        world.papa.clock.advance(3600)
        head = world.papa.write(one, "out", b"b\n")
        receiving.start()
        await world.until(lambda: world.acked(one) == head)
        receiving.stop()
        head = world.papa.write(one, "out", b"c\n")
        await world.until(lambda: world.kinds().count("sink_failed") == 2)
        receiving.start()
        await world.until(lambda: world.acked(one) == head and len(receiving.got) == 3)
        times = [fields_of(data)["CIRCUS_TIME"] for data in receiving.got]
        assert [fields_of(data)["MESSAGE"] for data in receiving.got] == [b"a", b"b", b"c"]
        assert times == [b"2023-11-14T22:13:20.000000Z", *[b"2023-11-14T23:13:20.000000Z"] * 2]
        assert world.kinds() == ["sink_failed", "sink_recovered"] * 2

    tell(world, config("JournalStream", receiving.path), story)


def test_output_that_was_dropped_is_told_by_a_message_where_it_is_missing(world: World, receiving: Receiving) -> None:
    receiving.start()

    async def story() -> None:
        world.pump.configure("web", {"out": config("SyslogStream", receiving.path), "err": None})
        one = await world.spawn("web.2")
        world.papa.write(one, "out", b"lost\nkept\n")
        world.papa.drop_oldest(one, "out", 5)
        low = world.papa.row(one)["streams"]["out"]["low"]
        await world.pump.start()
        await world.until(lambda: world.acked(one) == 10 and len(receiving.got) > 0)
        mark = rb"<28>.*\[papa: %d bytes of output were dropped here\]" % low
        assert re.fullmatch(mark, receiving.got[0]), receiving.got

    run(world, story())


def test_an_entry_that_is_too_large_for_a_datagram_is_a_sealed_file(world: World, receiving: Receiving) -> None:
    receiving.start()
    sender = journal.JournalSender(config("JournalStream", receiving.path))
    sender.open()
    text = b"x" * 1_000_000
    sender.send(Message(text, AT_NS, "info", "web", 1, 1, "stdout"))
    wait_for(lambda: receiving.got, "the entry")
    assert fields_of(receiving.got[0])["MESSAGE"] == text
    assert receiving.files == 1
    sender.close()


def test_both_outputs_have_a_level_of_their_own(world: World, receiving: Receiving) -> None:
    receiving.start()

    async def story(one: int) -> None:
        world.papa.write(one, "out", b"good\n")
        world.papa.write(one, "err", b"bad\n")
        await world.until(lambda: world.acked(one) == 5 and world.acked(one, "err") == 4 and len(receiving.got) == 2)
        assert {(data[:4], data[-3:]) for data in receiving.got} == {(b"<30>", b"ood"), (b"<27>", b"bad")}

    err = config("SyslogStream", receiving.path, level="err", owner="web.stderr_stream")
    tell(world, config("SyslogStream", receiving.path), story, other=err)


def test_over_tcp_each_message_stands_behind_its_length_and_a_closed_connection_is_made_anew(world: World) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(20)
    streams = []

    def accept() -> None:
        for _ in range(2):
            connection, _ = server.accept()
            connection.settimeout(20)
            with connection, connection.makefile("rb") as file:
                size, _, begun = file.peek().partition(b" ")
                data = file.read(len(size) + 1 + int(size))
                assert begun
            streams.append(data[len(size) + 1 :])  # the connection is closed by now

    thread = threading.Thread(target=accept)
    thread.start()

    async def story(one: int) -> None:
        for number, text in enumerate((b"one\n", b"two\n")):
            head = world.papa.write(one, "out", text)
            await world.until(lambda head=head: world.acked(one) == head)
            await world.until(lambda number=number: len(streams) == number + 1)
        pid = world.papa.row(one)["pid"]
        for data, text in zip(streams, (b"one", b"two"), strict=True):
            assert re.fullmatch(rb"<30>1 \S+Z \S+ web %d stdout - %s" % (pid, text), data)

    tell(world, config("SyslogStream", f"tcp://127.0.0.1:{server.getsockname()[1]}"), story)
    thread.join(20)
    server.close()


def test_over_udp_each_message_is_a_datagram(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)

        async def story(one: int) -> None:
            head = world.papa.write(one, "out", b"one\ntwo\n")
            await world.until(lambda: world.acked(one) == head)

        tell(world, config("SyslogStream", f"udp://127.0.0.1:{server.getsockname()[1]}", facility="local0"), story)
        got = [server.recv(9999) for _ in range(2)]
    assert [data[:6] for data in got] == [b"<134>1"] * 2
    assert [data[-5:] for data in got] == [b"- one", b"- two"]


def test_a_host_that_has_no_name_is_an_error_of_the_stream(world: World) -> None:
    sender = syslog.SyslogSender(config("SyslogStream", f"udp://{'x' * 70}.example:1"))
    with pytest.raises(OSError, match=r"no such host|not known|failure"):
        sender.open()
    sender.close()
