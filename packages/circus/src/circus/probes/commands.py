"""Asking by a command: a helper that lives for a moment, started by circusd itself, in a process group of its own.

Each one has a thread while it lives, at most ``AT_ONCE`` of them, so that a directory or a disk that hangs stops
helpers and nothing else; further ones wait for their turn. One that takes too long is killed with its group, and so is
whatever a helper leaves behind in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from circus.probes import NotSo, tidy

#: Helpers are small and short; more at once only slow each other, and the services that they ask.
AT_ONCE = 8

#: The end of its output is kept: there stand an answer and the reason of a failure.
TAIL = 4096

#: Where there are no pidfds its end is looked for at this pace.
LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Command:
    """``uid``, ``gid``, ``groups``: None is as circusd. ``told`` is its standard input; without it that is empty."""

    argv: list[str]
    env: Mapping[str, str]
    cwd: str
    umask: int
    uid: int | None = None
    gid: int | None = None
    groups: list[int] | None = None
    told: bytes | None = None


class Commands:
    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._running: set[_Helper] = set()

    async def ask(self, command: Command, timeout_s: float) -> str:
        """The end of what it printed. Raises: NotSo."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="circus-probe")
        helper = _Helper(command, timeout_s)
        self._running.add(helper)
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, helper.run)
        finally:
            self._running.discard(helper)
            helper.end()
        return helper.said

    def close(self) -> None:
        """No helper outlives circusd."""
        for helper in self._running:
            helper.end()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


class _Helper:
    """One run of a command; `run` is a thread's."""

    def __init__(self, command: Command, timeout_s: float) -> None:
        self._command = command
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._pid: int | None = None  # while nobody has waited for it
        self._is_unwanted = False
        self._tail = b""

    @property
    def said(self) -> str:
        return self._tail.decode(errors="replace").rstrip()

    def end(self) -> None:
        """Whoever asked has gone."""
        with self._lock:
            self._is_unwanted = True
            self._kill()

    def run(self) -> None:
        command, deadline = self._command, time.monotonic() + self._timeout_s
        with self._lock:
            if self._is_unwanted:
                return
        try:
            process = subprocess.Popen(
                command.argv,
                env=command.env,
                cwd=command.cwd,
                umask=command.umask,
                user=command.uid,
                group=command.gid,
                extra_groups=command.groups,
                stdin=subprocess.DEVNULL if command.told is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise NotSo(f"{command.argv[0]} could not be started: {why}") from None
        with self._lock:
            self._pid = process.pid
            if self._is_unwanted:
                self._kill()
        assert process.stdout is not None
        with process.stdout, process.stdin or contextlib.nullcontext():
            has_ended = self._follow(process, process.stdout.fileno(), deadline)
        with self._lock:
            self._kill()  # before it is waited for the number of its group is nobody else's
            self._pid = None
        process.wait()
        name = os.path.basename(command.argv[0])
        if not has_ended:
            raise NotSo(f"no answer within {self._timeout_s:g} s ({name})", self.said)
        if process.returncode:
            how = f"signal {-process.returncode}" if process.returncode < 0 else f"status {process.returncode}"
            last = tidy(self.said.rpartition("\n")[2])
            raise NotSo(f"{last} ({name}: {how})" if last else f"{name}: {how}", self.said)

    def _kill(self) -> None:
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)

    def _follow(self, process: subprocess.Popen[bytes], output: int, deadline: float) -> bool:
        """Until it has ended, though it is not waited for; False when it takes too long."""
        os.set_blocking(output, False)
        poll = select.poll()
        poll.register(output, select.POLLIN)
        rest, told = memoryview(self._command.told or b""), -1 if process.stdin is None else process.stdin.fileno()
        if rest:
            os.set_blocking(told, False)
            poll.register(told, select.POLLOUT)
        with _pidfd_of(process.pid) as pidfd:
            if pidfd is not None:
                poll.register(pidfd, select.POLLIN)
            is_open = True
            while (left_s := deadline - time.monotonic()) > 0:
                ready = [fd for fd, _ in poll.poll(min(left_s, LOOK_S if pidfd is None else left_s) * 1000 + 1)]
                if rest and told in ready and not (rest := _tell(told, rest)):
                    poll.unregister(told)
                    assert process.stdin is not None
                    process.stdin.close()
                if is_open and output in ready and not self._take(output):
                    poll.unregister(output)
                    is_open = False
                if pidfd in ready or (pidfd is None and _has_ended(process.pid)):
                    while is_open and self._take(output):
                        pass
                    return True
        return False

    def _take(self, output: int) -> bool:
        """False when there is no more, by now or for ever."""
        try:
            chunk = os.read(output, 1 << 16)
        except BlockingIOError:
            return False
        self._tail = (self._tail + chunk)[-TAIL:]
        return bool(chunk)


def _tell(fd: int, rest: memoryview) -> memoryview:
    """What it has not taken yet; nothing more for one that reads no further."""
    try:
        return rest[os.write(fd, rest) :]
    except BlockingIOError:
        return rest
    except OSError:
        return rest[:0]


@contextlib.contextmanager
def _pidfd_of(pid: int) -> Iterator[int | None]:
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _has_ended(pid: int) -> bool:
    """It is not waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
