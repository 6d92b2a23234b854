"""Orders that change what the configuration says: all or nothing, carried out like an edit, and kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workbench import DB, KEPT, TWO, WEB, Bench, opened, story

from circus.engine.engine import Engine
from circus.engine.memory import Memory
from circus.errors import CircusError
from circus.supervise import events
from papa.errors import PapaError

LASTING = WEB + KEPT


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(tmp_path, monkeypatch)


def published(engine: Engine, name: str) -> list[object]:
    return [event.fields.get("key") for event in engine.bus.recent if event.name == name]


def command(bench: Bench, name: str) -> object:
    return bench.papa.row(name)["argv"]


# What an option needs ---------------------------------------------------------------------------------------


def test_a_live_option_touches_no_process(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await bench.until_active(engine)
            before = bench.running()
            await engine.set_options("WEB", {"graceful_timeout": "0.5", "stop_signal": "QUIT", "colour": "red"})
            assert bench.running() == before
            policy = engine.fleet.watchers["web"].policy
            assert (policy.graceful_timeout_s, policy.stop_signal) == (0.5, 3)
            assert engine.options("web")["colour"] == "red", "hooks find it"
            assert sorted(map(str, published(engine, "updated"))) == ["colour", "graceful_timeout", "stop_signal"]
            assert engine.snapshot().by_hand == {"web": "set by hand: colour, graceful_timeout, stop_signal"}

    story(run)


def test_an_option_of_the_processes_has_new_ones_up_before_the_old_ones_go(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + DB) as engine:
            await bench.until_active(engine)
            db = bench.papa.row("circus.db.1")["pid"]
            old = bench.papa.row("circus.web.1")["pid"]
            await engine.set_options("web", {"cmd": "/bin/sleep 99", "env.LANG": "C"})
            (new,) = bench.running() - {db}
            row = bench.papa.row("circus.web.2")
            assert (row["pid"], row["argv"]) == (new, ["/bin/sleep", "99"])
            assert old not in bench.running() and db in bench.running()
            assert engine.snapshot().drift == {}

    story(run)


def test_a_command_that_does_not_come_up_leaves_the_old_processes_and_is_said(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + "max_retry = 0\n") as engine:
            await bench.until_active(engine)
            before = bench.running()
            bench.papa.fail_next_spawn(PapaError("no memory (stage fork)", code="spawn-failed"))
            with pytest.raises(CircusError, match="stage fork") as raised:
                await engine.set_options("web", {"cmd": "/bin/sleep 99"})
            assert raised.value.code == "operation-failed"
            assert bench.running() == before
            assert "web" in engine.snapshot().drift

    story(run)


def test_the_number_of_processes_is_the_wish_that_incr_and_decr_change(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            await engine.order(lambda op: events.SetCount(op, "web", count=3))
            assert engine.snapshot().by_hand == {"web": "numprocesses 3 by hand, 1 in the file"}
            await engine.set_options("web", {"numprocesses": "2"})
            await bench.until(lambda: len(bench.running()) == 2)
            await engine.set_options("web", {"numprocesses": "1"})
            await bench.until(lambda: len(bench.running()) == 1)
            assert engine.edits.options == {}
            assert engine.memory.count("web", 1) == 1

    story(run)


@pytest.mark.parametrize(
    ("key", "text", "attribute", "value", "in_policy"),
    [
        ("max_retry", "9", "max_retry", 9, "max_retry"),
        ("respawn", "false", "respawn", False, "respawn"),
        ("singleton", "true", "singleton", True, "singleton"),
        ("use_papa", "true", "use_papa", True, "outlives_quit"),
        ("warmup_delay", "0.5", "warmup_delay_s", 0.5, "warmup_delay_s"),
        ("on_demand", "true", "on_demand", True, "on_demand"),
        ("priority", "-3", "priority", -3, "priority"),
        ("autostart", "false", "autostart", False, "autostart"),
        ("max_age", "60", "max_age_s", 60.0, "max_age_s"),
        ("send_hup", "true", "send_hup", True, "send_hup"),
        ("copy_env", "false", "copy_env", False, ""),
        ("close_child_stdout", "true", "close_child_stdout", True, ""),
        ("rlimit_core", "0", "rlimits", {"core": 0}, ""),
        ("use_sockets", "true", "use_sockets", True, ""),
        ("executable", "/bin/sleep", "executable", "/bin/sleep", ""),
        ("working_dir", "/", "working_dir", "/", ""),
    ],
)
def test_an_option_that_is_accepted_has_its_effect(
    bench: Bench, key: str, text: str, attribute: str, value: object, in_policy: str
) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            before = bench.running()
            await engine.set_options("web", {key: text})
            assert getattr(engine.configs["web"], attribute) == value
            if in_policy:
                assert getattr(engine.fleet.watchers["web"].policy, in_policy) == value
            assert bool(bench.running() & before) == bool(in_policy), "processes are replaced where they must be"

    story(run)


def test_what_is_set_on_a_stopped_watcher_waits_for_its_start(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await engine.order(lambda op: events.Stop(op, ("web",)))
            await engine.set_options("web", {"cmd": "/bin/sleep 99"})
            assert bench.running() == set()
            await engine.order(lambda op: events.Start(op, ("web",)))
            assert command(bench, "circus.web.1") == ["/bin/sleep", "99"]

    story(run)


# All or nothing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "message", "hint"),
    [
        (
            {"graceful_timeout": "soon"},
            "web: graceful_timeout = 'soon' is not a number of seconds",
            "write for example",
        ),
        ({"hooks.before_start": "no_such.hook"}, "web: before_start: hook no_such.hook: ModuleNotFoundError", ""),
        ({"rlimit_nofiles": "9"}, "web: there is no limit rlimit_nofiles", "did you mean rlimit_nofile?"),
        ({"cmd": "/no/program"}, "web: program /no/program does not exist or is not executable", "correct the path"),
        ({"numprocesses": "-1"}, "web: numprocesses = '-1' is out of range", "write a number of processes"),
        ({"cmd": "sleep $(circus.sockets.front)"}, "web: cmd refers to socket front, which is not defined", ""),
    ],
)
def test_one_bad_value_changes_nothing_and_reads_as_in_a_file(
    bench: Bench, texts: dict[str, str], message: str, hint: str
) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            before = bench.running(), engine.config, engine.options("web"), engine.edits
            with pytest.raises(CircusError) as raised:
                await engine.set_options("web", {"priority": "7", "numprocesses": "2", **texts})
            assert raised.value.code == "config-invalid"
            assert raised.value.message.startswith(message) and hint in raised.value.hint
            assert (bench.running(), engine.config, engine.options("web"), engine.edits) == before
            assert published(engine, "updated") == []

    story(run)


def test_all_that_is_wrong_is_told_with_what_to_do_about_each(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            with pytest.raises(CircusError) as raised:
                await engine.set_options("web", {"uid": "nobody-here", "priority": "high"})
            assert raised.value.message == (
                "web: priority = 'high' is not a whole number (write digits only);"
                " web: there is no user nobody-here (write the name of a user, or a number)"
            )

    story(run)


def test_a_singleton_cannot_be_told_to_have_two_processes(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + "singleton = true\n") as engine:
            with pytest.raises(CircusError, match="a singleton cannot have 2 processes"):
                await engine.set_options("web", {"numprocesses": "2"})

    story(run)


def test_an_order_has_begun_as_soon_as_it_was_found_good(bench: Bench) -> None:
    async def run() -> None:
        begun: list[str] = []
        async with bench.engine(WEB) as engine:
            with pytest.raises(CircusError):
                await engine.set_options("web", {"priority": "high"}, on_begun=lambda: begun.append("bad"))
            with pytest.raises(CircusError):
                await engine.add_watcher("web", {"cmd": "/bin/x"}, start=False, on_begun=lambda: begun.append("bad"))
            await engine.set_options("web", {"priority": "4"}, on_begun=lambda: begun.append("set"))
            new = {"cmd": "/bin/sleep 9"}
            await engine.add_watcher("new", new, start=False, on_begun=lambda: begun.append("added"))
            assert begun == ["set", "added"]

    story(run)


def test_what_is_odd_about_a_value_is_answered(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            (warning,) = await engine.set_options("web", {"shell_args": "x"})
            assert warning == "web: shell_args has no effect (write shell = true, or remove it)"

    story(run)


# How long it counts -----------------------------------------------------------------------------------------


def test_what_was_set_counts_under_the_next_circusd_also_after_a_crash_and_replaces_nothing(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(LASTING) as engine:
            await bench.until_active(engine)
            await engine.set_options("web", {"cmd": "/bin/sleep 99", "priority": "4", "numprocesses": "2"})
            await bench.until(lambda: len(bench.running()) == 2)
        before = bench.running()
        bench.crash()
        async with bench.engine(LASTING) as engine:
            await bench.until_active(engine)
            assert bench.running() == before
            assert engine.options("web")["priority"] == 4
            assert engine.snapshot().drift == {}
            assert engine.snapshot().by_hand == {
                "web": "set by hand: cmd, priority; numprocesses 2 by hand, 1 in the file"
            }

    story(run)


def test_an_order_is_on_disk_before_anything_is_done_about_it(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(LASTING) as engine:
            await bench.until_active(engine)
            bench.obeys = False
            setting = engine.set_options("web", {"cmd": "/bin/sleep 99"})
            engine.begin(_ignore(setting))
            await bench.until(lambda: bench.named("circus.web.2"))
            assert (
                Memory(bench.folder / "state").edits(engine.config.path).options["web"]["cmd"].text == "/bin/sleep 99"
            )

    async def _ignore(work: object) -> None:
        await work  # type: ignore[misc]

    story(run)


def test_what_was_ordered_under_one_file_means_nothing_under_another(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(LASTING) as engine:
            await bench.until_active(engine)
            await engine.set_options("web", {"priority": "4"})
            await engine.add_watcher("new", {"cmd": "/bin/sleep 70", "use_papa": "true"}, start=True)
            await engine.remove_watcher("new", nostop=True)
        before = bench.running()
        bench.crash()
        async with bench.engine(DB + KEPT, file="other.ini") as engine:
            await bench.until_active(engine)
            assert [view.name for view in engine.snapshot().watchers] == ["db"]
            assert engine.snapshot().by_hand == {} and before <= bench.running()
        bench.crash()
        async with bench.engine(LASTING) as engine:
            await bench.until_active(engine)
            assert engine.options("web")["priority"] == 4
            assert before <= bench.running()
            foreign = {row["name"] for row in engine.snapshot().foreign}
            assert foreign == {"circus.db.1", "circus.new.1"}, "what was left is left still"

    story(run)


def test_the_file_wins_where_it_changed_and_only_there(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB) as engine:
            await bench.until_active(engine)
            await engine.set_options("web", {"graceful_timeout": "9", "priority": "4"})
            (bench.folder / "circus.ini").write_text(WEB.replace("timeout = 5", "timeout = 7") + DB)
            await engine.reloadconfig()
            assert (engine.options("web")["graceful_timeout"], engine.options("web")["priority"]) == (7.0, 4)
            (bench.folder / "circus.ini").write_text(WEB + DB)
            await engine.reloadconfig()
            assert engine.options("web")["graceful_timeout"] == 5.0, "it does not come back with the old text"
        bench.crash()
        async with bench.engine(WEB.replace("cmd", "priority = 1\ncmd")) as engine:
            assert engine.options("web")["priority"] == 1
            assert engine.snapshot().by_hand == {}

    story(run)


def test_an_order_that_is_not_possible_any_more_is_said_and_stops_neither_a_start_nor_the_others(bench: Bench) -> None:
    async def run() -> None:
        place = bench.folder / "place"
        place.mkdir()
        async with bench.engine(LASTING + DB) as engine:
            await engine.set_options("web", {"working_dir": str(place)})
            await engine.set_options("db", {"priority": "3"})
        bench.crash()
        place.rmdir()
        async with bench.engine(LASTING + DB) as engine:
            await bench.until_active(engine)
            assert engine.options("db")["priority"] == 3
            (warning,) = (each for each in engine.snapshot().warnings if "by hand" in each)
            assert warning.startswith(f"web: working directory {place} does not exist: what was ordered by hand is not")
            place.mkdir()
            await engine.reloadconfig()
            assert engine.options("web")["working_dir"] == str(place)
            before = bench.running()
            place.rmdir()
            await engine.reloadconfig()
            assert bench.running() == before, "what runs stays as it is"

    story(run)


def test_orders_follow_one_another(bench: Bench) -> None:
    async def run() -> None:
        async with bench.engine(WEB + TWO) as engine:
            await bench.until_active(engine)
            given = [{"cmd": "/bin/sleep 98"}, {"cmd": "/bin/sleep 99", "priority": "1"}, {"max_retry": "3"}]
            await asyncio.gather(*(engine.set_options("web", texts) for texts in given))
            assert engine.snapshot().by_hand == {"web": "set by hand: cmd, max_retry, priority"}
            assert {tuple(row["argv"]) for row in bench.papa.rows() if row["running"]} == {("/bin/sleep", "99")}

    story(run)
