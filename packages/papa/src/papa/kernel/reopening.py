"""What an earlier incarnation captured: its files are opened when somebody needs them, and at last in turns.

The one idea: after a kill or an upgrade a kernel with a thousand processes has three thousand files to open and to
measure, and nobody asks for most of them in the first moment. So the pipes are watched at once, and the files of a
process are opened by whatever comes first: output, its end, a client that asks, or its turn. Until then nothing that
is known of it is wrong; it is only not counted into what the instance holds.

What cannot be opened (no descriptors are left) rests with its pipes, and is tried again.
"""

from __future__ import annotations

import os
import time

from papa.core import index
from papa.core.output import Output
from papa.kernel import system
from papa.kernel.capture import INDEX
from papa.kernel.state import OUTPUT, first_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from papa.core.output import Bounds
    from papa.kernel.capture import Capture
    from papa.kernel.loop import Loop
    from papa.kernel.state import State

#: Captures that are opened in one turn of the loop: about 1 ms.
OPENED_A_TURN = 16

#: How long pipes rest whose bytes cannot be stored, for want of room or of descriptors.
RETRY_S = 1.0


class Reopening:
    """The captures of one kernel that are not open yet.

    ``on_opened(capture)`` comes after each, ``on_failed(capture)`` when it has to rest.
    """

    __slots__ = ("_loop", "_on_failed", "_on_opened", "_page", "_state", "_waiting")

    def __init__(
        self,
        loop: Loop,
        state: State,
        page: int,
        *,
        on_opened: Callable[[Capture], None],
        on_failed: Callable[[Capture], None],
    ) -> None:
        self._loop = loop
        self._state = state
        self._page = page
        self._on_opened = on_opened
        self._on_failed = on_failed
        #: By their numbers, whose turn will come.
        self._waiting: dict[int, Capture] = {}

    def add(
        self,
        capture: Capture,
        captured: Sequence[str],
        bounds: Bounds,
        acked: Mapping[str, int],
        on_open: Callable[[Output], None],
    ) -> None:
        """``on_open`` gets its output before anybody else sees it."""

        def open_it() -> Output:
            output = self._open(capture, captured, bounds, acked)
            self._waiting.pop(capture.number, None)
            on_open(output)
            self._on_opened(capture)
            return output

        capture.opener = open_it
        self._waiting[capture.number] = capture

    def forget(self, capture: Capture) -> None:
        """Nobody wants it any more; one that is open is fine."""
        self._waiting.pop(capture.number, None)

    def open_later(self) -> None:
        """From now on the rest is opened, some in each turn."""
        if self._waiting:
            self._loop.after_turn(self._open_some)

    def open_all(self) -> None:
        """As far as they can be opened now."""
        for capture in list(self._waiting.values()):
            self.try_to_open(capture)

    def try_to_open(self, capture: Capture) -> bool:
        """False: it rests, and is tried again."""
        if capture.is_open:
            return True
        # Whoever cannot be opened must not keep the others waiting.
        self._waiting.pop(capture.number, None)
        try:
            capture.open()
        except OSError as error:
            if not capture.failure:
                system.log(f"output of process {capture.number} cannot be opened: {error.strerror}")
            capture.failure = f"its files: {error.strerror}"
            self._on_failed(capture)
            self._loop.call_at(time.monotonic() + RETRY_S, lambda: self._try_again(capture))
            return False
        return True

    def _try_again(self, capture: Capture) -> None:
        # Opened by somebody, or closed, since.
        if capture.opener is not None:
            self.try_to_open(capture)

    def _open_some(self) -> None:
        for capture in list(self._waiting.values())[:OPENED_A_TURN]:
            self.try_to_open(capture)
        self.open_later()

    def _open(self, capture: Capture, captured: Sequence[str], bounds: Bounds, acked: Mapping[str, int]) -> Output:
        """Raises: OSError; nothing is left open, and it may be tried again."""
        number = capture.number
        files: dict[str, int] = {}
        try:
            for name in (*captured, INDEX):
                files[name] = self._state.open_output(number, name)
            header = os.pread(files[INDEX], index.HEADER_SIZE, 0)
            if index.is_foreign(header):
                self._state.make_place(f"{OUTPUT}/{number}/{INDEX}", "it is an index that this papa cannot read")
                os.close(files.pop(INDEX))
                files[INDEX] = self._state.open_output_anew(number, INDEX)
                header = b""
            sizes = {name: os.fstat(fd).st_size for name, fd in files.items()}
        except OSError:
            for fd in files.values():
                os.close(fd)
            raise
        index_size = sizes.pop(INDEX)
        output = Output.recover(sizes, index_size, header, dict(acked), bounds, page=self._page)
        for name in captured:
            if not header:
                # What was given back has left a hole, and nothing else says so.
                output.streams[name].low = max(output.streams[name].low, first_data(files[name]))
            if name not in capture.pipes:
                output.close(name)
        capture.opened(output, files, header)
        return output
