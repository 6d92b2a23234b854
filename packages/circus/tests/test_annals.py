"""Who ordered what, and what ran well: kept whatever a crash has left, and never a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from circus.engine import annals
from circus.engine.annals import Annals, Good, Order

STOP = Order("stop", "uid 7", "unix", 100.0, "17-1")
SET = Order("set", "token deploy", "192.0.2.7", 101.0, "17-2", along=True)
GOOD = Good(90.0, {"cmd": ("/bin/web", "a1"), "env TOKEN": ("", "b2")})


def wrote(folder: Path) -> Annals:
    kept = Annals(folder)
    kept.note_order(["Web", "db"], "wish", STOP)
    kept.note_order(["web"], "set", SET)
    kept.note_good("web", GOOD)
    content = kept.take()
    assert content is not None
    assert kept.take() is None
    kept.write(content)
    return kept


def test_what_was_noted_is_known_to_the_next(tmp_path: Path) -> None:
    first = wrote(tmp_path / "state")
    again = Annals(tmp_path / "state")
    assert (again.order("WEB", "wish"), again.order("web", "set"), again.order("db", "wish")) == (STOP, SET, STOP)
    assert again.order("web", "count") is again.order("nobody", "wish") is again.good("db") is None
    assert again.good("web") == GOOD
    assert again.digest("secret") == first.digest("secret") != again.digest("Secret")
    assert Annals(tmp_path / "other").digest("secret") != first.digest("secret")
    assert not again.trouble
    assert (tmp_path / "state" / annals.NAME).stat().st_mode & 0o777 == 0o600


def test_who_is_not_there_any_more_is_forgotten(tmp_path: Path) -> None:
    wrote(tmp_path)
    again = Annals(tmp_path)
    again.keep(["DB"])
    assert again.order("web", "wish") is None
    again.write(again.take() or b"")
    assert (tmp_path / annals.NAME).read_text().count("watcher") == 1
    assert Annals(tmp_path).order("db", "wish") == STOP


@pytest.mark.parametrize("junk", ["{", '{"watcher":"web"}', '{"watcher":"web","orders":{"wish":1}}', "[]", '{"key":1}'])
def test_a_damaged_line_is_skipped_and_said(tmp_path: Path, junk: str) -> None:
    wrote(tmp_path)
    path = tmp_path / annals.NAME
    path.write_text(f"{path.read_text()}{junk}\n")
    again = Annals(tmp_path)
    assert again.order("db", "wish") == STOP
    assert "1 damaged" in again.trouble


def test_without_its_key_nothing_is_compared(tmp_path: Path) -> None:
    wrote(tmp_path)
    path = tmp_path / annals.NAME
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if '"key"' not in line))
    again = Annals(tmp_path)
    assert again.order("web", "wish") == STOP
    assert again.good("web") is None


def test_those_of_a_newer_circusd_are_set_aside(tmp_path: Path) -> None:
    (tmp_path / annals.NAME).write_text(f'{{"format":{annals.FORMAT + 1}}}\n')
    kept = Annals(tmp_path)
    assert "newer" in kept.trouble
    assert kept.order("web", "wish") is None
    assert (tmp_path / "annals.newer").exists()


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / annals.NAME).mkdir()
    assert "cannot read" in Annals(tmp_path).trouble
