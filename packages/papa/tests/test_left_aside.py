"""A kernel that comes upon what it cannot read: nothing of it is lost, and whoever can read it takes it over."""

from __future__ import annotations

import json
import os
import signal

import pytest

from papa import fdpass
from papa.core import index, journal
from papa.errors import PapaError

SPEC = {"env": {"PATH": "/usr/bin:/bin"}, "stderr": "null"}


@pytest.fixture
def host(hosted):
    return hosted(tier="full", vault=True)


def process(peer, gate, name="web"):
    """Writes a line, then one for each that it reads."""
    script = f"echo begin; while read x; do echo $x; done < {gate}; exit 42"
    row = peer.request("spawn", name=name, argv=["/bin/sh", "-c", script], **SPEC)
    peer.read_all(row["id"], "out", upto=6)
    return row


@pytest.fixture
def gate(tmp_path):
    path = tmp_path / "gate"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    yield path
    os.close(fd)


def rewrite(path, change):
    with open(path) as file:
        record = json.load(file)
    with open(path, "w") as file:
        file.write(change(record))


CHANGES = {
    "newer": lambda record: json.dumps({**record, "version": 2}),
    "damaged": lambda record: json.dumps(record)[:-9],
    "misshapen": lambda record: json.dumps({**record, "pid": ["none"]}),
    "no record": lambda record: "[1]",
    "too deep": lambda record: "[" * 100_000,
    "no name": lambda record: json.dumps({**record, "name": ["web"]}),
    "no inode": lambda record: json.dumps({**record, "inodes": [float("inf")]}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_record_that_cannot_be_read_costs_nothing_and_is_taken_over_by_who_can(host, gate, change, reap):
    peer = host.connect()
    row = process(peer, gate)
    peer.request("commit", acks=[[row["id"], "out", 2]], values={"a": "b"})
    path = f"{host.directory}/processes/{row['id']}.json"
    with open(path) as file:
        good = file.read()
    host.kill()
    rewrite(path, change)
    host.start()
    peer = host.connect()
    status = peer.request("status")
    assert (status["processes"], status["values"], len(status["left_aside"])) == (0, 1, 1)
    assert f"processes/{row['id']}.json: " in status["left_aside"][0]
    if change is CHANGES["newer"]:
        assert "its format 2 is newer than 1" in status["left_aside"][0]
    with open(gate, "w") as way_in:
        way_in.write("while it was aside\n")
    # More of everything turns the vault and uses numbers up.
    for number in range(30):
        other = peer.request("spawn", name=f"other-{number}", argv=["/bin/true"], **SPEC)
        assert other["id"] != row["id"]
    peer.request("remove", what="processes", names=["*"])
    with pytest.raises(PapaError):
        peer.request("exit")
    host.restart()
    assert host.connect().request("status")["left_aside"]
    host.kill()
    with open(path, "w") as file:
        file.write(good)
    host.start()
    peer = host.connect()
    after = peer.request("attach", id=row["id"], owner="me")
    assert (after["pid"], after["running"], after["streams"]["out"]["acked"]) == (row["pid"], True, 2)
    expected = b"gin\nwhile it was aside\n"
    assert peer.read_all(row["id"], "out", upto=2 + len(expected)) == expected
    assert peer.request("status")["left_aside"] == []
    os.kill(row["pid"], signal.SIGKILL)
    reap(row["pid"])
    assert peer.event("exit")["status"] == -signal.SIGKILL


def test_a_name_in_a_record_of_a_newer_papa_is_not_given_away(host, gate):
    row = process(host.connect(), gate)
    host.kill()
    rewrite(f"{host.directory}/processes/{row['id']}.json", CHANGES["newer"])
    host.start()
    peer = host.connect()
    with pytest.raises(PapaError) as caught:
        peer.request("spawn", name="web", argv=["/bin/true"], **SPEC)
    assert caught.value.code == "exists" and "cannot be read" in caught.value.message
    os.kill(row["pid"], signal.SIGKILL)


def test_a_socket_whose_record_cannot_be_read_stays_open(host):
    peer = host.connect()
    row = peer.request("listen", name="front", host="127.0.0.1", port=0)
    host.kill()
    path = f"{host.directory}/sockets/{row['id']}.json"
    rewrite(path, CHANGES["newer"])
    host.start()
    peer = host.connect()
    assert peer.request("list", what="sockets")["items"] == []
    with pytest.raises(PapaError, match="in use"):
        peer.request("listen", name="thief", host="127.0.0.1", port=row["port"])
    host.kill()
    rewrite(path, lambda record: json.dumps({**record, "version": 1}))
    host.start()
    assert host.connect().request("list", what="sockets")["items"] == [row]


JOURNALS = {
    "newer": lambda data: data + journal.encode({"version": 2, "values": ["another", "shape"]}),
    "misshapen": lambda data: data + journal.encode({"acks": "none"}),
    "damaged": lambda data: data[:20] + b"\0" + data[21:],
    "damaged at its end": lambda data: data[:-3] + b"\0" + data[-2:],
}


@pytest.mark.parametrize("change", JOURNALS.values(), ids=JOURNALS)
def test_a_journal_that_cannot_be_read_is_kept_and_costs_no_process(host, gate, change):
    peer = host.connect()
    row = process(peer, gate)
    peer.request("commit", values={"a": "b"})
    host.kill()
    with open(f"{host.directory}/journal", "rb") as file:
        data = change(file.read())
    with open(f"{host.directory}/journal", "wb") as file:
        file.write(data)
    for _ in range(2):
        host.start()
        peer = host.connect()
        [reason] = peer.request("status")["left_aside"]
        assert reason.startswith("journal.aside-1: ")
        with open(f"{host.directory}/journal.aside-1", "rb") as file:
            assert file.read() == data
        assert peer.request("attach", id=row["id"])["pid"] == row["pid"]
        assert peer.read_all(row["id"], "out", upto=6) == b"begin\n"
        assert peer.request("spawn", name="new", argv=["/bin/true"], **SPEC)["id"] > row["id"]
        peer.request("commit", values={"new": "value"})
        host.kill()
    host.start()
    assert host.connect().request("get", name="new") == {"value": "value"}


def test_an_index_of_another_format_is_kept_and_the_output_goes_on(host, gate):
    peer = host.connect()
    row = process(peer, gate)
    host.kill()
    path = f"{host.directory}/output/{row['id']}/index"
    with open(path, "rb") as file:
        newer = b"papaidx2" + file.read()[8:]
    with open(path, "wb") as file:
        file.write(newer)
    host.start()
    peer = host.connect()
    with open(gate, "w") as way_in:
        way_in.write("more\n")
    assert peer.read_all(row["id"], "out", upto=11) == b"begin\nmore\n"
    with open(path + ".aside-1", "rb") as file:
        assert file.read() == newer
    with open(path, "rb") as file:
        assert file.read(8) == index.MAGIC
    assert len(peer.request("status")["left_aside"]) == 1


def test_without_an_index_a_hole_counts_as_given_back(host, gate):
    peer = host.connect()
    row = process(peer, gate)
    host.kill()
    folder = f"{host.directory}/output/{row['id']}"
    with open(folder + "/out", "r+b") as file:
        file.truncate(0)
        file.seek(3 * 65536)
        file.write(b"what is left\n")
    os.truncate(folder + "/index", 0)
    host.start()
    peer = host.connect()
    kept = peer.request("attach", id=row["id"])["streams"]["out"]
    assert kept["low"] == 3 * 65536
    assert peer.read_all(row["id"], "out", upto=kept["head"]) == b"what is left\n"


def test_an_entry_of_the_vault_that_no_kernel_of_this_age_made_stays_in_it(host):
    host.kill()
    reader, writer = os.pipe()
    fdpass.send_with_fds(host.vault[1], b"t7:1", [writer])
    os.close(writer)
    for _ in range(3):
        host.start()
        assert host.connect().request("status")["left_aside"] == ["vault: it holds entries of a newer papa: t"]
        host.kill()
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        # Its writer lives, in the vault.
        os.read(reader, 1)
    os.close(reader)
    host.start()
