from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from msgspec.structs import replace

from circus.config.causes import Cause
from circus.config.diff import ConfigPlan, WatcherChange
from circus.config.model import Finding, WatcherConfig
from circus.config.plan import Item, Plan
from circus.control import operations, schema
from circus.control.ops import Ops
from circus.errors import CircusError
from circus.supervise import events
from circus.supervise.states import SlotKey, SlotState, WatcherState
from circus.testing.circusd import FakeEngine, make_slot, make_watcher

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work, 10)

    return asyncio.run(bounded())


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(make_watcher("web", 2), make_watcher("Db", 1), make_watcher("worker", 3))


@pytest.fixture
def ops(engine: FakeEngine) -> Ops:
    return Ops(engine)


def refusal(work: Coroutine[Any, Any, Any]) -> tuple[str, str]:
    with pytest.raises(CircusError) as caught:
        run(work)
    return caught.value.code, caught.value.message


# Queries ----------------------------------------------------------------------------------------------------


def test_the_schema_of_a_status_is_stable() -> None:
    slots = (
        make_slot(2, pid=7, started_at=1.5, is_ready=True, health="unhealthy"),
        make_slot(1, state=SlotState.BACKOFF, reason="x", last_status=-9),
    )
    watcher = make_watcher("web", 2, slots=slots, state=WatcherState.STARTING)
    engine = FakeEngine(watcher, kernel={"pid": 4}, drift={"web": "args"}, warnings=(ValueError("w"),))
    engine.view["said"] = {SlotKey("web", 2): "serving"}
    engine.counters = {"web": {"stdout": {"held": 7, "lag_s": 1.5}}}
    answer = msgspec.to_builtins(run(Ops(engine).status()))
    assert list(answer) == [
        *("name", "version", "pid", "started_at", "watchers", "kernel", "foreign", "drift", "by_hand", "warnings"),
        *("output", "survivors", "notifiers", "warden"),
    ]
    assert answer["output"] == engine.counters
    assert answer["warnings"] == ["w"]
    assert answer["watchers"] == [
        {
            "name": "web",
            "state": "starting",
            "numprocesses": 2,
            "priority": 0,
            "wants_up": True,
            "reason": "",
            "slots": [
                {
                    "wid": 1,
                    "state": "backoff",
                    "pid": None,
                    "kernel_id": None,
                    "started_at": None,
                    "incarnation": 1,
                    "reason": "x",
                    "last_status": -9,
                    "ready": False,
                    "health": "",
                    "said": "",
                },
                {
                    "wid": 2,
                    "state": "running",
                    "pid": 7,
                    "kernel_id": 7,
                    "started_at": 1.5,
                    "incarnation": 1,
                    "reason": "",
                    "last_status": None,
                    "ready": True,
                    "health": "unhealthy",
                    "said": "serving",
                },
            ],
        }
    ]


def test_a_single_watcher_is_found_in_any_case(ops: Ops) -> None:
    assert run(ops.status_of("WEB")).name == "web"
    assert run(ops.options("dB")).name == "Db"
    assert len(run(ops.pids("WORKER")).pids) == 3


def test_watchers_are_listed_by_name(ops: Ops) -> None:
    assert run(ops.watchers()).watchers == ["Db", "web", "worker"]


@pytest.mark.parametrize("query", ["status_of", "pids", "options", "stats"])
def test_every_query_refuses_an_unknown_watcher(query: str, ops: Ops) -> None:
    assert refusal(getattr(ops, query)("wbe")) == ("not-found", "watcher 'wbe' not found")


def test_pids_of_slots_without_a_process_are_left_out() -> None:
    watcher = make_watcher("web", 2, slots=(make_slot(1, pid=5), make_slot(2, state=SlotState.FATAL)))
    assert run(Ops(FakeEngine(watcher)).pids("web")).pids == [5]


def test_statistics_have_their_pids_as_text(ops: Ops, engine: FakeEngine) -> None:
    engine.infos = {"web": {7: {"pid": 7}, 8: "No such process (stopped?)"}}
    answer = run(ops.stats("WEB", extended=True))
    assert answer.infos == {"web": {"7": {"pid": 7}, "8": "No such process (stopped?)"}}
    assert engine.heard == [("stats", "web", None, True)]


def test_statistics_of_a_pid_need_its_watcher(ops: Ops, engine: FakeEngine) -> None:
    assert refusal(ops.stats(pid=5))[0] == "bad-request"
    assert refusal(ops.stats("web", 5)) == ("not-found", "web: 5 is none of its processes")
    pid = engine.watchers["web"].slots[0].pid
    run(ops.stats("web", pid))
    assert engine.heard == [("stats", "web", pid, False)]


