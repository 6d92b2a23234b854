from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from circus.streams import workers as workers_module
from circus.streams.workers import Workers

BOUND_S = 30.0


def test_results_and_errors_come_back_in_order() -> None:
    async def main() -> None:
        workers = Workers()
        worker = workers.take("dev:1")
        assert await asyncio.gather(*(worker.run(lambda n=n: n) for n in range(5))) == [0, 1, 2, 3, 4]
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 // 0)
        workers.give_back("dev:1")

    asyncio.run(main())


def test_one_thread_serves_all_who_take_the_same_key() -> None:
    async def main() -> None:
        workers = Workers()
        one, two, other = workers.take("dev:1"), workers.take("dev:1"), workers.take("dev:2")
        assert one is two
        assert await one.run(threading.get_ident) == await two.run(threading.get_ident)
        assert await one.run(threading.get_ident) != await other.run(threading.get_ident)
        workers.give_back("dev:1")
        assert await one.run(lambda: 1) == 1, "somebody still has it"
        workers.give_back("dev:1")
        workers.give_back("dev:2")

    asyncio.run(main())


def test_a_thread_that_hangs_holds_nobody_else() -> None:
    async def main() -> None:
        workers = Workers()
        gate = threading.Event()
        hung = workers.take("dev:1").run(lambda: gate.wait(BOUND_S))
        assert await workers.take("dev:2").run(lambda: "here") == "here"
        assert await workers.run_alone(lambda: "here too") == "here too"
        assert not hung.done()
        gate.set()
        await hung
        workers.give_back("dev:1")
        workers.give_back("dev:2")

    asyncio.run(main())


def test_what_is_to_follow_follows_also_when_nobody_waits() -> None:
    async def main() -> None:
        workers = Workers()
        worker = workers.take("dev:1")
        gate, followed = threading.Event(), asyncio.Event()
        waiting = worker.run(lambda: gate.wait(BOUND_S), followed.set)
        waiting.cancel()
        await asyncio.sleep(0)
        assert not followed.is_set(), "the thread is still at it"
        gate.set()
        async with asyncio.timeout(BOUND_S):
            await followed.wait()
        workers.give_back("dev:1")

    asyncio.run(main())


def test_threads_end_when_they_are_given_back() -> None:
    async def main() -> threading.Thread:
        workers = Workers()
        thread = await workers.take("dev:9").run(threading.current_thread)
        workers.give_back("dev:9")
        return thread

    thread = asyncio.run(main())
    thread.join(BOUND_S)
    assert not thread.is_alive()


def test_a_result_that_comes_after_the_loop_has_ended_is_nobodys_and_what_was_asked_for_behind_it_is_done() -> None:
    gate, is_closed = threading.Event(), threading.Event()

    async def main() -> threading.Thread:
        workers = Workers()
        worker = workers.take("dev:9")
        thread = await worker.run(threading.current_thread)
        worker.run(lambda: gate.wait(BOUND_S))
        worker.run(is_closed.set)
        workers.give_back("dev:9")
        return thread

    thread = asyncio.run(main())
    gate.set()
    thread.join(BOUND_S)
    assert not thread.is_alive()
    assert is_closed.is_set()


def test_calls_that_stand_alone_share_a_thread_until_one_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        workers = Workers()
        with monkeypatch.context() as patch:
            patch.setattr(workers_module, "HANG_S", BOUND_S)  # a thread that gets no processor does not hang
            first, second = await asyncio.gather(*(workers.run_alone(threading.get_ident) for _ in range(2)))
        assert first == second
        gate = threading.Event()
        hung = [workers.run_alone(lambda: gate.wait(BOUND_S)) for _ in range(3)]
        async with asyncio.timeout(BOUND_S):
            other = await workers.run_alone(threading.get_ident)
        assert other != first
        assert not any(each.done() for each in hung)
        gate.set()
        await asyncio.gather(*hung)
        workers.close()
        workers.close()

    before = set(threading.enumerate())
    asyncio.run(main())
    for thread in set(threading.enumerate()) - before:
        thread.join(BOUND_S)
        assert not thread.is_alive()


def test_results_that_come_while_the_loop_is_busy_wake_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        workers = Workers()
        worker = workers.take("dev:1")
        loop = asyncio.get_running_loop()
        woken = []
        wake = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *call: woken.append(call) or wake(*call))
        done = threading.Event()
        results = [worker.run(lambda n=n: n) for n in range(5)]
        results.append(worker.run(done.set))
        # The loop is held here until the thread has done them all.
        assert done.wait(BOUND_S)
        assert await asyncio.gather(*results) == [0, 1, 2, 3, 4, None]
        assert 1 <= len(woken) <= 2
        workers.give_back("dev:1")

    asyncio.run(main())


