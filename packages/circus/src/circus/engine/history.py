"""How processes ended: one line of JSON for each end, in `history.jsonl` of the state directory, bounded.

The idea: lines are only appended; when enough have come the file is written anew with the latest of each watcher, and
put in place by rename. The kernel is told that an end is settled only when its line is on the disk, so that each end is
noted, also one that nobody saw; an end that comes once more after a crash is known by pid and start. A line that is
torn or damaged is skipped and said. `read` needs no circusd.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from circus.engine import files

log = logging.getLogger("circus.memory")

NAME = "history.jsonl"

#: Raised when an older circusd would misunderstand what is written.
FORMAT = 1

#: Ends that are kept of each watcher: enough to see what led to a crash loop.
MAX_OF_WATCHER = 50
#: Ends that are kept in all, whatever the number of watchers; about half a megabyte.
MAX_EXITS = 2000
#: So many may come before the file is written anew: one more write of the whole for each thousand ends.
MAX_APPENDED = 1000
#: Nothing of ours is larger; what is behind is not read.
MAX_BYTES = 16 << 20
#: Ends that wait for a disk that takes nothing; what is above is lost, and said.
MAX_WAITING = 10_000

Key = tuple[str, int, int, float]


class Usage(NamedTuple):
    """Of a process and those of its children that it waited for; seconds of processors, bytes, reads from a disk."""

    user_s: float
    system_s: float
    max_rss: int
    major_faults: int


@dataclass(frozen=True, slots=True)
class Exit:
    """``at`` and ``started_at`` are wall clock, as the kernel has them; ``status`` is negative for a signal, None if
    nobody knows; ``is_ordered`` is None for an end that no circusd saw. ``core`` and ``usage`` are None where the
    kernel whose child it was has gone."""

    at: float
    watcher: str
    wid: int
    pid: int
    started_at: float
    status: int | None
    is_ordered: bool | None = False
    why: str = ""  # circusd or the system ended it, if a rule said so
    perhaps: str = ""  # what may be why, and what speaks for it
    core: bool | None = None  # it left a core
    usage: Usage | None = None

    @property
    def key(self) -> Key:
        return self.watcher, self.wid, self.pid, self.started_at

    @property
    def ran_s(self) -> float:
        return max(0.0, self.at - self.started_at)

    @property
    def signal(self) -> str | None:
        """Its name, if it was ended by one."""
        return None if self.status is None or self.status >= 0 else signal_name(-self.status)

    @property
    def reason(self) -> str:
        """In words."""
        if self.status is None:
            how = "ended, nobody knows how"
        elif self.status < 0:
            how = f"ended by signal {-self.status} ({self.signal})"
        else:
            how = f"ended with status {self.status}"
        if self.core:
            how = f"{how}, and left a core"
        if self.is_ordered is None:
            return f"{how}, while circusd was away"
        told = f"{how}, as ordered" if self.is_ordered else how
        if self.perhaps:
            told = f"{told}; perhaps {self.perhaps}"
        return f"{told}: {self.why}" if self.why else told

    def to_json(self) -> dict[str, object]:
        return {
            "at": self.at,
            "watcher": self.watcher,
            "wid": self.wid,
            "pid": self.pid,
            "started_at": self.started_at,
            "ran_s": round(self.ran_s, 3),
            "status": self.status,
            "signal": self.signal,
            "ordered": self.is_ordered,
            "reason": self.reason,
            **({"why": self.why} if self.why else {}),
            **({"perhaps": self.perhaps} if self.perhaps else {}),
            **({"core": self.core} if self.core is not None else {}),
            **({"usage": self.usage._asdict()} if self.usage is not None else {}),
        }


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def usage_of(told: Mapping[str, Any]) -> Usage | None:
    """Of what papa tells of an end, and of what is noted; None where it is not told. Raises: ValueError, TypeError."""
    if "max_rss" not in told:
        return None
    user_s, system_s = round(float(told["user_s"]), 3), round(float(told["system_s"]), 3)
    return Usage(user_s, system_s, int(told["max_rss"]), int(told["major_faults"]))


# Reading ----------------------------------------------------------------------------------------------------


def read(directory: Path, on_damage: Callable[[str], None] = log.warning) -> list[Exit]:
    """The ends that are noted below ``directory``, in the order in which they were; each once.

    Raises: OSError; ValueError when a newer circusd has written it.
    """
    try:
        with (directory / NAME).open("rb") as file:
            data = file.read(MAX_BYTES)
    except FileNotFoundError:
        return []
    found, damaged = parse(data)
    if damaged:
        on_damage(f"{directory / NAME}: {damaged} damaged lines are skipped")
    return found


def parse(data: bytes) -> tuple[list[Exit], int]:
    """The ends, and how many lines were skipped. Raises: ValueError when a newer circusd has written it."""
    found: dict[Key, Exit] = {}

    def take(fields: dict[str, Any]) -> None:
        ended = Exit(
            at=float(fields["at"]),
            watcher=str(fields["watcher"]),
            wid=int(fields["wid"]),
            pid=int(fields["pid"]),
            started_at=float(fields["started_at"]),
            status=None if fields["status"] is None else int(fields["status"]),
            is_ordered=None if fields["ordered"] is None else bool(fields["ordered"]),
            why=str(fields.get("why", "")),
            perhaps=str(fields.get("perhaps", "")),
            core=None if fields.get("core") is None else bool(fields["core"]),
            usage=usage_of(fields.get("usage") or {}),
        )
        found.setdefault(ended.key, ended)

    damaged = files.take_lines(data, take, FORMAT)
    return list(found.values()), damaged


def latest(exits: Iterable[Exit]) -> list[Exit]:
    """What is kept of ``exits``: the last of each watcher, and the last of all."""
    of_watcher: defaultdict[str, deque[Exit]] = defaultdict(lambda: deque(maxlen=MAX_OF_WATCHER))
    for each in exits:
        of_watcher[each.watcher.lower()].append(each)
    kept = {each.key for known in of_watcher.values() for each in known}
    return [each for each in exits if each.key in kept][-MAX_EXITS:]


# Writing ----------------------------------------------------------------------------------------------------


class History:
    """``note`` in the loop; `write` what `take` gave in a thread, one at a time."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self.trouble = ""
        self._known: set[Key] = set()  # of this file, as long as somebody may tell them once more
        self._waiting: list[Exit] = []
        self._lost = 0
        self._appended = 0
        try:
            exits = files.bounded(lambda: read(directory, self._complain))
        except OSError as error:
            self._complain(f"cannot read {self.path}: {error.strerror}")
        except (ValueError, OverflowError) as error:
            self._complain(f"ends of processes are noted anew: {files.set_aside(self.path, 'newer')} ({error})")
        else:
            self._known = {each.key for each in exits}
            self._appended = len(exits)

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def note(self, ended: Exit) -> bool:
        """False when it stands there already."""
        if ended.key in self._known:
            return False
        self._known.add(ended.key)
        if len(self._waiting) >= MAX_WAITING:
            self._lost += 1
            self._complain(f"{self.path} takes nothing: {self._lost} ends of processes are not noted")
            return True
        self._waiting.append(ended)
        return True

    def settled(self, ended: Exit) -> None:
        """The kernel has forgotten it: nobody will tell of it once more."""
        self._known.discard(ended.key)

    def take(self) -> list[Exit]:
        """What is to be written now."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def give_back(self, exits: list[Exit]) -> None:
        """They could not be written."""
        self._waiting[:0] = exits

    def write(self, exits: list[Exit]) -> None:
        """They are on the disk when this returns. Raises: OSError; none of them counts as written then."""
        files.make_directory(self.path.parent)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        try:
            size = os.fstat(fd).st_size
            head = b"" if size else _line({"format": FORMAT})
            if size and os.pread(fd, 1, size - 1) != b"\n":
                head = b"\n"  # the line before was torn by a crash
            data = head + b"".join(_line(each.to_json()) for each in exits)
            files.write_whole(fd, data, size)
            os.fdatasync(fd)
        finally:
            os.close(fd)
        if not size:
            files.sync_directory(self.path.parent)
        self._appended += len(exits)
        if self._appended > MAX_APPENDED + MAX_EXITS or (size + len(data)) > MAX_BYTES // 2:
            try:
                self._compact()
            except (OSError, ValueError) as error:
                self._complain(f"{self.path} cannot be made smaller: {error}")

    def _compact(self) -> None:
        kept = latest(read(self.path.parent, self._complain))
        data = _line({"format": FORMAT}) + b"".join(_line(each.to_json()) for each in kept)
        files.replace_whole(self.path, data)
        self._appended = min(len(kept), MAX_EXITS)

    def _complain(self, what: str) -> None:
        self.trouble = what
        log.warning("%s", what)


def _line(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"
