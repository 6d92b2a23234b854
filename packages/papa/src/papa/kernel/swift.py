"""A fork in which no Python runs: the C code of the package subprocess makes the child another user's, and its program.

The one idea: most of what a fork of ours costs is the child's Python, which touches some three hundred pages before the
exec, each of which the system has to copy or to map. The C code can do all that most services of another user need; it
tells hardly what failed. So whatever fails is done once more by papa.kernel.spawn, which names the stage.

It opens no file, so it cannot make the mark of a start as others do (papa.kernel.starting). But it enters the working
directory, and by a link that was made for it: to follow a link leaves the time in it, and this one was given none.
Where links keep no time (a file system mounted with `noatime`) a start goes the long way.

Not here: limits that hurt, sockets, niceness: they need Python in the child.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

# What the child reports of a failure: there was one, which is all that is asked.
_MAX_REPORT = 64


class Child:
    """Of a fork that may not have become its program yet."""

    __slots__ = ("_report", "pid")

    def __init__(self, pid: int, report: int) -> None:
        self.pid = pid
        self._report = report

    def has_failed(self) -> bool:
        """Waits until it is the program, or has ended without, and is reaped. To be asked once."""
        try:
            failed = bool(os.read(self._report, _MAX_REPORT))
        finally:
            os.close(self._report)
        if failed:
            os.waitpid(self.pid, 0)
        return failed


def fork(
    paths: Sequence[str],
    argv: Sequence[str],
    env: dict[str, str],
    cwd: str,
    standard: Sequence[int],
    *,
    umask: int,
    uid: int | None,
    gid: int | None,
    groups: list[int] | None,
    within: Callable[[Callable[[], int]], int],
) -> Child | None:
    """A child with these three ``standard`` descriptors, which tries ``paths``. None: it cannot be done here.

    ``within`` calls what forks, in the moment in which the child's limits are the kernel's own.
    Signals that are ignored, but for those that Python ignores, stay so, and so does the signal mask.

    Raises: OSError of fork(2).
    """
    # Not before somebody needs it. Its arguments are nobody's promise: where they are others, there is the long way.
    try:
        import _posixsubprocess
    except ImportError:
        return None

    reader, writer = os.pipe()
    stdin, stdout, stderr = standard
    arguments: list[Any] = [
        [os.fsencode(word) for word in argv], [os.fsencode(path) for path in paths], False, (), os.fsencode(cwd),
        [os.fsencode(f"{name}={value}") for name, value in env.items()],
        stdin, -1, -1, stdout, -1, stderr, reader, writer, True, True, -1, gid, groups, uid, umask, None, False,
    ]  # fmt: skip
    try:
        pid = within(lambda: _posixsubprocess.fork_exec(*arguments))
    except (TypeError, ValueError):
        os.close(reader)
        return None
    except OSError:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return Child(pid, reader)


# --- links that know whether they were followed -------------------------------------------------------------


def make_link(path: str, target: str) -> None:
    """Raises: OSError."""
    os.symlink(target, path)
    os.utime(path, ns=(0, 0), follow_symlinks=False)


def is_untouched(path: str) -> bool:
    """Whether it is such a link, and nobody has followed it. Raises: FileNotFoundError."""
    status = os.lstat(path)
    # With a time of its making it is not ready yet.
    return stat.S_ISLNK(status.st_mode) and (status.st_atime_ns == 0 or status.st_mtime_ns != 0)


def are_followed_links_told(path: str) -> bool:
    """Tries it, with a link at ``path``, which is removed again."""
    try:
        make_link(path, "/")
    except OSError:
        return False
    try:
        was_untouched = is_untouched(path)
        os.stat(path)
        return was_untouched and not is_untouched(path)
    except OSError:
        return False
    finally:
        os.unlink(path)
