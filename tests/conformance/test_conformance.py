from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any

import pytest

from papa.client.output import Overtaken, StreamFiles
from papa.errors import PapaError

if TYPE_CHECKING:
    from world import Driver, World


def refused(driver: Driver, code: str, op: str, **args: Any) -> PapaError:
    with pytest.raises(PapaError) as caught:
        driver.call(op, **args)
    assert caught.value.code == code, caught.value
    return caught.value


def names(driver: Driver) -> list[str]:
    return [name for name, _ in driver.events]


def told(driver: Driver, name: str) -> list[dict[str, Any]]:
    return [fields for event, fields in driver.events if event == name]


def heads(driver: Driver) -> list[list[Any]]:
    return [item for fields in told(driver, "output") for item in fields["items"]]


def wait_for_more(world: World, files: StreamFiles, than: int) -> None:
    world.until(lambda: files.head("out") > than)


# Coming


def test_hello_says_who_answers(world: World) -> None:
    ok = world.connect().call("hello", client="me").ok
    assert ok["protocol"] == 1
    assert {"papa", "pid", "instance", "tier", "boot_id"} <= set(ok)
    assert world.connect().call("ping").ok == {}


def test_a_spawned_process_is_shown_in_a_row(world: World) -> None:
    driver = world.connect()
    row, _ = world.spawn(driver, meta={"watcher": "web"}, owner="me")
    assert row["name"] == "web"
    assert row["running"] is True
    assert (row["meta"], row["owner"], row["exit"]) == ({"watcher": "web"}, "me", None)
    stream = {"head": 0, "low": 0, "acked": 0, "dropped": 0, "open": True}
    assert row["streams"] == {"out": stream, "err": stream}
    assert {"id", "pid", "started_at", "start_ticks", "argv", "covered"} <= set(row)
    assert "existing" not in row
    assert driver.call("list", what="processes").ok == {"items": [row], "more": False}
    assert world.row(driver, row["id"]) == row


def test_the_same_spawn_again_finds_the_process_and_another_one_is_refused(world: World) -> None:
    driver = world.connect()
    row, _ = world.spawn(driver)
    again = driver.call("spawn", name="web", argv=row["argv"], env={}, meta={"is": "no part of it"})
    assert again.ok == {**row, "existing": True}
    refused(driver, "exists", "spawn", name="web", argv=row["argv"], env={"A": "1"})


def test_supersede_takes_the_name_and_leaves_the_rest(world: World) -> None:
    driver = world.connect()
    old, child = world.spawn(driver, owner="me")
    child.write("out", b"from the old one")
    world.head(driver, old["id"], "out", 16)
    new, _ = world.spawn(driver, env={"A": "1"}, supersede=True)
    assert new["id"] > old["id"]
    rows = driver.call("list", what="processes").ok["items"]
    assert [(row["id"], row["name"]) for row in rows] == [(old["id"], None), (new["id"], "web")]
    files = world.files(driver, old["id"])
    assert files.pread("out", 0, 100) == b"from the old one"
    child.end(4)
    world.until(lambda: told(driver, "exit"))
    assert told(driver, "exit")[0]["id"] == old["id"]


def test_a_dead_process_gives_its_name_to_a_new_one(world: World) -> None:
    driver = world.connect()
    old, child = world.spawn(driver)
    child.end(0)
    world.until(lambda: not world.row(driver, old["id"])["running"])
    new, _ = world.spawn(driver)
    assert new["id"] != old["id"]
    assert world.row(driver, old["id"])["name"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "a*"},
        {"argv": []},
        {"argv": "text"},
        {"env": []},
        {"cwd": "relative"},
        {"stdout": "nowhere"},
        {"bound": 0},
        {"overflow": "explode"},
        {"meta": {"x": "y" * 5000}},
        {"cheese": 1},
    ],
)
def test_a_wrong_spawn_starts_nothing(world: World, wrong: dict[str, Any]) -> None:
    driver = world.connect()
    refused(driver, "bad-request", "spawn", **{"name": "web", "argv": ["x"], "env": {}, **wrong})
    assert driver.call("list", what="processes").ok["items"] == []


