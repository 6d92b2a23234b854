"""The index as circusd keeps it: one file for each file of a log, small, and of the right one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from circus.logbook import catalogue, entries, writing
from circus.logbook.entries import Index, Run, Source
from circus.logbook.writing import Book, Laid

WEB = Source("web", 1, 10, "stdout")
SECOND = 1_000_000_000


def laid(path: Path, base: int, length: int, *, at_s: int = 1, source: Source = WEB, alive: bool = True) -> Laid:
    """What is said after these bytes were written to the file."""
    found = path.stat()
    inodes = frozenset(each.inode() for each in os.scandir(path.parent)) if alive and not base else frozenset()
    head = path.read_bytes()[: writing.HEAD_BYTES]
    return Laid(str(path), found.st_dev, found.st_ino, base, head, (Run(source, length, at_s * SECOND),), inodes)


def index_of(directory: Path, path: Path) -> Index:
    found = path.stat()
    return entries.parse((directory / writing.index_name(found.st_dev, found.st_ino)).read_bytes())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "web.log"
    path.write_bytes(b"x" * 1000)
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "index"


def test_a_batch_is_one_block_behind_the_other(log: Path, directory: Path) -> None:
    book = Book(str(directory), str(log))
    book.lay(laid(log, 0, 100))
    book.lay(laid(log, 100, 50, at_s=2))
    book.close()
    index = index_of(directory, log)
    assert [(span.start, span.end, span.at_ns) for span in index.spans] == [(0, 100, SECOND), (100, 150, 2 * SECOND)]
    assert writing.is_about(index, log.read_bytes()[:256])
    assert not writing.is_about(index, b"y" * 256)


def test_the_next_circusd_goes_on_behind_a_block_that_was_cut(log: Path, directory: Path) -> None:
    book = Book(str(directory), str(log))
    book.lay(laid(log, 0, 100))
    book.lay(laid(log, 100, 100))
    book.close()
    (file,) = directory.iterdir()
    os.truncate(file, file.stat().st_size - 3)
    other = Source("web", 2, 11, "stderr")
    again = Book(str(directory), str(log))
    again.lay(laid(log, 100, 50, source=other))
    again.close()
    assert [(span.end, span.source) for span in index_of(directory, log).spans] == [(100, WEB), (150, other)]


def test_a_file_that_begins_anew_begins_behind_the_one_before(log: Path, directory: Path) -> None:
    book = Book(str(directory), str(log))
    book.lay(laid(log, 0, 1000))
    log.rename(f"{log}.1")
    log.write_bytes(b"y" * 300)
    book.lay(laid(log, 0, 300))
    book.close()
    log.rename(f"{log}.2")
    log.write_bytes(b"z" * 10)
    Book(str(directory), str(log)).lay(laid(log, 0, 10))  # another circusd
    begins = [index_of(directory, path).header for path in (Path(f"{log}.1"), Path(f"{log}.2"), log)]
    assert [header.begins_at for header in begins if header] == [0, 1000, 1300]


def test_an_inode_that_is_used_again_is_another_file(log: Path, directory: Path) -> None:
    book = Book(str(directory), str(log))
    book.lay(laid(log, 0, 1000))
    book.close()
    log.write_bytes(b"y" * 500)  # the same inode
    Book(str(directory), str(log)).lay(laid(log, 400, 100, at_s=5))
    index = index_of(directory, log)
    assert [(span.start, span.end) for span in index.spans] == [(400, 500)]
    assert index.header is not None
    assert index.header.begins_at == 1000


def test_the_index_of_a_file_that_is_gone_goes(log: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FRESH_S", -1.0)
    book = Book(str(directory), str(log))
    book.lay(laid(log, 0, 1000))
    old = log.rename(f"{log}.1")
    log.write_bytes(b"y" * 300)
    book.lay(laid(log, 0, 300))
    assert len(list(directory.iterdir())) == 2
    log.rename(f"{log}.2")
    log.write_bytes(b"z" * 300)
    old.unlink()
    book.lay(laid(log, 0, 300))
    book.close()
    assert len(list(directory.iterdir())) == 2
    assert index_of(directory, Path(f"{log}.2")).end == 300


def test_an_index_goes_over_to_the_compressed_file(log: Path, directory: Path) -> None:
    book = Book(str(directory), str(log))
    book.lay(laid(log, 0, 1000))
    packed = log.with_suffix(".gz")
    packed.write_bytes(b"packed")
    old, new = log.stat(), packed.stat()
    writing.follow(str(directory), (old.st_dev, old.st_ino), (new.st_dev, new.st_ino))
    writing.follow(str(directory), (1, 1), (2, 2))  # one that is not indexed
    book.close()
    assert index_of(directory, packed).end == 1000


def test_an_index_has_a_bound(log: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MAX_INDEX_BYTES", 4000)
    book = Book(str(directory), str(log))
    for number in range(1000):
        book.lay(laid(log, number * 300, 300, at_s=number + 1))
        (file,) = directory.iterdir()
        assert file.stat().st_size < 4200
    book.close()
    index = index_of(directory, log)
    assert index.end == 300_000
    assert index.spans[-1].at_ns == 1000 * SECOND
    for span in index.spans:
        assert span.at_ns == (span.start // 300 + 1) * SECOND


def test_processes_that_come_and_go_are_forgotten_by_who_writes(
    log: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MAX_SOURCES", 10)
    book = Book(str(directory), str(log))
    for number in range(100):
        book.lay(laid(log, number * 10, 10, source=Source("web", 1, number, "stdout")))
        assert len(book._numbers) <= 11
    book.close()
    assert [span.source.pid for span in index_of(directory, log).spans] == list(range(100))


def test_a_full_disk_leaves_what_was_there(log: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book(str(directory), str(log))
    book.lay(laid(log, 0, 100))
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[: len(data) // 2]))
    with pytest.raises(OSError, match="No space left"):
        book.lay(laid(log, 100, 100))
    monkeypatch.undo()
    book.lay(laid(log, 200, 100, at_s=3))
    book.close()
    assert [(span.start, span.end) for span in index_of(directory, log).spans] == [(0, 100), (200, 300)]


def test_the_logs_that_were_written_to_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MAX_LOGS", 2)
    for number, name in enumerate(
        names := [writing.log_id("/a.log"), *(letter * writing.ID_LENGTH for letter in "bcd")]
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1-1.idx").write_bytes(b"")
        os.utime(tmp_path / name, (number, number))
    (tmp_path / catalogue.NAME).write_text("")
    writing.forget_oldest(str(tmp_path), ["/a.log"])
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([names[0], *names[2:], catalogue.NAME])


# The catalogue ----------------------------------------------------------------------------------------------


def test_the_catalogue_says_whose_logs_there_are(tmp_path: Path) -> None:
    known: dict[str, catalogue.Entry] = {}
    assert catalogue.note(known, "/a.log", catalogue.FILE, "web", "stdout")
    assert catalogue.note(known, "/a.log", catalogue.FILE, "web", "stderr")
    assert catalogue.note(known, "/b.log", catalogue.FILE, "db", "stdout")
    assert not catalogue.note(known, "/a.log", catalogue.FILE, "web", "stdout")
    catalogue.save(str(tmp_path / "new"), known)
    assert catalogue.load(str(tmp_path / "new")) == known


def test_the_catalogue_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MAX_LOGS", 2)
    known: dict[str, catalogue.Entry] = {}
    for name in "abc":
        catalogue.note(known, name, catalogue.FILE, "web", "stdout")
    assert list(known) == ["b", "c"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2, "logs": []}', '{"format": 1, "logs": [1]}'])
def test_a_damaged_catalogue_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / catalogue.NAME).write_text(text)
    assert catalogue.load(str(tmp_path)) == {}
    assert catalogue.load(str(tmp_path / "none")) == {}
    with pytest.raises(ValueError, match=r".+"):
        catalogue.decode(text.encode())


def test_a_write_that_fails_is_an_error(directory: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "makedirs", fail)
    with pytest.raises(OSError, match="Permission denied"):
        Book(str(directory), str(log)).lay(laid(log, 0, 10))
