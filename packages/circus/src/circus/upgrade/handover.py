"""What a circusd leaves to its successor in the same process: a file in memory that has no name, sealed, and the
descriptors that it names.

The one idea: what the successor cannot do without (the sockets at which clients wait, the lock on the name) stands in
a part that does not change, and all else in sections of which each may be understood or not. A successor that does not
understand a section begins that anew.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

import msgspec

from circus.errors import CircusError

#: Of the environment of a successor: the number of the descriptor.
VARIABLE = "CIRCUS_HANDOVER"

#: Of the part that does not change; a reader knows exactly one.
VERSION = 1

#: The statistics of an hour and a half are 5 MB; what is larger was not written by a circusd.
MAX_BYTES = 64 << 20

Sections = dict[str, dict[str, Any]]


class Handover(msgspec.Struct, kw_only=True):
    """``claim``: see `Claim.descriptors`. ``began``: when clients were last answered (monotonic). ``former``: the argv
    of who has written this, for a successor that cannot come up. ``error``: why one could not. ``operation``: the id of
    the order."""

    version: int = VERSION
    release: str
    operation: str
    began: float
    started_at: float
    control: str
    claim: list[int]
    former: list[str] = []
    error: str = ""
    sections: Sections = {}


def write(left: Handover) -> int:
    """The descriptor of the file. Raises: OSError."""
    data = msgspec.json.encode(left, enc_hook=str)
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("circusd-handover", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        _fill(fd, data)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        return fd
    with tempfile.TemporaryFile() as file:
        fd = os.dup(file.fileno())
    _fill(fd, data)
    return fd


def _fill(fd: int, data: bytes) -> None:
    with open(fd, "wb", closefd=False) as file:
        file.write(data)


def take(environ: MutableMapping[str, str]) -> Handover | None:
    """What a predecessor has left, if there is one. It is taken out of the environment.

    Raises: CircusError failed, when it is of another version: then nothing in it can be relied on.
    """
    number = environ.pop(VARIABLE, None)
    if number is None:
        return None
    with open(int(number), "rb") as file:
        file.seek(0)
        data = file.read(MAX_BYTES)
    try:
        left = msgspec.json.decode(data, type=Handover)
    except msgspec.DecodeError as error:
        raise CircusError("failed", f"what the circusd before has left is not understood: {error}") from None
    if left.version != VERSION:
        raise CircusError("failed", f"what the circusd before has left is of version {left.version}, not {VERSION}")
    keep(left.claim, on=False)
    return left


def keep(descriptors: Iterable[int], *, on: bool) -> None:
    """Whether the next program that is executed has them, too."""
    for fd in descriptors:
        os.set_inheritable(fd, on)


def execute(argv: list[str], left: Handover, environ: Mapping[str, str]) -> None:
    """``argv`` in place of this program, with the descriptors that ``left`` names.

    Raises: OSError, when it cannot be executed: this program goes on.
    """
    file = write(left)
    kept = [file, *left.claim]
    keep(kept, on=True)
    try:
        os.execve(argv[0], argv, {**environ, VARIABLE: str(file)})  # noqa: S606
    finally:
        keep(kept, on=False)
        os.close(file)
