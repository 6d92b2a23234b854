"""Finding a kernel, and starting it if there is none.

The one idea: the lock on the instance's directory says whether a kernel lives, and a socket that accepts says
that it serves. So a client tries the socket; if nobody answers it tries the lock; if somebody has that, it waits;
if it gets the lock itself, it starts a kernel and hands the lock over, without ever letting go of it. Any number
of clients may do that at once, and one that comes while a killed kernel is being restarted waits too, because
the holder has the lock.

A connection counts only if a process of our own uid listens: an environment must never be sent to a squatter. Root,
whom every kernel lets in, may look at one of another user, but starts none for it: it names the root below which that
user's directory lies, and who listens there must be whose directory it is.
Nothing of the caller reaches the kernel but PATH and PAPA_*.

Inside a service of systemd the kernel is started in a scope of its own (papa.client.scope). Where that fails it is
started all the same, and kernel.log says so.
"""

from __future__ import annotations

import fcntl
import glob
import importlib.machinery
import importlib.util
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence

from papa import places, sockdiag
from papa.client import scope
from papa.errors import PapaError

#: Between two looks while a kernel starts or restarts, which takes some 40 to 100 ms.
POLL_S = 0.01

#: Of kernel.log, for the hint of an error.
TAIL_BYTES = 2000

#: The launcher forks and ends at once; a machine on which that takes longer can start nothing.
LAUNCHER_PATIENCE_S = 30.0

#: Of the name in the title; `ps` cuts it anyway.
MAX_TITLE = 64

_UCRED = struct.Struct("3i")


def open_connection(
    endpoint: str | int | None = None, *, autostart: bool = True, timeout_s: float = 10.0, title: str = ""
) -> socket.socket:
    """A blocking connection to the kernel of ``endpoint``, from which nothing has been read yet.

    With ``autostart`` a kernel is started if none lives; ``title`` says for whom (default: this program's name).
    One that is just being started, or restarted after it was killed, is waited for in any case. Without ``autostart``
    root gets one to another user's kernel, too.

    Raises: PapaError unreachable, with the end of kernel.log in its hint; refused when the state directory is
    not ours alone; bad-request when ``endpoint`` names nothing.
    """
    instance = places.resolve(endpoint)
    deadline = time.monotonic() + timeout_s
    ways = _ways_to_start(instance) if autostart else []
    uid = os.geteuid() if autostart else _whose(instance)
    while True:
        connection = _connect_unix(instance.control_path, deadline, uid)
        if connection is not None:
            return connection
        lock = try_lock(instance, make=autostart)
        if lock is not None:
            try:
                # Somebody may have started one between the first look and the lock, and it serves elsewhere too.
                connection = _connect_unix(instance.control_path, deadline, uid) or _connect_elsewhere(
                    instance, deadline
                )
                if connection is not None:
                    return connection
                if not autostart:
                    raise unreachable(instance, "none runs")
                if not ways:
                    raise unreachable(instance, "it was started and gave up")
                _start(instance, lock, title, ways)
            finally:
                os.close(lock)
        elif not autostart and not os.path.isdir(instance.directory):
            connection = _connect_elsewhere(instance, deadline)
            if connection is not None:
                return connection
            raise unreachable(instance, "none runs")
        if time.monotonic() >= deadline:
            raise unreachable(instance, f"it does not answer within {timeout_s:g} s")
        time.sleep(POLL_S)


def try_lock(instance: places.Instance, *, make: bool) -> int | None:
    """A descriptor that holds the lock on the instance's directory; None while a kernel or its holder has it.

    ``make`` makes the directory, and its root, if need be; else None for one that is not there.

    Raises: PapaError refused when the directory is not ours alone.
    """
    if make:
        places.ensure_private_dir(os.path.dirname(instance.directory))
    try:
        lock = _open_to_lock(instance, make=make)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A kernel that leaves removes its directory: a lock on what is no longer there is worth nothing.
        if os.path.samestat(os.fstat(lock), os.stat(instance.directory)):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _open_to_lock(instance: places.Instance, *, make: bool) -> int:
    """Raises: PapaError refused, or unreachable for a link; FileNotFoundError when it has just gone."""
    if not make and _whose(instance) != os.geteuid():
        # Looked at by root: nothing in it is ours to judge, or to change.
        try:
            return os.open(instance.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except NotADirectoryError:
            raise unreachable(instance, "that directory is a symbolic link") from None
    lock = places.open_private_dir(instance.directory, make=make)
    try:
        places.refuse_strangers(lock, instance.directory)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _whose(instance: places.Instance) -> int:
    """Of what uid a kernel there must be: ours, or for root that of the directory's owner."""
    uid = os.geteuid()
    if uid == 0:
        try:
            return os.lstat(instance.directory).st_uid
        except OSError:
            # There is none.
            pass
    return uid


def unreachable(instance: places.Instance, why: str) -> PapaError:
    """The error that names the instance and tells the end of its log."""
    return PapaError(
        f"no papa kernel answers at {instance.control_path}: {why}", code="unreachable", hint=_log_tail(instance)
    )


# --- connecting --------------------------------------------------------------------------------------------


def _connect_unix(path: str, deadline: float, uid: int) -> socket.socket | None:
    """None: nobody listens there, or nobody of that uid."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        with places.unix_address(path) as address:
            connection.connect(address)
        if _listener_uid(connection) == uid:
            connection.settimeout(None)
            return connection
    except OSError:
        # Not there, refused, or its backlog is full: in each case the lock decides what to do.
        pass
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def _listener_uid(connection: socket.socket) -> int:
    """Who listened when we connected (unix(7), SO_PEERCRED)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        # Without that question the private directory must do as an answer.
        return os.geteuid()
    return int(_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))[1])