# Orders -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("start", events.Start), ("stop", events.Stop), ("restart", events.Restart), ("reload", events.Reload)],
)
def test_an_order_goes_to_all_or_to_those_that_are_meant(
    verb: str, kind: type[events.Order], ops: Ops, engine: FakeEngine
) -> None:
    request = schema.ReloadRequest if verb == "reload" else schema.OrderRequest
    run(getattr(ops, verb)(request()))
    run(getattr(ops, verb)(request(names=["W*", "db"])))
    assert engine.heard == [kind(1), kind(2, ("web", "worker", "Db"))]  # type: ignore[call-arg]


def test_an_order_that_names_nothing_known_never_reaches_the_engine(ops: Ops, engine: FakeEngine) -> None:
    assert refusal(ops.stop(schema.OrderRequest(names=["web", "nope"])))[0] == "not-found"
    assert refusal(ops.stop(schema.OrderRequest(names=["we*"], match="simple")))[0] == "not-found"
    assert engine.heard == []


def test_the_manner_of_a_reload_is_passed_on(ops: Ops, engine: FakeEngine) -> None:
    run(ops.reload(schema.ReloadRequest(names=["web"], graceful=False, sequential=True)))
    assert engine.heard == [events.Reload(1, ("web",), graceful=False, sequential=True)]


def test_the_end_of_an_order_tells_the_pids(ops: Ops, engine: FakeEngine) -> None:
    pids = [slot.pid for slot in engine.watchers["web"].slots]
    answer = run(ops.stop(schema.OrderRequest(names=["web"])))
    assert answer == schema.DoneAnswer(op=1, stopped=pids, operation=answer.operation)


def test_a_failed_operation_is_an_error_with_its_reason(ops: Ops, engine: FakeEngine) -> None:
    engine.refusal = "web: cannot start: no such program"
    assert refusal(ops.start(schema.OrderRequest())) == ("operation-failed", "web: cannot start: no such program")


def test_a_count_is_set_or_changed(ops: Ops) -> None:
    assert run(ops.count("WEB", schema.CountRequest(count=5))).numprocesses == 5
    assert run(ops.count("web", schema.CountRequest(delta=-2))).numprocesses == 3
    assert run(ops.count("web", schema.CountRequest(count=0))).numprocesses == 0


@pytest.mark.parametrize("request_", [schema.CountRequest(), schema.CountRequest(count=1, delta=1)])
def test_a_count_needs_exactly_one_of_both(request_: schema.CountRequest, ops: Ops) -> None:
    assert refusal(ops.count("web", request_))[0] == "bad-request"


def test_a_singleton_gets_no_second_process_and_that_is_said() -> None:
    ops = Ops(FakeEngine(replace(make_watcher("web", 1), singleton=True)))
    for request in (schema.CountRequest(count=2), schema.CountRequest(delta=1)):
        assert run(ops.count("web", request)).warnings == ["web is a singleton: it has at most one process"]
    assert run(ops.count("web", schema.CountRequest(delta=-1))).warnings == []


def test_a_count_is_bounded_also_in_steps(ops: Ops) -> None:
    assert refusal(ops.count("web", schema.CountRequest(delta=schema.MAX_COUNT - 1)))[0] == "limit"
    assert run(ops.count("web", schema.CountRequest(delta=schema.MAX_COUNT - 2))).numprocesses == schema.MAX_COUNT


def test_a_signal_goes_where_it_shall(ops: Ops, engine: FakeEngine) -> None:
    pid = engine.watchers["web"].slots[0].pid
    assert run(ops.signal("WEB", schema.SignalRequest("HUP"))) == schema.SignalAnswer(1, 2)
    assert run(ops.signal("web", schema.SignalRequest(10, pid=pid, children=True, recursive=True))).signalled == 1
    assert engine.heard == [("signal", "web", 1, None, False, False), ("signal", "web", 10, pid, True, True)]


@pytest.mark.parametrize("written", [15, "15", "TERM", "SIGTERM", "sigterm"])
def test_a_signal_is_known_in_every_form(written: int | str, ops: Ops) -> None:
    assert run(ops.signal("web", schema.SignalRequest(written))).signum == 15


