from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from papa import model
from papa.core import table as core
from papa.core.commit import Commit
from papa.core.entries import Process, Socket
from papa.core.output import Bounds, Output
from papa.core.table import Table
from papa.errors import PapaError
from papa.model import SocketSpec

ME, YOU = object(), object()


def process(id: int, name: str | None = "web", digest: str = "d", streams: tuple[str, ...] = ("out",)) -> Process:
    return Process(
        id, name, argv=["prog"], digest=digest, pid=1000 + id, start_ticks=1, started_at=1.0, output=Output(streams)
    )


def table_of(*processes: Process) -> Table:
    table = Table()
    for it in processes:
        table.add_process(it)
    return table


def socket(id: int, name: str = "s", **args: object) -> Socket:
    spec = SocketSpec.parse({"name": name, **args})
    return Socket(id, spec, port=spec.port or 4711 if spec.path is None else None, fileno=10 + id)


def code_of(call, *args: object, **options: object) -> str:
    with pytest.raises(PapaError) as caught:
        call(*args, **options)
    return caught.value.code


def commit(table: Table, connection: object = None, **args: object) -> list[Process]:
    it = Commit.parse(args)
    table.check_commit(it, connection)
    return table.apply_commit(it)


# Names


def test_asking_for_a_live_process_again_finds_it():
    it = process(1)
    table = table_of(it)
    assert table.admit_process("web", "d") is it
    assert table.admit_process("other", "d") is None


def test_who_knows_processes_by_name_finds_a_dead_one_until_its_end_is_acknowledged():
    it = process(1, streams=())
    table = table_of(it)
    table.end(it, 3, 9.0)
    assert table.admit_process("web", "d", finds_dead=True) is it
    assert code_of(table.admit_process, "web", "other", finds_dead=True) == "exists"
    assert table.admit_process("web", "other", finds_dead=True, supersede=True) is None
    commit(table, exits=[1])
    assert it.is_over
    table.forget_process(it)
    assert table.admit_process("web", "d", finds_dead=True) is None


def test_another_specification_under_the_name_of_a_live_process_is_refused():
    table = table_of(process(1))
    with pytest.raises(PapaError) as caught:
        table.admit_process("web", "other")
    assert caught.value.code == "exists"
    assert caught.value.details == {"id": 1, "pid": 1001}


@pytest.mark.parametrize("digest", ["d", "other"])
def test_a_dead_process_gives_its_name_away_and_keeps_the_rest(digest):
    old = process(1)
    table = table_of(old)
    table.end(old, 3, 9.0)
    assert table.admit_process("web", digest) is None
    new = process(2, digest=digest)
    assert table.add_process(new) is old
    assert (old.name, old.exit, old.output is None) == (None, (3, 9.0), False)
    assert table.process(1) is old
    assert table.find_processes(["web"]) == [new]


def test_a_live_process_gives_its_name_away_only_when_it_is_superseded():
    old = process(1)
    table = table_of(old)
    assert table.admit_process("web", "d", supersede=True) is None
    new = process(2)
    assert table.add_process(new) is old
    assert old.name is None
    assert old.is_running
    table.forget_process(new)
    assert table.admit_process("web", "d") is None


def test_no_more_processes_and_sockets_than_the_bound(monkeypatch):
    monkeypatch.setattr(model, "MAX_PROCESSES", 1)
    monkeypatch.setattr(model, "MAX_LISTENERS", 1)
    table = table_of(process(1))
    table.add_socket(socket(2))
    assert code_of(table.admit_process, "other", "d") == "limit"
    assert code_of(table.admit_socket, SocketSpec.parse({"name": "other"})) == "limit"
    assert table.admit_process("web", "d") is not None


# Sockets


def test_asking_for_an_open_socket_again_finds_it():
    table = Table()
    it = socket(1)
    table.add_socket(it)
    assert table.admit_socket(SocketSpec.parse({"name": "s"})) is it
    assert table.admit_socket(SocketSpec.parse({"name": "s", "port": 4711})) is it
    assert code_of(table.admit_socket, SocketSpec.parse({"name": "s", "port": 4712})) == "exists"
    assert code_of(table.admit_socket, SocketSpec.parse({"name": "s", "backlog": 1})) == "exists"
    assert code_of(table.admit_socket, SocketSpec.parse({"name": "s", "backlog": 1, "port": 4711})) == "exists"
    assert table.admit_socket(SocketSpec.parse({"name": "other"})) is None


