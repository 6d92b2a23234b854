"""The runs of jobs on the disk: one line of JSON for each thing that was noted, in `runs.jsonl` of the state directory.

The idea: lines are only appended, and the last one about a run counts, so that to note a decision is one short write
before anything is done about it. When many have come the file is written anew with what is kept, and put in place by
rename. A line that is torn by a crash was never relied on: what waits for it to be on the disk had not begun.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import structs

from circus.engine import files
from circus.engine.history import signal_name
from circus.supervise.jobs import Run, RunState

log = logging.getLogger("circus.memory")

NAME = "runs.jsonl"

#: Raised when an older circusd would misunderstand what is written.
FORMAT = 1
#: More than 150 jobs that keep as many runs as they may; what is behind is not read, and that is said.
MAX_BYTES = 64 << 20
#: So many lines may come before the file is written anew; or as many as it began with, so that where much is kept each
#: line costs no more, but not so many that they could not be read.
MAX_APPENDED = 2000
MOST_APPENDED = 20_000

#: The fields of a run, in short: a line is written for each thing that happens to it.
_FIELDS = {
    "due": "due",
    "state": "state",
    "decided_at": "at",
    "is_by_hand": "hand",
    "started_at": "started",
    "ended_at": "ended",
    "pid": "pid",
    "status": "status",
    "reason": "reason",
    "end_reason": "end",
    "count": "count",
    "life": "life",
    "digest": "digest",
}
_DEFAULTS = structs.asdict(Run(0.0, RunState.WAITING, 0.0))


@dataclass
class Known:
    """Of one job; ``schedule`` is what its instants come from."""

    runs: dict[float, Run] = field(default_factory=dict)
    mark: float = 0.0
    is_active: bool = False
    schedule: str = ""


def to_line(job: str, run: Run) -> dict[str, Any]:
    facts = structs.asdict(run) | {"state": run.state.value}
    return {"job": job} | {_FIELDS[key]: value for key, value in facts.items() if value != _DEFAULTS[key]}


def mark_line(job: str, mark: float, *, is_active: bool, schedule: str) -> dict[str, Any]:
    return {"job": job, "mark": mark, "active": is_active, "schedule": schedule}


def _run_from(fields: Mapping[str, Any]) -> Run:
    facts: dict[str, Any] = {key: fields[short] for key, short in _FIELDS.items() if short in fields}
    for key in ("due", "decided_at", "started_at", "ended_at"):
        if facts.get(key) is not None:
            facts[key] = float(facts[key])
    for key in ("pid", "status", "count"):
        if facts.get(key) is not None:
            facts[key] = int(facts[key])
    return Run(**{"decided_at": 0.0, **facts, "state": RunState(fields["state"])})


def due_of(row: Mapping[str, Any]) -> float | None:
    """Of the run that a process in the kernel's row is."""
    due = row["meta"].get("run")
    return float(due) if isinstance(due, float | int) else None


def shown(run: Run) -> dict[str, object]:
    """For people and programs."""
    is_ended_by_signal = run.status is not None and run.status < 0
    return {
        "due": run.due,
        "by_hand": run.is_by_hand,
        "state": run.state.value,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "pid": run.pid,
        "status": run.status,
        "signal": signal_name(-run.status) if is_ended_by_signal and run.status is not None else None,
        "reason": run.reason,
        "count": run.count,
    }


def parse(data: bytes) -> tuple[dict[str, Known], int]:
    """What is known of each job, and how many lines were skipped. Raises: ValueError when it is a newer circusd's."""
    found: dict[str, Known] = {}
    damaged = files.take_lines(
        data, lambda fields: _take(found.setdefault(str(fields["job"]), Known()), fields), FORMAT
    )
    return found, damaged


def _take(known: Known, fields: Mapping[str, Any]) -> None:
    if "mark" in fields:
        known.mark, known.is_active = float(fields["mark"]), bool(fields["active"])
        known.schedule = str(fields["schedule"])
        return
    run = _run_from(fields)
    known.runs[run.due] = run
    if not run.is_by_hand:
        known.mark = max(known.mark, run.due)


class Runbook:
    """``note`` in the loop; `write` what `take` gave in a thread, one at a time. ``whole`` gives all that is kept."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self.trouble = ""
        self.whole: Callable[[], Iterable[dict[str, Any]]] = list
        self.known: dict[str, Known] = {}
        self._waiting: list[dict[str, Any]] = []
        self._kept = self._appended = 0  # lines at first, and those that came since
        self._must_rewrite = False
        try:
            data = files.bounded(self._read)
        except FileNotFoundError:
            return
        except OSError as error:
            self._complain(f"runs of jobs are not known: cannot read {self.path}: {error.strerror}")
            return
        try:
            self.known, damaged = parse(data)
        except ValueError as error:
            aside = files.set_aside(self.path, "newer")
            self._complain(f"runs of jobs are not known: {aside} ({error})")
            return
        self._appended = data.count(b"\n")
        if len(data) > MAX_BYTES:
            self._complain(f"{self.path}: larger than {MAX_BYTES} bytes, what is behind is not known: keep fewer runs")
        elif damaged:
            self._complain(f"{self.path}: {damaged} damaged lines are skipped")

    def _read(self) -> bytes:
        with self.path.open("rb") as file:
            return file.read(MAX_BYTES + 1)

    def note(self, line: dict[str, Any]) -> None:
        self._waiting.append(line)

    def take(self) -> tuple[bytes, bool] | None:
        """What is to be written, and whether it is in place of all before."""
        if not self._waiting and not self._must_rewrite:
            return None
        is_whole = self._must_rewrite or self._appended > max(MAX_APPENDED, min(self._kept, MOST_APPENDED))
        lines = list(self.whole()) if is_whole else self._waiting
        self._waiting = []
        self._must_rewrite = False
        self._kept = len(lines) if is_whole else self._kept
        self._appended = 0 if is_whole else self._appended + len(lines)
        return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines), is_whole

    def give_back(self) -> None:
        """It could not be written."""
        self._must_rewrite = True

    def write(self, taken: tuple[bytes, bool]) -> None:
        """It is on the disk when this returns. Raises: OSError."""
        data, is_whole = taken
        head = json.dumps({"format": FORMAT}).encode() + b"\n"
        if is_whole:
            files.replace_whole(self.path, head + data)
            return
        files.make_directory(self.path.parent)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        try:
            size = os.fstat(fd).st_size
            if not size:
                data = head + data
            elif os.pread(fd, 1, size - 1) != b"\n":
                data = b"\n" + data  # the line before was torn by a crash
            files.write_whole(fd, data, size)
            os.fdatasync(fd)
        finally:
            os.close(fd)
        if not size:
            files.sync_directory(self.path.parent)

    def _complain(self, what: str) -> None:
        self.trouble = what
        log.warning("%s", what)
