"""The ancestors' stream classes, called by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from circus import stream


def data(text: bytes, pid: int = 7) -> dict[str, Any]:
    return {"data": text, "pid": pid, "name": "stdout", "timestamp": 0.0}


def test_a_file_is_appended_to_and_rotated(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    made = stream.FileStream(filename=str(path), max_bytes="16", backup_count="2", other="key")
    for number in range(4):
        made(data(b"line %d\n" % number))
    made.close()
    made.open()
    made(data(b"end\n"))
    made.close()
    assert [each.read_bytes() for each in sorted(tmp_path.iterdir())] == [
        b"line 3\nend\n", b"line 1\nline 2\n", b"before\nline 0\n",
    ]  # fmt: skip


def test_a_file_without_a_name_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = stream.FileStream()
    made(data(b"x"))
    made.close()
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == b"x"


def test_lines_have_their_time(tmp_path: Path) -> None:
    made = stream.FileStream(str(tmp_path / "log"), time_format="%Y")
    made(data(b"a\nb\n"))
    made.close()
    assert (tmp_path / "log").read_text().splitlines()[1].endswith(" [7] | b")


def test_a_watched_file_is_opened_anew_when_it_was_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "log"
    made = stream.WatchedFileStream(str(path))
    made(data(b"one\n"))
    path.rename(tmp_path / "log.1")
    made(data(b"two\n"))
    path.unlink()
    made(data(b"three\n"))
    made.close()
    assert (path.read_bytes(), (tmp_path / "log.1").read_bytes()) == (b"three\n", b"one\n")


def test_a_file_is_rotated_by_the_time_of_writing(tmp_path: Path) -> None:
    keys = {"rotate_when": "m", "utc": "true", "backup_count": "2", "other": "key"}
    made = stream.TimedRotatingFileStream(str(tmp_path / "log"), **keys)  # type: ignore[arg-type]
    for minute in (0, 0, 1, 2, 3, 1):
        made({**data(b"%d\n" % minute), "timestamp": 60.0 * minute + 7})
    made.close()
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {
        "log": b"3\n1\n",
        "log.197001010001": b"1\n",
        "log.197001010002": b"2\n",
    }
    with pytest.raises(ValueError, match="is not a time to rotate at"):
        stream.TimedRotatingFileStream(str(tmp_path / "log"))


def test_standard_output_is_plain_or_fancy(capsys: pytest.CaptureFixture[str]) -> None:
    stream.StdoutStream()(data(b"plain\n"))
    stream.FancyStdoutStream(color="Red", time_format="%S")(data(b"fancy\n"))
    assert capsys.readouterr().out == "plain\n\033[0;31;40m00 [7] | fancy\033[0m\n"


def test_a_queue_keeps_what_it_is_called_with() -> None:
    made = stream.QueueStream()
    made(data(b"x"))
    assert made.get_nowait() == data(b"x")


def test_classes_can_be_built_on(tmp_path: Path) -> None:
    class Loud(stream.FileStream):
        def write_data(self, data: Any) -> None:
            super().write_data({**data, "data": data["data"].upper()})

    made = Loud(str(tmp_path / "log"))
    made(data(b"quiet\n"))
    made.close()
    assert (tmp_path / "log").read_bytes() == b"QUIET\n"
