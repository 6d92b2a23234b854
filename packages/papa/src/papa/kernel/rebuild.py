"""A state directory made anew from what the kernel has in memory and in open files.

The one idea: a file that was unlinked lives on as long as it is open, and the kernel has every stream file open (but
in its first moment, see papa.kernel.reopening); so when somebody removes the directory nothing is lost yet, and all of
it can be written again. The descriptors keep their numbers, so no other room notices. Clients have descriptors of the
old files, in which nothing arrives any more: they are disconnected, and get the new ones when they attach again.

When to do that is papa.kernel.premises.
"""

from __future__ import annotations

import errno
import os

from papa.core import journal
from papa.kernel.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from papa.kernel.capture import Capture
    from papa.kernel.host import Host


def rebuild(host: Host) -> None:
    """Fills the new, private and locked directory of that name. Raises: OSError; it may be tried again then."""
    # While the old place may still lead to them.
    host.pipes.reopening.open_all()
    # Others hold the very object, which must follow; but not before the new place has proved to be one.
    State(host.directory).close()
    host.state.close()
    State.__init__(host.state, host.directory)
    host.state.replace_journal(journal.encode({"boot": host.boot_id, **host.ledger.snapshot()}))
    for capture in host.pipes.captures.values():
        _move_files(host.state, capture)
    for process in host.table.processes.values():
        host.durable.write_new_process(process)
    for socket in host.table.sockets.values():
        host.durable.write_socket(socket, host.listening[socket.id][1])


def _move_files(state: State, capture: Capture) -> None:
    for name, old in capture.files.items():
        new = state.open_output(capture.number, name)
        try:
            _copy_sparse(old, new)
            os.dup2(new, old, inheritable=False)
        finally:
            os.close(new)


def _copy_sparse(source: int, target: int) -> None:
    """Copies data at its offsets, and holes as holes: a stream's offsets count from its beginning."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    end = 0
    while True:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                # Only a hole follows.
                return
            raise
        end = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(target, start, os.SEEK_SET)
        while start < end:
            start += os.sendfile(target, source, start, end - start)
