"""A kernel that goes away at any single request, before or after it did what it was asked, changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import DB, KEPT, TWO, WEB, Bench, story

SOCKET = "[socket:front]\nhost = 127.0.0.1\nport = 0\n"

#: More requests than any of the stories needs.
MANY = 200

Trap = Callable[[int, str], str | None]


async def a_whole_life(bench: Bench, trap: Trap) -> None:
    """Start, a process that writes and ends, and the shutdown."""
    bench.trap = trap
    log = bench.folder / "web.log"
    async with bench.engine(SOCKET + WEB + TWO + "max_retry = 0\n" + bench.log_option("web.log") + DB) as engine:
        await bench.until_active(engine)
        await bench.until(lambda: len(bench.running()) == 3)
        first = bench.papa.row("circus.web.1")
        bench.papa.write(first["id"], "out", b"last words\n")
        bench.papa.end(first["id"], 3)
        await bench.until_replaced(first)
        await bench.until(lambda: first["id"] not in bench.ids())
        await bench.until_active(engine)
        assert len(bench.running()) == 3
        assert len(bench.papa.spawns) == 4
        await engine.shutdown()
        await engine.lives.settled(5)
        assert bench.papa.rows() == []
        assert log.read_bytes() == b"last words\n"


async def an_adoption(bench: Bench, trap: Trap) -> None:
    """A crash, one that ends while nobody is there, and the circusd that takes over."""
    text = SOCKET + WEB + TWO + bench.log_option("web.log") + DB + KEPT
    async with bench.engine(text) as engine:
        await bench.until_active(engine)
        bench.crash()
    before = bench.running()
    ended = bench.papa.row("circus.web.2")
    bench.papa.write(ended["id"], "out", b"nobody listens\n")
    bench.papa.end(ended["id"], 1)
    bench.trap = trap
    async with bench.engine(text) as engine:
        await bench.until_active(engine)
        await bench.until(lambda: ended["id"] not in bench.ids())
        await bench.until(lambda: len(bench.running()) == 3)
        assert len(bench.running() & before) == 2
        assert len(bench.papa.spawns) == 4
        assert (bench.folder / "web.log").read_bytes() == b"nobody listens\n"
        told = [event for event in engine.bus.recent if event.name == "reap"]
        assert [(each.watcher, each.fields["exit_code"]) for each in told] == [("web", 1)]
        await engine.quit()
        await bench.until(lambda: bench.running() == {bench.papa.row("circus.db.1")["pid"]})


@pytest.mark.parametrize("how", [("unasked",), ("unanswered",), ("unanswered", "unasked", "unanswered")])
@pytest.mark.parametrize("life", [a_whole_life, an_adoption])
def test_a_loss_at_any_request_is_noticed_by_nobody(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: tuple[str, ...],
    life: Callable[[Bench, Trap], Coroutine[Any, Any, None]],
) -> None:
    for number in range(1, MANY):
        reached: list[str] = []

        def trap(count: int, op: str, number: int = number, reached: list[str] = reached) -> str | None:
            if count < number or len(reached) == len(how):
                return None
            reached.append(op)
            return how[len(reached) - 1]

        folder = tmp_path / str(number)
        folder.mkdir()
        with monkeypatch.context() as patch:
            bench = Bench(folder, patch)
            try:
                story(partial(life, bench, trap))
            except BaseException as error:
                raise AssertionError(f"{how} at request {number}: {reached} of {bench.requests}") from error
            finally:
                bench.papa.kernel.close()
        if not reached:
            return
    raise AssertionError("the story never ends")
