"""The page about the text language shows real sessions, and all of the language."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

import pytest

from papa import model
from papa.kernel import server, watch
from papa.wire import session, text, text_lines
from papa.wire.text_reply import GREETING

PAGE = (Path(__file__).parents[3] / "docs/reference/text.md").read_text(encoding="utf-8")
SESSIONS = re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

#: What is another number each time.
OTHERWISE = [
    (r"pid=\d+", "pid=N"),
    (r"port=\d+", "port=N"),
    (r"\b\d{10}\.\d+", "TIME"),
    (r"\b\d\d:\d\d:\d\d\.\d{3}", "CLOCK"),
    (r"--- \d{4}-\d\d-\d\d \w+", "DATE"),
]


def plain(said: str) -> str:
    for pattern, word in OTHERWISE:
        said = re.sub(pattern, word, said)
    return said


def exchanges(shown: str) -> list[tuple[str, str]]:
    """What is typed, and what must come upon it up to the next prompt; the first is typed before anything."""
    found = [["", ""]]
    for line in shown.splitlines(keepends=True):
        if line.startswith(("> ", "] ")):
            if line.startswith("> ") and found[-1][1] == "" and found[-1][0]:
                # An answer without data is left out on the page.
                found[-1][1] = "\n"
            found[-1][1] += line[:2]
            found.append([line[2:], ""])
        elif line == "(Enter)\n":
            found.append(["\n", ""])
        else:
            found[-1][1] += line
    return [(typed, said) for typed, said in found]


def heard(sock: socket.socket, expected: str) -> str:
    """What comes, until it is as much as expected, or nothing more comes."""
    said = ""
    sock.settimeout(30)
    while plain(said) != plain(expected) and len(said) < len(expected) + 100:
        more = sock.recv(1)
        if not more:
            break
        said += more.decode()
    return said


@pytest.mark.parametrize("shown", SESSIONS, ids=lambda shown: shown.split("\n")[1][:40])
def test_a_session_runs_as_it_is_shown(hosted, shown):
    host = hosted()
    peer = host.connect()

    def is_quiet() -> bool:
        rows = peer.request("list", what="processes")["items"]
        has_spoken = all(row["streams"]["out"]["head"] for row in rows)
        return has_spoken and all(row["name"] != "job" or not row["running"] for row in rows)

    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(host.path)
        if not shown.startswith("Papa"):
            assert heard(sock, GREETING.decode()) == GREETING.decode()
            shown = shown.removeprefix("> ")
            shown = "> " + shown
        for at, (typed, expected) in enumerate(exchanges(shown)):
            if at == 0 and not shown.startswith("Papa"):
                continue
            if typed.startswith(("watch", "list", "make")):
                deadline = time.monotonic() + 30
                while not is_quiet():
                    assert time.monotonic() < deadline
                    time.sleep(0.002)
            sock.sendall(typed.encode())
            # The last answer is followed by a prompt that the page leaves out.
            assert plain(heard(sock, expected)) == plain(expected), typed


def test_there_are_sessions():
    assert len(SESSIONS) == 4


def test_every_command_has_its_section():
    headings = {name for line in re.findall(r"^### (.*)$", PAGE, re.MULTILINE) for name in line.split(", ")}
    assert set(text.COMMANDS) == headings


def test_every_option_is_explained():
    for options in text.OPTIONS.values():
        for option in options:
            shown = f"`{option}NAME`" if option.endswith(".") else f"`{option}`"
            assert shown in PAGE, option


@pytest.mark.parametrize(
    "said",
    [
        f"{session.MAX_LINE}\n  bytes",
        f"1 to {model.MAX_NAME} bytes",
        f"At most {server.MAX_CONNECTIONS}\nconnections",
        f"{server.MAX_QUEUED >> 20} MiB unread",
        f"{server.ENOUGH_QUEUED >> 20} MiB of answers",
        f"at most {watch.FRAME_BYTES >> 10} KiB of output",
        f"longer than {text_lines.MAX_LINE} bytes",
        f"`{model.DEFAULT_BOUND >> 20}m` when not given",
        f"connections that may wait; {text.TEXT_BACKLOG}",
    ],
)
def test_bounds_are_those_of_the_code(said):
    assert " ".join(said.split()) in " ".join(PAGE.split())