def test_unknown_operations_are_refused(world: World) -> None:
    refused(world.connect(), "bad-request", "dance")


# Output


def test_output_is_read_from_the_files_and_acknowledged(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver, owner="me")
    number = row["id"]
    files = world.files(driver, number)
    assert files.streams == ("out", "err")
    child.write("out", b"hello\n")
    world.until(lambda: heads(driver))
    assert heads(driver) == [[number, 6, 0]]
    assert files.pread("out", 0, 100) == b"hello\n"
    [(offset, wall_ns, boot_ns)] = files.stamps("out", 0, 6)
    assert offset == 0
    assert wall_ns > 0
    assert boot_ns > 0
    driver.call("commit", acks=[[number, "out", 4]])
    assert (files.low("out"), files.dropped("out")) == (4, 0)
    stream = world.row(driver, number)["streams"]["out"]
    assert stream == {"head": 6, "low": 4, "acked": 4, "dropped": 0, "open": True}
    assert files.pread("out", 4, 100) == b"o\n"
    with pytest.raises(Overtaken):
        files.pread("out", 3, 1)


def test_a_descriptor_outlives_the_connection_that_gave_it(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver)
    other = world.connect()
    files = world.files(other, row["id"])
    if not world.is_tcp:
        other.close()
        world.drivers.remove(other)
    child.write("err", b"abc")
    world.head(driver, row["id"], "err", 3)
    assert files.pread("err", 0, 3) == b"abc"


def test_stdout_and_stderr_can_share_a_stream_or_be_nowhere(world: World) -> None:
    driver = world.connect()
    shared, _ = world.spawn(driver, "shared", stderr="stdout")
    silent, child = world.spawn(driver, "silent", stdout="null", stderr="null")
    assert list(shared["streams"]) == ["out"]
    assert silent["streams"] == {}
    assert world.files(driver, silent["id"]).streams == ()
    child.write("out", b"into the void")
    child.end(0)
    world.until(lambda: not world.row(driver, silent["id"])["running"])
    driver.call("commit", exits=[silent["id"]])
    refused(driver, "not-found", "attach", id=silent["id"])


def test_an_end_names_the_heads_of_what_is_captured(world: World) -> None:
    driver = world.connect()
    _, child = world.spawn(driver, stderr="null", owner="me")
    child.write("out", b"abc")
    child.end(0)
    world.until(lambda: told(driver, "exit"))
    assert told(driver, "exit")[0]["heads"] == {"out": 3}
    # The notice and the end come in any order.
    world.until(lambda: heads(driver) == [[told(driver, "exit")[0]["id"], 3, None]])


def test_a_notice_comes_once_until_it_is_armed_again(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver, owner="me")
    number = row["id"]
    child.write("out", b"a")
    world.until(lambda: heads(driver))
    child.write("out", b"b")
    world.head(driver, number, "out", 2)
    child.write("err", b"c")
    world.head(driver, number, "err", 1)
    assert heads(driver) == [[number, 1, 0]]
    driver.post("more", seen=[[number, 1, 0]])
    world.until(lambda: len(heads(driver)) == 2)
    assert heads(driver)[1] == [number, 2, 1]
    driver.call("commit", acks=[[number, "out", 2]], seen=[[number, 2, 1]])
    driver.call("ping")
    assert len(heads(driver)) == 2
    child.write("out", b"d")
    world.until(lambda: len(heads(driver)) == 3)
    assert heads(driver)[2] == [number, 3, 1]


def test_notices_go_to_the_owner_alone(world: World) -> None:
    owner, other = world.connect(), world.connect()
    row, child = world.spawn(owner, owner="me")
    other.call("attach", id=row["id"])
    child.write("out", b"a")
    child.end(0)
    world.until(lambda: told(owner, "exit"))
    other.call("ping")
    assert other.events == []


