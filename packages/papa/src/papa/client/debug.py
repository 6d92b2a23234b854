"""Debug mode of the published client: a private kernel that leaves nothing behind.

One idea: while debug mode is on, this process's runtime root (``PAPA_RUNTIME_DIR``) is a temporary directory, so
every kernel that is looked for or started is a private one, and a real program all the same.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading

from papa.client.blocking import Connection
from papa.errors import PapaError

#: How long a kernel that was told to end may take before nobody waits for it any more.
LEAVE_S = 5.0

_VARIABLE = "PAPA_RUNTIME_DIR"

_lock = threading.Lock()
_root: str | None = None
_previous: str | None = None
_quits_when_unused = False
_users = 0
_endpoints: set[str | int | None] = set()


def set_mode(mode: bool, quit_when_connection_closed: bool) -> None:
    """Switch debug mode on or off; off ends the private kernels."""
    global _root, _previous, _quits_when_unused
    with _lock:
        _quits_when_unused = quit_when_connection_closed
        if mode and _root is None:
            _previous = os.environ.get(_VARIABLE)
            _root = tempfile.mkdtemp(prefix="papa-debug-")
            os.environ[_VARIABLE] = _root
        elif not mode and _root is not None:
            _end_kernels()
            shutil.rmtree(_root, ignore_errors=True)
            _root = None
            if _previous is None:
                os.environ.pop(_VARIABLE, None)
            else:
                os.environ[_VARIABLE] = _previous


def enter(endpoint: str | int | None) -> bool:
    """A client begins; True when it must `leave` again."""
    global _users
    with _lock:
        if _root is None:
            return False
        _users += 1
        _endpoints.add(endpoint)
        return True


def leave() -> None:
    """A client that entered has ended."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0 and _quits_when_unused:
            _end_kernels()


def _end_kernels() -> None:
    while _endpoints:
        try:
            with Connection(_endpoints.pop(), client="papa debug mode", autostart=False, timeout_s=1.0) as connection:
                connection.request("exit", force=True)
                while connection.wait(LEAVE_S):
                    pass
        except PapaError:
            continue  # it never ran, or has ended


atexit.register(set_mode, False, False)
