"""Who names whom: as spelled, known, no plugin, and no circle; all problems at once, each with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from circus.config.build import Builder, Draft
from circus.config.read import read


def built(tmp_path: Path, text: str, name: str = "c.ini") -> Draft:
    path = tmp_path / name
    path.write_text(text)
    return Builder(read(str(path), {}), {}).build()


def told(tmp_path: Path, text: str) -> list[str]:
    findings = built(tmp_path, text).findings
    assert all(each.hint for each in findings)
    return [f"{each.line} {each.severity}: {each.what} ({each.hint})" for each in findings]


DB = "[watcher:db]\ncmd = /bin/true\n"
INI = "[watcher:web]\ncmd = /bin/true\nafter = LOG\nrequires = DB socket:Front\nwants = db\n"
TOML = '[watcher.web]\ncmd = "/bin/true"\nafter = ["LOG"]\nrequires = ["DB", "socket:Front"]\nwants = ["db"]\n'
REST_TOML = '[watcher.db]\ncmd = "/bin/true"\n[watcher.log]\ncmd = "/bin/true"\n[socket.front]\nport = 0\n'


@pytest.mark.parametrize(
    ("text", "name"),
    [(INI + DB + "[watcher:log]\ncmd = /bin/true\n[socket:front]\nport = 0\n", "c.ini"), (TOML + REST_TOML, "c.toml")],
)
def test_names_are_found_in_any_case_and_kept_as_they_are_spelled(tmp_path: Path, text: str, name: str) -> None:
    draft = built(tmp_path, text, name)
    assert draft.findings == []
    (web,) = (config for config in draft.config.watchers if config.name == "web")
    assert (web.after, web.requires, web.wants) == (("log",), ("db", "socket:front"), ("db",))


def test_they_are_obeyed_without_new_processes(tmp_path: Path) -> None:
    plain = built(tmp_path, "[watcher:web]\ncmd = /bin/true\n" + DB).config.watchers[0]
    bound = built(tmp_path, "[watcher:web]\ncmd = /bin/true\nrequires = db\n" + DB).config.watchers[0]
    assert plain.digest == bound.digest


def test_an_unknown_name_is_an_error_and_a_warning_where_it_is_only_wanted(tmp_path: Path) -> None:
    text = "[watcher:web]\ncmd = /bin/true\nafter = dbb\nrequires = cache\nwants = mail socket:front\n"
    assert told(tmp_path, text + DB) == [
        "4 error: web: requires names cache, which is not defined "
        "(write a section [watcher:cache], or remove the name)",
        "5 warning: web: wants names mail, which is not defined (write a section [watcher:mail], or remove the name)",
        "5 warning: web: wants names socket:front, which is not defined "
        "(write a section [socket:front], or remove the name)",
        "3 error: web: after names dbb, which is not defined (did you mean db?)",
    ]
    assert built(tmp_path, text + DB).config.watchers[0].wants == ()


def test_a_plugin_may_not_be_named(tmp_path: Path) -> None:
    text = "[watcher:web]\ncmd = /bin/true\nwants = plugin:ours\n[plugin:ours]\nuse = a.b.C\n"
    assert told(tmp_path, text) == ["3 error: web: wants names plugin:ours, a plugin (name watchers and sockets)"]


def test_an_option_of_a_plugin_of_ones_own_may_have_such_a_name(tmp_path: Path) -> None:
    draft = built(tmp_path, "[plugin:ours]\nuse = a.b.C\nafter = web\n")
    assert draft.findings == []
    assert draft.config.watchers[0].extra["after"] == "web"


def test_a_circle_is_printed_from_its_first_watcher_on(tmp_path: Path) -> None:
    text = (
        "[watcher:alone]\ncmd = /bin/true\n"
        "[watcher:web]\ncmd = /bin/true\nafter = alone\nrequires = db\n"
        "[watcher:cache]\ncmd = /bin/true\nafter = web\n"
        "[watcher:db]\ncmd = /bin/true\nwants = cache\n"
        "[watcher:self]\ncmd = /bin/true\nafter = self\n"
    )
    hint = "(take one of the names away: each of them would wait for the next)"
    assert sorted(told(tmp_path, text)) == [
        f"15 error: self: after makes a circle, self -> self {hint}",
        f"6 error: web: requires makes a circle, web -> db -> cache -> web {hint}",
    ]
