"""Starting a process, in named stages, in the cheapest way that can do what was asked.

The one idea: what a process inherits from this single-threaded kernel can be set in the kernel itself for
the moment of the spawn (working directory, umask, harmless soft limits), and posix_spawn, which neither
copies page tables nor runs Python in the child, does the rest. Only what cannot be taken back, or what would
hurt the kernel meanwhile (hard limits, limits on memory and processor time, niceness), and what only the child
knows (its pid, for sd_listen_fds), is done in a fork of ours, which reports the stage and errno of a failure
through a pipe. Users and groups are between: papa.kernel.swift.

A child gets: all signals at their default and none blocked (Python ignores SIGPIPE and SIGXFSZ), a session of
its own, the limits that the kernel was started with, exactly the descriptors that are named, exactly the
environment that is given. A program without a slash is looked up along the *child's* PATH, by attempts, as
execvp(3) does: looking first and starting afterwards would be a race.

Facts: posix_spawn's dup2 of a descriptor onto itself makes it inheritable (POSIX 2024, glibc 2.29, musl).
Limits and umask are copied at the clone, so putting them back afterwards does not reach the child.
Pipes, records and what happens to a running process do not belong here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal

from papa.errors import PapaError
from papa.kernel import forked, swift, system
from papa.kernel.stages import StageError, explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from papa.kernel.forked import Limits, Places
    from papa.model import ProcessSpec

# Soft limits that do not hurt the kernel in the moment in which they are its own. Not among them: cpu
# (SIGXCPU at once), as, data and stack (no memory for the clone), nproc (no clone).
_HARMLESS = frozenset(
    getattr(resource, name)
    for name in (
        "RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_MEMLOCK", "RLIMIT_SIGPENDING",
        "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO",
    )
    if hasattr(resource, name)
)  # fmt: skip

# Subprocess's own C code knows of these.
_IGNORED_BY_PYTHON = frozenset((signal.SIGPIPE, signal.SIGXFSZ))

#: Where sd_listen_fds(3) looks for the first one.
_FIRST_LISTENING = 3

#: Descriptors with low numbers, kept for sources with high ones: standard streams, and some sockets.
_LOW = 8

#: More than any descriptor.
_NO_LIMIT = 1 << 31


class Launcher:
    """Starts processes for one kernel. ``nofile`` are the soft and hard limits that children get."""

    __slots__ = ("_home", "_home_path", "_is_swift", "_low", "_nofile", "_null", "_signals")

    def __init__(self, nofile: tuple[int, int]) -> None:
        self._nofile = nofile
        self._signals = tuple(system.all_signals())
        #: Whether papa.kernel.swift can do it; None: not tried yet.
        self._is_swift: bool | None = None
        self._home_path = os.getcwd()
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._home = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
        self._low = [os.dup(self._null) for _ in range(_LOW)]

    def close(self) -> None:
        for fd in self._low:
            os.close(fd)
        os.close(self._null)
        os.close(self._home)

    def start(
        self,
        spec: ProcessSpec,
        argv: list[str],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        sockets: Sequence[tuple[int, int]] = (),
        listening: Mapping[str, int] | None = None,
        mark: str | None = None,
        is_named: bool = False,
        note: Callable[[int], None] | None = None,
        forget: Callable[[], None] | None = None,
    ) -> int:
        """Starts ``argv`` as ``spec`` says; returns the pid of a child that runs the program.

        A descriptor that is None is /dev/null; ``sockets`` are pairs of a descriptor and the number that it
        has in the child, ``listening`` those that it also finds as sd_listen_fds(3) says, under their names.
        Everything else that is open must be close-on-exec. ``mark`` is the path of a file that the
        child makes before it becomes the program; with ``is_named`` it says in any case who that is.
        ``note`` is called with the pid, maybe while the child is becoming the program; where that fails,
        ``forget`` is called, and maybe ``note`` again.

        Raises: PapaError spawn-failed, with stage and errno in its details.
        """
        if spec.uid is not None and spec.gid is None and os.geteuid() == 0 != spec.uid:
            raise PapaError(
                f"{spec.name}: uid {spec.uid} without a gid would keep the group of root",
                hint="say gid as well, and groups if it needs more than one",
            )
        wanted = [
            (self._null if stdin is None else stdin, 0),
            (self._null if stdout is None else stdout, 1),
            (self._null if stderr is None else stderr, 2),
            *sockets,
            *((fd, number) for number, fd in enumerate((listening or {}).values(), _FIRST_LISTENING)),
        ]
        moved: list[int] = []
        lent: list[int] = []
        try:
            limits = self._limits(spec)
            soft = limits[resource.RLIMIT_NOFILE][0]
            places = _out_of_the_way(wanted, soft, moved)
            if is_named or listening or _needs_fork(spec, limits):
                pid = forked.fork(spec, argv, places, limits, mark, listening or {}, is_named=is_named)
            elif _changes_user(spec):
                child = self._swift(spec, argv, places, limits, mark)
                if child is not None:
                    if note is not None:
                        note(child.pid)
                    if not child.has_failed():
                        return child.pid
                    if forget is not None:
                        forget()
                    if mark is not None:
                        os.unlink(mark)
                pid = forked.fork(spec, argv, places, limits, mark, {})
            elif not self._brings_down(places, soft if soft >= 0 else _NO_LIMIT, lent):
                pid = forked.fork(spec, argv, places, limits, mark, {})
            else:
                pid = self._posix_spawn(spec, argv, places, limits, mark)
            if note is not None:
                note(pid)
            return pid
        except StageError as error:
            raise explain(spec, argv, error) from None
        finally:
            for fd in lent:
                os.dup2(self._null, fd, inheritable=False)
            for fd in moved:
                os.close(fd)

    def _brings_down(self, places: Places, soft: int, lent: list[int]) -> bool:
        """Gives sources that the child's limit does not reach, and posix_spawn refuses, a low number; False: some.

        A kernel with much to hold has no other low ones. What is in use is added to ``lent``.
        """
        if all(source < soft for source, _ in places):
            return True
        taken = {number for _, number in places}
        free = [fd for fd in self._low if fd < soft and fd not in taken]
        for at, (source, number) in enumerate(places):
            if source >= soft:
                if not free:
                    return False
                lent.append(free.pop())
                os.dup2(source, lent[-1], inheritable=False)
                places[at] = lent[-1], number
        return True

    # --- limits --------------------------------------------------------------------------------------------

    def _limits(self, spec: ProcessSpec) -> Limits:
        limits = {resource.RLIMIT_NOFILE: self._nofile}
        for name, (soft, hard) in spec.rlimits.items():
            which = getattr(resource, f"RLIMIT_{name.upper()}", None)
            if which is None:
                raise StageError("rlimit", errno.EINVAL)
            current = limits.get(which) or resource.getrlimit(which)
            if which == resource.RLIMIT_NOFILE and soft == -1:
                soft, hard = current[1], None  # Linux takes no infinity here: as many as may be
            limits[which] = _as_limit(soft), current[1] if hard is None else _as_limit(hard)
        return limits

    # --- the usual way -------------------------------------------------------------------------------------

    def _posix_spawn(self, spec: ProcessSpec, argv: list[str], places: Places, limits: Limits, mark: str | None) -> int:
        actions: list[tuple[Any, ...]] = []
        if mark is not None:
            # In the place of the standard input, which is no source of the others and replaces it at once.
            actions.append((os.POSIX_SPAWN_OPEN, 0, mark, forked.MARK_FLAGS, 0o600))
        actions.extend((os.POSIX_SPAWN_DUP2, source, number) for source, number in places)
        before = _limits_now(limits)
        umask = os.umask(forked.umask_of(spec))
        cwd = spec.cwd or "/"
        try:
            if cwd != self._home_path:
                forked.in_stage("chdir", os.chdir, cwd)
            for which, pair in limits.items():
                forked.set_limit(which, pair)

            def attempt(path: str) -> int:
                return os.posix_spawn(
                    path,
                    argv,
                    spec.env,
                    file_actions=actions,
                    setsid=True,
                    setsigmask=(),
                    setsigdef=self._signals,
                )

            return forked.first_that_starts(spec, argv, attempt)
        finally:
            _put_back(before)
            os.umask(umask)
            if cwd != self._home_path:
                os.fchdir(self._home)

    # --- as another user -----------------------------------------------------------------------------------

    def _swift(
        self, spec: ProcessSpec, argv: list[str], places: Places, limits: Limits, mark: str | None
    ) -> swift.Child | None:
        """None if that cannot be; then nothing is left of it."""
        if self._is_swift is None:
            self._is_swift = not self._hands_on_signals() and (mark is None or swift.are_followed_links_told(mark))
        if not self._is_swift or [number for _, number in places] != [0, 1, 2]:
            return None
        cwd = spec.cwd or "/"
        child = None
        try:
            if mark is not None:
                swift.make_link(mark, cwd)
            child = swift.fork(
                forked.paths_of(spec, argv),
                argv,
                spec.env,
                mark or cwd,
                [source for source, _ in places],
                umask=forked.umask_of(spec),
                uid=spec.uid,
                gid=spec.gid,
                groups=forked.groups_for(spec),
                within=lambda fork: _within(limits, fork),
            )
        except (OSError, StageError):
            # Whatever it is: the long way will meet it, too.
            pass
        if child is None and mark is not None:
            _remove(mark)
        return child

    def _hands_on_signals(self) -> bool:
        """Whether an exec would hand on more than what subprocess's own C code takes away."""
        ignored = {signum for signum in self._signals if signal.getsignal(signum) == signal.SIG_IGN}
        return bool(ignored - _IGNORED_BY_PYTHON or signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def _within(limits: Limits, fork: Callable[[], int]) -> int:
    before = _limits_now(limits)
    try:
        for which, pair in limits.items():
            forked.set_limit(which, pair)
        return fork()
    finally:
        _put_back(before)


def _limits_now(limits: Limits) -> Limits:
    return {which: resource.getrlimit(which) for which in limits}


def _put_back(limits: Limits) -> None:
    for which, pair in limits.items():
        resource.setrlimit(which, pair)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _changes_user(spec: ProcessSpec) -> bool:
    return any(value is not None for value in (spec.uid, spec.gid, spec.groups))


def _needs_fork(spec: ProcessSpec, limits: Limits) -> bool:
    if spec.nice is not None or spec.oom_score_adj is not None:
        return True
    return any(which not in _HARMLESS or pair[1] != resource.getrlimit(which)[1] for which, pair in limits.items())


def _as_limit(value: int) -> int:
    """Limits are unsigned for the system and signed for Python; -1 is "no limit" for both."""
    return resource.RLIM_INFINITY if value < 0 or value >= 1 << 63 else value


def _out_of_the_way(wanted: Sequence[tuple[int, int]], soft: int, moved: list[int]) -> list[tuple[int, int]]:
    """Pairs that can be dup2'ed one after the other: no source lies where an earlier one goes.

    What had to be moved is added to ``moved`` and is the caller's to close.
    """
    taken = {number for _, number in wanted}
    places = []
    for source, number in wanted:
        if number >= soft >= 0:
            raise StageError("descriptors", errno.EMFILE)
        if source in taken and source != number:
            source = fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, max(taken) + 1)
            moved.append(source)
        places.append((source, number))
    return places
