"""The warden: the small parent of circusd. It starts circusd, and outlives its crashes and its hangs.

The one idea: whoever watches must be too simple to fail, so the warden has one child, circusd, and decides nothing but
when there has to be another one. It is there in two places: as PID 1 of a container, where it reaps besides all whom
their parents left behind; and above a circusd in the background, where it leads the session. Standard library only,
and nothing of circus: it runs this file, by a Python without site-packages, for as long as the container or the
session lives, while circusd may change.

- circusd that ends with 0 was told to: the warden ends, with 0 or with the status that circusd says. One that never was
  up ends it, too, with its own exit status: a mistake in a configuration shall be seen, and not be tried for ever.
- One that was up and was killed or failed is started again, at once and then after 0.1, 1, 10 s, until one was up for a
  minute: what it manages lives on in papa, and the new one takes it over.
- circusd beats: it says that it lives, and for how long it may be silent now. When that time is over it is asked for
  the stacks of its threads and tasks (SIGUSR1, and SIGCONT for one that is stopped), killed soon after, and replaced. A
  beat wakes nobody: the warden looks at what was said when the time is over. A warden that was itself kept from running
  gives circusd the time anew.
- A signal to end is passed on as soon as circusd is up and can obey it. From then on the warden ends when circusd does,
  however that ends.

What circusd says are lines through a pipe, `WORDS` below; what it is told are two variables of its environment.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        # All that is asked of `signal` here, without `enum`: a tenth of the warden's memory.
        sys.modules["signal"] = __import__("_signal")
    except ImportError:
        pass

import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Of the environment of circusd: `FD PID STARTER COUNT REASON`. FD is where it writes its lines, PID the warden's,
#: STARTER the pipe to whoever started it (detach), -1 for none; COUNT is how often it was replaced, REASON why last.
VARIABLE = "CIRCUS_WARDEN"
#: What the circusd before has told to be kept for it; missing if nothing.
KEPT = "CIRCUS_WARDEN_KEPT"

#: What circusd says. `up`: it takes orders. `beat NOW SECONDS`: it lives, at NOW on the monotonic clock, and says the
#: next word within SECONDS (`inf`: any time). `status N`: the warden shall end with that after an end with 0.
#: `leaving`: it ends now, however that goes. `keep TEXT`: for its successor. `renew REASON`: it executes itself anew in
#: place; a REASON counts as a replacement. `alone`: no warden is wanted.
WORDS = frozenset({b"up", b"beat", b"status", b"leaving", b"keep", b"renew", b"alone"})

PAUSES_S = (0.0, 0.1, 1.0, 10.0)
#: Who was up for so long has failed for a reason of its own: the pauses begin anew.
STEADY_S = 60.0

#: Until circusd says the first word: an interpreter, its modules, the configuration, on a very busy machine.
START_S = 120.0
#: A beat that is due in this moment is on its way.
GRACE_S = 1.0
#: From the signal for the stacks to SIGKILL; writing them takes milliseconds.
STACKS_S = 3.0
#: A thread that hangs in a disk outlives SIGKILL; the next circusd does not wait for it.
KILLED_S = 10.0

STACKS = signal.SIGUSR1
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
PASSED_ON = (*ENDING, signal.SIGHUP)

#: One read of signals that came, or of what circusd says; more waits for the next turn.
CHUNK = 4096
#: A line is cut there; circusd's are at most as long as a pipe takes at once.
MAX_LINE = 4096


def become(argv: list[str]) -> None:
    """Replace this process by the warden of the circusd that ``argv`` starts."""
    os.execv(sys.executable, command(argv))  # noqa: S606 - in place of this process


def command(argv: list[str], starter: int = -1) -> list[str]:
    """The command line of a warden; ``starter``: a descriptor that its first circusd inherits."""
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), str(starter), *argv]


class Warden:
    """``run`` returns the exit status. In the background if there is a ``starter``: standard streams go, too, then."""

    def __init__(self, argv: list[str], starter: int = -1) -> None:
        self._argv = argv
        self._starter = starter
        self._is_detached = starter >= 0
        self._child = 0  # no circusd
        self._ready = -1  # from circusd
        self._said = b""  # the beginning of a line
        self._is_up = False
        self._was_ever_up = False
        self._up_at = 0.0  # monotonic
        self._waiting: list[int] = []  # signals that circusd could not obey yet, each once
        self._is_ending = False
        self._failures = 0
        self._replaced = 0
        self._reason = ""  # why the last one was replaced, or is about to be
        self._kept = ""
        self._at: float | None = None  # monotonic; when `_then` follows
        self._then: Callable[[], None] = self._start
        self._patience = START_S
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
            was_late = self._wait()
            came = self._came()
            self._hear()
            for signum in came:
                self._on_signal(signum)
            self._reap()
            if self._at is None:
                continue
            if self._then == self._ask_for_stacks and was_late:
                self._expect(time.monotonic(), self._patience)
            elif time.monotonic() >= self._at or (self._then == self._start and self._is_ending):
                self._then()
        return self._status

    def _wait(self) -> bool:
        """Until something came, or it is time; whether that was far behind the time. Beats alone wake nobody."""
        heard = [self._ready] if self._ready >= 0 and not self._is_up else []
        due = self._at if self._at != float("inf") else None
        timeout = None if due is None else max(0.0, due - time.monotonic())
        select.select([self._signals, *heard], [], [], timeout)
        return due is not None and time.monotonic() > due + GRACE_S

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

    # What circusd says --------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """All that was said; the end of the pipe says nothing, as circusd's own end does."""
        while self._ready >= 0:
            try:
                said = os.read(self._ready, CHUNK)
            except BlockingIOError:
                return
            if not said:
                self._forget_pipe()
            *lines, rest = (self._said + said).split(b"\n")
            self._said = rest[:MAX_LINE]
            for line in lines:
                word, _, rest = line.partition(b" ")
                if word in WORDS:
                    getattr(self, f"_on_{word.decode()}")(rest)

    def _on_up(self, _rest: bytes) -> None:
        self._is_up = self._was_ever_up = True
        self._up_at = time.monotonic()
        if self._is_detached:
            self._detach()
        waiting, self._waiting = self._waiting, []
        for signum in waiting:
            os.kill(self._child, signum)

    def _on_beat(self, rest: bytes) -> None:
        try:
            now, patience = map(float, rest.split())
        except ValueError:
            return
        if self._then == self._ask_for_stacks:
            self._expect(now, patience)

    def _on_status(self, rest: bytes) -> None:
        if rest.isdigit():
            self._told_status = int(rest)

    def _on_leaving(self, _rest: bytes) -> None:
        self._is_ending = True

    def _on_keep(self, rest: bytes) -> None:
        self._kept = rest.decode(errors="replace")

    def _on_renew(self, rest: bytes) -> None:
        self._is_up = False
        self._expect(time.monotonic(), START_S)
        if rest:
            self._replaced += 1
            self._reason = rest.decode(errors="replace")
            _say(f"circusd {self._reason}; it begins anew in place")

    def _on_alone(self, _rest: bytes) -> None:
        self._status = 0

    def _expect(self, now: float, patience_s: float) -> None:
        self._patience = patience_s
        self._at, self._then = now + patience_s + GRACE_S, self._ask_for_stacks

    def _forget_pipe(self) -> None:
        if self._ready >= 0:
            os.close(self._ready)
            self._ready = -1
        self._said = b""

    # What follows -------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._told_status = None
        self._ready, theirs = os.pipe()
        os.set_blocking(self._ready, False)
        os.set_inheritable(theirs, True)
        told = f"{theirs} {os.getpid()} {self._starter} {self._replaced} {self._reason}"
        environ = {**os.environ, VARIABLE: told, **({KEPT: self._kept} if self._kept else {})}
        self._expect(time.monotonic(), START_S)
        try:
            # A group of its own: Ctrl-C reaches the warden alone, and circusd once.
            self._child = os.posix_spawn(self._argv[0], self._argv, environ, setpgroup=0, setsigmask=[])
        except OSError as error:
            self._forget_pipe()
            if not self._was_ever_up or self._is_ending:
                raise
            self._try_again(f"cannot be started: {error.strerror}")
        finally:
            os.close(theirs)
            if self._starter >= 0:  # for the first one alone
                os.close(self._starter)
                self._starter = -1

    def _ask_for_stacks(self) -> None:
        self._reason = f"(pid {self._child}) said nothing for {self._patience:g} s"
        os.kill(self._child, STACKS)
        os.kill(self._child, signal.SIGCONT)
        self._at, self._then = time.monotonic() + STACKS_S, self._kill

    def _kill(self) -> None:
        os.kill(self._child, signal.SIGKILL)
        self._at, self._then = time.monotonic() + KILLED_S, self._give_up

    def _give_up(self) -> None:
        self._on_end(-signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._child:
                self._hear()  # its last words
                self._on_end(os.waitstatus_to_exitcode(status))

    def _on_end(self, code: int) -> None:
        pid, self._child = self._child, 0
        lasted_s = time.monotonic() - self._up_at if self._is_up else 0.0
        self._is_up = False
        self._forget_pipe()
        was_silent = self._then in (self._kill, self._give_up)
        if code == 0 or not self._was_ever_up or self._is_ending:
            self._at = None
            self._status = code if code >= 0 else 128 - code
            if code == 0 and self._told_status is not None:
                self._status = self._told_status
            return
        if lasted_s >= STEADY_S:
            self._failures = 0
        if was_silent:
            self._try_again(self._reason)
        else:
            how = f"ended with status {code}" if code > 0 else f"was killed by signal {-code}"
            self._try_again(f"(pid {pid}) {how}")

    def _try_again(self, why: str) -> None:
        pause_s = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
        self._failures += 1
        self._replaced += 1
        self._reason = why
        self._at, self._then = time.monotonic() + pause_s, self._start
        _say(f"circusd {why}; it is started again after {pause_s:g} s")

    def _detach(self) -> None:
        """The starter has seen what there was to see; a terminal that is closed must not hurt."""
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)
        self._is_detached = False


def _say(what: str) -> None:
    try:
        os.write(2, f"warden: {what}\n".encode(errors="replace"))
    except OSError:
        pass  # nobody reads it any more; circusd's log will have it, too


if __name__ == "__main__":
    sys.exit(Warden(sys.argv[2:], int(sys.argv[1])).run())
