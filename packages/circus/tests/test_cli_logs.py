"""`circusctl logs` as people see it: what is shown of which lines, and what is said where there is none."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.house import wait_for

from circus.circusctl import main
from circus.cli import logs, shades
from circus.engine import history, memory
from circus.engine.history import Exit
from circus.logbook import catalogue, entries, writing
from circus.logbook.entries import Run, Source
from circus.logbook.writing import Book, Laid
from circus.testing.circusd import FakeCircusd, FakeEngine, make_watcher

OUT, ERR, DB = Source("web", 1, 10, "stdout"), Source("web", 2, 11, "stderr"), Source("db", 1, 12, "stdout")
SECOND = 1_000_000_000
#: 2026-11-22 10:00 UTC
TEN = 1_795_341_600


class Place:
    """A state directory with logs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = memory.state_directory("default")
        self.logs = str(self.state / "logs")
        self._known: dict[str, catalogue.Entry] = {}

    def write(self, name: str, *lines: tuple[float, Source, bytes]) -> Path:
        path = self.folder / name
        with path.open("ab") as file:
            base = file.tell()
            file.write(b"".join(line for _, _, line in lines))
        for _, source, _ in lines:
            catalogue.note(self._known, str(path), catalogue.FILE, source.watcher, source.stream)
        catalogue.save(self.logs, self._known)
        book = Book(writing.directory_of(self.logs, str(path)), str(path))
        found = path.stat()
        runs = entries.joined(Run(source, len(line), int(at_s * SECOND)) for at_s, source, line in lines)
        head = path.read_bytes()[: writing.HEAD_BYTES]
        book.lay(Laid(str(path), found.st_dev, found.st_ino, base, head, tuple(runs)))
        book.close()
        return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("PAPA_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("CIRCUSCTL_ENDPOINT", raising=False)
    time.tzset()
    place = Place(tmp_path)
    place.write("web.log", (TEN, OUT, b"out 1\n"), (TEN + 2, ERR, b"err \xff\n"), (TEN + 4, OUT, b"out 2\n"))
    place.write("db.log", (TEN + 1, DB, b"db 1\n"), (TEN + 3, DB, b"db 2\n"))
    return place


@pytest.fixture
def shown(place: Place, capsysbinary: pytest.CaptureFixture[bytes]) -> Iterator[object]:
    def run(line: str) -> tuple[int | str | None, list[bytes], str]:
        capsysbinary.readouterr()
        status = main(line.split())
        out, err = capsysbinary.readouterr()
        return status, out.splitlines(), err.decode()

    yield run


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("web", [b"out 1", b"err \xff", b"out 2"]),
        ("WEB DB", [b"out 1", b"db 1", b"err \xff", b"db 2", b"out 2"]),
        ("*", [b"out 1", b"db 1", b"err \xff", b"db 2", b"out 2"]),
        ("* -n 2", [b"db 2", b"out 2"]),
        ("* -n 0", []),
        ("* --lines all", [b"out 1", b"db 1", b"err \xff", b"db 2", b"out 2"]),
        ("web --stream stderr", [b"err \xff"]),
        ("web --instance 1", [b"out 1", b"out 2"]),
        ("* --grep [12]$", [b"out 1", b"db 1", b"db 2", b"out 2"]),
        ("* --grep [12]$ -n 1", [b"out 2"]),
        ("* --since 2026-11-22T10:00:02", [b"err \xff", b"db 2", b"out 2"]),
        ("* --until 2026-11-22T10:00:01", [b"out 1", b"db 1"]),
        ("* --since 2026-11-22T10:00:01Z --until 2026-11-22T12:00:03+02:00", [b"db 1", b"err \xff", b"db 2"]),
        ("* --since 2030-01-01", []),
    ],
)
def test_what_is_asked_for_is_shown_as_it_was_written(line: str, expected: list[bytes], shown: object) -> None:
    assert shown(f"logs {line}") == (0, expected, "")  # type: ignore[operator]


def test_a_full_disk_is_told_in_one_line(place: Place) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "circus.circusctl", "logs", "*"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard output cannot be written: No space left on device\n  hint: ")
    assert len(done.stderr.splitlines()) == 2


def test_with_json_each_line_says_whose_it_is_and_where_to_go_on(shown: object) -> None:
    status, lines, _ = shown("logs * --json")  # type: ignore[operator]
    rows = [json.loads(line) for line in lines]
    assert status == 0
    assert rows[2]["raw"] == base64.b64encode(b"err \xff").decode()
    assert {key: value for key, value in rows[2].items() if key not in ("raw", "cursor")} == {
        "time": "2026-11-22T10:00:02.000000Z",
        "watcher": "web",
        "wid": 2,
        "pid": 11,
        "stream": "stderr",
        "line": "err \ufffd",
    }
    for number, row in enumerate(rows):
        _, rest, _ = shown(f"logs * --cursor {row['cursor']}")  # type: ignore[operator]
        assert rest == [b"out 1", b"db 1", b"err \xff", b"db 2", b"out 2"][number + 1 :]
    _, lines, _ = shown(f"logs * -n 1 --json --cursor {rows[1]['cursor']}")  # type: ignore[operator]
    assert json.loads(lines[0]) == rows[2]
    _, lines, _ = shown("logs * -n 2 --json")  # type: ignore[operator]
    assert [json.loads(line)["cursor"] for line in lines] == [row["cursor"] for row in rows[3:]]


