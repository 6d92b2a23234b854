"""Coverage: what of the hosted lies in the vault, a second chance for what found no room, and what a kill has cost.

The one idea: a process is covered when everything of it that lives, the pipes of its output and its pidfd, is in
the vault; one that is not runs all the same. The pidfd goes in only after the pipes. So a process of which a next
incarnation finds neither was not covered, and what it wrote at last, or how it ended, may be lost: that is said.

Room comes when something else leaves the vault, and only then, as far as one kernel can know: so whoever found
none is tried again after each such end, and before an upgrade, which would lose it.

What lies there is packed a while after many pushes, in turns of its own: a spawn shall not pay for the next recovery.
"""

from __future__ import annotations

import os
import time

from papa.core.entries import Socket
from papa.kernel import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from papa.core.entries import Process
    from papa.kernel.capture import Capture
    from papa.kernel.host import Host

#: Names, and losses, that the status tells: a page for people; the log has had each.
MAX_TOLD = 20

#: How long after a push the vault is packed: who starts hundreds has probably started all of them by then.
PACK_AFTER_S = 1.0


class Coverage:
    """Of one host. ``losses`` are sentences about what a kill has cost, ``lost`` is how many there were."""

    __slots__ = ("_has_refused", "_host", "_is_due", "_is_packing", "losses", "lost")

    def __init__(self, host: Host) -> None:
        self._host = host
        #: Something found no room since everything was tried again: else nobody has to be looked for.
        self._has_refused = False
        self._is_due = False
        self._is_packing = False
        self.losses: list[str] = []
        self.lost = 0

    def uncovered(self) -> Iterator[Process | Socket]:
        """Hosted things that a SIGKILL of the kernel, or an upgrade, would lose."""
        for process in self._host.table.processes.values():
            if process.is_running and not process.is_covered:
                yield process
        for socket in self._host.table.sockets.values():
            if not socket.is_covered:
                yield socket

    # --- putting in ----------------------------------------------------------------------------------------

    def cover(self, process: Process) -> bool:
        """Puts into the vault what is not there of a process that runs. False: not all of it found room."""
        capture = self._host.pipes.captures.get(process.id)
        process.is_covered = (capture is None or self.cover_pipes(capture)) and self._cover_pidfd(process)
        return process.is_covered

    def cover_pipes(self, capture: Capture) -> bool:
        """The same for the pipes of one capture; none are left when all have ended."""
        vault, key = self._host.vault, f"o{capture.number}"
        if not capture.pipes or vault.has(key):
            return True
        fds, stand_ins = [], []
        try:
            for stream in capture.output.streams:
                if stream not in capture.pipes:
                    # They go by their order: one that has ended is stood for by one that ends at once.
                    reader, writer = os.pipe()
                    os.close(writer)
                    stand_ins.append(reader)
                fds.append(capture.pipes[stream] if stream in capture.pipes else stand_ins[-1])
            return self._push(key, fds)
        except OSError:
            # No descriptor is left for a stand-in.
            self._has_refused = True
            return False
        finally:
            for fd in stand_ins:
                os.close(fd)

    def _cover_pidfd(self, process: Process) -> bool:
        vault, key = self._host.vault, f"p{process.id}"
        pidfd = self._host.pidfds.get(process.id)
        return vault.has(key) or (pidfd is not None and self._push(key, [pidfd]))

    def cover_socket(self, socket: Socket) -> bool:
        """The same for a socket."""
        socket.is_covered = self._push(f"s{socket.id}", [self._host.listening[socket.id][0]])
        return socket.is_covered

    def _push(self, key: str, fds: list[int]) -> bool:
        is_covered = self._host.vault.push(key, fds)
        self._has_refused |= not is_covered
        self.pack_soon()
        return is_covered

    # --- packing -------------------------------------------------------------------------------------------

    def pack_soon(self) -> None:
        """Unless the next kernel would not be any faster for it."""
        if self._host.vault.is_loose and not self._is_packing:
            self._is_packing = True
            self._host.loop.call_at(time.monotonic() + PACK_AFTER_S, lambda: self._pack(self._host.vault.pack()))

    def _pack(self, passes: Iterator[int]) -> None:
        """One pass in each turn: about 1 ms."""
        self._is_packing = next(passes, 0) > 0
        if self._is_packing:
            self._host.loop.after_turn(lambda: self._pack(passes))

    # --- a second chance -----------------------------------------------------------------------------------

    def try_again_soon(self) -> None:
        """Something has left the vault."""
        if self._has_refused and not self._is_due and self._host.vault.live:
            self._is_due = True
            self._host.loop.after_turn(self.try_again)

    def try_again(self) -> None:
        """Covers what there is room for now."""
        self._is_due = self._has_refused = False
        for thing in list(self.uncovered()):
            is_covered = self.cover_socket(thing) if isinstance(thing, Socket) else self.cover(thing)
            if not is_covered:
                return

    # --- what a kill has cost ------------------------------------------------------------------------------

    def tell(self, loss: str) -> None:
        """Something that was hosted is lost, whole or in part."""
        system.log(f"lost: {loss}")
        self.lost += 1
        self.losses.append(loss)
        del self.losses[:-MAX_TOLD]
