"""The ancestors' description of a managed socket. papa opens it, when the arbiter starts."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, Self


class CircusSocket:
    """What a section ``[socket:NAME]`` says. Without ``umask`` the one that such a section would have."""

    def __init__(
        self,
        name: str = "",
        host: str = "localhost",
        port: int = 8080,
        family: int | str = socket.AF_INET,
        type: int | str = socket.SOCK_STREAM,
        proto: int | str = 0,
        backlog: int = 2048,
        path: str | None = None,
        umask: int | None = None,
        replace: bool = False,
        interface: str | None = None,
        so_reuseport: bool = False,
        blocking: bool = False,
        use_papa: bool = False,
        **_others: object,
    ) -> None:
        self.name = name
        self.host, self.port, self.path = host, port, path
        self.family, self.type, self.proto = family, type, proto
        self.backlog, self.umask, self.replace, self.interface = backlog, umask, replace, interface
        self.so_reuseport, self.blocking, self.use_papa = so_reuseport, blocking, use_papa

    @classmethod
    def load_from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(**config)

    def options(self) -> dict[str, object]:
        """As a section has them."""
        told: dict[str, object] = {
            "backlog": self.backlog,
            "umask": self.umask,
            "interface": self.interface,
            "type": self.type,
            "replace": self.replace,
            "so_reuseport": self.so_reuseport,
            "blocking": self.blocking,
            "use_papa": self.use_papa,
        }
        if self.path:
            return {**told, "path": self.path}
        return {**told, "host": self.host, "port": self.port, "family": self.family}

    def __repr__(self) -> str:
        where = self.path or f"{self.host}:{self.port}"
        return f"<socket {self.name!r} at {where}>"
