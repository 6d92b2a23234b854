"""The program circus-top, before it has a screen."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import circus
from circus.tui import program, sparks


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "circus.circustop", *words]
    env = {**os.environ, **environ}
    return subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50)


def test_it_says_its_version_and_what_it_takes() -> None:
    assert run("--process-timeout", "3", "--version").stdout == f"{circus.__version__}\n"
    told = run("--help").stdout
    for option in ("--endpoint", "--ssh", "--token-file", "--version"):
        assert option in told


def test_without_a_terminal_it_says_what_needs_none() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "circus-top needs a terminal" in done.stderr and "circusctl status" in done.stderr


def test_a_wrong_command_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--nonsense"]) == 2
    assert "unrecognized arguments: --nonsense" in capsys.readouterr().err


def test_where_no_circusd_answers_it_says_so_and_ends(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "circus.circustop", "--endpoint", str(tmp_path / "none.sock")]
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True) as running:
        said = running.communicate(timeout=50)[1]
    os.close(ours)
    os.close(theirs)
    assert running.returncode == 1
    assert "no circusd answers at" in said and "hint:" in said


def test_over_ssh_it_runs_there_with_the_same_words(tmp_path: Path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    ssh.chmod(0o755)
    done = run("--ssh", "me@host:2222", "--endpoint", "my shop", PATH=str(tmp_path))
    assert done.stdout.splitlines() == ["-p", "2222", "--", "me@host", "circus-top --endpoint 'my shop'"]


@pytest.mark.parametrize(
    ("terminal", "encoding", "levels"),
    [
        ("xterm", "UTF-8", sparks.BLOCKS),
        ("screen", "utf8", sparks.BLOCKS),
        ("linux", "UTF-8", sparks.PLAIN),
        ("xterm", "ANSI_X3.4-1968", sparks.PLAIN),
    ],
)
def test_curves_are_made_of_what_the_terminal_has(
    monkeypatch: pytest.MonkeyPatch, terminal: str, encoding: str, levels: str
) -> None:
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setattr(program.locale, "getpreferredencoding", lambda do_setlocale: encoding)
    assert program._levels() == levels
