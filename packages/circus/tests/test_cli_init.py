"""A first configuration: what it says is what runs, to the letter, and nothing that was there is lost."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.house import BIN, opened, wait_for

from circus.cli.circusctl import main
from circus.config import expand, first, load
from circus.config.read import parse_ini

#: Arguments that some part of the way would take for something else.
ODD = [
    "",
    " ",
    "a b",
    "$HOME",
    "$(date)",
    "$(circus.wid)",
    "((circus.env.PATH))",
    "$(CIRCUS.ENV.HOME) $((circus.wid))",
    "$(circus.sockets.web)",
    "100%",
    "%(here)s",
    "#no comment",
    "a # b",
    "; no comment",
    "a ; b ;c",
    "it's",
    'say "x"',
    "''",
    "back\\slash\\",
    "one\ntwo",
    "one\n\n  three  \n",
    "\n",
    "\t;\r\n;",
    "[section]",
    "key = value: other",
    "--",
    "-v",
    "*?~!{}|&<>`",
    "käse 日本",
    "\u00a0;\u2028x",
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path


def made(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main(["init", "--json", *words]) == 0, capsys.readouterr()
    answer = json.loads(capsys.readouterr().out)
    assert isinstance(answer, dict)
    return answer


def argv_of(path: str = "circus.ini") -> list[str]:
    """As circusd would start it."""
    (watcher,) = load.load(path, os.environ).watchers
    return expand.expand_command(watcher, wid=1, env=expand.child_environment(watcher, os.environ), sockets={})


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    before = sorted(os.listdir())
    status = main(["init", *words])
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 2
    assert sorted(os.listdir()) == before
    return status, said.err


# What runs is what was given ----------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ODD)
def test_every_argument_comes_through_the_file_as_it_is(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = made(capsys, "--", "/bin/echo", word, "last")
    assert argv_of() == ["/bin/echo", word, "last"] == answer["argv"]
    assert answer["notes"] == []


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=4))
def test_any_argument_comes_through_a_line_of_the_file(words: list[str]) -> None:
    sections, findings = parse_ini(f"[watcher:x]\ncmd = {first.line_of(['/bin/x', *words])}\nlast = 1\n", "x")
    assert findings == []
    (section,) = sections
    assert list(section.entries) == ["cmd", "last"]
    text = section.entries["cmd"].value
    assert expand.variables_in(text) == []
    assert shlex.split(text) == ["/bin/x", *words]


def test_a_circusd_runs_exactly_that(tmp_path: Path) -> None:
    script = tmp_path / "show.py"
    script.write_text(
        "import json, os, sys, time\nprint(json.dumps([sys.argv, os.getcwd()]), flush=True)\ntime.sleep(600)\n"
    )
    words = [word for word in ODD if "\n" not in word]
    with opened(tmp_path / "house", "[circus]\n") as house:
        done = house.ctl(
            "init", "--force", "--name", "Odd one", "--processes", "2", "--", "python3", "../show.py", *words
        )
        assert done.returncode == 0, done.stderr
        house.start()
        told = wait_for(lambda: lines_of(house.folder / "Odd one.log"), "both processes")
        assert [json.loads(line.partition("] | ")[2]) for line in told] == [
            [["../show.py", *words], str(house.folder)]
        ] * 2
        assert house.status() == {"Odd one": "active"}


def lines_of(path: Path) -> list[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return lines if len(lines) == 2 else []


def test_a_program_with_a_socket_is_given_it(tmp_path: Path) -> None:
    with opened(tmp_path / "house", "[circus]\n") as house:
        line = "echo fd=$1; exec sleep 600"
        words = ["--name", "Web", "--socket", "127.0.0.1:0", "--", "sh", "-c", line, "sh", "<$(circus.sockets.web)>"]
        assert house.ctl("init", "--force", *words).returncode == 0
        house.start()
        wait_for(lambda: "fd=<" in house.log("Web.log"), "what the program says")
        (pid,) = house.pids("Web")
        number = re.search("fd=<([0-9]+)>", house.log("Web.log"))
        assert number is not None
        assert os.readlink(f"/proc/{pid}/fd/{number[1]}").startswith("socket:")


# How the program is found -------------------------------------------------------------------------------------


def make_program(path: Path, *, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\nsleep 60\n")
    path.chmod(mode)
    return path


def test_a_program_is_absolute_and_runs_where_it_was_given(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_program(folder / "bin" / "serve")
    assert made(capsys, "./bin/serve", "-v", "--name")["argv"] == [f"{folder}/bin/serve", "-v", "--name"]
    (watcher,) = load.load("circus.ini", os.environ).watchers
    assert (watcher.name, watcher.working_dir) == ("serve", str(folder))
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    assert made(capsys, "--force", "serve")["argv"] == [f"{folder}/bin/serve"]
    monkeypatch.chdir(folder / "bin")
    make_program(folder / "bin" / "own")
    monkeypatch.setenv("PATH", "/nowhere")
    assert made(capsys, "--to", "own.ini", "own")["argv"] == [f"{folder}/bin/own"]


def test_one_word_that_is_no_program_is_a_line_for_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    line = 'echo "a ; b" | tr a b; exec sleep 60 # it\'s $(circus.wid)'
    answer = made(capsys, line)
    assert answer["argv"] == ["/bin/sh", "-c", line] == argv_of()
    assert answer["watcher"] == "echo"


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["./web"], "web"),
        (["/usr/bin/gunicorn", "app:main"], "gunicorn"),
        (["python3", "-u", "src/app.py"], "app"),
        (["python3.11", "-m", "http.server"], "http"),
        (["bash", "run me.sh"], "run-me"),
        (["sh", "-c", "sleep 1"], "sh"),
        (["python3"], "python3"),
        (["./ä"], "program"),
    ],
)
def test_the_name_is_that_of_what_runs(argv: list[str], name: str) -> None:
    assert first.name_of(argv) == name


# The file -----------------------------------------------------------------------------------------------------


def test_the_file_is_checked_as_it_is_and_says_what_comes_next(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--endpoint", "x", "init", "--to", "my app.ini", "/bin/sleep", "60"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"wrote {folder}/my app.ini: watcher sleep runs /bin/sleep 60"
    assert [line.split("  ")[1] for line in out[2:]] == [
        f"circusd --daemon '{folder}/my app.ini'",
        "circusctl --endpoint x status -v",
        "circusctl --endpoint x logs -f sleep",
    ]
    assert main(["config", "check", "my app.ini"]) == 0
    assert capsys.readouterr().out == f"ok: {folder}/my app.ini: 1 watcher, 0 sockets\n"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(os.stat("my app.ini").st_mode) == 0o666 & ~umask
    assert os.listdir() == ["my app.ini"]


def test_what_is_there_is_overwritten_by_force_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "circus.ini").write_text("mine")
    status, said = refused(capsys, "/bin/sleep", "60")
    assert (status, "is there already" in said, "--force" in said) == (1, True, True)
    assert (folder / "circus.ini").read_text() == "mine"
    made(capsys, "--force", "/bin/sleep", "60")
    assert argv_of() == ["/bin/sleep", "60"]


def test_what_came_there_meanwhile_is_not_overwritten_either(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "circus.ini").symlink_to("nowhere")
    status, said = refused(capsys, "/bin/sleep", "60")
    assert (status, "File exists" in said) == (1, True)
    assert os.readlink("circus.ini") == "nowhere"


@pytest.mark.parametrize(
    ("words", "status", "message", "hint"),
    [
        ([], 2, "PROGRAM is missing", "circusctl init -- PROGRAM ARG..."),
        (["--"], 2, "PROGRAM is missing", "circusctl init -- PROGRAM ARG..."),
        (["--proceses", "2", "/bin/sleep"], 2, "--proceses", "did you mean --processes?"),
        (["no-such-program", "x"], 1, "there is no program 'no-such-program'", "PATH"),
        (["./plain.sh"], 1, "./plain.sh is no program", "chmod +x"),
        (["--to", "no/where.ini", "/bin/sleep"], 1, "there is no directory", "--to"),
        (["--to", "x.toml", "/bin/sleep"], 2, "init writes INI", ".ini"),
        (["--socket", "[::1]:80", "/bin/sleep", "1"], 2, "says which descriptor", "'$(circus.sockets.sleep)'"),
        (["--socket", "8000", "/bin/sleep"], 2, "--socket '8000' is no HOST:PORT", "127.0.0.1:8000"),
        (["--processes", "-1", "/bin/sleep"], 1, "nothing was written: ", "hint"),
        (["--name", "a]b", "/bin/sleep"], 1, "nothing was written: ", "hint"),
        (["--name", "", "/bin/sleep", "$(socket.x.port)"], 1, "nothing was written: ", "script"),
        (["/bin/sleep", "\udcff"], 1, "no UTF-8", "hint"),
    ],
)
def test_what_cannot_be_written_is_told_and_leaves_nothing(
    words: list[str], status: int, message: str, hint: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_program(folder / "plain.sh", mode=0o644)
    got, said = refused(capsys, *words)
    assert (got, message in said, hint in said) == (status, True, True), said


def test_a_directory_that_a_file_cannot_say_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a ;b").mkdir()
    monkeypatch.chdir(folder / "a ;b")
    assert "nothing was written: " in refused(capsys, "--to", "../x.ini", "/bin/sleep")[1]


def test_it_needs_no_circusd_and_no_terminal(folder: Path) -> None:
    done = subprocess.run([BIN / "circusctl", "init", "/bin/sleep", "1"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
