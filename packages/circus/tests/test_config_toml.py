"""TOML files: the same sections as INI files have, each key with its line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from circus.config import reference
from circus.config.load import examine
from circus.config.model import CircusConfig
from circus.config.read import read
from circus.config.toml import as_toml, key_lines, parse_toml
from circus.config.validate import Host


def sections(text: str) -> dict[str, dict[str, str]]:
    found, findings = parse_toml(text, "c.toml")
    assert findings == []
    return {section.name: {key: entry.value for key, entry in section.entries.items()} for section in found}


def told(text: str) -> list[str]:
    return [str(each) for each in parse_toml(text, "c.toml")[1]]


def examined(folder: Path, **files: str) -> tuple[CircusConfig, list[str]]:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    draft, findings = examine(str(folder / "c.toml"), {"PATH": "/bin"})
    return draft.config, [str(each).replace(f"{folder}/", "") for each in findings]


def test_tables_are_sections_and_tables_in_them_prefixes() -> None:
    text = """
        [circus]
        include = ["a.ini", "b/*.toml"]
        use_papa = true
        [watcher.web]
        cmd = "run"
        numprocesses = 3
        warmup_delay = 0.5
        stdout_stream = {class = "FileStream", filename = "w.log"}
        own.deep.key = 1
        [watcher.web.hooks]
        after_start = "a.b,true"
        [watcher.web.env]
        PORT = 80
        [watcher.web.rlimits]
        nofile = 500
        [watcher."a.b c"]
        [socket.s]
        port = 0
        [plugin.flapping]
        window = 10
        [env]
        A = "1"
        B = false
        [env."w*,x"]
        C = ""
        [DEFAULT]
        priority = 1
    """
    assert sections(text) == {
        "circus": {"include": "a.ini b/*.toml", "use_papa": "true"},
        "watcher:web": {
            "cmd": "run",
            "numprocesses": "3",
            "warmup_delay": "0.5",
            "stdout_stream.class": "FileStream",
            "stdout_stream.filename": "w.log",
            "own.deep.key": "1",
            "hooks.after_start": "a.b,true",
            "env.PORT": "80",
            "rlimit_nofile": "500",
        },
        "watcher:a.b c": {},
        "socket:s": {"port": "0"},
        "plugin:flapping": {"window": "10"},
        "env": {"A": "1", "B": "false"},
        "env:w*,x": {"C": ""},
        "DEFAULT": {"priority": "1"},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1", "c.toml:1: 'a' is no table (write a header like [circus] or [watcher.NAME] above it)"),
        ("[[watcher]]\ncmd = 'x'", "c.toml:1: 'watcher' is no table (write [watcher.NAME])"),
        ("\n[watcher]\ncmd = 'x'", "c.toml:3: [watcher]: cmd stands outside of a [watcher.NAME]"),
        ("[watcher.w]\n\ncmd = ['a']", "c.toml:3: cmd is a list (write a text, a number, true or false)"),
        ("[watcher.w]\nx = [{a = 1}]", "c.toml:2: x is a list"),
        ("[watcher.w]\nx = 1979-05-27", "c.toml:2: x is a date or time"),
        ('[watcher.w]\ncmd = "a\\u0000"', "c.toml:2: cmd has a NUL in it"),
        ("[circus]\numask = 22", 'c.toml:2: umask = 22 may be octal or not (write a text: umask = "022")'),
        ("[circus]\ninclude = ['a b']", "c.toml:2: include: an element is empty or has white space in it"),
        ("[circus]\ninclude = [['a']]", "c.toml:2: include is a list"),
        ("[watcher.w]\ncmd = run\n", "c.toml:2: this is not TOML: Invalid value (texts need quotes; "),
        ("[watcher.w]\ncmd = 1\ncmd = 2", "c.toml:3: this is not TOML: Cannot overwrite a value"),
        ("[watcher.w]\ncmd = '''\nrun", "c.toml:3: this is not TOML: "),
        ("a = " + "[" * 100_000, "c.toml: this is nested too deeply"),
        ("a = " + "1" * 5000, "c.toml:1: this is not TOML: "),
    ],
)
def test_what_cannot_be_a_configuration_is_one_finding(text: str, said: str) -> None:
    (found,) = told(text)
    assert found.startswith(said)


def test_a_fault_in_a_value_has_the_line_and_the_words_of_the_file(tmp_path: Path) -> None:
    text = """\