def test_a_path_belongs_to_one_socket():
    table = Table()
    table.add_socket(socket(1, path="/x"))
    assert code_of(table.admit_socket, SocketSpec.parse({"name": "t", "path": "/x"})) == "exists"
    assert table.admit_socket(SocketSpec.parse({"name": "t", "path": "/y"})) is None


def test_a_socket_that_is_closed_is_forgotten():
    table = Table()
    it = socket(1)
    table.add_socket(it)
    assert table.socket("s") is it
    assert table.find_sockets(["s"], [1]) == [it]
    table.forget_socket(it)
    assert code_of(table.socket, "s") == "not-found"
    assert code_of(table.find_sockets, ["s"]) == "not-found"
    assert code_of(table.find_sockets, [], [1]) == "not-found"


# Finding and listing


def test_names_patterns_and_ids_mean_processes_each_once():
    a, ab, b = process(1, "a"), process(2, "ab"), process(3, "b")
    table = table_of(a, ab, b)
    assert table.find_processes(["a*", "a"], [2, 3]) == [a, ab, b]
    assert table.find_processes(["x*"]) == []
    assert table.find_processes([]) == table.find_processes(None) == []
    assert table.find_processes(["*"]) == [a, ab, b]
    assert code_of(table.find_processes, ["a", "x"]) == "not-found"
    assert code_of(table.find_processes, [], [9]) == "not-found"
    assert code_of(table.find_processes, "a") == "bad-request"
    assert code_of(table.find_processes, [3]) == "bad-request"
    assert code_of(table.find_processes, [], ["x"]) == "bad-request"


def test_lists_leave_unknown_names_out():
    table = table_of(process(2, "b"), process(1, "a"), process(3, None))
    table.add_socket(socket(4))
    values = {"y": "2", "x": "1"}

    def listed(what: str, *patterns: str) -> list[object]:
        rows, more = table.rows(what, list(patterns), values)
        assert more is False
        return [row["name"] for row in rows]

    assert listed("processes") == ["a", "b", None]
    assert listed("processes", "a", "zzz") == ["a"]
    assert listed("processes", "*") == ["a", "b"]
    assert listed("sockets") == ["s"]
    assert listed("values") == ["x", "y"]
    assert table.rows("values", ["x"], values)[0] == [{"name": "x", "value": "1"}]
    assert code_of(table.rows, "cows", [], values) == "bad-request"
    assert code_of(table.rows, "values", ["x", 3], values) == "bad-request"


@pytest.mark.parametrize("what", ["processes", "sockets", "values"])
def test_a_list_that_is_too_long_for_a_frame_comes_in_parts(what):
    table = table_of(*(process(n, f"p{n:02}") for n in range(1, 21)))
    values = {}
    for n in range(21, 41):
        table.add_socket(socket(n, f"s{n}"))
        values[f"v{n}"] = "x"
    got: list[dict] = []
    after = None
    for _ in range(30):
        rows, more = table.rows(what, [], values, after=after, budget=4000)
        assert 1 <= len(rows) < 20
        got += rows
        after = rows[-1]["name" if what == "values" else "id"]
        if not more:
            break
    assert got == table.rows(what, None, values, budget=None)[0]
    assert len(got) == 20
    assert len(table.rows(what, None, values, budget=1)[0]) == 1


def test_values_are_found_by_patterns_and_unknown_ones_are_gone_already():
    assert core.find_values({"a": "", "ab": "", "b": ""}, ["a*", "zzz"]) == ["a", "ab"]


# Owners


def test_an_owner_holds_a_process_until_its_connection_ends():
    it = process(1)
    table = table_of(it)
    table.own(it, "circus", ME)
    assert it.row()["owner"] == "circus"
    with pytest.raises(PapaError) as caught:
        table.own(it, "other", YOU)
    assert caught.value.code == "owned"
    assert caught.value.details["owner"] == "circus"
    assert table.disown(YOU) == []
    assert table.disown(ME) == [it]
    assert it.row()["owner"] is None
    table.own(it, "other", YOU)
    assert it.connection is YOU


