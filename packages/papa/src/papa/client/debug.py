"""Debug mode of the published client: a private kernel that leaves nothing behind.

One idea: while debug mode is on, this process's runtime root (``PAPA_RUNTIME_DIR``) is a temporary directory, so
every kernel that is looked for or started is a private one, and a real program all the same.

A program that is killed cannot clean up. So a guard, a process of its own in a session of its own, holds the end of
a pipe whose other end only the program has: when the program is gone it ends what is left, and removes it.
"""

from __future__ import annotations

import atexit
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from papa import places
from papa.client.blocking import Connection
from papa.errors import PapaError

#: How long a kernel may take to be found and to end, on however loaded a machine; one that is not there costs nothing.
LEAVE_S = 20.0

#: Between two looks for a kernel that was only just being started when its program was killed.
LOOK_S = 0.05

_VARIABLE = "PAPA_RUNTIME_DIR"

_lock = threading.Lock()
_root: str | None = None
_previous: str | None = None
_guard: subprocess.Popen[bytes] | None = None
_owner_pid = 0
_quits_when_unused = False
_users = 0


def set_mode(mode: bool, quit_when_connection_closed: bool) -> None:
    """Switch debug mode on or off; off ends the private kernels and the processes in them."""
    with _lock:
        if mode:
            _begin(quit_when_connection_closed)
        elif _root is not None and os.getpid() == _owner_pid:
            _end(_root)


def enter() -> bool:
    """A client begins; True when it must `leave` again."""
    global _users
    with _lock:
        if _root is None:
            return False
        _users += 1
        return True


def leave() -> None:
    """A client that entered has ended."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0 and _quits_when_unused and _root is not None:
            end_kernels(_root)


def end_kernels(root: str) -> None:
    """End every kernel below a runtime root, and the processes in it."""
    for path in glob.glob(glob.escape(root) + "/kernel-*/control.sock"):
        try:
            with Connection(path, client="papa debug mode", autostart=False, timeout_s=LEAVE_S) as connection:
                for row in connection.request("list", what="processes").ok["items"]:
                    _kill(connection, row)
                connection.request("exit", force=True)
                while connection.wait(LEAVE_S):
                    pass
        except PapaError:
            continue  # it has ended


def main() -> None:
    """Entry of the guard; its argument is the root. Ends with the program whose pipe is its standard input."""
    root = sys.argv[1]
    sys.stdin.buffer.read()
    deadline = time.monotonic() + LEAVE_S
    while glob.glob(glob.escape(root) + "/kernel-*") and time.monotonic() < deadline:
        end_kernels(root)
        time.sleep(LOOK_S)
    shutil.rmtree(root, ignore_errors=True)


def _begin(quit_when_connection_closed: bool) -> None:
    global _root, _previous, _guard, _owner_pid, _quits_when_unused
    _quits_when_unused = quit_when_connection_closed
    if _root is not None:
        return
    _previous = os.environ.get(_VARIABLE)
    _root = tempfile.mkdtemp(prefix="papa-debug-")
    _owner_pid = os.getpid()
    os.environ[_VARIABLE] = _root
    _guard = subprocess.Popen(
        [*places.program("papa.client.debug"), _root],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def _end(root: str) -> None:
    global _root, _guard
    end_kernels(root)
    shutil.rmtree(root, ignore_errors=True)
    guard, _guard = _guard, None
    if guard is not None:
        guard.kill()
        guard.communicate()
    _root = None
    if _previous is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = _previous


def _kill(connection: Connection, row: dict[str, Any]) -> None:
    """Papa signals nothing; but what a test started shall not outlive it, nor shall its children."""
    try:
        reply = connection.request("attach", id=row["id"], fds=True)
    except PapaError:
        return  # it was removed, or is over: nobody may ask for it any more
    try:
        if not reply.ok["running"]:
            return
        # Who is stopped cannot end meanwhile, so that its number, which is its group's, stays its own.
        if "pid" in reply.fds:
            signal.pidfd_send_signal(reply.fds["pid"], signal.SIGSTOP)
        else:
            # Without pidfds its number says who it is; it was running, and not reaped, a moment ago.
            os.kill(row["pid"], signal.SIGSTOP)
        os.killpg(row["pid"], signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has just ended
    finally:
        reply.close_fds()


atexit.register(set_mode, False, False)
