"""Circus, a process manager that can be restarted under the processes it manages.

``circus.logger`` is what hooks written for the ancestors log to: circusd's own log.
"""

from __future__ import annotations

__version__ = "1.0.0.dev0"


def __getattr__(name: str) -> object:
    if name != "logger":
        raise AttributeError(f"module 'circus' has no attribute {name!r}")
    import logging  # here: circusctl does not need it, and starts the faster

    return logging.getLogger("circus")