@pytest.mark.parametrize("written", [0, -9, 65, "", "SIG", "NOPE", "9" * 5000])
def test_an_unknown_signal_is_refused_and_the_forms_are_named(written: int | str, ops: Ops, engine: FakeEngine) -> None:
    with pytest.raises(CircusError, match="is no signal") as caught:
        run(ops.signal("web", schema.SignalRequest(written)))
    assert caught.value.code == "bad-request"
    for form in ("15", "TERM", "SIGTERM", "RTMIN+1"):
        assert form in caught.value.hint
    assert len(caught.value.message) < 100
    assert engine.heard == []


@pytest.mark.parametrize(("written", "near"), [("RTMAX+1", "RTMAX"), ("TERN", "TERM"), ("SIGHUPP", "HUP")])
def test_of_a_signal_that_is_a_slip_the_near_one_is_named(
    written: str, near: str, ops: Ops, engine: FakeEngine
) -> None:
    with pytest.raises(CircusError, match="is no signal") as caught:
        run(ops.signal("web", schema.SignalRequest(written)))
    assert caught.value.hint == f"did you mean {near!r}?"
    assert engine.heard == []


def test_a_signal_to_a_stranger_is_refused(ops: Ops, engine: FakeEngine) -> None:
    assert refusal(ops.signal("web", schema.SignalRequest(9, pid=1)))[0] == "not-found"
    assert engine.heard == []


def test_sockets_have_the_names_of_the_configuration() -> None:
    rows = ({"name": "circus@b.web", "fileno": 6}, {"name": "other", "fileno": 7})
    answer = run(Ops(FakeEngine(name="b", sockets=rows)).sockets())
    assert [row["name"] for row in answer.sockets] == ["web", "other"]


def test_a_plan_is_answered_by_names(ops: Ops, engine: FakeEngine) -> None:
    changes = ConfigPlan(
        keep=("db",), change=(WatcherChange(WatcherConfig(name="web", cmd="x"), True, ("cmd",)),), sockets_add=("s",)
    )
    cause = Cause("cmd", "a", "b", "/etc/c.ini", 3)
    items = (Item("watcher", "web", "restart", (cause,), file="/etc/c.ini", line=2), Item("watcher", "db", "keep"))
    engine.made = Plan("4711", changes, items, {"db": ("stopped by hand",)}, (Finding("c.ini", 1, "odd"),))
    answer = run(ops.reloadconfig(schema.ReloadConfigRequest()))
    assert (answer.keep, answer.sockets_add) == (["db"], ["s"])
    assert answer.change == [schema.ChangeAnswer("web", True, ["cmd"])]
    causes = [schema.CauseAnswer("cmd", "a", "b", "/etc/c.ini", 3, False)]
    assert answer.items[0] == schema.ItemAnswer("watcher", "web", "restart", "", "/etc/c.ini", 2, causes)
    assert (answer.id, answer.applied, answer.waited) == ("4711", True, True)
    assert (answer.by_hand, answer.warnings) == ({"db": ["stopped by hand"]}, ["c.ini:1: odd"])
    assert answer.text.startswith("restarted  web\n")


def test_a_plan_is_only_said_and_applied_by_its_id(ops: Ops, engine: FakeEngine) -> None:
    engine.made = Plan("4711", items=(Item("watcher", "web", "restart"),))
    answer = run(ops.reloadconfig(schema.ReloadConfigRequest(plan=True)))
    assert (answer.id, answer.applied, answer.text) == ("4711", False, "restart  web")
    assert run(ops.reloadconfig(schema.ReloadConfigRequest(apply="4711"))).applied
    for wait in (True, False):
        refused = refusal(ops.reloadconfig(schema.ReloadConfigRequest(apply="4712", wait=wait)))
        assert refused == ("conflict", "plan 4712 does not hold any more: web was stopped")
    both = schema.ReloadConfigRequest(plan=True, apply="4711")
    assert refusal(ops.reloadconfig(both))[0] == "bad-request"
    assert engine.heard == ["plan", ("reloadconfig", "4711"), ("reloadconfig", "4712"), ("reloadconfig", "4712")]


def test_who_does_not_wait_for_a_reloadconfig_is_told_what_is_being_done(ops: Ops, engine: FakeEngine) -> None:
    async def scenario() -> None:
        engine.gate = asyncio.Event()
        engine.made = Plan("4711", items=(Item("watcher", "web", "restart"),))
        answer = await ops.reloadconfig(schema.ReloadConfigRequest(wait=False))
        assert (answer.waited, answer.applied, answer.text) == (False, False, "restart  web")
        engine.gate.set()

    run(scenario())


