"""Starting a process, in named stages, in the cheapest way that can do what was asked.

The one idea: what a process inherits from this single-threaded kernel can be set in the kernel itself for
the moment of the spawn (working directory, umask, harmless soft limits), and posix_spawn, which neither
copies page tables nor runs Python in the child, does the rest. Only what cannot be taken back, or what would
hurt the kernel meanwhile (users, groups, hard limits, limits on memory and processor time, niceness), and what
only the child knows (its pid, for sd_listen_fds), is done in a fork of ours, which reports the stage and errno
of a failure through a pipe.

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
from papa.kernel import system
from papa.kernel.stages import DEFAULT_PATH, StageError, explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn

    from papa.model import ProcessSpec

    Limits = dict[int, tuple[int, int]]
    Places = list[tuple[int, int]]

#: What a process creates is for its user to change and for all to read, unless the client says otherwise: the
#: kernel's own umask, which lets nobody in, is none of its business.
DEFAULT_UMASK = 0o022

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

#: Where sd_listen_fds(3) looks for the first one.
_FIRST_LISTENING = 3

#: Descriptors with low numbers, kept for sources with high ones: standard streams, and some sockets.
_LOW = 8

_MARK_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW

# These say "not here, look further"; anything else of an attempt is final.
_LOOK_FURTHER = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG)
_NO_PROCESS = (errno.EAGAIN, errno.ENOMEM)
# A failure's report is one write of less than PIPE_BUF, so it comes whole or not at all.
_MAX_REPORT = 64

#: More than any descriptor.
_NO_LIMIT = 1 << 31


class Launcher:
    """Starts processes for one kernel. ``nofile`` are the soft and hard limits that children get."""

    __slots__ = ("_home", "_home_path", "_low", "_nofile", "_null", "_signals")

    def __init__(self, nofile: tuple[int, int]) -> None:
        self._nofile = nofile
        self._signals = tuple(system.all_signals())
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
    ) -> int:
        """Starts ``argv`` as ``spec`` says; returns the pid of a child that runs the program.

        A descriptor that is None is /dev/null; ``sockets`` are pairs of a descriptor and the number that it
        has in the child, ``listening`` those that it also finds as sd_listen_fds(3) says, under their names.
        Everything else that is open must be close-on-exec. ``mark`` is the path of a file that the
        child makes before it becomes the program; with ``is_named`` it says in any case who that is.

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
            if (
                is_named
                or listening
                or _needs_fork(spec, limits)
                or not self._brings_down(places, soft if soft >= 0 else _NO_LIMIT, lent)
            ):
                return _fork(spec, argv, places, limits, mark, listening or {})
            return self._posix_spawn(spec, argv, places, limits, mark)
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
            limits[which] = _as_limit(soft), current[1] if hard is None else _as_limit(hard)
        return limits

    # --- the usual way -------------------------------------------------------------------------------------

    def _posix_spawn(self, spec: ProcessSpec, argv: list[str], places: Places, limits: Limits, mark: str | None) -> int:
        actions: list[tuple[Any, ...]] = []
        if mark is not None:
            # In the place of the standard input, which is no source of the others and replaces it at once.
            actions.append((os.POSIX_SPAWN_OPEN, 0, mark, _MARK_FLAGS, 0o600))
        actions.extend((os.POSIX_SPAWN_DUP2, source, number) for source, number in places)
        before = {which: resource.getrlimit(which) for which in limits}
        umask = os.umask(_umask(spec))
        cwd = spec.cwd or "/"
        try:
            if cwd != self._home_path:
                _in_stage("chdir", os.chdir, cwd)
            for which, pair in limits.items():
                _set_limit(which, pair)

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

            return _first_that_starts(spec, argv, attempt)
        finally:
            for which, pair in before.items():
                resource.setrlimit(which, pair)
            os.umask(umask)
            if cwd != self._home_path:
                os.fchdir(self._home)


def _needs_fork(spec: ProcessSpec, limits: Limits) -> bool:
    if any(value is not None for value in (spec.uid, spec.gid, spec.groups, spec.nice, spec.oom_score_adj)):
        return True
    return any(which not in _HARMLESS or pair[1] != resource.getrlimit(which)[1] for which, pair in limits.items())


# --- by fork -----------------------------------------------------------------------------------------------


def _fork(
    spec: ProcessSpec,
    argv: list[str],
    places: Places,
    limits: Limits,
    mark: str | None,
    listening: Mapping[str, int],
) -> int:
    """The pipe's writing end closes at the exec: an empty report means that the program runs."""
    taken = {number for _, number in places}
    reader, writer = os.pipe()
    if writer in taken:  # else a descriptor of the child's would be put over it
        writer = _move_above(writer, taken)
    try:
        try:
            pid = os.fork()
        except OSError as error:
            raise StageError("fork", error.errno or errno.EAGAIN) from None
        if pid == 0:
            _become(spec, argv, places, limits, mark, listening, writer)
        os.close(writer)
        writer = -1
        report = os.read(reader, _MAX_REPORT)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    if report:
        os.waitpid(pid, 0)
        stage, _, number = report.decode("ascii").partition(" ")
        raise StageError(stage, int(number))
    return pid


