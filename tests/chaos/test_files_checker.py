"""Whoever compares files must see what is wrong with them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.chaos import files_checker, scribe
from tests.chaos.files_checker import Life, LogFile

ONE, TWO = (Life(f"crew-1-{pid}", "out", pid, 3000, 3000) for pid in (11, 12))


def lines_of(life: Life) -> list[bytes]:
    return scribe.text(life.key, life.stream, life.done).splitlines(keepends=True)


def mixed() -> list[bytes]:
    """The lines of both in turn; the last of each has no newline of its own, and gets one where another follows."""
    one, two = lines_of(ONE), lines_of(TWO)
    count = max(len(one), len(two))
    both = [line for pair in zip(one + [b""] * count, two + [b""] * count, strict=False) for line in pair if line]
    return [line if line.endswith(b"\n") else line + b"\n" for line in both]


def test_a_shared_file_may_be_mixed_by_lines_and_cut_into_files_anywhere_between_them() -> None:
    lines = mixed()
    for at in range(len(lines)):
        files = [b"".join(lines[:at]), b"".join(lines[at:])]
        assert files_checker.check_shared(files, [ONE, TWO]) == []


def broken_in_each_way() -> dict[str, list[bytes]]:
    lines = mixed()
    return {
        "lost": lines[:4] + lines[5:],
        "doubled": lines[:4] + lines[3:],
        "disordered": [*lines[:4], lines[6], *lines[5:6], lines[4], *lines[7:]],
        "cut": [*lines[:4], lines[4][:17] + b"\n", lines[4][17:], *lines[5:]],
        "run together": [*lines[:4], lines[4][:-1], *lines[5:]],
        "a stranger's": [*lines[:4], b"[papa: 12 bytes of output were dropped here]\n", *lines[4:]],
    }


@pytest.mark.parametrize("how", broken_in_each_way())
def test_a_line_of_a_shared_file_is_missed_where_it_is(how: str) -> None:
    assert files_checker.check_shared([b"".join(broken_in_each_way()[how])], [ONE, TWO])


def test_a_file_of_one_stream_after_the_other_is_that_byte_for_byte() -> None:
    texts = [b"".join(lines_of(life)) for life in (ONE, TWO)]
    newline = b"" if texts[0].endswith(b"\n") else b"\n"
    whole = texts[0] + newline + texts[1]
    assert files_checker.check_sole([whole[:1000], whole[1000:]], [ONE, TWO]) == []
    for wrong in (whole[:-1], whole + b"x", whole[:500] + whole[501:], whole[:500] + whole[499:]):
        assert files_checker.check_sole([wrong], [ONE, TWO])


def test_times_are_taken_away_and_looked_at() -> None:
    text = b"crew-1-11.out 0 Gr\xc3\xbc\xc3\x9fe \n"
    before, after = b"2026-11-22 12:00:03.000000 [11] | ", b"2026-11-22 12:00:04.000000 [11] | "
    log = LogFile(before + text + after + text, "20261122120002")
    assert files_checker.undress([log], ["timed"]) == ([log.data], [])
    bare, faults = files_checker.undress([log], ["stamped"])
    assert bare == [text + text] and len(faults) == 1 and "a line of later" in faults[0]
    for wrong in (after + text + before + text, before.replace(b"11]", b"12]") + text, text):
        assert files_checker.undress([LogFile(wrong)], ["stamped"])[1]


def test_the_parts_of_a_line_in_objects_are_put_together() -> None:
    def said(line: str, pid: int = 11, more: str = "") -> bytes:
        return f'{{"time":"t","watcher":"crew","wid":1,"pid":{pid},"stream":"stdout","line":"{line}"{more}}}\n'.encode()

    part = ',"partial":true'
    raw = ',"raw":"eP94"'
    text = said("crew-1-11.out 0 Gr", more=part) + said("üße") + said("crew-1-11.out 1 ", more=part)
    text += said("crew-1-12.out 0 ", 12) + said("x?x", 12, raw)
    bare = "crew-1-11.out 0 Grüße\ncrew-1-11.out 1 \ncrew-1-12.out 0 \n".encode() + b"x\xffx\n"
    assert files_checker.undress([LogFile(text)], ["json"]) == ([bare], [])
    for wrong in (said("crew-1-12.out 0 "), said("a")[:-1], b'{"mark":"gap"}\n'):
        assert files_checker.undress([LogFile(wrong)], ["json"])[1]


def test_backups_come_in_their_order(tmp_path: Path) -> None:
    for name in ("log.10", "log.9", "log.2", "log.filler", "log"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "log.1.gz").write_bytes(gzip.compress(b"log.1"))
    found = [file.data for file in files_checker.read_files(tmp_path / "log")]
    assert found == [b"log.10", b"log.9", b"log.2", b"log.1", b"log"]
    (tmp_path / "log.1").touch()
    with pytest.raises(AssertionError, match="both there"):
        files_checker.read_files(tmp_path / "log")


def test_backups_that_are_named_after_their_time_as_well(tmp_path: Path) -> None:
    names = ["log.20261122120000", "log.20261122120002", "log.20261122120002.2", "log.20261122120002.10", "log"]
    for name in reversed(names):
        (tmp_path / name).write_bytes(name.encode())
    assert [file.data.decode() for file in files_checker.read_files(tmp_path / "log")] == names
