"""The one name of papa 1.x's module of sockets that programs import."""

from __future__ import annotations

import socket

__all__ = ["unix_socket"]

#: None on a system without unix sockets.
unix_socket: int | None = getattr(socket, "AF_UNIX", None)