def test_a_stream_that_ends_says_so(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver, owner="me")
    child.write("err", b"bye")
    child.close("err")
    world.until(lambda: told(driver, "eof"))
    assert told(driver, "eof") == [{"id": row["id"], "stream": "err", "head": 3}]
    streams = world.row(driver, row["id"])["streams"]
    assert (streams["err"]["open"], streams["out"]["open"]) == (False, True)
    child.write("out", b"still here")
    world.head(driver, row["id"], "out", 10)


def test_output_over_the_wire_is_the_same(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver)
    number = row["id"]
    child.write("out", b"0123456789")
    world.head(driver, number, "out", 10)
    files = world.files(driver, number)
    reply = driver.call("read", id=number, stream="out", offset=2, limit=5)
    assert reply.body == b"23456"
    assert (reply.ok["offset"], reply.ok["head"], reply.ok["low"]) == (2, 10, 0)
    assert [tuple(stamp) for stamp in reply.ok["stamps"]] == files.stamps("out", 2, 7)
    driver.call("commit", acks=[[number, "out", 4]])
    reply = driver.call("read", id=number, stream="out", offset=0, limit=100)
    assert (reply.body, reply.ok["offset"], reply.ok["low"]) == (b"456789", 4, 4)
    refused(driver, "bad-request", "read", id=number, stream="nonsense", offset=0, limit=1)
    refused(driver, "not-found", "read", id=number + 1000, stream="out", offset=0, limit=1)


def test_without_a_reader_the_oldest_bytes_are_dropped_and_counted(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver, bound=65536)
    number = row["id"]
    files = world.files(driver, number)
    data = world.pattern(200_000)
    child.pour("out", len(data))
    world.head(driver, number, "out", len(data))
    stream = world.row(driver, number)["streams"]["out"]
    assert stream["dropped"] == stream["low"] >= len(data) - 65536
    assert (files.low("out"), files.dropped("out")) == (stream["low"], stream["dropped"])
    assert files.pread("out", stream["low"], len(data)) == data[stream["low"] :]
    with pytest.raises(Overtaken) as caught:
        files.pread("out", 0, 1)
    assert caught.value.new_low == stream["low"]


def test_with_a_reader_the_process_waits_until_the_stall_is_over(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver, bound=65536, owner="me", stall_s=0.2)
    number = row["id"]
    child.pour("out", 300_000)
    world.until(lambda: world.row(driver, number)["streams"]["out"]["head"] >= 65000)
    assert world.row(driver, number)["streams"]["out"]["dropped"] == 0
    world.head(driver, number, "out", 300_000)
    assert world.row(driver, number)["streams"]["out"]["dropped"] > 0


def test_a_reader_that_keeps_up_loses_nothing(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver, bound=65536, owner="me", stall_s=60)
    number = row["id"]
    files = world.files(driver, number)
    data = world.pattern(400_000)
    child.pour("out", len(data))
    taken = b""
    while len(taken) < len(data):
        wait_for_more(world, files, len(taken))
        taken += files.pread("out", len(taken), len(data))
        driver.call("commit", acks=[[number, "out", len(taken)]], seen=[[number, len(taken), None]])
    assert taken == data
    assert files.dropped("out") == 0


def held_back(**out: object) -> dict[str, object]:
    return {"out": {"bound": 65536, "overflow": "hold", **out}, "err": {"bound": 65536, "overflow": "drop-oldest"}}


