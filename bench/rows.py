"""The file of rows: a head that says where and with what they were measured, and one JSON object in each line.

It is written anew after each peer, so that an interrupted run can be resumed where it stood.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Rows:
    """``head`` is empty where nothing was measured."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head: Row = {}
        self.all: list[Row] = []

    def read(self) -> None:
        """What is there; nothing if there is no such file. Raises: ValueError for what is no file of rows."""
        if self.path.exists():
            self.head, *self.all = map(json.loads, self.path.read_text().splitlines())
            if "machine" not in self.head:
                raise ValueError(f"{self.path}: the first line says nothing of a machine: no file of rows")

    def has(self, step: str, repetition: int, peer: str) -> bool:
        wanted = (step, repetition, peer)
        return any((row["step"], row["repetition"], row["peer"]) == wanted for row in self.all)

    def forget(self, step: str) -> None:
        self.all = [row for row in self.all if row["step"] != step]

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_text("".join(json.dumps(row) + "\n" for row in (self.head, *self.all)))
        os.replace(fresh, self.path)