[circus]
namee = "x"
[watcher.web]
cmd = '''
sleep 1'''
stdout_stream = { filename = "x", max_bytes = "ten" }
[watcher.web.hooks]
after_start = "a"
[env."w*,x"]
A = "$(circus.env.NO)"
[watcher."w.2"]
cmd = "sleep 1 $(circus.sockets.web)"
"""
    _, said = examined(tmp_path, c_toml=text)
    assert [each.partition(" (")[0] for each in said] == [
        "c.toml:2: [circus]: unknown option namee",
        "c.toml:6: web: stdout_stream.max_bytes = 'ten' is not a size",
        "c.toml:8: web: hooks.after_start = 'a' is not the path of a function",
        'c.toml:9: [env."w*,x"]: no watcher is named x',
        'c.toml:10: [env."w*,x"]: A refers to circus.env.NO, which is not known',
        "c.toml:12: w.2: cmd refers to socket web, which is not defined",
    ]
    assert said[-1].endswith("(write a section [socket.web])")


def test_includes_may_mix_both_and_the_first_value_counts(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    config, said = examined(
        tmp_path,
        c_toml='[circus]\ninclude = ["a.ini"]\ninclude_dir = ["d"]\n[watcher.web]\ncmd = "sleep 1"\n',
        a_ini="[watcher:web]\ncmd = sleep 2\nargs = 3\n",
        **{"d/b_toml": "[watcher.db]\ncmd = 'sleep 4'\n", "d/c_ini": "[env]\nPATH = /bin\n"},
    )
    assert [(each.name, each.cmd, each.args) for each in config.watchers] == [
        ("web", "sleep 1", "3"),
        ("db", "sleep 4", ""),
    ]
    assert config.env == {"PATH": "/bin"}
    assert said == [
        "a.ini:2: [watcher:web] cmd is given twice; the first counts (that is c.toml:5; remove one of them)"
    ]


def test_what_lies_beside_ini_files_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[watcher.x]\n")
    (tmp_path / "c.ini").write_text("[circus]\ninclude_dir = .\n[watcher:w]\ncmd = x\n")
    assert list(read(str(tmp_path / "c.ini"), {}).sections) == ["circus", "watcher:w"]


LINES: list[tuple[str, dict[str, int]]] = [
    ("a.b = 1\n\n[c]\n# [d]\ne = '#'\n", {"a": 1, "a.b": 1, "c": 3, "c.e": 5}),
    ("[a]\nb = [\n 1, # ]\n ']',\n]\nc = {d = '}', e = [1]}\nf=1", {"a": 1, "a.b": 2, "a.c": 6, "a.f": 7}),
    ('a = """\nb = 1\n\\""" \n"""\nc = 1', {"a": 1, "c": 5}),
    ("a = '''\n''b = 1'''''\nc = 1", {"a": 1, "c": 3}),
    (
        '[ "x y" . z ]\n\'q.r\' = ""\n[[l]]\nm=1\r\nn=2',
        {"x y": 1, "x y.z": 1, "x y.z.q.r": 2, "l": 3, "l.m": 4, "l.n": 5},
    ),
    ("[a.b]\n[a]\nc = 1", {"a": 1, "a.b": 1, "a.c": 3}),
    ("", {}),
]


@pytest.mark.parametrize(("text", "expected"), LINES)
def test_every_key_is_found_in_its_line(text: str, expected: dict[str, int]) -> None:
    tomllib.loads(text)
    assert {".".join(path): line for path, line in key_lines(text).items()} == expected


@pytest.mark.parametrize(
    ("ini", "toml"),
    [
        ("[watcher:web] x", "[watcher.web] x"),
        ("write [env:w*,x] or [socket:a b]", 'write [env."w*,x"] or [socket."a b"]'),
        ("[circus] and [x:y]", "[circus] and [x:y]"),
    ],
)
def test_sections_are_named_as_the_file_names_them(ini: str, toml: str) -> None:
    assert as_toml(ini) == toml


def test_a_line_is_known_for_each_key_of_a_long_file() -> None:
    text = "".join(f"[watcher.w{n}]\ncmd = 'x'\n\nnumprocesses = {n}\n" for n in range(1000))
    found: dict[str, Any] = {section.name: section for section in parse_toml(text, "c.toml")[0]}
    assert found["watcher:w999"].place("numprocesses") == ("c.toml", 4000)


def test_the_example_of_the_reference_says_what_it_looks_like(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    for name in ("conf.d/a.toml", "web.env", "c.toml"):
        (tmp_path / name).write_text(reference.EXAMPLE if name == "c.toml" else "")
    draft, findings = examine(str(tmp_path / "c.toml"), {"PATH": "/bin"}, host=AnyHost())
    assert findings == []
    web, worker = draft.config.watchers
    assert web.stdout_stream is not None and web.stdout_stream.max_bytes == 10 << 20
    assert (web.rlimits, worker.rlimits) == ({"nofile": 4096}, {"core": 0})
    assert (set(web.hooks), web.env_file) == ({"after_spawn", "extended_stats"}, ("web.env", "-secrets.env"))
    assert web.env == {"PATH": "/usr/local/bin:/bin", "SHOP_URL": "https://shop.example", "PORT": "8080"}
    assert web.flapping is not None and (web.flapping.attempts, web.flapping.window_s) == (3, 10.0)
    assert worker.flapping is not None and worker.flapping.attempts == 2
    assert (draft.config.sockets[0].umask, draft.config.sockets[0].use_papa) == (7, True)


class AnyHost(Host):
    """A machine that has everything."""

    def _answer(self, question: str, subject: str) -> bool:
        return True
