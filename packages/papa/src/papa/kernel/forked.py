"""A fork of ours: Python in the child does what was asked, and then becomes the program.

The one idea: a failure is told through a pipe, as its stage and errno, and the exec closes that pipe.

When it takes this is decided by papa.kernel.spawn, which shares the steps below that can be done in the kernel as well.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal

from papa.kernel import system
from papa.kernel.stages import DEFAULT_PATH, StageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from papa.model import ProcessSpec

    Limits = dict[int, tuple[int, int]]
    Places = list[tuple[int, int]]

#: What a process creates is for its user to change and for all to read, unless the client says otherwise: the
#: kernel's own umask, which lets nobody in, is none of its business.
DEFAULT_UMASK = 0o022

MARK_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW

# These say "not here, look further"; anything else of an attempt is final.
_LOOK_FURTHER = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG)
_NO_PROCESS = (errno.EAGAIN, errno.ENOMEM)
# A failure's report is one write of less than PIPE_BUF, so it comes whole or not at all.
_MAX_REPORT = 64


def fork(
    spec: ProcessSpec,
    argv: list[str],
    places: Places,
    limits: Limits,
    mark: str | None,
    listening: Mapping[str, int],
    *,
    is_named: bool = False,
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
            _become(spec, argv, places, limits, mark, listening, is_named, writer)
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
    is_named: bool,
    writer: int,
) -> NoReturn:
    """The child's side: becomes the program, or reports why not and ends. Nothing here may return."""
    try:
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            if mark is not None:
                _make(mark, is_named=is_named)
            for signum in system.all_signals():
                signal.signal(signum, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            for source, number in places:
                if source == number:
                    os.set_inheritable(number, True)
                else:
                    os.dup2(source, number)
            os.umask(umask_of(spec))
            # The directory may be one that only root may enter, as a login program would.
            in_stage("chdir", os.chdir, spec.cwd or "/")
            for which, pair in limits.items():
                set_limit(which, pair)
            if spec.nice is not None:
                in_stage("nice", os.setpriority, os.PRIO_PROCESS, 0, spec.nice)
            if spec.oom_score_adj is not None:
                in_stage("oom_score_adj", _set_oom_score_adj, spec.oom_score_adj)
            if spec.gid is not None:
                in_stage("setgid", os.setgid, spec.gid)
            groups = groups_for(spec)
            if groups is not None:
                in_stage("setgroups", os.setgroups, groups)
            if spec.uid is not None:
                in_stage("setuid", os.setuid, spec.uid)

            env = {**spec.env, **_listen_variables(listening)}

            def attempt(path: str) -> NoReturn:
                os.execve(path, argv, env)  # noqa: S606

            first_that_starts(spec, argv, attempt)
        except StageError as error:
            os.write(writer, f"{error.stage} {error.errno}".encode("ascii"))
        except OSError as error:
            os.write(writer, f"setup {error.errno}".encode("ascii"))
    finally:
        os._exit(127)


def _make(mark: str, *, is_named: bool) -> None:
    """Makes the mark, with pid and start in ticks if it is to say them, as far as there is room for them."""
    fd = os.open(mark, MARK_FLAGS, 0o600)
    try:
        if is_named:
            pid = os.getpid()
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


def groups_for(spec: ProcessSpec) -> list[int] | None:
    """A process that becomes another user must not keep the kernel's own supplementary groups."""
    if spec.groups is not None:
        return list(spec.groups)
    if spec.uid is not None and os.geteuid() == 0:
        return [] if spec.gid is None else [spec.gid]
    return None


def _move_above(fd: int, taken: set[int]) -> int:
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, max(taken) + 1)
    os.close(fd)
    return moved


# --- what a child is given, by any way ----------------------------------------------------------------------


def in_stage(stage: str, call: Callable[..., object], *args: object) -> None:
    try:
        call(*args)
    except OSError as error:
        raise StageError(stage, error.errno or errno.EINVAL) from None


def umask_of(spec: ProcessSpec) -> int:
    return DEFAULT_UMASK if spec.umask is None else spec.umask


def set_limit(which: int, pair: tuple[int, int]) -> None:
    try:
        resource.setrlimit(which, pair)
    except OSError as error:
        raise StageError("rlimit", error.errno or errno.EINVAL) from None
    except ValueError as error:
        # Python's word for EINVAL (soft above hard) and EPERM (hard raised).
        number = errno.EPERM if "exceed" in str(error) and pair[0] <= pair[1] else errno.EINVAL
        raise StageError("rlimit", number) from None


def paths_of(spec: ProcessSpec, argv: list[str]) -> list[str]:
    program = spec.executable or argv[0]
    if "/" in program:
        return [program]
    return [f"{directory or '.'}/{program}" for directory in spec.env.get("PATH", DEFAULT_PATH).split(":")]


def first_that_starts(spec: ProcessSpec, argv: list[str], attempt: Callable[[str], int]) -> int:
    reason = errno.ENOENT
    for path in paths_of(spec, argv):
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
