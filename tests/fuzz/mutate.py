"""Mutation without guidance, from a seed: the same inputs each time, on any machine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

#: Bytes at which parsers turn.
_ODD = b'\0\x01\x7f\x80\xff\n\r"\\{}[],: *=019.eE-'


def inputs(seeds: Sequence[bytes], words: Sequence[bytes], *, seed: int, limit: int) -> Iterator[bytes]:
    """The seeds, then mutations of them for ever, none longer than *limit*."""
    yield from seeds
    chance = random.Random(seed)
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 2, 3, 8))):
            _change(data, chance, seeds, words)
        yield bytes(data[:limit])


def _change(data: bytearray, chance: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    at = chance.randint(0, len(data))
    end = min(len(data), at + chance.choice((1, 1, 2, 8, 64)))
    match chance.randrange(7):
        case 0 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 1 if at < len(data):
            data[at] = chance.choice(_ODD)
        case 2:
            del data[at:end]
        case 3:
            data[at:at] = data[at:end] * chance.choice((1, 2, 40))
        case 4:
            other = chance.choice(seeds)
            data[at:] = other[chance.randint(0, len(other)) :]
        case 5:
            data[at:at] = chance.randbytes(chance.choice((1, 4)))
        case _ if words:
            data[at : chance.choice((at, end))] = chance.choice(words)
