"""The ancestors' managed socket."""

from __future__ import annotations

from circus.embedding.sockets import CircusSocket

__all__ = ["CircusSocket"]
