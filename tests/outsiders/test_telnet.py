"""telnet, the program, at papa's port while circusd and its programs are there: what the page about papa promises."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.house import free_port, opened, wait_for

pytestmark = pytest.mark.needs("telnet")

CONFIG = """
[circus]
papa_endpoint = tcp://127.0.0.1:{port}

[watcher:web]
cmd = /bin/sleep 1000
numprocesses = 2
use_papa = true

[socket:front]
host = 127.0.0.1
port = 0
use_papa = true
"""


def telnet(port: int, *lines: str) -> str:
    """What it shows of a session with these lines; the last one ends it."""
    program = subprocess.Popen(
        ["telnet", "127.0.0.1", str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdin is not None
    assert program.stdout is not None
    shown = ""
    for line in lines:
        # It is typed when there is a prompt, as a person would.
        while not shown.endswith("> "):
            char = program.stdout.read(1)
            assert char, shown
            shown += char
        program.stdin.write(f"{line}\n")
        program.stdin.flush()
        shown += "\n"
    shown += program.communicate(timeout=60)[0]
    return shown


def test_a_person_looks_at_what_circusd_has_there(runtime_root: Path) -> None:
    port = free_port()
    with opened(runtime_root / "house", CONFIG.format(port=port)) as house:
        house.start()
        pids = wait_for(lambda: len(found := house.pids("web")) == 2 and found, "two processes")
        shown = telnet(
            port,
            "help",
            "list processes",
            "list sockets",
            "get nothing",
            "set note two words",
            "get note",
            "remove values note",
            "quit",
        )
        assert 'Papa is home. Type "help" for commands.' in shown
        assert "circus.web.1" in shown and "circus.web.2" in shown
        assert all(f"pid={pid} " in shown for pid in pids), shown
        assert "circus.front" in shown
        assert "two words" in shown
        # What is typed there ends nothing that circusd holds.
        assert "circus.web.1" in telnet(port, "exit-if-idle", "list processes", "quit")
        assert house.pids("web") == pids
        house.quit()
        assert "circus.web.2" in telnet(port, "l p circus.web.*", "quit")
        house.start()
        assert house.pids("web") == pids
