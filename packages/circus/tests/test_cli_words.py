"""A slip of the keyboard is answered by what was meant, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from circus import nearest
from circus.cli import words
from circus.cli.circusctl import main
from circus.config import values
from circus.control.caller import OWNER
from circus.control.tokens import Book, Wish
from circus.errors import CircusError
from circus.supervise import events
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher


@pytest.fixture(autouse=True)
def circusd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCircusd]:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("CIRCUSCTL_ENDPOINT", raising=False)
    engine = FakeEngine(make_watcher("web", 2), make_watcher("mail sender"))
    with FakeCircusd(engine, f"{tmp_path}/circus-default.sock") as circusd:
        yield circusd


@pytest.mark.parametrize(
    ("line", "status", "hint"),
    [
        (f"incr web {'9' * 5000}", 3, "there are: mail sender, web"),
        (f"kill web {'9' * 5000}", 3, "there are: mail sender, web"),
        ("kill web --graceful_timeout nan", 2, "see `circusctl kill --help`"),
        ("kill web --graceful_timeout inf", 2, "see `circusctl kill --help`"),
        ("kill web --graceful_timeout -1", 2, "see `circusctl kill --help`"),
        ("stauts", 2, "did you mean `circusctl status`?"),
        ("restrat web", 2, "did you mean `circusctl restart`?"),
        ("STATUSS", 2, "did you mean `circusctl status`?"),
        ("confg", 2, "did you mean `circusctl config`?"),
        ("confg chekc x", 2, "did you mean `circusctl config check`?"),
        ("config chekc x", 2, "did you mean `circusctl config check`?"),
        ("config nothing", 2, "`circusctl config --help` lists the commands"),
        ("config", 2, "`circusctl config --help` says more"),
        ("token crate", 2, "did you mean `circusctl token create`?"),
        ("zzzzz", 2, "`circusctl --help` lists the commands"),
        ("help stauts", 2, "did you mean `circusctl status`?"),
        ("status --verbos", 2, "did you mean --verbose?"),
        ("stop web --no-wiat", 2, "did you mean --no-wait?"),
        ("signal web TERM --childern", 2, "did you mean --children?"),
        ("status --endpint=other", 2, "did you mean --endpoint?"),
        ("--jsno status", 2, "did you mean --json?"),
        ("--verbose status", 2, "did you mean `circusctl status --verbose`?"),
        ("--verbos status", 2, "did you mean `circusctl status --verbose`?"),
        ("--zzzzz status", 2, "see `circusctl --help`"),
        ("status --zzzzz", 2, "see `circusctl status --help`"),
        ("run web more", 2, "see `circusctl run --help`"),
        ("start --match glub", 2, "did you mean 'glob'?"),
        ("--color allways status", 2, "did you mean 'always'?"),
        ("token create x --role amdin", 2, "did you mean 'admin'?"),
        ("token create x --role zzz", 2, "see `circusctl token create --help`"),
        ("status wbe", 3, "did you mean 'web'?"),
        ("restart --match regex wep", 3, "did you mean 'web'?"),
        ("restart --match regex zzz", 3, "there are: mail sender, web"),
        ("get web numproceses", 3, "did you mean 'numprocesses'?"),
        ("globaloptions check_dealy", 3, "did you mean 'check_delay'?"),
        ("signal web TREM", 3, "did you mean 'TERM'?"),
        ("kill web --signum SIGKIL", 3, "did you mean 'KILL'?"),
        ("signal web zzzzz", 3, "RTMIN+1"),
        ("set web gracefull_timeout 3", 3, "did you mean graceful_timeout?"),
        ("--endpoint defualt status", 1, "did you mean --endpoint default?"),
    ],
)
def test_a_slip_is_answered_by_what_was_meant(
    line: str, status: int, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    got = main(line.split())
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert (got, said.out, len(lines)) == (status, "", 2)
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("  hint: ")
    assert hint in lines[1]


def test_names_with_spaces_are_meant_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "mail sendre"]) == 3
    assert "did you mean 'mail sender'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "heard"),
    [
        ("kill -- -dash", ["-dash"]),
        ("kill --match simple -- -dash web", ["-dash", "web"]),
        ("kill web --match simple -- -dash", ["web", "-dash"]),
        ("kill --match simple -- -dash", ["-dash"]),
    ],
)
def test_a_name_may_begin_with_a_dash_behind_two_of_them(line: str, heard: list[str], circusd: FakeCircusd) -> None:
    circusd.engine.watchers["-dash"] = make_watcher("-dash")
    assert main(line.split()) == 0
    told = [event for event in circusd.engine.heard if isinstance(event, events.Kill)]
    assert [each.name for each in told] == heard


def test_what_can_stand_there_is_named_in_the_same_words_under_every_python(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["start", "--match", "zzz"])
    assert "error: argument --match: 'zzz' is none of glob, simple, regex\n" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["help", "help stop", "help config check", "help config"])
def test_help_is_a_word_too(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 0
    asked = capsys.readouterr().out
    assert main(["--help", *line.split()[1:]]) == 0
    assert asked == capsys.readouterr().out
    assert asked.startswith("usage: circusctl")


def test_no_two_commands_are_so_alike_that_one_is_no_word_of_its_own() -> None:
    for name in words.COMMANDS:
        assert nearest.nearest(name, words.COMMANDS) == name


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("stauts", ("stats", "status"), "status"),  # letters that changed places
        ("WEB", ("db", "web"), "web"),
        ("wep", ("Web", "db"), "Web"),
        ("", ("web",), None),
        ("zzz", ("web",), None),
        ("web", (), None),
    ],
)
def test_the_nearest_word_is_the_one_with_the_same_letters_else_the_most_alike(
    word: str, known: tuple[str, ...], meant: str | None
) -> None:
    assert nearest.nearest(word, known) == meant


def test_a_signal_of_a_file_is_meant_too() -> None:
    with pytest.raises(ValueError, match="did you mean 'QUIT'"):
        values.parse_signal("SIGQUTI")


def test_a_token_is_meant_by_its_name() -> None:
    wish = Wish("deploy", "viewer")
    book = Book().make(wish, OWNER, now=5.0, id=bytes(6), secret=bytes(32))[0]
    for name, hint in (("deply", "did you mean 'deploy'?"), ("zzz", "`circusctl token list` has them all")):
        with pytest.raises(CircusError, match=f"there is no token '{name}'") as caught:
            book.without(name)
        assert caught.value.hint == hint