def test_a_stream_that_is_held_waits_alone_and_loses_nothing(world: World) -> None:
    driver = world.connect()
    row, out = world.spawn(driver, owner="me", bounds=held_back())
    number = row["id"]
    assert row["bounds"]["out"] == {"bound": 65536, "overflow": "hold", "stall_s": 1.0}
    data = world.pattern(300_000)
    out.pour("out", len(data))
    world.until(lambda: world.row(driver, number)["streams"]["out"]["head"] >= 65536)
    taken, files = b"", world.files(driver, number)
    while len(taken) < len(data):
        wait_for_more(world, files, len(taken))
        taken += files.pread("out", len(taken), len(data))
        driver.call("commit", acks=[[number, "out", len(taken)]], seen=[[number, len(taken), None]])
    assert taken == data
    assert world.row(driver, number)["streams"]["out"]["dropped"] == 0


def test_a_stream_that_may_lose_is_not_stopped_by_one_that_is_held(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver, owner="me", bounds=held_back(bound=1))
    number = row["id"]
    child.pour("out", 10)
    world.head(driver, number, "out", 10)
    child.pour("err", 300_000)
    world.head(driver, number, "err", 300_000)
    streams = world.row(driver, number)["streams"]
    assert (streams["out"]["dropped"], streams["out"]["low"]) == (0, 0)
    assert streams["err"]["dropped"] >= 300_000 - 65536


def test_bounds_of_a_process_that_runs_are_set_anew(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver, owner="me", bounds=held_back())
    number = row["id"]
    child.pour("out", 300_000)
    world.until(lambda: world.row(driver, number)["streams"]["out"]["head"] >= 65536)
    driver.call("bounds", id=number, bounds={"out": {"bound": 4096, "overflow": "drop-oldest"}})
    world.head(driver, number, "out", 300_000)
    row = world.row(driver, number)
    assert row["streams"]["out"]["dropped"] > 200_000
    assert row["bounds"] == {"out": {"bound": 4096, "overflow": "drop-oldest", "stall_s": 1.0}}


def test_only_the_owner_sets_bounds(world: World) -> None:
    owner, viewer = world.connect(), world.connect()
    row, _ = world.spawn(owner, owner="me")
    with pytest.raises(PapaError) as caught:
        viewer.call("bounds", id=row["id"], bounds=held_back())
    assert caught.value.code == "owned"
    assert "bounds" not in world.row(owner, row["id"])


@pytest.mark.parametrize(
    "bounds", [7, {"in": {}}, {"out": 7}, {"out": {"overflow": "explode"}}, {"out": {"bound": 0}}, {"out": {"much": 1}}]
)
def test_bounds_that_make_no_sense_are_refused(world: World, bounds: object) -> None:
    driver = world.connect()
    row, _ = world.spawn(driver, owner="me")
    with pytest.raises(PapaError) as caught:
        driver.call("bounds", id=row["id"], bounds=bounds)
    assert caught.value.code == "bad-request"


# Ending


@pytest.mark.parametrize("status", [0, 7, -9, -15])
def test_an_end_is_kept_until_it_is_acknowledged(world: World, status: int) -> None:
    driver = world.connect()
    row, child = world.spawn(driver, owner="me")
    number = row["id"]
    child.write("out", b"last")
    child.end(status)
    world.until(lambda: told(driver, "exit"))
    [exited] = told(driver, "exit")
    assert (exited["id"], exited["status"]) == (number, status)
    assert exited["heads"] == {"out": 4, "err": 0}
    assert exited["at"] > 0
    row = world.row(driver, number)
    assert row["running"] is False
    assert row["exit"] == {key: value for key, value in exited.items() if key not in ("ev", "id", "heads")}
    facts = {key: type(value) for key, value in row["exit"].items() if key not in ("status", "at")}
    assert facts == {"core": bool, "user_s": float, "system_s": float, "max_rss": int, "major_faults": int}
    world.until(lambda: len(told(driver, "eof")) == 2)
    driver.call("commit", exits=[number])
    assert world.row(driver, number)["id"] == number
    driver.call("commit", acks=[[number, "out", 4]])
    refused(driver, "not-found", "attach", id=number)
    assert driver.call("list", what="processes").ok["items"] == []


