from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import pytest

from papa.client import blocking
from papa.client.blocking import Connection
from papa.client.output import Overtaken
from papa.client.remote import RemoteStreams
from papa.errors import PapaError
from papa.testing import FakeKernel, FakeServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    before = len(os.listdir("/proc/self/fd"))
    kernel = FakeKernel()
    with FakeServer(kernel) as made:
        monkeypatch.setattr(blocking.launch, "open_connection", made.open_connection)
        yield made
    kernel.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_connection_asks_and_is_closed(server: FakeServer) -> None:
    with Connection(client="me") as connection:
        assert connection.hello["protocol"] == 1
        assert connection.is_open
        assert connection.request("get", name="x").ok == {"value": None}
    assert not connection.is_open
    assert connection.fileno() is None
    with pytest.raises(PapaError) as caught:
        connection.request("ping")
    assert caught.value.code == "lost"


def test_a_poke_makes_the_descriptor_readable_and_settling_takes_that_back(server: FakeServer) -> None:
    with Connection(client="me") as connection:
        fd = connection.fileno()
        assert fd is not None
        assert connection.settle() is False
        connection.poke()
        connection.poke()
        assert select.select([fd], [], [], 5)[0]
        assert connection.settle() is True
        connection.drain()
        assert not select.select([fd], [], [], 0)[0]


def test_a_kernel_that_does_not_answer_is_a_timeout_and_the_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(blocking.launch, "open_connection", lambda *_, **__: ours)
    with theirs, pytest.raises(PapaError, match="did not answer hello") as caught:
        Connection(client="me", timeout_s=0.02)
    assert caught.value.code == "timeout"


def test_another_program_at_the_address_is_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(blocking.launch, "open_connection", lambda *_, **__: ours)
    theirs.sendall(b"220 mail.example ESMTP\r\n")
    with theirs, pytest.raises(PapaError, match="ESMTP") as caught:
        Connection(client="me", timeout_s=30)
    assert caught.value.code == "unreachable"


def test_kernels_that_keep_going_away_are_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = 0

    def open_connection(*_: object, **__: object) -> socket.socket:
        nonlocal opened
        opened += 1
        ours, theirs = socket.socketpair()
        theirs.close()
        return ours

    class Clock:
        """Goes on while somebody sleeps, and not otherwise."""

        now = 0.0

        def monotonic(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.now += seconds

    monkeypatch.setattr(blocking.launch, "open_connection", open_connection)
    monkeypatch.setattr(blocking, "time", Clock())
    with pytest.raises(PapaError) as caught:
        Connection(client="me", timeout_s=0.05)
    assert caught.value.code == "lost"
    assert opened == 4


def test_output_over_the_wire_has_the_face_of_the_files(server: FakeServer) -> None:
    kernel = server.kernel
    with Connection(client="me") as connection:
        number = connection.request("spawn", name="p", argv=["x"], env={}, bound=10_000_000).ok["id"]
        data = os.urandom(2_500_000)
        server.call(lambda: kernel.write("p", "out", data[:10]))
        server.call(lambda: kernel.clock.advance(1.0))
        server.call(lambda: kernel.write("p", "out", data[10:]))
        streams = RemoteStreams(connection, number, ("out", "err"))
        assert (streams.head("out"), streams.low("out"), streams.head("err")) == (len(data), 0, 0)
        assert streams.pread("out", 5, len(data)) == data[5:]
        assert streams.pread("out", len(data), 10) == b""
        stamps = streams.stamps("out", 5, len(data))
        assert [offset for offset, _, _ in stamps][:2] == [5, 10]
        assert stamps[1][2] - stamps[0][2] == 1_000_000_000
        server.call(lambda: kernel.drop_oldest("p", "out", 100))
        for ask in (streams.pread, lambda stream, start, size: streams.stamps(stream, start, start + size)):
            with pytest.raises(Overtaken) as caught:
                ask("out", 50, 10)
            assert caught.value.new_low == 100
        streams.close()
