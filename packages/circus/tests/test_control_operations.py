"""Operations with an id: listed, waited for, followed, left; by whom, for whom, how many."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import pytest

from circus.control import operations, schema, sse
from circus.control.caller import OPERATOR_VERBS, OWNER, Caller
from circus.control.ops import Ops
from circus.errors import CircusError
from circus.supervise.progress import Standing
from circus.testing.circusd import FakeEngine, make_watcher

T = TypeVar("T")


def story(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work(), 20)

    return asyncio.run(bounded())


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(make_watcher("web", 2), make_watcher("db"), make_watcher("worker"))


@pytest.fixture
def ops(engine: FakeEngine) -> Ops:
    return Ops(engine)


async def begun(ops: Ops, *names: str) -> str:
    """An order that waits at the gate."""
    engine: Any = ops._engine
    engine.gate = engine.gate or asyncio.Event()
    count = len(engine.heard)
    answer = await ops.stop(schema.OrderRequest(names=list(names) or None, wait=False))
    while len(engine.heard) == count:
        await asyncio.sleep(0)
    return answer.operation


async def heard(stream: AsyncIterator[bytes], parser: sse.Parser) -> sse.Said:
    while True:
        for said in parser.feed(await anext(stream)):
            return said


def test_an_order_that_is_waited_for_has_an_id_too_and_its_answer_is_kept(ops: Ops) -> None:
    async def run() -> None:
        answer = await ops.stop(schema.OrderRequest(names=["web"]))
        kept = await ops.operation(answer.operation, 0)
        assert (kept.id, kept.what, kept.watchers, kept.state) == (answer.operation, "stop", ["web"], "done")
        assert kept.result is not None and kept.result["stopped"] == answer.stopped
        assert kept.result["operation"] == answer.operation
        assert kept.ended_at is not None and kept.begun_at <= kept.ended_at
        (listed,) = (await ops.operations()).operations
        assert (listed.id, listed.result, listed.progress) == (answer.operation, None, None)

    story(run)


def test_a_tag_finds_it_while_it_runs_and_when_it_has_ended(ops: Ops, engine: FakeEngine) -> None:
    async def run() -> None:
        engine.gate = asyncio.Event()
        first = asyncio.create_task(ops.stop(schema.OrderRequest(names=["web"], tag="mine-1")))
        await asyncio.create_task(ops.count("db", schema.CountRequest(delta=1, wait=False, tag="mine-2")))
        running = await ops.operation("mine-1", 0)
        assert (running.what, running.state) == ("stop", "running")
        engine.gate.set()
        answer = await first
        assert (await ops.operation("mine-1", 0)).id == answer.operation == running.id
        assert (await ops.operation("mine-2", 10)).what == "count"
        await ops.stop(schema.OrderRequest(names=["db"], tag="mine-1"))
        assert (await ops.operation("mine-1", 0)).watchers == ["db"], "the latest one"
        stranger = Caller("nobody", "unix", OPERATOR_VERBS, ("web",))
        assert (await ops.of(stranger).operation("mine-1", 0)).watchers == ["web"], "the latest that he sees"
        for unknown in ("", "mine-3"):
            with pytest.raises(CircusError) as caught:
                await ops.operation(unknown, 0)
            assert caught.value.code == "not-found"

    story(run)


def test_one_that_failed_tells_why(ops: Ops, engine: FakeEngine) -> None:
    async def run() -> None:
        engine.refusal = "web: no such program"
        answer = await ops.start(schema.OrderRequest(names=["web"], wait=False))
        kept = await ops.operation(answer.operation, 10)
        assert (kept.state, kept.result) == ("failed", None)
        assert kept.error is not None and kept.error.code == "operation-failed"
        assert kept.error.message == "web: no such program"

    story(run)


def test_ids_are_never_used_again_also_not_by_the_next_circusd(engine: FakeEngine) -> None:
    async def run() -> None:
        first, second = Ops(engine), FakeEngine(make_watcher("web"))
        second.started_at = engine.started_at + 0.001
        ids = {(await ops.stop(schema.OrderRequest())).operation for ops in (first, first, Ops(second))}
        assert len(ids) == 3

    story(run)


def test_who_waits_is_answered_at_the_end_or_when_his_time_is_over(ops: Ops, engine: FakeEngine) -> None:
    async def run() -> None:
        id = await begun(ops, "web")
        assert (await ops.operation(id, 0)).state == "running"
        assert (await ops.operation(id, 0.001)).state == "running"
        waiting = asyncio.create_task(ops.operation(id, 1000))
        await asyncio.sleep(0)
        assert engine.gate is not None
        engine.gate.set()
        assert (await waiting).state == "done"

    story(run)


def test_an_order_goes_on_when_who_waited_for_it_has_gone(ops: Ops, engine: FakeEngine) -> None:
    async def run() -> None:
        engine.gate = asyncio.Event()
        waiting = asyncio.create_task(ops.stop(schema.OrderRequest(names=["web"])))
        while not engine.heard:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        (left,) = (await ops.operations()).operations
        assert left.state == "running"
        engine.gate.set()
        assert (await ops.operation(left.id, 10)).state == "done"
        assert not engine.watchers["web"].wants_up

    story(run)


def test_progress_is_told_when_it_changes_and_then_the_end(ops: Ops, engine: FakeEngine) -> None:
    async def run() -> None:
        id = await begun(ops, "web", "db")
        engine.standing[1] = [
            Standing("web", False, 1, 2, "ended", "waits for its processes to end"),
            Standing("db", True, 1, 1, "ended", ""),
        ]
        stream, parser = ops.follow(id, ""), sse.Parser()
        said = await heard(stream, parser)
        told = json.loads(said.data)
        assert (said.kind, told["watchers"], told["watchers_done"]) == ("progress", 2, 1)
        assert (told["processes"], told["processes_done"]) == (3, 2)
        assert [(each["watcher"], each["why"]) for each in told["waits_for"]] == [
            ("web", "waits for its processes to end")
        ]
        assert len(engine.followers) == 1
        following = asyncio.create_task(heard(stream, parser))
        for follower in engine.followers:
            follower()  # nothing is new
        await asyncio.sleep(0)
        assert engine.gate is not None and not following.done()
        engine.gate.set()
        end = await following
        assert (end.kind, json.loads(end.data)["state"]) == ("end", "done")
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert engine.followers == [], "nobody follows: nothing is done about it"
        again = ops.follow(id, "")
        assert (await heard(again, sse.Parser())).kind == "end"
        resumed = ops.follow(id, end.last_id)
        with pytest.raises(StopAsyncIteration):
            await anext(resumed)
        await asyncio.gather(*(each.aclose() for each in (stream, again, resumed)))  # type: ignore[attr-defined]

    story(run)


def test_a_follower_of_a_busy_circusd_has_it_looked_at_now_and_then(
    ops: Ops, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def standings(_ops: object) -> list[Standing]:
        nonlocal looks
        looks += 1
        return []

    async def run() -> None:
        monkeypatch.setattr(operations, "PACE_S", 60)
        monkeypatch.setattr(engine, "standings", standings)
        id = await begun(ops, "web")
        stream, parser = ops.follow(id, ""), sse.Parser()
        await heard(stream, parser)
        known = f"{id}.{ops._operations.find(id, OWNER).number}"
        resumed = ops.follow(id, known)
        following = [asyncio.create_task(heard(each, sse.Parser())) for each in (stream, resumed)]
        for _ in range(100):
            for _ in range(5):
                await asyncio.sleep(0)
            for follower in engine.followers:
                follower()
        assert looks == 2
        assert engine.gate is not None
        engine.gate.set()
        assert [each.kind for each in await asyncio.gather(*following)] == ["end", "end"]
        await asyncio.gather(*(each.aclose() for each in (stream, resumed)))  # type: ignore[attr-defined]

    story(run)


def test_who_comes_back_is_not_told_again_what_he_knows(ops: Ops, engine: FakeEngine) -> None:
    async def run() -> None:
        id = await begun(ops, "web")
        first = ops.follow(id, "")
        said = await heard(first, sse.Parser())
        await first.aclose()  # type: ignore[attr-defined]
        second = ops.follow(id, said.last_id)
        following = asyncio.create_task(heard(second, sse.Parser()))
        while not engine.followers:
            await asyncio.sleep(0)
        engine.standing[1] = [Standing("web", False, 1, 2, "ended", "")]
        for follower in engine.followers:
            follower()
        assert json.loads((await following).data)["processes_done"] == 1
        await second.aclose()  # type: ignore[attr-defined]
        with pytest.raises(CircusError, match="is no id of its events"):
            ops.follow(id, "1-1.3")
        assert engine.gate is not None
        engine.gate.set()

    story(run)


def test_followers_are_bounded_and_let_go_when_circusd_leaves(
    ops: Ops, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        monkeypatch.setattr(operations, "MAX_FOLLOWERS", 1)
        id = await begun(ops, "web")
        stream = ops.follow(id, "")
        await heard(stream, sse.Parser())
        with pytest.raises(CircusError, match="1 follow operations already") as caught:
            ops.follow(id, "")
        assert caught.value.code == "limit"
        following = asyncio.create_task(heard(stream, sse.Parser()))
        await asyncio.sleep(0)
        ops.close()
        with pytest.raises(StopAsyncIteration):
            await following
        assert engine.gate is not None
        engine.gate.set()

    story(run)


def test_who_waits_is_answered_when_circusd_leaves(ops: Ops, engine: FakeEngine) -> None:
    async def run() -> None:
        waiting = asyncio.create_task(ops.operation(await begun(ops, "web"), 1000))
        await asyncio.sleep(0)
        ops.close()
        assert (await waiting).state == "running"
        assert engine.gate is not None
        engine.gate.set()

    story(run)


def test_nothing_of_an_order_is_left_when_circusd_has_left(ops: Ops) -> None:
    async def run() -> None:
        id = await begun(ops, "web")
        waiting = asyncio.create_task(ops.stop(schema.OrderRequest(names=["db"])))
        await asyncio.sleep(0)
        ops.close()
        await ops.end()
        await asyncio.wait([waiting])
        assert asyncio.all_tasks() == {asyncio.current_task()}
        kept = await ops.operation(id, 0)
        assert kept.error is not None and (kept.state, kept.error.code) == ("failed", "unavailable")

    asyncio.run(run())


def test_an_order_to_all_says_whom_it_meant_when_they_have_arrived(ops: Ops, engine: FakeEngine) -> None:
    async def run() -> None:
        id = await begun(ops)
        engine.standing[1] = [Standing("web", False, 1, 2, "ended", "slow"), Standing("db", True, 1, 1, "ended", "")]
        progress = (await ops.operation(id, 0)).progress
        assert progress is not None and (progress.watchers, progress.watchers_done) == (2, 1)
        assert engine.gate is not None
        engine.gate.set()
        assert (await ops.operation(id, 10)).watchers is None

    story(run)


def test_a_caller_knows_operations_whose_watchers_he_all_sees(ops: Ops, engine: FakeEngine) -> None:
    async def run() -> None:
        theirs = ops.of(Caller("token deploy", "10.0.0.7", patterns=("w*",)))
        mixed, hidden, everything = (
            await begun(ops, "web", "db"),
            await begun(ops, "db"),
            await begun(ops),
        )
        seen = await begun(ops, "web", "worker")
        own = (await theirs.stop(schema.OrderRequest(wait=False))).operation
        assert [each.id for each in (await theirs.operations()).operations] == [seen, own]
        for id in (mixed, hidden, everything):
            with pytest.raises(CircusError, match="is not known"):
                await theirs.operation(id, 0)
            with pytest.raises(CircusError, match="is not known"):
                theirs.follow(id, "")
        told = await ops.operation(own, 0)
        assert (told.by, told.origin, told.watchers) == ("token deploy", "10.0.0.7", ["web", "worker"])
        engine.standing[4] = [Standing("web", False, 0, 1, "", ""), Standing("secret", False, 0, 1, "", "")]
        progress = (await theirs.operation(seen, 0)).progress
        assert progress is not None and [each.watcher for each in progress.waits_for] == ["web"]
        nobodys = ops.of(Caller("nobody's", "test", patterns=("none*",)))
        unseen = (await nobodys.stop(schema.OrderRequest(wait=False))).operation
        with pytest.raises(CircusError, match="is not known"):
            await theirs.operation(unseen, 0)
        assert (await nobodys.operation(unseen, 0)).watchers == []
        assert engine.gate is not None
        engine.gate.set()

    story(run)


def test_one_that_is_not_known_says_why(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        monkeypatch.setattr(operations, "MAX_ENDED", 1)
        first = (await ops.stop(schema.OrderRequest(names=["web"]))).operation
        await ops.stop(schema.OrderRequest(names=["db"]))
        number = int(first.partition("-")[0])
        for id, hint in (
            (first, "it has ended before"),
            (f"{number - 5}-1", "it was given to an earlier circusd"),
            (f"{number}-99", "`circusctl operations` lists them"),
            ("nonsense", "`circusctl operations` lists them"),
        ):
            with pytest.raises(CircusError) as caught:
                await ops.operation(id, 0)
            assert (caught.value.code, hint in caught.value.hint) == ("not-found", True), id

    story(run)


def test_answers_that_are_kept_are_bounded_in_bytes_but_the_last_one_stays(
    ops: Ops, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        monkeypatch.setattr(operations, "MAX_ENDED_BYTES", 500)
        engine.set_warnings = ["x" * 400]
        for _ in range(3):
            answer = await ops.set_options("web", schema.SetRequest(options={"priority": 1}))
        assert [each.id for each in (await ops.operations()).operations] == [answer.operation]

    story(run)


def test_whoever_floods_circusd_with_orders_leaves_room_for_those_of_admins(
    ops: Ops, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        monkeypatch.setattr(operations, "MAX_RUNNING_OF_OTHERS", 2)
        restricted = ops.of(Caller("token web", "192.0.2.7", patterns=("web*",)))
        operator = ops.of(Caller("uid 7", "unix", OPERATOR_VERBS))
        for _ in range(2):
            await begun(restricted, "web")
        for each in (restricted, operator):
            with pytest.raises(CircusError, match="2 operations are under way already"):
                await begun(each, "web")
        await begun(ops, "web")
        assert engine.gate is not None
        engine.gate.set()

    story(run)


def test_an_end_of_circusd_is_taken_however_much_is_under_way(
    ops: Ops, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        monkeypatch.setattr(operations, "MAX_RUNNING", 1)
        await begun(ops, "web")
        with pytest.raises(CircusError, match="1 operations are under way already"):
            await ops.stop(schema.OrderRequest())
        await ops.shutdown(schema.Request(wait=False))
        while "shutdown" not in engine.heard:
            await asyncio.sleep(0)
        assert engine.gate is not None
        engine.gate.set()

    story(run)


def test_what_fails_by_a_fault_of_ours_is_logged_and_said_as_such(
    ops: Ops, engine: FakeEngine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_make: object) -> None:
        raise ZeroDivisionError("ours")

    async def run() -> None:
        monkeypatch.setattr(engine, "order", fail)
        answer = await ops.start(schema.OrderRequest(names=["web"], wait=False))
        kept = await ops.operation(answer.operation, 10)
        assert kept.error is not None and kept.error.code == "internal"
        assert "ours" in caplog.text and "ours" not in kept.error.message

    story(run)


def test_what_is_refused_before_it_begins_is_said_to_who_does_not_wait_and_not_logged(
    ops: Ops, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        with pytest.raises(CircusError, match="does not hold any more"):
            await ops.reloadconfig(schema.ReloadConfigRequest(apply="other", wait=False))
        await asyncio.sleep(0)
        (kept,) = (await ops.operations()).operations
        assert (kept.what, kept.watchers, kept.state) == ("reloadconfig", None, "failed")
        assert caplog.text == ""

    story(run)
