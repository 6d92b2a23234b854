"""Which lines of a target's rooms a set of inputs reaches."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any


def coverage(target: Any, inputs: Iterable[bytes]) -> dict[str, tuple[int, int]]:
    """Of each room: lines within functions that were reached, and all of them."""
    files = {str(importlib.import_module(room).__file__): room for room in target.ROOMS}
    reached: dict[str, set[int]] = {file: set() for file in files}

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        lines = reached.get(frame.f_code.co_filename)
        if lines is None:
            return None
        if event == "line":
            lines.add(frame.f_lineno)
        return trace

    sys.settrace(trace)
    try:
        for data in inputs:
            target.check(data)
    finally:
        sys.settrace(None)
    counts = {}
    for file, room in files.items():
        lines = _lines(compile(Path(file).read_text(), file, "exec"))
        counts[room] = len(lines & reached[file]), len(lines)
    return counts


def _lines(code: CodeType) -> set[int]:
    """Lines of the functions in it: what a module's own code does was done before anybody looked."""
    lines: set[int] = set()
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            lines |= _lines(inner)
            if inner.co_flags & 2:  # CO_NEWLOCALS with fast locals: a function, not a class.
                lines |= {line for _, _, line in inner.co_lines() if line and line != inner.co_firstlineno}
    return lines
