"""Plans: what is said before it is done, what is never said, and whether the world has moved."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from circus.config import amend, causes, options, plan
from circus.config.amend import NOTHING, Edits
from circus.config.causes import Cause
from circus.config.load import amended, examine, load
from circus.config.model import CircusConfig
from circus.config.options import Option
from circus.config.plan import Item, Plan, Up, World, make, moved
from circus.config.plan_text import MAX_KEPT, WIDTH, text_of
from circus.config.validate import Host

BASE = """\
[circus]
loglevel = info
[env]
A = secret-1
[socket:front]
host = 127.0.0.1
port = 8080
[socket:old]
port = 81
[watcher:web]
cmd = /srv/bin/web --fd $(circus.sockets.front)
numprocesses = 2
[watcher:job]
cmd = /srv/bin/job --token $(circus.env.TOKEN)
env_file = job.env
[watcher:idle]
cmd = /srv/bin/idle
[watcher:gone]
cmd = /srv/bin/gone
[watcher:away]
cmd = /srv/bin/away
[watcher:rest]
cmd = /srv/bin/rest
"""

EDITS = {
    "loglevel = info\n": "loglevel = debug\nuse_papa = yes\n",
    "port = 8080": "port = 8081",
    "[socket:old]": "[socket:new]",
    "numprocesses = 2": "numprocesses = 4\ngraceful_timeout = 7\nstdout_stream.filename = /var/log/web.log",
    "/srv/bin/idle": "/srv/bin/idle --with=a-rather-long-option --and=one-more --and=another-one",
    "[watcher:gone]\ncmd = /srv/bin/gone\n": "[watcher:fresh]\ncmd = /srv/bin/fresh\n",
    "[watcher:away]\ncmd = /srv/bin/away\n": "[watcher:later]\ncmd = /srv/bin/later\nautostart = no\n",
}

GOLDEN = """\
live     [circus]
           use_papa: false -> true (circus.ini:3)
later    [circus]: in force after a restart of circusd
           loglevel: info -> debug (circus.ini:2)
open     socket new (circus.ini:9)
reopen   socket front
           port: 8080 -> 8081 (circus.ini:8)
           use_papa: false -> true (circus.ini:3)
restart  web
           numprocesses: 2 -> 4 (circus.ini:13)
           graceful_timeout: 30 -> 7 (circus.ini:14)
           use_papa: false -> true (circus.ini:3)
           stdout_stream.filename: unset -> /var/log/web.log (circus.ini:15)
           socket front (circus.ini:6)
restart  job
           cmd: /srv/bin/job --token $(circus.env.TOKEN), by its variables
             (circus.ini:17)
           env B: new (job.env:2)
           env TOKEN: changed (job.env:1)
           use_papa: false -> true (circus.ini:3)
live     idle: is stopped: obeyed from its next start on
           cmd: /srv/bin/idle
             -> /srv/bin/idle --with=a-rather-long-option --and=one-more
                --and=another-one (circus.ini:20)
           use_papa: false -> true (circus.ini:3)
live     rest
           use_papa: false -> true (circus.ini:3)
