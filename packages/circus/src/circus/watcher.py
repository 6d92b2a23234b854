"""The ancestors' Watcher."""

from __future__ import annotations

from circus.embedding.watcher import Watcher

__all__ = ["Watcher"]
