"""The output of processes: from their pipes into the stream files, and back to the file system.

The one idea: a stream's file is the stream. Its size says what was taken (splice(2) takes from the pipe and
makes the file grow in one step), its offsets are the stream's, and bytes that nobody needs are holes. So
there is nothing to be saved before a crash and nothing to be repaired after one.

Orders that must be kept: the index record is written before the bytes that it dates; the low-water marks are
written before the holes are punched; the vault forgets a pipe before it is closed while a writer may live.

What may be read, must wait or must go is decided by papa.core.output. This room adds what one process's
output cannot know: the budget of the whole instance, and a file system that is full; in both cases the
largest holder loses its oldest bytes first.
"""

from __future__ import annotations

import errno
import os
import time

from papa import model
from papa.core import output as core
from papa.kernel import system
from papa.kernel.capture import INDEX, Capture
from papa.kernel.lane import Lane
from papa.kernel.reopening import RETRY_S, Reopening
from papa.kernel.state import OUTPUT
from papa.kernel.widening import Widening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from papa.kernel.arrears import Arrears
    from papa.kernel.loop import Loop
    from papa.kernel.state import State
    from papa.kernel.vault import NoVault, Vault

#: What is owed of a capture that could not be given back: see papa.kernel.arrears.
HOLES = "holes"

#: All output that an instance holds: the state directory usually lies on a small tmpfs that others need too.
MAX_BUDGET_BYTES = 256 << 20
#: ... and at most this part of its file system.
BUDGET_PART = 4

#: Lent to floods above their bounds: this part of the budget, nothing once half of it is held; see papa.core.output.
LENT_PART = 4

#: Taken from one pipe in a row: enough to keep up with a writer, little enough that a flood of one process does
#: not keep the others waiting.
TURN_BYTES = 256 << 10

#: What a drop on behalf of others frees at least, so that it does not come again with each splice.
MIN_DROP = 1 << 20


