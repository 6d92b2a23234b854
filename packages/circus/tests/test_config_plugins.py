"""`[plugin:NAME]`: a watcher, and what its process is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from circus.config import plugins
from circus.config.diff import diff
from circus.config.load import examine, load
from circus.config.lookup import why_missing
from circus.config.model import CircusConfig, ConfigInvalid, StreamConfig, WatcherConfig

HEAD = "[watcher:web]\ncmd = /bin/sleep 1\n[plugin:mine]\nuse = mine.Mine\n"


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Loads a file; its directory has a plugin, found by the PYTHONPATH of [env]."""
    (tmp_path / "mine.py").write_text("class Mine: ...\n")

    def write(text: str, **environ: str) -> CircusConfig:
        (tmp_path / "c.ini").write_text(f"{text}\n[env]\nPYTHONPATH = {tmp_path}\n")
        return load(str(tmp_path / "c.ini"), environ)

    return write


def plugin_of(config: CircusConfig) -> WatcherConfig:
    return next(each for each in config.watchers if each.name.startswith("plugin:"))


def told_of(config: CircusConfig) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(plugin_of(config).env[plugins.VARIABLE])
    return told


def findings(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "c.ini").write_text(text)
    _, found = examine(str(tmp_path / "c.ini"), {})
    return [str(each).removeprefix(f"{tmp_path}/") for each in found]


def test_a_plugin_is_a_watcher_that_leaves_with_circusd(write: Any) -> None:
    config = write(f"[circus]\nuse_papa = true\n{HEAD}")
    plugin = plugin_of(config)
    assert config.warnings == ()
    assert (plugin.name, plugin.plugin, plugin.priority, plugin.numprocesses) == ("plugin:mine", "mine.Mine", 1, 1)
    assert (plugin.singleton, plugin.copy_env, plugin.copy_path, plugin.use_papa) == (True, True, True, False)
    assert plugin.cmd.endswith(" -P -m circus.plugins")
    assert plugin.stdout_stream == StreamConfig(class_name="LogStream", filename="plugin:mine")
    assert plugin.stderr_stream == StreamConfig(class_name="WarningLogStream", filename="plugin:mine")
    assert (plugin.written["singleton"], plugin.written["use_papa"]) == ("true", "false")


def test_the_watcher_takes_its_options_converted_and_the_plugin_takes_all_as_text(write: Any) -> None:
    text = (
        "priority = 1000\nstop_signal = INT\nautostart = false\ngraceful_timeout = 2\nmax_retry = -1\nuse_papa = on\n"
        "singleton = no\nnumprocesses = 2\nworking_dir = /tmp\ncopy_env = no\nrlimit_nofile = 99\nenv.A = b\n"
        "stdout_stream.class = FileStream\nstdout_stream.filename = /tmp/x.log\nflapping.attempts = 7\n"
        "cmd = its own\nshell = its own, too\nmy_key = 1\n"
    )
    config = write(HEAD + text)
    plugin = plugin_of(config)
    assert (plugin.priority, plugin.stop_signal, plugin.autostart, plugin.graceful_timeout_s) == (1000, 2, False, 2.0)
    assert (plugin.max_retry, plugin.use_papa, plugin.singleton, plugin.numprocesses) == (-1, True, False, 2)
    assert (plugin.working_dir, plugin.copy_env, plugin.rlimits, plugin.env["A"]) == (
        "/tmp",
        False,
        {"nofile": 99},
        "b",
    )
    assert (plugin.stdout_stream or StreamConfig(class_name="")).filename == "/tmp/x.log"
    assert plugin.flapping is not None
    assert (plugin.flapping.attempts, plugin.shell) == (7, False)
    assert plugin.extra == {"cmd": "its own", "shell": "its own, too", "my_key": "1"}
    told = told_of(config)["config"]
    assert (told["stop_signal"], told["cmd"], told["my_key"], "use" in told) == ("INT", "its own", "1", False)


@pytest.mark.parametrize("value", ["a b", "\"quoted\" 'text'", "x:::y:z", "C:\\back", "$HOME $(x)", "äöü", "%s"])
def test_every_value_reaches_the_plugin_as_it_stands(value: str, write: Any) -> None:
    assert told_of(write(f"{HEAD}text = {value}\n"))["config"]["text"] == value


def test_the_plugin_is_told_which_circusd_is_its(write: Any) -> None:
    assert told_of(write(HEAD))["endpoint"] == "default"
    told = told_of(write(f"[circus]\nname = two\ncheck_delay = 2\n{HEAD}"))
    assert (told["endpoint"], told["check_delay"], told["name"], told["use"]) == ("two", 2.0, "mine", "mine.Mine")
    assert told_of(write(f"[circus]\ncontrol = unix:///run/x.sock\n{HEAD}"))["endpoint"] == "unix:///run/x.sock"
    assert plugin_of(write(HEAD, PAPA_RUNTIME_DIR="/r")).env["PAPA_RUNTIME_DIR"] == "/r"
    assert "PAPA_RUNTIME_DIR" not in plugin_of(write(HEAD)).env


