"""Where circusd's threads and tasks are: written when somebody asks (SIGUSR1), in a crash, and before it is killed.

Threads are written by the interpreter's fault handler, in C, also while one of them keeps all others from running;
tasks behind them, where Python still runs. All goes to a small file beside the control socket, in memory on most hosts:
neither a log that cannot be written nor one that was rotated loses it. A circusd that lives on takes it from there into
its log, else its successor does. The file is empty otherwise.
"""

from __future__ import annotations

import asyncio
import faulthandler
import io
import logging
import os
import signal
from collections.abc import Iterator

from circus import warden

log = logging.getLogger("circus")

#: As much as is taken into a log: some hundreds of threads and tasks.
MAX_BYTES = 256 << 10
#: Of one life; each with so many frames.
MAX_TASKS = 200
MAX_FRAMES = 24


class Stacks:
    """``open`` in the main thread, once; to the end of the process. Without the file standard error has to do."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: io.FileIO | None = None

    def open(self) -> None:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            self._file = io.FileIO(fd, "r+")
        except OSError as error:
            log.warning("%s cannot be written: %s; stacks go to standard error", self._path, error.strerror)
        self.tell("the circusd before has left its stacks")
        fd = 2 if self._file is None else self._file.fileno()
        faulthandler.enable(fd)
        signal.signal(warden.STACKS, self._on_signal)
        # First the threads, at once, then the handler of Python above, when its turn comes.
        faulthandler.register(warden.STACKS, fd, chain=True)

    def tell(self, why: str) -> None:
        """Into the log with what is there, and out of the file."""
        if self._file is None:
            return
        try:
            text = os.pread(self._file.fileno(), MAX_BYTES, 0).decode(errors="replace")
            if text:
                log.error("%s:\n%s", why, text.rstrip("\n"))
                os.ftruncate(self._file.fileno(), 0)
        except OSError as error:
            log.warning("%s: %s", self._path, error.strerror)

    def write(self) -> None:
        """All of it, now."""
        faulthandler.dump_traceback(2 if self._file is None else self._file.fileno())
        self._write_tasks()

    def _on_signal(self, _signum: int, _frame: object) -> None:
        self._write_tasks()
        try:
            asyncio.get_running_loop().call_soon_threadsafe(self.tell, "asked for the stacks")
        except RuntimeError:
            pass  # no loop: the next one tells

    def _write_tasks(self) -> None:
        try:
            os.write(2 if self._file is None else self._file.fileno(), _tasks().encode(errors="replace"))
        except OSError:
            pass  # what there is has to do


def _tasks() -> str:
    try:
        tasks = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
    except RuntimeError:
        return ""  # no loop
    lines = []
    for task in tasks[:MAX_TASKS]:
        lines.append(f"\nTask {task.get_name()} (most recent call first):")
        lines += list(_frames_of(task.get_coro()))[::-1][:MAX_FRAMES]
    if len(tasks) > MAX_TASKS:
        lines.append(f"and {len(tasks) - MAX_TASKS} more tasks")
    return "\n".join([*lines, ""])


def _frames_of(awaited: object) -> Iterator[str]:
    """From the coroutine of a task to what that waits for at last; written as the fault handler does it.

    A task by itself knows the first of them alone, and looks into source files, which may hang.
    """
    while awaited is not None:
        for kind in ("cr", "gi", "ag"):
            if (frame := getattr(awaited, f"{kind}_frame", None)) is not None:
                yield f'  File "{frame.f_code.co_filename}", line {frame.f_lineno} in {frame.f_code.co_name}'
                awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
                break
        else:
            return
