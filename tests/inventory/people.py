"""What the tests of the inventory have in common: watchers that tell their circumstances."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.house import House, wait_for

PROGRAM = Path(__file__).with_name("facts.py")

FACTS = f"{sys.executable} -S -u {PROGRAM}"


def telling(name: str, *options: str, cmd: str = FACTS) -> str:
    """A watcher whose process tells its circumstances into NAME.log."""
    return "\n".join((f"[watcher:{name}]", f"cmd = {cmd}", f"stdout_stream.filename = {name}.log", *options, ""))


def facts(house: House, name: str) -> dict[str, Any]:
    """Of the first process of the watcher."""
    text = wait_for(lambda: (found := house.log(f"{name}.log")).endswith("\n") and found, f"the facts of {name}")
    told: dict[str, Any] = json.loads(text.splitlines()[0])
    return told
