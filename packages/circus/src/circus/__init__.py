"""Circus, a process manager that can be restarted under the processes it manages.

``circus.logger`` is what hooks written for the ancestors log to: circusd's own log. ``circus.get_arbiter`` makes a
circus inside another program (see `embedding`).
"""

from __future__ import annotations

__version__ = "1.0.0.dev0"


def __getattr__(name: str) -> object:
    if name == "logger":
        import logging  # here: circusctl does not need it, and starts the faster

        return logging.getLogger("circus")
    if name == "get_arbiter":
        from circus.embedding.threaded import get_arbiter

        return get_arbiter
    raise AttributeError(f"module 'circus' has no attribute {name!r}")
