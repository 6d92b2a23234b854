"""JSON that is always well formed and seldom right: what is true, with some places of it changed.

Bytes that are mutated are mostly no JSON any more, and what comes behind it is not reached.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

#: An input that begins with such a byte is made into a shape; others are the text itself.
FIRST = 0x80

#: Parts of it are put into others, which would go on for ever.
MAX_PLACES = 200

_DEEP: list[Any] = []
for _ in range(40):
    _DEEP = [_DEEP]

_VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 2, 5, 99, 2**31, 2**32, 2**53, 2**63, 2**64, 10**40, 1.5, -0.5, 1e300, float("inf"),
    float("nan"), "", "x", "web", "out", "err", "a b", "a:b", "w*", "*", "/", "/a/b", "../x", "\0", "\n", "é", "\u2028",
    "\ud800", "\udcff", "x" * 300, "00ff", "null", "block", "unix", "lines", "frames", [], {}, [1], ["x"], [None],
    [1, 2], [1, "out", 5], [1, 2, None], ["a", "a"], [[]], {"k": 1}, {"": None}, {"socket": "front"}, {"x": [1.5]},
    _DEEP,
]  # fmt: skip


def is_shape(data: bytes) -> bool:
    return data[:1] >= bytes((FIRST,))


def shape(data: bytes, bases: Sequence[Any]) -> Any:
    """One of the bases, by the first byte; then each pair of bytes changes one place of it."""
    tree = [copy.deepcopy(bases[data[0] % len(bases)])]
    for where, what in zip(data[1::2], data[2::2], strict=False):
        places = _places(tree)
        if len(places) > MAX_PLACES:
            break
        of, key = places[where % len(places)]
        if what >= 250:
            other, at = places[(where + what) % len(places)]
            of[key] = copy.deepcopy(other[at])
        elif what >= 240 and of is not tree:
            del of[key]
        elif what >= 230 and isinstance(of[key], list):
            of[key] += of[key][:8]
        else:
            of[key] = copy.deepcopy(_VALUES[what % len(_VALUES)])
    return tree[0]


def seeds(bases: Sequence[Any]) -> list[bytes]:
    """Each base as it is, and with one place changed."""
    first = [bytes((FIRST + (number - FIRST) % len(bases),)) for number in range(len(bases))]
    return [byte + change for byte in first for change in (b"", b"\x05\x01", b"\x03\xf0\x07\x14")]


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every place of a value, outside in."""
    found: list[tuple[Any, Any]] = []
    left = [tree]
    while left:
        of = left.pop()
        keys = list(of) if isinstance(of, dict) else range(len(of))
        for key in keys:
            found.append((of, key))
            if isinstance(of[key], (list, dict)):
                left.append(of[key])
    return found
