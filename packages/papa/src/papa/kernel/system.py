"""The raw facts of the operating system: ioctl numbers, pidfds, splice, clocks, /proc; and the tiers.

The one idea: whatever exists only on some systems, or only since some release of Linux, has one name here and
one fallback, so that no other room knows a number or asks for a platform. What a room above may ask without
thought (open, read, kill, socket...) it asks of ``os`` and ``socket`` itself.

Tiers, best first:

- ``full``: Linux >= 6.15. A pidfd yields the exit status even of a process that somebody else has reaped.
- ``pidfd``: Linux 5.3 to 6.14. A pidfd tells *that* a process ended; the status of one that is not our child
  is read while it is a zombie, else asked of the holder.
- ``portable``: no epoll, splice, pidfd or vault; SIGCHLD and waitpid. Works on any POSIX system.

Facts about Linux that the code relies on:

- A pipe's bytes are taken and the file's size grows in one system call of splice(2), so a SIGKILL leaves
  either both or neither. The target must not be O_APPEND (EINVAL).
- ioctl PIDFD_GET_INFO fills a status with PIDFD_INFO_EXIT only *after* the process was reaped, then for as
  long as the pidfd is open. EPOLLIN comes at exit (zombie), EPOLLHUP at the reap.
- FS_IOC_UNRESVSP64 punches a hole like fallocate(FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE), which Python
  does not offer.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import struct
import sys
import time

from papa.errors import PapaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TIERS = ("full", "pidfd", "portable")

#: Bytes of one splice or read: a whole pipe of the default size, so that one call empties it (pipe(7)).
CHUNK = 65536

#: kernel.log is cut to its newer half above this: it holds faults, and a fault that repeats must not fill
#: the small file system that the state directory lives on.
MAX_LOG_BYTES = 1 << 20

# linux/falloc.h: _IOW('X', 43, struct space_resv), 48 bytes.
_FS_IOC_UNRESVSP64 = 0x4030582B
# linux/pidfd.h: _IOWR(0xFF, 11, struct pidfd_info), 64 bytes; mask bit 3 is PIDFD_INFO_EXIT.
_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_EXIT = 1 << 3

# asm-generic/ioctls.h: the same on these; the module that has it for all of them costs the kernel 80 KB.
if sys.platform == "linux" and os.uname().machine in ("x86_64", "i686", "aarch64", "armv7l", "riscv64", "s390x"):
    _FIONREAD = 0x541B
else:
    from termios import FIONREAD as _FIONREAD
# getrusage(2): kilobytes; bytes on macOS.
_MAX_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_PIDFD_INFO_BYTES = 64
_PIDFD_EXIT_CODE_AT = 60

_NO_PUNCH = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS)


# --- clocks and identity -----------------------------------------------------------------------------------


def boot_ns() -> int:
    """Nanoseconds since boot, time asleep included; monotonic time where the platform has no such clock."""
    return time.clock_gettime_ns(_BOOT_CLOCK)


_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_id() -> str:
    """A word that differs after each boot; empty where the platform tells none."""
    return _read_proc("/proc/sys/kernel/random/boot_id").decode("ascii", "replace").strip()


def random_hex() -> str:
    """128 random bits."""
    return os.urandom(16).hex()


def start_ticks(pid: int) -> int | None:
    """When ``pid`` was started (field 22 of proc_pid_stat(5)); with the pid it names a process for ever."""
    fields = stat_fields(pid)
    return int(fields[19]) if len(fields) > 19 else None


def zombie_status(pid: int, ticks: int) -> int | None:
    """The status of a process that ended but that nobody has reaped yet; None if it is not such a one."""
    fields = stat_fields(pid)
    if len(fields) < 50 or fields[0] not in (b"Z", b"X") or int(fields[19]) != ticks:
        return None
    return os.waitstatus_to_exitcode(int(fields[49]))


def is_alive(pid: int, ticks: int | None) -> bool:
    """Whether that very process runs; one whose start nobody recorded is believed by its number alone."""
    fields = stat_fields(pid)
    if not fields:
        return not os.path.exists("/proc/self/stat") and _answers_signals(pid)
    return fields[0] not in (b"Z", b"X") and (ticks is None or int(fields[19]) == ticks)


def _answers_signals(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def stat_fields(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on: the second may hold blanks and parentheses."""
    return _read_proc(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _read_proc(path: str) -> bytes:
    """A small file of /proc in one read, so that its lines fit together; empty if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""
    finally:
        os.close(fd)


def keep_to_ourselves() -> None:
    """Marks every descriptor but the standard ones close-on-exec: whoever started us may have left some open."""
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        numbers = [str(fd) for fd in range(3, 256)]
    for fd in map(int, numbers):
        if fd > 2:
            try:
                os.set_inheritable(fd, False)
            except OSError:
                # The one by which the directory was listed is closed again.
                pass


def rss_bytes() -> int:
    """Resident memory of this process now; its peak where only that is known."""
    pages = _read_proc("/proc/self/statm").split()
    if len(pages) > 1:
        return int(pages[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def file_system_bytes(fd: int) -> int:
    """The size of the file system that ``fd`` lies on; 0 if it will not say."""
    try:
        facts = os.fstatvfs(fd)
    except OSError:
        return 0
    return facts.f_blocks * facts.f_frsize


def free_bytes(fd: int) -> int:
    """How much room the file system that ``fd`` lies on says it has; 0 if it will not say."""
    try:
        facts = os.fstatvfs(fd)
    except OSError:
        return 0
    return facts.f_bavail * facts.f_frsize


def is_read_only(fd: int) -> bool:
    """Whether the file system that ``fd`` lies on lets nobody write."""
    try:
        return bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY)
    except OSError:
        return False


# --- pidfds ------------------------------------------------------------------------------------------------


def pidfd_open(pid: int) -> int | None:
    """A pidfd of ``pid`` (close-on-exec), or None: it is gone, or there are no pidfds here.

    Raises: OSError when no more descriptors may be opened.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL, errno.ENOSYS, errno.EPERM):
            return None
        raise


