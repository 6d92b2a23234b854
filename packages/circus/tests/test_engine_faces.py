"""What hooks of the ancestors touch of their watcher and arbiter."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.workbench import DB, TWO, WEB, Bench, opened, story

from circus import stats
from circus.errors import CircusError
from circus.supervise import events

SOCKET = "[socket:front]\nhost = 127.0.0.1\nport = 0\n"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield from opened(tmp_path, monkeypatch)


def hooks(bench: Bench, name: str, source: str) -> None:
    (bench.folder / f"{name}.py").write_text(source)


def test_a_hook_sees_what_hooks_of_the_ancestors_rely_on(bench: Bench) -> None:
    hooks(
        bench,
        "looking_hooks",
        "seen = []\n"
        "def look(watcher, arbiter, hook_name, pid, **_):\n"
        "    seen.append((watcher, arbiter, hook_name, pid))\n"
        "    return True\n",
    )

    async def run() -> None:
        options = "hooks.after_spawn = looking_hooks.look\nlossless_reload.url = u\n[env:Web]\nA = b\n"
        text = SOCKET + WEB.replace("web]", "Web]") + TWO + options + DB
        async with bench.engine(text) as engine:
            await bench.until_active(engine)
            import looking_hooks  # type: ignore[import-not-found]

            watcher, arbiter, hook_name, pid = looking_hooks.seen[-1]
            assert (watcher.name, watcher.numprocesses, watcher.cmd, hook_name) == (
                "Web", 2, "/bin/sleep 60", "after_spawn",
            )  # fmt: skip
            assert watcher._options["lossless_reload.url"] == "u"
            assert (watcher.env["A"], watcher.env["PATH"]) == ("b", os.environ["PATH"])
            assert watcher.arbiter.get_watcher("web").name == "Web"
            assert arbiter.get_watcher("DB").cmd == "/bin/sleep 61"
            with pytest.raises(KeyError):
                arbiter.get_watcher("none")
            assert set(watcher.processes) == bench.running() - {bench.papa.row("circus.db.1")["pid"]}
            process = watcher.processes[pid]
            assert (process.pid, process.wid, process.started) == (pid, 2, bench.papa.row("circus.web.2")["started_at"])
            assert process.age() == pytest.approx(time.time() - process.started, abs=5)
            assert watcher.sockets["front"].port == engine.snapshot().sockets[0]["port"]
            watcher.send_signal(pid, 1)
            watcher.send_signal(os.getpid(), 9)
            assert bench.signals == [(pid, 1)]

    story(run)


def test_statistics_take_what_a_hook_adds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks(
        bench,
        "adding_hooks",
        "def add(stats, pid, **_):\n"
        "    stats['more'] = {'pid': pid, 'what': object, 'deep': [1, {2}]}\n"
        "    del stats['cpu']\n",
    )

    async def run() -> None:
        monkeypatch.setattr(stats, "tell", lambda pids, _rows: {pid: {"pid": pid, "cpu": 1.0} for pid in pids})
        async with bench.engine(WEB + "hooks.extended_stats = adding_hooks.add\n" + DB) as engine:
            await bench.until_active(engine)
            pid = bench.papa.row("circus.web.1")["pid"]
            plain = (await engine.stats("web"))["web"][str(pid)]
            assert isinstance(plain, dict)
            assert (plain["cpu"], plain["wid"]) == (1.0, 1)
            found: Any = (await engine.stats(extended=True))["web"][str(pid)]
            assert found["more"] == {"pid": pid, "what": "<class 'object'>", "deep": [1, [2]]}
            assert "cpu" not in found
            with pytest.raises(CircusError, match="no watcher has a process 1"):
                await engine.stats(pid=1)

    story(run)


def test_what_a_hook_raises_is_one_line_of_the_log(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    hooks(bench, "loud_hooks", "def fail(**_):\n    raise ValueError('one\\ntwo')\n")

    async def run() -> None:
        async with bench.engine(WEB + "hooks.before_start = loud_hooks.fail\n") as engine:
            await bench.until(lambda: engine.snapshot().watchers[0].reason)
            (failure,) = (event for event in engine.bus.recent if event.name == "hook_failure")
            assert failure.fields["error"] == "one\ntwo"

    story(run)
    assert "web hook_failure name=before_start error=one two" in caplog.messages


def test_reap_hooks_come_before_after_stop_and_are_told_of_an_end_that_circusd_wanted(bench: Bench) -> None:
    hooks(
        bench,
        "ending_hooks",
        "import threading\nseen, go_on = [], threading.Event()\n"
        "def note(hook_name, process_status='', **_):\n"
        "    seen.append((hook_name, process_status))\n"
        "    return hook_name != 'before_reap' or go_on.wait(20)\n",
    )

    async def run() -> None:
        names = ("before_reap", "after_reap", "after_stop")
        async with bench.engine(WEB + "".join(f"hooks.{name} = ending_hooks.note\n" for name in names)) as engine:
            await bench.until_active(engine)
            import ending_hooks  # type: ignore[import-not-found]

            ending_hooks.go_on.set()
            first = bench.papa.row("circus.web.1")["pid"]
            bench.papa.end("circus.web.1", 3)
            bench.papa.deliver()
            await bench.until(lambda: bench.running() and first not in bench.running())
            await bench.until(lambda: len(ending_hooks.seen) == 2)
            assert ending_hooks.seen == [("before_reap", ""), ("after_reap", 1)]
            ending_hooks.seen.clear()
            ending_hooks.go_on.clear()
            stop = asyncio.ensure_future(engine.order(lambda op: events.Stop(op, ("web",))))
            await bench.until(lambda: not bench.running())
            ending_hooks.go_on.set()
            await stop
            assert ending_hooks.seen == [("before_reap", ""), ("after_reap", None), ("after_stop", "")]

    story(run)


def test_an_end_of_a_forgotten_watcher_asks_no_hook(bench: Bench) -> None:
    hooks(bench, "reaping_hooks", "threads = []\ndef reap(**_):\n    return True\n")

    async def run() -> None:
        text = WEB + "hooks.before_reap = reaping_hooks.reap\nhooks.after_reap = reaping_hooks.reap\n"
        async with bench.engine(text + DB) as engine:
            await bench.until_active(engine)
            (bench.folder / "circus.ini").write_text(DB)
            await engine.reloadconfig()
            await engine.lives.settled(5)
            assert await engine.run_hook("web", "after_reap")

    story(run)


def test_a_hook_that_never_ends_does_not_hold_the_process(bench: Bench) -> None:
    hooks(bench, "endless_hooks", "import threading\nnever = threading.Event()\ndef hang(**_):\n    never.wait(30)\n")

    async def run() -> None:
        async with bench.engine(WEB + "hooks.before_start = endless_hooks.hang\n"):
            await bench.until(lambda: any(each.name.startswith("hook-") for each in threading.enumerate()))
        assert all(each.daemon for each in threading.enumerate() if each.name.startswith("hook-"))
        import endless_hooks  # type: ignore[import-not-found]

        endless_hooks.never.set()

    story(run)