def test_an_end_that_nobody_saw_is_told_to_the_next_owner(world: World) -> None:
    first, second = world.connect(), world.connect()
    row, child = world.spawn(first)
    child.write("out", b"abc")
    child.end(3)
    world.until(lambda: not world.row(first, row["id"])["running"])
    attached = second.call("attach", id=row["id"], owner="me").ok
    assert attached["exit"]["status"] == 3
    world.until(lambda: told(second, "exit"))
    assert told(second, "exit")[0]["status"] == 3
    world.until(lambda: heads(second))
    assert heads(second) == [[row["id"], 3, 0]]


def test_an_end_does_not_wait_for_a_grandchild_that_holds_the_pipes(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver, owner="me")
    number = row["id"]
    child.write("out", b"mine")
    child.leave(5)
    world.until(lambda: told(driver, "exit"))
    assert told(driver, "exit")[0]["heads"] == {"out": 4, "err": 0}
    assert told(driver, "eof") == []
    driver.call("commit", exits=[number], acks=[[number, "out", 4]])
    child.write("out", b"its grandchild's")
    world.head(driver, number, "out", 20)
    child.close("out")
    child.close("err")
    world.until(lambda: len(told(driver, "eof")) == 2)
    driver.call("commit", acks=[[number, "out", 20]])
    refused(driver, "not-found", "attach", id=number)


def test_a_running_process_has_no_end_to_acknowledge(world: World) -> None:
    driver = world.connect()
    row, _ = world.spawn(driver)
    refused(driver, "bad-request", "commit", exits=[row["id"]])


# Commits


def test_a_commit_happens_as_a_whole_or_not_at_all(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver)
    number = row["id"]
    child.write("out", b"0123456789")
    world.head(driver, number, "out", 10)
    driver.call("commit", acks=[[number, "out", 5]], values={"position": "5"})
    assert driver.call("get", name="position").ok == {"value": "5"}
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("bad-request", {"acks": [[number, "out", 11]]}),
        ("overtaken", {"acks": [[number, "out", 4]]}),
        ("not-found", {"acks": [[number, "out", 8], [number + 1000, "out", 0]]}),
        ("not-found", {"acks": [[number, "out", 8]], "exits": [number + 1000]}),
        ("bad-request", {"acks": [[number, "sideways", 8]]}),
    ]
    for code, args in wrong:
        refused(driver, code, "commit", values={"position": "8"}, **args)
    assert driver.call("get", name="position").ok == {"value": "5"}
    assert world.row(driver, number)["streams"]["out"]["acked"] == 5


def test_an_overtaken_commit_names_the_streams_and_their_marks(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver, bound=65536)
    number = row["id"]
    child.pour("out", 200_000)
    world.head(driver, number, "out", 200_000)
    error = refused(driver, "overtaken", "commit", acks=[[number, "out", 10]])
    low = world.row(driver, number)["streams"]["out"]["low"]
    assert error.details == {"streams": [[number, "out", low]]}
    driver.call("commit", acks=[[number, "out", low]])


def test_only_the_owner_acknowledges(world: World) -> None:
    owner, other = world.connect(), world.connect()
    row, child = world.spawn(owner, owner="me")
    number = row["id"]
    child.write("out", b"abc")
    world.head(owner, number, "out", 3)
    error = refused(other, "owned", "attach", id=number, owner="you")
    assert "me" in error.message
    refused(other, "owned", "commit", acks=[[number, "out", 1]])
    assert other.call("attach", id=number, owner="me").ok["owner"] == "me"
    refused(owner, "owned", "commit", acks=[[number, "out", 1]])
    other.call("commit", acks=[[number, "out", 1]])


def test_what_a_vanished_owner_had_is_free(world: World) -> None:
    owner, other = world.connect(), world.connect()
    row, _ = world.spawn(owner, owner="me")
    owner.close()
    world.drivers.remove(owner)
    world.until(lambda: world.row(other, row["id"])["owner"] is None)
    assert other.call("attach", id=row["id"], owner="you").ok["owner"] == "you"