def _connect_elsewhere(instance: places.Instance, deadline: float) -> socket.socket | None:
    """A kernel of ours that lives under another runtime root, at the path or port that this instance names."""
    if instance.socket_path is not None:
        return _connect_unix(instance.socket_path, deadline, os.geteuid())
    if instance.port is None or sockdiag.uid_of_listener("127.0.0.1", instance.port) != os.geteuid():
        return None
    try:
        connection = socket.create_connection(("127.0.0.1", instance.port), max(0.001, deadline - time.monotonic()))
    except OSError:
        return None
    connection.settimeout(None)
    return connection


# --- starting ----------------------------------------------------------------------------------------------


def _ways_to_start(instance: places.Instance) -> list[list[str]]:
    """Programs that may execute the launcher, each to be tried once; none is one too."""
    return [*scope.ways_out(instance), []]


def _start(instance: places.Instance, lock: int, title: str, ways: list[list[str]]) -> None:
    """Takes the next of ``ways``; only the last one may fail."""
    way = ways.pop(0)
    try:
        launcher = start_holder(instance, lock, title=title, detach=True, prefix=way)
        status = _await_launcher(launcher, scope.PATIENCE_S if way else LAUNCHER_PATIENCE_S)
        if status is None:
            # What hangs once hangs again.
            del ways[:-1]
        if status != 0:
            how = "did not end in time" if status is None else f"ended with status {status}"
            raise unreachable(instance, f"its launcher {how}")
    except PapaError as error:
        if not ways:
            raise
        with open(_open_log(instance), "ab") as log:
            log.write(f"no scope of its own by {' '.join(way)}: {error.message}\n".encode(errors="replace"))


def _open_log(instance: places.Instance) -> int:
    return os.open(instance.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def start_holder(
    instance: places.Instance, lock: int, *, title: str = "", detach: bool, prefix: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Starts the launcher, which becomes the holder, or with ``detach`` leaves it behind as nobody's child.

    The lock is the holder's from now on, too; the caller closes its own descriptor. ``prefix`` is a program
    that executes the launcher.

    Raises: PapaError unreachable when no program can be started.
    """
    kernel = handed(instance, title or _program_name(), find_setproctitle())
    how = {"lock": lock, "detach": detach}
    argv = [*prefix, *places.program("papa.kernel.holder"), json.dumps(kernel), json.dumps(how)]
    log = _open_log(instance)
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            cwd="/",
            env=_environment(for_bus=bool(prefix)),
            pass_fds=[lock],
            start_new_session=True,
        )
    except OSError as error:
        raise unreachable(instance, f"{argv[0]} cannot be started: {error.strerror}") from error
    finally:
        os.close(log)


def handed(instance: places.Instance, title: str, setproctitle: str | None) -> dict[str, object]:
    """What the holder hands to each kernel that it starts; see papa.kernel.daemon."""
    return {
        "version": places.HANDED_VERSION,
        "instance": instance.name,
        "directory": instance.directory,
        "port": instance.port,
        "socket_path": instance.socket_path,
        "title": title[:MAX_TITLE],
        "setproctitle": setproctitle,
    }


def _await_launcher(launcher: subprocess.Popen[bytes], patience_s: float) -> int | None:
    """Its exit status; None when it had to be killed."""
    try:
        return launcher.wait(patience_s)
    except subprocess.TimeoutExpired:
        launcher.kill()
        launcher.wait()
        return None


def _environment(*, for_bus: bool = False) -> dict[str, str]:
    """What the launcher sees; of it, the kernel does not see what is for the bus of systemd."""
    names = scope.BUS_VARIABLES if for_bus else frozenset()
    chosen = {name: value for name, value in os.environ.items() if name in names or name.startswith("PAPA_")}
    chosen["PATH"] = os.environ.get("PATH") or os.defpath
    # Python then takes file names as UTF-8 all the same (PEP 540), and maps no tables of a locale: 90 KB less.
    chosen["LC_ALL"] = "C"
    return chosen


def _program_name() -> str:
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return name if name and not name.startswith("-") else "python"


def find_setproctitle() -> str | None:
    """The file of setproctitle's extension module: the kernel, which sees no site-packages, loads it alone."""
    try:
        spec = importlib.util.find_spec("setproctitle")
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            for path in glob.glob(f"{glob.escape(os.path.abspath(folder))}/_setproctitle{suffix}"):
                return path
    return None


def _log_tail(instance: places.Instance) -> str:
    try:
        # In a directory of another user anything may bear that name.
        with open(os.open(instance.log_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - TAIL_BYTES))
            tail = log.read().decode("utf-8", "replace").strip()
    except OSError:
        tail = ""
    return f"kernel.log ends: {tail}" if tail else "there is no kernel.log"
