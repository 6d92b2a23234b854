"""The store: what goes into no file, against a plain list of lines."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circus.logbook import catalogue, copies, entries, writing
from circus.logbook.catalogue import Entry
from circus.logbook.copies import Copy, Kept
from circus.logbook.entries import Source
from circus.logbook.reading import LogReader, Query

ONE, TWO = Source("web", 1, 10, "stdout"), Source("web", 2, 11, "stdout")
SECOND = 1_000_000_000
WEB = Query(frozenset({"web"}))


def kept(source: Source, *parts: tuple[int, bytes]) -> Kept:
    return Kept(source, b"".join(text for _, text in parts), tuple((len(text), at_s * SECOND) for at_s, text in parts))


def read(logs: Path, path: str) -> list[tuple[int, Source | None, bytes]]:
    reader = LogReader(Entry(path, catalogue.STORE, {"web": {"stdout"}}), str(logs), WEB)
    reader.open()
    try:
        return [(line.at_ns, line.source, line.data) for line in reader.forward(reader.begin)]
    finally:
        reader.close()


def size(path: str) -> int:
    return sum(each.stat().st_size for each in Path(path).parent.iterdir())


lines = st.lists(
    st.tuples(st.integers(1, 99), st.sampled_from([b"a\n", b"\n", b"some line\n", b"x" * 90 + b"\n"])), min_size=1
)
batches = st.lists(st.lists(st.tuples(st.sampled_from([ONE, TWO]), lines), min_size=1, max_size=3), max_size=8)


@settings(deadline=None, max_examples=60)
@given(batches, st.integers(1, 3))
def test_the_store_is_the_end_of_the_plain_list_of_lines(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[Source, list[tuple[int, bytes]]]]], lives: int
) -> None:
    logs = tmp_path_factory.mktemp("logs")
    path = copies.path_of(str(logs), "web", "stdout")
    told = []
    copy = Copy(str(logs), path, size_bytes=4000, age_s=1000)
    for number, batch in enumerate(batches):
        if number % 3 >= lives:
            copy.close()  # circusd was killed
            copy = Copy(str(logs), path, size_bytes=4000, age_s=1000)
        copy.keep([kept(source, *parts) for source, parts in batch])
        told += [(at_s * SECOND, source, text.removesuffix(b"\n")) for source, parts in batch for at_s, text in parts]
        assert size(path) <= 2000
    copy.close()
    if batches:
        found = read(logs, path)
        assert found == told[-len(found) :]
        written = sum(len(text) + 1 for _, _, text in told)
        assert sum(len(text) + 1 for _, _, text in found) >= min(written, 1000)  # two parts at least, but for one line


def test_a_line_that_has_no_end_is_ended_before_another_process_speaks(tmp_path: Path) -> None:
    path = copies.path_of(str(tmp_path), "web", "stdout")
    copy = Copy(str(tmp_path), path, size_bytes=100_000, age_s=1000)
    copy.keep([kept(ONE, (1, b"be")), kept(ONE, (2, b"gun\nha"))])
    copy.keep([kept(TWO, (3, b"two\n")), kept(ONE, (4, b"lf"))])
    copy.keep([kept(ONE._replace(look=entries.MARK), (5, b"[papa: 3 bytes of output were dropped here]\n"))])
    copy.close()
    again = Copy(str(tmp_path), path, size_bytes=100_000, age_s=1000)
    again.keep([kept(TWO, (6, b"x"))])
    again.close()
    Copy(str(tmp_path), path, size_bytes=100_000, age_s=1000).keep([kept(TWO, (7, b"y\n"))])
    assert [(at_ns // SECOND, data) for at_ns, _, data in read(tmp_path, path)] == [
        (1, b"begun"),
        (2, b"ha"),
        (3, b"two"),
        (4, b"lf"),
        (5, b"[papa: 3 bytes of output were dropped here]"),
        (6, b"x"),
        (7, b"y"),
    ]


def test_more_than_the_store_holds_leaves_its_end(tmp_path: Path) -> None:
    path = copies.path_of(str(tmp_path), "web", "stdout")
    copy = Copy(str(tmp_path), path, size_bytes=800, age_s=1000)
    copy.keep([kept(ONE, (1, b"x" * 5000), (2, b"\nlast\n"))])
    copy.close()
    assert size(path) <= 400
    assert read(tmp_path, path)[-1] == (2 * SECOND, ONE, b"last")


def test_parts_go_when_they_are_old(tmp_path: Path) -> None:
    path = copies.path_of(str(tmp_path), "web", "stdout")
    other = copies.path_of(str(tmp_path), "gone", "stdout")
    copy = Copy(str(tmp_path), path, size_bytes=800, age_s=50)
    copy.keep([kept(ONE, (1, b"x" * 90 + b"\n"), (2, b"y" * 90 + b"\n"))])
    Copy(str(tmp_path), other, size_bytes=800, age_s=50).keep([kept(ONE, (1, b"x\n"))])
    os.utime(f"{path}.1", (time.time() - 60, time.time() - 60))
    copies.forget(str(tmp_path), [path], 50)
    assert [each.name for each in Path(path).parent.iterdir()] == ["stdout"]
    assert not Path(other).parent.exists()
    os.utime(path, (time.time() - 60, time.time() - 60))
    copies.forget(str(tmp_path), [path], 50)
    assert not Path(path).parent.exists()
    copy.keep([kept(ONE, (3, b"anew\n"))])
    copy.close()
    assert read(tmp_path, path) == [(3 * SECOND, ONE, b"anew")]
    copies.forget(str(tmp_path / "none"), [path], 50)


def test_a_full_disk_leaves_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = copies.path_of(str(tmp_path), "web", "stdout")
    copy = Copy(str(tmp_path), path, size_bytes=100_000, age_s=1000)
    copy.keep([kept(ONE, (1, b"one\n"))])
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[: len(data) // 2]))
    with pytest.raises(OSError, match="No space left"):
        copy.keep([kept(ONE, (2, b"two\n"))])
    monkeypatch.undo()
    copy.keep([kept(ONE, (3, b"three\n"))])
    copy.close()
    assert [data for _, _, data in read(tmp_path, path)] == [b"one", b"three"]


def test_only_the_user_of_circusd_can_read_it(tmp_path: Path) -> None:
    path = copies.path_of(str(tmp_path), "web", "stdout")
    Copy(str(tmp_path), path, size_bytes=100_000, age_s=1000).keep([kept(ONE, (1, b"one\n"))])
    assert Path(path).stat().st_mode & 0o777 == 0o600
    index = Path(writing.directory_of(str(tmp_path), path))
    assert index.stat().st_mode & 0o777 == 0o700
