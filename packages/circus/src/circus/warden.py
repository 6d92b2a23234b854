"""The warden: the first process of a container. It starts circusd and outlives its crashes.

The one idea: whatever PID 1 is, the container ends with it, so it must be too simple to fail. The warden has one
child, circusd; it reaps all whom their parents left behind, passes on signals, and decides nothing else. Standard
library only, and nothing of circus: a warden lives as long as the container, while circusd may change.

- circusd that ends with 0 was told to: the container ends, or with a status that circusd says. One that never was up
  ends it, too, with its own exit status: a mistake in a configuration shall be seen, and not be tried for ever.
- One that was up and was killed or failed is started again, at once and then after 0.1, 1, 10 s: what it manages
  lives on in papa, and the new one takes it over.
- A signal to end is passed on as soon as circusd is up and can obey it. From then on the container ends when circusd
  does, however that ends.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

#: Of the environment of circusd: the descriptor to which it writes a plus sign when it is up, and an equals sign with
#: the status in digits when the container shall end with that.
VARIABLE = "CIRCUS_WARDEN"
UP = b"+"
ENDS = b"="

PAUSES_S = (0.0, 0.1, 1.0, 10.0)

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
PASSED_ON = (*ENDING, signal.SIGHUP)

#: One read of signals that came, or of what circusd says; more waits for the next turn.
CHUNK = 512


def run(argv: list[str]) -> int:
    """Be the warden of the circusd that ``argv`` starts; returns the exit status of the container."""
    return _Warden(argv).run()


class _Warden:
    def __init__(self, argv: list[str]) -> None:
        self._argv = argv
        self._child = 0  # no circusd
        self._ready = -1  # from circusd
        self._is_up = False
        self._was_ever_up = False
        self._waiting: list[int] = []  # signals that circusd could not obey yet, each once
        self._is_ending = False
        self._failures = 0  # since circusd was last up
        self._start_at: float | None = None  # monotonic
        self._status: int | None = None
        self._told_status: int | None = None
        self._signals, wakeup = os.pipe()
        os.set_blocking(self._signals, False)
        os.set_blocking(wakeup, False)
        for signum in (*PASSED_ON, signal.SIGCHLD):
            signal.signal(signum, lambda *_: None)
        # A full pipe loses a signal after CHUNK that nobody read yet; ends of children are looked for in any case.
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)

    def run(self) -> int:
        self._start()
        while self._status is None:
            self._wait()
            for signum in self._came():
                self._on_signal(signum)
            self._hear()
            self._reap()
            if self._start_at is not None and (self._is_ending or time.monotonic() >= self._start_at):
                self._start()
        return self._status

    def _wait(self) -> None:
        timeout = None if self._start_at is None else max(0.0, self._start_at - time.monotonic())
        select.select([self._signals, *([self._ready] if self._ready >= 0 else [])], [], [], timeout)

    def _came(self) -> bytes:
        try:
            return os.read(self._signals, CHUNK)
        except BlockingIOError:
            return b""

    def _on_signal(self, signum: int) -> None:
        if signum not in PASSED_ON:
            return
        self._is_ending |= signum in ENDING
        if self._is_up:
            os.kill(self._child, signum)
        elif signum not in self._waiting:
            self._waiting.append(signum)

    def _start(self) -> None:
        self._start_at = self._told_status = None
        self._ready, theirs = os.pipe()
        os.set_blocking(self._ready, False)
        os.set_inheritable(theirs, True)
        # A group of its own: Ctrl-C reaches the warden alone, and circusd once.
        environ = {**os.environ, VARIABLE: str(theirs)}
        try:
            self._child = os.posix_spawn(self._argv[0], self._argv, environ, setpgroup=0, setsigmask=[])
        except OSError as error:
            self._forget_pipe()
            if not self._was_ever_up or self._is_ending:
                raise
            self._try_again(f"cannot be started: {error.strerror}")
        finally:
            os.close(theirs)

    def _hear(self) -> None:
        """Whether circusd is up, and what the container shall end with; the end of the pipe says nothing."""
        if self._ready < 0:
            return
        try:
            said = os.read(self._ready, CHUNK)
        except BlockingIOError:
            return
        if not said:
            self._forget_pipe()
        up, _, status = said.partition(ENDS)
        if status.isdigit():
            self._told_status = int(status)
        if up == UP:
            self._is_up = self._was_ever_up = True
            self._failures = 0
            waiting, self._waiting = self._waiting, []
            for signum in waiting:
                os.kill(self._child, signum)

    def _forget_pipe(self) -> None:
        if self._ready >= 0:
            os.close(self._ready)
            self._ready = -1

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._child:
                self._on_end(os.waitstatus_to_exitcode(status))

    def _on_end(self, code: int) -> None:
        self._child, self._is_up = 0, False
        self._forget_pipe()
        if code == 0 or not self._was_ever_up or self._is_ending:
            self._status = code if code >= 0 else 128 - code
            if code == 0 and self._told_status is not None:
                self._status = self._told_status
        else:
            self._try_again(f"ended with status {code}" if code > 0 else f"was killed by signal {-code}")

    def _try_again(self, why: str) -> None:
        pause_s = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
        self._failures += 1
        self._start_at = time.monotonic() + pause_s
        print(f"warden: circusd {why}; it is started again after {pause_s:g} s", file=sys.stderr, flush=True)
