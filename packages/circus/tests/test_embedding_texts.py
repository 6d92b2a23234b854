from __future__ import annotations

import functools
import gc
import importlib
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

import circus
from circus import given, importing
from circus.arbiter import Arbiter
from circus.config import load
from circus.embedding import texts
from circus.errors import CircusError
from circus.exc import AlreadyExist, CallError
from circus.sockets import CircusSocket
from circus.stream import FancyStdoutStream, FileStream, QueueStream
from circus.watcher import Watcher


def written(**told: Any) -> dict[str, str]:
    return texts.watcher({"cmd": "/bin/sleep 1", "name": "w", **told}, texts.Holder().hold)[1]


def found(path: str) -> Any:
    return importing.find(path.partition(",")[0])


def hook(**_told: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("told", "options"),
    [
        ({"numprocesses": 3, "warmup_delay": 0.5}, {"numprocesses": "3", "warmup_delay": "0.5"}),
        ({"copy_env": True, "shell": False}, {"copy_env": "true", "shell": "false"}),
        ({"stop_signal": signal.SIGINT}, {"stop_signal": "2"}),
        ({"args": ["a b", 7]}, {"args": "'a b' 7"}),
        ({"args": ("x",)}, {"args": "x"}),
        ({"args": "", "uid": None}, {}),
        ({"args": []}, {}),
        ({"working_dir": Path("/tmp")}, {"working_dir": "/tmp"}),
        ({"env": {"A": "1", "B": None, "C": 3}}, {"env.A": "1", "env.C": "3"}),
        ({"rlimits": {"nofile": 10, "RLIMIT_CORE": None}}, {"rlimit_nofile": "10", "rlimit_core": ""}),
        ({"hooks": {"before_start": "a.b"}}, {"hooks.before_start": "a.b"}),
        ({"hooks": {"before_start": ("a.b", True)}}, {"hooks.before_start": "a.b,true"}),
        ({"stdout_stream": {"filename": "x.log", "max_bytes": 7}},
         {"stdout_stream.class": "FileStream", "stdout_stream.filename": "x.log", "stdout_stream.max_bytes": "7"}),
        ({"stderr_stream": {"class": "StdoutStream"}}, {"stderr_stream.class": "StdoutStream"}),
        ({"stderr_stream": {"class": FancyStdoutStream, "color": "red"}},
         {"stderr_stream.class": "FancyStdoutStream", "stderr_stream.color": "red"}),
        ({"loop": object(), "prereload_fn": print, "my_own": "kept"}, {"my_own": "kept"}),
    ],
)  # fmt: skip
def test_what_is_given_is_written_as_a_file_would(told: dict[str, Any], options: dict[str, str]) -> None:
    assert written(**told) == {"cmd": "/bin/sleep 1", **options}


def test_a_function_is_a_path_by_which_it_is_found() -> None:
    path = written(hooks={"after_start": (hook, True)})["hooks.after_start"]
    assert path.endswith(",true")
    assert path.startswith("circus.given.hook_")
    assert found(path) is hook
    assert found(written(hooks={"after_start": functools.partial(hook, a=1)})["hooks.after_start"]).func is hook


def test_a_stream_is_made_by_what_is_given() -> None:
    into = QueueStream()
    assert found(written(stdout_stream={"stream": into, "filename": "x"})["stdout_stream.class"])() is into
    assert found(written(stdout_stream=print)["stdout_stream.class"])() is print
    made = found(written(stdout_stream={"class": functools.partial(dict), "a": [1]})["stdout_stream.class"])()
    assert made == {"a": [1]}, "as it was given, not as text"
    held = written(stdout_stream={"class": type("Mine", (FileStream,), {}), "filename": "/dev/null"})
    assert list(held) == ["cmd", "stdout_stream.class"]


def test_what_is_held_is_let_go_of() -> None:
    holder = texts.Holder()
    path = holder.hold(hook, "x y")
    assert path.startswith("circus.given.x_y_")
    assert holder.hold(7, "7").startswith("circus.given.a_7_")
    given.release(holder.paths)
    with pytest.raises(AttributeError, match="has let go of it"):
        importing.find(path)
    arbiter = circus.get_arbiter([{"cmd": "/bin/sleep 1", "hooks": {"before_start": hook}}])
    (path,) = arbiter._holder.paths
    assert importing.find(path) is hook
    del arbiter
    gc.collect()
    with pytest.raises(AttributeError):
        importing.find(path)


