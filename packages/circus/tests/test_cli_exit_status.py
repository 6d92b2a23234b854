"""The exit statuses of circusctl, as its page has them, by the real program."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.house import BIN, ROOT, wait_for

from circus.errors import TABLE, CircusError
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher

PAGE = (ROOT / "docs/circusctl.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def circusd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCircusd]:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("CIRCUSCTL_ENDPOINT", raising=False)
    with FakeCircusd(FakeEngine(make_watcher("web")), f"{tmp_path}/circus-default.sock") as circusd:
        yield circusd


def status_of(line: str) -> int:
    """In a shell, where ``circusctl`` is the program."""
    environ = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", line], env=environ, capture_output=True, timeout=100).returncode


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("circusctl status", 0),
        ("circusctl help", 0),
        ("circusctl --version", 0),
        ("circusctl --endpoint nobody status", 1),
        ("circusctl status > /dev/full", 1),
        ("circusctl config check /no/such.ini", 1),
        ("circusctl list >&-", 0),
        ("circusctl nothing", 2),
        ("circusctl incr", 2),
        ("circusctl status --verbos", 2),
        ("circusctl </dev/null", 2),
        ("circusctl status nobody", 3),
        ("circusctl signal web NOPE", 3),
        ("echo status nobody | circusctl", 3),
    ],
)
def test_every_end_has_its_status(line: str, status: int) -> None:
    assert status_of(line) == status


def test_who_is_not_answered_in_time_ends_with_1(circusd: FakeCircusd) -> None:
    circusd.engine.gate = asyncio.Event()
    assert status_of("circusctl --timeout 0.5 stop") == 1


def test_what_circusd_could_not_do_ends_with_3_also_with_json(circusd: FakeCircusd) -> None:
    circusd.engine.refusal = "web: cannot start"
    assert status_of("circusctl start web") == 3
    assert status_of("circusctl --json start web") == 3
    circusd.engine.failure = CircusError("internal", "broken")
    assert status_of("circusctl status") == 1


def test_who_stops_waiting_ends_with_130(circusd: FakeCircusd) -> None:
    circusd.engine.gate = asyncio.Event()
    with subprocess.Popen([BIN / "circusctl", "stop"], stderr=subprocess.DEVNULL) as waiting:
        wait_for(lambda: circusd.engine.heard, "the order")
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(50) == 130
    circusd.call(circusd.engine.gate.set)


def test_the_page_has_every_code_with_its_status() -> None:
    rows = re.findall(r"^\| (\d) \| [^|]* \| ([^|]*) \|$", PAGE, re.MULTILINE)
    told = {code: int(status) for status, codes in rows for code in re.findall(r"`([\w-]+)`", codes)}
    assert told == {code: status for code, (_, status) in TABLE.items()}
