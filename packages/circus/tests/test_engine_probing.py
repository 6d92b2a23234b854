"""Who is asked whether it is ready, and what the kernel knows of it: the engine on a fake kernel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import KEPT, WEB, Bench, opened, story

from circus.config.checks import Check
from circus.engine.engine import Engine
from circus.probes import network

LINE = WEB + KEPT + "ready = line ^up$\nstart_timeout = 600\n"
NAME = "circus.web.1"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


def slot(engine: Engine) -> Any:
    (view,) = engine.snapshot().watchers
    return view.slots[0] if view.slots else None


def is_ready(engine: Engine) -> bool:
    return slot(engine) is not None and slot(engine).is_ready


async def values(bench: Bench) -> list[dict[str, Any]]:
    return [row for row in await bench.papa.list("values") if ".ready." in row["name"]]


def test_a_line_is_noted_in_the_kernel_and_forgotten_with_its_process(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(LINE) as engine:
            await bench.until(lambda: bench.named(NAME))
            bench.papa.write(NAME, "out", b"starting up\nu")
            await bench.until(lambda: slot(engine) and slot(engine).reason == "not ready yet: no such line so far")
            assert slot(engine).state.value == "starting"
            bench.papa.write(NAME, "out", b"p\nand more\n")
            await bench.until(lambda: is_ready(engine))
            while not (found := await values(bench)):
                await asyncio.sleep(0)
            first = bench.papa.row(NAME)
            assert json.loads(found[0]["value"])["pid"] == first["pid"]
            bench.papa.end(first["id"], 1)
            await bench.until_replaced(first)
            await bench.until(lambda: first["id"] not in bench.ids())
            assert await values(bench) == []
            assert not is_ready(engine)

    story(run)


def test_the_next_circusd_does_not_wait_once_more(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(LINE) as engine:
            await bench.until(lambda: bench.named(NAME))
            bench.papa.write(NAME, "err", b"up\n")
            await bench.until(lambda: is_ready(engine))
            while not await values(bench):
                await asyncio.sleep(0)
        bench.crash()
        async with bench.engine(LINE) as engine:
            assert is_ready(engine)
            await bench.until_active(engine)

    story(run)


def test_a_line_that_came_while_nobody_was_there_is_found(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(LINE):
            await bench.until(lambda: bench.named(NAME))
        bench.crash()
        async with bench.engine(LINE) as engine:
            assert slot(engine).state.value == "starting", "the next one waits, too"
            assert not is_ready(engine)
        bench.crash()
        bench.papa.write(NAME, "out", b"up\n")
        async with bench.engine(LINE) as engine:
            await bench.until(lambda: is_ready(engine))

    story(run)


def test_a_line_cannot_be_acknowledged_without_being_noted(bench: Bench) -> None:
    """The kernel tells those who write logs and those who look for lines in one message, which may be late for both."""

    async def run() -> None:
        async with bench.engine(LINE + bench.log_option("web.log")) as engine:
            engine.probing.on_output = lambda _: None  # type: ignore[method-assign]
            await bench.until(lambda: bench.named(NAME))
            bench.papa.write(NAME, "out", b"up\n")
            await bench.until(lambda: bench.papa.row(NAME)["streams"]["out"]["acked"] == 3)
            assert len(await values(bench)) == 1
            await bench.until(lambda: is_ready(engine))

    story(run)


def test_who_was_started_without_being_waited_for_is_ready(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + KEPT) as engine:
            await bench.until_active(engine)
        bench.crash()
        async with bench.engine(LINE) as engine:
            assert is_ready(engine)

    story(run)


def test_values_of_processes_that_are_gone_go_too(bench: Bench) -> None:
    async def run() -> None:
        await bench.papa.set("circus.ready.4711", '{"format": 1, "pid": 1, "started_at": 1.0, "at": 1.0}')
        await bench.papa.set("circus.ready.1", "what is this")
        async with bench.engine(LINE) as engine:
            await bench.until(lambda: bench.named(NAME))
            assert await values(bench) == []
            assert not is_ready(engine)

    story(run)


def test_a_delay_counts_from_the_start_of_the_process(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + "ready = delay 0.1\n") as engine:
            await bench.until(lambda: is_ready(engine))

    story(run)


def test_a_check_that_becomes_nonsense_by_its_variables_is_told(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + "ready = tcp 127.0.0.1:$(circus.env.NO_PORT)\nstart_timeout = 600\n") as engine:
            await bench.until(lambda: slot(engine) and "has no address behind tcp" in slot(engine).reason)

    story(run)


def test_without_a_socket_for_what_services_say_none_is_started(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake kernel has no real ones."""
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(bench.folder / "run"))

    async def run() -> None:
        async with bench.engine(WEB + "ready = notify\nmax_retry = 1\n") as engine:
            await bench.until(lambda: slot(engine) and slot(engine).state.value == "fatal")
            assert f"NOTIFY_SOCKET: {bench.folder}/run-notify/circus.sock: " in slot(engine).reason
            assert bench.named(NAME) is None

    story(run)


@pytest.mark.parametrize("now", ["", "ready = delay 0.001\n", "ready = exec /bin/true\n"])
def test_another_way_to_see_it_counts_at_once_for_who_is_not_ready_yet(bench: Bench, now: str) -> None:
    async def run() -> None:
        async with bench.engine(LINE) as engine:
            await bench.until(lambda: slot(engine) and slot(engine).reason == "not ready yet: no such line so far")
            first = bench.papa.row(NAME)["pid"]
            (bench.folder / "circus.ini").write_text(LINE.replace("ready = line ^up$\n", now))
            await engine.reloadconfig()
            assert is_ready(engine)
            assert bench.papa.row(NAME)["pid"] == first

    story(run)


def test_nobody_is_asked_any_more_when_the_check_of_health_is_taken_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def ask(check: Check, _: float) -> None:
        asked.append(check.kind)

    monkeypatch.setattr(network, "ask", ask)

    async def run() -> None:
        async with bench.engine(WEB + "health.check = tcp 127.0.0.1:1\nhealth.interval = 0.1\n") as engine:
            await bench.until(lambda: len(asked) > 1)
            first = bench.papa.row(NAME)["pid"]
            (bench.folder / "circus.ini").write_text(WEB)
            await engine.reloadconfig()
            (vital,) = engine.probing._vitals.values()
            await bench.until(lambda: vital.task is None or vital.task.done())
            assert bench.papa.row(NAME)["pid"] == first

    story(run)