def pidfd_pid(pidfd: int) -> int | None:
    """The process id behind a pidfd; None once the process was reaped."""
    for line in _read_proc(f"/proc/self/fdinfo/{pidfd}").splitlines():
        if line.startswith(b"Pid:"):
            pid = int(line[4:])
            return pid if pid > 0 else None
    return None


def exit_status_by_pidfd(pidfd: int) -> int | None:
    """How a *reaped* process ended, as subprocess says it (negative: the signal); None: not known here."""
    info = bytearray(_PIDFD_INFO_BYTES)
    struct.pack_into("=Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    if not struct.unpack_from("=Q", info)[0] & _PIDFD_INFO_EXIT:
        return None
    return os.waitstatus_to_exitcode(struct.unpack_from("=i", info, _PIDFD_EXIT_CODE_AT)[0])


def child_status(id: int, *, is_pidfd: bool = True) -> int | None:
    """How a child of ours, a pidfd or a pid, ended; it stays a zombie until reap(). None while it runs.

    Raises: ChildProcessError when it is not our child.
    """
    kind = os.P_PIDFD if is_pidfd else os.P_PID
    result = os.waitid(kind, id, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def reap(pid: int) -> dict[str, Any]:
    """Lets a child that ended go, and says what only its parent learns: whether it left a core, and what it used.

    Nothing for one that runs, that was reaped already, or that is not ours: it is left alone. What it used counts in
    the children that it waited for. ``max_rss`` is no less than what the kernel itself has, as a child begins with
    its memory.
    """
    try:
        # 0 is no pid: who ended before anybody knew its pid.
        ended, status, usage = os.wait4(pid, os.WNOHANG) if pid else (0, 0, None)
    except ChildProcessError:
        return {}
    if not ended or usage is None:
        return {}
    return {
        "core": os.WCOREDUMP(status),
        "user_s": usage.ru_utime,
        "system_s": usage.ru_stime,
        "max_rss": usage.ru_maxrss * _MAX_RSS_UNIT,
        "major_faults": usage.ru_majflt,
    }


# --- moving bytes ------------------------------------------------------------------------------------------


class Splicer:
    """Moves bytes from a pipe to a file without a copy through this process, in one atomic system call."""

    __slots__ = ()

    @property
    def pending(self) -> int:
        """Bytes taken from the pipe that are not yet in the file: never any."""
        return 0

    def move(self, pipe: int, file: int, offset: int, limit: int) -> int:
        """Moves at most ``limit`` bytes to ``offset``; returns how many, 0 at the end of the pipe.

        Raises: BlockingIOError when the pipe is empty; OSError of splice(2), ENOSPC among them: what did not
        fit is still in the pipe.
        """
        return os.splice(pipe, file, limit, offset_dst=offset)


class Copier:
    """The same by read and pwrite. What could not be written is carried until there is room again."""

    __slots__ = ("_carry",)

    def __init__(self) -> None:
        self._carry = b""

    @property
    def pending(self) -> int:
        return len(self._carry)

    def move(self, pipe: int, file: int, offset: int, limit: int) -> int:
        if not self._carry:
            self._carry = os.read(pipe, limit)
            if not self._carry:
                return 0
        written = os.pwrite(file, self._carry, offset)
        self._carry = self._carry[written:]
        return written


def new_mover(tier: str) -> Splicer | Copier:
    """One for each stream: a Copier remembers."""
    return Copier() if tier == "portable" else Splicer()


def readable_bytes(pipe: int) -> int:
    """How many bytes lie in a pipe now (FIONREAD of ioctl_pipe(2))."""
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(pipe, _FIONREAD, bytes(4)))
    except OSError:
        return 0
    return int(count)


def punch(fd: int, offset: int, length: int) -> bool:
    """Gives the bytes of a file back to its file system; they read as NULs. False where that cannot be."""
    request = struct.pack("@hhqqiI4i", 0, 0, offset, length, 0, 0, 0, 0, 0, 0)
    try:
        fcntl.ioctl(fd, _FS_IOC_UNRESVSP64, request)
    except OSError as error:
        if error.errno in _NO_PUNCH:
            return False
        raise
    return True


# --- tiers -------------------------------------------------------------------------------------------------


def detect_tier() -> str:
    """The best tier of this machine, or the one that PAPA_FORCE_TIER names.

    Raises: PapaError bad-request when that one is unknown, or needs what this machine has not.
    """
    best = _best_tier()
    forced = os.environ.get("PAPA_FORCE_TIER", "")
    if not forced:
        return best
    if forced not in TIERS:
        raise PapaError(f"PAPA_FORCE_TIER={forced}: no such tier", hint="use one of " + ", ".join(TIERS))
    if TIERS.index(forced) < TIERS.index(best):
        raise PapaError(f"PAPA_FORCE_TIER={forced}: this system can only do {best}", hint="leave it unset")
    return forced


def _best_tier() -> str:
    """Tries it on a child that ends at once: distributions port features back, release numbers mislead."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open") or not hasattr(os, "splice"):
        return "portable"
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    try:
        pidfd = pidfd_open(pid)
    finally:
        os.waitpid(pid, 0)
    if pidfd is None:
        return "portable"
    try:
        return "full" if exit_status_by_pidfd(pidfd) == 7 else "pidfd"
    finally:
        os.close(pidfd)


# --- the log -----------------------------------------------------------------------------------------------


class Unlogged:
    """The lines that could not be written since one could, and why."""

    __slots__ = ("lines", "reason")

    def __init__(self) -> None:
        self.lines = 0
        self.reason = ""


unlogged = Unlogged()


def log(text: str) -> None:
    """One line, with the time, to standard error, which for a kernel is kernel.log."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    gap = f"{stamp} {unlogged.lines} lines are missing here: {unlogged.reason}\n" if unlogged.lines else ""
    try:
        os.write(2, f"{gap}{stamp} {text}\n".encode("utf-8", "backslashreplace"))
        unlogged.lines = 0
        trim_log()
    except OSError as error:
        # A full disk or a terminal that is gone must not end the parent of all services.
        unlogged.lines += 1
        unlogged.reason = error.strerror or str(error)


def trim_log(fd: int = 2) -> None:
    """Cuts kernel.log to its newer half when it passed MAX_LOG_BYTES; leaves any other file alone.

    Raises: OSError.
    """
    size = os.fstat(fd).st_size
    if size <= MAX_LOG_BYTES:
        return
    path = os.readlink(f"/proc/self/fd/{fd}")
    if os.path.basename(path) != "kernel.log":
        return
    # Opened anew: standard error is open for writing only.
    reader = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        newer = os.pread(reader, MAX_LOG_BYTES // 2, size - MAX_LOG_BYTES // 2)
    finally:
        os.close(reader)
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, newer.partition(b"\n")[2])


def all_signals() -> set[int]:
    """Every signal whose disposition a program may want at its default."""
    return {number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)}


#: Each stands beside another one of the same number.
_OLD_NAMES = {"SIGIOT", "SIGCLD", "SIGPOLL"}


def signal_name(number: int) -> str:
    """As in SIGTERM; "" when it has none."""
    # SIG_DFL and its like are no signals.
    names = {name for name, value in vars(signal).items() if value == number and name[:3] == "SIG" and name[3] != "_"}
    return min(names - _OLD_NAMES, default="")
