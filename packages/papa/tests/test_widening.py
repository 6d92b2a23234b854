from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import pytest

from papa.kernel import widening
from papa.kernel.widening import FULL_BYTES, FULL_IN_A_ROW, LARGE_PIPE_BYTES, MAX_LARGE_PIPES, PIPE_BYTES, Widening


@pytest.fixture
def pipe() -> Iterator[int]:
    reader, writer = os.pipe()
    yield reader
    os.close(reader)
    os.close(writer)


def size_of(pipe: int) -> int:
    return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)


def flood(pipes: Widening, pipe: int, times: int = FULL_IN_A_ROW) -> None:
    for _ in range(times):
        pipes.took(pipe, FULL_BYTES)


def test_a_pipe_that_is_full_again_and_again_gets_larger(pipe: int) -> None:
    pipes = Widening()
    flood(pipes, pipe, FULL_IN_A_ROW - 1)
    assert size_of(pipe) == PIPE_BYTES
    pipes.took(pipe, PIPE_BYTES)
    assert size_of(pipe) == LARGE_PIPE_BYTES


def test_a_burst_leaves_a_pipe_as_it_is(pipe: int) -> None:
    pipes = Widening()
    for _ in range(FULL_IN_A_ROW):
        flood(pipes, pipe, FULL_IN_A_ROW - 1)
        pipes.took(pipe, FULL_BYTES - 1)
    assert size_of(pipe) == PIPE_BYTES


def test_only_so_many_are_large_until_one_of_them_goes(pipe: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = Widening()
    grown: list[int] = []
    monkeypatch.setattr(widening.fcntl, "fcntl", lambda fd, _command, _size: grown.append(fd))
    others = range(1000, 1000 + MAX_LARGE_PIPES)
    for other in others:
        flood(pipes, other)
    flood(pipes, pipe)
    assert grown == list(others)
    pipes.forget(pipe)
    pipes.forget(others[0])
    flood(pipes, pipe)
    assert grown == [*others, pipe]


def test_a_system_that_gives_no_larger_pipe_is_asked_once(pipe: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def refuse(fd: int, _command: int, _size: int) -> int:
        asked.append(fd)
        raise PermissionError

    monkeypatch.setattr(widening.fcntl, "fcntl", refuse)
    pipes = Widening()
    flood(pipes, pipe, 3 * FULL_IN_A_ROW)
    assert asked == [pipe]