def test_what_is_gone_behind_a_cursor_is_said(place: Place, shown: object) -> None:
    _, lines, _ = shown("logs web --json -n 3")  # type: ignore[operator]
    cursor = json.loads(lines[0])["cursor"]
    (place.folder / "web.log").unlink()
    path = place.write("web.log", (TEN + 9, OUT, b"new\n"))
    status, lines, err = shown(f"logs web --cursor {cursor}")  # type: ignore[operator]
    assert (status, lines) == (0, [b"new"])
    assert err == f"warning: 12 bytes of {path} are gone: they were rotated away before they were read\n"
    _, lines, _ = shown(f"logs web --json --cursor {cursor}")  # type: ignore[operator]
    assert json.loads(lines[1]) == {"missing_bytes": 12, "path": str(path)}


def test_around_an_exit_are_the_last_lines_and_those_of_the_next_second(place: Place, shown: object) -> None:
    ends = history.History(Path(place.state))
    ends.write(
        [
            Exit(TEN + 1.0, "web", 1, 10, TEN - 5.0, 0, False),
            Exit(TEN + 1.5, "web", 2, 11, TEN - 5.0, -9, False),
            Exit(TEN + 2.0, "db", 1, 12, TEN - 5.0, 1, False),
        ]
    )
    assert shown("logs web --around-exit 1")[1] == [b"err \xff"]  # type: ignore[operator]
    assert shown("logs web --around-exit 2")[1] == [b"out 1"]  # type: ignore[operator]
    assert shown("logs db --around-exit 1 -n 1")[1] == [b"db 2"]  # type: ignore[operator]
    status, _, err = shown("logs web --around-exit 3")  # type: ignore[operator]
    assert status == 3
    assert "2 ends are known" in err


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("logs", 2, "NAME"),
        ("logs wbe", 3, "did you mean 'web'?"),
        ("logs web --grep (", 2, "no regular expression"),
        ("logs web --since soon", 2, "'soon' is no time"),
        ("logs web --cursor x", 2, "'x' is no cursor"),
        ("logs web -n some", 2, "neither a number nor all"),
        ("logs web -f --until now", 2, "exclude each other"),
        ("logs web --around-exit 0", 2, "is no end"),
        ("logs web --around-exit 1 -f", 2, "exclude each other"),
        ("logs web --stream stdin", 2, "stdin"),
        ("--endpoint /run/other.sock logs web", 1, "no circusd answers"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_line(line: str, status: int, message: str, shown: object) -> None:
    got, out, err = shown(line)  # type: ignore[operator]
    assert (got, out) == (status, [])
    assert message in err
    assert len(err.splitlines()) <= 2


def test_a_circusd_that_runs_says_where_its_state_is(place: Place, shown: object, tmp_path: Path) -> None:
    engine = FakeEngine(make_watcher("web"), make_watcher("silent"), name="other")
    engine.state_directory = str(place.state)
    with FakeCircusd(engine, f"{tmp_path}/circus-other.sock"):
        assert shown("--endpoint other logs web -n 1")[1] == [b"out 2"]  # type: ignore[operator]
        status, _, err = shown("--endpoint other logs silent")  # type: ignore[operator]
        assert (status, "silent: there is no log" in err) == (3, True)


# Following --------------------------------------------------------------------------------------------------


def follow(place: Place, *words: str, out: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "circus.circusctl", "logs", "-f", *words],
        stdout=out,
        stderr=subprocess.PIPE,
        env={**os.environ, "PAPA_RUNTIME_DIR": str(place.folder)},
    )


def test_what_comes_is_shown_until_ctrl_c_which_ends_it_quietly(place: Place) -> None:
    with follow(place, "web", "-n", "1") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"out 2\n"
        place.write("web.log", (TEN + 5, OUT, b"more\n"), (TEN + 5, DB, b"not this\n"))
        assert process.stdout.readline() == b"more\n"
        place.write("new.log", (TEN + 6, ERR, b"another file\n"))
        assert process.stdout.readline() == b"another file\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (logs.INTERRUPTED, b"", b"")


def test_a_pipe_that_nobody_reads_any_more_ends_it_quietly(place: Place) -> None:
    with follow(place, "web", "-n", "1") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"out 2\n"
        process.stdout.close()

        def has_ended() -> bool:
            place.write("web.log", (TEN + 5, OUT, b"more\n"))
            return process.poll() is not None

        wait_for(has_ended, "its end")
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_people_at_a_terminal_see_whose_lines_they_are(
    shown: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shades.time, "time", lambda: float(TEN + 86400))
    assert shown("--table logs web")[1] == [
        b"2026-11-22 10:00:00.000 web.1 | out 1",
        "2026-11-22 10:00:02.000 web.2 ! err \N{REPLACEMENT CHARACTER}".encode(),
        b"2026-11-22 10:00:04.000 web.1 | out 2",
    ]
    assert shown("--table logs web --raw")[1] == shown("logs web")[1]
    coloured = shown("--table --color always logs web")[1]
    assert b"\x1b[1;31m!\x1b[0m err" in coloured[1]
