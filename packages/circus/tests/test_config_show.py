"""`circusctl config show`: what counts, and where it is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from circus.circusctl import main
from circus.config import options
from circus.config.show import Row, show, text_of
from circus.errors import CircusError
from circus.testing.circusd import FakeCircusd, FakeEngine

TEXT = """\
[DEFAULT]
priority = 3
[circus]
use_papa = true
env_file = all.env
endpoint = tcp://127.0.0.1:5560
include = *.more
[env]
N = 2
HERE = $HOME/x
[env:web]
X = $(circus.env.N)-$(circus.env.TOKEN)
[watcher:web]
cmd = sleep 1 $(circus.env.N) $(circus.env.TOKEN) $(circus.wid)
numprocesses = $(circus.env.n)
stop_signal = int
warmup_delay = 0.5
rlimit_nofile = 100
hooks.after_start = a.b
stats_base_port = $(circus.env.N)000
flapping.window = 3
stdout_stream.filename = $(circus.env.N).log
stderr_stream.filename = 2.log
stderr_stream.max_bytes = 10m
use_sockets = true
env.A = 1
check_flapping = false
[plugin:flapping]
attempts = 5
[socket:web]
path = TMP/x.sock
use_papa = false
"""

ENVIRON = {"HOME": "/h", "TOKEN": "hush", "PATH": "/bin"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "c.ini"
    path.write_text(
        TEXT.replace("TMP", str(tmp_path)).replace("[watcher:web]\n", "[watcher:web]\nexecutable = /bin/sh\n")
    )
    (tmp_path / "all.env").write_text("\nSECRET=abc\n")
    return path


def rows(file: Path, name: str) -> dict[str, Row]:
    (shown,) = show(str(file), ENVIRON, name)
    return {row.option: row for row in shown.rows}


def origin(row: Row) -> str:
    return str(row.origin).rpartition("/")[2]


def test_every_option_has_its_value_and_its_origin(file: Path) -> None:
    found = rows(file, "watcher:WEB")
    assert {option: (row.value, origin(row)) for option, row in found.items() if origin(row) != "default"} == {
        "cmd": ("sleep 1 2 $(circus.env.TOKEN) $(circus.wid)", "c.ini:15"),
        "executable": ("/bin/sh", "c.ini:14"),
        "numprocesses": ("2", "c.ini:16"),
        "stop_signal": ("SIGINT", "c.ini:17"),
        "warmup_delay": ("0.5", "c.ini:18"),
        "priority": ("3", "c.ini:2 [DEFAULT]"),
        "use_papa": ("true", "c.ini:4 [circus]"),
        "rlimit_nofile": ("100", "c.ini:19"),
        "hooks.after_start": ("a.b", "c.ini:20"),
        "stats_base_port": ("2000", "c.ini:21"),
        "flapping.window": ("3", "c.ini:22"),
        "flapping.attempts": ("5", "c.ini:30 [plugin:flapping]"),
        "stdout_stream.filename": ("2.log", "c.ini:23"),
        "stdout_stream.max_bytes": ("10485760", "of another stream into the same file"),
        "stderr_stream.filename": ("2.log", "c.ini:24"),
        "stderr_stream.max_bytes": ("10485760", "c.ini:25"),
        "use_sockets": ("true", "c.ini:26"),
        "check_flapping": ("false", "c.ini:28 without effect"),
        "env.A": ("1", "c.ini:27 [watcher:web]"),
        "env.HERE": ("$HOME/x", "c.ini:10 [env]"),
        "env.N": ("2", "c.ini:9 [env]"),
        "env.SECRET": ("abc", "all.env:2 env_file"),
        "env.X": ("2-$(circus.env.TOKEN)", "c.ini:12 [env:web]"),
    }
    known = {name for name, option in options.WATCHER.items() if not option.idle}
    assert known <= found.keys()
    assert (found["graceful_timeout"].value, found["working_dir"].value) == ("30", "")


def test_the_variables_of_a_value_have_origins_too(file: Path) -> None:
    found = rows(file, "watcher:web")["cmd"]
    assert [(name, str(each).rpartition("/")[2]) for name, each in found.variables] == [
        ("N", "c.ini:9 [env]"),
        ("TOKEN", "the environment"),
    ]


def test_nothing_of_the_environment_is_shown(file: Path) -> None:
    for name in ("watcher:web", "circus", "socket:web"):
        assert "hush" not in str(show(str(file), ENVIRON, name))


def test_sockets_and_circus_are_shown(file: Path) -> None:
    socket = rows(file, "socket:web")
    assert (socket["family"].value, origin(socket["family"])) == ("unix", "c.ini:32 path")
    assert (socket["use_papa"].value, str(socket["use_papa"].origin)) == (
        "true",
        "because a watcher that uses it outlives a quit",
    )
    circus = rows(file, "circus")
    assert (circus["name"].value, origin(circus["name"])) == ("tcp-127.0.0.1-5560", "c.ini:6 endpoint")
    assert (circus["include"].value, circus["loglevel"].value) == ("*.more", "info")
    assert origin(circus["endpoint"]) == "c.ini:6"


def test_a_name_that_both_have_shows_both(file: Path) -> None:
    assert [(each.kind, each.name) for each in show(str(file), ENVIRON, "web")] == [
        ("watcher", "web"),
        ("socket", "web"),
    ]


def test_what_cannot_be_shown_is_one_line(file: Path) -> None:
    with pytest.raises(CircusError, match="has no watcher or socket 'wbe'") as raised:
        show(str(file), ENVIRON, "wbe")
    assert raised.value.hint == "did you mean 'web'?"
    file.write_text("[watcher:web]\nnumprocesses = few\n")
    with pytest.raises(CircusError, match="has 2 errors") as raised:
        show(str(file), ENVIRON, "web")
    assert raised.value.hint == f"`circusctl config check {file}` lists what is wrong"


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("umask", 0o22, "022"),
        ("stop_signal", 15, "SIGTERM"),
        ("stop_signal", 41, "41"),
        ("include", ("a", "b"), "a b"),
        ("warmup_delay", 1.0, "1"),
        ("use_papa", False, "false"),
        ("uid", None, ""),
    ],
)
def test_values_look_as_a_file_writes_them(option: str, value: object, text: str) -> None:
    assert text_of((options.CIRCUS | options.WATCHER)[option], value) == text


# The command ------------------------------------------------------------------------------------------------


def test_without_a_file_it_is_the_one_of_the_running_circusd(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("CIRCUSCTL_ENDPOINT", raising=False)
    assert main(["config", "show", "web"]) == 1
    assert "no circusd answers" in capsys.readouterr().err
    engine = FakeEngine()
    engine.config_path = str(file)
    with FakeCircusd(engine, f"{tmp_path}/circus-default.sock"):
        assert main(["config", "show", "socket:web"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "socket web"
    assert out[1].split() == ["host", "=", "localhost", "default"]


def test_json_has_the_same(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "watcher:web", str(file), "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["shown"]
    found = {row["option"]: row for row in shown["options"]}
    assert found["numprocesses"] == {
        "option": "numprocesses",
        "value": "2",
        "origin": "",
        "file": str(file),
        "line": 16,
        "text": f"{file}:16",
        "variables": [{"name": "n", "origin": "[env]", "file": str(file), "line": 9, "text": f"{file}:9 [env]"}],
    }
    assert main(["config", "show", "wbe", str(file)]) == 3


def test_sections_of_a_toml_file_are_named_as_it_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[watcher.web]\ncmd = "sleep 1"\n[env."w*"]\nA = 1\n')
    assert main(["config", "show", "web", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split("  ")[-1].strip() == f'{path}:4 [env."w*"]'
