"""Clients that keep a real host waiting, many at once: what they make it hold together is bounded, the others go on."""

from __future__ import annotations

import contextlib

import pytest
from tests.house import wait_for

from papa.kernel.patience import MAX_TOGETHER

MEGABYTE = "x" * 1_000_000
#: Each makes the host hold nearly 4 MB.
VALUES = {f"v{number}": MEGABYTE[:990_000] for number in range(4)}
MANY = 40
#: Beside what is counted: one request that is being understood and answered, and the allocator's own.
BESIDE = 32 << 20


@pytest.fixture
def host(hosted):
    return hosted()


def grown(peer, before):
    return peer.request("status")["rss_bytes"] - before


def is_cut_off(peer):
    """Without waiting. Whatever came before is read."""
    peer.sock.setblocking(False)
    try:
        while peer.sock.recv(1 << 16):
            pass
        return True
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    finally:
        peer.sock.settimeout(30)


def test_of_many_who_never_finish_a_request_the_longest_waiting_are_cut_off(host):
    worker = host.connect()
    before = worker.request("status")["rss_bytes"]
    slow = []
    for _ in range(MANY):
        slow.append(host.connect())
        slow[-1].request("ping")
        number, data = slow[-1].session.request("commit", {"values": VALUES})
        slow[-1].sock.sendall(data[:-1])
        worker.request("set", name="work", value=MEGABYTE)
    assert grown(worker, before) < MAX_TOGETHER + BESIDE
    room = MAX_TOGETHER // len(data)
    wait_for(lambda: worker.request("status")["connections"] <= room + 1, "the farewell of the others")
    assert [is_cut_off(peer) for peer in slow] == [True] * (MANY - room) + [False] * room
    # Who is left may still finish.
    slow[-1].sock.sendall(data[-1:])
    assert slow[-1]._message().id == number
    assert worker.request("get", name="v3")["value"] == VALUES["v3"]


def test_of_many_who_read_no_answer_the_longest_silent_are_cut_off(host):
    worker = host.connect()
    worker.request("commit", values={name: value[:700_000] for name, value in VALUES.items()})
    before = worker.request("status")["rss_bytes"]
    deaf = []
    for _ in range(MANY):
        deaf.append(host.connect())
        deaf[-1].sock.sendall(deaf[-1].session.request("list", {"what": "values"})[1])
        worker.request("ping")
    wait_for(lambda: worker.request("status")["connections"] < MANY + 1, "the farewell of some")
    assert grown(worker, before) < MAX_TOGETHER + BESIDE
    assert len(deaf[-1]._message().ok["items"]) == 4
    assert worker.request("status")["faults"] == 0


def test_who_reads_on_is_not_cut_off_however_much_others_leave(host):
    worker, reader = host.connect(), host.connect()
    worker.request("commit", values={name: value[:700_000] for name, value in VALUES.items()})
    number, data = reader.session.request("list", {"what": "values"})
    reader.sock.sendall(data)
    deaf = []
    for _ in range(MANY):
        deaf.append(host.connect())
        with contextlib.suppress(OSError):
            deaf[-1].sock.sendall(deaf[-1].session.request("list", {"what": "values"})[1])
        # A little of its answer each time.
        reader.session.feed(reader.sock.recv(1 << 16))
        worker.request("ping")
    assert reader._message().id == number