start    fresh (circus.ini:21)
add      later: not started: autostart = false (circus.ini:23)
stop     gone
remove   away
close    socket old
not from the file:
  rest: set by hand: priority
  web: numprocesses 3 by hand, overruled by the file: 4"""


class AnyHost(Host):
    def _answer(self, question: str, subject: str) -> bool:
        return True


UP = {name: Up(True, True, 1) for name in ("web", "job", "gone", "rest")} | {
    name: Up(False, False, 1) for name in ("idle", "away")
}


@dataclass
class Bench:
    folder: Path
    text: str = BASE
    edits: Edits = NOTHING
    host: Host = field(default_factory=AnyHost)

    def load(self, text: str, token: str = "secret-2") -> CircusConfig:
        (self.folder / "job.env").write_text(token)
        path = self.folder / "circus.ini"
        path.write_text(text)
        return load(str(path), {}, host=self.host)

    def world(self, **changes: Any) -> World:
        running = self.load(self.text, "TOKEN=secret-2\n")
        if self.edits != NOTHING:
            running = amended(running, self.edits, {}, (), host=self.host)
        return replace(World(running, self.edits, UP, sockets={"front": 4, "old": 5}), **changes)

    def plan(self, text: str, token: str = "TOKEN=secret-2\n", world: World | None = None, **more: Any) -> Plan:
        new = self.load(text, token)
        assert new.document is not None
        edits = amend.in_force(new.document, self.edits)
        if edits != NOTHING:
            new = amended(new, edits, {}, (), host=self.host)
        given: dict[str, Any] = {"unheeded": {}, "files": new.document.digests, "environ": {}, **more}
        return make(world or self.world(), new, edits, **given)

    def said(self, plan: Plan, *, is_done: bool = False) -> str:
        return text_of(plan, base=str(self.folder), is_done=is_done)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def edited(**more: str) -> str:
    text = BASE
    for old, new in {**EDITS, **more}.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def causes_of(plan: Plan, name: str) -> list[Cause]:
    (item,) = [each for each in plan.items if each.name == name]
    return list(item.causes)


def values_of(plan: Plan, name: str) -> dict[str, tuple[str | None, str | None]]:
    return {each.option: (each.old, each.new) for each in causes_of(plan, name)}


# What is said -----------------------------------------------------------------------------------------------


def test_a_plan_reads_well_within_eighty_columns(bench: Bench) -> None:
    rest = amend.with_options(bench.world().running.document, NOTHING, "rest", {"priority": "3"})  # type: ignore[arg-type]
    bench.edits = rest
    text = bench.said(bench.plan(edited(), "TOKEN=secret-3\nB=1\n", bench.world(counts={"web": 3})))
    assert text == GOLDEN
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "secret-" not in text


def test_after_it_was_done_it_reads_in_the_past(bench: Bench) -> None:
    text = bench.said(bench.plan(edited()), is_done=True)
    assert text.startswith("changed live  [circus]\n                use_papa: false -> true (circus.ini:3)\nlater ")
    verbs = [line.split("  ")[0] for line in text.splitlines() if line[0] != " "]
    assert verbs == [
        *("changed live", "later", "opened", "opened anew", "restarted", "changed live", "changed live"),
        *("changed live", "started", "added", "stopped", "removed", "closed"),
    ]


def test_what_stays_is_named_and_where_there_is_much_of_it_counted(bench: Bench) -> None:
    plan = bench.plan(BASE.replace("loglevel = info", "loglevel = debug"))
    assert bench.said(plan).splitlines()[2:] == ["keep   web, job, idle, gone, away, rest, socket front, socket old"]
    many = tuple(Item("watcher", f"w{number}", "keep") for number in range(MAX_KEPT))
    socket = Item("socket", "front", "keep")
    assert bench.said(replace(plan, items=(*plan.items[:1], *many, socket))).splitlines()[2:] == [
        f"keep   {MAX_KEPT} watchers, 1 socket"
    ]


def test_who_requires_what_restarts_does_so_too_and_what_a_new_one_needs_is_started(bench: Bench) -> None:
    bench.text = (
        "[watcher:db]\ncmd = /srv/bin/db\n[watcher:cache]\ncmd = /srv/bin/cache\nrequires = db\n"
        "[watcher:web]\ncmd = /srv/bin/web\nrequires = cache\nwants = spare\n"
        "[watcher:fan]\ncmd = /srv/bin/fan\nwants = db\n[watcher:off]\ncmd = /srv/bin/off\nrequires = db\n"
        "[watcher:spare]\ncmd = /srv/bin/spare\nautostart = no\n[watcher:held]\ncmd = /srv/bin/held\n"
    )
    up = {name: Up(True, True, 1) for name in ("db", "cache", "web", "fan")}
    up |= {name: Up(False, False, 1) for name in ("off", "spare", "held")}
    new = "[watcher:new]\ncmd = /srv/bin/new\nwants = spare held\n"
    text = bench.text.replace("bin/db", "bin/database") + new
    plan = bench.plan(text, world=bench.world(up=up, stopped=frozenset({"held"})))
    assert {item.name: (item.verb, item.note) for item in plan.items} == {
        "db": ("restart", ""),
        "cache": ("restart", "requires db, which restarts"),
        "web": ("restart", "requires cache, which restarts"),
        "fan": ("keep", ""),
        "off": ("keep", ""),
        "new": ("start", ""),
        "spare": ("start", "needed by new"),
        "held": ("keep", ""),
    }


def test_no_edit_is_no_change(bench: Bench) -> None:
    plan = bench.plan(BASE)
    assert {item.verb for item in plan.items} == {"keep"}
    assert (bench.said(plan), bench.said(plan, is_done=True)) == ("nothing changes", "nothing changed")


def test_every_change_has_its_item_and_every_item_its_cause(bench: Bench) -> None:
    plan = bench.plan(edited())
    named = {(item.kind, item.name): item for item in plan.items if item.verb != "keep"}
    for change in plan.changes.change:
        item = named.pop(("watcher", change.new.name))
        assert item.causes
        is_up = UP[change.new.name].is_wanted
        assert item.verb == ("restart" if change.restart and is_up else "live")
    for name, each in plan.changes.sockets_change.items():
        item = named.pop(("socket", name))
        assert (item.verb, bool(item.causes)) == ("reopen" if each.reopen else "live", True)
    rest = {(kind, name, item.verb) for (kind, name), item in named.items() if kind != "circus"}
    assert rest == {
        *(("watcher", "fresh", "start"), ("watcher", "later", "add"), ("watcher", "gone", "stop")),
        *(("watcher", "away", "remove"), ("socket", "new", "open"), ("socket", "old", "close")),
    }


def test_a_watcher_that_is_new_starts_unless_somebody_has_stopped_it(bench: Bench) -> None:
    text = BASE + "[watcher:Fresh]\ncmd = x\n"
    assert bench.plan(text).items[0][1:5] == ("Fresh", "start", (), "")
    stopped = bench.plan(text, world=bench.world(stopped=frozenset({"fresh"}))).items[0]
    assert (stopped.verb, stopped.note) == ("add", "not started: stopped by hand")
    left = bench.plan(text, world=bench.world(left=frozenset({"fresh"}))).items[0]
    assert (left.verb, left.note) == ("start", "with the processes that rm --nostop left")


def test_of_jobs_it_is_said_whether_they_run(bench: Bench) -> None:
    bench.text = BASE.replace("cmd = /srv/bin/rest", "cmd = /srv/bin/rest\nschedule = @daily").replace(
        "cmd = /srv/bin/gone", "cmd = /srv/bin/gone\ntype = oneshot"
    )
    new = bench.text.replace("@daily", "@hourly").replace("/srv/bin/gone", "/srv/bin/gone -v")
    new += "[watcher:night]\ncmd = x\nschedule = @daily\n[watcher:lazy]\ncmd = x\non_demand = yes\nuse_sockets = yes\n"
    plan = bench.plan(new)
    assert {item.name: (item.verb, item.note) for item in plan.items if item.verb != "keep"} == {
        "gone": ("restart", "a job: it runs again"),
        "rest": ("live", "its next run obeys, one that goes on comes to its end"),
        "night": ("start", "runs when its time has come"),
        "lazy": ("start", "runs when a connection comes"),
    }
    assert values_of(plan, "rest") == {"schedule": ("@daily", "@hourly")}


def test_a_line_may_come_from_any_file_and_from_default(bench: Bench) -> None:
    other = bench.folder / "more.ini"
    other.write_text("[watcher:web]\npriority = 3\n[DEFAULT]\nrespawn = no\n")
    plan = bench.plan(BASE.replace("[circus]\n", "[circus]\ninclude = more.ini\n"))
    assert [(each.option, each.file, each.line) for each in causes_of(plan, "web")] == [
        ("priority", str(other), 2), ("respawn", str(other), 4),
    ]  # fmt: skip


def test_an_option_that_is_gone_has_no_place_and_shows_the_default(bench: Bench) -> None:
    plan = bench.plan(BASE.replace("numprocesses = 2\n", ""))
    assert causes_of(plan, "web") == [Cause("numprocesses", "2", "1")]
    assert bench.said(plan).splitlines()[1] == "        numprocesses: 2 -> 1"


def test_options_of_a_prefix_limits_and_those_of_hooks_are_said_one_by_one(bench: Bench) -> None:
    bench.text = BASE.replace("= 2\n", "= 2\nrlimit_nofile = 8\nhooks.before_start = os.path.exists\nport_base = 1\n")
    new = BASE.replace(
        "= 2\n", "= 2\nrlimit_nofile = 9\nhooks.before_start = os.path.isdir,true\nflapping.attempts = 3\n"
    )
    plan = bench.plan(new)
    assert values_of(plan, "web") == {
        "rlimit_nofile": ("8", "9"),
        "hooks.before_start": ("os.path.exists", "os.path.isdir,true"),
        "flapping.attempts": (None, "3"),
        "port_base": ("1", None),
    }
    common = "[plugin:flapping]\nattempts = 3\n"
    assert causes_of(bench.plan(bench.text + common), "web") == [Cause("flapping", is_hidden=True)]
    bench.text += common
    assert values_of(bench.plan(bench.text.replace("attempts = 3", "attempts = 4\nwindow = 9")), "web") == {
        "flapping.attempts": ("3", "4"),
        "flapping.window": ("1", "9"),
    }


def test_a_default_that_is_written_out_is_a_cause_as_it_is_written(bench: Bench) -> None:
    plan = bench.plan(BASE.replace("numprocesses = 2", "numprocesses = 2\nshell = no"))
    assert [each[:3] for each in causes_of(plan, "web")] == [("shell as written", None, "no")]
    assert plan.items[0].verb == "restart"


def test_what_is_reloaded_and_may_go_back_is_said_by_a_verb_of_its_own(bench: Bench) -> None:
    plan = bench.plan(BASE.replace("numprocesses = 2", "numprocesses = 2\nshell = no\nupdate = roll"))
    assert plan.items[0].verb == "roll"
    assert bench.said(plan).startswith("roll")
    assert str(plan.changes).startswith("web: rolls: ")


def test_of_what_was_taken_back_the_text_is_that_which_runs(bench: Bench) -> None:
    world = bench.world()
    broken = bench.load(BASE.replace("/srv/bin/web", "/srv/bin/broken"), "TOKEN=secret-2\n")
    world = replace(world, running=replace(world.running, document=broken.document))
    broken_too = BASE.replace("/srv/bin/web", "/srv/bin/broken")
    (cause,) = causes_of(bench.plan(broken_too, world=world), "web")
    assert cause.is_hidden, "what runs is not what is written there, and nobody knows the text"
    world = replace(world, texts={"web": (bench.world().running.document, NOTHING)})
    assert values_of(bench.plan(broken_too, world=world), "web")["cmd"] == (
        "/srv/bin/web --fd $(circus.sockets.front)", "/srv/bin/broken --fd $(circus.sockets.front)",
    )  # fmt: skip
    world = replace(world, texts={"web": (None, NOTHING)})
    found = values_of(bench.plan(broken_too.replace("= 2", "= 3"), world=world), "web")
    assert found == {"cmd": ("", ""), "numprocesses": ("2", "3")}, "nobody knows which variables it was made of"


#: For each type of an option one that is good, and not what is there already.
CANDIDATES = (
    *("3", "7", "0.5", "true", "false", "/x", "some", "9s", "30%", "50M", "udp://127.0.0.1:9", "AF_INET6", "dgram"),
    *("INT", "midnight", "json", "red", "local1", "err", "debug", "drop-oldest", "roll", "tree", "report", "restart"),
    *("http http://127.0.0.1:1/", "oneshot", "0 3 * * *", "UTC", "queue", "all", "unix:///run/x", "022", "stop"),
)
#: What some options need beside them.
COMPANIONS = "stdout_stream.time_format = %s\nlimits.memory = 1g\nhealth.check = tcp 127.0.0.1:1\n"

OPTIONS = [
    *(("watcher", "", option) for option in options.WATCHER.values()),
    *(("watcher", f"{name}.", option) for name, family in options.FAMILIES.items() for option in family.values()),
    *(("watcher", "stdout_stream.", option) for option in options.STREAM.values()),
    *(("socket", "", option) for option in options.SOCKET.values()),
    *(("circus", "", option) for option in options.CIRCUS.values()),
]
SECTIONS = {"watcher": "[watcher:web]", "socket": "[socket:front]", "circus": "[circus]"}


@pytest.mark.parametrize(
    ("kind", "prefix", "option"),
    [pytest.param(*each, id=f"{each[0]}-{each[1]}{each[2].name}") for each in OPTIONS if not each[2].idle],
)
def test_whatever_option_differs_is_named_by_its_cause(bench: Bench, kind: str, prefix: str, option: Option) -> None:
    if option.name in ("include", "include_dir", "env_file"):
        return  # of which only what stands in the files is obeyed
    key, path, header = f"{prefix}{option.name}", bench.folder / "circus.ini", SECTIONS[kind]
    base = re.sub(rf"^{re.escape(key)} = .*\n", "", BASE, flags=re.MULTILINE)
    beside = "".join(line for line in COMPANIONS.splitlines(keepends=True) if line.startswith(prefix or "-"))
    if beside and not beside.startswith(key):
        base = base.replace("[watcher:web]\n", f"[watcher:web]\n{beside}")

    def built(text: str) -> CircusConfig:
        path.write_text(text)
        return examine(str(path), {}, host=bench.host)[0].config

    before = built(base)
    said = (key, f"{key} as written")
    for candidate in CANDIDATES:
        after = built(base.replace(header, f"{header}\n{key} = {candidate}"))
        made = make(World(before, up=UP), after, NOTHING, unheeded={}, files={}, environ={})
        changes = {"watcher": made.changes.change, "socket": made.changes.sockets_change}
        if not changes.get(kind, made.changes.circus_changes):
            continue  # wrong, or what it was
        found = [cause for item in made.items if item.kind == kind for cause in item.causes if cause.option in said]
        assert found, candidate
        assert (found[0].file, found[0].is_hidden, found[0].old != found[0].new) == (str(path), False, True)


# What is never said -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "option", "shown"),
    [
        ("my_token = hush-1", "my_token = hush-2", "my_token", ("", "")),
        ("API_KEY = hush-1", "x = 1", "API_KEY", ("", None)),
        ("x = 1", "redis_Password = hush-1", "redis_Password", (None, "")),
        ("env.COLOR = hush-1", "env.COLOR = hush-2", "env COLOR", ("", "")),
        ("url = redis://u:hush-1@h/", "url = redis://u:hush-2@h/1", "url", ("redis://***@h/", "redis://***@h/1")),
        (
            "url = http://h/?token=hush-1",
            "url = http://h/x?token=hush-2",
            "url",
            ("http://h/?token=***", "http://h/x?token=***"),
        ),
        ("args = http://h/?token=hush-1", "args = http://h/?token=hush-2", "args", ("", "")),
        ("stdout_stream.secret = hush-1", "stdout_stream.secret = hush-2", "stdout_stream.secret", ("", "")),
    ],
)
def test_secrets_are_named_and_not_told(
    bench: Bench, old: str, new: str, option: str, shown: tuple[str | None, str | None]
) -> None:
    bench.text = BASE.replace(
        "numprocesses = 2", f"numprocesses = 2\nstdout_stream.class = collections.OrderedDict\n{old}"
    )
    plan = bench.plan(bench.text.replace(old, new))
    assert values_of(plan, "web")[option] == shown
    assert "hush" not in repr(plan.items) + bench.said(plan) + repr(plan.by_hand) + str(plan.changes)


def test_a_secret_of_the_environment_stays_a_variable_in_commands(bench: Bench) -> None:
    plan = bench.plan(BASE.replace("job --token", "job -v --token"), "TOKEN=secret-4\n")
    assert "secret-" not in repr(plan.items) + repr(plan.facts)
    cmd = "/srv/bin/job{} --token $(circus.env.TOKEN)"
    assert values_of(plan, "job")["cmd"] == (cmd.format(""), cmd.format(" -v"))


def test_options_of_a_plugin_are_said_and_its_secrets_are_not(bench: Bench) -> None:
    bench.text += "[plugin:mine]\nuse = circus.plugins.base.CircusPlugin\nrate = 1\napi_key = hush-1\npriority = 3\n"
    new = bench.text.replace("rate = 1", "rate = 2").replace("hush-1", "hush-2").replace("priority = 3", "priority = 4")
    plan = bench.plan(new)
    assert values_of(plan, "plugin:mine") == {"priority": ("3", "4"), "rate": ("1", "2"), "api_key": ("", "")}
    assert "hush" not in repr(plan.items)


def test_what_a_terminal_would_obey_is_not_printed(bench: Bench) -> None:
    plan = bench.plan(BASE.replace("/srv/bin/rest", "/srv/bin/rest \x1b[2J"))
    assert "\x1b" not in bench.said(plan) and "[2J" in bench.said(plan)


def test_long_values_are_cut(bench: Bench) -> None:
    made = bench.plan(BASE.replace("/srv/bin/rest", f"/srv/bin/rest {'x' * 5000}"))
    (old, new) = values_of(made, "rest")["cmd"]
    assert old == "/srv/bin/rest"
    assert new is not None and len(new) < causes.MAX_VALUE + 40 and new.endswith("... (4414 characters more)")
    bench.text = BASE.replace("/srv/bin/rest", f"/srv/bin/rest {'x' * 5000}")
    (cause,) = causes_of(bench.plan(bench.text.replace("xxx\n", "xxy\n")), "rest")
    assert cause.is_hidden, "what differs is not what is shown"


def test_more_causes_than_an_answer_has_room_for_are_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    edited = BASE.replace("secret-1", "secret-5")
    (cause,) = bench.plan(edited).items[0].causes
    monkeypatch.setattr(plan, "MAX_CHARACTERS", 4 * (100 + len(cause.option) + len(cause.file)))
    made = bench.plan(edited)
    assert [(len(item.causes), item.note) for item in made.items[:6]] == [
        *[(1, ""), (1, ""), (1, "is stopped: obeyed from its next start on"), (1, "")],
        (0, "is stopped: obeyed from its next start on; 1 more causes, which this plan has no room for"),
        (0, "1 more causes, which this plan has no room for"),
    ]


# Orders by hand ---------------------------------------------------------------------------------------------


def test_what_is_ordered_by_hand_is_told_beside_the_file(bench: Bench) -> None:
    document = bench.world().running.document
    assert document is not None
    edits = amend.with_options(document, NOTHING, "web", {"priority": "3", "graceful_timeout": "5"})
    edits = amend.with_options(document, edits, "job", {"env.HUSH": "hush"})
    edits = amend.with_watcher(amend.with_watcher(edits, "Extra", {"cmd": "x"}), "fresh", {"cmd": "y"})
    bench.edits = amend.without_watcher(document, amend.without_watcher(document, edits, "gone"), "away")
    new = BASE.replace("numprocesses = 2", "numprocesses = 2\npriority = 9").replace("/srv/bin/gone", "/srv/bin/gone2")
    world = bench.world(counts={"web": 3, "idle": 2}, stopped=frozenset({"idle", "nobody"}))
    made = bench.plan(new + "[watcher:fresh]\ncmd = z\n", world=world, unheeded={"rest": "rest: no such directory"})
    assert made.by_hand == {
        "web": (
            "set by hand: graceful_timeout",
            "set by hand, overruled by the file: priority",
            "numprocesses 3 by hand, 2 in the file",
        ),
        "job": ("set by hand: env.HUSH",),
        "Extra": ("added by hand",),
        "fresh": ("added by hand, overruled by the file",),
        "gone": ("removed by hand, brought back by the file",),
        "away": ("removed by hand",),
        "idle": ("numprocesses 2 by hand, 1 in the file", "stopped by hand"),
        "rest": ("rest: no such directory",),
    }
    # What is set by hand does not change by the file, and what it overrules was not in the file.
    assert values_of(made, "web") == {"priority": ("3", "9")}
    assert [item.verb for item in made.items if item.name == "gone"] == ["start"]


def test_only_new_warnings_are_said(bench: Bench) -> None:
    bench.text = BASE.replace("numprocesses = 2", "numprocesses = 2\nnumproceses = 3")
    assert bench.plan(f"\n{bench.text}").warnings == ()
    (warning,) = bench.plan(bench.text.replace("loglevel", "logleve")).warnings
    assert "unknown option logleve" in str(warning)


# Whether the world has moved --------------------------------------------------------------------------------


def test_the_id_is_the_same_while_nothing_has_moved(bench: Bench) -> None:
    one, other = bench.plan(edited()), bench.plan(edited())
    assert (one.id, len(one.id)) == (other.id, plan.ID_LENGTH)
    assert moved(one.facts, other.facts) == ""


def up(**changes: Up) -> dict[str, Up]:
    return {**UP, **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"up": up(web=Up(False, False, 1))}, "web was stopped"),
        ({"up": up(web=Up(False, True, 1)), "stopped": frozenset({"web"})}, "web was stopped"),
        ({"up": up(idle=Up(True, True, 1))}, "idle was started"),
        ({"up": up(web=Up(True, True, 3))}, "numprocesses of web is 3, not 1"),
        ({"up": up(idle=Up(False, True, 1))}, "idle has processes"),
        ({"up": up(more=Up(True, True, 1))}, "watcher more has come"),
        ({"stopped": frozenset({"idle"})}, "idle is stopped by hand"),
        ({"left": frozenset({"x"})}, "processes of x, which was removed, have come"),
        ({"sockets": {"front": 9, "old": 5}}, "socket front was opened"),
        ({"sockets": {"front": 4}}, "socket old was closed"),
        ({"edits": Edits({"web": {"priority": amend.Amendment("3", None)}})}, "other orders by hand about web"),
        ({"edits": Edits(added={"x": {"cmd": "y"}})}, "other orders by hand about x (added)"),
        ({"edits": Edits(removed={"x": "digest"})}, "other orders by hand about x (removed)"),
    ],
)
def test_whatever_moves_gives_another_id_and_is_said(bench: Bench, changes: dict[str, Any], said: str) -> None:
    world = bench.world()
    new = bench.load(edited(), "TOKEN=secret-2\n")
    more: dict[str, Any] = {"unheeded": {}, "files": {"/etc/c.ini": "1"}, "environ": {}}
    before = make(world, new, NOTHING, **more)
    after = make(replace(world, **changes), new, NOTHING, **more)
    assert before.id != after.id
    assert moved(before.facts, after.facts) == said


def test_whatever_was_read_and_whatever_runs_gives_another_id(bench: Bench) -> None:
    world = bench.world()
    new = bench.load(edited(), "TOKEN=secret-2\n")

    def planned(world: World, **files: str) -> Plan:
        return make(world, new, NOTHING, unheeded={}, files=files, environ={})

    before = planned(world, a="1", b="1")
    after = planned(world, b="2", c="1")
    assert moved(before.facts, after.facts) == "a is not read any more; b was changed; c is read now"
    web = replace(world.running.watchers[0], priority=3)
    front = replace(world.running.sockets[0], backlog=9)
    for running, said in (
        (replace(world.running, watchers=(web, *world.running.watchers[1:])), "web runs with other options"),
        (replace(world.running, sockets=(front, *world.running.sockets[1:])), "socket front runs with other options"),
        (replace(world.running, loglevel="debug"), "[circus] runs with other options"),
    ):
        after = planned(replace(world, running=running), a="1", b="1")
        assert (before.id != after.id, moved(before.facts, after.facts)) == (True, said)


def test_of_much_that_has_moved_a_few_are_named(bench: Bench) -> None:
    facts = {("file", str(number)): "1" for number in range(9)}
    assert moved(facts, {}).endswith("4 is not read any more; and 4 things more")