@pytest.mark.parametrize("end", ["quit", "shutdown"])
def test_the_end_is_answered_when_everything_has_ended(end: str, ops: Ops, engine: FakeEngine) -> None:
    async def scenario() -> None:
        engine.gate = asyncio.Event()
        asking = asyncio.create_task(getattr(ops, end)(schema.Request()))
        while not engine.heard:
            await asyncio.sleep(0)
        assert not asking.done()
        engine.gate.set()
        assert (await asking).waited

    run(scenario())
    assert engine.has_ended
    assert engine.heard == [end]


# Without waiting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "reloadconfig", "quit", "count"])
def test_without_waiting_the_answer_comes_before_the_end(verb: str, ops: Ops, engine: FakeEngine) -> None:
    async def scenario() -> None:
        engine.gate = asyncio.Event()
        match verb:
            case "start":
                answer: Any = await ops.start(schema.OrderRequest(wait=False))
            case "count":
                answer = await ops.count("web", schema.CountRequest(wait=False, delta=1))
            case "reloadconfig":
                answer = await ops.reloadconfig(schema.ReloadConfigRequest(wait=False))
            case _:
                answer = await getattr(ops, verb)(schema.Request(wait=False))
        assert answer.waited is False
        while not engine.heard:
            await asyncio.sleep(0)
        engine.gate.set()

    run(scenario())


