"""When a log file is rotated and which names move: pure decisions.

The idea: a rotation may be cut short by a crash at any rename and is then simply planned again. Names are shifted
only up to the first number that is missing, so the second attempt moves nothing twice: a shift that was interrupted
has left exactly one hole, and what stands behind the hole has been moved already.

A file that is rotated by time is set aside under the name of its interval (`intervals`) instead. Such a name is never
taken twice: after a clock that went back, or in an hour that comes twice, a number is put behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator

#: What is put behind the name of a backup that is compressed.
PACKED = ".gz"
FORMS = ("", PACKED)


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


def names_aside(path: str, interval: str) -> Iterator[str]:
    """The names that a file of this interval may get, in order, without end."""
    yield f"{path}.{interval}"
    number = 2
    while True:
        yield f"{path}.{interval}.{number}"
        number += 1


def taken_and_free(path: str, interval: str, is_taken: Callable[[str], bool]) -> tuple[list[str], str]:
    """The names of backups of this interval that are taken, and the first free one."""
    taken: list[str] = []
    for name in names_aside(path, interval):
        if not is_taken(name):
            return taken, name
        taken.append(name)
    raise AssertionError("the names have no end")


def backups_by_time(names: Iterable[str], base: str, digits: int) -> list[str]:
    """Those of ``names``, in both forms, that are backups of the file ``base`` by an interval of so many digits.

    The oldest first.
    """
    pattern = re.compile(re.escape(base) + rf"\.(\d{{{digits}}})(?:\.([1-9]\d*))?(?:\.gz)?")
    found = [(match[1], int(match[2] or 1), name) for name in names if (match := pattern.fullmatch(name))]
    return [name for _, _, name in sorted(found)]
