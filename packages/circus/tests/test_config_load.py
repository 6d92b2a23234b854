"""The one call: the sample of the ancestors, every mistake at once, and the time it may take."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from circus.config import expand
from circus.config.load import load
from circus.config.model import ConfigInvalid
from circus.config.validate import Host

#: The stack that the system was made for: a web server, a logger and applications behind a socket.
STACK = """\
[circus]
loglevel = info

[watcher:nginx]
cmd = {root}/nginx/sbin/nginx -p {root}/conf -c {root}/conf/nginx.conf
warmup_delay = 3
graceful_timeout = 10
max_retry = 5
singleton = true
send_hup = true
stop_signal = QUIT
stdout_stream.class = FileStream
stdout_stream.filename = {root}/logs/web-server.log
stdout_stream.max_bytes = 10000000
stdout_stream.backup_count = 10
stderr_stream.class = FileStream
stderr_stream.filename = {root}/logs/web-server-error.log
stderr_stream.max_bytes = 1000000
stderr_stream.backup_count = 10
active = true
use_papa = true

[watcher:logger]
cmd = {root}/service/env/bin/python logger.py run
working_dir = {root}/service
graceful_timeout = 10
singleton = true
stop_signal = INT
stdout_stream.class = FileStream
stdout_stream.filename = {root}/logs/logger.log
stdout_stream.max_bytes = 10000000
stdout_stream.backup_count = 10
stderr_stream.class = FileStream
stderr_stream.filename = {root}/logs/logger.log
stderr_stream.max_bytes = 1000000
stderr_stream.backup_count = 10
priority = 50
use_papa = true

[watcher:web_app]
cmd = {root}/service/env/bin/uwsgi --ini live.ini --socket fd://$(circus.sockets.web) --stats 127.0.0.1:809$(circus.wid)
working_dir = {root}/service/web_app
graceful_timeout=10
stop_signal = QUIT
use_sockets = True
stdout_stream.class = FileStream
stdout_stream.filename = {root}/logs/web_app.log
stdout_stream.max_bytes = 10000000
stdout_stream.backup_count = 10
stderr_stream.class = FileStream
stderr_stream.filename = {root}/logs/web_app.log
stderr_stream.max_bytes = 1000000
stderr_stream.backup_count = 10
hooks.after_spawn = examples.uwsgi_lossless_reload.children_started
hooks.before_signal = examples.uwsgi_lossless_reload.clean_stop
hooks.extended_stats = examples.uwsgi_lossless_reload.extended_stats
priority = 40
use_papa = true

[socket:web]
path = {root}/service/sock/uwsgi
use_papa = true

[plugin:flapping]
use = circus.plugins.flapping.Flapping
window = 10
priority = 1000
"""


class AnyHost(Host):
    """A machine that has everything."""

    def _answer(self, question: str, subject: str) -> bool:
        return True


def test_the_sample_stack_loads_with_a_word_about_its_shared_log_files_only(tmp_path: Path) -> None:
    for program in ("nginx/sbin/nginx", "service/env/bin/python", "service/env/bin/uwsgi"):
        path = tmp_path / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    for directory in ("logs", "service/web_app", "service/sock"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "circus.ini").write_text(STACK.format(root=tmp_path))
    config = load(str(tmp_path / "circus.ini"), {"PATH": "/bin"})
    assert [(each.line, each.what.rpartition("/")[2]) for each in config.warnings] == [
        (35, "logger.log"),
        (52, "web_app.log"),
    ]
    nginx, logger, web_app = config.watchers
    assert (nginx.stop_signal, nginx.send_hup, nginx.singleton, nginx.warmup_delay_s) == (3, True, True, 3.0)
    assert (logger.priority, logger.stop_signal, logger.working_dir) == (50, 2, f"{tmp_path}/service")
    assert set(web_app.hooks) == {"after_spawn", "before_signal", "extended_stats"}
    assert web_app.flapping is not None and web_app.flapping.window_s == 10.0
    assert all(each.use_papa for each in config.watchers) and all(each.use_papa for each in config.sockets)
    assert nginx.stdout_stream is not None and nginx.stdout_stream.max_bytes == 10_000_000
    assert nginx.stderr_stream is not None and nginx.stderr_stream.max_bytes == 1_000_000
    assert logger.stderr_stream is not None and logger.stderr_stream.max_bytes == 10_000_000
    assert nginx.extra == {"active": "true"}
    assert config.sockets[0].path == f"{tmp_path}/service/sock/uwsgi"
    words = expand.expand_command(web_app, wid=2, env={}, sockets={"web": "circus.web"})
    assert words[3:] == ["--socket", "fd://$(socket.circus.web.fileno)", "--stats", "127.0.0.1:8092"]


TEN_MISTAKES = """\
[circus]
warmup_delay = soon

[watcher:web]
cmd = /bin/sh -c 'sleep 1
stop_signal = STOPP

[watcher:Web]
cmd = /bin/sh
working_dir = /no/such/directory

