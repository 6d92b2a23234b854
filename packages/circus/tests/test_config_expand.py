"""Variables, the words of a command, and the environment of a process."""

from __future__ import annotations

import shlex
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circus.config import expand
from circus.config.expand import Names
from circus.config.model import SocketConfig, WatcherConfig
from circus.errors import CircusError


def _words(
    cmd: str = "",
    *,
    wid: int = 1,
    env: dict[str, str] | None = None,
    sockets: dict[str, str] | None = None,
    **more: object,
) -> list[str]:
    config = WatcherConfig(name="web", cmd=cmd, **more)  # type: ignore[arg-type]
    return expand.expand_command(config, wid=wid, env=env or {}, sockets=sockets or {})


def test_both_forms_of_a_variable_are_replaced_in_any_case() -> None:
    names = Names({"ROOT": "/srv"})
    assert expand.expand_env("$(circus.env.ROOT)/((CIRCUS.ENV.root))", names) == "/srv//srv"


def test_unknown_names_are_left_as_they_are() -> None:
    text = "$(circus.env.NONE) $(circus.wid) $(other.env.A) $HOME ((circus.x"
    assert expand.expand_env(text, Names({"A": "1"})) == text


def test_a_value_is_not_expanded_again() -> None:
    assert expand.expand_env("$(circus.env.A)", Names({"A": "$(circus.env.B)", "B": "x"})) == "$(circus.env.B)"


def test_names_that_differ_only_in_case_do_not_collide() -> None:
    names = Names({"path": "lower"}, Names({"PATH": "upper"}))
    assert (names.get("PATH"), names.get("path"), names.get("Path")) == ("upper", "lower", "lower")


def test_the_upper_layer_wins() -> None:
    names = Names({"A": "own"}, Names({"A": "below", "B": "below"}))
    assert (names.get("A"), names.get("b"), names.get("c")) == ("own", "below", None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/opt/bin:$PATH", "/opt/bin:/bin"),
        ("$UNSET ", ""),
        ("$A_1x", "onex"),
        ("${PATH} $path $1 $", "${PATH} $path $1 $"),
        (" kept ", " kept "),
    ],
)
def test_env_values_know_names_in_capitals_as_a_shell_does(text: str, value: str) -> None:
    assert expand.expand_shell(text, {"PATH": "/bin", "A_1": "one", "path": "no"}) == value


@given(st.text(max_size=60))
def test_text_without_variables_is_never_changed(text: str) -> None:
    assert expand.replace_variables(text, lambda _: None) == text


def test_cmd_and_args_are_split_after_the_expansion() -> None:
    assert _words("run 'a b' $(circus.env.OPTS)", args='"c d" $(circus.wid)', wid=3, env={"OPTS": "-x -y"}) == [
        "run", "a b", "-x", "-y", "c d", "3",
    ]  # fmt: skip


def test_a_socket_becomes_the_name_that_the_kernel_knows_it_by() -> None:
    words = _words("uwsgi --socket fd://$(circus.sockets.Web-1)", sockets={"web-1": "circus.web-1"})
    assert words == ["uwsgi", "--socket", "fd://$(socket.circus.web-1.fileno)"]


def test_options_of_the_watcher_can_be_named() -> None:
    text = (
        "p $(circus.numprocesses) $(circus.priority) $(circus.warmup_delay) $(circus.working_dir) $(circus.uid)."
        " $(circus.rlimits.nofile) $(circus.use_fds) $(circus.free_form)"
    )
    words = _words(
        text, numprocesses=4, warmup_delay_s=0.5, working_dir="/srv", rlimits={"nofile": 9}, extra={"free_form": "x"}
    )
    assert words == ["p", "4", "0", "0.5", "/srv", ".", "9", "False", "$(circus.free_form)"]


def test_a_limit_that_is_infinite_is_empty_and_an_unknown_one_is_left() -> None:
    words = _words("p x$(circus.rlimits.core) $(circus.rlimits.nofile)", rlimits={"core": None})
    assert words == ["p", "x", "$(circus.rlimits.nofile)"]


def test_fault_3_shell_is_a_shell() -> None:
    words = _words('echo "a b" $HOME && echo two', args="| cat", shell=True, shell_args="'zero 0' one")
    assert words == ["/bin/sh", "-c", 'echo "a b" $HOME && echo two | cat', "zero 0", "one"]


