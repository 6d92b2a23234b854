"""The host with real children: what it promises to clients, whatever happens to it or to them."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import time

import pytest
from tests.house import wait_for

from papa.client.output import StreamFiles
from papa.errors import PapaError

SPEC = {"env": {"PATH": "/usr/bin:/bin"}}


def sh(script: str, **more):
    return {"name": "web", "argv": ["/bin/sh", "-c", script], **SPEC, **more}


def ids(peer):
    return [row["id"] for row in peer.request("list", what="processes")["items"]]


def row_of(peer, number):
    return next(row for row in peer.request("list", what="processes")["items"] if row["id"] == number)


@pytest.fixture(params=["full", "portable"])
def peer(request, hosted):
    return hosted(tier=request.param).connect()


@pytest.fixture
def host(hosted):
    return hosted()


# --- output and exits ----------------------------------------------------------------------------------------


def test_output_and_exit_of_a_process_reach_its_owner(peer):
    row = peer.request("spawn", **sh("echo hello; echo oops >&2; exit 3", owner="me"))
    assert row["running"] and row["owner"] == "me"
    number = row["id"]
    exit = peer.event("exit")
    assert (exit["id"], exit["status"], exit["heads"]) == (number, 3, {"out": 6, "err": 5})
    assert {peer.event("eof")["stream"], peer.event("eof")["stream"]} == {"out", "err"}
    assert peer.read_all(number, "out") == b"hello\n"
    assert peer.read_all(number, "err") == b"oops\n"


def test_a_process_that_was_killed_has_the_signal_as_its_status(peer):
    peer.request("spawn", **sh("kill -9 $$", owner="me"))
    assert peer.event("exit")["status"] == -signal.SIGKILL


def test_an_exit_is_kept_until_it_is_acknowledged_and_then_the_entry_goes(host):
    first = host.connect()
    number = first.request("spawn", **sh("echo done", owner="me"))["id"]
    assert first.event("exit")["status"] == 0
    first.read_all(number, "out")
    first.read_all(number, "err")
    first.close()
    second = host.connect()
    row = second.request("attach", id=number, owner="me")
    assert row["exit"]["status"] == 0 and row["name"] == "web"
    assert second.event("exit")["id"] == number
    second.request("commit", exits=[number])
    assert ids(second) == [number]
    second.request("commit", acks=[[number, "out", 5]])
    assert ids(second) == []
    assert os.listdir(host.directory + "/output") == os.listdir(host.directory + "/processes") == []


def test_bytes_that_arrive_are_dated(peer, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    before = time.time_ns()
    number = peer.request("spawn", **sh(f"echo one; read go <{gate}; echo two"))["id"]
    peer.read_all(number, "out", upto=4)
    # The two belong into records of their own.
    wait_for(lambda: time.time_ns() > peer_stamps(peer, number)[0][1] + 5_000_000, "a time that is another one")
    between = time.time_ns()
    gate.write_text("go\n")
    peer.read_all(number, "out")
    stamps = peer_stamps(peer, number)
    assert [stamp[0] for stamp in stamps] == [0, 4]
    assert before < stamps[0][1] < between < stamps[1][1] < time.time_ns()
    assert stamps[0][2] < stamps[1][2]


def peer_stamps(peer, number):
    return peer.request("read", id=number, stream="out", offset=0)["stamps"]


def test_the_end_of_one_stream_does_not_end_the_other(peer):
    number = peer.request("spawn", **sh("exec >&-; sleep 0.05; echo later >&2; exit 7", owner="me"))["id"]
    assert peer.event("eof") == {"id": number, "stream": "out", "head": 0}
    assert peer.event("exit")["status"] == 7
    assert peer.read_all(number, "err") == b"later\n"


def test_an_exit_does_not_wait_for_a_grandchild_that_holds_the_pipe(peer, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = f"(read x < {gate}; echo grandchild) & echo child; exit 5"
    number = peer.request("spawn", **sh(script, owner="me"))["id"]
    exit = peer.event("exit")
    assert (exit["status"], exit["heads"]["out"]) == (5, 6)
    peer.request("commit", acks=[[number, "out", 6]], exits=[number])
    assert row_of(peer, number)["streams"]["out"]["open"]
    gate.write_text("go\n")
    assert peer.event("eof", lambda fields: fields["stream"] == "out")["head"] == 17
    assert peer.read_all(number, "out") == b"grandchild\n"
    peer.request("commit", acks=[[number, "out", 17]])
    wait_for(lambda: ids(peer) == [], "the end of both")


def test_everything_that_a_process_wrote_is_taken_before_its_exit_is_told(peer):
    peer.request("spawn", **sh("head -c 60000 /dev/zero", owner="me", bound=1000, overflow="drop-oldest"))
    assert peer.event("exit")["heads"]["out"] == 60000


def test_standard_error_can_go_where_standard_output_goes(peer):
    number = peer.request("spawn", **sh("echo a; echo b >&2", stderr="stdout"))["id"]
    assert peer.read_all(number, "out") == b"a\nb\n"
    assert list(row_of(peer, number)["streams"]) == ["out"]


def test_output_that_nobody_wants_is_not_kept(peer):
    row = peer.request("spawn", **sh("echo a; echo b >&2", stdout="null", stderr="null", owner="me"))
    assert row["streams"] == {}
    assert peer.event("exit")["heads"] == {}
    peer.request("commit", exits=[row["id"]])
    assert ids(peer) == []


def test_notices_of_output_wait_until_the_owner_has_seen(peer, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = f"while read x; do echo $x; done < {gate}"
    number = peer.request("spawn", **sh(script, owner="me"))["id"]
    with gate.open("w", buffering=1) as way_in:
        way_in.write("a\n")
        assert peer.event("output")["items"] == [[number, 2, 0]]
        way_in.write("b\n")
        peer.read_all(number, "out", upto=4)
        assert not [event for event in peer.events if event.name == "output"]
        # More than was seen is there already: told at once.
        peer.post("more", seen=[[number, 2, 0]])
        assert peer.event("output")["items"] == [[number, 4, 0]]
        peer.request("commit", acks=[[number, "out", 4]], seen=[[number, 4, 0]])
        way_in.write("c\n")
        assert peer.event("output")["items"] == [[number, 6, 0]]


def test_a_new_owner_is_told_of_what_lies_there(host):
    number = host.connect().request("spawn", **sh("echo hello; sleep 1000"))["id"]
    peer = host.connect()
    peer.read_all(number, "out", upto=6)
    peer.request("attach", id=number, owner="me")
    assert peer.event("output")["items"] == [[number, 6, 0]]


# --- bounds --------------------------------------------------------------------------------------------------


def test_without_a_reader_the_oldest_output_is_dropped_and_counted(peer):
    script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done"
    number = peer.request("spawn", **sh(script, bound=16384))["id"]
    kept = peer.read_all(number, "out")
    facts = row_of(peer, number)["streams"]["out"]
    written = b"".join(b"line %d\n" % i for i in range(1, 3001))
    assert facts["head"] == len(written)
    assert 0 < facts["dropped"] == facts["low"] == len(written) - len(kept)
    assert written.endswith(kept)
    assert 4096 < len(kept) <= 16384 + 4096
    assert peer.request("status")["dropped_bytes"] == facts["dropped"]


def test_a_reader_slows_a_process_down_and_loses_nothing(peer):
    size = 400_000
    number = peer.request("spawn", **sh(f"head -c {size} /dev/zero", owner="me", bound=65536, stall_s=30))["id"]
    taken = 0
    while taken < size:
        items = peer.event("output")["items"]
        taken = items[0][1]
        assert peer.request("attach", id=number)["streams"]["out"]["dropped"] == 0
        peer.request("commit", acks=[[number, "out", taken]], seen=[[number, taken, 0]])
    assert peer.event("exit")["status"] == 0


def test_a_reader_that_is_silent_for_too_long_counts_as_none(peer):
    started = time.monotonic()
    number = peer.request("spawn", **sh("head -c 300000 /dev/zero", owner="me", bound=65536, stall_s=0.1))["id"]
    assert peer.event("exit")["heads"]["out"] == 300000
    assert time.monotonic() - started >= 0.1
    assert row_of(peer, number)["streams"]["out"]["dropped"] > 0


def test_a_reader_that_goes_away_frees_the_process(host):
    owner = host.connect()
    number = owner.request("spawn", **sh("head -c 300000 /dev/zero", owner="me", bound=65536, stall_s=600))["id"]
    peer = host.connect()
    wait_for(lambda: row_of(peer, number)["streams"]["out"]["head"] >= 65536, "a full buffer")
    assert row_of(peer, number)["running"]
    owner.close()
    wait_for(lambda: not row_of(peer, number)["running"], "its end")
    assert row_of(peer, number)["streams"]["out"]["head"] == 300000


def test_acknowledged_output_gives_its_room_back(host):
    peer = host.connect()
    number = peer.request("spawn", **sh("head -c 1000000 /dev/urandom; sleep 1000", owner="me"))["id"]
    peer.read_all(number, "out", upto=1_000_000)
    file = f"{host.directory}/output/{number}/out"
    with open(file) as written:
        os.fsync(written)
    assert os.stat(file).st_blocks > 1000
    assert peer.request("status")["held_bytes"] >= 1_000_000
    peer.request("commit", acks=[[number, "out", 1_000_000]])
    assert os.stat(file).st_blocks <= 16
    assert os.stat(file).st_size == 1_000_000
    assert peer.request("status")["held_bytes"] < 1000


# --- commits -------------------------------------------------------------------------------------------------


def test_a_commit_happens_as_a_whole_or_not_at_all(host):
    peer = host.connect()
    number = peer.request("spawn", **sh("echo hello", owner="me"))["id"]
    peer.event("exit")
    with pytest.raises(PapaError) as caught:
        peer.request("commit", acks=[[number, "out", 6]], values={"a": "1"}, exits=[number + 1])
    assert caught.value.code == "not-found"
    assert peer.request("get", name="a") == {"value": None}
    assert row_of(peer, number)["streams"]["out"]["acked"] == 0
    with pytest.raises(PapaError) as caught:
        peer.request("commit", acks=[[number, "out", 7]])
    assert caught.value.code == "bad-request"
    peer.request("commit", acks=[[number, "out", 6]], values={"a": "1"})
    assert peer.request("get", name="a") == {"value": "1"}


def test_an_acknowledgement_below_the_mark_says_where_to_go_on(host):
    peer = host.connect()
    number = peer.request("spawn", **sh("head -c 100000 /dev/zero", bound=16384))["id"]
    peer.read_all(number, "out")
    peer.request("attach", id=number, owner="me")
    low = row_of(peer, number)["streams"]["out"]["low"]
    with pytest.raises(PapaError) as caught:
        peer.request("commit", acks=[[number, "out", low - 1]])
    assert caught.value.code == "overtaken"
    assert caught.value.details["streams"] == [[number, "out", low]]


def test_only_the_owner_may_acknowledge_while_it_lives(host):
    owner, other = host.connect(), host.connect()
    number = owner.request("spawn", **sh("echo hello; sleep 1000", owner="me"))["id"]
    owner.read_all(number, "out", upto=6)
    for request in (
        lambda: other.request("attach", id=number, owner="you"),
        lambda: other.request("commit", acks=[[number, "out", 6]]),
    ):
        with pytest.raises(PapaError, match="belongs to me") as caught:
            request()
        assert caught.value.code == "owned"
    other.request("attach", id=number, owner="me")
    with pytest.raises(PapaError, match="belongs to me"):
        owner.request("commit", acks=[[number, "out", 6]])
    other.request("commit", acks=[[number, "out", 6]])


def test_values_are_set_read_listed_and_removed(peer):
    peer.request("set", name="circus.a", value="1")
    peer.request("commit", values={"circus.b": "2", "other": "3"})
    assert peer.request("list", what="values", patterns=["circus.*"])["items"] == [
        {"name": "circus.a", "value": "1"},
        {"name": "circus.b", "value": "2"},
    ]
    peer.request("set", name="circus.a", value=None)
    assert peer.request("get", name="circus.a") == {"value": None}
    assert peer.request("remove", what="values", names=["*"]) == {"removed": 2}
    assert peer.request("list", what="values")["items"] == []


def test_removing_needs_a_name(peer):
    for what in ("processes", "sockets", "values"):
        with pytest.raises(PapaError) as caught:
            peer.request("remove", what=what)
        assert caught.value.code == "bad-request"


# --- starting ------------------------------------------------------------------------------------------------


def test_an_equal_request_means_the_process_that_runs(peer):
    first = peer.request("spawn", **sh("sleep 1000"))
    again = peer.request("spawn", **sh("sleep 1000", owner="me"))
    assert again["existing"] and again["pid"] == first["pid"] and again["owner"] == "me"
    with pytest.raises(PapaError) as caught:
        peer.request("spawn", **sh("sleep 1001"))
    assert caught.value.code == "exists"
    with pytest.raises(PapaError):
        peer.request("spawn", **sh("sleep 1000", env={"SECRET": "other"}))
    newer = peer.request("spawn", **sh("sleep 1001", supersede=True))
    assert newer["id"] > first["id"]
    assert [row["name"] for row in peer.request("list", what="processes")["items"]] == [None, "web"]


@pytest.mark.parametrize(
    ("stage", "number", "words", "more"),
    [
        ("chdir", errno.ENOENT, "web: cannot start: working directory /no/such does not exist", {"cwd": "/no/such"}),
        ("exec", errno.ENOENT, "no-such-program is not on the PATH", {"argv": ["no-such-program"]}),
        ("exec", errno.ENOENT, "/no/such/program does not exist", {"argv": ["/no/such/program"]}),
        ("exec", errno.EACCES, "/etc/passwd: Permission denied", {"argv": ["/etc/passwd"]}),
        ("rlimit", errno.EINVAL, "limits nofile 64:32", {"rlimits": {"nofile": [64, 32]}}),
    ],
)
@pytest.mark.parametrize("way", [{}, {"uid": os.geteuid(), "gid": os.getegid()}])
def test_a_failed_start_names_its_stage_and_leaves_nothing_behind(host, way, stage, number, words, more):
    peer = host.connect()
    peer.request("ping")
    before = _pipes_of(host.pid), len(os.listdir(f"/proc/{host.pid}/fd")), peer.request("status")["vault"]["live"]
    with pytest.raises(PapaError, match=words) as caught:
        peer.request("spawn", **{**sh("true"), **way, **more})
    assert caught.value.code == "spawn-failed"
    assert caught.value.details == {"stage": stage, "errno": number}
    assert ids(peer) == []
    assert os.listdir(host.directory + "/output") == os.listdir(host.directory + "/processes") == []
    after = _pipes_of(host.pid), len(os.listdir(f"/proc/{host.pid}/fd")), peer.request("status")["vault"]["live"]
    assert after == before


def _pipes_of(pid):
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if target.startswith("pipe:") and int(fd) > 2:
            found.append((fd, target))
    return found


def test_a_process_gets_only_what_was_named(peer):
    number = peer.request("spawn", **sh("ls -l /proc/self/fd | wc -l; env; ulimit -n; pwd; tty"))["id"]
    lines = peer.read_all(number, "out").decode().split("\n")
    assert lines[0] == "5"  # total, 0, 1, 2, and the directory that ls reads
    assert "PATH=/usr/bin:/bin" in lines
    assert "/" in lines
    assert "not a tty" in lines


# --- sockets -------------------------------------------------------------------------------------------------


def test_a_socket_is_handed_to_processes_under_one_number(peer):
    made = peer.request("listen", name="front", family="inet", host="127.0.0.1")
    assert made["port"] > 0 and made["fileno"] >= 200
    argv = [
        "/bin/sh",
        "-c",
        "readlink /proc/self/fd/$1; echo $2",
        "sh",
        "$(socket.front.fileno)",
        "p$(socket.front.port)",
    ]
    number = peer.request("spawn", name="web", argv=argv, **SPEC)["id"]
    out = peer.read_all(number, "out").decode().split()
    assert out[0].startswith("socket:[")
    assert out[1] == f"p{made['port']}"
    # It listens although nobody serves it.
    socket.create_connection(("127.0.0.1", made["port"])).close()
    row = peer.request("list", what="sockets")["items"][0]
    assert (row["name"], row["fileno"], row["port"]) == ("front", made["fileno"], made["port"])


def test_an_equal_socket_is_the_one_that_is_open(peer):
    first = peer.request("listen", name="front", family="inet")
    again = peer.request("listen", name="front", family="inet")
    assert again.pop("existing") and again == first
    with pytest.raises(PapaError) as caught:
        peer.request("listen", name="front", family="inet", backlog=7)
    assert caught.value.code == "exists"


def test_a_port_in_use_is_named(peer):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PapaError, match=f"port 127.0.0.1:{port} is in use") as caught:
            peer.request("listen", name="front", host="127.0.0.1", port=port)
    assert caught.value.code == "listen-failed"
    assert caught.value.details == {"stage": "bind", "errno": errno.EADDRINUSE}


def test_a_unix_socket_can_be_the_standard_input_and_goes_with_its_name(host):
    peer = host.connect()
    path = host.directory + "/web.sock"
    peer.request("listen", name="front", path=path, umask=0)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o777
    number = peer.request("spawn", **sh("readlink /proc/self/fd/0", stdin={"socket": "front"}))["id"]
    assert peer.read_all(number, "out").startswith(b"socket:[")
    assert peer.request("remove", what="sockets", names=["front"]) == {"removed": 1}
    assert not os.path.exists(path)
    with pytest.raises(PapaError) as caught:
        peer.request("remove", what="sockets", names=["front"])
    assert caught.value.code == "not-found"


# --- descriptors ---------------------------------------------------------------------------------------------


@pytest.mark.vault
def test_a_local_client_reads_the_files_themselves(host):
    peer = host.connect()
    reply = peer.ask("spawn", **sh("echo hello; echo oops >&2; sleep 1000", fds=True, owner="me"))
    assert reply.fds == ("pid", "out", "err", "index")
    fds = peer.take_fds(reply.fds)
    with StreamFiles({name: fds[name] for name in ("out", "err", "index")}) as files:
        wait_for(lambda: files.head("out") == 6 and files.head("err") == 5, "both lines")
        assert files.pread("out", 0, 100) == b"hello\n"
        assert files.stamps("out", 0, 6)[0][0] == 0
        peer.request("commit", acks=[[reply.ok["id"], "out", 6]])
        assert files.low("out") == 6
    signal.pidfd_send_signal(fds["pid"], signal.SIGTERM)
    assert peer.event("exit")["status"] == -signal.SIGTERM
    os.close(fds["pid"])
    again = peer.ask("attach", id=reply.ok["id"], fds=True)
    assert again.fds == ("out", "err", "index")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(peer.fds[0], b"x")


# --- removing ------------------------------------------------------------------------------------------------


def test_a_removed_process_lives_on_and_is_drained_until_it_ends(peer, tmp_path):
    gates = [tmp_path / "first", tmp_path / "second"]
    for gate in gates:
        os.mkfifo(gate)
    script = f"read x < {gates[0]}; head -c 200000 /dev/zero; read x < {gates[1]}"
    row = peer.request("spawn", **sh(script, owner="me"))
    assert peer.request("remove", what="processes", names=["web"]) == {"removed": 1}
    again = peer.request("spawn", **sh("sleep 1000"))
    assert again["id"] != row["id"] and "existing" not in again
    for gate in gates:
        gate.write_text("go\n")
    wait_for(lambda: ids(peer) == [again["id"]], "the end of the one that was removed")
    assert not [event for event in peer.events if event.fields.get("id") == row["id"]]


def test_a_dead_process_is_removed_at_once(host):
    peer = host.connect()
    number = peer.request("spawn", **sh("echo hello", owner="me"))["id"]
    peer.event("exit")
    assert peer.request("remove", what="processes", ids=[number]) == {"removed": 1}
    assert ids(peer) == []
    assert os.listdir(host.directory + "/output") == []


# --- the kernel itself ---------------------------------------------------------------------------------------


def test_hello_and_status_say_who_answers(peer):
    hello = peer.request("hello", client="tests")
    assert hello["protocol"] == 1 and hello["instance"] == "test" and hello["boot_id"]
    peer.request("spawn", **sh("sleep 1000"))
    status = peer.request("status")
    assert status["pid"] == hello["pid"] and status["tier"] == hello["tier"]
    assert (status["processes"], status["running"], status["clients"]) == (1, 1, ["tests"])
    assert status["faults"] == 0
    assert status["rss_bytes"] < 16 << 20


def test_an_unknown_operation_is_named(peer):
    with pytest.raises(PapaError, match="no operation 'dance'"):
        peer.request("dance")


def test_only_an_idle_kernel_exits_unless_it_is_forced(host):
    peer = host.connect()
    peer.request("set", name="a", value="1")
    with pytest.raises(PapaError) as caught:
        peer.request("exit")
    assert caught.value.code == "busy"
    peer.request("set", name="a", value=None)
    assert peer.request("exit")["running"] == 0
    assert host.wait() == 0
    assert sorted(os.listdir(host.directory)) == ["control.sock"]


def test_a_forced_exit_leaves_processes_alone(host):
    peer = host.connect()
    pid = peer.request("spawn", **sh("sleep 1000"))["pid"]
    peer.request("listen", name="front", path=host.directory + "/front.sock")
    assert "left alone" in peer.request("exit", force=True)["hint"]
    assert host.wait() == 0
    assert not os.path.exists(host.directory + "/front.sock")
    os.kill(pid, signal.SIGKILL)


def test_an_idle_kernel_does_not_wake_up(host):
    peer = host.connect()
    peer.request("spawn", **sh("sleep 1000", owner="me"))
    peer.request("ping")

    def switches():
        with open(f"/proc/{host.pid}/status") as status:
            return next(line for line in status if "voluntary_ctxt" in line)

    def sleeps_for(seconds):
        before = switches()
        time.sleep(seconds)
        return switches() == before

    # Not at once: it may still be on its way to sleep.
    wait_for(lambda: sleeps_for(1.1), "a time in which it sleeps")