def test_an_owner_of_the_same_name_takes_over():
    it = process(1)
    table = table_of(it)
    table.own(it, "circus", ME)
    it.notices.take({"out": 5})
    table.own(it, "circus", YOU)
    assert it.connection is YOU
    assert it.notices.is_due({"out": 5})
    assert table.disown(ME) == []
    assert code_of(commit, table, ME, acks=[[1, "out", 0]]) == "owned"


def test_an_owner_may_call_itself_otherwise():
    it = process(1)
    table = table_of(it)
    table.own(it, "a", ME)
    table.own(it, "b", ME)
    assert it.owner == "b"


def test_only_a_live_owner_slows_a_process_down():
    it = process(1)
    it.output = Output(("out",), Bounds(10))
    it.output.add("out", 10)
    table = table_of(it)
    assert it.output.next_step(0.0).kind == "drop"
    table.own(it, "me", ME)
    assert it.output.next_step(0.0).kind == "pause"
    table.disown(ME)
    assert it.output.next_step(0.0).kind == "drop"


# Commits


def test_a_commit_acknowledges_output_and_exits():
    it, other = process(1), process(2, "other")
    table = table_of(it, other)
    assert it.output is not None
    it.output.add("out", 10)
    table.end(other, 0, 1.0)
    assert commit(table, acks=[[1, "out", 7]], exits=[2], seen=[[1, 7, None]]) == [it, other]
    assert it.output.streams["out"].acked == 7
    assert other.is_exit_acked
    commit(table, exits=[2])


def test_a_commit_happens_as_a_whole_or_not_at_all():
    it, other = process(1), process(2, "other")
    table = table_of(it, other)
    assert it.output is not None
    assert other.output is not None
    it.output.add("out", 10)
    for bad in (
        {"acks": [[1, "out", 7], [2, "out", 1]]},
        {"acks": [[1, "out", 7], [2, "err", 0]]},
        {"acks": [[1, "out", 7], [9, "out", 0]]},
        {"acks": [[1, "out", 7]], "exits": [2]},
        {"acks": [[1, "out", 7]], "exits": [9]},
    ):
        assert code_of(commit, table, **bad) in ("bad-request", "not-found")
    table.own(other, "you", YOU)
    assert code_of(commit, table, ME, acks=[[1, "out", 7], [2, "out", 0]]) == "owned"
    assert it.output.streams["out"].acked == 0


def test_all_streams_that_were_overtaken_are_named():
    table = table_of(process(1, streams=("out", "err")), process(2, "other"))
    for it in table.processes.values():
        assert it.output is not None
        for stream in it.output.streams:
            it.output.add(stream, 100)
        it.output.drop(lambda offset, size: b"", 10**6)
    with pytest.raises(PapaError) as caught:
        commit(table, acks=[[1, "out", 50], [1, "err", 100], [2, "out", 99]])
    assert caught.value.code == "overtaken"
    assert caught.value.details == {"streams": [[1, "out", 100], [2, "out", 100]]}


def test_anybody_may_acknowledge_what_nobody_owns():
    table = table_of(process(1))
    commit(table, ME, acks=[[1, "out", 0]])
    commit(table, YOU, acks=[[1, "out", 0]])


def test_output_that_is_not_kept_cannot_be_acknowledged():
    it = process(1)
    it.output = None
    assert code_of(commit, table_of(it), acks=[[1, "out", 0]]) == "bad-request"


# Going


def test_an_exit_is_kept_until_it_is_acknowledged():
    it = process(1)
    table = table_of(it)
    table.end(it, None, 2.0)
    assert it.output is not None
    it.output.close("out")
    assert not it.is_over
    commit(table, exits=[1])
    assert it.is_over
    table.forget_process(it)
    assert table.processes == {}
    assert code_of(table.process, 1) == "not-found"
    assert table.admit_process("web", "x") is None


def test_a_removed_process_frees_its_name_and_is_found_no_more_but_stays_until_it_ends():
    it = process(1)
    table = table_of(it)
    table.own(it, "me", ME)
    table.remove_process(it)
    assert (it.name, it.owner, it.connection, it.output) == (None, None, None, None)
    assert code_of(table.process, 1) == "not-found"
    assert code_of(table.find_processes, ["web"]) == "not-found"
    assert code_of(commit, table, ME, acks=[[1, "out", 0]]) == "not-found"
    assert table.admit_process("web", "other") is None
    assert table.processes == {1: it}
    table.end(it, 0, 1.0)
    assert it.is_over
    table.forget_process(it)
    assert table.processes == {}


