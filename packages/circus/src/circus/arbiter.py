"""The ancestors' Arbiter."""

from __future__ import annotations

from circus.embedding.arbiter import Arbiter
from circus.embedding.threaded import ThreadedArbiter

__all__ = ["Arbiter", "ThreadedArbiter"]
