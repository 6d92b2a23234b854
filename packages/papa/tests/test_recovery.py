"""A second incarnation in the same directory, after a SIGKILL or an upgrade in place, with a real vault."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import time
from random import Random

import pytest
from tests.house import wait_for

from papa.core import journal
from papa.errors import PapaError
from papa.kernel.vault import open_pair

SPEC = {"env": {"PATH": "/usr/bin:/bin"}}


def sh(script: str, **more):
    return {"name": "web", "argv": ["/bin/sh", "-c", script], **SPEC, **more}


def rows(peer):
    return {row["id"]: row for row in peer.request("list", what="processes")["items"]}


@pytest.fixture(params=["full", "pidfd"])
def host(request, hosted):
    return hosted(tier=request.param, vault=True)


def test_a_process_survives_a_kill_of_the_kernel_and_nothing_is_lost(host, tmp_path, reap):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = f"echo before; while read x; do echo $x; done < {gate}; exit 42"
    peer = host.connect()
    row = peer.request("spawn", **sh(script, owner="me"))
    number = row["id"]
    with gate.open("w", buffering=1) as way_in:
        peer.read_all(number, "out", upto=7)
        peer.request("commit", acks=[[number, "out", 7]], values={"circus.position": "7"})
        host.kill()
        way_in.write("while nobody looks\n")
        host.start()
        way_in.write("after\n")
        peer = host.connect()
        after = peer.request("attach", id=number, owner="me")
        for key in ("pid", "name", "argv", "started_at", "start_ticks", "meta", "covered"):
            assert after[key] == row[key], key
        assert after["running"] and after["streams"]["out"]["acked"] == 7
        assert peer.request("get", name="circus.position") == {"value": "7"}
    assert peer.read_all(number, "out", upto=32) == b"while nobody looks\nafter\n"
    if host.tier == "full":
        reap(row["pid"])
    # In the lower tier it is read from the zombie.
    assert peer.event("exit")["status"] == 42
    reap(row["pid"])


@pytest.mark.parametrize("host", ["full"], indirect=True)
def test_an_exit_while_no_kernel_lived_is_known(host, tmp_path, reap):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    peer = host.connect()
    row = peer.request("spawn", **sh(f"read x < {gate}; echo bye; kill -9 $$"))
    host.kill()
    gate.write_text("go\n")
    reap(row["pid"])
    host.start()
    peer = host.connect()
    peer.request("attach", id=row["id"], owner="me")
    assert peer.event("exit")["status"] == -signal.SIGKILL
    assert peer.read_all(row["id"], "out") == b"bye\n"


def test_an_exit_that_was_told_but_not_acknowledged_is_told_again(host):
    peer = host.connect()
    number = peer.request("spawn", **sh("echo hello; exit 3", owner="me"))["id"]
    at = peer.event("exit")["at"]
    host.restart()
    peer = host.connect()
    row = peer.request("attach", id=number, owner="me")
    assert row["exit"] == {"status": 3, "at": at}
    assert peer.event("exit")["status"] == 3
    assert peer.read_all(number, "out") == b"hello\n"
    peer.request("commit", acks=[[number, "out", 6]], exits=[number])
    assert rows(peer) == {}


def test_an_exit_that_was_acknowledged_is_not_told_again(host, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    peer = host.connect()
    row = peer.request("spawn", **sh(f"(read x < {gate}) & exit 3", owner="me"))
    peer.event("exit")
    peer.request("commit", exits=[row["id"]])
    host.restart()
    peer = host.connect()
    peer.request("attach", id=row["id"], owner="me")
    peer.request("ping")
    assert not [event for event in peer.events if event.name == "exit"]
    gate.write_text("go\n")
    wait_for(lambda: rows(peer) == {}, "the end of its pipes")


def test_numbers_are_never_given_twice(host):
    seen = set()
    for _ in range(3):
        peer = host.connect()
        number = peer.request("spawn", **sh("true", owner="me", stdout="null", stderr="null"))["id"]
        assert number not in seen
        seen.add(number)
        peer.event("exit")
        peer.request("commit", exits=[number])
        host.restart()


def test_a_process_that_was_started_but_not_yet_noted_is_found_by_its_pipes(host):
    """As if the kernel had been killed between the spawn and the note of the pid."""
    peer = host.connect()
    row = peer.request("spawn", **sh("echo hello; sleep 1000"))
    host.kill()
    path = f"{host.directory}/processes/{row['id']}.json"
    with open(path) as file:
        record = json.load(file)
    pipe = os.stat(f"/proc/{row['pid']}/fd/1").st_ino
    record.update(pid=0, ticks=None, inodes=[pipe])
    with open(path, "w") as file:
        json.dump(record, file)
    host.start()
    after = rows(host.connect())[row["id"]]
    assert (after["pid"], after["start_ticks"], after["running"]) == (row["pid"], row["start_ticks"], True)


def test_a_process_that_was_never_started_is_forgotten(host):
    host.kill()
    record = {
        "version": 1, "boot": _boot_id(), "name": "web", "argv": ["x"], "digest": "0", "pid": 0, "ticks": None,
        "started_at": 1.0, "meta": {}, "uid": None, "gid": None, "exit": None, "removed": False,
        "captured": ["out"], "bounds": [1000, "block", 1.0], "inodes": [1],
    }  # fmt: skip
    os.makedirs(f"{host.directory}/output/7")
    with open(f"{host.directory}/processes/7.json", "w") as file:
        json.dump(record, file)
    host.start()
    assert rows(host.connect()) == {}
    assert os.listdir(host.directory + "/output") == os.listdir(host.directory + "/processes") == []


def _boot_id():
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def test_after_a_reboot_everything_is_gone_but_the_numbers_go_on(host):
    peer = host.connect()
    row = peer.request("spawn", **sh("sleep 1000"))
    peer.request("set", name="a", value="1")
    peer.request("listen", name="front", family="inet")
    host.kill()
    for kind in ("processes", "sockets"):
        for name in os.listdir(f"{host.directory}/{kind}"):
            path = f"{host.directory}/{kind}/{name}"
            with open(path) as file:
                record = json.load(file)
            with open(path, "w") as file:
                json.dump({**record, "boot": "another"}, file)
    with open(host.directory + "/journal", "rb") as file:
        records, _ = journal.decode(file.read())
    with open(host.directory + "/journal", "wb") as file:
        for record in records:
            file.write(journal.encode({**record, "boot": "another"} if "boot" in record else record))
    host.start()
    peer = host.connect()
    assert rows(peer) == {}
    assert peer.request("list", what="sockets")["items"] == []
    assert peer.request("list", what="values")["items"] == []
    assert peer.request("spawn", **sh("sleep 1000"))["id"] > row["id"]


def test_a_record_that_makes_no_sense_is_left_out_and_the_others_are_taken_over(host):
    peer = host.connect()
    row = peer.request("spawn", **sh("sleep 1000"))
    host.kill()
    with open(f"{host.directory}/processes/999.json", "w") as file:
        json.dump({"boot": _boot_id(), "pid": "x"}, file)
    host.start()
    assert list(rows(host.connect())) == [row["id"]]


def test_a_torn_journal_record_is_as_if_it_had_never_been(host):
    peer = host.connect()
    peer.request("set", name="a", value="1")
    host.kill()
    with open(host.directory + "/journal", "ab") as file:
        file.write(journal.encode({"values": {"a": "2"}})[:-3])
    host.start()
    peer = host.connect()
    assert peer.request("get", name="a") == {"value": "1"}
    peer.request("set", name="b", value="3")
    host.restart()
    assert host.connect().request("get", name="b") == {"value": "3"}


def test_a_journal_that_grew_is_compacted_and_says_the_same(host):
    peer = host.connect()
    for number in range(40):
        peer.request("set", name="big", value=f"{number}" + "x" * 60_000)
    size = os.stat(host.directory + "/journal").st_size
    assert size < 1_500_000
    host.restart()
    assert host.connect().request("get", name="big")["value"].startswith("39x")


def test_a_listening_socket_survives_with_its_waiting_connections(host):
    peer = host.connect()
    made = peer.request("listen", name="front", family="inet")
    waiting = socket.create_connection(("127.0.0.1", made["port"]))
    waiting.sendall(b"hello")
    host.restart()
    peer = host.connect()
    assert peer.request("list", what="sockets")["items"] == [made]
    program = "import socket,sys; c,_=socket.socket(fileno=int(sys.argv[1])).accept(); c.sendall(c.recv(9).upper())"
    argv = ["/usr/bin/python3", "-I", "-S", "-c", program, "$(socket.front.fileno)"]
    peer.request("spawn", name="server", argv=argv, **SPEC)
    assert waiting.recv(10) == b"HELLO"
    waiting.close()
    peer.request("remove", what="sockets", names=["front"])
    wait_for(lambda: not rows(peer)[max(rows(peer))]["running"], "the end of the server")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", made["port"]))


def test_who_was_removed_stays_removed(host, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    peer = host.connect()
    row = peer.request("spawn", **sh(f"read x < {gate}; head -c 200000 /dev/zero"))
    peer.request("remove", what="processes", names=["web"])
    host.restart()
    peer = host.connect()
    with pytest.raises(PapaError) as caught:
        peer.request("attach", id=row["id"])
    assert caught.value.code == "not-found"
    gate.write_text("go\n")
    if host.tier == "full":
        os.waitpid(row["pid"], 0)
    wait_for(lambda: peer.request("status")["processes"] == 0, "its end")


def test_a_kill_in_the_middle_of_a_removal_leaves_no_files_behind(host):
    peer = host.connect()
    row = peer.request("spawn", **sh("echo hello; exec sleep 1000"))
    peer.read_all(row["id"], "out", upto=6)
    host.kill()
    path = f"{host.directory}/processes/{row['id']}.json"
    with open(path) as file:
        record = json.load(file)
    with open(path, "w") as file:
        json.dump({**record, "removed": True, "name": None}, file)
    host.start()
    assert os.listdir(host.directory + "/output") == []


@pytest.mark.parametrize("host", ["full"], indirect=True)
def test_a_process_without_pipes_that_was_started_but_not_yet_noted_is_found(host):
    """Its first record is all that there is: no pid, no pipes, no pidfd."""
    peer = host.connect()
    more = {"stdout": "null", "stderr": "null"}
    peer.request("spawn", **sh("exec sleep 1000", **more) | {"name": "other"})
    kept = peer.request("spawn", **sh("exec sleep 1000", **more) | {"name": "kept"})
    host.kill()
    path = f"{host.directory}/processes/{kept['id']}.json"
    with open(path) as file:
        record = json.load(file)
    with open(path, "w") as file:
        json.dump({**record, "pid": 0, "ticks": None}, file)
    with open(f"{host.directory}/processes/{kept['id']}.started", "w"):
        pass
    for end in host.vault:
        end.close()
    host.vault = open_pair()
    host.start()
    after = rows(host.connect())[kept["id"]]
    assert after["pid"] == kept["pid"] and after["running"]


def test_who_lost_its_name_does_not_get_it_back(host):
    peer = host.connect()
    old = peer.request("spawn", **sh("sleep 1000"))
    new = peer.request("spawn", **sh("sleep 1001", supersede=True))
    host.restart()
    found = rows(host.connect())
    assert (found[old["id"]]["name"], found[new["id"]]["name"]) == (None, "web")


def test_an_equal_request_is_known_again_by_the_next_incarnation(host):
    first = host.connect().request("spawn", **sh("sleep 1000"))
    host.restart()
    again = host.connect().request("spawn", **sh("sleep 1000"))
    assert again["existing"] and again["pid"] == first["pid"]


def test_an_upgrade_in_place_keeps_pid_processes_and_statuses(host, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    peer = host.connect()
    before = peer.request("status")
    row = peer.request("spawn", **sh(f"echo before; read x < {gate}; echo after; exit 9"))
    peer.read_all(row["id"], "out", upto=7)
    assert peer.request("upgrade", check=True) == {}
    assert peer.request("upgrade") == {}
    with pytest.raises((PapaError, OSError)):
        peer.request("ping")

    def back():
        try:
            return host.connect()
        except OSError:
            return None

    peer = wait_for(back, "the kernel")
    assert peer.request("status")["pid"] == before["pid"]
    assert peer.request("attach", id=row["id"], owner="me")["running"]
    gate.write_text("go\n")
    assert peer.event("exit")["status"] == 9
    assert peer.read_all(row["id"], "out") == b"before\nafter\n"


@pytest.mark.parametrize("host", ["full"], indirect=True)
def test_output_is_exact_over_many_kills_under_load(host, reap):
    script = "i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo line $i; done; exit 42"
    peer = host.connect()
    wanted = b"".join(b"line %d\n" % number for number in range(1, 4001))
    made = [peer.request("spawn", **sh(script, name=f"web{number}")) for number in range(5)]
    for _ in range(5):
        host.restart()
    for row in made:
        reap(row["pid"])
    peer = host.connect()
    for row in made:
        assert peer.read_all(row["id"], "out") == wanted
        peer.request("attach", id=row["id"], owner="me")
        assert peer.event("exit", lambda fields, n=row["id"]: fields["id"] == n)["status"] == 42


@pytest.mark.parametrize("host", ["full"], indirect=True)
@pytest.mark.parametrize("kept", ["capture", "null"])
def test_a_kill_at_any_moment_of_starting_loses_no_process(host, kept):
    """Whatever was started is hosted afterwards, and whatever was not leaves nothing behind."""
    random = Random(7)
    for round in range(6):
        peer = host.connect()
        for number in range(8):
            spec = sh("echo started; exec sleep 1000", name=f"web{round}.{number}", stdout=kept, stderr=kept)
            peer.sock.sendall(peer.session.request("spawn", spec)[1])
        time.sleep(random.random() * 0.03)
        host.restart()
        running = {row["pid"]: row for row in rows(host.connect()).values() if row["running"]}
        # One that is in the middle of its exec has no words to be known by for an instant.
        wait_for(lambda: _sleepers() == set(running), "all that run are hosted")  # noqa: B023 - called at once
        assert all(row["start_ticks"] for row in running.values())
        files = {str(row["id"]) for row in running.values()} if kept == "capture" else set()
        assert set(os.listdir(host.directory + "/output")) == files


def _sleepers():
    """Our own descendants that run a script of this test, hosted or not."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
                with open(f"/proc/{entry}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            is_ours = int(fields[1]) == os.getpid() and fields[0] != "Z"
            if is_ours and (words[:2] == [b"sleep", b"1000"] or b"exec sleep 1000" in b" ".join(words)):
                found.add(int(entry))
    return found


@pytest.mark.parametrize("host", ["full"], indirect=True)
def test_a_kernel_with_few_descriptors_left_comes_back_though_its_vault_is_full_of_the_dead(host):
    # As many of the dead as of the living, at most, lie in the vault. A living one costs six descriptors.
    peer = host.connect()
    for number in range(30):
        peer.request("spawn", **{**sh("exec sleep 1000"), "name": f"living-{number}"})
    for number in range(29):
        row = peer.request("spawn", **{**sh("exit 0"), "name": f"dead-{number}"})
        peer.request("attach", id=row["id"], owner="me")
        peer.event("exit", lambda fields, id=row["id"]: fields["id"] == id)
        peer.request("commit", exits=[row["id"]])
    wait_for(lambda: len(rows(peer)) == 30, "the end of the dead")
    before = peer.request("status")
    assert before["vault"]["live"] == 60 and before["vault"]["dead"] > 50
    taken = len(os.listdir(f"/proc/{host.pid}/fd"))
    host.kill()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 10, hard))
    try:
        host.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    peer = host.connect()
    assert len(rows(peer)) == 30
    assert peer.request("status")["vault"]["live"] == 60
