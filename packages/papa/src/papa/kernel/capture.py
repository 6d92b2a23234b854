"""One process's output: the decisions about it, and the descriptors to carry them out.

The one idea: what an earlier incarnation captured is opened when somebody needs it. After a kill or an upgrade a
kernel with a thousand processes has three thousand files to open and to measure; most of them nobody asks for in the
first moment, and who does waits for these only.

What is done with a capture is in papa.kernel.pipes.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from papa.core.output import Output
    from papa.core.timers import Timer
    from papa.kernel import system

INDEX = "index"


class Capture:
    """See the module."""

    __slots__ = (
        "_files", "_output", "counted", "failure", "header", "is_discarding", "is_paused", "lent", "movers", "number",
        "opener", "pipes", "timer", "undated", "waiting",
    )  # fmt: skip

    def __init__(self, number: int, output: Output | None, files: dict[str, int], pipes: dict[str, int]) -> None:
        """Without ``output``: it is opened later, by ``opener``."""
        self.number = number
        self._output = output
        self._files = files
        #: Calls opened(), or raises OSError.
        self.opener: Callable[[], Output] | None = None
        #: Reading ends that have not come to their end.
        self.pipes = pipes
        self.movers: dict[str, system.Splicer | system.Copier] = {}
        #: An index record that has a place but could not be written yet.
        self.undated: tuple[int, bytes] | None = None
        self.timer: Timer | None = None
        self.is_paused = False
        #: Streams that wait alone, because each has a bound of its own.
        self.waiting: tuple[str, ...] = ()
        self.is_discarding = False
        #: Why its bytes cannot be stored now, of which the log has been told; else empty.
        self.failure = ""
        #: The index header as it stands in the file, as far as that is known.
        self.header = b""
        #: What of it is in the sum of all.
        self.counted = 0
        self.lent = 0

    @property
    def is_open(self) -> bool:
        return self._output is not None

    def open(self) -> Output:
        """Raises: OSError."""
        if self._output is not None:
            return self._output
        assert self.opener is not None
        return self.opener()

    def opened(self, output: Output, files: dict[str, int], header: bytes) -> None:
        self._output = output
        self._files = files
        self.header = header
        self.opener = None

    @property
    def output(self) -> Output:
        """What is held, must wait and must go. Raises: OSError when it cannot be opened."""
        return self._output or self.open()

    @property
    def files(self) -> dict[str, int]:
        """``out``, ``err`` and ``index``, as far as there are any; closed when the process was removed.

        Raises: OSError when they cannot be opened.
        """
        self.open()
        return self._files

    def read_index(self, offset: int, size: int) -> bytes:
        return os.pread(self.files[INDEX], size, offset)

    def write_undated(self) -> None:
        """Writes the index record that could not be written yet. Raises: OSError."""
        if self.undated is not None:
            place, record = self.undated
            if os.pwrite(self.files[INDEX], record, place) < len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.undated = None
