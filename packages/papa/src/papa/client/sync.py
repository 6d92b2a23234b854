"""The published client of papa: class `Papa`, the `Watcher` it hands out, and their defaults.

One idea: the face and the values are those that programs written for papa 1.x rely on; below them are frames, so
that arguments, values and output arrive as they were given, byte for byte, and nothing is polled.

Differences that a program can notice, all on purpose: an acknowledgement says which bytes and not which moment;
``ready`` tells the truth; a kernel that went away is found or started again at the next call; removing
everything must be asked for with ``"*"``. Watching itself is `papa.client.watching`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from papa.client import debug, shapes
from papa.client.blocking import Connection
from papa.client.reply import last_key
from papa.client.shapes import DEVNULL, PIPE, STDOUT
from papa.client.watching import ProcessOutput, Watcher
from papa.errors import Error, PapaError

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "Error",
    "Papa",
    "ProcessOutput",
    "Watcher",
    "set_debug_mode",
    "set_default_connection_timeout",
    "set_default_path",
    "set_default_port",
]

#: The address and patience of papa 1.x.
DEFAULT_PORT = 20202
DEFAULT_TIMEOUT_S = 10.0

_log = logging.getLogger("papa.client")


class Papa:
    """A client of the kernel: ``Papa()``, ``Papa(port)`` or ``Papa("/path/of/socket")``.

    Connects at once and starts the kernel if none runs. Not thread-safe: one object for each thread.
    """

    _default_endpoint: str | int | None = None
    _default_timeout_s: float = DEFAULT_TIMEOUT_S

    def __init__(self, port_or_path: str | int | None = None, connection_timeout: float | None = None) -> None:
        self.port_or_path = port_or_path or self._default_endpoint
        self.timeout = connection_timeout or self._default_timeout_s
        if isinstance(self.port_or_path, str) and not os.path.isabs(self.port_or_path):
            raise Error(f"the path of a socket must be absolute: {self.port_or_path!r}")
        self._connection: Connection | None = None
        self._is_debugging = False
        try:
            self._connected()
        except BaseException:
            self.close()
            raise

    @classmethod
    def set_default_port(cls, port: int) -> None:
        """Which port ``Papa()`` means from now on; `set_default_path` shares the slot."""
        cls._default_endpoint = port

    @classmethod
    def set_default_path(cls, path: str) -> None:
        """Which socket ``Papa()`` means from now on; `set_default_port` shares the slot."""
        cls._default_endpoint = path

    @classmethod
    def set_default_connection_timeout(cls, connection_timeout: float) -> None:
        """How many seconds ``Papa()`` tries to connect, from now on."""
        cls._default_timeout_s = connection_timeout

    @classmethod
    def set_debug_mode(cls, mode: bool = True, quit_when_connection_closed: bool = False) -> None:
        """Use a private kernel in a temporary directory from the next `Papa` on; with ``mode=False`` no longer.

        It ends, and the processes in it, when debug mode is left or the program ends, in whatever way; with
        ``quit_when_connection_closed`` as soon as the last `Papa` is closed.
        """
        debug.set_mode(mode, quit_when_connection_closed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Idempotent; the object can be used again and connects anew."""
        self._drop()
        if self._is_debugging:
            self._is_debugging = False
            debug.leave()

    def fileno(self) -> int | None:
        """The descriptor of the connection; None without one."""
        return None if self._connection is None else self._connection.fileno()

    # -- sockets -------------------------------------------------------------------------------------------

    def list_sockets(self, *patterns: str) -> dict[str, dict[str, Any]]:
        """The sockets that the kernel holds, by name."""
        return {row["name"]: shapes.socket_dict(row) for row in self._list("sockets", patterns)}

    def make_socket(
        self,
        name: str,
        host: str | None = None,
        port: int | None = None,
        family: int | None = None,
        socket_type: int | None = None,
        backlog: int | None = None,
        path: str | None = None,
        umask: int | None = None,
        interface: str | None = None,
        reuseport: bool | None = None,
    ) -> dict[str, Any]:
        """Open a listening socket, or find the one of that name that was asked for in the same way."""
        spec = shapes.socket_spec(
            name,
            host=host,
            port=port,
            family=family,
            socket_type=socket_type,
            backlog=backlog,
            path=path,
            umask=umask,
            interface=interface,
            reuseport=reuseport,
        )
        return shapes.socket_dict(self._request("listen", **spec))

    def remove_sockets(self, *patterns: str) -> bool:
        """Close the kernel's copies of these sockets; ``"*"`` means all."""
        return self._remove("sockets", patterns)

    # -- values --------------------------------------------------------------------------------------------

    def list_values(self, *patterns: str) -> dict[str, str]:
        """The values that the kernel keeps, by name."""
        return {row["name"]: row["value"] for row in self._list("values", patterns)}

    def set(self, name: str, value: str | None = None) -> None:
        """Keep a value; None or ``""`` clears it."""
        if value and not isinstance(value, str):
            raise Error(f"Value {name}: must be a str, not {type(value).__name__}")
        self._request("set", name=name, value=value or None)

    def get(self, name: str) -> str | None:
        """The value of that name, or None."""
        value: str | None = self._request("get", name=name)["value"]
        return value or None

    def remove_values(self, *patterns: str) -> bool:
        """Clear values. All of them at once is refused."""
        if not patterns or "*" in patterns:
            raise Error("You cannot remove all variables")
        return self._remove("values", patterns)

    # -- processes -----------------------------------------------------------------------------------------

    def list_processes(self, *patterns: str) -> dict[str, dict[str, Any]]:
        """The processes of the kernel, by name; ended ones until their end was acknowledged by a watcher."""
        return {row["name"]: shapes.process_dict(row) for row in self._list("processes", patterns)}

    def make_process(
        self,
        name: str,
        executable: str | None = None,
        args: Any = None,
        env: Mapping[str, str] | None = None,
        working_dir: str | None = None,
        uid: int | str | None = None,
        gid: int | str | None = None,
        rlimits: Mapping[str, int] | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        bufsize: int | str | None = None,
        watch_immediately: bool | None = None,
    ) -> dict[str, Any] | Watcher:
        """Start a process, or find the one of that name that was asked for in the same way.

        ``args`` is one argument (a str) or several. ``env`` is the whole environment: nothing is inherited.
        Both outputs are captured unless told otherwise; ``bufsize`` bounds what is kept unread, 0 keeps nothing.
        """
        spec = shapes.process_spec(
            name,
            executable=executable,
            args=args,
            env=env,
            working_dir=working_dir,
            uid=uid,
            gid=gid,
            rlimits=rlimits,
            stdout=stdout,
            stderr=stderr,
            bufsize=bufsize,
        )
        row = self._request("spawn", **spec)
        if watch_immediately:
            return self._watch([row])
        return shapes.process_dict(row)

    def remove_processes(self, *patterns: str) -> bool:
        """Forget processes; a running one is left alone and drops out when it ends. ``"*"`` means all."""
        return self._remove("processes", patterns)

    def watch_processes(self, *patterns: str) -> Watcher:
        """Read the output and the ends of these processes."""
        rows = self._list("processes", patterns)
        found = {row["name"] for row in rows}
        for pattern in patterns:
            if not pattern.endswith("*") and pattern not in found:
                raise PapaError(f"{pattern} not found", code="not-found")
        if not rows:
            raise PapaError("Nothing to watch", code="not-found")
        return self._watch(rows)

    def exit_if_idle(self) -> bool:
        """Ask the kernel to end if it holds nothing; whether it does."""
        try:
            self._request("exit", alone=True)
        except PapaError as error:
            if error.code == "busy":
                return False
            raise
        self._drop()
        return True

    # -- the connection ------------------------------------------------------------------------------------

    def _connected(self) -> Connection:
        if self._connection is None:
            if not self._is_debugging:
                self._is_debugging = debug.enter()
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> Connection:
        started = time.monotonic()
        try:
            connection = Connection(self.port_or_path, client="papa.Papa", timeout_s=self.timeout)
        except PapaError as error:
            if error.code not in ("unreachable", "lost", "timeout"):
                raise
            # The words are those that programs written for papa 1.x look for, in the exception and in the log.
            seconds = f"{time.monotonic() - started:.3g}"
            message = f"Could not connect to Papa in {seconds} seconds: {error.message}"
            _log.error("%s", message)
            raise PapaError(message, code=error.code, hint=error.hint, details=error.details) from error
        _log.debug("connected to the kernel pid=%s instance=%s", connection.hello["pid"], connection.hello["instance"])
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _request(self, op: str, **args: Any) -> dict[str, Any]:
        connection = self._connected()
        try:
            return connection.request(op, **args).ok
        finally:
            if not connection.is_open:
                self._drop()

    def _list(self, what: str, patterns: Iterable[str]) -> list[dict[str, Any]]:
        ok = self._request("list", what=what, patterns=list(patterns))
        rows: list[dict[str, Any]] = ok["items"]
        while ok["more"]:
            ok = self._request("list", what=what, patterns=list(patterns), after=last_key(what, rows))
            rows += ok["items"]
        return [row for row in rows if row["name"] is not None]

    def _remove(self, what: str, patterns: tuple[str, ...]) -> bool:
        if not patterns:
            raise Error(f'which {what} to remove must be said; "*" means all')
        self._request("remove", what=what, names=list(patterns))
        return True

    def _watch(self, rows: list[dict[str, Any]]) -> Watcher:
        connection = self._connected()
        self._connection = None
        return Watcher(connection, rows)


def set_default_port(port: int) -> None:
    """See `Papa.set_default_port`."""
    Papa.set_default_port(port)


def set_default_path(path: str) -> None:
    """See `Papa.set_default_path`."""
    Papa.set_default_path(path)


def set_default_connection_timeout(connection_timeout: float) -> None:
    """See `Papa.set_default_connection_timeout`."""
    Papa.set_default_connection_timeout(connection_timeout)


def set_debug_mode(mode: bool = True, quit_when_connection_closed: bool = False) -> None:
    """See `Papa.set_debug_mode`."""
    Papa.set_debug_mode(mode, quit_when_connection_closed)
