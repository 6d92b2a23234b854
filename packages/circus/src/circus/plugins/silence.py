"""Which processes have been silent for too long. Pure; time is an argument."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Known:
    watcher: str
    heard_at: float


class Silence:
    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._known: dict[int, _Known] = {}

    def __contains__(self, pid: object) -> bool:
        return pid in self._known

    def add(self, pid: int, watcher: str, now: float) -> None:
        """It has from now on to say something; one that is known keeps the time at which it was heard."""
        self._known.setdefault(pid, _Known(watcher, now))

    def remove(self, pid: int) -> None:
        self._known.pop(pid, None)

    def keep(self, pids: set[int]) -> None:
        """The others have gone."""
        self._known = {pid: known for pid, known in self._known.items() if pid in pids}

    def hear(self, pid: int, now: float) -> bool:
        """Whether the process is one of those."""
        if (known := self._known.get(pid)) is None:
            return False
        known.heard_at = now
        return True

    def take_silent(self, now: float) -> list[tuple[int, str]]:
        """(pid, watcher) of those whose time is over; they are forgotten."""
        silent = [
            (pid, known.watcher) for pid, known in self._known.items() if now - known.heard_at >= self._patience_s
        ]
        for pid, _ in silent:
            del self._known[pid]
        return silent