def test_behind_many_that_hang_nobody_waits_for_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "HANG_S", 3600)  # the looks are those of the test

    async def main() -> None:
        opener = workers_module.Opener("test")
        gate = threading.Event()
        hung = [opener.run(lambda: gate.wait(BOUND_S)) for _ in range(30)]
        other = opener.run(lambda: "here")
        async with asyncio.timeout(BOUND_S):
            for waiting in (30, 29, 27, 23, 15, 0):
                while opener._queue.qsize() > waiting:
                    await asyncio.sleep(0.001)
                assert opener._queue.qsize() == waiting
                opener._relieve()
            assert await other == "here"
        assert not any(each.done() for each in hung)
        gate.set()
        await asyncio.gather(*hung)
        opener.stop()

    before = set(threading.enumerate())
    asyncio.run(main())
    for thread in set(threading.enumerate()) - before:
        thread.join(BOUND_S)
        assert not thread.is_alive()


def test_threads_that_were_added_end_when_nothing_hangs_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "HANG_S", 3600)  # the looks are those of the test

    async def main() -> None:
        before = set(threading.enumerate())
        opener = workers_module.Opener("test")
        gate = threading.Event()
        hung = [opener.run(lambda: gate.wait(BOUND_S)) for _ in range(5)]
        async with asyncio.timeout(BOUND_S):
            for waiting in (4, 3, 1, 0):
                while opener._queue.qsize() > waiting:
                    await asyncio.sleep(0.001)
                opener._relieve()
            gate.set()
            await asyncio.gather(*hung)
            while len(set(threading.enumerate()) - before) > 1:
                await asyncio.sleep(0.001)
            assert await opener.run(lambda: "here") == "here"
        opener.stop()

    asyncio.run(main())


def test_whoever_waits_behind_a_call_that_hangs_is_told_and_gets_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "UNANSWERED_S", 0.02)

    async def main() -> None:
        workers, gate, told = Workers(), threading.Event(), []
        worker = workers.take("dev:1")
        first = worker.run(lambda: gate.wait(BOUND_S), on_hang=lambda: told.append("first"))
        second = worker.run(lambda: "second", on_hang=lambda: told.append("second"))
        async with asyncio.timeout(BOUND_S):
            while len(told) < 2:
                await asyncio.sleep(0.001)
        third = worker.run(lambda: "third", on_hang=lambda: told.append("third"))
        async with asyncio.timeout(BOUND_S):
            while len(told) < 3:
                await asyncio.sleep(0.001)
        assert told == ["first", "second", "third"]
        gate.set()
        assert await asyncio.gather(first, second, third) == [True, "second", "third"]
        assert worker._watch is None, "nothing wakes up while nothing is done"
        workers.give_back("dev:1")

    asyncio.run(main())


def test_many_calls_that_take_long_only_together_are_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "UNANSWERED_S", 1.0)

    async def main() -> None:
        workers, told = Workers(), []
        worker = workers.take("dev:1")
        slow = threading.Event()
        answers = [worker.run(lambda: slow.wait(0.03), on_hang=lambda: told.append(1)) for _ in range(40)]
        await asyncio.gather(*answers)
        assert told == []
        workers.give_back("dev:1")

    asyncio.run(main())


def test_a_thread_bears_the_name_of_what_it_touches() -> None:
    async def main() -> None:
        workers = Workers()
        name = await workers.take("dev:1234").run(
            lambda: Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text()
        )
        assert name == "dev:1234\n"
        workers.give_back("dev:1234")

    asyncio.run(main())


def test_what_is_looked_for_alone_and_is_not_found_in_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "UNANSWERED_S", 0.02)

    async def main() -> None:
        workers, gate, told = Workers(), threading.Event(), asyncio.Event()
        answer = workers.run_alone(lambda: gate.wait(BOUND_S), told.set)
        await asyncio.wait_for(told.wait(), BOUND_S)
        gate.set()
        assert await answer
        workers.close()

    asyncio.run(main())


def test_what_is_to_follow_follows_also_when_the_loop_is_gone() -> None:
    gate, followed = threading.Event(), threading.Event()
    workers = Workers()

    async def main() -> None:
        workers.take("dev:1").run(lambda: gate.wait(BOUND_S), followed.set)

    asyncio.run(main())
    gate.set()
    assert followed.wait(BOUND_S)