NAMES = st.sampled_from(["a", "b"])


class TableMachine(RuleBasedStateMachine):
    """Whatever is asked in whatever order: names stay unique, nothing that is owed goes, nothing that is over stays."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table()
        self.next_id = 1
        self.connections = [object(), object()]

    def pick(self, data: st.DataObject) -> Process | None:
        entries = list(self.table.processes.values())
        return data.draw(st.sampled_from(entries)) if entries else None

    def sweep(self) -> None:
        for it in list(self.table.processes.values()):
            if it.is_over:
                self.table.forget_process(it)

    @rule(name=NAMES, digest=st.sampled_from(["d", "e"]), supersede=st.booleans())
    def spawn(self, name, digest, supersede):
        holder = next((p for p in self.table.processes.values() if p.name == name), None)
        try:
            existing = self.table.admit_process(name, digest, supersede=supersede)
        except PapaError as error:
            assert error.code == "exists"
            assert holder is not None
            assert holder.is_running
            assert holder.digest != digest
            assert not supersede
            return
        if existing is not None:
            assert existing is holder
            assert holder.is_running
            assert holder.digest == digest
            return
        assert self.table.add_process(process(self.next_id, name, digest)) is holder
        assert holder is None or holder.name is None
        self.next_id += 1

    @rule(data=st.data())
    def write(self, data):
        it = self.pick(data)
        if it is not None and it.output is not None and it.output.streams["out"].is_open:
            it.output.add("out", 5)

    @rule(data=st.data())
    def close(self, data):
        it = self.pick(data)
        if it is not None and it.output is not None:
            it.output.close("out")
        self.sweep()

    @rule(data=st.data())
    def end(self, data):
        it = self.pick(data)
        if it is not None and it.is_running:
            self.table.end(it, 0, 1.0)
        self.sweep()

    @rule(data=st.data(), owner=st.sampled_from(["x", "y"]), which=st.integers(0, 1))
    def own(self, data, owner, which):
        it = self.pick(data)
        if it is None or it.is_removed:
            return
        before = it.connection, it.owner
        try:
            self.table.own(it, owner, self.connections[which])
        except PapaError:
            assert before[0] is self.connections[1 - which]
            assert before[1] != owner
            assert (it.connection, it.owner) == before
        else:
            assert (it.connection, it.owner) == (self.connections[which], owner)

    @rule(which=st.integers(0, 1))
    def disconnect(self, which):
        self.table.disown(self.connections[which])
        assert all(p.connection is not self.connections[which] for p in self.table.processes.values())

    @rule(data=st.data())
    def remove(self, data):
        it = self.pick(data)
        if it is not None:
            self.table.remove_process(it)
        self.sweep()

    @rule(data=st.data(), which=st.integers(0, 1), ack=st.integers(0, 20), with_exit=st.booleans())
    def commit(self, data, which, ack, with_exit):
        it = self.pick(data)
        if it is None:
            return
        acked = None if it.output is None else it.output.streams["out"].acked
        args = {"acks": [[it.id, "out", ack]], "exits": [it.id] if with_exit else []}
        try:
            commit(self.table, self.connections[which], **args)
        except PapaError:
            assert it.output is None or it.output.streams["out"].acked == acked
        else:
            assert it.connection in (None, self.connections[which])
            assert it.output is not None
            assert it.output.streams["out"].acked == ack
            assert not with_exit or it.is_exit_acked
        self.sweep()

    @invariant()
    def names_are_unique_and_lead_to_their_processes(self):
        named = {p.name: p for p in self.table.processes.values() if p.name is not None}
        assert len(named) == sum(p.name is not None for p in self.table.processes.values())
        assert {name: self.table.find_processes([name]) for name in named} == {n: [p] for n, p in named.items()}
        assert {p.id for p in self.table.find_processes(["*"])} == {p.id for p in named.values()}

    @invariant()
    def what_is_owed_is_there_and_what_is_over_is_gone(self):
        for id, it in self.table.processes.items():
            assert it.id == id
            assert not it.is_over
            if it.is_removed:
                assert (it.name, it.connection, it.output) == (None, None, None)


TestTableMachine = TableMachine.TestCase
TestTableMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
