"""The last lines of a process, as many as an event may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from circus.logbook import catalogue, tail


def logged(tmp_path: Path, text: str) -> str:
    """A state directory that knows a log of one watcher, in which this stands."""
    log = tmp_path / "web.log"
    log.write_text(text)
    entries: dict[str, catalogue.Entry] = {}
    catalogue.note(entries, str(log), catalogue.FILE, "web", "stdout")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / catalogue.NAME).write_bytes(catalogue.encode(entries))
    return str(tmp_path)


def last(state: str) -> list[str]:
    return tail.last_lines(state, "web", 0, 4711, 0.0)


@pytest.mark.parametrize("count", [0, 1, 20, 21, 5000])
def test_so_many_lines_and_no_more(tmp_path: Path, count: int) -> None:
    state = logged(tmp_path, "".join(f"line {number}\n" for number in range(count)))
    assert last(state) == [f"line {number}" for number in range(count)][-tail.MAX_LINES :]


def test_so_many_characters_and_no_more_the_last_ones(tmp_path: Path) -> None:
    found = last(logged(tmp_path, "a" * 3000 + "\n" + "b" * 3000 + "\nend\n"))
    assert [(line[0], len(line)) for line in found] == [("a", 997), ("b", 3000), ("e", 3)]


def test_nobody_knows_of_any(tmp_path: Path) -> None:
    state = logged(tmp_path, "a line\n")
    assert tail.last_lines(state, "db", 1, 4711, 0.0) == []
