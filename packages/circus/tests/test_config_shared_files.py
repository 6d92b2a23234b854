"""Streams that share a file share its bounds, and a difference is told once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from circus.config import load
from circus.config.model import CircusConfig, ConfigInvalid


def _loaded(folder: Path, *streams: str) -> CircusConfig:
    text = ""
    for number, lines in enumerate(streams):
        text += f"[watcher:w{number}]\ncmd = /bin/true\n{lines}"
    (folder / "circus.ini").write_text(text)
    return load.load(str(folder / "circus.ini"), os.environ)


def _stream(name: str, file: str, max_bytes: int, backup_count: int = 3) -> str:
    return (
        f"{name}_stream.filename = {file}\n{name}_stream.max_bytes = {max_bytes}\n"
        f"{name}_stream.backup_count = {backup_count}\n"
    )


def _bounds(config: CircusConfig) -> list[tuple[int, int]]:
    streams = [stream for each in config.watchers for stream in (each.stdout_stream, each.stderr_stream) if stream]
    return [(stream.max_bytes, stream.backup_count) for stream in streams]


def test_the_larger_bound_of_two_streams_counts_and_is_told_where_the_smaller_is_written(tmp_path: Path) -> None:
    config = _loaded(tmp_path, _stream("stdout", "a.log", 500) + _stream("stderr", "./a.log", 100))
    assert _bounds(config) == [(500, 3), (500, 3)]
    (warning,) = config.warnings
    assert str(warning) == (
        f"{tmp_path}/circus.ini:7: w0: stderr_stream.max_bytes is 100, but 500 counts for {os.path.abspath('a.log')} "
        "(stdout_stream writes the same file; write the same max_bytes for both)"
    )


def test_streams_of_several_watchers_share_too_and_each_bound_is_told_once(tmp_path: Path) -> None:
    streams = [_stream("stdout", "a.log", size, count) for size, count in ((100, 5), (300, 1), (200, 5))]
    config = _loaded(tmp_path, *streams)
    assert _bounds(config) == [(300, 5)] * 3
    told = [str(warning) for warning in config.warnings]
    assert len(told) == 2
    assert "w0: stdout_stream.max_bytes is 100" in told[0] and "stdout_stream of w1" in told[0]
    assert "w1: stdout_stream.backup_count is 1" in told[1] and "stdout_stream of w0" in told[1]


def test_a_stream_without_a_bound_takes_that_of_the_others(tmp_path: Path) -> None:
    config = _loaded(tmp_path, "stdout_stream.filename = a.log\n" + _stream("stderr", "a.log", 100))
    assert (_bounds(config), config.warnings) == ([(100, 3), (100, 3)], ())


def test_never_to_rotate_is_the_largest_bound_where_it_is_written(tmp_path: Path) -> None:
    config = _loaded(tmp_path, _stream("stdout", "a.log", 0) + _stream("stderr", "a.log", 100))
    assert _bounds(config) == [(0, 3), (0, 3)]
    assert "stderr_stream.max_bytes is 100, but 0 counts" in str(config.warnings[0])


def test_other_files_and_equal_bounds_are_left_as_they_are(tmp_path: Path) -> None:
    config = _loaded(
        tmp_path,
        _stream("stdout", "a.log", 100) + _stream("stderr", "a.log", 100),
        _stream("stdout", "b.log", 200) + "stderr_stream.class = StdoutStream\n",
    )
    assert _bounds(config) == [(100, 3), (100, 3), (200, 3), (0, 0)]
    assert config.warnings == ()


def test_a_file_that_one_stream_rotates_by_time_is_rotated_by_time(tmp_path: Path) -> None:
    timed = (
        "stdout_stream.class = TimedRotatingFileStream\nstdout_stream.filename = a.log\nstdout_stream.rotate_when = h\n"
    )
    config = _loaded(tmp_path, timed, "stderr_stream.filename = a.log\n")
    streams = [stream for each in config.watchers for stream in (each.stdout_stream, each.stderr_stream) if stream]
    assert [stream.rotate_when for stream in streams] == ["H", "H"]
    (warning,) = config.warnings
    assert str(warning) == (
        f"{tmp_path}/circus.ini:8: w1: stderr_stream is rotated otherwise than stdout_stream of w0, which counts for "
        f"{os.path.abspath('a.log')} (write the same class, rotate_when, rotate_interval and utc for both)"
    )
    assert _loaded(tmp_path, timed, timed).warnings == ()


def test_streams_of_one_file_have_one_format(tmp_path: Path) -> None:
    json_stream = "stdout_stream.filename = a.log\nstdout_stream.format = json\n"
    with pytest.raises(ConfigInvalid) as caught:
        _loaded(tmp_path, json_stream, "stderr_stream.filename = a.log\n")
    assert str(caught.value.findings[0]) == (
        f"{tmp_path}/circus.ini:7: w1: stderr_stream writes text to {os.path.abspath('a.log')}, and stdout_stream of "
        "w0 writes json (write the same format for both, or another file)"
    )
    assert _loaded(tmp_path, json_stream, json_stream).warnings == ()
