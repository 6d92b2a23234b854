"""TAB: what may stand where, and how shells are told so that what they type is what was meant."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import terminal
from tests.house import BIN

from circus.cli import completer, quoting
from circus.cli.completion import complete
from circus.cli.words import COMMANDS, GROUPS
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher

# What may stand where -----------------------------------------------------------------------------------------


def names_of(kind: str, given: list[str]) -> list[tuple[str, str]]:
    return [(f"{kind}:{','.join(given)}", "")]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("sta", ["status", "start", "stats"]),
        ("--json sta", ["status", "start", "stats"]),
        ("--endpoint x sta", ["status", "start", "stats"]),
        ("help sta", ["status", "start", "stats"]),
        ("conf", ["config"]),
        ("config ", ["check", "show", "schema"]),
        ("config sh", ["show"]),
        ("nope ", []),
        ("nope nope ", []),
        ("config nope ", []),
        ("--ver", ["--version"]),
        ("--endpoint ", ["endpoints:"]),
        ("--endpoint=", ["--endpoint=endpoints:"]),
        ("--color ", ["auto", "always", "never"]),
        ("--timeout ", []),
        ("status --endpoint ", ["endpoints:"]),
        ("status --verb", ["--verbose"]),
        ("status --verbose --verb", []),
        ("status --color=al", ["--color=always"]),
        ("status ", ["watchers:"]),
        ("status web ", ["watchers:web"]),
        ("status -- ", ["watchers:"]),
        ("stop ", ["watchers:"]),
        ("stop web ", ["watchers:web"]),
        ("stop --match ", ["glob", "simple", "regex"]),
        ("stop --match regex ", ["watchers:"]),
        ("incr ", ["watchers:"]),
        ("incr web ", ["watchers:web"]),
        ("kill ", ["watchers:"]),
        ("kill web ", ["watchers:web", "pids:web"]),
        ("kill web --signum ", ["signals:web"]),
        ("signal ", ["watchers:"]),
        ("signal web ", ["watchers:web", "pids:web", "signals:web"]),
        ("signal web TERM --childpid ", ["pids:web,TERM"]),
        ("get web ", ["options:web"]),
        ("get web cmd ", ["options:web,cmd"]),
        ("set web ", ["settings:web"]),
        ("set web respawn ", ["values:respawn"]),
        ("set web respawn true ", ["settings:web,respawn,true"]),
        ("add --option copy", ["settings:="]),
        ("add --option copy_env=", ["copy_env=values:copy_env"]),
        ("operations ", ["operations:"]),
        ("notify test ", ["notifiers:"]),
        ("config show ", ["sections:"]),
        ("token revoke ", ["tokens:"]),
        ("token create ", []),
        ("token create x --role ", ["viewer", "operator", "admin"]),
        ("token create x --watcher ", ["watchers:x"]),
        ("globaloptions ", ["globals:"]),
        ("listen ", ["topics:"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("add ", []),
    ],
)
def test_every_place_has_its_words(line: str, found: list[str]) -> None:
    before, begun = quoting.split(line)

    def told(kind: str, given: list[str]) -> list[tuple[str, str]]:
        name = "copy" if line == "add --option copy" else f"{kind}:{','.join(given)}"
        return [(name, "")]

    got = list(complete(before, begun.value, told).words)
    assert [word.replace("copy=", "settings:=") for word in got] == found


@pytest.mark.parametrize(
    "line",
    [
        "config check ",
        "config show web ",
        "add new ",
        "add new prog",
        "add new prog --opt",
        "add --start new -- -",
        "--cacert ",
        "audit --file ",
        "init ",
        "init -- ",
        "init --name x prog --to",
        "init --to ",
    ],
)
def test_where_files_are_meant_the_shell_knows_them(line: str) -> None:
    before, begun = quoting.split(line)
    assert complete(before, begun.value, names_of).is_files


def test_no_option_is_offered_for_a_program_and_none_twice_but_those_that_may_be_repeated() -> None:
    assert "--option" in complete(["add", "--option", "uid=1"], "--", names_of).words
    assert "--start" not in complete(["add", "--start"], "--", names_of).words
    assert complete(["add", "new", "prog"], "--", names_of).words == {}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_offered_and_its_options(command: str) -> None:
    first, _, second = command.partition(" ")
    assert first in complete([], first[:1], names_of).words
    assert not second or second in complete([first], "", names_of).words
    assert "--endpoint" in complete(command.split(), "--", names_of).words
    assert not GROUPS.intersection(COMMANDS)


# How it is typed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words", "raw", "value", "quote"),
    [
        ("", [], "", "", ""),
        ("a b", ["a"], "b", "b", ""),
        ("a b ", ["a", "b"], "", "", ""),
        ("a my\\ we", ["a"], "my\\ we", "my we", ""),
        ("a 'my we", ["a"], "'my we", "my we", "'"),
        ('a "my \\"we', ["a"], '"my \\"we', 'my "we', '"'),
        ('a "it\\s', ["a"], '"it\\s', "it\\s", '"'),
        ("'a b' c", ["a b"], "c", "c", ""),
        ("a '' ", ["a", ""], "", "", ""),
        ("a b\\", ["a"], "b\\", "b", ""),
    ],
)
def test_a_line_is_cut_where_a_shell_cuts_it(line: str, words: list[str], raw: str, value: str, quote: str) -> None:
    before, begun = quoting.split(line)
    assert (before, begun.raw, begun.value, begun.quote) == (words, raw, value, quote)


@pytest.mark.parametrize(
    "word", ["web", "my web", "it's", 'say "x"', "$HOME `x` \\", "a;b|c&d", "*?[x]", "~", "#x", "ä ö", "(x)", "!x"]
)
def test_a_quoted_word_is_one_word_for_a_shell_and_for_us(word: str) -> None:
    for text in (quoting.quoted(word), quoting.quoted(word, "'") + "'"):
        said = subprocess.run(["bash", "-c", f"printf %s {text}"], capture_output=True, text=True)
        assert said.stdout == word
        assert quoting.split(f"{text} ")[0] == [word]
    assert quoting.split(quoting.quoted(word, '"') + '" ')[0] == [word]


@pytest.mark.parametrize(
    ("raw", "start", "rest"),
    [("we", 0, "web:1"), ("web:", 4, "1"), ("'we", 1, "web:1"), ('"', 0, '"web:1'), ("w\\eb", 2, None)],
)
def test_only_the_rest_is_typed_where_it_goes_on_with_what_stands_there(raw: str, start: int, rest: str | None) -> None:
    assert quoting.rest("web:1", quoting.split(raw)[1], start) == rest


# The shells ---------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(completer.PATIENCE, "50")
    monkeypatch.delenv("CIRCUSCTL_ENDPOINT", raising=False)
    return tmp_path


#: Names that no shell takes as they are; how many processes they have says whose name was typed.
ODD = {"web": 2, "mail sender": 3, "it's": 4, 'say "x"': 5, "$HOME": 6, "plugin:flap": 7, "a=b": 8}


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(*(make_watcher(name, count) for name, count in ODD.items()))


@pytest.fixture
def circusd(engine: FakeEngine, root: Path) -> Iterator[FakeCircusd]:
    with FakeCircusd(engine, f"{root}/circus-default.sock") as circusd:
        yield circusd


def asked(*words: str, **environ: str) -> tuple[int, list[str], str]:
    done = subprocess.run(
        [sys.executable, "-m", "circus.circusctl", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        timeout=50,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


#: What is typed up to TAB, and how many processes the watcher has that it becomes.
TYPED = [
    ("w", 2),
    ("mai", 3),
    ("it", 4),
    ("say", 5),
    ("\\$", 6),
    ("plugin:f", 7),
    ("pl", 7),
    ("a=", 8),
    ('"mail se', 3),
    ("'mail se", 3),
    ("mail\\ se", 3),
]


def test_bash_types_what_was_meant(circusd: FakeCircusd) -> None:
    with terminal.opened("bash", "--norc", "--noprofile", "-i", PS1="ready> ") as bash:
        bash.wait_for("ready> ")
        bash.type("source <(circusctl completion bash); echo so''urced\n")
        at = bash.wait_for("sourced")
        for begun, count in TYPED:
            at = bash.wait_for("ready> ", after=at)
            bash.type(f"circusctl numprocesses {begun}\t\n")
            at = bash.wait_for(f"\n{count}\n", after=at)


def test_zsh_types_what_was_meant(circusd: FakeCircusd) -> None:
    with terminal.opened("zsh", "-f", "-i", PS1="ready> ") as zsh:
        zsh.wait_for("ready> ")
        zsh.type(
            "PS1='ready> '; autoload -Uz compinit; compinit -u -D; source <(circusctl completion zsh); echo so''urced\n"
        )
        at = zsh.wait_for("\nsourced")
        for begun, count in TYPED:
            at = zsh.wait_for("ready> ", after=at)
            zsh.type(f"circusctl numprocesses {begun}\t\n")
            at = zsh.wait_for(f"\n{count}\n", after=at)


def in_fish(line: str) -> list[str]:
    """What fish offers, with what it means behind a tab."""
    code = 'circusctl completion fish | source; complete -C "$argv[1]"'
    done = subprocess.run(["fish", "--no-config", "-c", code, line], capture_output=True, text=True, timeout=50)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_fish_offers_what_was_meant(circusd: FakeCircusd, root: Path) -> None:
    (root / "circus.ini").touch()
    assert in_fish("circusctl stat") == ["stats\tmemory, cpu and age of processes", "status\tstate of the watchers"]
    for name in ODD:
        assert f"{name}\tactive" in in_fish("circusctl status ")
    assert in_fish("circusctl status mai") == ["mail sender\tactive"]
    assert in_fish("circusctl status 'mail se") == ["mail sender\tactive"]
    assert in_fish("circusctl --jso") == ["--json\tprint the answer as JSON"]
    assert in_fish(f"circusctl config check {root}/circus.i") == [f"{root}/circus.ini"]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_files_are_offered_where_they_are_meant(shell: str, root: Path) -> None:
    (root / "my file.ini").write_text("[watcher:web]\ncmd = sleep 1\ncopy_env = true\n")
    quiet = ["--norc", "--noprofile"] if shell == "bash" else ["-f"]
    prepare = "autoload -Uz compinit; compinit -u -D; " if shell == "zsh" else ""
    with terminal.opened(shell, *quiet, "-i", cwd=root, PS1="ready> ") as typed:
        typed.wait_for("ready> ")
        typed.type(f"PS1='ready> '; {prepare}source <(circusctl completion {shell}); echo so''urced\n")
        at = typed.wait_for("\nsourced")
        typed.wait_for("ready> ", after=at)
        typed.type("circusctl config check my\t\n")
        typed.wait_for("my file.ini: 1 watcher, 0 sockets", after=at)


def test_the_words_of_bash_are_parted_as_bash_parts_them(circusd: FakeCircusd) -> None:
    breaks = " \t\n\"'@><=;|&(:"
    assert asked("__complete", "bash", "circusctl status plugin:f", breaks) == (0, ["words", "flap"], "")
    assert asked("__complete", "bash", "circusctl status plugin:f", " ") == (0, ["words", "plugin:flap"], "")
    assert asked("__complete", "bash", "circusctl status --color=al", breaks) == (0, ["words", "always"], "")


# What it has from circusd -------------------------------------------------------------------------------------


def test_names_come_from_the_circusd_that_the_line_means(circusd: FakeCircusd, root: Path) -> None:
    with FakeCircusd(FakeEngine(make_watcher("other")), f"{root}/circus-two.sock"):
        line = "__complete", "fish", "--endpoint", "two", "status", ""
        assert asked(*line) == (0, ["words", "other\tactive"], "")
        assert asked("__complete", "fish", "status", "", CIRCUSCTL_ENDPOINT="two")[1] == ["words", "other\tactive"]
        assert asked("__complete", "fish", "--endpoint", "")[1] == ["words", "default\t", "two\t"]


def test_what_runs_is_offered(circusd: FakeCircusd, engine: FakeEngine) -> None:
    engine.told_of = {"ops": {"target": "https://x/***", "sent": 0, "error": ""}}
    first, second = (str(slot.pid) for slot in engine.watchers["web"].slots)
    expected = {
        ("kill", "web", "1"): [f"{first}\tweb.1", f"{second}\tweb.2"],
        ("signal", "web", "QUI"): ["QUIT\t3"],
        ("signal", "web", first, "USR"): ["USR1\t10", "USR2\t12"],
        ("get", "web", "num"): ["numprocesses\t"],
        ("set", "web", "stop_signal", "QUI"): ["QUIT\t3"],
        ("set", "web", "respawn", ""): ["true\t", "false\t"],
        ("set", "web", "cmd", ""): [],
        ("globaloptions", "check"): ["check_delay\t"],
        ("notify", "test", ""): ["ops\thttps://x/***"],
        ("config", "show", "ci"): ["circus\tcircusd itself"],
        ("listen", "watcher.mail"): ["watcher.mail_sender.\t"],
    }
    assert {words: asked("__complete", "fish", *words)[1][1:] for words in expected} == expected
    assert any(line.startswith("graceful_timeout\t") for line in asked("__complete", "fish", "set", "web", "grace")[1])
    engine.gate = None
    done = subprocess.run(["circusctl", "stop", "--no-wait", "web"], capture_output=True, text=True)
    id = done.stdout.split()[1]
    assert asked("__complete", "fish", "operations", "")[1] == ["words", f"{id}\tstop web, done"]


def test_the_ancestors_way_to_ask_works_and_ends_with_1(circusd: FakeCircusd) -> None:
    assert asked(AUTO_COMPLETE="1", COMP_WORDS="circusctl sta", COMP_CWORD="1") == (1, ["status start stats"], "")
    assert asked(AUTO_COMPLETE="1", COMP_WORDS="circusctl status w", COMP_CWORD="2") == (1, ["web"], "")
    assert asked(AUTO_COMPLETE="1", COMP_WORDS="circusctl ", COMP_CWORD="1")[1][0].split()[0] == "status"
    assert asked(AUTO_COMPLETE="1") == asked(AUTO_COMPLETE="1", COMP_WORDS="circusctl", COMP_CWORD="1")


# Where there is nothing to have -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("status", ""),
        ("kill", "web", ""),
        ("--endpoint", "a/b", "status", ""),
        ("--endpoint", "https://127.0.0.1:1", "status", ""),
        ("--endpoint", "tcp://127.0.0.1:1", "status", ""),
    ],
)
def test_without_a_circusd_there_are_no_names_and_no_error(words: tuple[str, ...], root: Path) -> None:
    assert asked("__complete", "fish", *words) == (0, ["words"], "")


@pytest.mark.parametrize("argv", [(), ("bash",), ("bash", "x"), ("nope", "x"), ("zsh",)])
def test_a_question_that_makes_no_sense_has_no_answer(argv: tuple[str, ...], root: Path) -> None:
    status, out, err = asked("__complete", *argv)
    assert (status, err) == (0, "")
    assert out in ([], ["words"])


def test_the_environment_may_have_more_patience_and_nonsense_there_is_none(
    circusd: FakeCircusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked("__complete", "fish", "status", "w", CIRCUSCTL_COMPLETION_TIMEOUT="soon") == (0, [], "")
    monkeypatch.delenv(completer.PATIENCE)
    assert completer.patience_s() == 0.5


def test_one_that_does_not_answer_is_not_waited_for(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{root}/circus-default.sock")
        silent.listen(5)
        # By the time-out of the question; or by the alarm, where the machine is too busy for that.
        ends = (0, ["words"], ""), (-signal.SIGALRM, [], "")
        assert asked("__complete", "fish", "status", "", CIRCUSCTL_COMPLETION_TIMEOUT="0.5") in ends