def test_the_name_is_that_of_the_program_unless_there_is_one() -> None:
    assert texts.name_of({"cmd": "/bin/sleep 1"}) == "sleep"
    assert texts.name_of({"cmd": ["/a b/x", "1"]}) == "x"
    assert texts.name_of({"cmd": "y", "name": "n"}) == "n"


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"cmd": ""}, "w: cmd is missing"),
        ({"name": "", "cmd": None}, "a watcher: cmd is missing"),
        ({"numprocesses": object()}, "w: numprocesses: its value has no form"),
        ({"stdout_stream": {"stream": 7}}, "int cannot be"),
        ({"env": [1]}, "w: env"),
    ],
)
def test_what_has_no_form_is_refused_by_its_name(told: dict[str, Any], why: str) -> None:
    with pytest.raises(CircusError, match=why):
        written(**told)


def test_sockets_and_plugins_are_sections() -> None:
    document = texts.document(
        "/app",
        circus={"name": "x", "endpoint": None},
        watchers=[("w", {"cmd": "/bin/sleep 1"})],
        sockets=[
            CircusSocket("a", host="::1", port=1, family=socket.AF_INET6, type=socket.SOCK_DGRAM),
            {"name": "b", "path": "/tmp/b", "umask": 0o22, "family": "AF_UNIX"},
        ],
        plugins=[{"use": "a.B", "name": "p", "loop_rate": 3, "env": {"PYTHONPATH": "/x"}}, {"use": Watcher}],
    )
    assert document.texts("circus") == {"name": "x"}
    shown = document.texts("socket:a")
    assert (shown["family"], shown["type"], shown["port"]) == ("AF_INET6", "SOCK_DGRAM", "1")
    assert "umask" not in shown
    assert document.texts("socket:b")["umask"] == "22"
    assert document.texts("plugin:p") == {"use": "a.B", "loop_rate": "3", "env.PYTHONPATH": "/x"}
    mine = document.texts("plugin:circus.embedding.watcher.Watcher")
    assert "env.PYTHONPATH" in mine
    assert repr(CircusSocket("a", port=1)) == "<socket 'a' at localhost:1>"
    sections = ("socket:a", "socket:b")
    config = load.of_document(texts.document("/app", circus={}, watchers=[("w", {"cmd": "/bin/sleep 1"})]), {})
    assert [each.name for each in config.watchers] == ["w"]
    assert all(name in document.sections for name in sections)


def test_findings_point_to_the_program() -> None:
    document = texts.document("/srv/app.py", circus={"umask": "9"}, watchers=[("w", {"cmd": "/no/such"})])
    with pytest.raises(CircusError, match=r"/srv/app\.py: w: program /no/such does not exist"):
        load.of_document(document, {})


def test_an_arbiter_that_does_not_run_says_so() -> None:
    arbiter = Arbiter([Watcher("w", "/bin/sleep 1", priority=1), {"cmd": "/bin/sleep 2"}], umask=0o27)
    assert [each.name for each in arbiter.iter_watchers(reverse=False)] == ["sleep", "w"]
    assert (arbiter.numwatchers(), arbiter.running, arbiter.loop, arbiter.endpoint) == (2, False, None, "")
    assert arbiter.check_delay == 1.0
    assert repr(arbiter.get_watcher("W")) == "<watcher 'w'>"
    for ask in (arbiter.statuses, arbiter.numprocesses, arbiter.reload, lambda: arbiter.get_watcher("w").pids):
        with pytest.raises(CallError, match="does not run"):
            ask()
    with pytest.raises(CallError, match="belongs to no arbiter"):
        Watcher("x", "y").start()
    with pytest.raises(KeyError):
        arbiter.rm_watcher("nope")
    with pytest.raises(AlreadyExist):
        Arbiter([Watcher("w", "/bin/sleep 1"), {"cmd": "/bin/sleep 1", "name": "W"}])
    with pytest.raises(CircusError, match="two sockets are named"):
        Arbiter([Watcher("w", "/bin/sleep 1")], sockets=[CircusSocket("a"), CircusSocket("a")])
    with pytest.raises(TypeError, match="'nope'"):
        Arbiter([], nope=1)
    Arbiter([], pidfile="x", loglevel="debug", stream_backend="thread")


def test_what_never_had_a_variant_here_says_so() -> None:
    with pytest.raises(ImportError, match="gevent"):
        importlib.import_module("circus.green")
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        getattr(circus, "no" + "pe")