# Values


def test_values_are_set_listed_and_removed(world: World) -> None:
    driver = world.connect()
    text = 'tüte\n" \\ \x00'
    driver.call("set", name="a.1", value=text)
    driver.call("commit", values={"a.2": "2", "b": "3"})
    assert driver.call("get", name="a.1").ok == {"value": text}
    assert driver.call("get", name="unknown").ok == {"value": None}
    listed = driver.call("list", what="values", patterns=["a.*", "unknown"]).ok
    assert listed == {"items": [{"name": "a.1", "value": text}, {"name": "a.2", "value": "2"}], "more": False}
    driver.call("set", name="a.2", value=None)
    assert driver.call("remove", what="values", names=["a.*"]).ok == {"removed": 1}
    assert driver.call("list", what="values").ok["items"] == [{"name": "b", "value": "3"}]


def test_wrong_values_are_refused(world: World) -> None:
    driver = world.connect()
    refused(driver, "bad-request", "set", name="a", value=5)
    refused(driver, "bad-request", "set", name="a b", value="x")
    refused(driver, "limit", "set", name="a", value="x" * (1024 * 1024 + 1))
    assert driver.call("list", what="values").ok["items"] == []


def test_a_long_list_comes_in_pages(world: World) -> None:
    driver = world.connect()
    big = "v" * 1_000_000
    for number in range(4):
        driver.call("set", name=f"v{number}", value=big)
    page = driver.call("list", what="values").ok
    assert page["more"] is True
    assert len(page["items"]) < 4
    rest = driver.call("list", what="values", after=page["items"][-1]["name"]).ok
    assert rest["more"] is False
    assert [row["name"] for row in (*page["items"], *rest["items"])] == ["v0", "v1", "v2", "v3"]


# Sockets


def test_a_socket_is_opened_found_again_and_removed(world: World) -> None:
    driver = world.connect()
    row = driver.call("listen", name="s", family="inet", type="stream", host="127.0.0.1").ok
    assert (row["name"], row["family"], row["type"], row["host"]) == ("s", "inet", "stream", "127.0.0.1")
    assert row["port"] > 0
    assert {"id", "backlog", "fileno", "meta", "covered"} <= set(row)
    assert driver.call("listen", name="s").ok == {**row, "existing": True}
    assert driver.call("listen", name="s", port=row["port"]).ok == {**row, "existing": True}
    refused(driver, "exists", "listen", name="s", backlog=1)
    assert driver.call("list", what="sockets", patterns=["s"]).ok == {"items": [row], "more": False}
    assert driver.call("remove", what="sockets", names=["s"]).ok == {"removed": 1}
    assert driver.call("list", what="sockets").ok["items"] == []


def test_a_socket_is_attached_by_whoever_waits_for_a_connection(world: World) -> None:
    driver = world.connect()
    row = driver.call("listen", name="s").ok
    assert driver.call("attach", id=row["id"]).ok == row
    refused(driver, "bad-request", "attach", id=row["id"], owner="me")
    reply = driver.call("attach", id=row["id"], fds=True)
    assert reply.ok == row
    assert set(reply.fds) == (set() if world.is_tcp else {"socket"})
    for fd in reply.fds.values():
        readable, _, _ = select.select([fd], [], [], 0)
        assert readable == []
    reply.close_fds()


def test_a_unix_socket_has_a_path_that_is_taken_once(world: World, tmp_path: Any) -> None:
    driver = world.connect()
    path = str(tmp_path / "s")
    row = driver.call("listen", name="u", path=path, umask=0o77).ok
    assert (row["family"], row["path"], row["umask"]) == ("unix", path, 0o77)
    assert "port" not in row
    refused(driver, "exists", "listen", name="u2", path=path)


