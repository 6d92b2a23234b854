"""What circusd executes in its own place: the program that it is, or another one's circusd."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from circus.errors import CircusError

HINT = "give the path of a virtual environment, or of a Python, that has circus"


class Program(NamedTuple):
    """``argv``, whose first word is the path that is executed."""

    argv: list[str]

    def __str__(self) -> str:
        return self.argv[0]


def present() -> Program:
    """The one that runs, as the disk has it now."""
    return Program([sys.executable, *sys.orig_argv[1:]])


def find(to: str) -> Program:
    """The circusd of the virtual environment ``to``, or of the Python ``to``; without one the present.

    Raises: CircusError bad-request.
    """
    if not to:
        return present()
    if not os.path.isabs(to):
        raise CircusError("bad-request", f"{to[:200]!r} is no absolute path", HINT)
    python = os.path.join(to, "bin", "python") if os.path.isdir(to) else to
    if not os.access(python, os.X_OK) or os.path.isdir(python):
        raise CircusError("bad-request", f"{python} is no program", HINT)
    script = os.path.join(os.path.dirname(python), "circusd")
    code = [script] if os.path.exists(script) else ["-m", "circus.circusd"]
    return Program([python, *code, *sys.argv[1:]])
