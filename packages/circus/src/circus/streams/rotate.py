"""When a log file is rotated and which names move: pure decisions.

The idea: a rotation may be cut short by a crash at any rename and is then simply planned again. Names are shifted
only up to the first number that is missing, so the second attempt moves nothing twice: a shift that was interrupted
has left exactly one hole, and what stands behind the hole has been moved already.
"""

from __future__ import annotations

from collections.abc import Container


def rotates(max_bytes: int, backup_count: int) -> bool:
    """Whether a file with these options is ever rotated (without backups it just grows, as it always did)."""
    return max_bytes > 0 and backup_count > 0


def room(size: int, max_bytes: int) -> int:
    """How many bytes still fit: a file is rotated when it would reach ``max_bytes``."""
    return max(0, max_bytes - 1 - size)


def plan_shift(existing: Container[int], backup_count: int) -> list[tuple[int, int]]:
    """The renames (from, to), in order, that free the number 0, which is the file itself.

    ``existing`` are the numbers of the backups that are there. The oldest is overwritten when all are there.
    """
    hole = next((number for number in range(1, backup_count) if number not in existing), backup_count)
    return [(number - 1, number) for number in range(hole, 0, -1)]
