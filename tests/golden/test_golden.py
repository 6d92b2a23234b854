"""What papa has ever written it understands for ever; and it writes what the newest format says."""

from __future__ import annotations

import json
import subprocess

import pytest

from papa.core import index, journal
from papa.errors import PapaError
from papa.kernel import recorder, records, vault
from tests.golden import make

FORMATS = sorted((path for path in make.FOLDER.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


@pytest.fixture(params=FORMATS, ids=lambda folder: folder.name)
def folder(request):
    return request.param


@pytest.fixture
def meaning(folder):
    return json.loads((folder / "meaning.json").read_text())


def load(path):
    return json.loads(path.read_text())


def test_the_present_format_is_the_newest_one_here(tmp_path):
    make.write(tmp_path)
    newest = FORMATS[-1]
    advice = f"what papa writes has changed: python -m tests.golden.make {int(newest.name) + 1}"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in newest.iterdir()), advice
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (newest / path.name).read_bytes(), f"{path.name}: {advice}"


def test_processes(folder, meaning):
    for name, facts in meaning["processes"].items():
        record = load(folder / f"process-{name}.json")
        process = records.to_process(facts["number"], record)
        bounds = records.bounds_of(record)
        assert facts == {
            "number": process.id, "name": process.name, "argv": list(process.argv), "digest": process.digest,
            "pid": process.pid, "ticks": process.start_ticks, "started_at": process.started_at, "meta": process.meta,
            "uid": process.uid, "gid": process.gid, "exit": process.exit and list(process.exit),
            "removed": process.is_removed, "captured": record["captured"],
            "bounds": [bounds.bound, bounds.overflow, bounds.stall_s], "inodes": record["inodes"],
            **({} if bounds.by_stream is None else {"each": bounds.pack_streams()}),
        }  # fmt: skip
        assert record["boot"] == make.BOOT


def test_sockets(folder, meaning):
    for name, facts in meaning["sockets"].items():
        record = load(folder / f"socket-{name}.json")
        socket, file = records.to_socket(facts["number"], record)
        assert (socket.port, socket.fileno, file and list(file)) == (facts["port"], facts["fileno"], facts["file"])
        assert facts["spec"].items() <= socket.spec.to_json().items()
        assert record["boot"] == make.BOOT


def test_the_journal(folder, meaning):
    data = (folder / "journal").read_bytes()
    contents, valid = journal.decode(data)
    assert valid == len(data)
    journal.check(contents)
    assert [record["boot"] for record in contents if "boot" in record] == [make.BOOT]
    ledger = journal.Ledger(contents)
    assert meaning["journal"] == {
        "limit": ledger.limit, "secret": ledger.secret, "values": ledger.values, "exits": sorted(ledger.exits),
        "acks": {str(id): acks for id, acks in ledger.acks.items()},
    }  # fmt: skip


def test_the_index(folder, meaning):
    data = (folder / "index").read_bytes()
    header = index.unpack_header(data)
    assert header is not None and not index.is_foreign(data)
    stamps = index.stamps_between(data[header.first :], "out", 100, header.low["out"], 100)
    assert meaning["index"] == {
        "low": header.low, "dropped": header.dropped, "first": header.first, "stamps": [list(s) for s in stamps],
    }  # fmt: skip
    assert index.stamps_between(data[header.first :], "err", 5, 0, 5) == [(0, 5, 5)]


def test_the_vault(folder, meaning):
    lines = (folder / "vault").read_bytes().splitlines()
    for line, keys in zip(lines, meaning["vault"], strict=True):
        entries = vault._parse(line, list(range(sum(count for _, count in keys))))
        assert [[key, len(fds)] for key, fds in entries] == keys


def test_the_ends_that_a_holder_noted(folder, meaning, tmp_path):
    (tmp_path / recorder.NAME).write_bytes((folder / "reaped").read_bytes())
    for pid, ticks, status in meaning["reaped"]:
        assert recorder.recorded_status(str(tmp_path), pid, ticks) == status
        assert recorder.recorded_status(str(tmp_path), pid, ticks + 1) is None


def test_what_the_holder_hands_over(folder, meaning):
    assert meaning["handed"].items() <= load(folder / "handed.json").items()


@pytest.mark.parametrize("folder", [path for path in FORMATS if path.name != "1"], indirect=True)
def test_the_program_that_the_holder_starts(folder, meaning):
    path = folder / "program"
    script = path.read_text().replace("exec '", "exec printf '%s\\n' '", 1)
    said = subprocess.run(["/bin/sh", "-c", script, "sh", "4242"], capture_output=True, text=True).stdout.splitlines()
    assert said[0] == "/opt/papa's/bin/python"
    assert meaning["handed"].items() <= json.loads(said[-2]).items()
    assert said[-1] == "4242"


def test_what_a_later_papa_writes_is_told_from_damage():
    process = load(FORMATS[-1] / "process-running.json")
    later = {**process, "version": records.VERSION + 1}
    with pytest.raises(PapaError, match="newer than"):
        records.to_process(1, later)
    assert records.to_process(1, {**process, "colour": "blue"}).name == "web"
    with pytest.raises(PapaError, match="newer than"):
        journal.check([{"version": journal.VERSION + 1}])
    assert vault._parse(b"2 o1001:2", [3, 4]) is None