class Pipes:
    """All captures of one kernel.

    ``on_output(number)`` comes when bytes were taken, ``on_eof(number, stream)`` when a pipe's last writer is
    gone and everything is taken.
    """

    __slots__ = (
        "_arrears", "_lane", "_loop", "_null", "_on_eof", "_on_output", "_page", "_state", "_tier", "_vault",
        "_widening", "budget", "captures", "dropped_bytes", "held_bytes", "is_punching", "lent_bytes", "reopening",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        state: State,
        vault: Vault | NoVault,
        tier: str,
        *,
        on_output: Callable[[int], None],
        on_eof: Callable[[int, str], None],
        arrears: Arrears,
    ) -> None:
        self._arrears = arrears
        self._loop = loop
        self._lane = Lane(loop, tier)
        self._state = state
        self._vault = vault
        self._tier = tier
        self._on_output = on_output
        self._on_eof = on_eof
        self.captures: dict[int, Capture] = {}
        self._page = os.fstatvfs(state.fd).f_bsize or 4096
        self.reopening = Reopening(
            loop, state, self._page, on_opened=self._on_opened, on_failed=lambda capture: self._pause(capture, None)
        )
        self._widening = Widening()
        self._null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        self.budget = MAX_BUDGET_BYTES
        size = system.file_system_bytes(state.fd)
        if size:
            self.budget = min(MAX_BUDGET_BYTES, size // BUDGET_PART)
        self.held_bytes = 0
        #: Of these, what is above the bounds of the processes.
        self.lent_bytes = 0
        #: Dropped unacknowledged by this incarnation, of processes that are gone as well.
        self.dropped_bytes = 0
        #: False when the file system cannot give bytes back from the middle of a file.
        self.is_punching = True

    # --- beginning and end of a capture --------------------------------------------------------------------

    def create(self, number: int, captured: Sequence[str], bounds: core.Bounds) -> tuple[Capture, dict[str, int]]:
        """Files and pipes for a process that is about to start, and the writing ends: they are the caller's.

        Nothing is read before start(). Raises: OSError; nothing is left behind.
        """
        files: dict[str, int] = {}
        pipes: dict[str, int] = {}
        writers: dict[str, int] = {}
        try:
            self._state.make_output_dir(number)
            for name in (*captured, INDEX):
                files[name] = self._state.make_output(number, name)
            for name in captured:
                pipes[name], writers[name] = os.pipe()
                os.set_blocking(pipes[name], False)
            output = core.Output(captured, bounds, page=self._page)
            os.pwrite(files[INDEX], output.header(), 0)
        except OSError:
            for fd in (*files.values(), *pipes.values(), *writers.values()):
                os.close(fd)
            self.remove_files(number)
            raise
        return self._keep(Capture(number, output, files, pipes)), writers

    def recover(
        self,
        number: int,
        captured: Sequence[str],
        bounds: core.Bounds,
        acked: Mapping[str, int],
        pipes: dict[str, int],
        on_open: Callable[[core.Output], None],
    ) -> Capture:
        """A capture as its files will have it; a stream without a pipe has ended.

        ``on_open`` is called once, when they are opened: see papa.kernel.reopening.
        """
        capture = Capture(number, None, {}, pipes)
        self.reopening.add(capture, captured, bounds, acked, on_open)
        return self._keep(capture)

    def _on_opened(self, capture: Capture) -> None:
        capture.output.trim(capture.read_index)
        self._give_back(capture)
        self._keep_budget()
        # Its owner, and who watches, may wait for what came while nobody looked.
        self._on_output(capture.number)
        if capture.failure:
            capture.failure = ""
            system.log(f"output of process {capture.number} is open again")
            self._resume(capture)

    def recover_unwanted(self, number: int, pipes: Sequence[int]) -> Capture:
        """A capture that is emptied into nothing until its pipes end: nobody wants the output any more."""
        # How many there are matters to nobody: they need no names of their own.
        named = dict(zip(model.STREAMS, pipes, strict=False))
        capture = self._keep(Capture(number, core.Output(named), {}, named))
        capture.is_discarding = True
        return capture

    def start(self, capture: Capture) -> None:
        """Reads from its pipes from now on."""
        self._resume(capture)

    def discard(self, capture: Capture) -> None:
        """Nobody wants this output any more: its files go, its pipes are emptied into nothing."""
        if capture.is_discarding:
            return
        capture.is_discarding = True
        self.reopening.forget(capture)
        if not capture.is_open:
            capture.opened(core.Output(capture.pipes), {}, b"")
        self._close_files(capture)
        self.remove_files(capture.number)
        self._count(capture)
        self._resume(capture)

    def release(self, capture: Capture) -> None:
        """The process's entry goes: takes away what is left of its output, on disk too."""
        self.close(capture)
        if not capture.is_discarding:
            self.remove_files(capture.number)

    def remove_files(self, number: int) -> None:
        """Takes a process's files away, or owes it."""
        try:
            self._state.remove_output(number)
        except OSError as error:
            self._arrears.owe(OUTPUT, number, error)

    def close(self, capture: Capture) -> None:
        """Closes its descriptors only: files and vault stay for a next incarnation."""
        self._pause(capture, None)
        for fd in capture.pipes.values():
            self._widening.forget(fd)
            os.close(fd)
        capture.pipes.clear()
        self.reopening.forget(capture)
        if capture.is_open:
            self._close_files(capture)
        self.captures.pop(capture.number, None)
        self.held_bytes -= capture.counted
        self.lent_bytes -= capture.lent
        capture.counted = capture.lent = 0

    def close_all(self) -> None:
        for capture in list(self.captures.values()):
            self.close(capture)
        self._lane.close()
        os.close(self._null)

    def _close_files(self, capture: Capture) -> None:
        for fd in capture.files.values():
            os.close(fd)
        capture.files.clear()

    def _keep(self, capture: Capture) -> Capture:
        self.captures[capture.number] = capture
        for name in capture.pipes:
            capture.movers[name] = system.new_mover(self._tier)
        capture.is_paused = True
        if capture.is_open:
            self._count(capture)
        return capture

    def inodes_of(self, number: int) -> list[int]:
        """Of the pipes of a process, in the order of its streams; 0 for one that has ended, none when all have."""
        capture = self.captures.get(number)
        if capture is None or not capture.pipes:
            return []
        fds = [capture.pipes.get(name) for name in capture.output.streams]
        return [0 if fd is None else os.fstat(fd).st_ino for fd in fds]

    # --- what the owner does -------------------------------------------------------------------------------

    def reader_changed(self, capture: Capture) -> None:
        """The owner of its output came, or went, which ``capture.output`` knows."""
        self._resume(capture)

    def set_bounds(self, capture: Capture, bounds: core.Bounds) -> None:
        capture.output.set_bounds(bounds)
        self._resume(capture)

    def after_acks(self, capture: Capture) -> None:
        """``capture.output`` took acknowledgements in: gives the bytes back, and reads on if it was full."""
        if capture.is_discarding:
            return
        capture.output.trim(capture.read_index)
        self._give_back(capture)
        self._resume(capture)

    # --- reading -------------------------------------------------------------------------------------------

    def _on_ready(self, capture: Capture, stream: str) -> None:
        if not self.reopening.try_to_open(capture):
            return
        taken = 0
        while taken < TURN_BYTES and stream in capture.pipes and self._may_read(capture, stream):
            limit = capture.output.step_of(stream)
            moved = self._move(capture, stream, limit)
            taken += moved
            if moved < limit:
                break
        if taken:
            self._lane.took(taken)
            self._on_output(capture.number)

    def drain(self, capture: Capture) -> None:
        """Takes all that lies in the pipes now, whatever the bounds say: the process that wrote it has ended.

        Bounded by what the pipes hold; what others write meanwhile waits its turn.
        """
        if not self.reopening.try_to_open(capture):
            return
        for stream in list(capture.pipes):
            left = system.readable_bytes(capture.pipes[stream]) + capture.movers[stream].pending
            # Once more at the end: usually nobody else has the pipe, and its end belongs before the exit.
            while stream in capture.pipes:
                moved = self._move(capture, stream, min(max(left, 1), system.CHUNK))
                left -= moved
                if not moved or left < 0:
                    break
        if not capture.is_discarding:
            for stream in capture.output.streams:
                if capture.output.next_step(time.monotonic(), stream).kind == core.DROP:
                    self._drop(capture, stream=stream)
        self._on_output(capture.number)

    def _may_read(self, capture: Capture, stream: str) -> bool:
        """Whether bytes may be taken now; makes room, or pauses the pipes, as the bounds say."""
        if capture.is_discarding:
            return True
        now = time.monotonic()
        verdict = capture.output.next_step(now, stream, self._spare())
        if verdict.kind == core.DROP:
            self._drop(capture, stream=stream)
            verdict = capture.output.next_step(now, stream)
        if verdict.kind == core.PAUSE:
            if capture.output.bounds.by_stream is None:
                self._pause(capture, verdict.until)
            else:
                self._keep_waiting(capture, stream, verdict.until)
            return False
        return True

    def _move(self, capture: Capture, stream: str, limit: int) -> int:
        """Takes at most ``limit`` bytes; returns how many. Ends the stream where its pipe ends."""
        pipe, mover = capture.pipes[stream], capture.movers[stream]
        if capture.is_discarding:
            return self._throw_away(capture, stream, limit)
        while True:
            try:
                self._date(capture, stream)
                moved = mover.move(pipe, capture.files[stream], capture.output.streams[stream].head, limit)
            except (BlockingIOError, InterruptedError):
                return 0
            except OSError as error:
                if self.make_room(error):
                    continue
                self._pause(capture, time.monotonic() + RETRY_S)
                if not capture.failure:
                    system.log(f"{stream} of process {capture.number} cannot be stored: {error.strerror}")
                capture.failure = f"{stream}: {error.strerror}"
                return 0
            if capture.failure:
                capture.failure = ""
                system.log(f"{stream} of process {capture.number} is stored again")
            break
        if not moved:
            self._end(capture, stream)
            return 0
        capture.output.add(stream, moved)
        self._widening.took(pipe, moved)
        self._count(capture)
        if self.held_bytes > self.budget:
            self._keep_budget()
        return moved

    def _date(self, capture: Capture, stream: str) -> None:
        """Writes the index record of the bytes that come next, after the one that could not be written before.

        As long as one is owed no other is made: what is tried again and again on a full disk must not add up.
        """
        capture.write_undated()
        capture.undated = capture.output.note_arrival(stream, time.time_ns(), system.boot_ns())
        capture.write_undated()

    def _throw_away(self, capture: Capture, stream: str, limit: int) -> int:
        try:
            if self._tier == "portable":
                moved = len(os.read(capture.pipes[stream], limit))
            else:
                moved = os.splice(capture.pipes[stream], self._null, limit)
        except (BlockingIOError, InterruptedError):
            return 0
        if not moved:
            self._end(capture, stream)
        return moved

    def _end(self, capture: Capture, stream: str) -> None:
        pipe = capture.pipes.pop(stream)
        self._lane.forget(pipe)
        self._widening.forget(pipe)
        os.close(pipe)
        capture.output.close(stream)
        if not capture.pipes:
            self._vault.drop(f"o{capture.number}")
        self._on_eof(capture.number, stream)

    # --- pausing -------------------------------------------------------------------------------------------

    def _pause(self, capture: Capture, until: float | None) -> None:
        """Leaves the pipes alone: forgotten, because a hang-up would be reported even to an empty mask."""
        if capture.timer is not None:
            capture.timer.cancel()
            capture.timer = None
        capture.waiting = ()
        if not capture.is_paused:
            capture.is_paused = True
            for fd in capture.pipes.values():
                self._lane.forget(fd)
        if until is not None:
            capture.timer = self._loop.call_at(until, lambda: self._resume(capture))

    def _keep_waiting(self, capture: Capture, stream: str, until: float) -> None:
        """Leaves one pipe alone; whatever ends the wait of one lets the other look, too, which may wait again."""
        self._lane.forget(capture.pipes[stream])
        capture.waiting = (*capture.waiting, stream)
        if until != core.FOREVER and (capture.timer is None or until < capture.timer.deadline):
            if capture.timer is not None:
                capture.timer.cancel()
            capture.timer = self._loop.call_at(until, lambda: self._resume(capture))

    def _resume(self, capture: Capture) -> None:
        if capture.timer is not None:
            capture.timer.cancel()
            capture.timer = None
        streams = capture.pipes if capture.is_paused else capture.waiting
        capture.is_paused, capture.waiting = False, ()
        for stream in streams:
            # One that waited may have come to its end at the exit of its process.
            if stream in capture.pipes:
                self._watch(capture, stream, capture.pipes[stream])

    def _watch(self, capture: Capture, stream: str, fd: int) -> None:
        self._lane.watch(fd, lambda _ready: self._on_ready(capture, stream))

    # --- giving back ---------------------------------------------------------------------------------------

    def _drop(self, capture: Capture, size: int | None = None, stream: str = "") -> int:
        dropped = capture.output.drop(capture.read_index, size, stream)
        self.dropped_bytes += dropped
        self._give_back(capture)
        return dropped

    def _give_back(self, capture: Capture) -> None:
        """Neither the commit that this follows from, which is durable already, nor what comes next may fail for it."""
        try:
            self.give_back(capture)
        except OSError as error:
            self._arrears.owe(HOLES, capture.number, error)
        self._count(capture)

    def give_back(self, capture: Capture) -> None:
        """First the marks, then the holes: who reads NULs must be able to find out why.

        A file system that has no holes keeps the bytes until the process goes. Raises: OSError; it is still due then.
        """
        header = capture.output.header()
        if header != capture.header:
            os.pwrite(capture.files[INDEX], header, 0)
            capture.header = header
        holes = capture.output.take_holes()
        while holes:
            name, start, end = holes[0]
            try:
                self.is_punching = system.punch(capture.files[name], start, end - start) and self.is_punching
            except OSError:
                for name, start, _ in holes:
                    capture.output.keep_hole(name, start)
                raise
            del holes[0]

    def _count(self, capture: Capture) -> None:
        held = lent = 0
        if not capture.is_discarding:
            held, lent = capture.output.held, capture.output.lent
        self.held_bytes += held - capture.counted
        self.lent_bytes += lent - capture.lent
        capture.counted, capture.lent = held, lent

    def _spare(self) -> int:
        """What may be held above the bounds by now."""
        return min(self.budget // LENT_PART - self.lent_bytes, self.budget // 2 - self.held_bytes)

    def _keep_budget(self) -> None:
        while self.held_bytes > self.budget and self._drop_from_largest(self.held_bytes - self.budget):
            pass

    def make_room(self, error: OSError) -> bool:
        """Something could not be written. False when to drop output does not help, or there is none to drop."""
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self.is_punching:
            return False
        if error.errno == errno.ENOSPC and system.free_bytes(self._state.fd) >= MIN_DROP:
            # It lacks something else than bytes: room for another file.
            return False
        return self._drop_from_largest(MIN_DROP)

    def _drop_from_largest(self, size: int) -> bool:
        largest = max(self.captures.values(), key=_counted, default=None)
        if largest is None or not largest.counted:
            return False
        before = largest.counted
        self._drop(largest, max(size, min(MIN_DROP, before // 2)))
        return largest.counted < before


def _counted(capture: Capture) -> int:
    return capture.counted
