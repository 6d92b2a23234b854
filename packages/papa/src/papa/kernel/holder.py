"""The holder: the kernel's small parent, which holds the vault and starts the kernel again when it is killed.

The one idea: what must never fail should hardly be a program. The holder is ``/bin/sh`` with a loop of a few
lines: it opens nothing, empties one file, and waits. This room has the loop, and the launcher, a process of
its own that becomes the holder by exec. How a kernel replaces a holder that was killed is papa.kernel.guard.

Descriptors of holder and kernel: 0 /dev/null, 1 and 2 kernel.log, 3 and 4 the vault (rx, tx), 5 the lock on
the state directory, and in a replacement 6, the reading end of a pipe whose only writer is the kernel.

- The loop runs the kernel in the *foreground* form: with ``&`` a shell makes INT and QUIT ignored, and every
  service would inherit that.
- The launcher makes itself sub-reaper (the attribute survives exec, not fork), so that the children of a
  killed kernel become the holder's and are reaped at their end: only then does a pidfd tell their status.
- What it runs is the file ``program``, a line for a shell that the kernel wrote when it began to serve: so after an
  upgrade to another Python or another place the holder starts that one. Where that cannot run any more it runs what
  it was started with.
- Exit status 0 ends the loop. Anything else starts the kernel again, at once and then after 0.1, 1, 10 s; one
  that served (it writes ``served``) begins anew. One that never served hosts nothing: then the loop ends
  instead of trying for ever, and the lock is free for whoever repaired the cause.
- ``command eval`` keeps dash and busybox from ending when a fork fails (bash waits some seconds itself, then
  ends); where even ``sleep`` cannot be forked, counting keeps the log from growing fast. ``true`` (not ``:``, a
  special built-in) keeps a shell from ending when the state directory is gone.
- A replacement waits for the end of its pipe, which comes when the kernel is gone, or for the line ``exit``.
- In the tier ``pidfd`` the loop is papa.kernel.recorder, which knows how those ended whom it reaped.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys

from papa import jsontext, places
from papa.errors import PapaError
from papa.kernel import system, vault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RX, TX, LOCK, PIPE = 3, 4, 5, 6

SHELL = "/bin/sh"

#: Names another shell, for tests: a path and a first argument, such as ``/bin/busybox sh``.
FORCE_SHELL = "PAPA_FORCE_SHELL"

#: The shell's $0; `ps` shows it behind the script.
NAME = "papa-holder"

# $1 path of `served`, $2 "standby" or "", the rest is the kernel's argv, to which the holder's pid is added.
SCRIPT = """\
trap '' TERM INT HUP QUIT
pause() {
    command eval 'sleep "$1"' && return
    i=0
    while [ $i -lt 300000 ]; do i=$((i + 1)); done
}
run() {
    if [ -r "$program" ]; then
        command eval '/bin/sh "$program" $$'
        status=$?
        case $status in 1 | 2 | 126 | 127) ;; *) return $status ;; esac
    fi
    command eval '"$@" $$'
}
served=$1 standby=$2 ever=$2 n=0
program=${served%/*}/program
shift 2
if [ "$standby" ]; then
    read -r word <&6
    exec 6<&-
    [ "$word" = exit ] && exit 0
fi
while :; do
    run "$@" && exit 0
    if [ -s "$served" ]; then
        ever=yes
        # On a disk that fails it stays; then we try for ever, and not faster than without it.
        true >"$served" && n=0
    fi
    case $n in
    0) n=1 ;;
    1) n=2; pause 0.1 ;;
    2) n=3; pause 1 ;;
    *) [ "$ever" ] || exit 1; pause 10 ;;
    esac
done
"""

#: linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36

#: Above every target: descriptors are put aside here while the targets are filled.
_ASIDE = 20


def main() -> None:
    """Entry of the launcher, which never returns. Its arguments are two JSON objects.

    The first describes the kernel (papa.kernel.daemon). The second has ``lock``, the number of the descriptor
    that holds the lock; ``rx`` and ``tx`` of a vault that exists, else a new one is made; ``pipe`` for a
    replacement, with ``instead`` of one that shall go, pid and start in ticks; ``detach`` to fork first, so that the
    holder is nobody's child.
    """
    kernel, how = jsontext.loads(sys.argv[1]), jsontext.loads(sys.argv[2])
    if how.get("detach") and os.fork():
        os._exit(0)
    _become_subreaper()
    _reset_signals()
    if kernel.get("nofile"):
        resource.setrlimit(resource.RLIMIT_NOFILE, tuple(kernel["nofile"]))
    for name in set(os.environ) - {"PATH", "LC_ALL"}:
        if not name.startswith("PAPA_"):
            del os.environ[name]
    os.umask(0o077)
    os.chdir("/")
    _arrange_descriptors(kernel["directory"], how)
    if "instead" in how:
        _end(*how["instead"])
    standby = "standby" if "pipe" in how else ""
    program = kernel["directory"] + "/program"
    if not standby and os.path.exists(program):
        # Of a kernel and a holder that were killed together.
        os.unlink(program)
    if _tier() == "pidfd":
        argv = [*places.program("papa.kernel.recorder"), jsontext.dumps(kernel), standby]
    else:
        argv = [*places.program("papa.kernel.daemon"), jsontext.dumps(kernel)]
        shell = os.environ.get(FORCE_SHELL, SHELL).split()
        argv = [*shell, "-c", SCRIPT, NAME, kernel["directory"] + "/served", standby, *argv]
    os.execv(argv[0], argv)  # noqa: S606


def _end(pid: int, ticks: int | None) -> None:
    """Kills our predecessor, if it still is that one: its kernel may have been killed before it could.

    It would go on for ever, trying in vain to start a kernel, and succeed as soon as ours has left.
    """
    pidfd = system.pidfd_open(pid)
    if pidfd is not None:
        if system.start_ticks(pid) == ticks:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)


def _tier() -> str:
    try:
        return system.detect_tier()
    except PapaError:
        # The kernel will say so in its log.
        return ""


def _become_subreaper() -> None:
    """Where that cannot be, orphans go to init: their status is known a little later."""
    if sys.platform == "linux":
        # Imported in the launcher only: it would cost the kernel half a megabyte for this one call.
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _reset_signals() -> None:
    """As a shell expects them; Python itself ignores SIGPIPE and SIGXFSZ."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _arrange_descriptors(directory: str, how: dict[str, Any]) -> None:
    """Puts everything in its place, and closes all else."""
    ends = [how["rx"], how["tx"]] if "rx" in how else [end.detach() for end in vault.open_pair()]
    log = os.open(directory + "/kernel.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    sources = [null, log, log, *ends, how["lock"]]
    if "pipe" in how:
        sources.append(how["pipe"])
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ASIDE) for fd in sources]
    for target, fd in enumerate(aside):
        os.dup2(fd, target)
    os.closerange(len(aside), max(*aside, *sources) + 1)