def test_an_open_quote_is_told_with_the_option() -> None:
    with pytest.raises(CircusError, match="web: args cannot be split into words: no closing quotation"):
        _words("run", args="it's")


def test_no_command_is_an_error() -> None:
    with pytest.raises(CircusError, match="web: cmd is empty"):
        _words("  ")


def test_fault_1_an_environment_is_what_the_file_writes_unless_it_is_copied() -> None:
    config = WatcherConfig(name="web", cmd="x", env={"A": "1"})
    assert expand.child_environment(config, {"B": "2"}) == {"A": "1"}
    config = WatcherConfig(name="web", cmd="x", env={"A": "1"}, copy_env=True)
    assert expand.child_environment(config, {"A": "0", "B": "$A"}) == {"A": "1", "B": "$A"}


def test_copy_path_gives_the_import_path_unless_the_file_has_its_own() -> None:
    config = WatcherConfig(name="web", cmd="x", copy_path=True)
    assert expand.child_environment(config, {})["PYTHONPATH"].split(":") == list(expand.IMPORT_PATH)
    assert set(expand.IMPORT_PATH) <= set(sys.path)
    config = WatcherConfig(name="web", cmd="x", copy_path=True, env={"PYTHONPATH": "/own"})
    assert expand.child_environment(config, {})["PYTHONPATH"] == "/own"


def test_a_virtual_environment_comes_first_and_works_with_copy_env() -> None:
    inherited = {
        "PATH": "/circusd/bin:/venv/bin:/bin",
        "VIRTUAL_ENV": "/circusd",
        "PYTHONHOME": "/elsewhere",
        "PYTHONPATH": "/elsewhere/lib",
    }
    config = WatcherConfig(name="web", cmd="x", virtualenv="/venv", copy_env=True)
    assert expand.child_environment(config, inherited) == {
        "PATH": "/venv/bin:/circusd/bin:/bin",
        "VIRTUAL_ENV": "/venv",
    }
    config = WatcherConfig(name="web", cmd="x", virtualenv="/venv")
    assert expand.child_environment(config, inherited) == {"PATH": "/venv/bin:/bin:/usr/bin", "VIRTUAL_ENV": "/venv"}
    config = WatcherConfig(name="web", cmd="x", virtualenv="/venv", env={"PATH": "/own", "PYTHONHOME": "/mine"})
    assert expand.child_environment(config, {})["PATH"] == "/venv/bin:/own"
    assert expand.child_environment(config, {})["PYTHONHOME"] == "/mine"
    config = WatcherConfig(name="web", cmd="x", virtualenv="/venv", copy_env=True, env={"PYTHONPATH": "/mine"})
    assert expand.child_environment(config, inherited)["PYTHONPATH"] == "/mine"
    config = WatcherConfig(name="web", cmd="x", copy_env=True)
    assert expand.child_environment(config, inherited) == inherited


def test_the_sockets_of_a_process_are_those_it_names_or_all_if_it_names_none() -> None:
    known = [SocketConfig(name=name) for name in "abc"]
    named = WatcherConfig(name="w", cmd="x $(circus.sockets.B)", args="((circus.sockets.b))", use_sockets=True)
    assert expand.sockets_used(named, known) == ("b",)
    stdin = WatcherConfig(name="w", cmd="x", stdin_socket="c")
    assert expand.sockets_used(stdin, known) == ("c",)
    unknown = WatcherConfig(name="w", cmd="x $(circus.sockets.none)")
    assert expand.sockets_used(unknown, known) == ()
    assert expand.sockets_used(WatcherConfig(name="w", cmd="x", use_sockets=True), known) == ("a", "b", "c")
    assert expand.sockets_used(WatcherConfig(name="w", cmd="x"), known) == ()
    known[1] = SocketConfig(name="b", so_reuseport=True)
    assert expand.sockets_used(WatcherConfig(name="w", cmd="x", use_sockets=True), known) == ("a", "c")
    assert expand.sockets_used(named, known) == ("b",)


@given(st.text(st.sampled_from("ab '\"\\#;$|\t\n\r\x0b\x1c\u00a0\u2003")))
def test_a_line_is_split_as_a_shell_splits_it(text: str) -> None:
    try:
        words = tuple(shlex.split(text))
    except ValueError:
        with pytest.raises(ValueError):
            expand._words(text)
    else:
        assert expand._words(text) == words