def _become(
    spec: ProcessSpec,
    argv: list[str],
    places: Places,
    limits: Limits,
    mark: str | None,
    listening: Mapping[str, int],
    writer: int,
) -> NoReturn:
    """The child's side: becomes the program, or reports why not and ends. Nothing here may return."""
    try:
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            if mark is not None:
                _sign(mark)
            for signum in system.all_signals():
                signal.signal(signum, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            for source, number in places:
                if source == number:
                    os.set_inheritable(number, True)
                else:
                    os.dup2(source, number)
            os.umask(_umask(spec))
            # The directory may be one that only root may enter, as a login program would.
            _in_stage("chdir", os.chdir, spec.cwd or "/")
            for which, pair in limits.items():
                _set_limit(which, pair)
            if spec.nice is not None:
                _in_stage("nice", os.setpriority, os.PRIO_PROCESS, 0, spec.nice)
            if spec.oom_score_adj is not None:
                _in_stage("oom_score_adj", _set_oom_score_adj, spec.oom_score_adj)
            if spec.gid is not None:
                _in_stage("setgid", os.setgid, spec.gid)
            groups = _groups_for(spec)
            if groups is not None:
                _in_stage("setgroups", os.setgroups, groups)
            if spec.uid is not None:
                _in_stage("setuid", os.setuid, spec.uid)

            env = {**spec.env, **_listen_variables(listening)}

            def attempt(path: str) -> NoReturn:
                os.execve(path, argv, env)  # noqa: S606

            _first_that_starts(spec, argv, attempt)
        except StageError as error:
            os.write(writer, f"{error.stage} {error.errno}".encode("ascii"))
        except OSError as error:
            os.write(writer, f"setup {error.errno}".encode("ascii"))
    finally:
        os._exit(127)


def _sign(mark: str) -> None:
    """Makes the mark, with pid and start in ticks, as far as there is room for them."""
    fd, pid = os.open(mark, _MARK_FLAGS, 0o600), os.getpid()
    try:
        os.write(fd, b"%d %d" % (pid, system.start_ticks(pid) or 0))
    finally:
        os.close(fd)


def _set_oom_score_adj(value: int) -> None:
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"%d" % value)
    finally:
        os.close(fd)


def _listen_variables(listening: Mapping[str, int]) -> dict[str, str]:
    """What sd_listen_fds(3) reads: the pid says that they are not meant for a descendant."""
    if not listening:
        return {}
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(listening)), "LISTEN_FDNAMES": ":".join(listening)}


def _groups_for(spec: ProcessSpec) -> list[int] | None:
    """A process that becomes another user must not keep the kernel's own supplementary groups."""
    if spec.groups is not None:
        return list(spec.groups)
    if spec.uid is not None and os.geteuid() == 0:
        return [] if spec.gid is None else [spec.gid]
    return None


# --- shared ------------------------------------------------------------------------------------------------


def _in_stage(stage: str, call: Callable[..., object], *args: object) -> None:
    try:
        call(*args)
    except OSError as error:
        raise StageError(stage, error.errno or errno.EINVAL) from None


def _umask(spec: ProcessSpec) -> int:
    return DEFAULT_UMASK if spec.umask is None else spec.umask


def _as_limit(value: int) -> int:
    """Limits are unsigned for the system and signed for Python; -1 is "no limit" for both."""
    return resource.RLIM_INFINITY if value < 0 or value >= 1 << 63 else value


def _set_limit(which: int, pair: tuple[int, int]) -> None:
    try:
        resource.setrlimit(which, pair)
    except OSError as error:
        raise StageError("rlimit", error.errno or errno.EINVAL) from None
    except ValueError as error:
        # Python's word for EINVAL (soft above hard) and EPERM (hard raised).
        number = errno.EPERM if "exceed" in str(error) and pair[0] <= pair[1] else errno.EINVAL
        raise StageError("rlimit", number) from None


def _first_that_starts(spec: ProcessSpec, argv: list[str], attempt: Callable[[str], int]) -> int:
    program = spec.executable or argv[0]
    if "/" in program:
        paths = [program]
    else:
        directories = spec.env.get("PATH", DEFAULT_PATH).split(":")
        paths = [f"{directory or '.'}/{program}" for directory in directories]
    reason = errno.ENOENT
    for path in paths:
        try:
            return attempt(path)
        except OSError as error:
            number = error.errno or errno.ENOEXEC
            if number in _NO_PROCESS:
                raise StageError("fork", number) from None
            if number not in _LOOK_FURTHER:
                raise StageError("exec", number) from None
            # As execvp(3): what may not be run is worth more of a word than what is not there.
            if reason == errno.ENOENT:
                reason = number
    raise StageError("exec", reason)


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


def _move_above(fd: int, taken: set[int]) -> int:
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(taken) + 1)
    os.close(fd)
    return moved
