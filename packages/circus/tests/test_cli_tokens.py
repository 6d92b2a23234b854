from __future__ import annotations

import re
from pathlib import Path

import pytest

from circus.circusctl import main
from circus.cli import tokens
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "c.sock")


def test_a_token_is_made_listed_and_revoked(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = FakeEngine(make_watcher("web"))
    engine.state_directory = str(tmp_path)
    with FakeCircusd(engine, path):
        ctl = ["--endpoint", path, "token"]
        words = ["create", "ci", "--role", "operator", "--verb", "restart", "--watcher", "w*", "--expires", "30d"]
        assert main([*ctl, *words]) == 0
        said = capsys.readouterr()
        token = said.out.strip()
        assert re.fullmatch(r"ct_[0-9a-f]{12}_[0-9a-f]{64}", token)
        assert said.err == "keep it: it is not told again\nnothing listens over TCP: see [circus] api.listen\n"
        assert main([*ctl, "list"]) == 0
        listed = capsys.readouterr().out
        assert re.fullmatch(
            r"[0-9a-f]{12} ci: operator \(restart\) of w\*, since \d+s by uid \d+, expires in 29d23h, never used\n",
            listed,
        )
        assert main([*ctl, *words]) == 3
        assert "there is a token 'ci' already" in capsys.readouterr().err
        assert main([*ctl, "revoke", token]) == 0
        assert main([*ctl, "revoke", "ci"]) == 3
        capsys.readouterr()
        assert main([*ctl, "list"]) == 0
        assert capsys.readouterr().out == ""


def test_lines_say_what_a_token_may_and_how_it_stands() -> None:
    row = {"id": "1", "name": "a", "role": "viewer", "verbs": None, "watchers": ["*"], "created": 0.0, "by": "uid 0"}
    rest = {"expires": None, "expired": False, "last_used": 40.0}
    assert tokens.line_of({**row, **rest}, 100.0) == "1 a: viewer, since 1m40s by uid 0, used 1m00s ago"
    rest = {"expires": 90.0, "expired": True, "last_used": None}
    assert tokens.line_of({**row, **rest}, 100.0) == "1 a: viewer, since 1m40s by uid 0, expired, never used"


@pytest.mark.parametrize("text", ["30", "d", "0d", "-1d", "1.5d", "1w", "٣d"])
def test_what_is_no_time_is_wrong_usage(path: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--endpoint", path, "token", "create", "x", "--role", "viewer", f"--expires={text}"]) == 2
    assert "is no time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--endpoint", "https://127.0.0.1:1", "status"], "needs a token"),
        (["--endpoint", "https://127.0.0.1:1", "--token-file", "/no/such", "status"], "No such file"),
        (["--token-file", "/x", "status"], "--token-file is for an endpoint over TCP"),
        (["--fingerprint", "a" * 64, "status"], "--fingerprint is for an endpoint over TCP"),
        (["--endpoint", "https://127.0.0.1:1", "logs", "web", "db"], "logs shows one watcher"),
        (["--endpoint", "https://127.0.0.1:1", "logs", "w*"], "logs shows one watcher"),
        (["--endpoint", "https://127.0.0.1:1", "logs", "web", "--grep", "x"], "--grep works on circusd's own host"),
        (["--endpoint", "https://127.0.0.1:1", "logs", "web", "--cursor", "x"], "--cursor works on circusd's own host"),
        (["--endpoint", "https://127.0.0.1:1", "config", "show", "web"], "give FILE"),
        (["--endpoint", "https://127.0.0.1:1", "audit"], "audit reads a file of this host"),
    ],
)
def test_what_does_not_work_over_tcp_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CIRCUSCTL_TOKEN", raising=False)
    if {"logs", "config", "audit"}.intersection(words):
        monkeypatch.setenv("CIRCUSCTL_TOKEN", "ct_x")
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 2
