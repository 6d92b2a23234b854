"""The whole is in test_survival: a directory that was removed under a kernel."""

from __future__ import annotations

import os

import pytest

from papa.kernel import rebuild

MB = 1 << 20


@pytest.mark.parametrize(
    "parts",
    [[], [(0, b"from the start")], [(5 * MB, b"after a hole")], [(0, b"a" * 10_000), (3 * MB + 17, b"b" * 70_000)]],
)
@pytest.mark.parametrize("tail", [0, 3 * MB])
def test_a_stream_file_is_copied_with_its_holes(tmp_path, parts, tail):
    source = os.open(tmp_path / "source", os.O_RDWR | os.O_CREAT)
    target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    for offset, data in parts:
        os.pwrite(source, data, offset)
    os.ftruncate(source, os.fstat(source).st_size + tail)
    # As it is when it matters.
    os.unlink(tmp_path / "source")
    rebuild._copy_sparse(source, target)
    size = os.fstat(source).st_size
    assert os.fstat(target).st_size == size
    assert os.pread(target, size, 0) == os.pread(source, size, 0)
    assert os.fstat(target).st_blocks <= os.fstat(source).st_blocks + 16
    os.close(source)
    os.close(target)