def test_a_change_of_an_option_of_its_own_needs_a_new_process_and_one_of_the_watchers_does_not(write: Any) -> None:
    old = write(f"{HEAD}text = 1\npriority = 5\n")
    for text, restart in (("text = 2\npriority = 5", True), ("text = 1\npriority = 6", False)):
        (change,) = diff(old, write(f"{HEAD}{text}\n")).change
        assert (change.new.name, change.restart) == ("plugin:mine", restart)
    assert diff(old, write(f"{HEAD}text = 1\npriority = 5\n")).is_empty


def test_active_false_keeps_it_stopped(write: Any) -> None:
    assert plugin_of(write(f"{HEAD}active = off\n")).autostart is False
    assert plugin_of(write(f"{HEAD}active = on\n")).autostart is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("host = x", "c.ini:3: [plugin:p]: use is missing (name the class"),
        ("use = nope.Nope", "c.ini:4: plugin:p: use = nope.Nope cannot be found: there is no module nope (write use ="),
        ("use = circus.plugins.statsd.Nope", "c.ini:4: plugin:p: use = circus.plugins.statsd.Nope cannot be found"),
        ("use = mine", "c.ini:4: plugin:p: use = mine is not the path of a class"),
        (
            "use = circus.plugins.CircusPlugin\nstop_signal = NOPE",
            "c.ini:5: plugin:p: stop_signal = 'NOPE' is not a signal",
        ),
        (
            "use = circus.plugins.CircusPlugin\nnumprocesses = 2",
            "c.ini:5: plugin:p: a singleton cannot have 2 processes",
        ),
        ("use = circus.plugins.CircusPlugin\nactive = maybe", "c.ini:5: [plugin:p]: active = 'maybe' is neither"),
        (
            "use = circus.plugins.watchdog.WatchDog\nloop_rate = often\nwatchers_regex = (",
            "c.ini:5: [plugin:p]: loop_rate = 'often' is not a number of seconds",
        ),
        ("use = circus.plugins.watchdog.WatchDog\nport = 99999", "c.ini:5: [plugin:p]: port = '99999' is out of range"),
        (
            "use = circus.plugins.watchdog.WatchDog\nmsg_regex = (",
            "c.ini:5: [plugin:p]: msg_regex = '(' is not a regular",
        ),
        (
            "use = circus.plugins.resource_watcher.ResourceWatcher\nmax_mem = 5x",
            "c.ini:5: [plugin:p]: max_mem = '5x' is not a size",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_nothing_is_loaded(text: str, said: str, tmp_path: Path) -> None:
    told = findings(tmp_path, f"[watcher:web]\ncmd = /bin/sleep 1\n[plugin:p]\n{text}\n")
    assert any(each.startswith(said) for each in told), told
    with pytest.raises(ConfigInvalid):
        load(str(tmp_path / "c.ini"), {})


def test_a_slip_in_an_option_of_a_built_in_plugin_is_told(tmp_path: Path) -> None:
    text = "[watcher:w]\ncmd = /bin/true\n[plugin:p]\nuse = circus.plugins.statsd.FullStats\nlop_rate = 5\nfoo = 1\n"
    assert findings(tmp_path, text) == [
        "c.ini:5: [plugin:p]: unknown option lop_rate (did you mean loop_rate?)",
        "c.ini:6: [plugin:p]: unknown option foo (it has no effect; remove it)",
    ]


def test_a_virtual_environment_is_told_not_to_count(tmp_path: Path) -> None:
    text = "[watcher:w]\ncmd = /bin/true\n[plugin:p]\nuse = circus.plugins.CircusPlugin\nvirtualenv = /nowhere\n"
    (told,) = findings(tmp_path, text)
    assert told.startswith(
        "c.ini:5: [plugin:p]: virtualenv does not count for a plugin, which runs under circusd's own"
    )


def test_a_watcher_that_a_built_in_plugin_names_and_that_is_not_there_is_told(tmp_path: Path) -> None:
    text = "[watcher:Web_1]\ncmd = /bin/true\n[plugin:p]\nuse = circus.plugins.http_observer.HttpObserver\n"
    assert findings(tmp_path, f"{text}restart_on_error = web_1\n") == []
    assert findings(tmp_path, f"{text}restart_on_error = web1\n") == [
        "c.ini:5: plugin:p: restart_on_error = web1 is no watcher of this file (did you mean Web_1?)"
    ]


def test_a_plugin_of_another_user_is_refused_for_circusd_would_not_hear_it(tmp_path: Path) -> None:
    text = "[watcher:w]\ncmd = /bin/true\n[plugin:p]\nuse = circus.plugins.CircusPlugin\nuid = "
    ours = os.geteuid()
    assert findings(tmp_path, f"{text}{ours}\n") == []
    (told,) = findings(tmp_path, f"{text}{ours + 1}\n")
    assert told.startswith(f"c.ini:5: plugin:p: a plugin that runs as {ours + 1} may not speak to this circusd")


@pytest.mark.parametrize("use", plugins.BUILT_IN)
def test_every_built_in_plugin_that_has_options_is_there(use: str) -> None:
    assert why_missing(use, []) == ""