def test_the_failure_of_what_nobody_waits_for_is_logged(
    ops: Ops, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        engine.refusal = "web: cannot start"
        await ops.start(schema.OrderRequest(wait=False))
        while not caplog.records:
            await asyncio.sleep(0)

    with caplog.at_level(logging.WARNING):
        run(scenario())
    assert "operation-failed: web: cannot start" in caplog.text


def test_operations_that_are_under_way_are_bounded(
    ops: Ops, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(operations, "MAX_RUNNING", 2)

    async def scenario() -> None:
        engine.gate = asyncio.Event()
        request = schema.OrderRequest(wait=False)
        await ops.start(request)
        await ops.start(request)
        with pytest.raises(CircusError, match="under way already") as caught:
            await ops.start(request)
        assert caught.value.code == "limit"
        engine.gate.set()
        while True:  # the first two end, and there is room again
            await asyncio.sleep(0)
            try:
                await ops.start(request)
                break
            except CircusError:
                continue

    run(scenario())
    assert [str(warning.message) for warning in recwarn] == []  # no operation was left unawaited


def test_a_kill_says_whom_and_how(ops: Ops, engine: FakeEngine) -> None:
    pid = engine.watchers["web"].slots[0].pid
    run(ops.kill("WEB", schema.KillRequest()))
    run(ops.kill("web", schema.KillRequest(pid=pid, signum="int", graceful_timeout=0.5)))
    assert engine.heard == [events.Kill(1, "web"), events.Kill(2, "web", pid, 2, 0.5)]
    assert refusal(ops.kill("web", schema.KillRequest(pid=1)))[0] == "not-found"
    assert refusal(ops.kill("web", schema.KillRequest(signum="NOPE"))) == ("bad-request", "'NOPE' is no signal")
    assert len(engine.heard) == 2


# What the configuration says --------------------------------------------------------------------------------


def test_options_are_set_as_text_whatever_form_they_came_in(ops: Ops, engine: FakeEngine) -> None:
    engine.set_warnings = ["odd"]
    options = {"numprocesses": 2, "respawn": False, "env": {"A": "1"}, "colour": "red", "stop_signal": "INT"}
    answer = run(ops.set_options("WEB", schema.SetRequest(options=options)))
    texts = {"numprocesses": "2", "respawn": "false", "env.A": "1", "colour": "red", "stop_signal": "INT"}
    assert engine.heard == [("set", "web", texts)]
    assert answer.warnings == ["odd"]


@pytest.mark.parametrize(
    ("options", "code"),
    [({"gracefull_timeout": 1}, "config-invalid"), ({"uid": None}, "bad-request"), ({"env": "A"}, "bad-request")],
)
def test_a_wrong_option_never_reaches_the_engine(
    options: dict[str, object], code: str, ops: Ops, engine: FakeEngine
) -> None:
    assert refusal(ops.set_options("web", schema.SetRequest(options={"priority": 1, **options}, wait=False)))[0] == code
    assert refusal(ops.set_options("nope", schema.SetRequest(options={"priority": 1})))[0] == "not-found"
    assert engine.heard == []


def test_setting_need_not_be_waited_for(ops: Ops, engine: FakeEngine) -> None:
    async def story() -> None:
        engine.gate = asyncio.Event()
        answer = await ops.set_options("web", schema.SetRequest(options={"priority": 1}, wait=False))
        assert not answer.waited
        engine.gate.set()

    run(story())


@pytest.mark.parametrize("is_decided", [True, False])
def test_what_nobody_waits_for_is_refused_to_whoever_ordered_it_unless_it_takes_long(
    ops: Ops, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, is_decided: bool
) -> None:
    async def refuse(*_: object, **__: object) -> Any:
        if not is_decided:
            await gate.wait()
        raise CircusError("config-invalid", "web: priority = 'high' is not a whole number")

    async def story() -> None:
        answer = await ops.set_options("web", schema.SetRequest(options={"priority": "high"}, wait=False))
        assert not answer.waited
        gate.set()

    gate = asyncio.Event()
    monkeypatch.setattr(engine, "set_options", refuse)
    monkeypatch.setattr(engine, "add_watcher", refuse)
    if is_decided:
        refused = ops.set_options("web", schema.SetRequest(options={"priority": "high"}, wait=False))
        assert refusal(refused)[0] == "config-invalid"
        refused = ops.add("new", schema.AddRequest(cmd="/bin/x", options={"priority": "high"}, wait=False))
        assert refusal(refused)[0] == "config-invalid"
    else:
        monkeypatch.setattr("circus.control.ops.DECIDED_S", 0.01)
        run(story())


def test_a_watcher_is_added_as_a_file_would_write_it(ops: Ops, engine: FakeEngine) -> None:
    request = schema.AddRequest(cmd="/bin/x -v", args=["a b", "c"], options={"priority": 3}, start=True)
    answer = run(ops.add("New", request))
    texts = {"cmd": "/bin/x -v", "args": "'a b' c", "priority": "3"}
    assert engine.heard == [("add", "New", texts, True)]
    assert len(answer.started) == 1
    assert run(ops.add("other", schema.AddRequest(cmd=["/bin/x", "a b"]))).started == []
    assert engine.heard[1] == ("add", "other", {"cmd": "/bin/x 'a b'"}, False)
    assert refusal(ops.add("x", schema.AddRequest(cmd="x", options={"command": "y"})))[0] == "config-invalid"


def test_a_start_that_fails_fails_the_adding(ops: Ops, engine: FakeEngine) -> None:
    engine.add_error = "new: no such program"
    code, message = refusal(ops.add("new", schema.AddRequest(cmd="x", start=True)))
    assert (code, message) == ("operation-failed", "new: no such program")


def test_a_watcher_is_removed_with_its_processes_or_without(ops: Ops, engine: FakeEngine) -> None:
    run(ops.remove("WEB", schema.RemoveRequest()))
    run(ops.remove("db", schema.RemoveRequest(nostop=True)))
    assert engine.heard == [("remove", "web", False), ("remove", "Db", True)]


def test_who_misses_a_removed_watcher_is_told_how_it_comes_back(engine: FakeEngine) -> None:
    engine.view = {"by_hand": {"old": "removed by hand"}}
    for asked in (Ops(engine).status_of("Old"), Ops(engine).start(schema.OrderRequest(names=["web", "Old"]))):
        with pytest.raises(CircusError) as raised:
            run(asked)  # type: ignore[arg-type]
        assert raised.value.hint == "it was removed by hand; `circusctl add Old` brings it back as the file has it"


# Of circusd itself ------------------------------------------------------------------------------------------


def test_the_options_of_circusd_say_where_it_is_found(
    ops: Ops, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path))
    answer = run(ops.global_options()).options
    assert answer["control"] == f"unix://{tmp_path}/circus-default.sock"
    assert answer["check_delay"] == 5.0


def test_the_figures_of_both_daemons_are_told(ops: Ops, engine: FakeEngine) -> None:
    answer = run(ops.daemon_stats())
    assert (answer.info, answer.papa) == (engine.daemon_info, "No such process (stopped?)")


@pytest.mark.parametrize("key", ["childpid", "child_pid"])
def test_a_signal_to_one_child_reaches_nobody_else_under_either_name(key: str, ops: Ops, engine: FakeEngine) -> None:
    run(ops.signal("web", schema.SignalRequest(signum="HUP", **{key: 77})))
    assert engine.heard == [("signal", "web", 1, None, 77, False)]
