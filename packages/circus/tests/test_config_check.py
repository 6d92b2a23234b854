"""`circusctl config check`: everything that is to be said of a file, and nothing is done."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from circus.circusctl import main
from circus.config.check import check
from circus.config.model import Finding


def findings(tmp_path: Path, text: str) -> list[Finding]:
    path = tmp_path / "c.ini"
    path.write_text(text.replace("TMP", str(tmp_path)))
    return check(str(path), {"PATH": "/bin"})[1]


def told(tmp_path: Path, text: str) -> list[str]:
    return [f"{each.line} {each.severity}: {each.what}" for each in findings(tmp_path, text)]


def test_what_only_a_start_meets_is_found(tmp_path: Path) -> None:
    text = "[circus]\npidfile = TMP/no/c.pid\nlogoutput = TMP/no/c.log\nloggerconfig = TMP/no.ini\n"
    assert told(tmp_path, text + "[watcher:w]\ncmd = sleep 1\n") == [
        f"2 error: [circus]: the directory {tmp_path}/no of pidfile does not exist",
        f"3 error: [circus]: the directory {tmp_path}/no of logoutput does not exist",
        f"4 error: [circus]: loggerconfig {tmp_path}/no.ini does not exist",
    ]


@pytest.mark.parametrize("output", ["-", "stdout", "syslog://127.0.0.1:514?user", "TMP/c.log", "c.log"])
def test_where_a_circusd_may_log_is_no_finding(tmp_path: Path, output: str) -> None:
    assert told(tmp_path, f"[circus]\nlogoutput = {output}\npidfile = c.pid\n[watcher:w]\ncmd = sleep 1\n") == []


def test_a_stream_that_may_stop_its_processes_is_a_note(tmp_path: Path) -> None:
    text = "[watcher:w]\ncmd = sleep 1\nstdout_stream.class = StdoutStream\nstdout_stream.stall = forever\n"
    assert told(tmp_path, text) == [
        "4 note: w: stdout_stream is never lost: its processes stand still while nobody takes it, also without "
        "circusd, as soon as papa keeps 2097152 bytes of it"
    ]
    assert told(tmp_path, f"{text}stdout_stream.overflow = drop-oldest\n") == []
    assert told(tmp_path, text.replace("forever", "30s")) == []


def test_logs_that_grow_for_ever_are_one_note(tmp_path: Path) -> None:
    one = "[watcher:w]\ncmd = sleep 1\nstdout_stream.filename = TMP/out.log\nstderr_stream.filename = /dev/null\n"
    assert told(tmp_path, one) == [f"3 note: w: stdout_stream has no max_bytes: {tmp_path}/out.log grows without bound"]
    shared = one.replace("/dev/null", "TMP/out.log")
    assert len(told(tmp_path, shared)) == 1
    more = one + "[watcher:x]\ncmd = sleep 1\nstderr_stream.filename = TMP/x.log\n"
    assert told(tmp_path, more)[0].endswith("grows without bound, and so does another log")
    third = more.replace("/dev/null", "TMP/y.log")
    assert told(tmp_path, third)[0].endswith("grows without bound, and so do 2 other logs")
    rotated = one.replace("stderr_stream.filename = /dev/null", "stdout_stream.max_bytes = 1m")
    assert "stdout_stream has no backup_count" in told(tmp_path, rotated)[0], "one that is never cut off"
    assert told(tmp_path, rotated + "stdout_stream.backup_count = 1\n") == []
    timed = one + "stdout_stream.class = TimedRotatingFileStream\nstdout_stream.rotate_when = D\n"
    assert "stdout_stream has no backup_count" in told(tmp_path, timed)[0], "which keeps all its backups"
    assert told(tmp_path, timed + "stdout_stream.backup_count = 7\n") == []
    watched = one + "stdout_stream.class = WatchedFileStream\n"
    assert "stdout_stream has no rotation of its own" in told(tmp_path, watched)[0]


# The command ------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    (tmp_path / "checked_hooks.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nprint('hello')\ndef up(**_): 0\n"
    )
    path = tmp_path / "c.ini"
    path.write_text(
        f"[watcher:w]\ncmd = sleep 1\nhooks.after_start = checked_hooks.up\n[env]\nPYTHONPATH = {tmp_path}\n"
        "[socket:s]\nport = 0\n"
    )
    return path


def test_a_clean_file_is_said_to_be_so_and_no_code_of_its_user_runs(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "check", str(file)]) == 0
    note, ok = capsys.readouterr().out.splitlines()
    assert note.startswith(f"{file}:3: note: 1 hook not looked up, because that runs users' code (--hooks ")
    assert ok == f"ok: {file}: 1 watcher, 1 socket"
    assert not (file.parent / "ran").exists()


def test_hooks_are_looked_up_for_who_asks(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "--hooks", str(file)]) == 0
    assert capsys.readouterr() == (f"ok: {file}: 1 watcher, 1 socket\n", "hello\n")
    assert (file.parent / "ran").exists()
    file.write_text(file.read_text().replace(".up", ".down"))
    assert main(["config", "check", "--hooks", str(file)]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file}:3: error: w: after_start: hook checked_hooks.down: AttributeError: ")
    assert last == f"error: {file}: 1 error"


def test_a_warning_is_no_failure(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("[circus]\nfoo = 1\n[watcher:w]\ncmd = sleep 1\n")
    assert main(["config", "check", str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{file}:2: warning: [circus]: unknown option foo (it has no effect; remove it)",
        f"ok: {file}: 1 watcher, 0 sockets, 1 warning",
    ]


def test_json_has_every_finding_and_the_code_of_the_failure(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("[watcher:w]\nnumprocesses = few\n")
    assert main(["config", "check", str(file), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["error"] == {"code": "failed", "message": f"{file} has 2 errors", "hint": "mend what is listed"}
    assert [(each["line"], each["severity"]) for each in answer["findings"]] == [(1, "error"), (2, "error")]
    assert answer["findings"][1]["hint"] == "write digits only"


@pytest.mark.parametrize("content", [None, b"\xff", b"[watcher:w\n", b"\0"])
def test_what_is_no_configuration_is_one_clear_line(
    file: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    assert main(["config", "check", str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert ": error: " in lines[0]
    assert lines[-1] == f"error: {file}: 1 error"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["config"], "config needs another word: check"),
        (["config", "--json"], "config needs another word"),
        (["config", "chek", "x"], "unknown command 'config chek'"),
        (["config", "check"], "FILE"),
    ],
)
def test_a_wrong_line_is_usage(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert said in out + err


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_on_the_first_word_lists_the_others(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", word]) == 0
    said = capsys.readouterr().out
    assert [line.split()[:2] for line in said.splitlines() if line.startswith("config ")] == [
        ["config", "check"],
        ["config", "show"],
        ["config", "schema"],
    ]