[watcher:job]
cmd = /bin/sh $(circus.sockets.api)
singleton = true
numprocesses = 3
uid = no-such-user-here
stdout_stream.class = FileStrem
a line without a separator
"""


def test_ten_mistakes_are_ten_findings_with_their_lines_and_hints(tmp_path: Path) -> None:
    path = tmp_path / "circus.ini"
    path.write_text(TEN_MISTAKES)
    with pytest.raises(ConfigInvalid) as raised:
        load(str(path), {})
    findings = raised.value.findings
    assert [(each.line, each.what) for each in findings] == [
        (2, "[circus]: warmup_delay = 'soon' is not a number of seconds"),
        (5, "web: cmd cannot be split into words: no closing quotation"),
        (6, "web: stop_signal = 'STOPP' is not a signal"),
        (8, "two watchers are named Web"),
        (10, "Web: working directory /no/such/directory does not exist"),
        (13, "job: cmd refers to socket api, which is not defined"),
        (15, "job: a singleton cannot have 3 processes"),
        (16, "job: there is no user no-such-user-here"),
        (17, "job: 'FileStrem' is not a class of streams"),
        (18, "'a line without a separator' has no '='"),
    ]
    assert all(each.hint and each.file == str(path) and each.severity == "error" for each in findings)
    listed = str(raised.value).splitlines()
    assert listed[0] == "the configuration has 10 errors:"
    assert listed[1] == (
        f"{path}:2: [circus]: warmup_delay = 'soon' is not a number of seconds (write for example 5, 0.5, 250ms or 2h)"
    )


def test_findings_come_in_the_order_of_reading_the_main_file_first(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_text("[watcher:a]\ncmd = x\nshell = 3\n")
    path = tmp_path / "z.ini"
    path.write_text("[circus]\ninclude = a.ini\n[watcher:z]\ncmd = x\nshell = 3\npriority = x\n")
    with pytest.raises(ConfigInvalid) as raised:
        load(str(path), {}, host=AnyHost())
    assert [(os.path.basename(each.file), each.line) for each in raised.value.findings] == [
        ("z.ini", 5), ("z.ini", 6), ("a.ini", 3),
    ]  # fmt: skip


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"none\.ini does not exist"):
        load(str(tmp_path / "none.ini"), {})


def test_warnings_do_not_refuse_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "c.ini"
    path.write_text("[circus]\nendpoint = tcp://127.0.0.1:5560\n[watcher:w]\ncmd = x\nnum_processes = 3\n")
    config = load(str(path), {}, host=AnyHost())
    assert config.name == "tcp-127.0.0.1-5560"
    assert [each.line for each in config.warnings] == [2, 5]


def test_fault_10_a_change_of_the_command_or_of_the_environment_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "c.ini"
    digests = set()
    for text in ("cmd = x", "cmd = y", "cmd = y\n[env]\nA = 1", "cmd = y\n[env]\nA = 2"):
        path.write_text(f"[watcher:w]\n{text}\n")
        digests.add(load(str(path), {}, host=AnyHost()).watchers[0].digest)
    assert len(digests) == 4


def test_fault_4_the_address_of_the_kernel_is_checked_and_one_form(tmp_path: Path) -> None:
    path = tmp_path / "c.ini"
    path.write_text("[circus]\npapa_endpoint = ipc:/run/papa.sock\n[watcher:w]\ncmd = x\n")
    assert load(str(path), {}, host=AnyHost()).papa_endpoint == "ipc:///run/papa.sock"
    path.write_text("[circus]\npapa_endpoint = somewhere\n[watcher:w]\ncmd = x\n")
    with pytest.raises(ConfigInvalid, match="is not a kernel's address"):
        load(str(path), {}, host=AnyHost())


def test_fault_7_of_a_key_that_is_given_twice_the_first_counts_and_the_other_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "c.ini"
    path.write_text("[circus]\ninclude = more.ini\n[watcher:w]\ncmd = one\n")
    (tmp_path / "more.ini").write_text("[watcher:w]\ncmd = two\nargs = x\n")
    config = load(str(path), {}, host=AnyHost())
    assert (config.watchers[0].cmd, config.watchers[0].args) == ("one", "x")
    assert [str(each).partition(" (")[0] for each in config.warnings] == [
        f"{tmp_path}/more.ini:2: [watcher:w] cmd is given twice; the first counts"
    ]


def _large(tmp_path: Path) -> str:
    path = tmp_path / "large.ini"
    sections = (
        f"[watcher:w{n}]\ncmd = x -p $(circus.wid) $(circus.env.HOME)\nnumprocesses = 2\ncopy_env = true\n"
        f"graceful_timeout = 10\nstdout_stream.class = FileStream\nstdout_stream.filename = /log/{n}\n"
        f"stdout_stream.max_bytes = 10m\nhooks.after_spawn = a.b\npriority = {n}\nstats_base_port = 8090\n"
        for n in range(500)
    )
    path.write_text("[env]\nA = $HOME\n[socket:web]\nport = 0\n" + "".join(sections))
    return str(path)


def test_five_hundred_watchers_load_in_a_moment(tmp_path: Path) -> None:
    """Counted in calls, which are the same on every machine: 500 a watcher are below 0.3 s for all of them."""
    path = _large(tmp_path)
    environ = {f"VARIABLE_{n}": "x" * 50 for n in range(100)} | {"HOME": "/h"}
    load(path, environ, host=AnyHost())  # what is learned once in a life is not counted
    calls = 0

    def _count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(_count)
    try:
        config = load(path, environ, host=AnyHost())
    finally:
        sys.setprofile(before)
    assert len(config.watchers) == 500 and config.warnings == ()
    assert calls < 500 * len(config.watchers)


def test_a_watcher_costs_little_memory(tmp_path: Path) -> None:
    path = _large(tmp_path)
    tracemalloc.start()
    try:
        config = load(path, {"HOME": "/h"}, host=AnyHost())
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 8192 * len(config.watchers)


def test_loading_imports_nothing_heavy(tmp_path: Path) -> None:
    path = tmp_path / "c.ini"
    path.write_text("[watcher:w]\ncmd = /bin/sh\nstats_base_port = 1\n")
    code = (
        "import sys; from circus.config.load import load; load(sys.argv[1], {});"
        "print(*sorted({'asyncio', 'logging', 'configparser', 'subprocess', 'pathlib', 'tempfile', 'socket'}"
        " & sys.modules.keys()))"
    )
    source = Path(sys.modules["circus.config.load"].__file__ or "").parents[2]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(source)!r}); {code}", str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == []
