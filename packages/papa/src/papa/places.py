"""Where things live: runtime root, instances and their directories, private directories, unix addresses.

The one idea: an endpoint (nothing, a port, a path) names an *instance*, and the instance alone decides the
state directory, so that every client, the holder and the kernel find each other without being told.
Directories are checked through a descriptor, never through a name that somebody could exchange between check
and use.

What lies inside a state directory is the kernel's business (papa.kernel.state); here are only the few names
that client, holder and kernel must agree on before a kernel runs.
"""

from __future__ import annotations

import os
import stat
import sys

from papa.errors import PapaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

#: The published port of the ancestor; only the default instance under the default root opens it unasked.
DEFAULT_PORT = 20202

#: unix(7): sun_path has 108 bytes, the last one stays for the terminating NUL.
MAX_UNIX_PATH = 107

ENDPOINT_FORMS = "nothing, a port from 1 to 65535, tcp://127.0.0.1:PORT, /path, ipc:///path or unix:///path"


def runtime_root() -> str:
    """The directory above all state directories of this user; it need not exist yet."""
    wished = os.environ.get("PAPA_RUNTIME_DIR")
    if wished:
        return os.path.abspath(wished)
    uid = os.geteuid()
    if uid == 0:
        return "/run/papa"
    try:
        status = os.lstat(f"/run/user/{uid}")
    except OSError:
        pass
    else:
        if stat.S_ISDIR(status.st_mode) and status.st_uid == uid:
            return f"/run/user/{uid}/papa"
    return f"/tmp/papa-{uid}"


class Instance:
    """One kernel: its name, its state directory and the listeners that it opens beside ``control.sock``."""

    __slots__ = ("directory", "name", "port", "socket_path")

    def __init__(self, name: str, directory: str, *, port: int | None = None, socket_path: str | None = None):
        self.name = name
        self.directory = directory
        self.port = port
        self.socket_path = socket_path

    def __repr__(self) -> str:
        extra = f", tcp {self.port}" if self.port else f", {self.socket_path}" if self.socket_path else ""
        return f"<instance {self.name} in {self.directory}{extra}>"

    @property
    def wants_tcp(self) -> bool:
        return self.port is not None

    @property
    def control_path(self) -> str:
        return self.directory + "/control.sock"

    @property
    def log_path(self) -> str:
        return self.directory + "/kernel.log"

    @property
    def served_path(self) -> str:
        return self.directory + "/served"

    @property
    def program_path(self) -> str:
        return self.directory + "/program"


def resolve(endpoint: str | int | None = None) -> Instance:
    """The instance that ``endpoint`` names.

    Raises: PapaError bad-request when it has none of the known forms.
    """
    root = runtime_root()
    if endpoint is None or endpoint == "" or endpoint == 0:
        return _default(root)
    port = endpoint if isinstance(endpoint, int) else _port_in(endpoint)
    if port is not None:
        if not 1 <= port <= 65535:
            raise _unknown(endpoint)
        if port == DEFAULT_PORT and _is_default_root():
            return _default(root)
        return Instance(f"port-{port}", f"{root}/kernel-port-{port}", port=port)
    assert isinstance(endpoint, str)
    path = endpoint
    for scheme in ("ipc://", "unix://"):
        path = path.removeprefix(scheme)
    if not path.startswith("/") or "\0" in path or path.endswith("/"):
        raise _unknown(endpoint)
    # Imported here: OpenSSL behind hashlib costs megabytes, and a kernel, which is told its directory, never
    # resolves an endpoint.
    import hashlib

    path = os.path.normpath(path)
    name = "path-" + hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    return Instance(name, f"{root}/kernel-{name}", socket_path=path)


def _default(root: str) -> Instance:
    return Instance("default", f"{root}/kernel-default", port=DEFAULT_PORT if _is_default_root() else None)


def _is_default_root() -> bool:
    return not os.environ.get("PAPA_RUNTIME_DIR")


def _port_in(endpoint: str) -> int | None:
    digits = endpoint.removeprefix("tcp://127.0.0.1:")
    if digits == endpoint:
        return None
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 5 else -1


def _unknown(endpoint: object) -> PapaError:
    return PapaError(f"{endpoint!r} is no endpoint of a papa kernel", hint=f"use {ENDPOINT_FORMS}")


#: What a holder hands to the kernel that it starts: the fields of the JSON object and the numbers of descriptors.
#: 2: it starts the kernel by the file ``program``, if there is one. One that says nothing is of 1.
HANDED_VERSION = 2


def source() -> str:
    """The folder in which this papa lies."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def program(module: str, python: str = "", folder: str = "") -> list[str]:
    """The start of an argv that runs ``module.main()`` of the papa in ``folder`` under ``python``, and no more.

    When not told, of this very papa under this very Python. ``-I -S``: neither the caller's environment nor installed
    packages can change what a kernel imports.
    """
    code = f"import sys; sys.path.insert(0, {folder or source()!r}); from {module} import main; main()"
    return [python or sys.executable, "-I", "-S", "-c", code]


def ensure_private_dir(path: str) -> None:
    """Makes ``path`` (and parents that are missing) a directory that only we can enter.

    A group's or others' rights on a directory of ours are taken away.

    Raises: PapaError refused when it is a symbolic link, no directory, or another user's.
    """
    os.close(open_private_dir(path))


def open_private_dir(path: str, *, make: bool = True) -> int:
    """As ensure_private_dir; returns a descriptor of the directory, to lock it or to work below it.

    Raises: FileNotFoundError when it is not there and not to be made either.
    """
    try:
        try:
            fd = _open_dir(path, make)
        except FileNotFoundError:
            # A kernel that leaves may have removed it after it was found there.
            fd = _open_dir(path, make)
    except OSError as error:
        if not make and isinstance(error, FileNotFoundError):
            raise
        raise PapaError(
            f"{path}: cannot be used as a private directory: {error.strerror}",
            code="refused",
            hint="it must be a directory, not a symbolic link; PAPA_RUNTIME_DIR chooses another place",
        ) from error
    try:
        close_to_others(fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_dir(path: str, make: bool) -> int:
    if make:
        _make_dirs(path)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def close_to_others(fd: int, path: str) -> None:
    """Takes the rights of all others on a directory of ours away. Raises: PapaError refused when it is not ours."""
    status = os.fstat(fd)
    if status.st_uid != os.geteuid():
        raise PapaError(
            f"{path}: belongs to uid {status.st_uid}, not to uid {os.geteuid()}",
            code="refused",
            hint="ask its kernel as that user, or choose another place by PAPA_RUNTIME_DIR",
        )
    # A file system that was just mounted for us looks so too, but it is empty.
    if status.st_mode & stat.S_ISVTX and os.listdir(fd):
        raise PapaError(
            f"{path}: is a directory that many users share",
            code="refused",
            hint="choose one of your own, which need not exist yet, by PAPA_RUNTIME_DIR",
        )
    if stat.S_IMODE(status.st_mode) != 0o700:
        os.fchmod(fd, 0o700)


def refuse_strangers(fd: int, path: str) -> None:
    """Looks who owns what lies in a directory, which was closed to others before: so nobody can add to it any more.

    Root's is no stranger's: against root nothing helps. Raises: PapaError refused.
    """
    for entry in os.scandir(fd):
        uid = entry.stat(follow_symlinks=False).st_uid
        if uid not in (os.geteuid(), 0):
            raise PapaError(
                f"{path}/{entry.name}: belongs to uid {uid}, who could enter that directory once",
                code="refused",
                hint="remove it",
            )


def _make_dirs(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
        return
    except FileExistsError:
        return
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if parent in ("", path):
            raise
    _make_dirs(parent)
    # Once more and no oftener: a file system of its own kind, such as /proc, has the parent and still refuses.
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass


class unix_address:
    """``with unix_address(path) as address``: an address for bind and connect, however long ``path`` is.

    A long path is reached through a descriptor of its directory, so the last part alone must be short,
    and the address is valid only inside the ``with``.

    Raises: PapaError bad-request when the last part is too long; OSError when the directory cannot be opened.
    """

    __slots__ = ("_fd", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> str:
        if len(os.fsencode(self._path)) <= MAX_UNIX_PATH:
            return self._path
        directory, name = os.path.split(self._path)
        self._fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        address = f"/proc/self/fd/{self._fd}/{name}"
        if len(os.fsencode(address)) > MAX_UNIX_PATH:
            self._close()
            raise PapaError(f"{self._path}: the name of a unix socket is too long", hint="use a shorter file name")
        return address

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
