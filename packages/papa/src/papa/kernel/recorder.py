"""The holder of the tier `pidfd`: the shell's loop again, in Python, because there only who reaps learns a status.

The one idea: before Linux 6.15 a pidfd tells that a process ended, but not how. The children of a killed kernel
become the holder's, so the holder writes down how each one ended *before* it reaps it: until then the status is
in /proc, for the zombie; from then on it is in the file ``reaped``. A kernel that looks in one place and then the
other always finds it.

Everything else is as in papa.kernel.holder, which is worth reading first. A line of the file is pid, start time in
ticks and status, as subprocess says it; the newest lines are kept.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from papa import jsontext, places

#: The file is cut to its newer half above this: some 3000 exits. Who asks does so within seconds.
MAX_REAPED_BYTES = 64 << 10

NAME = "reaped"

#: Statuses of what cannot run: of Python that met an error of its own, and of a shell that found no Python.
CANNOT_RUN = (1, 2, 126, 127)

#: Pauses before the next start after the second, third... failure in a row; the first is made good at once.
PAUSES_S = (0.0, 0.1, 1.0, 10.0)


def main() -> None:
    """Entry, by exec from the launcher: the kernel's JSON, and "standby" for a replacement or nothing."""
    kernel, standby = sys.argv[1], sys.argv[2] == "standby"
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    directory = jsontext.loads(kernel)["directory"]
    if standby and _wait_for_end_of_kernel():
        sys.exit(0)
    argv = [*places.program("papa.kernel.daemon"), kernel, str(os.getpid())]
    sys.exit(hold(directory, argv, has_served=standby))


def hold(directory: str, argv: list[str], *, has_served: bool) -> int:
    """Runs the kernel until it leaves in order, 0, or was never of use, 1."""
    failures = 0
    program = directory + "/program"
    while True:
        status = CANNOT_RUN[0]
        if os.access(program, os.R_OK):
            status = _run(directory, ["/bin/sh", program, str(os.getpid())])
        if status in CANNOT_RUN:
            status = _run(directory, argv)
        if status == 0:
            return 0
        mark = directory + "/served"
        if _is_marked(mark):
            has_served = True
            if _take_mark(mark):
                failures = 0
        if failures >= len(PAUSES_S) - 1 and not has_served:
            return 1
        time.sleep(PAUSES_S[failures])
        failures = min(failures + 1, len(PAUSES_S) - 1)


def _run(directory: str, argv: list[str]) -> int:
    """Starts the kernel and reaps whatever ends, until that is the kernel; its status."""
    try:
        # SIGPIPE and SIGXFSZ are ignored by Python, and the polite ones by us; the kernel resets them all.
        kernel = os.posix_spawn(argv[0], argv, os.environ)
    except OSError as error:
        os.write(2, f"papa holder: the kernel cannot be started: {error}\n".encode())
        return 1
    while True:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        if ended.si_pid != kernel:
            _record(directory, ended.si_pid, status)
        os.waitpid(ended.si_pid, 0)
        if ended.si_pid == kernel:
            return status


def _record(directory: str, pid: int, status: int) -> None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        fd = os.open(f"{directory}/{NAME}", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            os.write(fd, line(pid, ticks, status))
            if (size := os.fstat(fd).st_size) > MAX_REAPED_BYTES:
                newer = os.pread(fd, MAX_REAPED_BYTES // 2, size - MAX_REAPED_BYTES // 2)
                os.ftruncate(fd, 0)
                os.write(fd, newer.partition(b"\n")[2])
        finally:
            os.close(fd)
    except (OSError, ValueError, IndexError) as error:
        # A full disk, a directory that was removed: this status is lost, the kernel is not.
        os.write(2, f"papa holder: the end of pid {pid} was not recorded: {error}\n".encode())


def line(pid: int, ticks: int, status: int) -> bytes:
    """One end, as it is written down. A line of another format shall have another number of words."""
    return f"{pid} {ticks} {status}\n".encode()


def recorded_status(directory: str, pid: int, ticks: int) -> int | None:
    """How the process ended that had this pid and start time; None: nobody wrote it down."""
    try:
        with open(f"{directory}/{NAME}", "rb") as file:
            # Of a line without its end a full disk took a part, which may look like another status.
            lines = file.read(2 * MAX_REAPED_BYTES).rpartition(b"\n")[0].splitlines()
    except OSError:
        return None
    wanted = [b"%d" % pid, b"%d" % ticks]
    for line in reversed(lines):
        words = line.split()
        if words[:2] == wanted and len(words) == 3 and words[2].removeprefix(b"-").isdigit():
            return int(words[2])
    return None


def _is_marked(path: str) -> bool:
    """Whether the last kernel served."""
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False


def _take_mark(path: str) -> bool:
    """False on a disk that fails: then the mark says nothing about the next kernel."""
    try:
        os.truncate(path, 0)
    except OSError:
        return False
    return True


def _wait_for_end_of_kernel() -> bool:
    """As a replacement: True if the kernel left and wants us to go, False if it is just gone."""
    # 6 is papa.kernel.holder.PIPE, which is not imported as it would cost more than all of this.
    said = b""
    while chunk := os.read(6, 64):
        said += chunk
        if b"\n" in said:
            break
    os.close(6)
    return said.startswith(b"exit\n")
