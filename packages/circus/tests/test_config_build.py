"""What each kind of section means."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from circus.config import options
from circus.config.build import Builder, Draft, digest_of, name_of_endpoint
from circus.config.model import FlappingPolicy, HookConfig, SocketConfig, StreamConfig, WatcherConfig
from circus.config.read import read
from circus.config.values import PARSERS


class Built:
    """A text, built in a directory of its own."""

    def __init__(self, tmp_path: Path, text: str, **environ: str) -> None:
        path = tmp_path / "c.ini"
        path.write_text(text)
        self.draft: Draft = Builder(read(str(path), environ), environ).build()
        self.config = self.draft.config
        self.told = [str(each).removeprefix(f"{tmp_path}/") for each in self.draft.findings]
        self.errors = [each for each in self.draft.findings if each.severity == "error"]

    def __getitem__(self, name: str) -> WatcherConfig:
        return next(each for each in self.config.watchers if each.name == name)

    def socket(self, name: str) -> SocketConfig:
        return next(each for each in self.config.sockets if each.name == name)


def _watcher(tmp_path: Path, options: str, **environ: str) -> WatcherConfig:
    built = Built(tmp_path, f"[watcher:web]\ncmd = run\n{options}\n", **environ)
    assert built.told == []
    return built["web"]


# [circus] -------------------------------------------------------------------------------------------------------


def test_a_file_without_a_circus_section_has_the_defaults(tmp_path: Path) -> None:
    config = Built(tmp_path, "[watcher:web]\ncmd = x\n").config
    assert (config.name, config.loglevel, config.logoutput, config.use_papa) == ("default", "info", "-", False)
    assert (config.endpoint, config.check_delay_s, config.umask) == (None, 5.0, None)
    assert config.path == str(tmp_path / "c.ini")


def test_the_options_of_circus_are_read(tmp_path: Path) -> None:
    text = (
        "[circus]\nname = two\ncontrol = unix:///run/x.sock\npapa_endpoint = 20300\nuse_papa = on\nwarmup_delay = 0.5\n"
        "check_delay = -1\npidfile = /run/c.pid\numask = 027\nloglevel = DEBUG\nlogoutput = /var/log/c.log\n"
        "loggerconfig = l.ini\n"
    )
    built = Built(tmp_path, text)
    config = built.config
    assert built.told == []
    assert (config.name, config.control, config.papa_endpoint) == ("two", "unix:///run/x.sock", "tcp://127.0.0.1:20300")
    assert (config.use_papa, config.warmup_delay_s, config.check_delay_s, config.umask) == (True, 0.5, -1.0, 0o27)
    assert (config.pidfile, config.loglevel, config.logoutput) == ("/run/c.pid", "debug", "/var/log/c.log")
    assert config.loggerconfig == "l.ini"


def test_endpoints_are_there_only_if_they_are_written(tmp_path: Path) -> None:
    written = "endpoint = tcp://127.0.0.1:5560\npubsub_endpoint = ipc:///p\nstats_endpoint =\nendpoint_owner = 7\n"
    built = Built(tmp_path, f"[circus]\n{written}zmq.open_to_network = yes\n")
    config = built.config
    assert (config.endpoint, config.pubsub_endpoint) == ("tcp://127.0.0.1:5560", "ipc:///p")
    assert (config.stats_endpoint, config.endpoint_owner, config.zmq_open_to_network) == (None, "7", True)
    assert built.told == []


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("", "default"),
        ("tcp://127.0.0.1:5555", "default"),
        ("tcp://127.0.0.1:5560", "tcp-127.0.0.1-5560"),
        ("ipc:///var/run/c.sock", "ipc-var-run-c.sock"),
        ("://", "default"),
    ],
)
def test_the_name_of_a_circusd_comes_from_its_endpoint(endpoint: str, name: str) -> None:
    assert name_of_endpoint(endpoint) == name


def test_the_name_of_a_long_endpoint_is_short_and_its_own() -> None:
    one, two = (name_of_endpoint(f"ipc:///{'x' * 200}{end}") for end in "ab")
    assert len(one) == 64 and one != two


def test_a_written_name_comes_before_the_endpoint(tmp_path: Path) -> None:
    config = Built(tmp_path, "[circus]\nname = a\nendpoint = tcp://127.0.0.1:1\n").config
    assert config.name == "a"


def test_an_unknown_option_of_circus_is_a_warning(tmp_path: Path) -> None:
    built = Built(tmp_path, "[circus]\nlog_level = debug\nfoo = 1\n")
    assert built.told == [
        "c.ini:2: [circus]: unknown option log_level (did you mean loglevel?)",
        "c.ini:3: [circus]: unknown option foo (it has no effect; remove it)",
    ]
    assert built.errors == []


def test_an_unknown_log_level_is_info_with_a_warning(tmp_path: Path) -> None:
    built = Built(tmp_path, "[circus]\nloglevel = loud\n")
    assert built.config.loglevel == "info"
    assert built.errors == [] and "'loud' is not a level" in built.told[0]


def test_use_papa_of_circus_is_the_default_of_watchers_and_sockets(tmp_path: Path) -> None:
    text = (
        "[circus]\nuse_papa = true\n[watcher:a]\ncmd = x\n[watcher:b]\ncmd = x\nuse_papa = no\n"
        "[socket:a]\nport = 0\n[socket:b]\nport = 0\nuse_papa = false\n"
    )
    built = Built(tmp_path, text)
    assert (built["a"].use_papa, built["b"].use_papa) == (True, False)
    assert (built.socket("a").use_papa, built.socket("b").use_papa) == (True, False)


# Sections -------------------------------------------------------------------------------------------------------


def test_sections_that_nothing_knows_are_told_of(tmp_path: Path) -> None:
    built = Built(
        tmp_path, "[watchr:web]\ncmd = x\n[program:x]\na = 1\n[watcher:]\ncmd = x\n[watcher:e]\n[socket]\n[circsu]\n"
    )
    assert built.told == [
        "c.ini:1: unknown section [watchr:web] (did you mean [watcher:web]?)",
        "c.ini:3: unknown section [program:x] (sections are circus, env, and watcher:, socket:, ...)",
        "c.ini:5: [watcher:] has no name (write [watcher:NAME])",
        "c.ini:7: [watcher:e] is empty and is left out (give it options)",
        "c.ini:8: unknown section [socket] (did you mean [socket:NAME]?)",
        "c.ini:9: unknown section [circsu] (did you mean [circus]?)",
    ]
    assert [each.line for each in built.errors] == [5]
    assert built.config.watchers == ()


def test_defaults_apply_to_watchers_but_never_to_environments(tmp_path: Path) -> None:
    built = Built(tmp_path, "[DEFAULT]\npriority = 3\n[env]\nA = 1\n[watcher:web]\ncmd = x\n[socket:s]\nport = 0\n")
    assert built["web"].priority == 3
    assert built["web"].env == {"A": "1"}
    assert built.told == []


def test_the_name_of_its_section_is_no_option_and_no_variable(tmp_path: Path) -> None:
    built = Built(tmp_path, "[env]\nA = 1\n[env:web]\nB = 2\n[watcher:web]\ncmd = x\n")
    assert built["web"].env == {"A": "1", "B": "2"}
    assert built["web"].extra == {} and built["web"].written == {"cmd": "x"}


# Watchers -------------------------------------------------------------------------------------------------------


def test_the_typed_options_of_a_watcher_are_read(tmp_path: Path) -> None:
    config = _watcher(
        tmp_path,
        "args = -v\nexecutable = /bin/x\nshell = no\nworking_dir = /srv\nuid = www\ngid = 33\ncopy_env = yes\n"
        "copy_path = 1\nvirtualenv = /v\nnumprocesses = 3\ngraceful_timeout = 1.5\nmax_retry = -1\n"
        "stop_signal = int\nstop_children = on\nsend_hup = true\nsingleton = false\npriority = -2\nautostart = 0\n"
        "respawn = off\nuse_sockets = True\nlisten_fds = 1\nstdin_socket = Web\nclose_child_stdout = yes\n"
        "close_child_stderr = yes\n",
    )
    assert (config.args, config.executable, config.shell, config.working_dir) == ("-v", "/bin/x", False, "/srv")
    assert (config.uid, config.gid, config.copy_env, config.copy_path) == ("www", "33", True, True)
    assert (config.virtualenv, config.numprocesses, config.graceful_timeout_s) == ("/v", 3, 1.5)
    assert (config.max_retry, config.stop_signal, config.stop_children, config.send_hup) == (-1, 2, True, True)
    assert (config.singleton, config.priority, config.autostart, config.respawn) == (False, -2, False, False)
    assert (config.use_sockets, config.listen_fds, config.stdin_socket) == (True, True, "web")
    assert (config.close_child_stdout, config.close_child_stderr) == (True, True)


def test_a_relative_working_directory_is_meant_from_where_circusd_is(tmp_path: Path) -> None:
    assert _watcher(tmp_path, "working_dir = x/../y").working_dir == os.path.join(os.getcwd(), "y")


def test_fault_2_use_papa_false_is_false(tmp_path: Path) -> None:
    for text in ("false", "no", "0", "off"):
        assert _watcher(tmp_path, f"use_papa = {text}").use_papa is False
    assert _watcher(tmp_path, "use_papa = true").use_papa is True


def test_fault_8_delays_may_have_fractions(tmp_path: Path) -> None:
    assert _watcher(tmp_path, "warmup_delay = 0.5").warmup_delay_s == 0.5


def test_limits_may_be_infinite_and_their_names_in_any_case(tmp_path: Path) -> None:
    assert _watcher(tmp_path, "rlimit_NOFILE = 500\nrlimit_core =\n").rlimits == {"nofile": 500, "core": None}


def test_limits_have_the_units_of_what_they_limit(tmp_path: Path) -> None:
    limits = _watcher(tmp_path, "rlimit_AS = 2g\nrlimit_cpu = 5m\nrlimit_rttime = 500ms\nrlimit_nproc = 7").rlimits
    assert limits == {"as": 2 << 30, "cpu": 300, "rttime": 500_000, "nproc": 7}


@pytest.mark.parametrize(
    ("table", "option"),
    [
        (table, each)
        for table in (options.CIRCUS, options.WATCHER, options.STREAM, *options.FAMILIES.values())
        for each in table
    ],
)
def test_every_option_that_is_a_time_or_a_size_takes_a_unit(table: dict[str, options.Option], option: str) -> None:
    kind = table[option].type
    if kind in ("seconds", "period", "stall", "pause", "interval"):
        assert PARSERS[kind]("2m") == 120.0
    elif kind in ("size", "buffer"):
        assert PARSERS[kind]("2m") == 2 << 20
    else:
        assert not re.search(r"_s$|bytes|delay|timeout|window|_age|retry_in", table[option].attribute)


def test_hooks_are_paths_with_a_flag(tmp_path: Path) -> None:
    config = _watcher(
        tmp_path, "hooks.before_start = a.b.c\nhooks.after_stop = a.b:c.d , true\nhooks.after_start = a.b,false\n"
    )
    assert config.hooks == {
        "before_start": HookConfig("a.b.c"),
        "after_stop": HookConfig("a.b:c.d", ignore_errors=True),
        "after_start": HookConfig("a.b"),
    }


def test_hooks_that_cannot_be_called_are_told_of(tmp_path: Path) -> None:
    hooks = "hooks.before_strat = a.b\nhooks.x = a.b\nhooks.after_stop = c\nhooks.after_start = a.b,x\n"
    text = f"[watcher:w]\ncmd = x\n{hooks}"
    built = Built(tmp_path, text)
    assert [(each.line, each.severity) for each in built.draft.findings] == [
        (3, "warning"), (4, "warning"), (5, "error"), (6, "error"),
    ]  # fmt: skip
    assert built.draft.findings[0].hint == "did you mean hooks.before_start?"
    assert list(built["w"].hooks) == ["before_strat", "x"]


def test_options_of_ones_own_are_kept_for_hooks(tmp_path: Path) -> None:
    config = _watcher(tmp_path, "stats_base_port = $(circus.env.PORT)\nactive = true", PORT="8090")
    assert config.extra == {"stats_base_port": "8090", "active": "true"}


def test_a_slip_is_a_warning_and_kept(tmp_path: Path) -> None:
    built = Built(tmp_path, "[watcher:web]\ncmd = x\ngracefull_timeout = 3\n")
    assert built.told == ["c.ini:3: web: unknown option gracefull_timeout (did you mean graceful_timeout?)"]
    assert built["web"].extra == {"gracefull_timeout": "3"}


@pytest.mark.parametrize("option", ["virtualenv_py_ver = 3.9", "check_flapping = no", "close_child_stdin = no"])
def test_options_that_have_no_effect_yet_say_so(tmp_path: Path, option: str) -> None:
    built = Built(tmp_path, f"[watcher:web]\ncmd = x\n{option}\n")
    assert "has no effect" in built.told[0] and built.told[0].startswith("c.ini:3: ")
    assert built.errors == [] and built["web"].extra == {}


# Streams --------------------------------------------------------------------------------------------------------


def test_a_file_stream_has_its_typed_options(tmp_path: Path) -> None:
    config = _watcher(
        tmp_path,
        "stdout_stream.class = FileStream\nstdout_stream.filename = /l/$(circus.env.N).log\n"
        "stdout_stream.max_bytes = 10m\nstdout_stream.backup_count = 3\nstdout_stream.time_format = %Y %H\n"
        "stderr_stream.filename = e.log\n",
        N="web",
    )
    assert config.stdout_stream == StreamConfig(
        class_name="FileStream",
        options={"filename": "/l/web.log", "max_bytes": "10m", "backup_count": "3", "time_format": "%Y %H"},
        filename="/l/web.log",
        max_bytes=10 << 20,
        backup_count=3,
        time_format="%Y %H",
    )
    assert config.stderr_stream is not None
    assert (config.stderr_stream.class_name, config.stderr_stream.filename) == ("FileStream", "e.log")


def test_without_keys_there_is_no_stream(tmp_path: Path) -> None:
    config = _watcher(tmp_path, "stdout_stream.class = StdoutStream")
    assert config.stdout_stream == StreamConfig(class_name="StdoutStream")
    assert config.stderr_stream is None


@pytest.mark.parametrize(
    ("written", "class_name"),
    [
        ("circus.stream.FileStream", "FileStream"),
        ("circus.stream:FileStream", "FileStream"),
        ("my.module.Stream", "my.module.Stream"),
        ("module:Stream", "module:Stream"),
    ],
)
def test_a_class_may_be_a_path(tmp_path: Path, written: str, class_name: str) -> None:
    options = f"stdout_stream.class = {written}\nstdout_stream.filename = f\nstdout_stream.max_bytes = 1\n"
    config = Built(tmp_path, f"[watcher:web]\ncmd = x\n{options}")["web"]
    assert config.stdout_stream is not None
    assert config.stdout_stream.class_name == class_name
    assert config.stdout_stream.options == {"filename": "f", "max_bytes": "1"}


def test_a_class_of_ones_own_gets_all_keys_as_they_are_written(tmp_path: Path) -> None:
    text = "[watcher:w]\ncmd = x\nenv.PYTHONPATH = /srv/lib\n"
    built = Built(
        tmp_path, f"{text}stderr_stream.class = my:Stream\nstderr_stream.filename = f\nstderr_stream.level = 7\n"
    )
    assert built.told == []
    stream = built["w"].stderr_stream
    assert stream is not None
    assert (stream.class_name, stream.owner, stream.search_path) == ("my:Stream", "w.stderr_stream", "/srv/lib")
    assert (stream.options, stream.filename) == ({"filename": "f", "level": "7"}, None)


TIMED = (
    "[watcher:w]\ncmd = x\nstdout_stream.class = circus.stream.TimedRotatingFileStream\nstdout_stream.filename = f\n"
)


def test_a_file_is_rotated_by_time_in_capitals_or_not_and_false_is_false(tmp_path: Path) -> None:
    built = Built(tmp_path, f"{TIMED}stdout_stream.rotate_when = w0\nstdout_stream.utc = False\n")
    stream = built["w"].stdout_stream
    assert stream is not None
    assert (stream.class_name, stream.rotate_when, stream.rotate_interval, stream.utc) == ("FileStream", "W0", 1, False)
    assert built.told == []


def test_a_rotation_by_time_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (error,) = Built(tmp_path, TIMED).errors
    assert str(error).removeprefix(f"{tmp_path}/") == (
        "c.ini:3: w: stdout_stream is a TimedRotatingFileStream without rotate_when "
        "(write stdout_stream.rotate_when = midnight)"
    )
    (error,) = Built(tmp_path, f"{TIMED}stdout_stream.rotate_when = w7\n").errors
    assert "stdout_stream.rotate_when = 'w7' is not a time to rotate at (write S, M, H, D, MIDNIGHT" in str(error)
    (error,) = Built(tmp_path, f"{TIMED}stdout_stream.rotate_when = D\nstdout_stream.rotate_interval = 0\n").errors
    assert error.line == 6


def test_keys_that_a_class_does_not_have_are_told_of(tmp_path: Path) -> None:
    built = Built(tmp_path, f"{TIMED}stdout_stream.rotate_when = D\nstdout_stream.max_bytes = 7\n")
    assert built.told == ["c.ini:6: w: stdout_stream.max_bytes has no effect for a TimedRotatingFileStream (remove it)"]
    built = Built(tmp_path, "[watcher:w]\ncmd = x\nstdout_stream.filename = f\nstdout_stream.rotate_when = D\n")
    assert built.told == ["c.ini:4: w: stdout_stream.rotate_when has no effect for a FileStream (remove it)"]


def test_lines_may_be_json_which_has_its_own_time(tmp_path: Path) -> None:
    text = "[watcher:w]\ncmd = x\nstdout_stream.class = FancyStdoutStream\nstdout_stream.format = JSON\n"
    stream = Built(tmp_path, text)["w"].stdout_stream
    assert stream is not None
    assert (stream.format, stream.color, stream.time_format) == ("json", None, None)
    assert Built(tmp_path, f"{text}stdout_stream.time_format = %F\n").told == [
        "c.ini:5: w: stdout_stream.time_format has no effect with stdout_stream.format = json (remove it)"
    ]
    (error,) = Built(tmp_path, text.replace("JSON", "xml")).errors
    assert "stdout_stream.format = 'xml' is not a format of lines (write text or json)" in str(error)


def test_a_queue_that_nobody_takes_from_is_an_error(tmp_path: Path) -> None:
    (error,) = Built(tmp_path, "[watcher:w]\ncmd = x\nstdout_stream.class = circus.stream.QueueStream\n").errors
    assert str(error).removeprefix(f"{tmp_path}/") == (
        "c.ini:3: w: a QueueStream keeps output in memory for a program that imports circus; in a file nobody takes it "
        "(write FileStream with a filename, or a class of your own that is called with the output)"
    )


def test_a_watched_file_is_rotated_by_somebody_else(tmp_path: Path) -> None:
    text = "[watcher:w]\ncmd = x\nstdout_stream.class = WatchedFileStream\nstdout_stream.filename = f\n"
    built = Built(tmp_path, f"{text}stdout_stream.max_bytes = 10\nstdout_stream.time_format = %Y\n")
    stream = built["w"].stdout_stream
    assert stream is not None
    assert (stream.class_name, stream.max_bytes, stream.time_format) == ("FileStream", 0, "%Y")
    assert built.told == ["c.ini:5: w: stdout_stream.max_bytes has no effect for a WatchedFileStream (remove it)"]


def test_a_fancy_stream_has_a_colour_and_a_time(tmp_path: Path) -> None:
    text = "[watcher:{}]\ncmd = x\nstdout_stream.class = FancyStdoutStream\n"
    watchers = [text.format(name) for name in "abcdefgh"]
    own = "stdout_stream.color = Blue\nstdout_stream.time_format = %H\n"
    built = Built(tmp_path, "".join(watchers) + text.format("own") + own)
    assert built.told == []
    streams = [built[name].stdout_stream for name in "abcdefgh"]
    assert {stream.time_format for stream in streams if stream} == {"%Y-%m-%d %H:%M:%S"}
    assert len({stream.color for stream in streams if stream}) > 2, "not one colour for all"
    stream = built["own"].stdout_stream
    assert stream is not None
    assert (stream.class_name, stream.color, stream.time_format) == ("StdoutStream", "blue", "%H")


def test_a_colour_is_one_of_seven_and_for_fancy_streams_only(tmp_path: Path) -> None:
    built = Built(
        tmp_path, "[watcher:w]\ncmd = x\nstdout_stream.class = FancyStdoutStream\nstdout_stream.color = pink\n"
    )
    assert "is not a colour (write red, green" in str(built.errors[0])
    built = Built(tmp_path, "[watcher:w]\ncmd = x\nstdout_stream.class = StdoutStream\nstdout_stream.color = red\n")
    assert built.told == ["c.ini:4: w: stdout_stream.color has no effect for a StdoutStream (remove it)"]


def test_streams_that_cannot_be_are_errors(tmp_path: Path) -> None:
    text = (
        "[watcher:a]\ncmd = x\nstdout_stream = f\nstderr_stream.class = FileStrem\n"
        "[watcher:b]\ncmd = x\nstdout_stream.class = FileStream\nstderr_stream.class = QueueStream\n"
        "[watcher:c]\ncmd = x\nstdout_stream.filename = f\nstdout_stream.max_bytes = big\n"
    )
    built = Built(tmp_path, text)
    assert [each.line for each in built.errors] == [3, 4, 7, 8, 12]
    assert built.errors[1].hint == "did you mean FileStream?"
    assert "unknown option stdout_stream " not in "\n".join(built.told), "one fault is told once"


def test_a_misspelt_key_of_a_stream_is_told_of(tmp_path: Path) -> None:
    text = "[watcher:a]\ncmd = x\nstdout_stream.filename = f\nstdout_stream.max_byte = 1\nstdout_stream.foo = 1\n"
    built = Built(tmp_path, text)
    assert built.told == [
        "c.ini:4: a: unknown option stdout_stream.max_byte (did you mean stdout_stream.max_bytes?)",
        "c.ini:5: a: unknown option stdout_stream.foo (it has no effect; remove it)",
    ]


# Environment ----------------------------------------------------------------------------------------------------


def test_patterns_go_over_env_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        "[env:w*]\nA = pattern\nB = first\n[env]\nA = all\nC = all\n[env:x, web]\nB = second\n"
        "[watcher:web]\ncmd = x\n[watcher:x]\ncmd = x\n[watcher:other]\ncmd = x\n"
    )
    built = Built(tmp_path, text)
    assert built["web"].env == {"A": "pattern", "B": "second", "C": "all"}
    assert built["x"].env == {"A": "all", "B": "second", "C": "all"}
    assert built["other"].env == built.config.env == {"A": "all", "C": "all"}


def test_a_pattern_that_no_watcher_matches_is_told_of(tmp_path: Path) -> None:
    built = Built(tmp_path, "[env:web,Wb*]\nA = 1\n[watcher:web]\ncmd = x\n")
    assert built.told[0].startswith("c.ini:1: [env:web,Wb*]: no watcher is named Wb*")
    assert built.errors == []


def test_fault_9_variables_are_replaced_in_sections_for_patterns_too(tmp_path: Path) -> None:
    text = "[env]\nROOT = /srv\n[env:web]\nPATH = $(circus.env.ROOT)/bin:$(circus.env.PATH)\n[watcher:web]\ncmd = x\n"
    assert Built(tmp_path, text, PATH="/bin")["web"].env["PATH"] == "/srv/bin:/bin"


def test_a_typed_option_sees_the_sections_for_patterns_too(tmp_path: Path) -> None:
    built = Built(tmp_path, "[env:web]\nN = 4\n[watcher:web]\ncmd = x\nnumprocesses = $(circus.env.N)\n")
    assert built["web"].numprocesses == 4


def test_an_entry_of_env_does_not_see_another_one(tmp_path: Path) -> None:
    built = Built(tmp_path, "[env]\nA = 1\nB = $(circus.env.A)\n[watcher:web]\ncmd = x\n", A="0")
    assert built["web"].env == {"A": "1", "B": "0"}


def test_only_what_the_file_wrote_is_expanded(tmp_path: Path) -> None:
    built = Built(tmp_path, "[env]\nA = $HOME/x $(circus.env.HOME)\n[watcher:w]\ncmd = $HOME\n", HOME="/h", B="$HOME")
    assert built["w"].env == {"A": "/h/x /h"}
    assert built["w"].cmd == "$HOME"


def test_an_unknown_variable_in_env_is_told_of(tmp_path: Path) -> None:
    built = Built(tmp_path, "[env]\nA = 1\nB = $(circus.env.NONE)\n[watcher:w]\ncmd = x\n")
    assert built.told[0].startswith("c.ini:3: [env]: B refers to circus.env.NONE, which is not known")


def test_watchers_with_the_same_environment_share_it(tmp_path: Path) -> None:
    built = Built(
        tmp_path, "[env]\nA = 1\n[env:a]\nB = 1\n[watcher:b]\ncmd = x\n[watcher:c]\ncmd = x\n[watcher:a]\ncmd=x\n"
    )
    assert built["b"].env is built["c"].env
    assert built["a"].env is not built["b"].env


# Flapping and plugins -------------------------------------------------------------------------------------------

PLUGIN = "[plugin:flapping]\nuse = circus.plugins.flapping.Flapping\nwindow = 10\npriority = 1000\n"


def test_the_flapping_plugin_is_a_policy_of_every_watcher(tmp_path: Path) -> None:
    built = Built(tmp_path, f"{PLUGIN}[watcher:a]\ncmd = x\n[watcher:b]\ncmd = x\nflapping.attempts = 4\n")
    assert built.told == []
    assert built["a"].flapping == FlappingPolicy(window_s=10.0)
    assert built["b"].flapping == FlappingPolicy(attempts=4, window_s=10.0)


def test_a_watcher_may_leave_flapping_control_or_have_it_alone(tmp_path: Path) -> None:
    built = Built(tmp_path, f"{PLUGIN}[watcher:a]\ncmd = x\nflapping.active = false\n")
    assert built["a"].flapping is None
    built = Built(tmp_path, "[watcher:a]\ncmd = x\nflapping.window = 3\n[watcher:b]\ncmd = x\n")
    assert built["a"].flapping == FlappingPolicy(window_s=3.0)
    assert built["b"].flapping is None


def test_an_inactive_flapping_plugin_is_off_unless_a_watcher_wants_it(tmp_path: Path) -> None:
    text = (
        f"{PLUGIN}active = no\n[watcher:a]\ncmd = x\nflapping.window = 3\n[watcher:b]\ncmd = x\nflapping.active = yes\n"
    )
    built = Built(tmp_path, f"{text}[watcher:c]\ncmd = x\n")
    assert built["a"].flapping is None and built["c"].flapping is None
    assert built["b"].flapping == FlappingPolicy(window_s=10.0)


def test_a_slip_in_the_flapping_plugin_is_told_of(tmp_path: Path) -> None:
    built = Built(tmp_path, "[plugin:flapping]\nwindw = 3\nattempts = few\n[watcher:a]\ncmd = x\n")
    assert [each.partition(": ")[0] for each in built.told] == ["c.ini:3", "c.ini:2"]
    assert "did you mean window?" in built.told[1]


# Sockets --------------------------------------------------------------------------------------------------------


def test_the_options_of_a_socket_are_read(tmp_path: Path) -> None:
    text = (
        "[socket:Web]\nhost = ::1\nport = 0\nfamily = AF_INET6\ntype = SOCK_STREAM\nbacklog = 10\numask = 022\n"
        "replace = yes\ninterface = lo\nblocking = on\nuse_papa = true\n"
    )
    built = Built(tmp_path, text)
    config = built.config.sockets[0]
    assert built.told == []
    assert (config.name, config.host, config.port, config.family, config.type) == ("web", "::1", 0, "inet6", "stream")
    assert (config.backlog, config.replace, config.interface, config.blocking) == (10, True, "lo", True)
    assert config.use_papa is True


def test_fault_6_the_umask_of_a_socket_is_octal(tmp_path: Path) -> None:
    assert Built(tmp_path, "[socket:a]\nport = 0\numask = 022\n").socket("a").umask == 0o22
    assert Built(tmp_path, "[socket:a]\nport = 0\n").socket("a").umask == 0o010
    assert Built(tmp_path, "[socket:a]\nport = 0\numask = 8\n").errors[0].line == 3


def test_a_path_makes_a_unix_socket_with_an_absolute_path(tmp_path: Path) -> None:
    built = Built(tmp_path, "[socket:a]\npath = x.sock\nfamily = AF_INET\n[socket:b]\nfamily = AF_UNIX\n")
    assert (built.socket("a").family, built.socket("a").path) == ("unix", os.path.join(os.getcwd(), "x.sock"))
    assert [each.line for each in built.errors] == [5]


def test_so_reuseport_is_taken_without_a_word(tmp_path: Path) -> None:
    built = Built(tmp_path, "[socket:a]\nso_reuseport = true\n")
    assert built.socket("a").so_reuseport is True
    assert built.told == []


def test_a_socket_that_a_lasting_watcher_uses_lasts_as_long(tmp_path: Path) -> None:
    text = (
        "[watcher:web]\ncmd = x $(circus.sockets.A)\nuse_papa = true\n[watcher:no]\ncmd = x $(circus.sockets.b)\n"
        "[socket:a]\nport = 0\nuse_papa = false\n[socket:b]\nport = 0\n[socket:c]\nport = 0\n"
    )
    built = Built(tmp_path, text)
    assert [built.socket(name).use_papa for name in "abc"] == [True, False, False]
    assert [str(each.line) + each.severity for each in built.draft.findings] == ["8warning"]
    everything = Built(tmp_path, text.replace("x $(circus.sockets.A)", "x\nuse_sockets = true"))
    assert [everything.socket(name).use_papa for name in "abc"] == [True, True, True]


# Digests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        "args = -v", "copy_env = true", "working_dir = /x", "uid = 0", "rlimit_nofile = 9", "rlimit_core =",
        "shell = false", "use_sockets = true", "close_child_stdout = true", "stdin_socket = a", "virtualenv = /v",
        "listen_fds = true",
    ],
)  # fmt: skip
def test_what_needs_a_restart_changes_the_digest(tmp_path: Path, option: str) -> None:
    assert _watcher(tmp_path, option).digest != _watcher(tmp_path, "").digest


@pytest.mark.parametrize(
    "option",
    [
        "numprocesses = 4", "priority = 4", "graceful_timeout = 3", "stop_signal = INT", "use_papa = true",
        "stdout_stream.filename = f", "hooks.before_start = a.b", "flapping.window = 3", "my_option = 1",
        "singleton = true", "respawn = false", "autostart = false", "max_retry = 1", "warmup_delay = 1",
    ],
)  # fmt: skip
def test_what_can_be_changed_live_is_not_in_the_digest(tmp_path: Path, option: str) -> None:
    assert _watcher(tmp_path, option).digest == _watcher(tmp_path, "").digest


def test_the_digest_knows_the_environment_that_the_file_writes_and_no_other(tmp_path: Path) -> None:
    text = "[env:web]\nA = {}\n[watcher:web]\ncmd = x\ncopy_env = yes\ncopy_path = yes\n"
    one = Built(tmp_path, text.format("1"), HOME="/a")["web"].digest
    assert one == Built(tmp_path, text.format("1"), HOME="/b", MORE="x")["web"].digest
    assert one != Built(tmp_path, text.format("2"), HOME="/a")["web"].digest


def test_the_digest_knows_the_variables_that_the_file_names(tmp_path: Path) -> None:
    text = "[watcher:web]\ncmd = x $(circus.env.PORT)\n"
    one = Built(tmp_path, text, PORT="1", OTHER="1")["web"].digest
    assert one == Built(tmp_path, text, PORT="1", OTHER="2")["web"].digest
    assert one == Built(tmp_path, f"[env]\n{text}", PORT="1")["web"].digest
    assert one != Built(tmp_path, text, PORT="2")["web"].digest


def test_a_path_that_is_put_before_the_inherited_one_restarts_nothing_from_another_shell(tmp_path: Path) -> None:
    text = "[env]\nPATH = /opt/bin:$PATH\n[watcher:web]\ncmd = x\n"
    one, two = (Built(tmp_path, text, PATH=path)["web"] for path in ("/bin", "/usr/bin"))
    assert one.digest == two.digest
    assert (one.env["PATH"], two.env["PATH"]) == ("/opt/bin:/bin", "/opt/bin:/usr/bin")


def test_the_digest_does_not_know_the_directory_of_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = _watcher(tmp_path, "working_dir = x").digest
    monkeypatch.chdir(tmp_path)
    assert one == _watcher(tmp_path, "working_dir = x").digest


def test_spelling_and_order_do_not_change_the_digest(tmp_path: Path) -> None:
    one = _watcher(tmp_path, "shell = yes\nuid = 0\nrlimit_NOFILE = 09")
    two = _watcher(tmp_path, "rlimit_nofile = 9\nuid = 0 ; root\nshell: TRUE")
    assert one.digest == two.digest


def test_the_digest_of_a_known_watcher_is_the_same_for_ever(tmp_path: Path) -> None:
    """A new version that hashed otherwise would restart every process of every user."""
    text = "[env]\nA = 1\n[watcher:web]\ncmd = run $(circus.wid)\nshell = yes\nrlimit_nofile = 9\nuid = www\n"
    assert Built(tmp_path, text)["web"].digest == "21256231320c3036a72babf4f7efe771b258f574e22a6b1e6f0b607ba6c052ce"


def test_the_digest_of_a_socket_knows_what_needs_a_new_one(tmp_path: Path) -> None:
    base = Built(tmp_path, "[socket:a]\nport = 1\n").socket("a").digest
    assert base == Built(tmp_path, "[socket:a]\nport = 1\nuse_papa = yes\nreplace = yes\n").socket("a").digest
    assert base != Built(tmp_path, "[socket:a]\nport = 2\n").socket("a").digest


def test_a_digest_of_text_that_is_no_unicode_is_a_digest() -> None:
    assert len(digest_of({"cmd": "\udcff"})) == 64
