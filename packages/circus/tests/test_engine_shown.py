"""What the doors are told of options and of the daemons."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workbench import DB, WEB, Bench, opened, story

from circus.config import options
from circus.supervise import events


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


def test_all_options_are_shown_as_numbers_and_flags_and_what_is_written_besides(bench: Bench) -> None:
    text = WEB + bench.log_option("web.log").replace("stdout_stream.class = FileStream\n", "")
    text += "stop_signal = quit\nrlimit_core = 0\nhooks.after_stop = os.getpid\ncolour = blue\nenv.A = 1\n"

    async def run() -> None:
        async with bench.engine(text + "stderr_stream.class = FancyStdoutStream\n") as engine:
            await engine.order(lambda op: events.SetCount(op, "web", count=2))
            shown = engine.options("WEB")
            assert set(shown) >= {name for name, option in options.WATCHER.items() if not option.idle}
            expected = {
                "cmd": "/bin/sleep 60", "graceful_timeout": 5.0, "copy_env": True, "singleton": False, "uid": None,
                "stop_signal": 3, "numprocesses": 2, "env": {"A": "1"}, "colour": "blue", "rlimit_core": "0",
                "hooks.after_stop": "os.getpid", "stdout_stream.class": "FileStream",
                "stdout_stream.filename": str(bench.folder / "web.log"), "stderr_stream.class": "FancyStdoutStream",
            }  # fmt: skip
            assert {key: shown[key] for key in expected} == expected

    story(run)


def test_the_options_of_circusd_itself_have_the_ancestors_names_and_more(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine("[circus]\ncheck_delay = 2\nname = two\numask = 027\n" + WEB) as engine:
            shown = engine.global_options()
            ancestors = {"endpoint", "pubsub_endpoint", "stats_endpoint", "multicast_endpoint", "check_delay"}
            assert ancestors <= set(shown)
            assert shown["umask"] == "027", "as it is written"
            assert (shown["check_delay"], shown["name"], shown["endpoint"], shown["loglevel"]) == (
                2.0,
                "two",
                None,
                "info",
            )

    story(run)


def test_the_daemons_have_figures_of_their_own(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(DB) as engine:
            engine.kernel.hello["pid"] = os.getppid()
            found = await engine.daemon_stats()
            circusd, papa = found["circusd"], found["papa"]
            assert isinstance(circusd, dict) and isinstance(papa, dict)
            assert (circusd["pid"], papa["pid"]) == (os.getpid(), os.getppid())
            assert "mem_info1" in circusd and "children" not in circusd

    story(run)
