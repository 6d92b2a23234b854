"""What the targets share: finding them, their small bounds, and numbers taken from an input."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Of all runs, each target's share: conversations are slow.
SHARES = {"text": 1, "frames": 2, "requests": 1, "journal": 2, "records": 3, "lean": 3, "index": 2, "handed": 2,
          "zmtp": 2}  # fmt: skip
TARGETS = tuple(SHARES)

#: Inputs that broke a promise; ignored by git.
FOUND = Path(__file__).parent / "found"

#: Long enough for every bound as `BOUNDS` make them, and for brackets nested deeper than Python's recursion goes.
MAX_INPUT = 4096

#: An input that takes longer hangs: the slowest takes some ten milliseconds.
MAX_SECONDS = 10

#: A whole run of one target; what it imports takes a quarter.
MAX_MEMORY_MB = 512

#: The fewest digits that Python lets be the most of a number in text: with these a short input has too many.
DIGITS = 640


def load(name: str) -> Any:
    return importlib.import_module(f"tests.fuzz.{name}_target")


@contextlib.contextmanager
def bounded(target: Any) -> Iterator[None]:
    """The target's bounds in the place of the real ones."""
    before = [(module, name, getattr(module, name)) for module, name, _ in target.BOUNDS]
    digits = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(DIGITS)
    try:
        for module, name, bound in target.BOUNDS:
            setattr(module, name, bound)
        yield
    finally:
        sys.set_int_max_str_digits(digits)
        for module, name, bound in before:
            setattr(module, name, bound)


def keep(target: str, data: bytes) -> Path:
    """Puts an input that broke a promise where `--repeat` finds it."""
    FOUND.mkdir(exist_ok=True)
    path = FOUND / f"{target}-{hashlib.sha1(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path


def how_to_repeat(target: str, path: object) -> str:
    return f'repeat it with: make fuzz FUZZ_ARGS="--target {target} --repeat {path}"'


def cut(data: bytes) -> list[bytes]:
    """Pieces of the input: its first byte says how many cuts follow, each of one byte."""
    count = data[0] % 8 if data else 0
    sizes, rest = data[1 : 1 + count], data[1 + count :]
    pieces = []
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    return [*pieces, rest]


def whole(*parts: bytes) -> bytes:
    """The input that `cut` gives these pieces of, each shorter than 256 bytes but the last."""
    return bytes((len(parts) - 1, *(len(part) for part in parts[:-1]))) + b"".join(parts)