def test_wrong_sockets_are_refused(world: World) -> None:
    driver = world.connect()
    refused(driver, "bad-request", "listen", name="s", family="unix")
    refused(driver, "bad-request", "listen", name="s", port=70000)
    refused(driver, "bad-request", "listen", name="s", type="seqpacket")
    refused(driver, "bad-request", "listen", name="s:s")


def test_a_process_that_names_an_unknown_socket_is_not_started(world: World) -> None:
    driver = world.connect()
    for spec in [
        {"argv": ["x", "--fd=$(socket.nobody.fileno)"]},
        {"argv": ["x"], "sockets": ["nobody"]},
        {"argv": ["x"], "stdin": {"socket": "nobody"}},
    ]:
        refused(driver, "not-found", "spawn", name="web", env={}, **spec)
    assert driver.call("list", what="processes").ok["items"] == []


# Going


def test_processes_are_listed_and_removed_by_name_pattern_or_id(world: World) -> None:
    driver = world.connect()
    ids = {name: world.spawn(driver, name)[0]["id"] for name in ("a.1", "a.2", "b", "c")}
    listed = driver.call("list", what="processes", patterns=["a.*", "c", "unknown"]).ok["items"]
    assert [row["name"] for row in listed] == ["a.1", "a.2", "c"]
    assert driver.call("remove", what="processes", names=["a.*"]).ok == {"removed": 2}
    assert driver.call("remove", what="processes", ids=[ids["b"]]).ok == {"removed": 1}
    refused(driver, "not-found", "attach", id=ids["b"])
    refused(driver, "not-found", "remove", what="processes", names=["b"])
    refused(driver, "not-found", "remove", what="processes", ids=[ids["b"]])
    refused(driver, "bad-request", "remove", what="processes")
    refused(driver, "bad-request", "remove", what="cheese", names=["*"])
    assert driver.call("remove", what="processes", names=["z*"]).ok == {"removed": 0}
    assert driver.call("list", what="processes", patterns=["*"]).ok["items"][0]["name"] == "c"


def test_a_removed_process_goes_on_writing_and_its_entry_goes_with_its_end(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver, owner="me")
    driver.call("remove", what="processes", names=["web"])
    [left] = driver.call("list", what="processes").ok["items"]
    assert (left["id"], left["name"], left["running"], left["owner"]) == (row["id"], None, True, None)
    child.pour("out", 200_000)
    child.end(0)
    world.until(lambda: driver.call("list", what="processes").ok["items"] == [])
    assert driver.events == []


def test_a_dead_process_is_removed_at_once(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver)
    child.end(1)
    world.until(lambda: not world.row(driver, row["id"])["running"])
    driver.call("remove", what="processes", names=["web"])
    assert driver.call("list", what="processes").ok["items"] == []


# The kernel


def test_the_status_counts_what_is_held(world: World) -> None:
    driver = world.connect()
    row, child = world.spawn(driver)
    driver.call("set", name="v", value="1")
    driver.call("listen", name="s")
    child.write("out", b"abc")
    world.head(driver, row["id"], "out", 3)
    status = driver.call("status").ok
    assert (status["processes"], status["running"], status["sockets"], status["values"]) == (1, 1, 1, 1)
    assert status["held_bytes"] >= 3
    assert status["dropped_bytes"] == 0 or status["tier"] != "fake"
    assert {"papa", "pid", "holder", "instance", "tier", "uptime_s", "started_at", "rss_bytes"} <= set(status)
    assert {"not_covered", "not_covered_reasons"} <= set(status)


def test_a_kernel_that_holds_something_does_not_exit(world: World) -> None:
    driver = world.connect()
    driver.call("set", name="v", value="1")
    refused(driver, "busy", "exit")
    assert driver.call("ping").ok == {}


def test_one_way_requests_are_never_answered(world: World) -> None:
    driver = world.connect()
    driver.post("more", seen="nonsense")
    driver.post("dance")
    driver.post("set", name="v", value="1")
    assert driver.call("get", name="v").ok == {"value": "1"}
