"""Backups of a log file for tests: made, read, and a death between any two changes of the disk."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

#: The key of some file system's thread.
KEY = "dev:0"


def lay(path: Path, **files: str) -> None:
    """``n1="..."`` is number 1, ``z1="..."`` the same compressed."""
    for name, text in files.items():
        number = name[1:]
        if name[0] == "z":
            Path(f"{path}.{number}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            Path(f"{path}.{number}").write_text(text)


def found(path: Path) -> dict[str, str]:
    return {
        each.name.removeprefix(path.name): (
            gzip.decompress(each.read_bytes()) if each.suffix == ".gz" else each.read_bytes()
        ).decode()
        for each in sorted(path.parent.iterdir())
    }


class Killed(BaseException):
    pass


def dying(monkeypatch: pytest.MonkeyPatch, at: int) -> dict[str, int]:
    """From the ``at``-th change of the disk on nothing works any more."""
    count = {"calls": 0}

    def dead(call: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            count["calls"] += 1
            if count["calls"] > at:
                raise Killed
            return call(*args, **kwargs)

        return wrapped

    for name in ("unlink", "rename", "replace", "fsync", "write", "utime", "fchmod"):
        monkeypatch.setattr(os, name, dead(getattr(os, name)))
    return count
