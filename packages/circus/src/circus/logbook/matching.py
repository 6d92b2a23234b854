"""Which lines of a chunk a pattern is found in: pure, over bytes.

The idea: nearly all of a log does not match, so lines are not looked at. What a match certainly holds as it is
written (the longest literal of the pattern) is searched in the whole chunk at the speed of memory; only the lines
around what was found are cut out and asked. A pattern without a literal is searched as it is, over the chunk.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from circus.errors import CircusError

#: A literal that stands in more than one line of so many bytes, where the pattern is not found, is no help.
RARE_BYTES = 4096

#: What may be written otherwise in JSON than the process wrote it.
_ESCAPED = re.compile(rb'[^ -~]|["\\/<>&]')


class Pattern:
    """A regular expression over lines of bytes. Raises: CircusError usage."""

    def __init__(self, text: str) -> None:
        raw = text.encode("utf-8", "surrogateescape")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                self._regex = re.compile(raw)
                self._over_lines = re.compile(raw, re.MULTILINE)
        except (re.error, Warning, OverflowError, RecursionError) as error:
            raise CircusError(
                "usage", f"{text!r} is no regular expression: {error}", "escape what is meant as it is with \\"
            ) from None
        tree = parser.parse(raw)
        ignores_case = bool(self._regex.flags & re.IGNORECASE)
        self._ignores_case = ignores_case
        self.literal = _literal(tree).lower() if ignores_case else _literal(tree)
        self.is_literal = not ignores_case and _is_literal(tree)
        self._is_safe = _is_safe(tree)
        self.finds: Callable[[bytes], object] = self._regex.search

    def lines_of(self, chunk: bytes, *, is_raw: bool, is_json: bool) -> Iterator[tuple[int, int]]:
        """(start, end) of each line of ``chunk``, without its newline, that may hold a match, ascending.

        ``is_raw``: the lines stand there as the process wrote them; else something stands before and behind them.
        """
        if self.literal and not (is_json and _ESCAPED.search(self.literal)):
            yield from self._by_literal(chunk, is_raw=is_raw)
        elif is_raw and self._is_safe:
            yield from self._by_regex(chunk)
        else:
            yield from self._each(chunk, is_raw=is_raw)

    def _by_literal(self, chunk: bytes, *, is_raw: bool) -> Iterator[tuple[int, int]]:
        literal, finds = self.literal, None if self.is_literal or not is_raw else self.finds
        bytes_of = chunk.lower() if self._ignores_case else chunk  # of ASCII, as the pattern does
        at, misses = bytes_of.find(literal), len(chunk) // RARE_BYTES
        while at >= 0:
            start = chunk.rfind(b"\n", 0, at) + 1
            end = _line_end(chunk, at)
            if finds is None or finds(chunk[start:end]):
                yield start, end
            elif misses:
                misses -= 1
            elif self._is_safe:
                yield from self._by_regex(chunk, end + 1)
                return
            at = bytes_of.find(literal, end)

    def _by_regex(self, chunk: bytes, at: int = 0) -> Iterator[tuple[int, int]]:
        found = self._over_lines.search(chunk, at)
        while found is not None:
            start = chunk.rfind(b"\n", 0, found.start()) + 1
            end = _line_end(chunk, found.start())
            if start < len(chunk) and self.finds(chunk[start:end]):
                yield start, end
            if end + 1 > len(chunk):
                return
            found = self._over_lines.search(chunk, end + 1)

    def _each(self, chunk: bytes, *, is_raw: bool) -> Iterator[tuple[int, int]]:
        at = 0
        while at < len(chunk):
            end = _line_end(chunk, at)
            if not is_raw or self.finds(chunk[at:end]):
                yield at, end
            at = end + 1


class Literal:
    """Lines in which this text stands as it is: what a client may ask for, because it takes no longer than reading."""

    def __init__(self, text: str) -> None:
        self._literal = text.encode("utf-8", "surrogateescape")

    def finds(self, line: bytes) -> bool:
        return self._literal in line

    def lines_of(self, chunk: bytes, *, is_raw: bool, is_json: bool) -> Iterator[tuple[int, int]]:
        """As of a Pattern."""
        del is_raw
        literal = self._literal
        if is_json and _ESCAPED.search(literal):
            yield from all_lines(chunk)
            return
        at = chunk.find(literal) if b"\n" not in literal else -1
        while 0 <= at < len(chunk):
            start, end = chunk.rfind(b"\n", 0, at) + 1, _line_end(chunk, at)
            yield start, end
            at = chunk.find(literal, end + 1)


def all_lines(chunk: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(chunk):
        end = _line_end(chunk, at)
        yield at, end
        at = end + 1


def _line_end(chunk: bytes, at: int) -> int:
    end = chunk.find(b"\n", at)
    return end if end >= 0 else len(chunk)


# What a match must hold -------------------------------------------------------------------------------------


def _literal(tree: Any) -> bytes:
    """The longest run of bytes that stands in every match, without a newline; empty: there is none."""
    best, run = b"", bytearray()
    for op, value in _flat(tree):
        if op is constants.LITERAL and value != 10:
            run.append(value)
            best = max(best, bytes(run), key=len)
        elif op is not constants.AT:  # which takes no room
            run.clear()
    return best


def _flat(tree: Any) -> Iterator[tuple[Any, Any]]:
    """The items one behind the other; groups are opened, what may be absent or different is not."""
    for op, value in tree:
        if op is constants.SUBPATTERN and not value[1] and not value[2]:
            yield from _flat(value[3])
        elif op is constants.MAX_REPEAT and value[0] >= 1:
            yield from _flat(value[2])
            yield constants.ANY, None  # what follows need not stand behind the first time
        else:
            yield op, value


def _is_literal(tree: Any) -> bool:
    return all(op is constants.LITERAL and value != 10 for op, value in tree)


def _is_safe(tree: Any) -> bool:
    """Whether a match within a line is also found when the lines around it are there.

    Where it looks around, or at the begin and the end of all, that is not so.
    """
    for op, value in tree:
        if op in (constants.ASSERT, constants.ASSERT_NOT):
            return False
        if op is constants.AT and value not in (constants.AT_BEGINNING, constants.AT_END, constants.AT_BOUNDARY):
            return False
        parts = value if isinstance(value, tuple | list) else (value,)
        for part in parts:
            trees = part if isinstance(part, list) else [part]
            if not all(_is_safe(each) for each in trees if isinstance(each, parser.SubPattern)):
                return False
    return True
