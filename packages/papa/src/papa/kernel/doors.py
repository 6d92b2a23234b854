"""The doors: the listeners at which clients of the kernel knock, and nothing else.

The one idea: ``control.sock`` in the private state directory must open, or the kernel is no use; the other two
(the extra path of an instance, TCP on loopback) are a courtesy, and one that cannot open is a warning in the log
and in the status, and never an end.

A path is taken over only from the dead: a socket of ours at which nobody listens any more.
"""

from __future__ import annotations

import os
import socket
import stat

from papa import places
from papa.kernel import system

#: Connections that may wait while the kernel is busy; the system cuts it to net.core.somaxconn.
BACKLOG = 128

LOOPBACK = "127.0.0.1"


class Doors:
    """The open doors of one incarnation. ``warnings`` says, in sentences, what could not be opened and why."""

    __slots__ = ("_paths", "listeners", "warnings")

    def __init__(self) -> None:
        self.listeners: list[socket.socket] = []
        self.warnings: list[str] = []
        self._paths: list[tuple[str, int]] = []

    def open(self, instance: places.Instance) -> None:
        """Opens them all. Raises: OSError when the control socket cannot be opened."""
        self._open_unix(instance.control_path)
        if instance.socket_path is not None:
            try:
                _make_way(instance.socket_path)
                self._open_unix(instance.socket_path)
            except OSError as error:
                self._warn(f"{instance.socket_path}: cannot listen: {error.strerror or error}")
        if instance.port is not None:
            self._open_tcp(instance.port)

    def hide(self) -> None:
        """Lets nobody come through a path any more: an exec would turn away whoever is not yet accepted."""
        self._rename("", ".hidden")

    def show(self) -> None:
        """Undoes hide()."""
        self._rename(".hidden", "")

    def _rename(self, old: str, new: str) -> None:
        for path, _ in self._paths:
            try:
                os.rename(path + old, path + new)
            except OSError as error:
                system.log(f"{path}{old} cannot be renamed: {error.strerror}")

    def remove(self) -> None:
        """Closes them and takes their paths away, unless somebody else has put something there since."""
        for listener in self.listeners:
            listener.close()
        for path, inode in self._paths:
            try:
                if os.lstat(path).st_ino == inode:
                    os.unlink(path)
            except OSError:
                continue

    def _open_unix(self, path: str) -> None:
        # Under another name first: whoever finds the path can connect to it, with the right mode.
        new = path + ".new"
        for leftover in (new, path + ".hidden"):
            try:
                os.unlink(leftover)
            except FileNotFoundError:
                pass
        listener = socket.socket(socket.AF_UNIX)
        try:
            before = os.umask(0o177)
            try:
                with places.unix_address(new) as address:
                    listener.bind(address)
            finally:
                os.umask(before)
            listener.listen(BACKLOG)
            os.rename(new, path)
            self._paths.append((path, os.lstat(path).st_ino))
        except BaseException:
            listener.close()
            raise
        self.listeners.append(listener)

    def _open_tcp(self, port: int) -> None:
        listener = socket.socket(socket.AF_INET)
        try:
            # Connections of the last incarnation may linger; a *listener* of somebody else still refuses us.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((LOOPBACK, port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            self._warn(f"tcp {LOOPBACK}:{port}: cannot listen: {error.strerror or error}")
            return
        self.listeners.append(listener)

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        system.log(text)


def _make_way(path: str) -> None:
    """Raises: FileExistsError unless ``path`` is free, or a socket of ours that nobody listens at."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid() and _is_dead(path):
        return
    raise FileExistsError(0, "something else is there")


def _is_dead(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        # A full backlog must not hold the kernel up: that one lives.
        probe.setblocking(False)
        try:
            with places.unix_address(path) as address:
                probe.connect(address)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
