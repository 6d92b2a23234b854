"""What runs in the process of a plugin: the class that plugins are made of, their loop, and the built-in ones.

The process is started as `python -m circus.plugins` (`host`), as the watcher `plugin:NAME`; it is a client of circusd
like any other, and can do it no harm.
"""

from __future__ import annotations

import logging

from circus.plugins.base import CircusPlugin

logger = logging.getLogger("circus")

__all__ = ["CircusPlugin", "logger"]
