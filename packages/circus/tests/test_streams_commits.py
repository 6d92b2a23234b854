from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from circus.streams import commits
from circus.streams.commits import Commits, Step
from circus.streams.store import SourceKey
from papa.errors import PapaError
from papa.testing import FakePapa


@pytest.fixture
def papa() -> Iterator[FakePapa]:
    with FakePapa() as papa:
        yield papa


async def spawn(papa: FakePapa, name: str = "a", data: bytes = b"12345") -> SourceKey:
    spec = {"name": name, "argv": ["x"], "env": {}, "stdin": "null", "stdout": "capture", "stderr": "null"}
    reply = await papa.spawn(**spec, owner="test")
    papa.write(name, "out", data)
    return SourceKey(reply.ok["id"], "out")


def test_steps_that_come_together_go_together(papa: FakePapa) -> None:
    async def main() -> None:
        key, joined = await spawn(papa), Commits(papa)
        await asyncio.gather(
            joined.commit(Step({key: 3}, {"circus.sink.a": "1"})),
            joined.commit(Step(values={"circus.sink.b": "2"}, seen=[(key.kernel_id, 5, None)])),
        )
        assert [row["value"] for row in await papa.list("values")] == ["1", "2"]
        assert papa.row("a")["streams"]["out"]["acked"] == 3
        assert joined.count == 1

    asyncio.run(main())


def test_what_comes_while_one_is_on_its_way_goes_with_the_next(papa: FakePapa) -> None:
    async def main() -> None:
        joined = Commits(papa)
        first = asyncio.ensure_future(joined.commit(Step(values={"circus.sink.a": "1"})))
        await asyncio.sleep(0)
        await asyncio.gather(first, *(joined.commit(Step(values={f"circus.sink.{n}": "1"})) for n in range(20)))
        assert joined.count == 2

    asyncio.run(main())


def test_what_has_to_be_known_with_an_acknowledgement_goes_with_it(papa: FakePapa) -> None:
    async def main() -> None:
        key, joined = await spawn(papa), Commits(papa)
        joined.known_with = lambda numbers: {f"circus.ready.{number}": "1" for number in numbers}
        await joined.commit(Step(values={"circus.sink.a": "1"}))
        assert [row["name"] for row in await papa.list("values")] == ["circus.sink.a"]
        await joined.commit(Step({key: 3}))
        assert f"circus.ready.{key.kernel_id}" in [row["name"] for row in await papa.list("values")]
        assert joined.count == 2

    asyncio.run(main())


def test_one_step_that_is_refused_does_not_take_others_with_it(papa: FakePapa) -> None:
    async def main() -> None:
        key, joined = await spawn(papa), Commits(papa)
        good = joined.commit(Step({key: 5}, {"circus.sink.a": "1"}))
        bad = joined.commit(Step({SourceKey(999, "out"): 5}, {"circus.sink.b": "2"}))
        results = await asyncio.gather(good, bad, return_exceptions=True)
        assert results[0] is None
        assert isinstance(results[1], PapaError)
        assert results[1].code == "not-found"
        assert [row["name"] for row in await papa.list("values")] == ["circus.sink.a"]

    asyncio.run(main())


def test_a_lost_kernel_fails_all_of_them(papa: FakePapa) -> None:
    async def main() -> None:
        joined = Commits(papa)
        papa.lose()
        steps = [joined.commit(Step(values={f"circus.sink.{n}": "1"})) for n in range(3)]
        results = await asyncio.gather(*steps, return_exceptions=True)
        assert [getattr(each, "code", None) for each in results] == ["lost"] * 3
        assert joined.count == 1, "what was lost together is not asked one by one"
        papa.come_back()
        await joined.commit(Step(values={"circus.sink.a": "1"}))

    asyncio.run(main())


def test_a_commit_has_at_most_so_many_steps(papa: FakePapa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "MAX_STEPS", 2)

    async def main() -> None:
        joined = Commits(papa)
        await asyncio.gather(*(joined.commit(Step(values={f"circus.sink.{n}": "1"})) for n in range(5)))
        assert joined.count == 3

    asyncio.run(main())


def test_notices_of_a_moment_are_asked_for_together(papa: FakePapa) -> None:
    async def main() -> None:
        posted: list[dict[str, Any]] = []
        papa.post = lambda op, **args: posted.append({"op": op, **args})  # type: ignore[method-assign]
        joined = Commits(papa)
        joined.tell_seen([(1, 5, None)])
        joined.tell_seen([(2, 7, 0)])
        joined.tell_seen([(1, 6, None)])
        joined.tell_seen([])
        async with asyncio.timeout(30):
            while not posted:
                await asyncio.sleep(0)
        assert posted == [{"op": "more", "seen": [(1, 6, None), (2, 7, 0)]}]

    asyncio.run(main())


def test_notices_that_cannot_be_asked_for_now_are_asked_for_later(
    papa: FakePapa, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "RETRY_SEEN_S", 0.001)

    async def main() -> None:
        posted: list[Any] = []

        def post(op: str, **args: Any) -> None:
            posted.append(args["seen"])
            if len(posted) == 1:
                raise PapaError("the kernel does not read", code="limit")

        papa.post = post  # type: ignore[method-assign]
        Commits(papa).tell_seen([(1, 5, None)])
        async with asyncio.timeout(30):
            while len(posted) < 2:
                await asyncio.sleep(0.001)
        assert posted == [[(1, 5, None)]] * 2

    asyncio.run(main())


def test_closing_ends_what_is_under_way(papa: FakePapa) -> None:
    async def main() -> None:
        joined = Commits(papa)
        waiting = asyncio.ensure_future(joined.commit(Step(values={"circus.sink.a": "1"})))
        await asyncio.sleep(0)
        late = asyncio.ensure_future(joined.commit(Step(values={"circus.sink.b": "1"})))
        await asyncio.sleep(0)
        await joined.close()
        async with asyncio.timeout(30):
            await asyncio.gather(waiting, late, return_exceptions=True)
        assert late.cancelled()

    asyncio.run(main())
