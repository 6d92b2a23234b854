"""What an edit changes, and what it leaves alone."""

from __future__ import annotations

import tempfile
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circus.config import expand
from circus.config.diff import CircusChange, ConfigPlan, SocketChange, diff
from circus.config.load import load
from circus.config.model import CircusConfig, SocketConfig, WatcherConfig
from circus.config.validate import Host

BASE = """\
[circus]
loglevel = info
[env]
A = secret-1
[watcher:web]
cmd = run $(circus.sockets.one)
numprocesses = 2
[watcher:job]
cmd = job --password=secret-2
[socket:one]
port = 1
[socket:two]
port = 2
"""


class AnyHost(Host):
    def _answer(self, question: str, subject: str) -> bool:
        return True


class Edit:
    """``plan("old text", "new text")``: the plan that this edit of BASE needs."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path / "c.ini"

    def load(self, text: str, **environ: str) -> CircusConfig:
        self.path.write_text(text)
        return load(str(self.path), environ, host=AnyHost())

    def plan(self, *edits: str) -> ConfigPlan:
        text = BASE
        for old, new in zip(edits[::2], edits[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        return diff(self.load(BASE), self.load(text))


@pytest.fixture
def edit(tmp_path: Path) -> Edit:
    return Edit(tmp_path)


def test_no_edit_is_no_change(edit: Edit) -> None:
    plan = edit.plan()
    assert plan == ConfigPlan(keep=("web", "job"))
    assert plan.is_empty and str(plan) == "nothing changes"


def test_comments_order_and_spelling_are_no_change(edit: Edit) -> None:
    plan = edit.plan("[watcher:web]", "\n# a comment\n[watcher:web]", "numprocesses = 2", "numprocesses: 02 ; two")
    assert plan.is_empty
    swapped = BASE.replace("[socket:one]\nport = 1\n", "") + "[socket:one]\nport = 1\n"
    assert diff(edit.load(BASE), edit.load(swapped)).is_empty


def test_a_start_in_another_shell_is_no_change(edit: Edit) -> None:
    text = "[env]\nPATH = /x:$PATH\n[watcher:w]\ncmd = run\ncopy_env = yes\n"
    one, two = edit.load(text, PATH="/a", HOME="/h"), edit.load(text, PATH="/b", HOME="/i")
    assert one.watchers[0].digest == two.watchers[0].digest


def test_a_watcher_can_come_and_go(edit: Edit) -> None:
    plan = edit.plan("[watcher:job]\ncmd = job", "[watcher:new]\ncmd = job")
    assert (plan.keep, plan.add, plan.remove, plan.change) == (("web",), ("new",), ("job",), ())
    assert str(plan) == "new: is added\njob: is stopped and removed"


def test_a_number_is_changed_live(edit: Edit) -> None:
    plan = edit.plan("numprocesses = 2", "numprocesses = 4\nautostart = no\nwarmup_delay = 0.5")
    (change,) = plan.change
    assert (change.new.name, change.new.numprocesses, change.restart) == ("web", 4, False)
    assert change.reasons == ("numprocesses 2 -> 4", "warmup_delay 0 -> 0.5", "autostart true -> false")
    assert str(plan) == f"web: changes live: {', '.join(change.reasons)}"


def test_removing_an_option_is_a_change(edit: Edit) -> None:
    (change,) = edit.plan("numprocesses = 2\n", "").change
    assert (change.reasons, change.restart) == (("numprocesses 2 -> 1",), False)


def test_a_command_needs_a_restart_and_is_not_shown(edit: Edit) -> None:
    plan = edit.plan("secret-2", "secret-3")
    (change,) = plan.change
    assert (change.new.name, change.restart, change.reasons) == ("job", True, ("cmd",))
    assert "secret" not in str(plan)
    new, restart, reasons = change
    assert (new.name, restart, reasons) == ("job", True, ("cmd",))


def test_an_environment_needs_a_restart_and_only_its_names_are_shown(edit: Edit) -> None:
    plan = edit.plan("A = secret-1", "A = secret-9\nB = 1")
    assert [(each.new.name, each.restart, each.reasons) for each in plan.change] == [
        ("web", True, ("env (A, B)",)), ("job", True, ("env (A, B)",)),
    ]  # fmt: skip
    assert "secret" not in str(plan)


def test_a_default_that_is_written_out_restarts_because_digests_know_what_is_written(edit: Edit) -> None:
    (change,) = edit.plan("numprocesses = 2", "numprocesses = 2\nshell = no").change
    assert (change.restart, change.reasons) == (True, ("shell as written",))


def test_streams_hooks_flapping_and_own_options_change_live(edit: Edit) -> None:
    more = "hooks.before_start = a.b\nflapping.window = 3\nstdout_stream.filename = f\nport_base = 1"
    (change,) = edit.plan("numprocesses = 2", f"numprocesses = 2\n{more}").change
    assert change.restart is False
    assert change.reasons == ("stdout_stream", "hooks (before_start)", "flapping", "extra (port_base)")


def test_limits_are_shown_by_name(edit: Edit) -> None:
    (change,) = edit.plan("numprocesses = 2", "numprocesses = 2\nrlimit_nofile = 9").change
    assert (change.restart, change.reasons) == (True, ("rlimits (nofile)",))


def test_an_option_without_effect_changes_nothing(edit: Edit) -> None:
    assert edit.plan("numprocesses = 2", "numprocesses = 2\nvirtualenv_py_ver = 3").is_empty


def test_only_the_watchers_of_a_changed_socket_restart(edit: Edit) -> None:
    plan = edit.plan("port = 1", "port = 3")
    assert plan.sockets_change == {"one": SocketChange(True, ("port 1 -> 3",))}
    assert [(each.new.name, each.restart, each.reasons) for each in plan.change] == [("web", True, ("socket one",))]
    assert plan.keep == ("job",)
    assert str(plan) == "socket one: is opened anew: port 1 -> 3\nweb: restarts: socket one"


def test_a_socket_can_change_live(edit: Edit) -> None:
    plan = edit.plan("port = 1", "port = 1\nuse_papa = yes")
    assert plan.sockets_change == {"one": SocketChange(False, ("use_papa false -> true",))}
    assert plan.change == ()
    assert str(plan) == "socket one: changes live: use_papa false -> true"


def test_a_default_of_a_socket_that_is_written_out_is_the_same_socket(edit: Edit) -> None:
    assert edit.plan("port = 1", "port = 1\nhost = localhost").is_empty


def test_sockets_can_come_and_go(edit: Edit) -> None:
    plan = edit.plan("[socket:two]", "[socket:three]")
    assert (plan.sockets_add, plan.sockets_remove, plan.change) == (("three",), ("two",), ())
    assert str(plan) == "socket three: is opened\nsocket two: is closed"


def test_a_watcher_that_gets_all_sockets_restarts_with_any_of_them(edit: Edit) -> None:
    text = BASE + "[watcher:all]\ncmd = run\nuse_sockets = yes\n"
    plan = diff(edit.load(text), edit.load(text.replace("[socket:two]", "[socket:three]")))
    assert [(each.new.name, each.reasons) for each in plan.change] == [("all", ("socket three", "socket two"))]


def test_a_change_of_circus_touches_no_watcher(edit: Edit) -> None:
    plan = edit.plan("loglevel = info", "loglevel = debug\nwarmup_delay = 2\nname = x")
    assert plan.keep == ("web", "job")
    assert plan.circus_changes == (
        CircusChange("name", True, "name"),
        CircusChange("warmup_delay", True, "warmup_delay 0 -> 2"),
        CircusChange("loglevel", True, "loglevel"),
    )
    assert "[circus] loglevel (needs a restart of circusd)" in str(plan)


def test_use_papa_of_circus_reaches_the_watchers_live(edit: Edit) -> None:
    plan = edit.plan("loglevel = info", "loglevel = info\nuse_papa = yes")
    assert [(each.new.name, each.restart) for each in plan.change] == [("web", False), ("job", False)]
    assert plan.circus_changes == (CircusChange("use_papa", False, "use_papa false -> true"),)


# Whatever two files say ------------------------------------------------------------------------------------------

OPTIONS = {
    "numprocesses": ["1", "3"],
    "use_papa": ["true", "false"],
    "priority": ["1", "2"],
    "working_dir": ["/", "/tmp"],
    "stop_signal": ["INT", "15"],
    "graceful_timeout": ["1", "1.0", "2s"],
    "env.A": ["one", "two"],
    "hooks.after_start": ["os.path.exists", "os.path.isdir,true"],
    "stdout_stream.filename": ["/log/a", "/log/b"],
    "use_sockets": ["true", "false"],
    "flapping.attempts": ["3", "4"],
    "of_my_own": ["this", "that"],
}
COMMANDS = ["run", "run $(circus.sockets.one)", "run $(circus.sockets.two) fast"]


def section(name: str, **options: list[str]) -> st.SearchStrategy[str]:
    """Some of the options, each with one of its values; or no such section."""
    chosen = st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in options.items()})
    return chosen.map(lambda found: "".join([f"[{name}]\n", *(f"{key} = {value}\n" for key, value in found.items())]))


def watcher(name: str) -> st.SearchStrategy[str]:
    command = st.sampled_from(COMMANDS).map(lambda text: f"cmd = {text}\n")
    return st.just("") | st.tuples(section(f"watcher:{name}", **OPTIONS), command).map("".join)


FILES = st.tuples(
    section("circus", loglevel=["info", "debug"], warmup_delay=["0", "1"], use_papa=["true"]),
    section("env", B=["x", "y"]),
    *(watcher(name) for name in ("web", "job", "db")),
    section("socket:one", port=["1", "2"], backlog=["5", "6"]),
    st.just("host = localhost\n"),
    section("socket:two", port=["3"], so_reuseport=["true", "false"]),
    st.just("host = 127.0.0.2\n"),
    st.sampled_from(["", "[socket:three]\nport = 4\n"]),
).map("".join)


def essence(config: WatcherConfig | SocketConfig) -> dict[str, object]:
    """All that is obeyed; not where it was read, nor whether a default of a socket was written out."""
    names = {each.name for each in fields(config)} - {"file", "line", "written"}
    names -= {"digest"} if isinstance(config, SocketConfig) else set()
    return {name: getattr(config, name) for name in names}


def applied(plan: ConfigPlan, before: CircusConfig, after: CircusConfig) -> dict[str, dict[str, object]]:
    """What runs when the plan was carried out, as circusd does it: the rest of ``after`` is not looked at."""
    new = {each.name: each for each in after.watchers}
    result = {each.name: essence(each) for each in before.watchers if each.name not in plan.remove}
    result |= {name: essence(new[name]) for name in plan.add}
    return result | {change.new.name: essence(change.new) for change in plan.change}


@settings(deadline=None)
@given(FILES, FILES)
def test_a_plan_that_is_carried_out_leads_to_the_new_file(one: str, other: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        edit = Edit(Path(folder))
        before, after = edit.load(one), edit.load(other)
    plan = diff(before, after)
    assert applied(plan, before, after) == {each.name: essence(each) for each in after.watchers}
    sockets = {each.name: essence(each) for each in before.sockets if each.name not in plan.sockets_remove}
    sockets |= {
        each.name: essence(each) for each in after.sockets if each.name in {*plan.sockets_add, *plan.sockets_change}
    }
    assert sockets == {each.name: essence(each) for each in after.sockets}
    assert diff(after, after).is_empty
    # Who must start anew does so, and nobody else.
    old = {each.name: each for each in before.watchers}
    moved = {name for name, change in plan.sockets_change.items() if change.reopen}
    moved |= {*plan.sockets_add, *plan.sockets_remove}
    for change in plan.change:
        used = {*expand.sockets_used(change.new, before.sockets), *expand.sockets_used(change.new, after.sockets)}
        must = change.new.digest != old[change.new.name].digest or bool(used & moved)
        assert change.restart == must, change
